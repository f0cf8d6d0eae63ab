//! The objects of the document, each as it is written there.
//!
//! Reading is lenient where the Go service's own encoder is: what is empty may be missing or `null`. What this server
//! knows beyond the Go service stands in further members, which an export writes and an import reads.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use machineauth_core::clock::Timestamp;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::domain::json_object::JsonObject;
use crate::domain::secret::SecretText;
use crate::domain::webhooks::{Format, TokenEvents};

/// An organization.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OrganizationObject {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) slug: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) owner_email: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) jwt_issuer: String,
    /// Seconds; 0 for the server's.
    #[serde(default, deserialize_with = "nullable")]
    pub(super) jwt_expiry_secs: i64,
    /// Separated by commas.
    #[serde(default, deserialize_with = "nullable")]
    pub(super) allowed_origins: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) plan: String,
    #[serde(default)]
    pub(super) created_at: Option<Time>,
    #[serde(default)]
    pub(super) updated_at: Option<Time>,
}

/// A team of an organization.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TeamObject {
    pub(super) id: String,
    pub(super) organization_id: String,
    pub(super) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) description: String,
    #[serde(default)]
    pub(super) created_at: Option<Time>,
    #[serde(default)]
    pub(super) updated_at: Option<Time>,
}

/// An agent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AgentObject {
    pub(super) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) organization_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) team_id: Option<String>,
    pub(super) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) description: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) metadata: JsonObject,
    pub(super) client_id: String,
    /// Never exported.
    #[serde(default, skip_serializing)]
    pub(super) client_secret_hash: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) scopes: Vec<String>,
    /// In PEM, or a JWK as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) public_key: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) status: String,
    pub(super) is_active: bool,
    #[serde(default)]
    pub(super) created_at: Option<Time>,
    #[serde(default)]
    pub(super) updated_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Time>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) token_count: i64,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) refresh_count: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_token_issued_at: Option<Time>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) rotation_history: Vec<RotationObject>,
    /// How long its access tokens live, in seconds. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token_lifetime: Option<u64>,
    /// Whether it gets refresh tokens. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_tokens: Option<bool>,
    /// For whom it can ask tokens. Ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) audiences: Vec<String>,
    /// Claims that its tokens carry. Ours.
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub(super) claims: JsonObject,
    /// What makes it a machine client. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) machine: Option<MachineObject>,
    /// Whether it deactivated itself. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suspended_itself: Option<bool>,
}

/// One rotation of an agent's secret.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RotationObject {
    #[serde(default)]
    pub(super) rotated_at: Option<Time>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) rotated_by_ip: String,
}

/// What makes an agent a machine client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MachineObject {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dock_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) party_id: Option<String>,
    pub(super) token_format: String,
}

/// An API key of an organization.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ApiKeyObject {
    pub(super) id: String,
    pub(super) organization_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) team_id: Option<String>,
    pub(super) name: String,
    /// SHA-256 of the text. Never exported.
    #[serde(default, skip_serializing)]
    pub(super) key_hash: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Time>,
    pub(super) is_active: bool,
    #[serde(default)]
    pub(super) created_at: Option<Time>,
    /// What it is good for. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scopes: Option<Vec<String>>,
}

/// A webhook.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WebhookObject {
    pub(super) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) organization_id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) team_id: String,
    pub(super) name: String,
    pub(super) url: String,
    /// What signs deliveries. Never exported.
    #[serde(default, skip_serializing, deserialize_with = "secret")]
    pub(super) secret: Option<SecretText>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) events: Vec<String>,
    pub(super) is_active: bool,
    #[serde(default)]
    pub(super) max_retries: Option<i64>,
    /// Seconds.
    #[serde(default)]
    pub(super) retry_backoff_base: Option<i64>,
    #[serde(default)]
    pub(super) created_at: Option<Time>,
    #[serde(default)]
    pub(super) updated_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_tested_at: Option<Time>,
    /// In which form. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<Format>,
    /// How it is told of tokens. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token_events: Option<TokenEvents>,
}

/// A time in RFC 3339. Times before 1970 stand for none: the Go service writes the year 1 where it has no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub Option<Timestamp>);

impl Time {
    /// The time, where there is one.
    pub(super) fn read(time: Option<Self>) -> Option<Timestamp> {
        time.and_then(|time| time.0)
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(Some(at))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let date = DateTime::parse_from_rfc3339(&text)
            .map_err(|_| D::Error::custom("expected a time as 2026-03-01T12:00:00Z"))?;
        let millis = u64::try_from(date.timestamp_millis()).ok();
        Ok(Self(millis.map(Timestamp::from_millis)))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.unwrap_or_default().as_millis();
        let date = i64::try_from(millis)
            .ok()
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        serializer.serialize_str(&date.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretText>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(SecretText::from))
}

/// An object that was read, and the members that nothing here knows.
#[derive(Debug)]
pub(super) struct Read<T> {
    pub(super) object: T,
    pub(super) unknown: Vec<String>,
}

/// Reads one object.
///
/// # Errors
/// Names the member that is not what it has to be, never its value.
pub(super) fn read<T: DeserializeOwned>(value: &Value, known: &[&str]) -> Result<Read<T>, String> {
    let object = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            // A missing member is named by the error itself, which then quotes nothing.
            "." => match value.is_object() {
                true => error.into_inner().to_string(),
                false => "not an object".to_owned(),
            },
            path => format!("{path}: not what it has to be"),
        }
    })?;
    let is_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let members = value.as_object().into_iter().flatten();
    let unknown = members
        .filter(|(name, value)| !known.contains(&name.as_str()) && is_something(value))
        .map(|(name, _)| name.clone())
        .collect();
    Ok(Read { object, unknown })
}

/// The lists of the document, in the order in which they are imported.
#[derive(Debug, Default)]
pub struct Document {
    pub(super) organizations: Vec<Value>,
    pub(super) teams: Vec<Value>,
    pub(super) agents: Vec<Value>,
    pub(super) api_keys: Vec<Value>,
    pub(super) webhooks: Vec<Value>,
    /// Everything else, with the number of things in it.
    pub(super) others: BTreeMap<String, usize>,
}

/// A text that is no such document.
#[derive(Debug, thiserror::Error)]
pub enum NotADocument {
    /// It is no JSON at all.
    #[error("it is no JSON object")]
    Json(#[source] serde_json::Error),
    /// It is other JSON.
    #[error("it has neither agents nor organizations")]
    Other,
    /// A list is something else.
    #[error("{0}: not a list")]
    NoList(&'static str),
}

impl Document {
    /// Reads the lists, not yet what is in them.
    ///
    /// # Errors
    /// Says why the text is no such document.
    pub fn parse(text: &[u8]) -> Result<Self, NotADocument> {
        let mut members: Map<String, Value> =
            serde_json::from_slice(text).map_err(NotADocument::Json)?;
        if !members.contains_key("agents") && !members.contains_key("organizations") {
            return Err(NotADocument::Other);
        }
        let mut list = |name: &'static str| match members.remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(NotADocument::NoList(name)),
        };
        let document = Self {
            organizations: list("organizations")?,
            teams: list("teams")?,
            agents: list("agents")?,
            api_keys: list("api_keys")?,
            webhooks: list("webhook_configs")?,
            others: BTreeMap::new(),
        };
        let others = members.into_iter().map(|(name, value)| {
            let count = match value {
                Value::Null => 0,
                Value::Array(items) => items.len(),
                _ => 1,
            };
            (name, count)
        });
        Ok(Self {
            others: others.filter(|(_, count)| *count > 0).collect(),
            ..document
        })
    }
}
