//! The files of the pages, compiled in.
//!
//! The folder in their paths is a hash of all of them: another build has other paths, so that
//! browsers may keep what they have for ever.

use service::http::Asset;
use sha2::{Digest, Sha256};

use crate::http::{Reply, StatusCode, header};

const FILES: [Asset; 6] = [
    asset(
        "console.css",
        STYLE,
        include_bytes!("../assets/console.css"),
    ),
    asset("console.js", SCRIPT, include_bytes!("../assets/console.js")),
    asset("charts.js", SCRIPT, include_bytes!("../assets/charts.js")),
    asset(
        "icon.svg",
        "image/svg+xml",
        include_bytes!("../assets/icon.svg"),
    ),
    asset(
        "uplot.js",
        SCRIPT,
        include_bytes!("../assets/uplot/uPlot.iife.min.js"),
    ),
    asset(
        "uplot.css",
        STYLE,
        include_bytes!("../assets/uplot/uPlot.min.css"),
    ),
];

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const fn asset(name: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Asset {
    Asset {
        name,
        media_type,
        bytes,
    }
}

pub(crate) struct Assets {
    version: String,
}

impl Assets {
    pub(crate) fn new() -> Self {
        let mut hasher = Sha256::new();
        for asset in FILES {
            hasher.update(asset.name);
            hasher.update(asset.bytes);
        }
        let digest = hasher.finalize();
        let version = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
        Self {
            version: version.collect(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("/assets/{}/{name}", self.version)
    }

    pub(crate) fn file(&self, version: &str, name: &str) -> Reply {
        let found = FILES.iter().find(|asset| asset.name == name);
        match found.filter(|_| version == self.version) {
            Some(asset) => Reply::of_type(StatusCode::OK, asset.media_type, asset.bytes.to_vec())
                .with(header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            None => Reply::problem(StatusCode::NOT_FOUND, "no such file"),
        }
    }
}
