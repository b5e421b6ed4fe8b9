//! A page of metrics (Prometheus' text format), as far as it is asked here: names, labels, values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The samples of one page.
#[derive(Clone, Debug, Default)]
pub struct Exposition(Vec<Sample>);

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Of a histogram, in the unit of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    /// How many observations they are of.
    pub count: f64,
}

impl Exposition {
    /// What is no sample is passed over: the page is another program's.
    pub fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        Self(samples.filter_map(sample).collect())
    }

    /// The sum over all labels; `None` when there is no such metric.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self.named(name).map(|sample| sample.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Value by label, as `op` or `topic`.
    pub fn by_label(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for sample in self.named(name) {
            if let Some(text) = sample.labels.get(label) {
                *values.entry(text.clone()).or_default() += sample.value;
            }
        }
        values
    }

    /// Quantiles of a histogram: of what came since `earlier`, when something did, else of all.
    pub fn quantiles(&self, name: &str, earlier: Option<&Self>) -> Option<Quantiles> {
        let all = self.buckets(name);
        let before = earlier.map(|earlier| earlier.buckets(name));
        let since = before.filter(|before| before.len() == all.len()).map(|it| {
            let pairs = all.iter().zip(&it);
            pairs
                .map(|((bound, now), (_, then))| (*bound, now - then))
                .collect::<Vec<_>>()
        });
        // A service that began again has counted less than before.
        let since = since.filter(|it| it.last().is_some_and(|(_, count)| *count > 0.0));
        quantiles_of(&since.unwrap_or(all))
    }

    /// Cumulative counts by upper bound, the infinite one last.
    fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let name = format!("{name}_bucket");
        let bounds = self.named(&name).filter_map(|sample| {
            let bound = sample.labels.get("le")?.parse().ok()?;
            Some((bound, sample.value))
        });
        let mut bounds: Vec<(f64, f64)> = bounds.collect();
        bounds.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        bounds
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }
}

fn quantiles_of(buckets: &[(f64, f64)]) -> Option<Quantiles> {
    let (_, count) = *buckets.last()?;
    let quantile = |q: f64| quantile(buckets, q * count);
    (count > 0.0).then(|| Quantiles {
        p50: quantile(0.5),
        p95: quantile(0.95),
        p99: quantile(0.99),
        count,
    })
}

/// Between two bounds, in proportion, as Prometheus' `histogram_quantile` does it; what lies beyond
/// the last finite bound is said to be that.
fn quantile(buckets: &[(f64, f64)], rank: f64) -> f64 {
    let mut lower = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= rank {
            if bound.is_infinite() || *count <= lower.1 {
                return lower.0;
            }
            return lower.0 + (bound - lower.0) * (rank - lower.1) / (count - lower.1);
        }
        lower = (*bound, *count);
    }
    lower.0
}

/// `name{label="value",...} number`, perhaps with a time behind.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: rest.split_whitespace().next()?.parse().ok()?,
    })
}

fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = quoted(rest)?;
        labels.insert(name.to_owned(), value);
        text = rest;
    }
}

/// Up to the closing quote; what stands behind a backslash is meant literally, but for `n`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP rows_total Rows.
# TYPE rows_total counter
rows_total{op=\"insert\"} 3
rows_total{op=\"de\\\"l}ete\",x=\"1\"} 4 1700000000
plain 1.5
seconds_bucket{le=\"1\"} 2
seconds_bucket{le=\"2\"} 4
seconds_bucket{le=\"+Inf\"} 4
seconds_sum 5
seconds_count 4
";

    #[test]
    fn samples_are_found_by_name_and_label() {
        let page = Exposition::parse(PAGE);
        assert_eq!(page.sum("rows_total"), Some(7.0));
        assert_eq!(page.sum("plain"), Some(1.5));
        assert_eq!(page.sum("absent"), None);
        let by_op = page.by_label("rows_total", "op");
        assert_eq!(by_op["insert"], 3.0);
        assert_eq!(by_op["de\"l}ete"], 4.0);
    }

    #[test]
    fn quantiles_lie_between_the_bounds() {
        let quantiles = Exposition::parse(PAGE).quantiles("seconds", None).unwrap();
        assert_eq!(quantiles.p50, 1.0);
        assert!((quantiles.p95 - 1.9).abs() < 1e-9, "{quantiles:?}");
        assert_eq!(quantiles.count, 4.0);
    }

    #[test]
    fn what_is_beyond_the_last_bound_is_said_to_be_that() {
        let page = "s_bucket{le=\"1\"} 0\ns_bucket{le=\"+Inf\"} 9\n";
        let quantiles = Exposition::parse(page).quantiles("s", None).unwrap();
        assert_eq!(quantiles.p50, 1.0);
    }

    #[test]
    fn of_two_looks_what_came_between_counts() {
        let earlier = Exposition::parse(PAGE);
        let later = PAGE.replace("} 4\n", "} 8\n");
        let quantiles = Exposition::parse(&later).quantiles("seconds", Some(&earlier));
        let quantiles = quantiles.unwrap();
        assert_eq!(quantiles.count, 4.0);
        assert_eq!(quantiles.p50, 1.5);
        let same = earlier.quantiles("seconds", Some(&earlier)).unwrap();
        assert_eq!(same.count, 4.0);
    }

    #[test]
    fn nothing_observed_is_unknown() {
        let page = "s_bucket{le=\"1\"} 0\ns_bucket{le=\"+Inf\"} 0\n";
        assert_eq!(Exposition::parse(page).quantiles("s", None), None);
        assert_eq!(Exposition::parse("nonsense{\n\n").sum("nonsense"), None);
    }
}
