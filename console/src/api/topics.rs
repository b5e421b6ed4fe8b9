//! Topics and records.

use operate::topics;

use super::{found, nothing, rows_are_not_shown};
use crate::http::{Reply, StatusCode, header};
use crate::pages::Visit;
use crate::pages::topics::{may_read, question, read, slice};

pub(super) async fn get(visit: &Visit<'_>, path: &[&str]) -> Reply {
    match path {
        [] => {
            let names = &visit.console.endpoints.names;
            found(topics::list(&visit.console.kafka, names, &slice(visit)).await)
        }
        [topic, "records"] => records(visit, topic).await,
        _ => nothing(),
    }
}

/// As a file when it is asked for to be kept.
async fn records(visit: &Visit<'_>, topic: &str) -> Reply {
    if !may_read(visit, topic) {
        return rows_are_not_shown();
    }
    let question = match question(visit, topic) {
        Ok(question) => question,
        Err(error) => return Reply::problem(StatusCode::BAD_REQUEST, &format!("{error:#}")),
    };
    let page = read(visit, &question).await;
    let reply = found(page.map(|page| match visit.query.one("cells") {
        Some(_) => page,
        None => page.without_cells(),
    }));
    match visit.query.one("download") {
        Some(_) if reply.status == StatusCode::OK => {
            // Names of topics hold nothing that a header could not.
            let name = format!("attachment; filename=\"{topic}.json\"");
            reply.with_text(header::CONTENT_DISPOSITION, &name)
        }
        _ => reply,
    }
}
