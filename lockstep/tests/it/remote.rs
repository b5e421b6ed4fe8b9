//! Commands that ask a console: they say what they say when they ask databases and Kafka themselves.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use testkit::postgres::Connection;
use testkit::{port, wait};

use crate::command::{Ran, lockstep};
use crate::stack::Stack;

const TABLES: &str =
    "create table members (id int primary key, email text not null unique, name text)";

/// Written beside apply; what the source writes meets it.
const FOREIGN: &str = "insert into members values (99, 'ann@example.org', 'by hand')";

const WRITTEN: &str = "
    insert into members values (1, 'ann@example.org', 'Ann');
    update members set name = 'Ann Smith' where id = 1;
    insert into members values (2, 'bob@example.org', null), (3, 'eve@example.org', 'E');
    insert into articles (title, content, author) values ('Title', 'Text', 'Ann')";

/// A pipeline whose console has a user of each role, and that has set a change aside with the one
/// that follows it.
struct Operated {
    stack: Stack,
    /// Where nothing but the console is known.
    elsewhere: TempDir,
}

const USERS: [&str; 3] = ["ann:viewer", "bob:operator", "eve:admin"];

impl Operated {
    async fn start() -> Self {
        let user = |who| {
            let hash = console::hash_password("secret").expect("hash a password");
            format!("{who}:{hash}")
        };
        let users = USERS.map(user).join(";");
        let env = [
            ("LOCKSTEP_CONFLICTS", "dead-letter"),
            ("LOCKSTEP_CONSOLE_USER", &users),
        ];
        let stack = Stack::start_with(&[], &env);
        stack.ready(1).await;
        let (source, target) = (stack.source().await, stack.target().await);
        source.batch_execute(TABLES).await.expect("make a table");
        stack.write_beside_apply(FOREIGN).await;
        source.batch_execute(WRITTEN).await.expect("write rows");
        wait::until("apply has set changes aside and goes on", async || {
            let seen = "select (select count(*) from lockstep.dead_letters), \
                        (select count(*) from members), (select count(*) from articles)";
            let row = target.query_one(seen, &[]).await;
            let row = row.map_err(|error| error.to_string())?;
            match (row.get(0), row.get(1), row.get(2)) {
                (2_i64, 3_i64, 1_i64) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        Self {
            stack,
            elsewhere: TempDir::new().expect("make a folder"),
        }
    }

    async fn direct(&self, arguments: &[&str]) -> Ran {
        self.stack.run(arguments).await
    }

    async fn remote(&self, user: &str, arguments: &[&str]) -> Ran {
        let console = format!("--console={}", self.stack.console());
        let user = format!("--console-as={user}:secret");
        let arguments = [arguments, &[&console, &user]].concat();
        lockstep(self.elsewhere.path(), &arguments).await
    }

    /// Holds both against each other. What moves between two questions is asked again.
    async fn same(&self, arguments: &[&str]) {
        wait::until(&format!("{arguments:?} say the same"), async || {
            let direct = self.direct(arguments).await;
            let remote = self.remote("bob", arguments).await;
            let said = |ran: &Ran| without_moving(&ran.stdout);
            let (ours, theirs) = (said(&direct), said(&remote));
            if direct.code.is_some() && direct.code == remote.code && ours == theirs {
                assert!(!ours.is_empty(), "{arguments:?} say nothing: {direct:?}");
                return Ok(());
            }
            Err(match ours == theirs {
                true => format!("direct: {direct:?}\nremote: {remote:?}"),
                false => differences(&ours, &theirs),
            })
        })
        .await;
    }

    async fn audited(&self, target: &Connection) -> Vec<(String, String, Option<String>)> {
        let sql = "select who, action, reason from lockstep.audit \
                   where who <> 'apply' order by id";
        let rows = target.query(sql, &[]).await.expect("read the audit log");
        let row = |row: &tokio_postgres::Row| (row.get(0), row.get(1), row.get(2));
        rows.iter().map(row).collect()
    }
}

fn differences(ours: &str, theirs: &str) -> String {
    let lines = operate::schemas::side_by_side(ours, theirs);
    let different = lines.into_iter().filter(|pair| !pair.same);
    let lines = different.map(|pair| {
        let text = |line: Option<operate::schemas::Line>| line.map(|line| line.text);
        format!("{:?} | {:?}", text(pair.left), text(pair.right))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Without what no two looks agree on.
fn without_moving(said: &str) -> String {
    match serde_json::from_str::<Value>(said) {
        Ok(mut json) => {
            // Only a status has stages.
            let moves = json.get("stages").is_some();
            still(&mut json, moves);
            serde_json::to_string_pretty(&json).expect("write JSON")
        }
        Err(_) => said.lines().map(without_age).collect(),
    }
}

/// Rates and trends, which a console knows from earlier looks, and what time does to a pipeline that
/// nobody writes to.
const MOVING: [&str; 11] = [
    "bytes",
    "commit_lsn",
    "commit_to_visible",
    "confirmed_flush_lsn",
    "lsn",
    "restart_lsn",
    "retained_bytes",
    "safe_wal_size",
    "seconds",
    "sent_lsn",
    "trend",
];

fn still(value: &mut Value, moves: bool) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                let is_age = name.ends_with("_seconds") || name.ends_with("_per_second");
                match is_age || moves && MOVING.contains(&name.as_str()) {
                    true => *value = Value::Null,
                    false => still(value, moves),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|it| still(it, moves)),
        _ => {}
    }
}

/// As lines of letters end.
fn without_age(line: &str) -> String {
    let aged = line.strip_suffix(" s ago");
    let rest = aged.and_then(|line| line.rsplit_once(' '));
    format!("{}\n", rest.map_or(line, |(rest, _)| rest))
}

const SUBJECT: &str = "lockstep.public.articles-value";

/// What there is to tell.
const DEEDS: [&[&str]; 4] = [
    &["snapshot", "--table=public.articles", "--reason=a test"],
    &["replay", "--into=copy", "--from-lsn=earliest", "--reason=x"],
    &["verify", "--table=public.articles"],
    &["pause", "--table=public.articles", "--reason=a test"],
];

const QUESTIONS: [&[&str]; 21] = [
    &["dead-letters", "list"],
    &["dead-letters", "list", "--all", "--table=members"],
    &["dead-letters", "list", "--limit=1"],
    &["dead-letters", "show", "1"],
    &["topics", "list"],
    &["topics", "list", "--name=members"],
    &["topics", "records", "public.members", "--earliest"],
    &[
        "topics",
        "records",
        "lockstep.commits",
        "--earliest",
        "--limit=3",
    ],
    &[
        "topics",
        "records",
        "public.members",
        "--key=1",
        "--backwards",
    ],
    &["topics", "records", "public.members", "--at=0:1"],
    &["schemas", "list"],
    &["schemas", "list", "--name=articles", "--deleted"],
    &["schemas", "show", SUBJECT],
    &["schemas", "show", SUBJECT, "--version=1"],
    &["schemas", "diff", SUBJECT, "1", "1"],
    &["schemas", "level"],
    &["schemas", "level", SUBJECT],
    &["schemas", "test", SUBJECT, "schema.json"],
    &["snapshot", "--list"],
    &["verify", "--history"],
    &["replay", "--list"],
];

const WRONG: [&[&str]; 14] = [
    &["dead-letters", "show", "999"],
    &["topics", "records", "members"],
    &["topics", "records", "public.nothing"],
    &["topics", "records", "public.members", "--partition=99"],
    &["schemas", "show", "nothing"],
    &["replay", "--dry-run", "--from-lsn=earliest"],
    &["replay", "--dry-run"],
    &["replay", "--from-lsn=earliest"],
    &["replay", "--cancel=999"],
    &["pause", "--table=public.articles"],
    &["pause", "capture", "--table=public.articles"],
    &["resume", "--table=public.members"],
    &["snapshot", "--table=public.nothing"],
    &["snapshot", "--cancel=999"],
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_console_tells_is_what_commands_find_by_themselves() {
    let operated = Operated::start().await;
    for deed in DEEDS {
        operated.direct(deed).await.well();
    }
    let schema = ["schemas", "show", SUBJECT, "--version=1"];
    let schema = operated.direct(&schema).await.well();
    for folder in [operated.stack.process.dir(), operated.elsewhere.path()] {
        std::fs::write(folder.join("schema.json"), &schema).expect("write a schema");
    }
    operated.same(&["status", "--json"]).await;
    for question in QUESTIONS {
        operated.same(question).await;
        operated.same(&[question, &["--json"]].concat()).await;
    }
    let dry_run = dry_run_of(operated.direct(&DRY_RUN).await);
    assert_eq!(dry_run_of(operated.remote("bob", &DRY_RUN).await), dry_run);
    let mut faults = Vec::new();
    for wrong in WRONG {
        let direct = operated.direct(wrong).await;
        let remote = operated.remote("bob", wrong).await;
        let cause = direct.stderr.trim_start_matches("error: ");
        let refused = direct.code == Some(1) && remote.code == Some(1);
        if !refused || !remote.stderr.contains(cause) {
            faults.push(format!("{wrong:?}\ndirect: {direct:?}\nremote: {remote:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

const DRY_RUN: [&str; 5] = [
    "replay",
    "--dry-run",
    "--json",
    "--from-lsn=earliest",
    "--table=articles_migrations",
];

/// It ends where apply is, and that moves on.
#[track_caller]
fn dry_run_of(ran: Ran) -> Value {
    let mut report: Value = serde_json::from_str(&ran.well()).expect("JSON");
    assert!(report["total"]["read"].as_u64() > Some(0), "{report}");
    for moving in ["to_lsn", "at_lsn", "seconds"] {
        assert!(report[moving].take() != Value::Null, "{moving}");
    }
    report
}

const FOR_OPERATORS: [&[&str]; 13] = [
    &["pause"],
    &["resume"],
    &["pause", "capture"],
    &["resume", "capture"],
    &["pause", "--table=public.articles"],
    &["resume", "--table=public.articles"],
    &["snapshot", "--table=public.articles"],
    &["snapshot", "--cancel=1"],
    &["dead-letters", "show", "1"],
    &["dead-letters", "redrive", "--all"],
    &["replay", "--dry-run", "--from-lsn=earliest"],
    &["replay", "--cancel=1"],
    &["replay", "--resume=1"],
];

const FOR_ADMINS: [&[&str]; 3] = [
    &["dead-letters", "discard", "1", "--reason=x"],
    &["schemas", "level", "--set=full"],
    &["schemas", "delete", SUBJECT],
];

/// Who does what, as what it is in the audit log, and what is said.
const DONE: [(&str, &[&str], &str, &str); 15] = [
    (
        "bob",
        &["pause"],
        "pause apply",
        "apply is paused; `lockstep resume`",
    ),
    ("bob", &["resume"], "resume apply", "apply goes on"),
    (
        "bob",
        &["pause", "capture"],
        "pause capture",
        "`lockstep resume capture` lets it",
    ),
    (
        "bob",
        &["resume", "capture"],
        "resume capture",
        "capture goes on within",
    ),
    (
        "bob",
        &["pause", "--table=articles"],
        "pause table",
        "public.articles is held",
    ),
    (
        "bob",
        &["resume", "--table=articles"],
        "resume table",
        "where all others are",
    ),
    (
        "bob",
        &["snapshot", "--table=articles"],
        "snapshot",
        "public.articles: ",
    ),
    (
        "bob",
        &["dead-letters", "redrive", "1"],
        "redrive dead letters",
        "2 applied, 0 refused",
    ),
    (
        "bob",
        &["replay", "--into=copy"],
        "replay",
        "is done; the rows are as they were",
    ),
    (
        "eve",
        &["dead-letters", "discard", "1"],
        "discard dead letters",
        "0 discarded",
    ),
    (
        "eve",
        &["schemas", "level", "--set=full"],
        "schemas level",
        "FULL, the global level",
    ),
    (
        "eve",
        &["schemas", "level", SUBJECT, "--set=none"],
        "schemas level",
        "NONE",
    ),
    (
        "eve",
        &["schemas", "level", SUBJECT, "--clear"],
        "schemas level",
        "FULL, the global",
    ),
    (
        "eve",
        &["schemas", "delete", SUBJECT],
        "schemas delete",
        "deleted; its schemas",
    ),
    (
        "eve",
        &["schemas", "delete", SUBJECT, "--permanent"],
        "schemas delete",
        "for ever",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_console_does_what_roles_allow_and_writes_down_who_signed_in() {
    let operated = Operated::start().await;
    let target = operated.stack.target().await;
    for (user, role, refused) in [
        ("ann", "operator", &FOR_OPERATORS[..]),
        ("ann", "admin", &FOR_ADMINS[..]),
        ("bob", "admin", &FOR_ADMINS[..]),
    ] {
        for command in refused {
            let ran = operated.remote(user, command).await;
            assert_eq!(ran.code, Some(1), "{command:?}: {ran:?}");
            assert!(ran.stderr.contains(role), "{command:?}: {ran:?}");
            assert!(ran.stderr.contains("--console-as"), "{ran:?}");
        }
    }
    assert_eq!(operated.audited(&target).await, []);

    let by_hand = "delete from members where id = 99";
    target.execute(by_hand, &[]).await.expect("make way");
    let mut expected = Vec::new();
    for (user, command, action, said) in DONE {
        let command = [command, &["--reason=a test"]].concat();
        let ran = operated.remote(user, &command).await;
        assert_eq!(ran.code, Some(0), "{command:?}: {ran:?}");
        assert!(ran.stdout.contains(said), "{command:?}: {ran:?}");
        let reason = Some("a test".to_owned());
        expected.push((user.to_owned(), action.to_owned(), reason));
    }
    assert_eq!(operated.audited(&target).await, expected);

    for (command, words) in [
        (&["pause", "--who=eve"][..], "leave out --who"),
        (&["verify"], "leave out --console"),
    ] {
        let ran = operated.remote("bob", command).await;
        assert_eq!(ran.code, Some(1), "{command:?}: {ran:?}");
        assert!(ran.stderr.contains(words), "{command:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_is_away_or_asks_for_more_is_named_with_the_mend() {
    let stack = Stack::start_with(&[], &[]);
    stack.ready(1).await;
    let folder = TempDir::new().expect("make a folder");
    let run = async |arguments: &[&str]| lockstep(folder.path(), arguments).await;
    let url = stack.console();
    let at = format!("--console={url}");
    // Where nobody has to sign in, commands need not either.
    run(&["pause", &at]).await.well();
    run(&["resume", &at]).await.well();
    run(&["topics", "list", &at]).await.well();
    settings_name_it_too(folder.path(), &url).await;

    let nobody = format!("--console=http://127.0.0.1:{}", port::free());
    let registry = format!("--console={}", stack.registry());
    for (console, words) in [
        (&*nobody, ["does not answer", "127.0.0.1", "--console"]),
        (&*registry, ["is no console", "127.0.0.1", "404"]),
        (
            "--console=ftp://host",
            ["console's URL", "http://", "https://"],
        ),
    ] {
        let ran = run(&["topics", "list", console]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?} is missing: {ran:?}");
        }
    }
    let ran = run(&["topics", "list", &at, "--console-as=ann"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("NAME:PASSWORD"), "{ran:?}");
}

/// The settings file serves them as it does the others.
async fn settings_name_it_too(folder: &Path, url: &str) {
    let file = folder.join("lockstep.toml");
    let password = folder.join("password");
    std::fs::write(&password, "secret\n").expect("write a password");
    let user = format!("ann:file:{}", password.display());
    let settings = format!("console = '{url}'\nconsole_as = '{user}'\n");
    std::fs::write(&file, settings).expect("write settings");
    lockstep(folder, &["schemas", "list"]).await.well();
    std::fs::remove_file(&file).expect("remove the settings");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_wants_to_know_who_asks() {
    let operated = Operated::start().await;
    let at = format!("--console={}", operated.stack.console());
    let elsewhere = operated.elsewhere.path();
    let unknown = lockstep(elsewhere, &["status", &at]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("--console-as NAME:PASSWORD"),
        "{unknown:?}"
    );
    let wrong = lockstep(elsewhere, &["status", &at, "--console-as=ann:wrong"]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains("name or password are wrong"),
        "{wrong:?}"
    );
    assert!(!wrong.stderr.contains("ann:wrong"), "{wrong:?}");
}
