//! Who is signed in.
//!
//! A session lives in memory: who restarts the console signs everybody out. Its token is kept as a
//! hash, so that what is in memory opens nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::users::{Role, User};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// What a page's forms must carry; a page of another site cannot read it.
    pub(crate) csrf: String,
    /// Whether there is anything to sign out of.
    pub(crate) signed_in: bool,
}

impl Caller {
    pub(crate) fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}

#[derive(Debug)]
pub(crate) struct Sessions {
    users: Vec<User>,
    /// Without users: whoever reaches the port.
    anybody: Caller,
    open: Mutex<HashMap<[u8; 32], Session>>,
    failures: Mutex<HashMap<String, Failures>>,
    /// Hashing takes memory and time; more than this many at once wait.
    hashing: Semaphore,
}

#[derive(Debug)]
struct Session {
    caller: Caller,
    used: Instant,
    begun: Instant,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

/// Why nobody was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignInError {
    #[error("name or password are wrong")]
    Wrong,
    #[error("too many failed attempts: wait a minute")]
    TooMany,
}

/// A session that nobody uses ends after this.
const IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A session ends after this, however much it is used.
const AGE_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// More than a team has windows; the one unused for longest makes room.
const SESSIONS: usize = 1000;

/// Attempts that may fail in [`FAILURE_SPAN`] for one name.
const FAILURES: u32 = 5;
const FAILURE_SPAN: Duration = Duration::from_secs(60);

/// Each takes 19 MB while it lasts.
const HASHES_AT_ONCE: usize = 2;

impl Sessions {
    pub(crate) fn new(users: Vec<User>, here: &str) -> Self {
        Self {
            users,
            anybody: Caller {
                name: here.to_owned(),
                role: Role::Admin,
                csrf: token(),
                signed_in: false,
            },
            open: Mutex::default(),
            failures: Mutex::default(),
            hashing: Semaphore::new(HASHES_AT_ONCE),
        }
    }

    /// Whether there is a sign-in at all.
    pub(crate) fn asks(&self) -> bool {
        !self.users.is_empty()
    }

    /// Who may sign in, with their roles.
    pub(crate) fn users(&self) -> Vec<String> {
        let users = self.users.iter();
        users
            .map(|user| format!("{} ({})", user.name, user.role.name()))
            .collect()
    }

    /// Who comes with this cookie.
    pub(crate) fn caller(&self, cookie: Option<&str>) -> Option<Caller> {
        if !self.asks() {
            return Some(self.anybody.clone());
        }
        let now = Instant::now();
        let mut open = held(&self.open);
        let session = open.get_mut(&hashed(cookie?))?;
        let over = now - session.used > IDLE_LIMIT || now - session.begun > AGE_LIMIT;
        if over {
            open.remove(&hashed(cookie?));
            return None;
        }
        session.used = now;
        Some(session.caller.clone())
    }

    /// Begins a session; returns the token for its cookie.
    pub(crate) async fn sign_in(&self, name: &str, password: &str) -> Result<String, SignInError> {
        let caller = self.recognize(name, password).await?;
        let token = token();
        let now = Instant::now();
        let mut open = held(&self.open);
        if open.len() >= SESSIONS {
            let oldest = open.iter().min_by_key(|(_, session)| session.used);
            let oldest = oldest.map(|(hash, _)| *hash);
            oldest.map(|hash| open.remove(&hash));
        }
        let session = Session {
            caller,
            used: now,
            begun: now,
        };
        open.insert(hashed(&token), session);
        Ok(token)
    }

    /// Who a name and a password belong to. Takes as long for a name that nobody has, and counts
    /// failures by name: those of names that nobody has together, so that their number is bounded.
    pub(crate) async fn recognize(
        &self,
        name: &str,
        password: &str,
    ) -> Result<Caller, SignInError> {
        let user = self.users.iter().find(|user| user.name == name);
        let counted = user.map_or("", |user| user.name.as_str());
        if self.has_failed_too_often(counted) {
            return Err(SignInError::TooMany);
        }
        let Some(checked) = user.or(self.users.first()).cloned() else {
            return Err(SignInError::Wrong);
        };
        let fits = {
            let _turn = self.hashing.acquire().await;
            let password = password.to_owned();
            let check = tokio::task::spawn_blocking(move || checked.has_password(&password));
            check.await.unwrap_or(false)
        };
        match user {
            Some(user) if fits => {
                held(&self.failures).remove(counted);
                Ok(Caller {
                    name: user.name.clone(),
                    role: user.role,
                    csrf: self::token(),
                    signed_in: true,
                })
            }
            _ => {
                self.failed(counted);
                Err(SignInError::Wrong)
            }
        }
    }

    pub(crate) fn sign_out(&self, cookie: &str) {
        held(&self.open).remove(&hashed(cookie));
    }

    fn has_failed_too_often(&self, name: &str) -> bool {
        let failures = held(&self.failures);
        failures.get(name).is_some_and(|failures| {
            failures.count >= FAILURES && failures.since.elapsed() < FAILURE_SPAN
        })
    }

    fn failed(&self, name: &str) {
        let now = Instant::now();
        let mut failures = held(&self.failures);
        let entry = failures.entry(name.to_owned()).or_insert(Failures {
            count: 0,
            since: now,
        });
        if entry.since.elapsed() >= FAILURE_SPAN {
            *entry = Failures {
                count: 0,
                since: now,
            };
        }
        entry.count += 1;
    }
}

/// 244 random bits.
fn token() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn hashed(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds one of these can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::hash_password;

    fn sessions() -> Sessions {
        let hash = hash_password("secret").unwrap();
        Sessions::new(vec![format!("ann:viewer:{hash}").parse().unwrap()], "here")
    }

    #[tokio::test]
    async fn a_session_lasts_from_sign_in_to_sign_out() {
        let sessions = sessions();
        assert_eq!(sessions.caller(None), None);
        let token = sessions.sign_in("ann", "secret").await.unwrap();
        let caller = sessions.caller(Some(&token)).unwrap();
        assert_eq!((caller.name.as_str(), caller.role), ("ann", Role::Viewer));
        assert!(!caller.may(Role::Operator));
        assert_eq!(sessions.caller(Some("another")), None);
        sessions.sign_out(&token);
        assert_eq!(sessions.caller(Some(&token)), None);
    }

    #[tokio::test]
    async fn guessing_is_stopped() {
        let sessions = sessions();
        for _ in 0..FAILURES {
            let outcome = sessions.sign_in("ann", "wrong").await;
            assert_eq!(outcome.unwrap_err(), SignInError::Wrong);
        }
        let outcome = sessions.sign_in("ann", "secret").await;
        assert_eq!(outcome.unwrap_err(), SignInError::TooMany);
        // Others may go on.
        let outcome = sessions.sign_in("bob", "secret").await;
        assert_eq!(outcome.unwrap_err(), SignInError::Wrong);
    }

    #[test]
    fn without_users_whoever_is_here_is_admin() {
        let sessions = Sessions::new(Vec::new(), "here");
        let caller = sessions.caller(None).unwrap();
        assert_eq!((caller.name.as_str(), caller.role), ("here", Role::Admin));
    }
}
