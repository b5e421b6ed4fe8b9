//! Configuration and modes. Where a subject is an `Option`, none stands for the registry.

use super::deletion::numbers;
use super::{Ledger, check_subject};
use crate::registry::error::ApiError;
use crate::registry::event::Event;
use crate::registry::mode::Mode;
use crate::registry::scope::Settings;
use crate::registry::state::{Show, Subject};

/// Whether a mode is set whatever the subjects hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    No,
    Yes,
}

impl Ledger {
    pub(crate) fn set_config(
        &mut self,
        subject: Option<&str>,
        settings: Settings,
    ) -> Result<(), ApiError> {
        subject.map_or(Ok(()), check_subject)?;
        self.check_writable(subject)?;
        let Settings {
            level,
            normalize,
            alias,
        } = settings;
        Ok(self.commit(Event::ConfigSet {
            subject: subject.map(str::to_owned),
            level,
            normalize,
            alias,
        })?)
    }

    /// Returns what was set and is not any more.
    pub(crate) fn clear_config(&mut self, subject: Option<&str>) -> Result<Settings, ApiError> {
        let old = match subject {
            None => self.state.scopes().registry_settings(),
            Some(name) => {
                let own = self.state.scopes().own_settings(name);
                own.ok_or_else(|| ApiError::SubjectNotFound(name.to_owned()))?
                    .clone()
            }
        };
        self.check_writable(subject)?;
        self.commit(Event::ConfigCleared {
            subject: subject.map(str::to_owned),
        })?;
        Ok(old)
    }

    /// IMPORT wants no live subject, and erases the deleted ones: their ids may come again.
    pub(crate) fn set_mode(
        &mut self,
        subject: Option<&str>,
        mode: Mode,
        force: Force,
    ) -> Result<(), ApiError> {
        subject.map_or(Ok(()), check_subject)?;
        let begins = mode == Mode::Import && self.state.scopes().mode(subject) != mode;
        if begins && force == Force::No {
            self.make_room(subject)?;
        }
        Ok(self.commit(Event::ModeSet {
            subject: subject.map(str::to_owned),
            mode,
        })?)
    }

    fn make_room(&mut self, subject: Option<&str>) -> Result<(), ApiError> {
        let in_scope = |name: &str| subject.is_none_or(|subject| subject == name);
        let is_live = |(name, known): (&str, &Subject)| in_scope(name) && !known.is_deleted();
        if self.state.subjects().any(is_live) {
            let message = "Cannot import since found existing subjects".to_owned();
            return Err(ApiError::NotPermitted(message));
        }
        let leftovers = match subject {
            None if self.state.subjects().next().is_none() => return Ok(()),
            None => Event::EverythingErased {},
            Some(name) => {
                let Some(known) = self.state.subject(name) else {
                    return Ok(());
                };
                self.check_erasable(name, &numbers(known, Show::All))?;
                Event::SubjectErased {
                    subject: name.to_owned(),
                }
            }
        };
        Ok(self.commit(leftovers)?)
    }

    /// Returns the mode that was set and is not any more.
    pub(crate) fn clear_mode(&mut self, subject: Option<&str>) -> Result<Mode, ApiError> {
        let scopes = self.state.scopes();
        let old = match subject {
            None => scopes.registry_mode(),
            Some(name) => scopes
                .own_mode(name)
                .ok_or_else(|| ApiError::SubjectNotFound(name.to_owned()))?,
        };
        self.commit(Event::ModeCleared {
            subject: subject.map(str::to_owned),
        })?;
        Ok(old)
    }

    /// Takes the subjects' own modes away.
    pub(crate) fn clear_subject_modes(&mut self) -> Result<(), ApiError> {
        let subjects = self.state.scopes().subjects_with_mode();
        let subjects: Vec<String> = subjects.map(str::to_owned).collect();
        for subject in subjects {
            let subject = Some(subject);
            self.commit(Event::ModeCleared { subject })?;
        }
        Ok(())
    }
}
