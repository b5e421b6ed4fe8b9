//! Any bytes, as a request to a broker: they are answered or refused.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use local::kafka::{Broker, Config};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A request may wait for records, for as long as it likes.
const WAIT_MAX: Duration = Duration::from_millis(20);

struct Target {
    runtime: Runtime,
    broker: Broker,
    _directory: TempDir,
}

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("make a temporary folder");
    let mut config = Config::new(directory.path());
    config.listen.set_port(0);
    let runtime = Runtime::new().expect("start a runtime");
    let broker = runtime.block_on(Broker::start(config));
    Target {
        broker: broker.expect("start a broker"),
        runtime,
        _directory: directory,
    }
});

fuzz_target!(|request: &[u8]| {
    let answer = TARGET.broker.answer(Bytes::copy_from_slice(request));
    let answered = async { tokio::time::timeout(WAIT_MAX, answer).await };
    let _ = TARGET.runtime.block_on(answered);
});
