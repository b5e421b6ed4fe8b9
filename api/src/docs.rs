//! The viewer of the API's document: a page that is compiled in and asks no other host for anything.

use service::http::Asset;

use crate::http::{
    ETag, HeaderMap, HeaderName, HeaderValue, Preconditions, Problem, Reply, StatusCode, header,
    require_acceptable,
};

/// One of the viewer's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File(usize);

/// Our own come first. Names of others' have their version, so that browsers can keep them.
const FILES: [Asset; 5] = [
    Asset {
        name: "index.html",
        media_type: "text/html; charset=utf-8",
        bytes: include_bytes!("../assets/docs/index.html"),
    },
    Asset {
        name: "viewer.js",
        media_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../assets/docs/viewer.js"),
    },
    Asset {
        name: "swagger-ui-5.35.0.css",
        media_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../assets/swagger-ui/swagger-ui.css"),
    },
    Asset {
        name: "swagger-ui-5.35.0.js",
        media_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../assets/swagger-ui/swagger-ui-bundle.js"),
    },
    Asset {
        name: "favicon-5.35.0.png",
        media_type: "image/png",
        bytes: include_bytes!("../assets/swagger-ui/favicon-32x32.png"),
    },
];

const PAGE: File = File(0);
const OURS: usize = 2;

/// The page itself is at `/docs`, and its files below.
pub(crate) fn find(path: &str) -> Option<File> {
    match path.strip_prefix("/docs")? {
        "" => Some(PAGE),
        below => {
            let name = below.strip_prefix('/')?;
            let at = FILES.iter().position(|file| file.name == name)?;
            (at != PAGE.0).then_some(File(at))
        }
    }
}

impl File {
    pub(crate) fn template(self) -> &'static str {
        match self == PAGE {
            true => "/docs",
            false => "/docs/{file}",
        }
    }

    pub(crate) fn answer(self, headers: &HeaderMap) -> Result<Reply, Problem> {
        let asset = &FILES[self.0];
        let (media_type, _) = asset
            .media_type
            .split_once(';')
            .unwrap_or((asset.media_type, ""));
        require_acceptable(headers, media_type)?;
        let etag = ETag::strong(asset.etag());
        let tag = etag.header();
        let reply = Reply::of_type(StatusCode::OK, asset.media_type, asset.bytes.to_vec());
        let reply = match Preconditions::of(headers)?.is_known(&etag.into()) {
            true => reply.not_modified(),
            false => reply,
        };
        let cache = match self.0 < OURS {
            true => "no-cache",
            false => "public, max-age=31536000, immutable",
        };
        Ok(reply
            .with(header::ETAG, tag)
            .with(header::CACHE_CONTROL, HeaderValue::from_static(cache))
            .with(POLICY, HeaderValue::from_static(SOURCES)))
    }
}

const POLICY: HeaderName = header::CONTENT_SECURITY_POLICY;

/// Everything from here; pictures may stand in style sheets too.
const SOURCES: &str = "default-src 'none'; connect-src 'self'; img-src 'self' data:; \
                       script-src 'self'; style-src 'self'; base-uri 'none'; \
                       form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi;

    fn text(name: &str) -> &'static str {
        let file = FILES.iter().find(|file| file.name == name).unwrap();
        str::from_utf8(file.bytes).unwrap()
    }

    #[test]
    fn the_page_needs_its_own_files_only() {
        let page = text("index.html");
        let links = page.split(['"', '\'']).filter(|part| part.contains('/'));
        let links: Vec<&str> = links.filter(|part| !part.contains(['<', ' '])).collect();
        assert_eq!(links.iter().filter(|link| find(link).is_some()).count(), 4);
        for link in links {
            let known = find(link).is_some() || ["image/png", openapi::PATH].contains(&link);
            assert!(known, "{link}");
        }
        for script in page.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/docs/"), "{script}");
            assert!(script.contains("\"></script>"), "{script}");
        }
        assert!(!page.contains("style=") && !page.contains("<style"));
        assert!(text("viewer.js").contains(&format!("url: \"{}\"", openapi::PATH)));
    }

    #[test]
    fn the_page_has_the_apis_title() {
        let document = openapi::document();
        let title = document["info"]["title"].as_str().unwrap();
        assert!(text("index.html").contains(&format!("<title>{title}</title>")));
    }

    #[test]
    fn names_tell_the_version_that_was_copied() {
        let readme = include_str!("../assets/swagger-ui/README.md");
        let vendored = &FILES[OURS..];
        for Asset { name, .. } in vendored {
            let (_, version) = name.rsplit_once('-').unwrap();
            let (version, _) = version.rsplit_once('.').unwrap();
            assert!(
                readme.contains(&format!("swagger-ui-dist@{version},")),
                "{name}"
            );
        }
    }
}
