//! The rates as a picture, drawn by gnuplot.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::options::Options;
use crate::race::{Contender, Results};
use crate::report::seconds;

/// Writes results.svg and results.png.
///
/// # Errors
/// When gnuplot is not there or does not like what it is told.
pub(crate) fn draw(options: &Options, results: &[Results]) -> anyhow::Result<()> {
    for (terminal, extension) in [
        ("svg size 900,480", "svg"),
        ("pngcairo size 900,480", "png"),
    ] {
        let file = options.results.join(format!("results.{extension}"));
        let mut gnuplot = Command::new("gnuplot")
            .stdin(Stdio::piped())
            .spawn()
            .context("run gnuplot (Debian package gnuplot-nox)")?;
        let script = format!(
            "set terminal {terminal}\nset output '{}'\n{}",
            file.display(),
            script(results)
        );
        let mut input = gnuplot.stdin.take().expect("it is piped");
        input.write_all(script.as_bytes())?;
        drop(input);
        let status = gnuplot.wait()?;
        ensure!(
            status.success(),
            "gnuplot failed to draw {}: {status}",
            file.display()
        );
    }
    Ok(())
}

/// Rates in thousands of changes a second: medians, with the slowest and the fastest run.
fn script(results: &[Results]) -> String {
    let mut script = "$rates << END\n".to_owned();
    for results in results {
        script.push_str(&results.workload.name());
        for contender in Contender::ALL {
            let spread = seconds(results, contender);
            for seconds in [spread.median, spread.most, spread.least] {
                let rate = f64::from(results.changes) / seconds / 1000.0;
                write!(script, " {rate}").expect("a string takes all");
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
         set yrange [0:*]\nset grid ytics\nset key top right\n\
         plot $rates using 2:3:4:xtic(1) title 'decoding only' linecolor rgb '#b0b0b0', \
         '' using 5:6:7 title 'logical replication' linecolor rgb '#4477aa', \
         '' using 8:9:10 title 'Lockstep' linecolor rgb '#ee6677'\n",
    );
    script
}
