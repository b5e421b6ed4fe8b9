//! Subjects and versions.

use operate::registry::Deleted;
use operate::schemas;

use super::{found, nothing};
use crate::http::{Reply, StatusCode};
use crate::pages::Visit;
use crate::pages::schemas::{comparison, detail, listing};

pub(super) async fn get(visit: &Visit<'_>, path: &[&str]) -> Reply {
    match path {
        [] => found(listing(visit).await),
        [subject] => found(detail(visit, subject).await),
        [subject, "versions", version] => match version.parse() {
            Ok(version) => found(text(visit, subject, version).await),
            Err(_) => nothing(),
        },
        [subject, "diff"] => {
            let number = |name| visit.query.one(name).and_then(|it| it.parse().ok());
            match (number("with"), number("to")) {
                (Some(from), Some(to)) => found(comparison(visit, subject, from, to).await),
                _ => {
                    let detail = "with and to are two versions";
                    Reply::problem(StatusCode::BAD_REQUEST, detail)
                }
            }
        }
        _ => nothing(),
    }
}

/// What must hold between the versions of a subject, or of all.
pub(super) async fn level(visit: &Visit<'_>) -> Reply {
    let asked = async || {
        let registry = visit.console.registry()?;
        Ok(schemas::levels(registry, visit.query.one("subject")).await?)
    };
    found(asked().await)
}

async fn text(
    visit: &Visit<'_>,
    subject: &str,
    version: i32,
) -> anyhow::Result<operate::registry::Version> {
    let registry = visit.console.registry()?;
    Ok(registry.version(subject, version, Deleted::Shown).await?)
}
