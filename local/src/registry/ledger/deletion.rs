//! What may be deleted, and what may then be erased.

use super::{Ledger, Which};
use crate::registry::error::ApiError;
use crate::registry::event::{Event, Version};
use crate::registry::state::{Show, Subject, SubjectVersion};

impl Ledger {
    pub(crate) fn delete_subject(&mut self, name: &str) -> Result<Vec<Version>, ApiError> {
        if self.subject(name, Show::All)?.is_deleted() {
            return Err(ApiError::SubjectSoftDeleted(name.to_owned()));
        }
        self.check_writable(Some(name))?;
        let versions = numbers(self.subject(name, Show::Live)?, Show::Live);
        for version in &versions {
            self.check_unused(name, *version)?;
        }
        self.commit(Event::SubjectDeleted {
            subject: name.to_owned(),
        })?;
        Ok(versions)
    }

    pub(crate) fn erase_subject(&mut self, name: &str) -> Result<Vec<Version>, ApiError> {
        let subject = self.subject(name, Show::All)?;
        let (versions, is_deleted) = (numbers(subject, Show::All), subject.is_deleted());
        self.check_writable(Some(name))?;
        self.check_erasable(name, &versions)?;
        if !is_deleted {
            return Err(ApiError::SubjectNotSoftDeleted(name.to_owned()));
        }
        self.commit(Event::SubjectErased {
            subject: name.to_owned(),
        })?;
        Ok(versions)
    }

    pub(crate) fn delete_version(
        &mut self,
        subject: &str,
        which: Which,
    ) -> Result<Version, ApiError> {
        let found = self.version_to_delete(subject, which)?;
        let (subject, version) = (subject.to_owned(), found.version);
        if found.deleted {
            return Err(ApiError::VersionSoftDeleted { subject, version });
        }
        self.check_writable(Some(&subject))?;
        self.check_unused(&subject, version)?;
        self.commit(Event::VersionDeleted { subject, version })?;
        Ok(version)
    }

    pub(crate) fn erase_version(
        &mut self,
        subject: &str,
        which: Which,
    ) -> Result<Version, ApiError> {
        let found = self.version_to_delete(subject, which)?;
        let (subject, version) = (subject.to_owned(), found.version);
        self.check_writable(Some(&subject))?;
        self.check_erasable(&subject, &[version])?;
        if !found.deleted {
            return Err(ApiError::VersionNotSoftDeleted { subject, version });
        }
        self.commit(Event::VersionErased { subject, version })?;
        Ok(version)
    }

    /// A number may be that of a deleted version; "latest" is the latest live one.
    fn version_to_delete(&self, subject: &str, which: Which) -> Result<SubjectVersion, ApiError> {
        self.subject(subject, Show::All)?;
        match which {
            Which::Latest => self.version(subject, which, Show::Live),
            Which::Number(_) => self.version(subject, which, Show::All),
        }
    }

    /// Whether the mode lets a subject, or the registry, be changed.
    pub(super) fn check_writable(&self, subject: Option<&str>) -> Result<(), ApiError> {
        if !self.state.scopes().mode(subject).is_read_only() {
            return Ok(());
        }
        let whose = subject.map_or("The registry".to_owned(), |name| format!("Subject {name}"));
        Err(ApiError::NotPermitted(format!(
            "{whose} is in read-only mode"
        )))
    }

    /// A live schema must be able to find what it refers to.
    fn check_unused(&self, subject: &str, version: Version) -> Result<(), ApiError> {
        let mut referrers = self.state.referrers(subject, version, Show::Live);
        match referrers.next() {
            None => Ok(()),
            Some(_) => Err(reference_exists(subject, version)),
        }
    }

    /// A deleted schema too: records written with it may still be read.
    pub(super) fn check_erasable(
        &self,
        subject: &str,
        versions: &[Version],
    ) -> Result<(), ApiError> {
        match self.state.is_referred_to(subject, versions) {
            None => Ok(()),
            Some(version) => Err(reference_exists(subject, version)),
        }
    }
}

fn reference_exists(subject: &str, version: Version) -> ApiError {
    ApiError::ReferenceExists {
        subject: subject.to_owned(),
        version,
    }
}

pub(super) fn numbers(subject: &Subject, show: Show) -> Vec<Version> {
    subject
        .versions(show)
        .map(|version| version.version)
        .collect()
}
