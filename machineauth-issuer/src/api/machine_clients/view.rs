//! What is shown of machine clients.

use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use serde::Serialize;
use utoipa::ToSchema;

use crate::date::Date;
use crate::domain::agent::{
    Agent, ForeignId, MachineClient, TokenFormat, machine_client_id, machine_id,
};
use crate::domain::id::{OrganizationId, SecretId};
use crate::domain::secret::StoredSecret;
use crate::openapi::Scopes;

/// A machine client.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MachineClient)]
#[serde(rename_all = "camelCase")]
pub struct MachineClientView {
    /// `mc_…`
    id: String,
    /// Names it in OAuth: `dyc_…`
    client_id: String,
    name: String,
    /// The most that its tokens can carry.
    #[schema(value_type = Scopes)]
    scopes: ScopeSet,
    /// The only dock that its tokens are good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    dock_id: Option<ForeignId>,
    #[schema(value_type = OrganizationId)]
    organization_id: Option<OrganizationId>,
    /// Whom its acts are ascribed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    party_id: Option<ForeignId>,
    /// `opaque` or `jwt`.
    token_format: TokenFormat,
    is_active: bool,
    created_at: Date,
    updated_at: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Date>,
}

impl From<Agent> for MachineClientView {
    fn from(agent: Agent) -> Self {
        let machine = agent.machine.unwrap_or(MachineClient {
            dock_id: None,
            party_id: None,
            token_format: TokenFormat::Jwt,
        });
        Self {
            id: machine_id(agent.id),
            client_id: machine_client_id(agent.client_id),
            name: agent.name,
            scopes: agent.scopes,
            dock_id: machine.dock_id,
            organization_id: agent.organization_id,
            party_id: machine.party_id,
            token_format: machine.token_format,
            is_active: agent.is_active,
            created_at: Date(agent.created_at),
            updated_at: Date(agent.updated_at),
            expires_at: agent.expires_at.map(Date),
        }
    }
}

/// A new machine client. Its secret is shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedMachineClient {
    #[serde(flatten)]
    pub(super) client: MachineClientView,
    pub(super) client_secret: String,
}

/// A machine client with its live secrets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineClientDetail {
    #[serde(flatten)]
    pub(super) client: MachineClientView,
    pub(super) secrets: Vec<MachineSecretView>,
}

/// What is shown of a live secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MachineClientSecret)]
#[serde(rename_all = "camelCase")]
pub struct MachineSecretView {
    id: SecretId,
    created_at: Date,
    /// The end of a rotation's grace; absent for the current secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Date>,
}

impl MachineSecretView {
    pub(super) fn new(secret: &StoredSecret, last_used_at: Option<Timestamp>) -> Self {
        Self {
            id: secret.id,
            created_at: Date(secret.created_at),
            expires_at: secret.expires_at.map(Date),
            last_used_at: last_used_at.map(Date),
        }
    }
}

/// A page of machine clients.
#[derive(Debug, Serialize, ToSchema)]
pub struct MachineClientList {
    pub(super) data: Vec<MachineClientView>,
    pub(super) meta: PageMeta,
}

/// Where a page stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageMeta {
    pub(super) total: i64,
    pub(super) page: usize,
    pub(super) page_size: usize,
}

/// A new secret. Shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotatedMachineClient {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    /// When the secret before it stops working.
    pub(super) previous_secret_expires_at: Date,
}
