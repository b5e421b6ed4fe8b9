//! What may be changed, by whom, and by which requests.

use reqwest::StatusCode;

use crate::access::users;
use crate::running::Running;

/// The status of an action that `name` asks for, with these fields.
async fn act(console: &Running, name: &str, action: &str, fields: &str) -> (StatusCode, String) {
    let request = console.post(&format!("/api/v1/actions/{action}"));
    let request = request.basic_auth(name, Some("secret"));
    let request = request.header("idempotency-key", format!("{name}{action}{fields}"));
    let request = request.header("content-type", "application/json");
    let answer = console.answer(request.body(fields.to_owned())).await;
    (answer.status(), answer.text().await.expect("an answer"))
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_checked_where_it_counts() {
    let console = Running::start(&users()).await;
    for (action, role) in [
        ("pause-apply", "operator"),
        ("resume-apply", "operator"),
        ("pause-table", "operator"),
        ("redrive", "operator"),
        ("redrive-group", "operator"),
        ("discard", "admin"),
    ] {
        let (status, text) = act(&console, "ann", action, "{}").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{action}");
        assert!(text.contains(role), "{action}: {text}");
    }
    // Who may is told that the target is away.
    let (status, _) = act(&console, "bob", "pause-apply", "{}").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let (status, _) = act(&console, "bob", "explode", "{}").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_wants_the_name_typed() {
    let console = Running::start(&users()).await;
    for (action, fields) in [
        ("pause-table", r#"{"table": "public.a"}"#),
        (
            "pause-table",
            r#"{"table": "public.a", "confirm": "public.b"}"#,
        ),
        ("discard", r#"{"id": [7], "reason": "x"}"#),
        ("discard", r#"{"id": [7], "confirm": "7"}"#),
        ("discard", r#"{"id": ["x"], "confirm": "x"}"#),
    ] {
        let (status, text) = act(&console, "bob", action, fields).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{fields}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_its_token_or_key_does_nothing() {
    let console = Running::start(&[]).await;
    let path = "/api/v1/actions/pause-apply";
    let answer = console.answer(console.post(path)).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);

    let session = console.answer(console.get("/api/v1/session")).await;
    let session = session.text().await.expect("a session");
    let csrf = session.split(r#""csrf":""#).nth(1).expect("a token");
    let csrf = csrf.split('"').next().expect("a token");
    let with_token = console.post(path).header("x-csrf-token", csrf);
    let answer = console.answer(with_token).await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let with_both = console.post(path).header("x-csrf-token", csrf);
    let with_both = with_both.header("idempotency-key", "1");
    let answer = console.answer(with_both).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
}
