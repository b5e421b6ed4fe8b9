//! Medians and ratios: on the terminal, and as JSON.

use std::fs;

use anyhow::Context;
use serde_json::{Value, json};

use crate::options::Options;
use crate::race::{Contender, Results};

/// Of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of nothing, all are not a number.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        Self {
            median: (at(low) + at(high)) / 2.0,
            least: at(0),
            most: at(sorted.len().saturating_sub(1)),
        }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }
}

/// The rate of Lockstep as a multiple of another's, pair by pair.
pub(crate) fn ratio(results: &Results, other: Contender) -> Spread {
    let pairs = results
        .of(other)
        .zip(results.of(Contender::Lockstep))
        .map(|(other, lockstep)| other.seconds / lockstep.seconds);
    Spread::of(pairs)
}

pub(crate) fn seconds(results: &Results, contender: Contender) -> Spread {
    Spread::of(results.of(contender).map(|run| run.seconds))
}

/// Median of what each process used, by `pick`.
fn by_process(
    results: &Results,
    contender: Contender,
    pick: impl Fn(&crate::contender::Run) -> &[(&'static str, f64)],
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
        "\n{:<8} {:<9} {:>8} {:>16} {:>10} {:>22}  CPU seconds",
        "", "", "median s", "min - max", "changes/s", "lockstep's rate"
    );
    for results in results {
        for contender in Contender::ALL {
            let spread = seconds(results, contender);
            let against = match contender {
                Contender::Lockstep => String::new(),
                other => {
                    let Spread {
                        median,
                        least,
                        most,
                    } = ratio(results, other);
                    format!("{median:.2} ({least:.2} - {most:.2})")
                }
            };
            println!(
                "{:<8} {:<9} {:>8.2} {:>16} {:>10.0} {against:>22}  {}",
                results.workload.name(),
                contender.name(),
                spread.median,
                format!("{:.2} - {:.2}", spread.least, spread.most),
                f64::from(results.changes) / spread.median,
                list(&by_process(results, contender, |run| &run.cpu)),
            );
        }
        let peak = by_process(results, Contender::Lockstep, |run| &run.peak);
        println!("{:<8} {:<9} megabytes at most: {}", "", "", list(&peak));
    }
    println!();
}

/// # Errors
/// When the file cannot be written.
pub(crate) fn write(options: &Options, results: &[Results]) -> anyhow::Result<()> {
    let object = |values: Vec<(&'static str, f64)>| -> Value {
        let pairs = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)));
        Value::Object(pairs.collect())
    };
    let workloads = results.iter().map(|results| {
        let contenders = Contender::ALL.map(|contender| {
            let value = json!({
                "seconds": seconds(results, contender).json(),
                "cpu_seconds": object(by_process(results, contender, |run| &run.cpu)),
                "peak_megabytes": object(by_process(results, contender, |run| &run.peak)),
            });
            (contender.name().to_owned(), value)
        });
        json!({
            "workload": results.workload.name(),
            "changes": results.changes,
            "contenders": Value::Object(contenders.into_iter().collect()),
            "of_native": ratio(results, Contender::Native).json(),
            "of_floor": ratio(results, Contender::Floor).json(),
        })
    });
    let file = options.results.join("results.json");
    let text = json!({
        "pairs": options.pairs,
        "percent": options.percent,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "workloads": workloads.collect::<Vec<_>>(),
    });
    fs::create_dir_all(&options.results).context("make the folder of the results")?;
    fs::write(&file, format!("{text:#}\n")).with_context(|| format!("write {}", file.display()))
}

/// The last line: rates as multiples of native's, and of the floor for inserts.
pub(crate) fn summary(results: &[Results]) -> String {
    let of_native = results.iter().map(|results| {
        let ratio = ratio(results, Contender::Native).median;
        format!("{} {ratio:.2} ", results.workload.name())
    });
    let floor = results
        .first()
        .map(|results| ratio(results, Contender::Floor).median);
    format!(
        "bench: {}of native, {:.2} of floor",
        of_native.collect::<String>(),
        floor.unwrap_or(f64::NAN)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        let spread = |median, least, most| Spread {
            median,
            least,
            most,
        };
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), spread(2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of([7.0]), spread(7.0, 7.0, 7.0));
        assert!(Spread::of([]).median.is_nan());
    }
}
