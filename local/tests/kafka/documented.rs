use std::collections::BTreeSet;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};

use crate::cluster::Cluster;
use crate::wire::{connect, exchange};

#[test]
fn the_page_lists_what_is_served() {
    let page = include_str!("../../../docs/local-kafka.md");
    let cluster = Cluster::local(|_| {});
    let mut stream = connect(cluster.bootstrap());
    let announced = exchange(&mut stream, 0, &ApiVersionsRequest::default()).api_keys;
    let served: BTreeSet<String> = announced
        .iter()
        .map(|api| {
            let key = ApiKey::try_from(api.api_key).unwrap();
            format!("| {key:?} | {} to {} |", api.min_version, api.max_version)
        })
        .collect();
    let row = |line: &str| {
        let mut cells = line.split(" | ");
        let (key, versions) = (cells.next()?.strip_prefix("| ")?, cells.next()?);
        let (min, max) = versions.split_once(" to ")?;
        let number = |text: &str| text.parse::<i16>().ok();
        Some(format!("| {key} | {} to {} |", number(min)?, number(max)?))
    };
    let listed: BTreeSet<String> = page.lines().filter_map(row).collect();
    let missing: Vec<_> = served.difference(&listed).collect();
    let untrue: Vec<_> = listed.difference(&served).collect();
    assert!(
        missing.is_empty() && untrue.is_empty(),
        "docs/local-kafka.md lacks {missing:#?}, and has, untrue, {untrue:#?}"
    );
}
