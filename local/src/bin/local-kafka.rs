//! The local Kafka broker alone, in a process of its own:
//! `local-kafka DATA_DIR [HOST:PORT [SETTING=VALUE ...]]`.
//!
//! | setting | value |
//! |---|---|
//! | `fsync` | `operating-system`, `each-request`, or every so many milliseconds |
//! | `compaction-interval-ms`, `retention-interval-ms` | how often compaction and retention look at the topics |
//!
//! Prints the address it serves on as its first line and its log to stderr, and stops in order on SIGINT or
//! SIGTERM.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use local::kafka::{Broker, Config, Fsync};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut cause: Option<&dyn Error> = Some(&*failure);
            while let Some(error) = cause {
                eprintln!("local-kafka: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let data_dir = arguments
        .next()
        .ok_or("usage: local-kafka DATA_DIR [HOST:PORT [SETTING=VALUE ...]]")?;
    let mut config = Config::new(data_dir);
    if let Some(listen) = arguments.next() {
        config.listen = listen
            .parse()
            .map_err(|_| format!("{listen} is not HOST:PORT"))?;
    }
    for setting in arguments {
        set(&mut config, &setting)?;
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let broker = Broker::start(config).await?;
    println!("{}", broker.addr());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    broker.stop().await?;
    Ok(())
}

fn set(config: &mut Config, setting: &str) -> Result<(), Box<dyn Error>> {
    let (name, value) = setting
        .split_once('=')
        .ok_or_else(|| format!("{setting} is not SETTING=VALUE"))?;
    let millis = || {
        let number = value.parse().map(Duration::from_millis);
        number.map_err(|_| format!("{setting} is no number of milliseconds"))
    };
    match (name, value) {
        ("fsync", "operating-system") => config.fsync = Fsync::OperatingSystem,
        ("fsync", "each-request") => config.fsync = Fsync::EachRequest,
        ("fsync", _) => config.fsync = Fsync::Every(millis()?),
        ("compaction-interval-ms", _) => config.compaction_interval = millis()?,
        ("retention-interval-ms", _) => config.retention_interval = millis()?,
        _ => return Err(format!("there is no setting {name}").into()),
    }
    Ok(())
}
