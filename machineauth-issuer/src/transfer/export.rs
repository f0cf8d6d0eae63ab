//! Writing the objects of a store as a document that an import reads. Never a secret, nor the hash of one.

use std::io::{self, Write};

use serde::Serialize;

use super::document::{
    AgentObject, ApiKeyObject, MachineObject, OrganizationObject, RotationObject, TeamObject,
    WebhookObject,
};
use crate::app::App;
use crate::domain::agent::{Agent, ForeignId, TokenFormat};
use crate::domain::agents::{AgentQuery, Order, Shelf};
use crate::domain::api_keys::ApiKey;
use crate::domain::organization::{IssuerUrl, Organization, Origin};
use crate::domain::teams::Team;
use crate::domain::usage::Usage;
use crate::domain::webhooks::Webhook;
use crate::store::StoreError;

/// How many objects are read at once.
const PAGE: usize = 500;

/// Why an export ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be written.
    #[error("it cannot be written")]
    Write(#[from] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How many objects were written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Organizations.
    pub organizations: usize,
    /// Teams.
    pub teams: usize,
    /// Agents.
    pub agents: usize,
    /// API keys.
    pub api_keys: usize,
    /// Webhooks.
    pub webhooks: usize,
}

/// Writes everything that administrators made, a page at a time.
///
/// # Errors
/// [`ExportError`]; what was written until then is not whole.
pub async fn export(app: &App, out: &mut (impl Write + Send)) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    out.write_all(b"{\n")?;
    exported.organizations = organizations(app, out).await?;
    exported.teams = teams(app, out).await?;
    exported.agents = agents(app, out).await?;
    exported.api_keys = api_keys(app, out).await?;
    exported.webhooks = webhooks(app, out).await?;
    out.write_all(b"\n}\n")?;
    Ok(exported)
}

/// A list of the document, written item by item.
struct List<'a, W: Write> {
    out: &'a mut W,
    length: usize,
}

impl<'a, W: Write> List<'a, W> {
    fn begin(out: &'a mut W, name: &str, is_first: bool) -> io::Result<Self> {
        let separator = if is_first { "" } else { ",\n" };
        write!(out, "{separator}  \"{name}\": [")?;
        Ok(Self { out, length: 0 })
    }

    fn add(&mut self, item: &impl Serialize) -> io::Result<()> {
        let separator = if self.length == 0 {
            "\n    "
        } else {
            ",\n    "
        };
        self.out.write_all(separator.as_bytes())?;
        serde_json::to_writer(&mut *self.out, item)?;
        self.length += 1;
        Ok(())
    }

    fn end(self) -> io::Result<usize> {
        self.out.write_all(b"\n  ]")?;
        Ok(self.length)
    }
}

async fn organizations(app: &App, out: &mut (impl Write + Send)) -> Result<usize, ExportError> {
    let mut list = List::begin(out, "organizations", true)?;
    let mut pages = Organizations::of(app);
    while let Some(page) = pages.next().await? {
        for organization in page {
            list.add(&OrganizationObject::from(organization))?;
        }
    }
    Ok(list.end()?)
}

async fn teams(app: &App, out: &mut (impl Write + Send)) -> Result<usize, ExportError> {
    let mut list = List::begin(out, "teams", false)?;
    let mut pages = Organizations::of(app);
    while let Some(page) = pages.next().await? {
        for organization in page {
            for team in app.teams.list(organization.id).await? {
                list.add(&TeamObject::from(team))?;
            }
        }
    }
    Ok(list.end()?)
}

async fn api_keys(app: &App, out: &mut (impl Write + Send)) -> Result<usize, ExportError> {
    let mut list = List::begin(out, "api_keys", false)?;
    let mut pages = Organizations::of(app);
    while let Some(page) = pages.next().await? {
        for organization in page {
            for (key, last_used_at) in app.api_keys.list(organization.id).await? {
                let object = ApiKeyObject {
                    last_used_at: last_used_at.map(Into::into),
                    ..ApiKeyObject::from(key)
                };
                list.add(&object)?;
            }
        }
    }
    Ok(list.end()?)
}

async fn webhooks(app: &App, out: &mut (impl Write + Send)) -> Result<usize, ExportError> {
    let mut list = List::begin(out, "webhook_configs", false)?;
    // There are a hundred of an organization at most.
    for stored in app.webhooks.all().await? {
        list.add(&WebhookObject::from(stored.value))?;
    }
    Ok(list.end()?)
}

async fn agents(app: &App, out: &mut (impl Write + Send)) -> Result<usize, ExportError> {
    let query = AgentQuery {
        shelf: Shelf::All,
        is_active: None,
        name_prefix: None,
        order: Order::Created,
        is_descending: false,
    };
    let mut list = List::begin(out, "agents", false)?;
    let mut after = None;
    loop {
        let page = app.agents.list(&query, after.as_ref(), 0, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(list.end()?);
        };
        after = Some(last.clone());
        let agents: Vec<_> = page.into_iter().map(|(_, agent)| agent).collect();
        let usages = Usage::read_all(&*app.store, &agents).await?;
        for (agent, usage) in agents.into_iter().zip(usages) {
            list.add(&agent_object(agent, usage))?;
        }
    }
}

/// All organizations, page by page.
struct Organizations<'a> {
    app: &'a App,
    last: Option<Organization>,
    is_exhausted: bool,
}

