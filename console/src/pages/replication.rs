//! Where the stages stand, and what each table is doing.

use maud::{Markup, html};
use operate::catalog::{self, Identity, PublishedTable};

use super::Visit;
use crate::facts::Facts;
use crate::frame::{Page, Section};
use crate::http::path_segment;
use crate::widgets;

/// Tables on a page.
const PAGE: usize = 100;

pub(super) async fn page(visit: &Visit<'_>) -> Page {
    let look = visit.console.live.latest();
    let facts = Facts::of(look.as_deref());
    let publication = &visit.console.endpoints.names.publication;
    let tables = visit
        .console
        .source
        .ask(async |source| catalog::published(source, publication).await);
    let body = html! {
        dl {
            dt { "Source" } dd { (facts.show("source.lsn")) }
            dt { "Topics" } dd { (facts.show("topics.lsn")) }
            dt { "Target" } dd { (facts.show("target.lsn")) }
        }
        (widgets::command_line("lockstep status"))
        h2 { "Tables" }
        @match tables.await {
            Ok(tables) => (table_list(visit, &tables)),
            Err(error) => (widgets::failed("The list of tables", &error)),
        }
    };
    Page::new(Section::Replication, "Replication", body)
}

fn table_list(visit: &Visit<'_>, tables: &[PublishedTable]) -> Markup {
    if tables.is_empty() {
        return widgets::empty("The publication has no table.");
    }
    let first: usize = visit
        .query
        .one("from")
        .and_then(|from| from.parse().ok())
        .unwrap_or(0);
    let shown = tables.iter().skip(first).take(PAGE);
    let end = (first + PAGE).min(tables.len());
    let link = |from: usize| {
        format!(
            "/replication?{}",
            visit.query.query_with("from", &from.to_string())
        )
    };
    let place = format!(
        "{} to {} of {}",
        widgets::count(first as u64 + 1),
        widgets::count(end as u64),
        widgets::count(tables.len() as u64)
    );
    let prefix = &visit.console.endpoints.names.prefix;
    let rows = html! {
        @for table in shown {
            tr {
                td { a href={ "/topics/" (path_segment(&format!("{prefix}.{}", table.name))) } { (table.name) } }
                td { (identity(&table.identity)) }
                td.number { (table.columns.len()) }
            }
        }
    };
    html! {
        (widgets::table("Tables", &["Table", "Replica identity", "Columns"], rows))
        (widgets::pager(
            (first > 0).then(|| link(first.saturating_sub(PAGE))),
            (end < tables.len()).then(|| link(end)),
            &place,
        ))
    }
}

fn identity(identity: &Identity) -> String {
    match identity {
        Identity::Key(columns) => columns.join(", "),
        Identity::Full => "full row".to_owned(),
        Identity::None => "none: updates and deletes are not published".to_owned(),
    }
}
