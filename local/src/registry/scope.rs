//! What is set for the registry as a whole and for single subjects: configuration and mode.

use std::collections::BTreeMap;

use super::level::Level;
use super::mode::Mode;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) level: Option<Level>,
    /// Whether schemas are normalized though the request does not ask for it.
    pub(crate) normalize: Option<bool>,
    /// The subject that is meant when this one is named.
    pub(crate) alias: Option<String>,
}

#[derive(Debug, Default)]
struct Scope {
    settings: Settings,
    mode: Option<Mode>,
}

/// A subject without a scope has nothing of its own. Where a subject is an `Option`, none stands
/// for the registry.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    registry: Scope,
    subjects: BTreeMap<String, Scope>,
}

impl Settings {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn update(&mut self, new: Self) {
        self.level = new.level.or(self.level);
        self.normalize = new.normalize.or(self.normalize);
        if let Some(alias) = new.alias {
            self.alias = Some(alias).filter(|alias| !alias.is_empty());
        }
    }
}

impl Scopes {
    /// What is set for the subject itself; none when nothing is.
    pub(crate) fn own_settings(&self, subject: &str) -> Option<&Settings> {
        let settings = &self.subjects.get(subject)?.settings;
        (!settings.is_empty()).then_some(settings)
    }

    /// What is set for the registry; a level always is.
    pub(crate) fn registry_settings(&self) -> Settings {
        let mut settings = self.registry.settings.clone();
        settings.level.get_or_insert_default();
        settings
    }

    /// What holds for a subject: its own settings, and the registry's where it has none.
    pub(crate) fn settings(&self, subject: &str) -> Settings {
        let mut settings = self.registry_settings();
        if let Some(own) = self.own_settings(subject) {
            settings.update(own.clone());
        }
        settings
    }

    pub(crate) fn level(&self, subject: &str) -> Level {
        self.settings(subject).level.unwrap_or_default()
    }

    pub(crate) fn normalizes(&self, subject: &str) -> bool {
        self.settings(subject).normalize.unwrap_or(false)
    }

    pub(crate) fn alias(&self, subject: &str) -> Option<&str> {
        self.own_settings(subject)?.alias.as_deref()
    }

    pub(crate) fn own_mode(&self, subject: &str) -> Option<Mode> {
        self.subjects.get(subject)?.mode
    }

    pub(crate) fn registry_mode(&self) -> Mode {
        self.registry.mode.unwrap_or_default()
    }

    /// The mode that holds for a subject, or for the registry.
    pub(crate) fn mode(&self, subject: Option<&str>) -> Mode {
        let registry = self.registry_mode();
        if registry == Mode::ReadOnlyOverride {
            return registry;
        }
        let own = subject.and_then(|subject| self.own_mode(subject));
        own.unwrap_or(registry)
    }

    /// The subjects that have a mode of their own.
    pub(crate) fn subjects_with_mode(&self) -> impl Iterator<Item = &str> {
        let with_mode = self
            .subjects
            .iter()
            .filter(|(_, scope)| scope.mode.is_some());
        with_mode.map(|(subject, _)| subject.as_str())
    }

    pub(crate) fn set(&mut self, subject: Option<String>, new: Settings) {
        self.scope(subject).settings.update(new);
    }

    pub(crate) fn clear(&mut self, subject: Option<String>) {
        self.scope(subject).settings = Settings::default();
    }

    pub(crate) fn set_mode(&mut self, subject: Option<String>, mode: Option<Mode>) {
        self.scope(subject).mode = mode;
    }

    /// A subject that is deleted has nothing of its own any more.
    pub(crate) fn forget(&mut self, subject: &str) {
        self.subjects.remove(subject);
    }

    fn scope(&mut self, subject: Option<String>) -> &mut Scope {
        match subject {
            None => &mut self.registry,
            Some(subject) => self.subjects.entry(subject).or_default(),
        }
    }
}
