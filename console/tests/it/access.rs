//! Who gets in, and what browsers are told.

use reqwest::header::{CONTENT_SECURITY_POLICY, LOCATION, SET_COOKIE};
use reqwest::{Response, StatusCode};

use crate::running::Running;

const PAGES: [&str; 7] = [
    "/",
    "/replication",
    "/topics",
    "/schemas",
    "/dead-letters",
    "/replay",
    "/activity",
];

pub(crate) fn users() -> [String; 2] {
    ["ann:viewer", "bob:admin"].map(|who| {
        let hash = console::hash_password("secret").expect("hash a password");
        format!("--console-user={who}:{hash}")
    })
}

fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name);
    let text = value.map(|value| value.to_str().expect("a header in ASCII"));
    text.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_there_while_all_else_is_away() {
    let console = Running::start(&[]).await;
    for path in PAGES {
        let answer = console.answer(console.get(path)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let policy = header(&answer, CONTENT_SECURITY_POLICY.as_str());
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "referrer-policy"), "same-origin");
        assert_eq!(header(&answer, "cache-control"), "no-store");
        let page = answer.text().await.unwrap();
        assert!(
            !page.contains("style=") && !page.contains("<style"),
            "{path}"
        );
        assert!(
            !page.contains("onclick") && !page.contains("<script>"),
            "{path}"
        );
    }
    let answer = console.answer(console.get("/nowhere")).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_kept_for_ever_under_names_of_their_own() {
    let console = Running::start(&[]).await;
    let page = console.answer(console.get("/")).await.text().await.unwrap();
    let mut files = 0;
    for part in page.split('"').filter(|part| part.starts_with("/assets/")) {
        let answer = console.answer(console.get(part)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{part}");
        assert!(
            header(&answer, "cache-control").contains("immutable"),
            "{part}"
        );
        files += 1;
    }
    assert_eq!(files, 6);
    let answer = console.answer(console.get("/assets/old/console.js")).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_signed_in_sees_nothing() {
    let console = Running::start(&users()).await;
    for path in PAGES {
        let answer = console.answer(console.get(path)).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
        let to = header(&answer, LOCATION.as_str());
        assert!(to.starts_with("/sign-in?next=%2F"), "{to}");
    }
    for path in ["/api/v1/status", "/api/v1/events", "/api/v1/history"] {
        let answer = console.answer(console.get(path)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(header(&answer, "www-authenticate"), "", "{path}");
    }
    let request = console
        .get("/api/v1/session")
        .basic_auth("bob", Some("secret"));
    let session = console.answer(request).await.text().await.unwrap();
    assert!(session.contains(r#""role":"admin""#), "{session}");
    let request = console
        .get("/api/v1/session")
        .basic_auth("bob", Some("guess"));
    assert_eq!(
        console.answer(request).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_and_ends() {
    let console = Running::start(&users()).await;
    let refused = console.sign_in("ann", "guess").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&refused, SET_COOKIE.as_str()), "");

    let answer = console.sign_in("ann", "secret").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&answer, LOCATION.as_str()), "/replication");
    let cookie = header(&answer, SET_COOKIE.as_str());
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let page = console
        .answer(console.get("/").header("cookie", cookie))
        .await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(page.contains("ann, viewer"));
    assert!(
        !page.contains("action=\"/actions/"),
        "a viewer has no buttons"
    );

    let session = console.get("/api/v1/session").header("cookie", cookie);
    let session = console.answer(session).await.text().await.unwrap();
    let csrf = session.split(r#""csrf":""#).nth(1).unwrap();
    let csrf = csrf.split('"').next().unwrap();
    let sign_out = || console.post("/sign-out").header("cookie", cookie);
    let without_token = console.answer(sign_out()).await;
    assert_eq!(without_token.status(), StatusCode::FORBIDDEN);
    let answer = console
        .answer(sign_out().header("x-csrf-token", csrf))
        .await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let page = console
        .answer(console.get("/").header("cookie", cookie))
        .await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_no_rows() {
    let console = Running::start(&users()).await;
    let ask = async |who: &str, path: &str| {
        let request = console.get(path).basic_auth(who, Some("secret"));
        let answer = console.answer(request).await;
        (answer.status(), answer.text().await.unwrap())
    };
    let needs = "needs the role operator";
    for path in [
        "/api/v1/topics/lockstep.public.articles/records",
        "/api/v1/dead-letters/1",
    ] {
        let (status, body) = ask("ann", path).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(body.contains(needs), "{body}");
        let (status, _) = ask("bob", path).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{path}: all else is away");
    }
    let (_, page) = ask("ann", "/topics/lockstep.public.articles").await;
    assert!(page.contains(needs), "{page}");
    let (_, page) = ask("bob", "/topics/lockstep.public.articles").await;
    assert!(!page.contains(needs), "{page}");
    let (_, page) = ask("ann", "/topics/lockstep.commits").await;
    assert!(!page.contains(needs), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_get_nothing() {
    let console = Running::start(&[]).await;
    let rebound = console.get("/").header("host", "evil.example");
    let answer = console.answer(rebound).await;
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let answer = console
            .answer(console.post("/sign-out").header(name, value))
            .await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_listen_beyond_this_machine_without_users() {
    let listen = format!("0.0.0.0:{}", testkit::port::free());
    let config = crate::running::config(&[format!("--console-listen={listen}")]);
    let outcome = crate::running::run(config).await;
    let error = service::chain(&outcome.unwrap_err());
    assert!(error.contains("--console-user"), "{error}");
}
