//! `lockstep topics`: the records that stand in the topics.

use std::process::ExitCode;
use std::time::Duration;

use change::Lsn;
use change::topic::Topics;
use chrono::{DateTime, Utc};
use operate::kafka::Kafka;
use operate::registry::Registry;
use operate::topics::{
    self, Cell, Cursor, Direction, Listing, Page, Plans, Question, RECORDS_MAX, Record, Shown,
    Slice, Standing, Start, Topic, topic_of,
};

use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::commands::remote::Remote;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the topics with what they hold and how far apply is in each
    List(Box<List>),
    /// Show records of a topic, decoded
    Records(Box<Records>),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    pipeline: PipelineConfig,

    /// Only topics whose names hold this
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Records {
    #[command(flatten)]
    pipeline: PipelineConfig,

    /// Name of the topic, or schema.table
    topic: String,

    /// Only this partition; repeatable
    #[arg(long, value_name = "NUMBER")]
    partition: Vec<i32>,

    #[command(flatten)]
    start: StartFlags,

    /// Read towards the beginning
    #[arg(long)]
    backwards: bool,

    /// Only records of this key: 7, or id=7
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,

    /// Records to show
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Where to begin; the latest records when nothing says.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct StartFlags {
    /// Begin with the first records
    #[arg(long)]
    earliest: bool,

    /// Begin at this offset of each partition
    #[arg(long, value_name = "OFFSET")]
    from_offset: Option<u32>,

    /// Begin with the transaction that committed there, or the next one
    #[arg(long, value_name = "LSN")]
    from_lsn: Option<Lsn>,

    /// Begin at this time, as 2026-02-28T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from_time: Option<DateTime<Utc>>,

    /// Begin at this place, as an earlier page named it
    #[arg(long, value_name = "PLACE")]
    at: Option<Cursor>,
}

/// Each question to Kafka is given up after it.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// # Errors
/// When Kafka or the registry does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    match config.action {
        Action::List(list) => show_list(*list).await?,
        Action::Records(records) => show_records(*records).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show_list(list: List) -> anyhow::Result<()> {
    let listing = match list.pipeline.open()? {
        Pipeline::Direct(endpoints) => {
            let kafka = Kafka::new(&endpoints, ANSWER_LIMIT);
            let all = Slice {
                name: list.name,
                skip: 0,
                limit: usize::MAX,
            };
            topics::list(&kafka, &endpoints.names, &all).await?
        }
        Pipeline::Remote(console) => list_there(&console, &list.name).await?,
    };
    if list.json {
        screen::line(&serde_json::to_string_pretty(&listing)?);
        return Ok(());
    }
    for topic in &listing.topics {
        screen::line(&listed(topic));
    }
    Ok(())
}

/// A console tells them page by page.
async fn list_there(console: &Remote, name: &str) -> anyhow::Result<Listing> {
    let mut all: Listing = console.get(&["topics"], &[("name", name)]).await?;
    while all.topics.len() < all.total {
        let query = [("name", name), ("from", &all.topics.len().to_string())];
        let more: Listing = console.get(&["topics"], &query).await?;
        if more.topics.is_empty() {
            break;
        }
        all.topics.extend(more.topics);
    }
    Ok(all)
}

fn listed(topic: &Topic) -> String {
    let known = |number: Option<String>| number.unwrap_or_else(|| "unknown".to_owned());
    let offsets = known(topic.offsets.map(|it| it.to_string()));
    let lag = known(topic.lag.map(|it| it.to_string()));
    let kept = known(topic.retention_ms.map(|ms| match ms {
        -1 => "for ever".to_owned(),
        ms => format!("{} h", ms / 3_600_000),
    }));
    let policy = topic.cleanup_policy.as_deref().unwrap_or("unknown");
    let last = topic
        .last_record_ms
        .and_then(DateTime::from_timestamp_millis);
    let last = last.map_or_else(|| "none".to_owned(), |time| time.to_rfc3339());
    format!(
        "{}: {} partitions, {offsets} records, {lag} not applied, kept {kept} ({policy}), last {last}",
        topic.name,
        topic.partitions.len()
    )
}

async fn show_records(records: Records) -> anyhow::Result<()> {
    let page = match records.pipeline.clone().open()? {
        Pipeline::Direct(endpoints) => {
            let names = Topics::new(&endpoints.names.prefix)?;
            let kafka = Kafka::new(&endpoints, ANSWER_LIMIT);
            let plans = Plans::new(Registry::new(&endpoints.registry)?);
            let question = records.question(&names)?;
            topics::read(&kafka, &names, &plans, &question).await?
        }
        Pipeline::Remote(console) => records.ask(&console).await?,
    };
    if records.json {
        screen::line(&serde_json::to_string_pretty(&page.without_cells())?);
        return Ok(());
    }
    for record in &page.records {
        print(record);
    }
    print_places(&page);
    Ok(())
}

impl Records {
    fn question(&self, topics: &Topics) -> anyhow::Result<Question> {
        Ok(Question {
            topic: topic_of(&self.topic, topics)?,
            partitions: self.partition.clone(),
            start: self.start.start(),
            direction: match self.backwards {
                true => Direction::Backwards,
                false => Direction::Forwards,
            },
            limit: usize::from(self.limit).min(RECORDS_MAX),
            key: self.key.clone(),
            value_bytes_max: VALUE_BYTES_MAX,
            raw_bytes_max: VALUE_BYTES_MAX,
        })
    }

    async fn ask(&self, console: &Remote) -> anyhow::Result<Page> {
        let direction = match self.backwards {
            true => "backwards",
            false => "forwards",
        };
        let mut query = self.start.query();
        query.extend([
            ("direction", direction.to_owned()),
            ("limit", self.limit.to_string()),
            ("key", self.key.clone().unwrap_or_default()),
            ("bytes", VALUE_BYTES_MAX.to_string()),
            ("cells", "yes".to_owned()),
        ]);
        let partitions = self.partition.iter();
        query.extend(partitions.map(|it| ("partition", it.to_string())));
        let query: Vec<(&str, &str)> = query.iter().map(|(name, it)| (*name, &**it)).collect();
        console
            .get(&["topics", &self.topic, "records"], &query)
            .await
    }
}

impl StartFlags {
    fn start(&self) -> Start {
        match self {
            Self { earliest: true, .. } => Start::Earliest,
            Self {
                from_offset: Some(offset),
                ..
            } => Start::Offset((*offset).into()),
            Self {
                from_lsn: Some(lsn),
                ..
            } => Start::Lsn(*lsn),
            Self {
                from_time: Some(time),
                ..
            } => Start::Time(time.timestamp_millis()),
            Self {
                at: Some(place), ..
            } => Start::Place(place.clone()),
            Self { .. } => Start::Latest,
        }
    }

    /// The same as a console is asked for it: `from` with its `value`, or `at`.
    fn query(&self) -> Vec<(&'static str, String)> {
        let from = |from: &str, value: String| vec![("from", from.to_owned()), ("value", value)];
        match self.start() {
            Start::Earliest => from("earliest", String::new()),
            Start::Latest => from("latest", String::new()),
            Start::Offset(offset) => from("offset", offset.to_string()),
            Start::Lsn(lsn) => from("lsn", lsn.to_string()),
            Start::Time(ms) => {
                let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
                from("time", time.to_rfc3339())
            }
            Start::Place(place) => vec![("at", place.to_string())],
        }
    }
}

fn print(record: &Record) {
    let standing = match &record.standing {
        None | Some(Standing::Counts { .. }) => String::new(),
        Some(Standing::Orphan { why }) => format!("  DOES NOT COUNT: {why}"),
        Some(Standing::Pending) => "  does not count yet".to_owned(),
        Some(Standing::Unknown { why }) => format!("  may not count: {why}"),
    };
    let place = format!("{}:{}", record.partition, record.offset);
    let time = record.time.as_deref().unwrap_or("no time");
    let what = record.operation.as_deref().unwrap_or("record");
    let key = record.key.as_deref().unwrap_or("no key");
    let lsn = record.commit_lsn.as_deref().unwrap_or("no LSN");
    let ordinal = record
        .ordinal
        .map_or_else(String::new, |it| format!(":{it}"));
    screen::line(&format!(
        "{place}  {time}  {lsn}{ordinal}  {what} {key}{standing}"
    ));
    if let Some(commit) = &record.commit {
        screen::line(&format!(
            "    {} {} to {}, {} transactions, {} records",
            commit.kind,
            commit.previous_commit_lsn,
            commit.commit_lsn,
            commit.transactions,
            commit.records
        ));
    }
    for cell in &record.cells {
        screen::line(&cell_line(cell));
    }
    if let Some(error) = &record.error {
        screen::line(&format!("    cannot be read: {error}"));
    }
}

fn cell_line(cell: &Cell) -> String {
    let mark = if cell.changed { '*' } else { ' ' };
    let after = match (&cell.before, &cell.after) {
        (Shown::Absent, after) => text(after).to_owned(),
        (before, Shown::Absent) => format!("{} (before)", text(before)),
        (before, after) if before == after => text(after).to_owned(),
        (before, after) => format!("{} -> {}", text(before), text(after)),
    };
    format!("  {mark} {}: {after}", cell.column)
}

fn text(shown: &Shown) -> &str {
    match shown {
        Shown::Absent => "not sent",
        Shown::Null => "null",
        Shown::Unchanged => "unchanged, not sent",
        Shown::Text { text, .. } => text,
    }
}

fn print_places(page: &Page) {
    if let Some(older) = &page.older {
        screen::line(&format!("older: --at {older} --backwards"));
    }
    if let Some(newer) = &page.newer {
        screen::line(&format!("newer: --at {newer}"));
    }
    if page.cut_short {
        screen::line(&format!(
            "stopped after {} records: there are more",
            page.scanned
        ));
    }
}
