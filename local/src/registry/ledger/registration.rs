//! Which id and version a schema gets, or why none.

use super::{Against, Candidate, Ledger};
use crate::registry::error::ApiError;
use crate::registry::event::{Event, SchemaId, Version};
use crate::registry::mode::Mode;
use crate::registry::state::{MAX_NUMBER, Show};

/// Numbers that a register request may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) id: Option<SchemaId>,
    pub(crate) version: Option<Version>,
}

impl Ledger {
    /// Gives the candidate an id and the subject a version, unless it has them already. That it
    /// has them is told in every mode: who only looks for the id of what is there changes nothing.
    pub(crate) fn register(
        &mut self,
        subject: &str,
        candidate: &Candidate,
        wish: Wish,
    ) -> Result<SchemaId, ApiError> {
        let known = self.find(subject, candidate, Show::Live);
        if let Some(known) = known
            && wish.id.is_none_or(|id| id == known.id)
        {
            return Ok(known.id);
        }
        self.check_mode(subject, wish)?;
        if let (Some(known), Some(wished)) = (known, wish.id) {
            return Err(ApiError::IdDoesNotMatch {
                known: known.id,
                wished,
            });
        }
        let (id, version) = match wish.id {
            Some(id) => (
                id,
                self.version_to_import(subject, candidate, id, wish.version)?,
            ),
            None => self.numbers(subject, candidate, wish.version)?,
        };
        if id.0 > MAX_NUMBER || version.0 > MAX_NUMBER {
            return Err(ApiError::NumbersUsedUp);
        }
        self.commit(Event::Registered {
            subject: subject.to_owned(),
            version,
            id,
            schema: candidate.content.text.to_string(),
            references: candidate.content.references.to_vec(),
        })?;
        Ok(id)
    }

    fn check_mode(&self, subject: &str, wish: Wish) -> Result<(), ApiError> {
        let mode = self.state.scopes().mode(Some(subject));
        let refused = match (mode, wish.id) {
            (Mode::ReadOnly | Mode::ReadOnlyOverride, _) => "is in read-only mode",
            (Mode::ReadWrite, Some(_)) => "is not in import mode",
            (Mode::Import, None) => "is not in read-write mode",
            (Mode::ReadWrite, None) | (Mode::Import, Some(_)) => return Ok(()),
        };
        Err(ApiError::NotPermitted(format!(
            "Subject {subject} {refused}"
        )))
    }

    /// An import brings ids and versions that may come in any order, but replaces none: whoever
    /// has read an id would read something else from then on.
    fn version_to_import(
        &self,
        subject: &str,
        candidate: &Candidate,
        id: SchemaId,
        version: Option<Version>,
    ) -> Result<Version, ApiError> {
        if self.state.check_id(id, &candidate.content).is_err() {
            let message = format!("Overwrite new schema with id {} is not permitted.", id.0);
            return Err(ApiError::NotPermitted(message));
        }
        let version = version.unwrap_or_else(|| self.state.next_version(subject));
        let taken = self.state.subject(subject).and_then(|s| s.version(version));
        if taken.is_some() {
            let message = format!(
                "Overwrite version {} of subject {subject} is not permitted.",
                version.0
            );
            return Err(ApiError::NotPermitted(message));
        }
        Ok(version)
    }

    fn numbers(
        &self,
        subject: &str,
        candidate: &Candidate,
        wish: Option<Version>,
    ) -> Result<(SchemaId, Version), ApiError> {
        let version = self.state.next_version(subject);
        if wish.is_some_and(|wish| wish != version) {
            let message = "Version is not one more than previous version".to_owned();
            return Err(ApiError::InvalidSchema(message));
        }
        let details = self.objections(subject, candidate, Against::ByLevel)?;
        if !details.is_empty() {
            return Err(ApiError::Incompatible {
                subject: subject.to_owned(),
                details,
            });
        }
        let known = self.state.id_of(&candidate.content);
        Ok((known.unwrap_or_else(|| self.state.next_id()), version))
    }
}
