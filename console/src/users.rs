//! Who may sign in, and what a role may do.

use std::fmt;
use std::str::FromStr;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use serde::Serialize;
use service::{Secret, SecretError};

/// What somebody may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Pauses, resumes, redrives, replays: what can be taken back or loses nothing.
    Operator,
    /// Also discards and deletes.
    Admin,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            _ => Err(UserError::Role),
        }
    }
}

/// `NAME:ROLE:HASH`.
#[derive(Clone)]
pub struct User {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// In the PHC string format.
    hash: Secret,
}

/// Why a user's setting is refused.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("expected NAME:ROLE:HASH")]
    Shape,
    #[error("the role is none of viewer, operator, admin")]
    Role,
    #[error("the hash is none that `lockstep console --hash-password` makes")]
    Hash,
    #[error("read the hash")]
    Secret(#[from] SecretError),
}

impl FromStr for User {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let mut parts = text.trim().splitn(3, ':');
        let (Some(name), Some(role), Some(hash)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(UserError::Shape);
        };
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(UserError::Shape);
        }
        let hash = Secret::from_setting(hash)?;
        PasswordHash::new(hash.expose()).map_err(|_| UserError::Hash)?;
        Ok(Self {
            name: name.to_owned(),
            role: role.parse()?,
            hash,
        })
    }
}

impl User {
    /// Takes tens of milliseconds of a processor, by design.
    pub(crate) fn has_password(&self, password: &str) -> bool {
        let hash = PasswordHash::new(self.hash.expose()).expect("parsed when it was set");
        let verified = Argon2::default().verify_password(password.as_bytes(), &hash);
        verified.is_ok()
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:***", self.name, self.role.name())
    }
}

/// A password's hash for the settings, in the PHC string format, by Argon2id.
///
/// # Errors
/// When the password is too long, or the machine has no randomness to give.
pub fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_the_password() {
        let hash = hash_password("open sesame").unwrap();
        let user: User = format!("ann:operator:{hash}").parse().unwrap();
        assert_eq!((user.name.as_str(), user.role), ("ann", Role::Operator));
        assert!(user.has_password("open sesame"));
        assert!(!user.has_password("open sesam"));
        assert_eq!(format!("{user:?}"), "ann:operator:***");
        assert_ne!(hash, hash_password("open sesame").unwrap());
    }

    #[test]
    fn what_is_no_user_is_refused() {
        let hash = hash_password("x").unwrap();
        for text in [
            "ann".to_owned(),
            format!("ann:root:{hash}"),
            format!(":admin:{hash}"),
            "ann:admin:plain text".to_owned(),
            "ann:admin:file:/nonexistent".to_owned(),
        ] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
    }

    #[test]
    fn roles_include_those_below() {
        assert!(Role::Admin > Role::Operator && Role::Operator > Role::Viewer);
    }
}
