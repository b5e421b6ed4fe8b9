//! Pages of lists.

use async_graphql::{Object, SimpleObject};

use super::article::{Article, SearchResult};
use crate::upstream;

/// A page of articles, the youngest first.
pub(crate) struct ArticlePage(pub(crate) upstream::Page<upstream::Article>);

#[Object]
impl ArticlePage {
    async fn items(&self) -> Vec<Article> {
        self.0.items.iter().cloned().map(Article::from).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.0)
    }
}

/// A page of a search, the best first.
pub(crate) struct SearchPage(pub(crate) upstream::Page<upstream::Found>);

#[Object]
impl SearchPage {
    async fn items(&self) -> Vec<SearchResult> {
        self.0.items.iter().cloned().map(SearchResult).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.0)
    }
}

/// Where a page stands among the others.
#[derive(SimpleObject)]
pub(crate) struct PageInfo {
    /// From 1.
    page: i64,
    /// Items of a full page.
    per_page: i64,
    total_pages: i64,
    total_items: i64,
    has_next: bool,
    has_previous: bool,
}

impl PageInfo {
    fn of<T>(page: &upstream::Page<T>) -> Self {
        Self {
            page: page.page,
            per_page: page.per_page,
            total_pages: page.total_pages,
            total_items: page.total_items,
            has_next: page.page < page.total_pages,
            has_previous: page.page > 1,
        }
    }
}

/// What a page may cost: its fields for each item. A page length that REST will refuse counts as the
/// longest, and not as what a multiplication makes of it.
pub(crate) fn complexity(per_page: i32, child: usize) -> usize {
    let items = usize::try_from(per_page.clamp(1, 100)).unwrap_or(100);
    items.saturating_mul(child).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::complexity;

    #[test]
    fn no_page_length_is_free_or_overflows() {
        assert_eq!(complexity(10, 3), 31);
        assert_eq!(complexity(-1, 3), 4);
        assert_eq!(complexity(i32::MIN, 3), 4);
        assert_eq!(complexity(i32::MAX, 3), 301);
        assert_eq!(complexity(100, usize::MAX), usize::MAX);
    }
}
