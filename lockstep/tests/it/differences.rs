//! A target whose tables differ from the source's: by the applier's options, and by themselves.
//!
//! What the target must hold is a query on the source.

use testkit::postgres::Connection;
use testkit::process::Process;
use testkit::wait;

use crate::pipeline::Pipeline;

/// With a hash as the applier makes it (RFC 2104), of a text.
const SOURCE: &str = "
    create schema app;
    create table people (id int primary key, name text not null, ssn text, email text, phone text,
        note text, big text, score smallint, ratio real, code varchar(10), amount numeric(8,2));
    alter table people alter big set storage external;
    alter table people alter ssn set storage external;
    create table app.visits (id int primary key, person int, at timestamp(3));
    create table loose (a int, secret text, gone int, b numeric(6,2));
    alter table loose replica identity full;
    create table plain (id int primary key, n int);
    create function hashed(value text) returns text language plpgsql immutable strict as $$
    declare
        inner_pad bytea := decode(repeat('36', 64), 'hex');
        outer_pad bytea := decode(repeat('5c', 64), 'hex');
        key constant bytea := 'a secret key';
    begin
        for at in 0 .. length(key) - 1 loop
            inner_pad := set_byte(inner_pad, at, get_byte(key, at) # 54);
            outer_pad := set_byte(outer_pad, at, get_byte(key, at) # 92);
        end loop;
        return encode(sha256(outer_pad || sha256(inner_pad || convert_to(value, 'UTF8'))), 'hex');
    end $$";

/// In another order, wider, with more columns, indexes and triggers. The schema crm has the tables of app,
/// which apply makes.
const TARGET: &str = "
    create schema crm;
    create table crm.persons (extra int not null default 7, amount numeric(12,4), full_name text not null,
        id bigint primary key, email text, phone varchar default 'unknown', note varchar(20) not null,
        big text, score numeric, ratio double precision, code text, at timestamptz default now());
    create index on crm.persons (email, full_name);
    create function crm.refuse() returns trigger language plpgsql as
        $$ begin raise exception 'fired'; end $$;
    create trigger refuse before insert or update or delete on crm.persons
        for each row execute function crm.refuse();
    create table crm.loose (own text default 'own', b numeric(10,4), number bigint, secret text);
    create index on crm.loose (number)";

const OPTIONS: [&str; 12] = [
    "--rename=public.people=crm.persons",
    "--rename=public.loose=crm.loose",
    "--rename-schema=app=crm",
    "--rename-column=public.people.name=full_name",
    "--rename-column=public.loose.a=number",
    "--rename-column=public.plain.id=key number",
    "--leave-out=public.people.ssn;public.loose.gone",
    "--mask=public.people.email=hash",
    "--mask=public.people.phone=null",
    "--mask=public.people.note=constant:it's hidden",
    "--mask=public.loose.secret=hash",
    "--mask-key=a secret key",
];

/// What the target must hold, by the source; and what it holds.
const ROWS: [(&str, &str); 4] = [
    (
        "select id::bigint, name, hashed(email), null::varchar, 'it''s hidden'::varchar(20), big,
                score::numeric, ratio::float8, code::text, amount::numeric(12,4), 7 as extra from people",
        "select id, full_name, email, phone, note, big, score, ratio, code, amount, extra
           from crm.persons",
    ),
    ("select id, person, at from app.visits", "select id, person, at from crm.visits"),
    (
        "select a::bigint, hashed(secret), b::numeric(10,4), 'own' from loose",
        "select number, secret, b, own from crm.loose",
    ),
    ("select id, n from plain", "select \"key number\", n from plain"),
];

async fn rows(client: &Connection, query: &str) -> Vec<String> {
    let sql = format!("select r::text from ({query}) as r order by 1");
    let rows = client.query(&sql, &[]).await.expect("read rows");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn run(client: &Connection, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
}

const BEFORE: &str = "
    insert into people select n, 'name ' || n, 'ssn' || n, case when n % 3 > 0 then 'm' || n end, '0' || n,
        'a note', repeat('x', 3000), n, n / 7.0, 'c' || n, n / 100.0 from generate_series(1, 300) n;
    insert into app.visits select n, n, now() from generate_series(1, 300) n;
    insert into loose select n % 50, 's' || n % 2, n, n % 3 from generate_series(1, 300) n;
    insert into plain select n, n from generate_series(1, 300) n";

/// `$` stands for a number that no row has.
const CHANGES: [&str; 9] = [
    "insert into people values ($, 'one', 'ssn', 'é@x', null, null, null, -1, 'NaN', '', 'NaN')",
    "insert into people select $ + n, 'many', repeat('s', 3000), 'm', 'p', 'n', repeat('y', 3000), n
       from generate_series(1, 250) n",
    "update people set name = 'two', note = 'other', email = 'new' where id in ($, $ + 1, 3)",
    "update people set score = score + 1 where id % 2 = 0; update people set ssn = 'no' where id = 5",
    "update people set id = id + 1000000 where id between $ + 20 and $ + 25;
     delete from people where id between $ + 100 and $ + 230",
    "insert into app.visits select $ + n, 1, now() from generate_series(1, 5) n;
     update app.visits set person = 9 where id = $ + 1; delete from app.visits where id = $ + 2",
    "insert into loose values ($, 's', 1, 1.5), ($, 's', 2, 1.5), ($, null, 3, null);
     delete from loose where a = $ and gone = 2; update loose set b = 7 where a = $ and gone = 1;
     delete from loose where a = 3",
    "insert into plain values ($, 1); update plain set n = n + 1",
    "begin; truncate loose, app.visits; insert into loose values ($, 'after', 1, 2);
     insert into app.visits values ($, 1, now()); commit",
];

struct Running {
    pipeline: Pipeline,
    source: Connection,
    target: Connection,
    _cdc: Process,
    applier: Process,
}

impl Running {
    /// With rows from before, which are on the target.
    async fn new() -> Self {
        let pipeline = Pipeline::new().await;
        let source = pipeline.source.client().await;
        let target = pipeline.target.client().await;
        run(&source, SOURCE).await;
        run(&source, BEFORE).await;
        run(&target, TARGET).await;
        for command in ["check", "setup"] {
            let arguments = [&[command], &OPTIONS[..]].concat();
            pipeline.run(&arguments).await.well();
        }
        let (cdc, applier) = (pipeline.cdc(), pipeline.applier_with(&OPTIONS));
        pipeline.streaming().await;
        Self {
            pipeline,
            source,
            target,
            _cdc: cdc,
            applier,
        }
    }

    async fn change(&self, number: u32) {
        for change in CHANGES {
            let number = (number * 10_000).to_string();
            run(&self.source, &change.replace('$', &number)).await;
        }
    }

    async fn run(&self, changes: &[&str]) {
        for change in changes {
            run(&self.source, change).await;
        }
        self.caught_up().await;
    }

    /// What a command says that finds all to be well.
    async fn well(&self, command: &[&str], more: &[&str]) -> String {
        self.pipeline.run(&[command, more].concat()).await.well()
    }

    async fn caught_up(&self) {
        self.pipeline.caught_up(&self.source, &self.target).await;
    }

    /// Whether the target holds what the source says.
    async fn assert_same(&self, (there, here): (&str, &str)) {
        let there = rows(&self.source, there).await;
        assert_eq!(there, rows(&self.target, here).await, "{here}");
    }

    async fn assert_all_same(&self) {
        self.caught_up().await;
        for queries in ROWS {
            self.assert_same(queries).await;
        }
    }

    async fn snapshot(&self, table: &str) {
        self.well(&["snapshot", "--table", table], &[]).await;
        let state = "select state from lockstep.snapshots order by id desc limit 1";
        wait::until("the table is read again", async || {
            let row = self.source.query_one(state, &[]).await.expect("ask");
            match row.get::<_, &str>(0) {
                "done" => Ok(()),
                state => Err(state.to_owned()),
            }
        })
        .await;
    }

    /// The tables that wait, with the reason.
    async fn held(&self) -> Vec<String> {
        let held = "select table_schema || '.' || table_name || ': ' || reason as held
                      from lockstep.held_tables";
        rows(&self.target, held).await
    }

    async fn waits_for(&self, reason: &str) {
        wait::until("the table waits", async || match &self.held().await[..] {
            [one] if one.contains(reason) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_differs_holds_what_it_is_to_hold() {
    let mut running = Running::new().await;
    running.assert_all_same().await;
    running.change(1).await;
    running.assert_all_same().await;
    for number in 2..5 {
        running.change(number).await;
        running.applier.kill_9();
        running.applier.restart();
    }
    running.assert_all_same().await;
    let harm = "set session_replication_role = replica; delete from crm.persons where id < 50;
                update crm.persons set note = 'seen', email = 'seen', full_name = 'x' where id < 90";
    run(&running.target, harm).await;
    running.snapshot("public.people").await;
    running.assert_all_same().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_compared_and_repaired_as_it_is_to_be() {
    let running = Running::new().await;
    running.change(1).await;
    running.caught_up().await;
    let said = running.well(&["verify"], &[]).await;
    assert!(said.contains("(without ssn, email, phone, note)"), "{said}");
    assert!(said.contains("public.loose: equal"), "{said}");

    let harm = "set session_replication_role = replica;
                update crm.persons set full_name = 'x' where id = 7;
                update crm.persons set ratio = 1e300, id = 5000000000 where id = 8;
                update crm.visits set person = 0 where id = 10000;
                delete from crm.loose where number = 10000;
                update plain set n = -1 where \"key number\" = 4;
                delete from plain where \"key number\" between 5 and 9; insert into plain values (-7)";
    run(&running.target, harm).await;
    let ran = running.pipeline.run(&["verify"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for line in [
        "different: id = 7: name",
        "extra: id = 5000000000",
        "missing: id = 8",
        "public.loose: DIFFERENT",
        "1 missing, 1 extra, 1 different",
        "5 missing, 1 extra, 1 different",
    ] {
        assert!(ran.stdout.contains(line), "{line}: {ran:?}");
    }
    let tables = ["--table=app.visits", "--table=public.plain"];
    running.well(&["verify", "--repair"], &tables).await;
    running.assert_same(ROWS[1]).await;
    running.assert_same(ROWS[3]).await;
    let masked = ["verify", "--repair", "--table=public.people"];
    let ran = running.pipeline.run(&masked).await;
    let refused = "public.people has masked columns";
    assert!(ran.stdout.contains(refused), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_replayed_as_it_is_to_be() {
    let running = Running::new().await;
    running.change(1).await;
    running.caught_up().await;
    let harm = "set session_replication_role = replica; delete from crm.persons where id < 50;
                update crm.persons set note = 'seen', email = 'seen' where id between 60 and 70";
    run(&running.target, harm).await;
    let replay = ["replay", "--from-lsn=earliest", "--reason=test"];
    let replay = [&replay[..], &["--table=public.people"]].concat();
    let ran = running.pipeline.run(&replay).await;
    assert!(ran.stderr.contains("--mask-key"), "{ran:?}");
    let key = ["--mask-key=another"];
    let ran = running.pipeline.run(&[&replay[..], &key].concat()).await;
    assert!(ran.stderr.contains("not that of apply"), "{ran:?}");
    let key = ["--mask-key=a secret key"];
    running.well(&replay, &key).await;
    running.assert_same(ROWS[0]).await;

    let into = ["replay", "--into=copied", "--reason=test"];
    running.well(&into, &key).await;
    let people = ROWS[0].1.replace("crm.persons", "copied.\"crm.persons\"");
    let people = people.replace(", extra", ", 7 as extra");
    running.assert_same((ROWS[0].0, &people)).await;
    let loose = "select number, secret, b, 'own' from copied.\"crm.loose\"";
    running.assert_same((ROWS[2].0, loose)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_differ_change_with_the_sources() {
    let running = Running::new().await;
    let changes = [
        "alter table people add column more int default 5",
        "insert into people (id, name, ssn, more) values (1001, 'a', 'b', 6)",
        "create index people_by_name on people (name desc, id)",
        "alter table people drop column ssn",
        "alter table people add constraint unique_name unique (name, id)",
        "alter table app.visits add column seen timestamptz not null default now()",
        "alter table app.visits rename to seen_visits",
        "create table app.more (id serial primary key, person int references people)",
        "insert into app.more (person) values (1), (2)",
    ];
    running.run(&changes).await;
    assert_eq!(running.held().await, [""; 0]);
    let people = "select id::bigint, name, more from people";
    let persons = "select id, full_name, more from crm.persons";
    running.assert_same((people, persons)).await;
    for table in ["seen_visits", "more"] {
        let of = |schema| format!("select * from {schema}.{table}");
        running.assert_same((&of("app"), &of("crm"))).await;
    }
    let made = "select indexname::text, pg_get_constraintdef(c.oid) from pg_indexes
                  left join pg_constraint c on c.conname = indexname
                 where schemaname = 'crm' and indexname in ('people_by_name', 'unique_name', 'more_pkey')
                 union select conname, pg_get_constraintdef(oid) from pg_constraint
                        where conrelid = 'crm.more'::regclass and contype = 'f'";
    assert_eq!(
        rows(&running.target, made).await,
        [
            r#"(more_person_fkey,"FOREIGN KEY (person) REFERENCES crm.persons(id)")"#,
            r#"(more_pkey,"PRIMARY KEY (id)")"#,
            "(people_by_name,)",
            r#"(unique_name,"UNIQUE (full_name, id)")"#
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_waits_when_what_options_name_is_renamed() {
    let mut running = Running::new().await;
    let changes = [
        "alter table people rename column name to called; insert into plain values (-1, 1)",
        "insert into people (id, called, email) values (1002, 'later', 'a@b')",
    ];
    running.run(&changes).await;
    let reason = "column called was renamed, and options of the applier name it";
    running.waits_for(reason).await;
    running.assert_same(ROWS[3]).await;
    running.applier.kill_9();
    let options = OPTIONS.map(|it| it.replace("people.name=", "people.called="));
    let options = options.each_ref().map(String::as_str);
    running.applier = running.pipeline.applier_with(&options);
    let warning = "table public.people or its columns are called on the target otherwise";
    running.applier.printed(warning).await;
    let resume = ["resume", "--table=public.people"];
    let key = ["--mask-key=a secret key"];
    running.well(&resume, &key).await;
    running.caught_up().await;
    let people = ROWS[0].0.replace("name", "called");
    running.assert_same((&people, ROWS[0].1)).await;
}

#[tokio::test]
async fn check_names_what_does_not_fit() {
    let pipeline = Pipeline::new().await;
    let (source, target) = (
        pipeline.source.client().await,
        pipeline.target.client().await,
    );
    run(
        &source,
        "create table a (id int primary key, n numeric(8,2), t text, u int);
         create table b (id int primary key); create table c (id int primary key)",
    )
    .await;
    run(
        &target,
        "create table x (id bigint primary key, n numeric(8,1), t text not null);
         create table b (id int primary key)",
    )
    .await;
    let wrong = async |options: &[&str]| {
        let ran = pipeline.run(&[&["check"], options].concat()).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        ran.stdout
    };
    let rename = "--rename=public.a=public.x";
    let said = wrong(&[rename, "--leave-out=public.a.u"]).await;
    let narrow = "public.x: column n is numeric(8,1), on the source numeric(8,2)";
    assert!(said.contains(narrow), "{said}");
    run(&target, "alter table x alter n type numeric").await;
    let said = wrong(&[rename, "--mask=public.a.u=null"]).await;
    assert!(said.contains("public.x has no column u"), "{said}");
    let said = wrong(&[rename, "--leave-out=public.a.u", "--mask=public.a.t=null"]).await;
    assert!(
        said.contains("public.x: column t is NOT NULL and masked by null"),
        "{said}"
    );
    for (options, expected) in [
        (
            &["--rename=public.q=public.x"][..],
            "table public.q is not published",
        ),
        (
            &["--leave-out=public.a.q"],
            "column q of table public.a is not published",
        ),
        (
            &["--mask=public.a.id=hash", "--mask-key=k"],
            "column id is of the key of public.a",
        ),
        (
            &["--rename=public.b=public.c"],
            "public.b and public.c go into one table",
        ),
        (&["--mask=public.a.t=hash"], "hashes need a key"),
        (
            &["--leave-out=public.a.t", "--mask=public.a.t=null"],
            "two options for public.a.t",
        ),
    ] {
        let said = wrong(options).await;
        assert!(said.contains(expected), "{options:?}: {said}");
    }
}
