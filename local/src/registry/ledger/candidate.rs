//! A schema that somebody asks about or wants to register, from a request's words to its content.

use super::{Ledger, Which};
use crate::registry::canonical::{Properties, canonical_text};
use crate::registry::error::ApiError;
use crate::registry::event::{Reference, Version};
use crate::registry::schema::Schema;
use crate::registry::state::{Content, Show};

/// What a request says of a schema.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) text: String,
    pub(crate) references: Vec<DraftReference>,
}

#[derive(Debug)]
pub(crate) struct DraftReference {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) version: Which,
}

/// A schema that can be compared and kept.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) content: Content,
    pub(crate) schema: Schema,
}

impl Ledger {
    /// Canonical text and parsed form of the draft. What it refers to may be deleted, as with
    /// Confluent, but not erased.
    pub(crate) fn candidate(
        &self,
        draft: Draft,
        properties: Properties,
    ) -> Result<Candidate, ApiError> {
        let refused = |cause: &dyn std::error::Error| ApiError::InvalidSchema(cause.to_string());
        let references = draft.references.into_iter();
        let mut content = Content {
            text: draft.text.into(),
            references: references.map(|draft| self.reference(draft)).collect(),
        };
        let schema = self
            .state
            .parse(&content)
            .map_err(|error| refused(&error))?;
        schema.check_defaults().map_err(|error| refused(&error))?;
        content.text = canonical_text(&schema, properties).into();
        Ok(Candidate { content, schema })
    }

    fn reference(&self, draft: DraftReference) -> Reference {
        let DraftReference {
            name,
            subject,
            version,
        } = draft;
        let version = match version {
            Which::Number(version) => version,
            Which::Latest => {
                let known = self.state.subject(&subject);
                let latest = known.and_then(|known| known.versions(Show::Live).next_back());
                // No version has the number 0, so that this is told as one that is missing.
                latest.map_or(Version(0), |latest| latest.version)
            }
        };
        Reference {
            name,
            subject,
            version,
        }
    }
}
