use std::fs;
use std::net::{SocketAddr, TcpListener};

use local::kafka::{Broker, StartError};
use tokio::runtime::Runtime;

use crate::cluster::config;

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Runtime::new()
        .unwrap()
        .block_on(Broker::start(config))
        .unwrap_err();
    assert!(matches!(refused, StartError::NotLoopback(_)));
    assert!(refused.to_string().contains("127.0.0.1"), "{refused}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(directory.path());
    config.listen = taken.local_addr().unwrap();
    let port = config.listen.port().to_string();
    let refused = Runtime::new()
        .unwrap()
        .block_on(Broker::start(config))
        .unwrap_err();
    assert!(matches!(refused, StartError::PortTaken(_)));
    assert!(refused.to_string().contains(&port), "{refused}");
}

#[test]
fn a_directory_in_use_is_refused_until_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let start = || runtime.block_on(Broker::start(config(directory.path())));
    let broker = start().unwrap();
    let refused = start().unwrap_err();
    assert!(matches!(refused, StartError::Locked { .. }));
    let holder = format!("process {}", std::process::id());
    assert!(refused.to_string().contains(&holder), "{refused}");
    runtime.block_on(broker.stop()).unwrap();
    runtime.block_on(start().unwrap().stop()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "not a directory").unwrap();
    let refused = Runtime::new()
        .unwrap()
        .block_on(Broker::start(config(&path)))
        .unwrap_err();
    assert!(matches!(refused, StartError::Directory { .. }));
    assert!(
        refused.to_string().contains(path.to_str().unwrap()),
        "{refused}"
    );
}

#[test]
fn a_directory_of_another_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("broker.json"), "{\"format\": 99}").unwrap();
    let start = Broker::start(config(directory.path()));
    let refused = Runtime::new().unwrap().block_on(start).unwrap_err();
    assert!(matches!(refused, StartError::Version { .. }), "{refused}");
}
