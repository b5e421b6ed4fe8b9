//! What processes use, from /proc (Linux' manual, proc(5)).

use std::fs;

/// Of a second; the same on every machine that Rust's Linux targets know (`USER_HZ`).
const TICKS: f64 = 100.0;

/// CPU seconds of a process, with those of its children that have ended and of those that have not.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    own_seconds(pid) + children(pid).into_iter().map(cpu_seconds).sum::<f64>()
}

/// Those that its threads have started, each its own.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let lists = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

fn own_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, which is in brackets, may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    // utime, stime, cutime and cstime are the 14th to 17th field; the name is the second.
    let ticks = fields.split_whitespace().skip(11).take(4);
    ticks.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// The most memory that a process had resident, in megabytes.
pub(crate) fn peak_megabytes(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1024.0
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_children_use_counts_while_they_run_and_after() {
        let own = std::process::id();
        let before = cpu_seconds(own);
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo; read x";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        let output = child.stdout.as_mut().unwrap();
        std::io::Read::read_exact(output, &mut line).unwrap();
        let of_child = cpu_seconds(child.id());
        assert!(of_child > 0.0);
        assert!(cpu_seconds(own) - before >= of_child);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(cpu_seconds(own) - before >= of_child);
        assert!(peak_megabytes(own) > 1.0);
    }
}
