//! Articles: what each method does to them.

mod model;
pub(crate) use model::{Article, ArticleId, Fields, Status, rfc3339};

mod input;

mod filter;

mod page;

mod search;

mod store;
pub(crate) use store::{count_by_status, position_of_primary};

mod views;
pub(crate) use views::Views;

use deadpool_postgres::GenericClient;
use serde::Serialize;
use serde_json::Value;

use crate::exchange::Exchange;
use crate::http::{
    ETag, HeaderMap, HeaderValue, Kind, MediaType, Method, Preconditions, Problem, Reply, Request,
    StatusCode, content_type, header, json, require_acceptable,
};
use crate::idempotency::{Attempt, Fingerprint, Key, attempt};
use page::PageRequest;
use search::SearchRequest;

const JSON: &str = "application/json";

pub(crate) async fn list(exchange: &Exchange, request: Request) -> Result<Reply, Problem> {
    require_acceptable(&request.headers, JSON)?;
    let preconditions = Preconditions::of(&request.headers)?;
    let wanted = PageRequest::parse(&request.query)?;
    let client = exchange.database.client().await?;
    let (total, items) = store::list(&client, &wanted).await?;
    let page = wanted.page_of(items, total);
    let reply = known_or(&preconditions, page.etag(), &page);
    Ok(reply.with_text(header::LINK, &wanted.links(total)))
}

pub(crate) async fn search(exchange: &Exchange, request: Request) -> Result<Reply, Problem> {
    require_acceptable(&request.headers, JSON)?;
    let preconditions = Preconditions::of(&request.headers)?;
    let wanted = SearchRequest::parse(&request.query)?;
    let client = exchange.database.client().await?;
    let (total, hits) = store::search(&client, &wanted).await?;
    let page = wanted.page.page_of(hits, total);
    let reply = known_or(&preconditions, page.etag(), &page);
    Ok(reply.with_text(header::LINK, &wanted.page.links(total)))
}

/// A page, unless the client has it already.
fn known_or(preconditions: &Preconditions, etag: ETag, page: &impl Serialize) -> Reply {
    let reply = Reply::json(StatusCode::OK, page).with(header::ETAG, etag.header());
    match preconditions.is_known(&etag.into()) {
        true => reply.not_modified(),
        false => reply,
    }
}

pub(crate) async fn create(exchange: &Exchange, request: Request) -> Result<Reply, Problem> {
    require_acceptable(&request.headers, JSON)?;
    require_json(&request.headers)?;
    let key = Key::of(&request.headers)?;
    let body = exchange.read(request.body).await?;
    let fields = input::new_article(json(&body)?)?;
    let mut client = exchange.database.client().await?;
    let Some(key) = key else {
        return insert(&client, &fields).await;
    };
    let fingerprint = Fingerprint::of_post(&request.path, &body);
    let reply = match attempt(&mut client, key, fingerprint).await? {
        Attempt::Repeated(reply) => reply,
        Attempt::First(first) => {
            let outcome = insert(first.transaction(), &fields).await;
            first.end(outcome).await?
        }
    };
    // The commit is behind us, so this is the position that shows it.
    Ok(reply.written_at(store::position(&client).await?))
}

async fn insert(client: &impl GenericClient, fields: &Fields) -> Result<Reply, Problem> {
    let (article, position) = store::insert(client, fields).await?;
    let location = format!("/api/v1/articles/{}", article.id);
    let reply = reply(StatusCode::CREATED, &article).with_text(header::LOCATION, &location);
    Ok(reply.written_at(position))
}

pub(crate) async fn read(
    exchange: &Exchange,
    id: ArticleId,
    request: Request,
) -> Result<Reply, Problem> {
    require_acceptable(&request.headers, JSON)?;
    let preconditions = Preconditions::of(&request.headers)?;
    let client = exchange.database.client().await?;
    let article = store::find(&client, id).await?.ok_or_else(absent)?;
    let reply = reply(StatusCode::OK, &article);
    if preconditions.is_known(&article.as_version()) {
        return Ok(reply.not_modified());
    }
    if request.method == Method::GET {
        exchange.role.count_view(id);
    }
    Ok(reply)
}

pub(crate) async fn replace(
    exchange: &Exchange,
    id: ArticleId,
    request: Request,
) -> Result<Reply, Problem> {
    require_acceptable(&request.headers, JSON)?;
    require_json(&request.headers)?;
    let preconditions = preconditions(exchange, &request.headers)?;
    let body = exchange.read_json(request.body).await?;
    let client = exchange.database.client().await?;
    change(&client, id, &preconditions, |article| {
        input::replacement(body.clone(), article.fields.status)
    })
    .await
}

