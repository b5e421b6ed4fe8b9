//! What all requests share.

use std::env;
use std::time::{Duration, SystemTime};

use operate::endpoints::Endpoints;

use crate::actions::Once;
use crate::config::Config;
use crate::link::Link;
use crate::live::Live;
use crate::sessions::Sessions;

pub(crate) struct Console {
    pub(crate) source: Link,
    pub(crate) target: Link,
    pub(crate) endpoints: Endpoints,
    pub(crate) sessions: Sessions,
    pub(crate) live: Live,
    pub(crate) once: Once,
    pub(crate) started: SystemTime,
}

impl Console {
    pub(crate) fn new(config: &Config, endpoints: Endpoints) -> Self {
        // As the command line does: whoever runs it acts as the system's user.
        let here = env::var("USER").unwrap_or_else(|_| "local".to_owned());
        Self {
            source: Link::new("source", endpoints.source.clone()),
            target: Link::new("target", endpoints.target.clone()),
            endpoints,
            sessions: Sessions::new(config.console_user.clone(), &here),
            live: Live::new(Duration::from_secs(config.max_lag)),
            once: Once::default(),
            started: SystemTime::now(),
        }
    }
}
