//! Passes that readers, a stop or a crash come between.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;

#[test]
fn readers_see_every_key_while_segments_are_replaced_under_them() {
    let subject = Subject::new();
    let keys = keys(10);
    let done = AtomicBool::new(false);
    let round = |round: usize| {
        let value = format!("{round} {}", "x".repeat(40));
        subject.append(&batch(&pairs(&keys, &value), Compression::None, NOBODY));
    };
    round(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Acquire) || reads == 0 {
                let found = content(&subject.partition);
                assert_eq!(state(&found).len(), 10);
                let search = subject.partition.first_at_time(NOW + 9).unwrap();
                assert!(search.is_some());
                reads += 1;
            }
            reads
        });
        for number in 1..600 {
            round(number);
            if number % 10 == 0 {
                subject.compact();
            }
        }
        done.store(true, Ordering::Release);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn a_pass_that_is_told_to_stop_leaves_nothing_behind() {
    let subject = Subject::new();
    let value = "x".repeat(300);
    for _ in 0..60 {
        subject.append(&batch(
            &[(Some("k"), Some(&value))],
            Compression::None,
            NOBODY,
        ));
    }
    let before = content(&subject.partition);
    // One for each batch that is noted; the first segment is not yet written then.
    for steps in 0..56_u32 {
        let left = std::cell::Cell::new(steps);
        let go_on = || left.replace(left.get().saturating_sub(1)) > 0;
        let stopped = subject.partition.compact(&config(), NOW, &go_on).unwrap();
        assert_eq!(stopped, None, "after {steps} steps");
        assert_eq!(state(&content(&subject.partition)), state(&before));
    }
    let strays = names(subject.directory.path());
    assert!(
        strays.iter().all(|name| !name.contains("compact")),
        "{strays:?}"
    );
    assert!(subject.compact().is_some());
}

/// Copies a directory of files.
fn copy(from: &Path, to: &Path) {
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn a_crash_at_any_step_of_a_replacement_leaves_the_old_or_the_new() {
    let subject = Subject::new();
    let value = "x".repeat(300);
    for number in 0..40 {
        let key = format!("key {}", number % 4);
        subject.append(&batch(
            &[(Some(&key), Some(&value))],
            Compression::None,
            NOBODY,
        ));
    }
    // As a pass has it before it replaces anything.
    subject.partition.checkpoint_durably(NOW).unwrap();
    let path = subject.directory.path();
    let bases: Vec<i64> = names(path)
        .iter()
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .collect();
    let before = content(&subject.partition);
    let span = Span {
        base_offset: bases[0],
        end: bases[bases.len() - 1],
    };
    // Everything before the last segment becomes one segment with its last four records.
    let mut replacement = Replacement::create(path, span).unwrap();
    let kept: Vec<i64> = (span.end - 4..span.end).collect();
    for offset in &kept {
        let bytes = subject
            .partition
            .read(*offset, 1, FirstBatch::Whole)
            .unwrap()
            .bytes;
        let header = BatchHeader::parse(&bytes).unwrap();
        replacement
            .append(&header, &header.encode(), &bytes[HEADER_LENGTH..])
            .unwrap();
    }
    replacement.finish().unwrap();
    let steps = steps(span, &bases);
    for count in 1..=steps.len() {
        let crashed = tempfile::tempdir().unwrap();
        copy(path, crashed.path());
        for step in &steps[..count] {
            step(crashed.path());
        }
        for trust in [Trust::Written, Trust::Forced] {
            let found = content(&open(crashed.path(), trust));
            if count == 1 {
                assert_eq!(found, before);
            } else {
                let expected = before
                    .range(span.end - 4..)
                    .map(|(at, row)| (*at, row.clone()));
                assert_eq!(found, expected.collect(), "{count} {trust:?}");
            }
            let left = names(crashed.path());
            assert!(
                left.iter().all(|name| !name.contains("compact")),
                "{left:?}"
            );
        }
    }
}

/// What a process or the next one does to a directory, one step after the other, to put a segment
/// that is written in the place of those with these base offsets, but the last.
type Step = Box<dyn Fn(&Path)>;

fn steps(span: Span, bases: &[i64]) -> Vec<Step> {
    let name = |base: i64, extension: &str| format!("{base:020}.{extension}");
    let of_span =
        |extension: &str| format!("{:020}-{:020}.{extension}", span.base_offset, span.end);
    let rename = |from: String, to: String| -> Step {
        Box::new(move |path| fs::rename(path.join(&from), path.join(&to)).unwrap())
    };
    let remove =
        |name: String| -> Step { Box::new(move |path| fs::remove_file(path.join(&name)).unwrap()) };
    let mut steps = vec![
        Box::new(|_: &Path| {}),
        rename(of_span("compacting"), of_span("compacted")),
    ];
    for base in &bases[1..bases.len() - 1] {
        steps.push(remove(name(*base, "log")));
        steps.push(remove(name(*base, "index")));
    }
    let first = span.base_offset;
    steps.push(rename(of_span("compacted-index"), name(first, "index")));
    steps.push(rename(of_span("compacted"), name(first, "log")));
    steps
}
