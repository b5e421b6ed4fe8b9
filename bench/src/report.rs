//! Medians and ratios: on the terminal, and as JSON.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::catch_up::Results;
use crate::contender::{Contender, Kafka, Run};
use crate::options::{CatchUp, Options};
use crate::spread::Spread;

/// The rate of one as a multiple of another's, pair by pair.
pub(crate) fn ratio(results: &Results, one: Contender, other: Contender) -> Spread {
    let pairs = results.of(other).zip(results.of(one));
    Spread::of(pairs.map(|(other, one)| other.seconds / one.seconds))
}

pub(crate) fn seconds(results: &Results, contender: Contender) -> Spread {
    Spread::of(results.of(contender).map(|run| run.seconds))
}

/// Whether the rate of one is told as a multiple of another's: capture alone applies nothing.
fn compares(one: Contender, other: Contender) -> bool {
    match (one, other) {
        (Contender::Lockstep(_), Contender::Native | Contender::Floor) => true,
        (Contender::Capture(_), other) => other == Contender::Floor,
        _ => false,
    }
}

/// Median of what each process used, by `pick`.
fn by_process(
    results: &Results,
    contender: Contender,
    pick: impl Fn(&Run) -> &[(&'static str, f64)],
) -> Vec<(&'static str, f64)> {
    let first = results.of(contender).next();
    let names = first.map(|run| pick(run).iter().map(|(name, _)| *name));
    let names: Vec<_> = names.into_iter().flatten().collect();
    let of = |name: &str| {
        let runs = results.of(contender);
        let values = runs.flat_map(|run| pick(run).iter().filter(|(it, _)| *it == name));
        Spread::of(values.map(|(_, value)| *value)).median
    };
    names.into_iter().map(|name| (name, of(name))).collect()
}

fn list(values: &[(&'static str, f64)]) -> String {
    let items = values.iter().filter(|(_, value)| *value >= 0.05);
    let items = items.map(|(name, value)| format!("{name} {value:.1}"));
    items.collect::<Vec<_>>().join(", ")
}

pub(crate) fn table(results: &[Results]) {
    println!(
        "\n{:<8} {:<15} {:>8} {:>15} {:>10} {:>19} {:>19}  CPU seconds; most memory in MB",
        "", "", "median s", "min - max", "changes/s", "of native's rate", "of the floor's rate"
    );
    for results in results {
        for contender in &results.contenders {
            let contender = *contender;
            let spread = seconds(results, contender);
            let against = |other| match compares(contender, other) {
                true => ratio(results, contender, other).text(),
                false => String::new(),
            };
            let peak = list(&by_process(results, contender, |run| &run.peak));
            println!(
                "{:<8} {:<15} {:>8.2} {:>15} {:>10.0} {:>19} {:>19}  {}{}{peak}",
                results.workload.name(),
                contender.name(),
                spread.median,
                format!("{:.2} - {:.2}", spread.least, spread.most),
                results.changes() / spread.median,
                against(Contender::Native),
                against(Contender::Floor),
                list(&by_process(results, contender, |run| &run.cpu)),
                if peak.is_empty() { "" } else { "; " },
            );
        }
    }
    println!();
}

/// The results of one workload.
pub(crate) fn of_workload(results: &Results) -> Value {
    let object = |values: Vec<(&'static str, f64)>| -> Value {
        let values = values.into_iter();
        Value::Object(
            values
                .map(|(it, value)| (it.to_owned(), json!(value)))
                .collect(),
        )
    };
    let contenders = results.contenders.iter().map(|contender| {
        let mut value = json!({
            "seconds": seconds(results, *contender).json(),
            "cpu_seconds": object(by_process(results, *contender, |run| &run.cpu)),
        });
        if contender.kafka().is_some() {
            for other in [Contender::Native, Contender::Floor] {
                if compares(*contender, other) && results.contenders.contains(&other) {
                    let ratio = ratio(results, *contender, other);
                    value[format!("of_{}", other.name())] = ratio.json();
                }
            }
            value["peak_megabytes"] = object(by_process(results, *contender, |run| &run.peak));
        }
        (contender.name().to_owned(), value)
    });
    json!({
        "workload": results.workload.name(),
        "changes": results.changes(),
        "tables": results.scale.tables,
        "contenders": contenders.collect::<Map<_, _>>(),
    })
}

pub(crate) fn catch_up(options: &CatchUp, results: &[Results]) -> Value {
    json!({
        "pairs": options.pairs,
        "percent": options.percent,
        "workloads": results.iter().map(of_workload).collect::<Vec<_>>(),
        "summary": summary(results, Contender::Lockstep(Kafka::Local)),
    })
}

/// Writes results to `name`.json.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(options: &Options, name: &str, results: &Value) -> anyhow::Result<()> {
    let file = options.results.join(format!("{name}.json"));
    let mut results = results.clone();
    results["cores"] = json!(std::thread::available_parallelism().map_or(0, usize::from));
    fs::create_dir_all(&options.results).context("make the folder of the results")?;
    fs::write(&file, format!("{results:#}\n")).with_context(|| format!("write {}", file.display()))
}

/// The summary of stored results, if there are any.
///
/// # Errors
/// When the file is not one of results.
pub(crate) fn stored(file: &Path) -> anyhow::Result<Option<String>> {
    let Ok(text) = fs::read_to_string(file) else {
        return Ok(None);
    };
    let results: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} does not hold results", file.display()))?;
    let summary = results["summary"].as_str();
    let summary = summary.with_context(|| format!("{} has no summary", file.display()))?;
    Ok(Some(summary.to_owned()))
}

/// Rates as multiples of native's, and of the floor's for the first.
pub(crate) fn summary(results: &[Results], contender: Contender) -> String {
    let of_native = results.iter().map(|results| {
        let ratio = ratio(results, contender, Contender::Native).median;
        format!("{} {ratio:.2} ", results.workload.name())
    });
    let first = results.first();
    let of_floor = first.map(|results| ratio(results, contender, Contender::Floor).median);
    let through = match contender {
        Contender::Lockstep(Kafka::Apache) => "through Apache Kafka: ",
        _ => "",
    };
    format!(
        "{through}{}of native, {:.2} of floor",
        of_native.collect::<String>(),
        of_floor.unwrap_or(f64::NAN)
    )
}
