//! Several runs of the same, as few numbers.

use serde_json::{Value, json};

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
        let sorted = sorted(values);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        Self {
            median: (at(low) + at(high)) / 2.0,
            least: at(0),
            most: at(sorted.len().saturating_sub(1)),
        }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }

    /// `1.23 (1.10 - 1.40)`
    pub(crate) fn text(self) -> String {
        let Self {
            median,
            least,
            most,
        } = self;
        format!("{median:.2} ({least:.2} - {most:.2})")
    }
}

/// The value that so many of a thousand of `values`, which are sorted, do not exceed (nearest rank).
pub(crate) fn quantile(values: &[f64], per_mille: usize) -> Option<f64> {
    let rank = (values.len() * per_mille).div_ceil(1000);
    values.get(rank.saturating_sub(1)).copied()
}

pub(crate) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
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

    #[test]
    fn quantiles_are_values_that_came() {
        let values = sorted((1..=100).map(f64::from));
        assert_eq!(quantile(&values, 500), Some(50.0));
        assert_eq!(quantile(&values, 990), Some(99.0));
        assert_eq!(quantile(&values, 999), Some(100.0));
        assert_eq!(quantile(&values, 1), Some(1.0));
        assert_eq!(quantile(&[5.0], 500), Some(5.0));
        assert_eq!(quantile(&[], 500), None);
    }
}
