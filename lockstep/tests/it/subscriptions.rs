//! Changes of articles as they happen, through WebSockets.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use testkit::process::Process;
use testkit::{port, wait};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::command;
use crate::stack::Stack;

/// A client that speaks graphql-transport-ws.
struct Subscriber {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Subscriber {
    async fn connect(stack: &Stack) -> Self {
        Self::connect_to(&stack.graphql()).await
    }

    async fn connect_to(graphql: &str) -> Self {
        let url = graphql.replace("http://", "ws://");
        let mut request = url.into_client_request().expect("a URL");
        let protocol = "graphql-transport-ws".parse().expect("a header's value");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (socket, _) = connect_async(request).await.expect("open a socket");
        let mut subscriber = Self { socket };
        subscriber.send(&json!({"type": "connection_init"})).await;
        assert_eq!(subscriber.receive().await["type"], "connection_ack");
        subscriber
    }

    /// Subscribes, and knows that it is when it returns: a query that was sent after has been answered.
    async fn subscribe(&mut self, query: &str) {
        let subscribe = json!({"id": "1", "type": "subscribe", "payload": {"query": query}});
        self.send(&subscribe).await;
        let probe =
            json!({"id": "probe", "type": "subscribe", "payload": {"query": "{ __typename }"}});
        self.send(&probe).await;
        while self.receive().await["id"] != "probe" {}
        assert_eq!(self.receive().await["type"], "complete");
    }

    /// The next answer of the subscription.
    async fn next(&mut self) -> Value {
        let mut message = self.receive().await;
        assert_eq!(message["type"], "next", "{message}");
        message["payload"].take()
    }

    async fn send(&mut self, message: &Value) {
        let message = Message::text(message.to_string());
        self.socket.send(message).await.expect("send a message");
    }

    async fn receive(&mut self) -> Value {
        // Pings come also while nothing else does.
        let text = async {
            loop {
                let message = self.socket.next().await.expect("an open socket");
                if let Message::Text(text) = message.expect("a message") {
                    return text;
                }
            }
        };
        let text = tokio::time::timeout(wait::PATIENCE, text).await;
        serde_json::from_str(&text.expect("a message in time")).expect("JSON")
    }
}

const FIELDS: &str = "operation id position committedAt article { title status content }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_by_sql_reaches_a_subscriber() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let source = stack.source().await;
    // Long and random, so that it stands out of line and an update does not carry it.
    let insert = "insert into articles (title, content, author)
                  select 'One', string_agg(md5(n::text), ''), 'Ann' from generate_series(1, 500) n
                  returning id, content";
    let mut all = Subscriber::connect(&stack).await;
    all.subscribe(&format!("subscription {{ articleChanged {{ {FIELDS} }} }}"))
        .await;
    let row = source.query_one(insert, &[]).await.unwrap();
    let (id, content): (i64, String) = (row.get(0), row.get(1));

    let inserted = &all.next().await["data"]["articleChanged"];
    assert_eq!(
        (&inserted["operation"], &inserted["id"]),
        (&json!("INSERT"), &json!(id.to_string()))
    );
    assert_eq!(inserted["article"]["content"], content);

    let mut drafts = Subscriber::connect(&stack).await;
    let drafts_only = "subscription { articleChanged(status: DRAFT) { article { title } } }";
    drafts.subscribe(drafts_only).await;
    let mut other = Subscriber::connect(&stack).await;
    let other_only = format!(
        "subscription {{ articleChanged(id: {}) {{ operation }} }}",
        id + 1
    );
    other.subscribe(&other_only).await;

    let update = "update articles set title = $2, status = $3,
                         published_at = case when $3 = 'published' then now() end
                   where id = $1";
    for (title, status) in [("Two", "published"), ("Three", "draft")] {
        source
            .execute(update, &[&id, &title, &status])
            .await
            .unwrap();
        let updated = &all.next().await["data"]["articleChanged"];
        assert_eq!(updated["operation"], "UPDATE");
        assert_eq!(updated["article"]["title"], title);
        assert_eq!(updated["article"]["status"], status.to_uppercase());
        assert_eq!(updated["article"]["content"], content, "it was not touched");
    }
    let draft = &drafts.next().await["data"]["articleChanged"]["article"];
    assert_eq!(draft["title"], "Three");

