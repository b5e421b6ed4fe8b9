//! What the registry answers when it does not do what was asked: Confluent's codes and texts,
//! since clients branch on the code and people search for the text.

use super::event::{SchemaId, Version};
use super::store::AppendError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("HTTP 404 Not Found")]
    NotFound,
    #[error("HTTP 405 Method Not Allowed")]
    MethodNotAllowed,
    #[error("HTTP 406 Not Acceptable")]
    NotAcceptable,
    #[error("HTTP 415 Unsupported Media Type")]
    UnsupportedMediaType,
    #[error("the request's body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("{0}")]
    BadRequest(String),
    #[error("the request has no body")]
    EmptyBody,

    #[error("Subject '{0}' not found.")]
    SubjectNotFound(String),
    #[error("Version {0} not found.")]
    VersionNotFound(String),
    #[error("Schema not found")]
    SchemaNotFound,
    #[error("Schema {0} not found")]
    SchemaIdNotFound(u32),
    #[error("Subject '{0}' was soft deleted.Set permanent=true to delete permanently")]
    SubjectSoftDeleted(String),
    #[error("Subject '{0}' was not deleted first before being permanently deleted")]
    SubjectNotSoftDeleted(String),
    #[error("Subject '{subject}' Version {} was soft deleted.Set permanent=true to delete permanently", version.0)]
    VersionSoftDeleted { subject: String, version: Version },
    #[error("Subject '{subject}' Version {} was not deleted first before being permanently deleted", version.0)]
    VersionNotSoftDeleted { subject: String, version: Version },
    #[error("Subject '{0}' does not have subject-level compatibility configured")]
    NoSubjectLevel(String),
    #[error("Subject '{0}' does not have subject-level mode configured")]
    NoSubjectMode(String),

    #[error(
        "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{}]",
        details.join(", ")
    )]
    Incompatible {
        subject: String,
        details: Vec<String>,
    },

    #[error("Invalid schema: {0}")]
    InvalidSchema(String),
    #[error(
        "The specified version '{0}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
    )]
    InvalidVersion(String),
    #[error(
        "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive"
    )]
    InvalidLevel,
    #[error("Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE and IMPORT")]
    InvalidMode,
    /// Confluent's sentence, which differs from case to case.
    #[error("{0}")]
    NotPermitted(String),
    #[error(
        "One or more references exist to the schema {{magic=1,keytype=SCHEMA,subject={subject},version={}}}.",
        version.0
    )]
    ReferenceExists { subject: String, version: Version },
    #[error("The schema has the id {} in this subject, not {}", known.0, wished.0)]
    IdDoesNotMatch { known: SchemaId, wished: SchemaId },
    /// Something that Confluent's registry has and this one has not.
    #[error("{0} is not supported by this registry: leave it out")]
    Unsupported(&'static str),
    #[error("The specified subject '{0}' is not a valid subject.")]
    InvalidSubject(String),

    #[error("The change was not stored: {0}")]
    Store(#[from] AppendError),
    #[error("No id or version is left below 2^31")]
    NumbersUsedUp,
    #[error("An earlier request failed in the middle; restart the registry")]
    Interrupted,
    #[error("The registry is stopping")]
    Stopped,
}

/// Of an incompatible schema. Releases of Confluent's registry from 8.0.4 on answer 40901; the
/// HTTP status is 409 in all of them, and that is what clients look at.
const INCOMPATIBLE: u32 = 409;

impl ApiError {
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::BadRequest(_) => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::BodyTooLarge { .. } => 413,
            Self::UnsupportedMediaType => 415,
            Self::EmptyBody | Self::Unsupported(_) => 422,
            Self::SubjectNotFound(_) => 40401,
            Self::VersionNotFound(_) => 40402,
            Self::SchemaNotFound | Self::SchemaIdNotFound(_) => 40403,
            Self::SubjectSoftDeleted(_) => 40404,
            Self::SubjectNotSoftDeleted(_) => 40405,
            Self::VersionSoftDeleted { .. } => 40406,
            Self::VersionNotSoftDeleted { .. } => 40407,
            Self::NoSubjectLevel(_) => 40408,
            Self::NoSubjectMode(_) => 40409,
            Self::Incompatible { .. } => INCOMPATIBLE,
            Self::InvalidSchema(_) => 42201,
            Self::InvalidVersion(_) => 42202,
            Self::InvalidLevel => 42203,
            Self::InvalidMode => 42204,
            Self::NotPermitted(_) => 42205,
            Self::ReferenceExists { .. } => 42206,
            Self::IdDoesNotMatch { .. } => 42207,
            Self::InvalidSubject(_) => 42208,
            Self::Store(_) | Self::NumbersUsedUp | Self::Interrupted | Self::Stopped => 50001,
        }
    }

    /// The HTTP status: the code's first three digits.
    pub(crate) fn status(&self) -> u16 {
        let code = self.code();
        let status = if code > 999 { code / 100 } else { code };
        u16::try_from(status).expect("every code above starts with an HTTP status")
    }
}
