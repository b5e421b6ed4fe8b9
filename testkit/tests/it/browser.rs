//! The browser sees what a person sees, and tells on pages.

use testkit::browser::Browser;
use testkit::port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HOST: &str = "http://example.invalid";

#[tokio::test]
async fn a_page_that_stays_at_home_is_operated_and_all_it_asks_for_is_recorded() {
    let home = serve(
        "",
        r#"<input id="name"><button>greet</button><p id="greeting"></p>
        <script src="/ask.js"></script>
        <script type="module">
            const [name, greeting] = ["name", "greeting"].map((id) => document.getElementById(id));
            document.querySelector("button").onclick = async () => {
                await fetch("/later");
                greeting.innerText = "Hello " + name.value;
            };
            new WebSocket("ws://" + location.host + "/socket");
        </script>"#,
    )
    .await;
    let browser = Browser::start().await;
    browser.open(&home).await;
    browser.click("#name").await;
    browser.keys("Ada").await;
    browser.click("button").await;
    browser.says("#greeting", "Hello Ada").await;
    let requests = browser.requests().await;
    let socket = home.replace("http", "ws");
    for expected in [
        format!("{home}/"),
        format!("{home}/ask.js"),
        format!("{home}/later"),
        format!("{socket}/socket"),
    ] {
        assert!(requests.contains(&expected), "{expected} in {requests:?}");
    }
}

#[tokio::test]
async fn a_quiet_page_is_at_home() {
    let home = serve("", "<p id=\"p\">quiet</p><img src=\"data:,\">").await;
    let browser = Browser::start().await;
    browser.open(&home).await;
    browser.says("#p", "quiet").await;
    browser.assert_at_home(&[&home]).await;
}

#[tokio::test]
async fn a_page_that_asks_a_foreign_host_is_told_on() {
    let page = format!("<script src=\"{HOST}/x.js\"></script><p id=\"p\">after</p>");
    let home = serve("", &page).await;
    let browser = Browser::start().await;
    browser.open(&home).await;
    browser.says("#p", "after").await;
    let requests = browser.requests().await;
    let foreign = format!("{HOST}/x.js");
    assert!(requests.contains(&foreign), "{requests:?}");
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().any(|it| it.contains("NAME_NOT_RESOLVED")),
        "{complaints:?}"
    );
    let told = tokio::spawn(async move { browser.assert_at_home(&[&home]).await });
    let panic = told.await.unwrap_err().into_panic();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains(&foreign), "{text}");
}

#[tokio::test]
async fn what_a_policy_refuses_and_what_a_script_throws_stands_on_the_console() {
    let page = format!(
        "<script>never</script><img src=\"{HOST}/x.png\"><p id=\"p\">after</p>\
         <script src=\"/throw.js\"></script>"
    );
    let home = serve("default-src 'self'", &page).await;
    let browser = Browser::start().await;
    browser.open(&home).await;
    browser.says("#p", "after").await;
    let complaints = browser.complaints().await;
    for expected in [
        "inline script",
        "example.invalid/x.png",
        "thrown on purpose",
    ] {
        assert!(
            complaints.iter().any(|it| it.contains(expected)),
            "{expected:?} in {complaints:?}"
        );
    }
}

/// Answers every request with the page or, where the path says so, with a script; returns the
/// origin.
async fn serve(policy: &'static str, body: &str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", port::free()))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let page = format!("<!doctype html><link rel=\"icon\" href=\"data:,\">{body}");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Browsers open connections ahead, so one must not keep others waiting.
            tokio::spawn(answer(stream, policy, page.clone()));
        }
    });
    format!("http://{address}")
}

async fn answer(mut stream: TcpStream, policy: &str, page: String) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(length) if length > 0 => {}
            _ => return,
        }
    }
    let (media_type, body) = match request.starts_with(b"GET /throw.js ") {
        true => ("text/javascript", "throw new Error('thrown on purpose')"),
        false if request.starts_with(b"GET /ask.js ") => ("text/javascript", "1"),
        false => ("text/html", page.as_str()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\
         Content-Security-Policy: {policy}\r\nConnection: close\r\n\r\n"
    );
    // The browser may have lost interest.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}
