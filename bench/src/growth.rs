//! What a row costs when there are more of them, and more tables.

use crate::catch_up::race;
use crate::options::{Growth, Options};
use crate::servers::Servers;
use crate::workload::{Scale, Workload};
use crate::{plot, report};

/// 100,000 rows in one table; four and sixteen times the rows; ten and a hundred tables, and four times
/// the rows in these.
const SCALES: [Scale; 6] = [
    scale(20, 1),
    scale(80, 1),
    scale(320, 1),
    scale(20, 10),
    scale(20, 100),
    scale(80, 100),
];

const fn scale(percent: u32, tables: u32) -> Scale {
    Scale { percent, tables }
}

/// # Errors
/// As [`race`], or when the results cannot be written.
pub(crate) async fn measure(options: &Options, growth: &Growth) -> anyhow::Result<()> {
    let servers = Servers::start(&options.kafkas()).await?;
    let contenders = options.appliers();
    let mut results = Vec::new();
    for scale in SCALES {
        let workload = Workload::Insert;
        results.push(race(&servers, workload, scale, &contenders, growth.pairs).await?);
    }
    println!(
        "\n{:>9} {:>7} {:<15} {:>9} {:>7}",
        "rows", "tables", "", "median s", "µs/row"
    );
    for results in &results {
        for contender in &contenders {
            let seconds = report::seconds(results, *contender).median;
            println!(
                "{:>9} {:>7} {:<15} {seconds:>9.2} {:>7.2}",
                results.changes(),
                results.scale.tables,
                contender.name(),
                seconds / results.changes() * 1e6,
            );
        }
    }
    let of = results.iter().map(report::of_workload).collect::<Vec<_>>();
    let value = serde_json::json!({ "pairs": growth.pairs, "scales": of });
    report::write(options, "growth", &value)?;
    plot::costs(options, &results)
}
