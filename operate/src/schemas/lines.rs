//! Two texts side by side, line by line.

use serde::{Deserialize, Serialize};

/// A row of the comparison; at least one side is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Pair {
    pub left: Option<Line>,
    pub right: Option<Line>,
    /// Whether both sides are the same.
    pub same: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Line {
    /// From 1.
    pub number: usize,
    pub text: String,
}

/// Cells of the table that finds the longest common part; where two texts differ by more, what is
/// between their common beginning and end counts as replaced.
const CELLS_MAX: usize = 16_000_000;

/// Aligns two texts: lines that are in both stand beside each other.
pub fn side_by_side(left: &str, right: &str) -> Vec<Pair> {
    let left: Vec<&str> = left.lines().collect();
    let right: Vec<&str> = right.lines().collect();
    let both = left.iter().zip(&right);
    let start = both.take_while(|(a, b)| a == b).count();
    let both = left[start..].iter().rev().zip(right[start..].iter().rev());
    let end = both.take_while(|(a, b)| a == b).count();
    let (left_end, right_end) = (left.len() - end, right.len() - end);
    let mut pairs = Pairs {
        left: &left,
        right: &right,
        rows: Vec::new(),
    };
    (0..start).for_each(|at| pairs.same(at, at));
    let (mut at, mut beside) = (start, start);
    for (a, b) in common(&left[start..left_end], &right[start..right_end]) {
        pairs.different(at..start + a, beside..start + b);
        pairs.same(start + a, start + b);
        (at, beside) = (start + a + 1, start + b + 1);
    }
    pairs.different(at..left_end, beside..right_end);
    (0..end).for_each(|it| pairs.same(left_end + it, right_end + it));
    pairs.rows
}

struct Pairs<'a> {
    left: &'a [&'a str],
    right: &'a [&'a str],
    rows: Vec<Pair>,
}

impl Pairs<'_> {
    fn same(&mut self, left: usize, right: usize) {
        self.push(Some(left), Some(right), true);
    }

    /// Beside each other as far as there are as many on the other side.
    fn different(&mut self, left: std::ops::Range<usize>, right: std::ops::Range<usize>) {
        for row in 0..left.len().max(right.len()) {
            let left = Some(left.start + row).filter(|at| left.contains(at));
            let right = Some(right.start + row).filter(|at| right.contains(at));
            self.push(left, right, false);
        }
    }

    fn push(&mut self, left: Option<usize>, right: Option<usize>, same: bool) {
        let line = |lines: &[&str], at: usize| Line {
            number: at + 1,
            text: lines[at].to_owned(),
        };
        self.rows.push(Pair {
            left: left.map(|at| line(self.left, at)),
            right: right.map(|at| line(self.right, at)),
            same,
        });
    }
}

/// The longest common subsequence, as indexes into both.
fn common(left: &[&str], right: &[&str]) -> Vec<(usize, usize)> {
    let (rows, columns) = (left.len() + 1, right.len() + 1);
    if rows.saturating_mul(columns) > CELLS_MAX {
        return Vec::new();
    }
    // How long the longest is from here on.
    let mut lengths = vec![0_u32; rows * columns];
    for a in (0..left.len()).rev() {
        for b in (0..right.len()).rev() {
            lengths[a * columns + b] = match left[a] == right[b] {
                true => lengths[(a + 1) * columns + b + 1] + 1,
                false => lengths[(a + 1) * columns + b].max(lengths[a * columns + b + 1]),
            };
        }
    }
    let (mut a, mut b) = (0, 0);
    let mut pairs = Vec::new();
    while a < left.len() && b < right.len() {
        if left[a] == right[b] {
            pairs.push((a, b));
            (a, b) = (a + 1, b + 1);
        } else if lengths[(a + 1) * columns + b] >= lengths[a * columns + b + 1] {
            a += 1;
        } else {
            b += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(left: &str, right: &str, expected: &[&str]) {
        let text = |line: &Option<Line>| line.as_ref().map_or("", |it| it.text.as_str()).to_owned();
        let found = side_by_side(left, right);
        let found: Vec<String> = found
            .iter()
            .map(|pair| {
                let middle = if pair.same { "=" } else { "|" };
                format!("{}{middle}{}", text(&pair.left), text(&pair.right))
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_of_both_stand_beside_each_other() {
        check("a\nb\nc", "a\nb\nc", &["a=a", "b=b", "c=c"]);
        check("a\nc", "a\nb\nc", &["a=a", "|b", "c=c"]);
        check("a\nb\nc\nd", "b\nx\nd", &["a|", "b=b", "c|x", "d=d"]);
        check("", "a", &["|a"]);
    }

    fn lines() -> impl Strategy<Value = String> {
        proptest::collection::vec("[a-d]", 0..12).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn each_side_is_its_text_in_order(left in lines(), right in lines()) {
            let pairs = side_by_side(&left, &right);
            let side = |of: fn(&Pair) -> &Option<Line>| {
                let lines = pairs.iter().filter_map(|pair| of(pair).as_ref());
                lines.map(|line| (line.number, line.text.clone())).collect::<Vec<_>>()
            };
            let expected = |text: &str| {
                (1..).zip(text.lines().map(str::to_owned)).collect::<Vec<_>>()
            };
            prop_assert_eq!(side(|it| &it.left), expected(&left));
            prop_assert_eq!(side(|it| &it.right), expected(&right));
            for pair in &pairs {
                let equal = pair.left.as_ref().map(|it| &it.text) == pair.right.as_ref().map(|it| &it.text);
                prop_assert!(!pair.same || equal);
            }
        }
    }
}
