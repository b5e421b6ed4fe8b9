//! What every page has around it.

use maud::{DOCTYPE, Markup, html};
use uuid::Uuid;

use crate::assets::Assets;
use crate::http::StatusCode;
use crate::sessions::Caller;

/// The pages that are always one step away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Replication,
    Topics,
    Schemas,
    DeadLetters,
    Replay,
    Activity,
}

impl Section {
    const ALL: [Self; 7] = [
        Self::Overview,
        Self::Replication,
        Self::Topics,
        Self::Schemas,
        Self::DeadLetters,
        Self::Replay,
        Self::Activity,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Replication => "Replication",
            Self::Topics => "Topics",
            Self::Schemas => "Schemas",
            Self::DeadLetters => "Dead letters",
            Self::Replay => "Replay",
            Self::Activity => "Activity",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Replication => "/replication",
            Self::Topics => "/topics",
            Self::Schemas => "/schemas",
            Self::DeadLetters => "/dead-letters",
            Self::Replay => "/replay",
            Self::Activity => "/activity",
        }
    }
}

/// What stands in the frame.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    /// Which part of the navigation it belongs to.
    pub(crate) section: Option<Section>,
    pub(crate) title: String,
    pub(crate) body: Markup,
    /// Whether it has charts, which need a library.
    pub(crate) charts: Charts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charts {
    Some,
    None,
}

impl Page {
    pub(crate) fn new(section: Section, title: impl Into<String>, body: Markup) -> Self {
        Self {
            status: StatusCode::OK,
            section: Some(section),
            title: title.into(),
            body,
            charts: Charts::None,
        }
    }

    pub(crate) fn with_charts(self) -> Self {
        Self {
            charts: Charts::Some,
            ..self
        }
    }

    /// A page about what was asked for, rather than with it.
    pub(crate) fn about(status: StatusCode, title: &str, body: Markup) -> Self {
        Self {
            status,
            section: None,
            title: title.to_owned(),
            body,
            charts: Charts::None,
        }
    }
}

pub(crate) struct Frame<'a> {
    pub(crate) assets: &'a Assets,
    pub(crate) pipeline: &'a str,
    /// None before the sign-in.
    pub(crate) caller: Option<&'a Caller>,
}

impl Frame<'_> {
    pub(crate) fn around(&self, page: Page) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (page.title) " – " (self.pipeline) " – Lockstep" }
                    link rel="icon" type="image/svg+xml" href=(self.assets.path("icon.svg"));
                    link rel="stylesheet" href=(self.assets.path("console.css"));
                    @if page.charts == Charts::Some {
                        link rel="stylesheet" href=(self.assets.path("uplot.css"));
                        script src=(self.assets.path("uplot.js")) defer {}
                        script type="module" src=(self.assets.path("charts.js")) {}
                    }
                    @if self.caller.is_some() {
                        script type="module" src=(self.assets.path("console.js")) {}
                    }
                }
                body {
                    a.skip href="#content" { "Skip to content" }
                    (self.header(page.section))
                    main #content tabindex="-1" {
                        h1 { (page.title) }
                        (page.body)
                    }
                    footer { "Lockstep " (env!("CARGO_PKG_VERSION")) }
                }
            }
        }
    }

    fn header(&self, here: Option<Section>) -> Markup {
        html! {
            header {
                p.brand { strong { "Lockstep" } " " span { (self.pipeline) } }
                @if let Some(caller) = self.caller {
                    nav aria-label="Pages of the console" {
                        ul {
                            @for section in Section::ALL {
                                @let current = (here == Some(section)).then_some("page");
                                li { a href=(section.path()) aria-current=[current] { (section.title()) } }
                            }
                        }
                    }
                    p.connection #connection role="status" data-state="unknown" { "not live" }
                    (who(caller))
                }
            }
        }
    }
}

fn who(caller: &Caller) -> Markup {
    html! {
        div.who {
            span { (caller.name) ", " (caller.role.name()) }
            @if caller.signed_in {
                form method="post" action="/sign-out" {
                    input type="hidden" name="csrf" value=(caller.csrf);
                    button.quiet { "Sign out" }
                }
            }
        }
    }
}

/// A form whose button does something: with the caller's token, and a key by which it is done once
/// however often it is sent.
pub(crate) fn action_form(caller: &Caller, action: &str, content: Markup) -> Markup {
    html! {
        form.action method="post" action={ "/actions/" (action) } {
            input type="hidden" name="csrf" value=(caller.csrf);
            input type="hidden" name="key" value=(Uuid::new_v4());
            (content)
        }
    }
}
