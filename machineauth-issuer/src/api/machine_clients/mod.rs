//! `/v1/organizations/{organization_id}/machine-clients`: machine clients, in the form that Docyard's documents have.

mod body;
mod view;

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::NoContent;
use http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

pub use self::body::{CreateMachineClient, RotateMachineClient, UpdateMachineClient};
pub use self::view::{
    CreatedMachineClient, MachineClientDetail, MachineClientList, MachineClientView,
    MachineSecretView, PageMeta, RotatedMachineClient,
};
use super::body::{JsonBody, OptionalJsonBody};
use super::created::Created;
use super::etag::{IfMatch, Tagged};
use super::organizations::OrganizationPath;
use crate::app::App;
use crate::date::Date;
use crate::domain::agent::{
    AgentChange, DEFAULT_GRACE, DEFAULT_SCOPES, ForeignId, MachineClient, NewAgent,
    parse_machine_client_id, parse_machine_id, scopes,
};
use crate::domain::agents::{AgentError, AgentQuery, Order, Rotation, Shelf, Source, StoredAgent};
use crate::domain::event::By;
use crate::domain::id::SecretId;
use crate::error::ApiError;
use crate::openapi::{Conflict, DescribeRequest, Description};

const NO_SUCH_CLIENT: ApiError = ApiError::NotFound("there is no such machine client");
const DEFAULT_PAGE_SIZE: usize = 20;
const MAX_PAGE_SIZE: usize = 100;
/// How deep pages reach, in clients.
const DEEPEST: usize = 10_000;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePage {
    /// The number of the page, from 1.
    #[param(minimum = 1)]
    page: Option<usize>,
    /// How many clients a page has; 20 without.
    #[param(minimum = 1, maximum = 100)]
    page_size: Option<usize>,
}

/// The machine client that the path names, by its identifier or by its name in OAuth.
#[derive(Debug)]
pub struct MachinePath {
    by: By,
    stored: StoredAgent,
}

#[derive(Deserialize)]
struct MachineParameter {
    client_id: String,
}

impl FromRequestParts<App> for MachinePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let path = OrganizationPath::from_request_parts(parts, app).await?;
        path.caller.whole_tenant()?;
        let parameter = Path::<MachineParameter>::from_request_parts(parts, app).await;
        let name = parameter
            .map(|Path(parameter)| parameter.client_id)
            .unwrap_or_default();
        let stored = if let Some(id) = parse_machine_id(&name) {
            app.agents.find(id).await.map_err(missing)?
        } else {
            let client = parse_machine_client_id(&name).ok_or(NO_SUCH_CLIENT)?;
            let found = app.agents.by_client(client, Source::Store).await?;
            StoredAgent::clone(&found.ok_or(NO_SUCH_CLIENT)?.agent)
        };
        let agent = &stored.value;
        match agent.machine.is_some() && agent.organization_id == Some(path.id()) {
            true => Ok(Self {
                by: path.caller.by,
                stored,
            }),
            false => Err(NO_SUCH_CLIENT),
        }
    }
}

impl DescribeRequest for MachinePath {
    fn describe(operation: &mut Description<'_>) {
        OrganizationPath::describe(operation);
        operation.path::<String>(
            "client_id",
            "The machine client: its `id` or its `clientId`.",
        );
    }
}

fn missing(error: AgentError) -> ApiError {
    match error {
        AgentError::NotFound => NO_SUCH_CLIENT,
        error => error.into(),
    }
}

fn foreign_id(field: &str, text: Option<String>) -> Result<Option<ForeignId>, ApiError> {
    text.map(|text| {
        ForeignId::parse(&text)
            .ok_or_else(|| ApiError::invalid(format!("{field}: 1 to 128 of A-Z a-z 0-9 _ . : -")))
    })
    .transpose()
}

/// Create a machine client
///
/// Its secret is in this answer and never shown again.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn create(
    path: OrganizationPath,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateMachineClient>,
) -> Result<Created<Json<CreatedMachineClient>>, ApiError> {
    path.caller.whole_tenant()?;
    let all = || DEFAULT_SCOPES.map(str::to_owned).to_vec();
    let new = NewAgent {
        organization_id: Some(path.id()),
        team_id: None,
        machine: Some(MachineClient {
            dock_id: foreign_id("dockId", body.dock_id)?,
            party_id: foreign_id("partyId", body.party_id)?,
            token_format: body.token_format,
        }),
        expires_in: body.expires_in.map(Duration::from_secs),
        profile: AgentChange {
            name: Some(body.name),
            scopes: Some(scopes(&body.scopes.unwrap_or_else(all)).map_err(AgentError::from)?),
            refresh_tokens: Some(false),
            ..AgentChange::default()
        },
    };
    let (agent, secret) = app.agents.create(new, &path.caller.by).await?;
    tracing::info!(agent.id = %agent.id, "created a machine client");
    let created = CreatedMachineClient {
        client: agent.into(),
        client_secret: secret.reveal().to_owned(),
    };
    Ok(Created(Json(created)))
}