pub(crate) async fn patch(
    exchange: &Exchange,
    id: ArticleId,
    request: Request,
) -> Result<Reply, Problem> {
    require_acceptable(&request.headers, JSON)?;
    if content_type(&request.headers).is_none() {
        let accepted = HeaderValue::from_static("application/merge-patch+json, application/json");
        return Err(unsupported().with(ACCEPT_PATCH, accepted));
    }
    let preconditions = preconditions(exchange, &request.headers)?;
    let body: Value = exchange.read_json(request.body).await?;
    let client = exchange.database.client().await?;
    change(&client, id, &preconditions, |article| {
        input::patched(&article.fields, &body)
    })
    .await
}

pub(crate) async fn publish(
    exchange: &Exchange,
    id: ArticleId,
    request: Request,
) -> Result<Reply, Problem> {
    become_status(exchange, id, request, Status::Published).await
}

pub(crate) async fn archive(
    exchange: &Exchange,
    id: ArticleId,
    request: Request,
) -> Result<Reply, Problem> {
    become_status(exchange, id, request, Status::Archived).await
}

pub(crate) async fn delete(
    exchange: &Exchange,
    id: ArticleId,
    request: Request,
) -> Result<Reply, Problem> {
    let preconditions = preconditions(exchange, &request.headers)?;
    let client = exchange.database.client().await?;
    for _ in 0..ATTEMPTS {
        let article = store::find(&client, id).await?.ok_or_else(absent)?;
        preconditions.require(&article.as_version())?;
        if let Some(position) = store::delete(&client, &article).await? {
            return Ok(Reply::empty(StatusCode::NO_CONTENT).written_at(position));
        }
    }
    Err(contended())
}

async fn become_status(
    exchange: &Exchange,
    id: ArticleId,
    request: Request,
    status: Status,
) -> Result<Reply, Problem> {
    require_acceptable(&request.headers, JSON)?;
    let preconditions = preconditions(exchange, &request.headers)?;
    let key = Key::of(&request.headers)?;
    exchange.require_empty(request.body).await?;
    let decide = |article: &Article| {
        Ok(Fields {
            status,
            ..article.fields.clone()
        })
    };
    let mut client = exchange.database.client().await?;
    let Some(key) = key else {
        return change(&client, id, &preconditions, decide).await;
    };
    let fingerprint = Fingerprint::of_post(&request.path, b"");
    let reply = match attempt(&mut client, key, fingerprint).await? {
        Attempt::Repeated(reply) => reply,
        Attempt::First(first) => {
            let outcome = change(first.transaction(), id, &preconditions, decide).await;
            first.end(outcome).await?
        }
    };
    // The commit is behind us, so this is the position that shows it.
    Ok(reply.written_at(store::position(&client).await?))
}

/// How often a change is tried again when others change the same article in between.
const ATTEMPTS: usize = 50;

/// Changes an article: reads it, decides on what was read, and writes only if it is still that
/// version. So nothing is locked, and whoever decides on an older version decides again. A change
/// that changes nothing writes nothing.
async fn change(
    client: &impl GenericClient,
    id: ArticleId,
    preconditions: &Preconditions,
    decide: impl Fn(&Article) -> Result<Fields, Problem>,
) -> Result<Reply, Problem> {
    for _ in 0..ATTEMPTS {
        let article = store::find(client, id).await?.ok_or_else(absent)?;
        preconditions.require(&article.as_version())?;
        let fields = decide(&article)?;
        if fields == article.fields {
            // What was read may be another's write of this moment.
            let position = store::position(client).await?;
            return Ok(reply(StatusCode::OK, &article).written_at(position));
        }
        article.fields.status.require_step_to(fields.status)?;
        if let Some((changed, position)) = store::update(client, &article, &fields).await? {
            return Ok(reply(StatusCode::OK, &changed).written_at(position));
        }
    }
    Err(contended())
}

fn reply(status: StatusCode, article: &Article) -> Reply {
    Reply::json(status, article)
        .with(header::ETAG, article.etag().header())
        .with_text(header::LAST_MODIFIED, &article.last_modified())
}

fn preconditions(exchange: &Exchange, headers: &HeaderMap) -> Result<Preconditions, Problem> {
    let preconditions = Preconditions::of(headers)?;
    match exchange.require_if_match && !preconditions.name_a_version() {
        true => Err(Problem::new(
            Kind::PreconditionRequired,
            "send If-Match with the ETag",
        )),
        false => Ok(preconditions),
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    match content_type(headers) {
        Some(MediaType::Json) => Ok(()),
        Some(MediaType::MergePatch) | None => Err(unsupported()),
    }
}

const ACCEPT_PATCH: crate::http::HeaderName = crate::http::HeaderName::from_static("accept-patch");

fn unsupported() -> Problem {
    let detail = "the Content-Type is not application/json in UTF-8, without Content-Encoding";
    Problem::new(Kind::UnsupportedMediaType, detail)
}

fn absent() -> Problem {
    Problem::new(Kind::NotFound, "there is no such article")
}

fn contended() -> Problem {
    Problem::unavailable("too many others change this article")
}