impl<'a> Organizations<'a> {
    fn of(app: &'a App) -> Self {
        Self {
            app,
            last: None,
            is_exhausted: false,
        }
    }

    async fn next(&mut self) -> Result<Option<Vec<Organization>>, StoreError> {
        if self.is_exhausted {
            return Ok(None);
        }
        let after = self.last.as_ref().map(|organization| organization.id);
        let page = self.app.organizations.list(after, PAGE).await?;
        self.is_exhausted = page.len() < PAGE;
        self.last = page.last().cloned();
        Ok(Some(page))
    }
}

impl From<Organization> for OrganizationObject {
    fn from(organization: Organization) -> Self {
        let origins: Vec<_> = organization
            .allowed_origins
            .iter()
            .map(Origin::as_str)
            .collect();
        let lifetime = organization.token_lifetime.unwrap_or_default();
        Self {
            id: organization.id.to_string(),
            name: organization.name,
            slug: organization.slug.as_str().to_owned(),
            owner_email: organization.owner_email,
            jwt_issuer: organization
                .issuer
                .as_ref()
                .map_or_else(String::new, |issuer| IssuerUrl::as_str(issuer).to_owned()),
            jwt_expiry_secs: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX),
            allowed_origins: origins.join(","),
            plan: organization.plan.as_str().to_owned(),
            created_at: Some(organization.created_at.into()),
            updated_at: Some(organization.updated_at.into()),
        }
    }
}

impl From<Team> for TeamObject {
    fn from(team: Team) -> Self {
        Self {
            id: team.id.to_string(),
            organization_id: team.organization_id.to_string(),
            name: team.name,
            description: team.description,
            created_at: Some(team.created_at.into()),
            updated_at: Some(team.updated_at.into()),
        }
    }
}

impl From<ApiKey> for ApiKeyObject {
    fn from(key: ApiKey) -> Self {
        let scopes = key.scopes.iter().map(|scope| scope.as_str().to_owned());
        Self {
            scopes: Some(scopes.collect()),
            id: key.id.to_string(),
            organization_id: key.organization_id.to_string(),
            team_id: key.team_id.map(|team| team.to_string()),
            name: key.name,
            key_hash: None,
            prefix: key.prefix,
            last_used_at: None,
            expires_at: key.expires_at.map(Into::into),
            is_active: true,
            created_at: Some(key.created_at.into()),
        }
    }
}

impl From<Webhook> for WebhookObject {
    fn from(webhook: Webhook) -> Self {
        let text = |id: Option<String>| id.unwrap_or_default();
        let events = webhook.events.iter().map(|event| event.as_str().to_owned());
        Self {
            events: events.collect(),
            id: webhook.id.to_string(),
            organization_id: text(webhook.organization_id.map(|id| id.to_string())),
            team_id: text(webhook.team_id.map(|id| id.to_string())),
            name: webhook.name,
            url: webhook.url.as_str().to_owned(),
            secret: None,
            is_active: webhook.is_active,
            max_retries: Some(webhook.max_retries.into()),
            retry_backoff_base: Some(webhook.retry_backoff_base.into()),
            created_at: Some(webhook.created_at.into()),
            updated_at: Some(webhook.updated_at.into()),
            last_tested_at: webhook.last_tested_at.map(Into::into),
            format: Some(webhook.format),
            token_events: webhook.token_events,
        }
    }
}

fn agent_object(agent: Agent, usage: Usage) -> AgentObject {
    let rotations = agent.rotations.iter().map(|rotation| RotationObject {
        rotated_at: Some(rotation.at.into()),
        rotated_by_ip: rotation.by.map_or_else(String::new, |by| by.to_string()),
    });
    let foreign = |id: &Option<ForeignId>| id.as_ref().map(|id| id.as_str().to_owned());
    AgentObject {
        rotation_history: rotations.collect(),
        machine: agent.machine.as_ref().map(|machine| MachineObject {
            dock_id: foreign(&machine.dock_id),
            party_id: foreign(&machine.party_id),
            token_format: match machine.token_format {
                TokenFormat::Opaque => "opaque".to_owned(),
                TokenFormat::Jwt => "jwt".to_owned(),
            },
        }),
        scopes: agent
            .scopes
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect(),
        id: agent.id.to_string(),
        organization_id: agent
            .organization_id
            .map_or_else(String::new, |id| id.to_string()),
        team_id: agent.team_id.map(|team| team.to_string()),
        name: agent.name,
        description: agent.description,
        tags: agent.tags,
        metadata: agent.metadata,
        client_id: agent.client_id.to_string(),
        client_secret_hash: None,
        public_key: agent
            .public_key
            .and_then(|key| serde_json::to_string(&key).ok()),
        status: match agent.is_active {
            true => "active".to_owned(),
            false => "inactive".to_owned(),
        },
        is_active: agent.is_active,
        created_at: Some(agent.created_at.into()),
        updated_at: Some(agent.updated_at.into()),
        expires_at: agent.expires_at.map(Into::into),
        token_count: usage.token_count,
        refresh_count: usage.refresh_count,
        last_token_issued_at: usage.last_token_issued_at.map(Into::into),
        token_lifetime: agent.token_lifetime.map(|lifetime| lifetime.as_secs()),
        refresh_tokens: Some(agent.refresh_tokens),
        audiences: agent.audiences,
        claims: agent.claims,
        suspended_itself: Some(agent.suspended_itself),
    }
}