/// List the machine clients of an organization
///
/// The latest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    path: OrganizationPath,
    State(app): State<App>,
    query: Result<Query<MachinePage>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<MachineClientList>, ApiError> {
    path.caller.whole_tenant()?;
    let Query(query) =
        query.map_err(|_| ApiError::invalid("page and pageSize: numbers".to_owned()))?;
    let page = query.page.unwrap_or(1);
    let page_size = query.page_size.unwrap_or(DEFAULT_PAGE_SIZE);
    let start = page.saturating_sub(1).saturating_mul(page_size);
    if page == 0 || !(1..=MAX_PAGE_SIZE).contains(&page_size) || start >= DEEPEST {
        return Err(ApiError::invalid(format!(
            "page: from 1, and at most {DEEPEST} clients deep; pageSize: 1 to {MAX_PAGE_SIZE}"
        )));
    }
    let clients = AgentQuery {
        shelf: Shelf::Machines(path.id()),
        is_active: None,
        name_prefix: None,
        order: Order::Created,
        is_descending: true,
    };
    let found = app.agents.list(&clients, None, start, page_size).await?;
    Ok(Json(MachineClientList {
        data: found.into_iter().map(|(_, agent)| agent.into()).collect(),
        meta: PageMeta {
            total: app.agents.count(&clients).await?,
            page,
            page_size,
        },
    }))
}

/// Get a machine client
#[utoipa::path(get, path = "")]
pub async fn get(
    MachinePath { stored, .. }: MachinePath,
    State(app): State<App>,
) -> Result<Tagged<MachineClientDetail>, ApiError> {
    detail(&app, stored).await
}

async fn detail(app: &App, stored: StoredAgent) -> Result<Tagged<MachineClientDetail>, ApiError> {
    let secrets = app.agents.secrets(&stored.value).await?;
    let secrets = secrets
        .iter()
        .map(|(secret, last_used_at)| MachineSecretView::new(secret, *last_used_at));
    Ok(Tagged {
        version: stored.version,
        value: MachineClientDetail {
            secrets: secrets.collect(),
            client: stored.value.into(),
        },
    })
}

/// Change a machine client
///
/// What is absent stays as it is.
#[utoipa::path(method(put, patch), path = "", responses(Conflict))]
pub async fn update(
    MachinePath { by, stored }: MachinePath,
    State(app): State<App>,
    if_match: IfMatch,
    JsonBody(body): JsonBody<UpdateMachineClient>,
) -> Result<Tagged<MachineClientDetail>, ApiError> {
    let expected = if_match.version(stored.version)?;
    let change = AgentChange {
        name: body.name,
        scopes: body
            .scopes
            .as_deref()
            .map(scopes)
            .transpose()
            .map_err(AgentError::from)?,
        is_active: body.is_active,
        ..AgentChange::default()
    };
    let stored = app
        .agents
        .update(stored.value.id, &change, expected, &by)
        .await?;
    tracing::info!(agent.id = %stored.value.id, "changed a machine client");
    detail(&app, stored).await
}

/// Delete a machine client
///
/// Its tokens are refused from now on.
#[utoipa::path(delete, path = "", responses(Conflict))]
pub async fn delete(
    MachinePath { by, stored }: MachinePath,
    State(app): State<App>,
) -> Result<NoContent, ApiError> {
    app.agents.delete(stored.value.id, &by).await?;
    tracing::info!(agent.id = %stored.value.id, "deleted a machine client");
    Ok(NoContent)
}

/// Give a machine client a new secret
///
/// The secret is in this answer and never shown again.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn rotate(
    MachinePath { by, stored }: MachinePath,
    State(app): State<App>,
    OptionalJsonBody(body): OptionalJsonBody<RotateMachineClient>,
) -> Result<Json<RotatedMachineClient>, ApiError> {
    let agent = stored.value;
    let grace = Duration::from_secs(body.grace_period.unwrap_or(DEFAULT_GRACE));
    let rotation = Rotation {
        grace,
        revoke_tokens: false,
    };
    let secret = app.agents.rotate(agent.id, rotation, &by).await?;
    tracing::info!(agent.id = %agent.id, "rotated a machine client's secret");
    Ok(Json(RotatedMachineClient {
        client_id: agent.client_name(),
        client_secret: secret.reveal().to_owned(),
        previous_secret_expires_at: Date(app.clock.now().saturating_add(grace)),
    }))
}

/// The path's `secret_id`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(rename_all = "snake_case")]
pub struct SecretParameter {
    /// The secret.
    #[param(format = Uuid)]
    secret_id: String,
}

/// Revoke the secret that a rotation left alive
#[utoipa::path(delete, path = "", responses(Conflict))]
pub async fn cancel_secret(
    MachinePath { by, stored }: MachinePath,
    Path(SecretParameter { secret_id }): Path<SecretParameter>,
    State(app): State<App>,
) -> Result<NoContent, ApiError> {
    let secret: SecretId = secret_id.parse().map_err(|_| ApiError::NO_SUCH_SECRET)?;
    app.agents
        .cancel_secret(stored.value.id, secret, &by)
        .await?;
    Ok(NoContent)
}
