//! `/config`: compatibility level, normalization and alias, of the registry and of subjects.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::request::in_default_context;
use super::{Answer, Request};
use crate::registry::error::ApiError;
use crate::registry::ledger::Ledger;
use crate::registry::scope::Settings;

/// PUT says `compatibility` where GET says `compatibilityLevel`.
#[derive(Deserialize)]
struct ConfigBody {
    compatibility: Option<String>,
    normalize: Option<bool>,
    alias: Option<String>,
    /// Whatever else is there: Confluent's registry does not look at what it does not know.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What Confluent's registry would act upon, and this one cannot: all of it is about metadata and
/// rules of schemas, which are not kept here, or about other kinds of schemas.
const UNSUPPORTED: [&str; 8] = [
    "compatibilityGroup",
    "compatibilityPolicy",
    "validateFields",
    "validateRules",
    "defaultMetadata",
    "overrideMetadata",
    "defaultRuleSet",
    "overrideRuleSet",
];

pub(super) fn of_registry(ledger: &Ledger) -> Answer {
    told(
        &ledger.state().scopes().registry_settings(),
        "compatibilityLevel",
    )
}

pub(super) fn of_subject(
    ledger: &Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let scopes = ledger.state().scopes();
    if request.query.flag("defaultToGlobal") {
        return Ok(told(&scopes.settings(subject), "compatibilityLevel"));
    }
    match scopes.own_settings(subject) {
        Some(own) => Ok(told(own, "compatibilityLevel")),
        None => Err(ApiError::NoSubjectLevel(subject.to_owned())),
    }
}

/// A body that sets nothing is one with a slip of the pen in it, and refused.
pub(super) fn set(
    ledger: &mut Ledger,
    subject: Option<&str>,
    request: &Request,
) -> Result<Answer, ApiError> {
    let body: ConfigBody = request.json()?;
    let asked = |name: &&str| body.rest.get(*name).is_some_and(is_set);
    if let Some(name) = UNSUPPORTED.into_iter().find(asked) {
        return Err(ApiError::Unsupported(name));
    }
    if body.alias.is_some() && subject.is_none() {
        return Err(ApiError::Unsupported("an alias of the registry"));
    }
    let level = body.compatibility.as_deref().map(str::parse).transpose();
    let settings = Settings {
        level: level.map_err(|_| ApiError::InvalidLevel)?,
        normalize: body.normalize,
        alias: body
            .alias
            .map(|alias| in_default_context(&alias).to_owned()),
    };
    if settings == Settings::default() {
        return Err(ApiError::InvalidLevel);
    }
    let answer = told(&settings, "compatibility");
    ledger.set_config(subject, settings)?;
    Ok(answer)
}

/// Answers with what held until now.
pub(super) fn clear(ledger: &mut Ledger, subject: Option<&str>) -> Result<Answer, ApiError> {
    let old = ledger.clear_config(subject)?;
    Ok(told(&old, "compatibilityLevel"))
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Object(object) => !object.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Array(_) => true,
    }
}

fn told(settings: &Settings, level_name: &str) -> Answer {
    let mut answer = Map::new();
    if let Some(alias) = &settings.alias {
        answer.insert("alias".to_owned(), json!(alias));
    }
    if let Some(normalize) = settings.normalize {
        answer.insert("normalize".to_owned(), json!(normalize));
    }
    if let Some(level) = settings.level {
        answer.insert(level_name.to_owned(), json!(level));
    }
    Value::Object(answer).into()
}
