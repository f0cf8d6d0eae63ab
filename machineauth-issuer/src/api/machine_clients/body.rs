//! What is sent about machine clients.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::agent::{ForeignId, TokenFormat};
use crate::openapi::Scopes;

/// The body of a creation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewMachineClient)]
#[serde(rename_all = "camelCase")]
pub struct CreateMachineClient {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub(super) name: String,
    /// The only dock that its tokens will be good for; all of the organization's without.
    #[schema(value_type = Option<ForeignId>)]
    pub(super) dock_id: Option<String>,
    /// The most that its tokens can carry; `artifacts:write artifacts:read policies:read` without.
    #[schema(value_type = Option<Scopes>)]
    pub(super) scopes: Option<Vec<String>>,
    /// Whom its acts are ascribed to.
    #[schema(value_type = Option<ForeignId>)]
    pub(super) party_id: Option<String>,
    #[serde(default)]
    pub(super) token_format: TokenFormat,
    /// Seconds until the client gets no more tokens.
    #[schema(minimum = 1)]
    pub(super) expires_in: Option<u64>,
}

/// The body of a change. What is absent stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MachineClientChange)]
#[serde(rename_all = "camelCase")]
pub struct UpdateMachineClient {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub(super) name: Option<String>,
    /// The most that its tokens can carry.
    #[schema(value_type = Option<Scopes>)]
    pub(super) scopes: Option<Vec<String>>,
    /// An inactive client gets no tokens, and those that it has are refused.
    pub(super) is_active: Option<bool>,
}

/// The body of a rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = MachineClientRotation)]
#[serde(rename_all = "camelCase")]
pub struct RotateMachineClient {
    /// How long the secret before goes on working, in seconds; a day without.
    pub(super) grace_period: Option<u64>,
}