    // Several in one transaction, in their order; through REST as through SQL.
    source
        .batch_execute(
            "begin; update articles set title = 'a', content = ''; update articles set title = 'b';
             delete from articles; commit",
        )
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let change = all.next().await["data"]["articleChanged"].take();
        seen.push((
            change["operation"].clone(),
            change["article"]["title"].clone(),
        ));
    }
    let expected = [
        ("UPDATE", json!("a")),
        ("UPDATE", json!("b")),
        ("DELETE", Value::Null),
    ];
    let expected = expected.map(|(operation, title)| (json!(operation), title));
    assert_eq!(seen, expected);
    let create = "insert into articles (title, content, author) values ('next', 'c', 'a')";
    source.batch_execute(create).await.unwrap();
    assert_eq!(
        other.next().await["data"]["articleChanged"]["operation"],
        "INSERT"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pipelines_positions_are_a_subscription() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let fields = "source { position at } topics { position epoch committedAt } \
                  target { position phase committedAt appliedAt } \
                  captureLag { bytes milliseconds } applyLag { bytes milliseconds } caughtUp unknown";
    let mut subscriber = Subscriber::connect(&stack).await;
    let subscription = format!("subscription {{ replication(intervalMs: 200) {{ {fields} }} }}");
    let subscribe = json!({"id": "1", "type": "subscribe", "payload": {"query": subscription}});
    subscriber.send(&subscribe).await;
    let source = stack.source().await;
    let write = "insert into articles (title, content, author) values ('t', 'c', 'a')";
    source.batch_execute(write).await.unwrap();
    let position = "select pg_current_wal_flush_lsn()::text";
    let written: String = source.query_one(position, &[]).await.unwrap().get(0);
    let written: change::Lsn = written.parse().unwrap();
    // Reports go on, and come to say that the write is everywhere.
    loop {
        let report = subscriber.next().await["data"]["replication"].take();
        assert_eq!(report["target"]["phase"], "streaming");
        let applied = report["target"]["position"].as_str().unwrap();
        let applied: change::Lsn = applied.parse().unwrap();
        // The first ones may be made before a commits record was read.
        let is_known = report["unknown"] == json!([]);
        if is_known && applied >= written.just_before() && report["caughtUp"] == true {
            assert_eq!(report["captureLag"]["bytes"], 0.0, "{report}");
            assert_eq!(report["applyLag"]["milliseconds"], 0.0, "{report}");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_for_own_pages_and_known_protocols() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let url = stack.graphql().replace("http://", "ws://");
    let attempt = async |headers: &[(&'static str, &str)]| {
        let mut request = url.as_str().into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((_, response)) => response.status().as_u16(),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                response.status().as_u16()
            }
            Err(error) => panic!("{error}"),
        }
    };
    let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
    let own = stack.graphql().trim_end_matches("/graphql").to_owned();
    assert_eq!(attempt(&[protocol]).await, 101);
    assert_eq!(attempt(&[protocol, ("origin", &own)]).await, 101);
    assert_eq!(
        attempt(&[protocol, ("origin", "http://evil.example")]).await,
        403
    );
    assert_eq!(attempt(&[]).await, 400);
    assert_eq!(attempt(&[("sec-websocket-protocol", "chat")]).await, 400);

    // What HTTP refuses, sockets refuse too.
    let mut subscriber = Subscriber::connect(&stack).await;
    let aliases: String = (0..40).map(|n| format!("a{n}: __typename ")).collect();
    let query = format!("subscription {{ articleChanged {{ {aliases} }} }}");
    let subscribe = json!({"id": "1", "type": "subscribe", "payload": {"query": query}});
    subscriber.send(&subscribe).await;
    let refused = subscriber.receive().await;
    assert!(
        refused.to_string().contains("TOO_MANY_ALIASES"),
        "{refused}"
    );
}

/// All else dies and comes back; the gateway's subscribers see every change once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_outlive_the_death_of_all_else() {
    let mut stack = Stack::start(&[]);
    stack.ready(1).await;
    let listen = format!("127.0.0.1:{}", port::free());
    let arguments = [
        "gateway".to_owned(),
        format!("--gateway-listen={listen}"),
        format!("--gateway-rest={}", stack.api()),
        format!("--kafka={}", stack.kafka()),
        format!("--registry={}", stack.registry()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let gateway = Process::start(command::launch("gateway", &arguments));
    // The client wants a provider even where it speaks no TLS; another test may have set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let health = format!("http://{listen}/health");
    wait::until(
        "the gateway follows the topics",
        async || match reqwest::get(&health).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            answer => Err((answer.map(|it| it.status()), gateway.output())),
        },
    )
    .await;
    let mut subscriber = Subscriber::connect_to(&format!("http://{listen}/graphql")).await;
    let title = "subscription { articleChanged { article { title } } }";
    subscriber.subscribe(title).await;

    let mut written = 0;
    let mut expected = 1;
    for life in 1..=3 {
        let source = stack.source().await;
        if life == 1 {
            let insert = "insert into articles (title, content, author) values ('0', 'c', 'a')";
            source.batch_execute(insert).await.unwrap();
            assert_eq!(
                subscriber.next().await["data"]["articleChanged"]["article"]["title"],
                "0"
            );
        }
        for _ in 0..300 {
            written += 1;
            let update = format!("update articles set title = '{written}'");
            source.batch_execute(&update).await.unwrap();
        }
        // Whatever is on its way now dies with all of them.
        stack.process.kill_9();
        stack.process.restart();
        stack.ready(life + 1).await;
        while expected <= written {
            let change = subscriber.next().await;
            let title = &change["data"]["articleChanged"]["article"]["title"];
            assert_eq!(title, &json!(expected.to_string()), "{change}");
            expected += 1;
        }
    }
}
