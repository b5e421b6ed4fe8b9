//! Results as pictures, drawn by gnuplot.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::catch_up::Results;
use crate::contender::{Contender, Kafka};
use crate::options::Options;
use crate::report::seconds;
use crate::spread::quantile;

/// Rates in thousands of changes a second: medians, with the slowest and the fastest run.
///
/// # Errors
/// As [`draw`].
pub(crate) fn rates(
    options: &Options,
    contenders: &[Contender],
    results: &[Results],
) -> anyhow::Result<()> {
    let mut script = "$rates << END\n".to_owned();
    for results in results {
        script.push_str(&results.workload.name());
        for contender in contenders {
            let spread = seconds(results, *contender);
            for seconds in [spread.median, spread.most, spread.least] {
                write!(script, " {}", results.changes() / seconds / 1000.0)?;
            }
        }
        script.push('\n');
    }
    script.push_str(
        "END\n\
         set style data histograms\n\
         set style histogram errorbars gap 1 lw 1\n\
         set style fill solid 0.9 noborder\n\
         set ylabel 'thousand changes/s (median, min, max)'\n\
         set yrange [0:*]\nset grid ytics\nset key outside top center horizontal\n",
    );
    let columns = (2..).step_by(3).zip(contenders);
    let bars = columns.map(|(at, contender)| {
        let (title, color) = look(*contender);
        let labels = if at == 2 { ":xtic(1)" } else { "" };
        format!(
            "$rates using {at}:{}:{}{labels} title '{title}' linecolor rgb '{color}'",
            at + 1,
            at + 2
        )
    });
    script.push_str(&plot_of(bars));
    draw(options, "catch-up", &script)
}

/// Which share of commits is seen after how many milliseconds, which are sorted.
///
/// # Errors
/// As [`draw`].
pub(crate) fn latencies(options: &Options, of: &[(Contender, Vec<f64>)]) -> anyhow::Result<()> {
    let mut script = String::new();
    for (contender, sorted) in of {
        writeln!(script, "${} << END", contender.name())?;
        for per_mille in (5..1000).step_by(5).chain(996..1000) {
            if let Some(milliseconds) = quantile(sorted, per_mille) {
                writeln!(script, "{milliseconds} {per_mille}")?;
            }
        }
        script.push_str("END\n");
    }
    script.push_str(
        "set logscale x\nset xlabel 'milliseconds from commit to visible'\n\
         set ylabel 'of a thousand transactions'\nset yrange [0:1000]\nset grid\nset key bottom right\n",
    );
    let lines = of.iter().map(|(contender, _)| {
        let (title, color) = look(*contender);
        let name = contender.name();
        format!("${name} using 1:2 title '{title}' with lines linewidth 2 linecolor rgb '{color}'")
    });
    script.push_str(&plot_of(lines));
    draw(options, "steady", &script)
}

/// Microseconds of a row, for so many rows and tables.
///
/// # Errors
/// As [`draw`].
pub(crate) fn costs(options: &Options, results: &[Results]) -> anyhow::Result<()> {
    let contenders = options.appliers();
    let mut script = "$costs << END\n".to_owned();
    for results in results {
        let (rows, tables) = (results.changes(), results.scale.tables);
        let thousands = rows / 1000.0;
        write!(script, "\"{thousands}k rows\\ntables: {tables}\"")?;
        for contender in &contenders {
            let seconds = seconds(results, *contender).median;
            write!(script, " {}", seconds / rows * 1e6)?;
        }
        script.push('\n');
    }
    script.push_str(
        "END\n\
         set style data histograms\nset style histogram clustered gap 1\n\
         set style fill solid 0.9 noborder\n\
         set ylabel 'microseconds a row'\nset yrange [0:*]\nset grid ytics\nset key outside top center horizontal\n\
         set bmargin 3\n",
    );
    let columns = (2..).zip(&contenders);
    let bars = columns.map(|(at, contender)| {
        let (title, color) = look(*contender);
        let labels = if at == 2 { ":xtic(1)" } else { "" };
        format!("$costs using {at}{labels} title '{title}' linecolor rgb '{color}'")
    });
    script.push_str(&plot_of(bars));
    draw(options, "growth", &script)
}

fn look(contender: Contender) -> (&'static str, &'static str) {
    match contender {
        Contender::Floor => ("reading the source only", "#b0b0b0"),
        Contender::Native => ("logical replication", "#4477aa"),
        Contender::Lockstep(Kafka::Local) => ("Lockstep", "#ee6677"),
        Contender::Lockstep(Kafka::Apache) => ("Lockstep, Apache Kafka", "#aa3377"),
        Contender::Capture(Kafka::Local) => ("capture alone", "#ccbb44"),
        Contender::Capture(Kafka::Apache) => ("capture alone, Apache Kafka", "#228833"),
    }
}

fn plot_of(what: impl Iterator<Item = String>) -> String {
    format!("plot {}\n", what.collect::<Vec<_>>().join(", "))
}

/// Writes `name`.svg and `name`.png.
///
/// # Errors
/// When gnuplot is not there or does not like what it is told.
fn draw(options: &Options, name: &str, script: &str) -> anyhow::Result<()> {
    for (terminal, extension) in [
        ("svg size 900,480", "svg"),
        ("pngcairo size 900,480", "png"),
    ] {
        let file = options.results.join(format!("{name}.{extension}"));
        let mut gnuplot = Command::new("gnuplot")
            .stdin(Stdio::piped())
            .spawn()
            .context("run gnuplot (Debian package gnuplot-nox)")?;
        let file = file.display();
        let script = format!("set terminal {terminal}\nset output '{file}'\n{script}");
        let mut input = gnuplot.stdin.take().expect("it is piped");
        input.write_all(script.as_bytes())?;
        drop(input);
        let status = gnuplot.wait()?;
        ensure!(status.success(), "gnuplot failed to draw {file}: {status}");
    }
    Ok(())
}
