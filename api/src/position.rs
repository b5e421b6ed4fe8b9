//! Positions in replication, which let a client that has written to the primary read its write from a
//! replica.
//!
//! A write answers with a position; a read that carries it waits on the replica until that is
//! there. Programs use the headers, browsers the cookie.

use std::str::FromStr;

use change::Lsn;
use service::http::cookie;

use crate::http::{HeaderMap, HeaderName, HeaderValue, Kind, Problem, Reply, header};

/// Of an answer: everything up to here is in it, or was there before it.
const POSITION: HeaderName = HeaderName::from_static("lockstep-position");

/// Of a request: everything up to here has to be in the answer.
const MIN_POSITION: HeaderName = HeaderName::from_static("lockstep-min-position");

/// As [`MIN_POSITION`], where no header says otherwise.
const COOKIE: &str = "lockstep-position";

/// A browser asks for its own writes this long. Replication that is further behind shows in its lag.
const COOKIE_SECONDS: u32 = 60;

/// The position that a request asks for, if it does.
pub(crate) fn minimum(headers: &HeaderMap) -> Result<Option<Lsn>, Problem> {
    if let Some(value) = headers.get(MIN_POSITION) {
        let position = value.to_str().ok().and_then(parsed);
        let detail = "lockstep-min-position is no LSN such as 0/16B3748";
        return match position {
            Some(position) => Ok(Some(position)),
            None => Err(Problem::new(Kind::Malformed, detail)),
        };
    }
    // Cookies may be anybody's: what is no position is none of ours.
    Ok(cookie(headers, COOKIE).and_then(parsed))
}

fn parsed(text: &str) -> Option<Lsn> {
    Lsn::from_str(text.trim()).ok()
}

impl Reply {
    /// Says how far the state is that the answer shows.
    pub(crate) fn at(self, position: Lsn) -> Self {
        self.with_text(POSITION, &position.to_string())
    }

    /// Says where the write stands, and has browsers ask for it.
    pub(crate) fn written_at(self, position: Lsn) -> Self {
        let cookie = format!(
            "{COOKIE}={position}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax"
        );
        self.at(position).with_text(header::SET_COOKIE, &cookie)
    }
}

/// A replica that has not applied what a request asks for.
pub(crate) fn behind(applied: Option<Lsn>, minimum: Lsn) -> Problem {
    let detail = match applied {
        Some(applied) => {
            let bytes = minimum.bytes_since(applied);
            format!("the replica is at {applied}, {bytes} bytes before {minimum}")
        }
        None => "the replica shows no state of the primary yet".to_owned(),
    };
    let problem = Problem::new(Kind::Behind, detail)
        .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
        .with_member("min_position", minimum.to_string());
    match applied {
        Some(applied) => problem
            .with_member("position", applied.to_string())
            .with_member("bytes_behind", minimum.bytes_since(applied)),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(HeaderName, &'static str)]) -> Result<Option<Lsn>, Problem> {
        let pairs = pairs.iter().cloned();
        minimum(
            &pairs
                .map(|(name, value)| (name, HeaderValue::from_static(value)))
                .collect(),
        )
    }

    #[test]
    fn the_header_wins_over_the_cookie() {
        let cookie = (header::COOKIE, "a=b; lockstep-position=0/20; c=d");
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(
            of(std::slice::from_ref(&cookie)).unwrap(),
            Some(Lsn::new(0x20))
        );
        let both = of(&[(MIN_POSITION, "1/A"), cookie]).unwrap();
        assert_eq!(both, Some(Lsn::new(0x1_0000_000A)));
    }

    #[test]
    fn a_wrong_header_is_refused_and_a_foreign_cookie_is_not() {
        assert!(of(&[(MIN_POSITION, "17")]).is_err());
        assert!(of(&[(MIN_POSITION, "")]).is_err());
        assert_eq!(
            of(&[(header::COOKIE, "lockstep-position=x")]).unwrap(),
            None
        );
    }
}
