//! Judging objects against the store, and against those before them in the document.

/// The fields of `pairs` that differ.
macro_rules! differing {
    ($one:expr, $other:expr, [$($field:ident),* $(,)?]) => {{
        let mut fields = Vec::new();
        $(if $one.$field != $other.$field {
            fields.push(stringify!($field));
        })*
        fields
    }};
}

mod webhook;

use std::collections::{BTreeMap, BTreeSet};

use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::convert::{self, Notes};
use super::{Accepted, Object};
use crate::app::App;
use crate::domain::agent::{Agent, AgentChange};
use crate::domain::agents::{AgentError, Source};
use crate::domain::api_keys::{ApiKey, ApiKeyError, BroughtApiKey, MAX_KEYS};
use crate::domain::id::{AgentId, ApiKeyId, ClientId, OrganizationId, TeamId, WebhookId};
use crate::domain::organization::{IssuerUrl, Organization, location};
use crate::domain::organizations;
use crate::domain::teams::{self, MAX_TEAMS};
use crate::domain::unique::UniqueName;
use crate::store::StoreError;
use crate::transfer::document::{self, AgentObject, ApiKeyObject, OrganizationObject, TeamObject};
use crate::transfer::report::{Kind, ObjectReport, Outcome};

/// What is known so far.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    app: &'a App,
    now: Timestamp,
    lines: Vec<ObjectReport>,
    accepted: Vec<Accepted>,
    /// What the accepted objects take.
    organizations: BTreeSet<OrganizationId>,
    slugs: BTreeSet<String>,
    locations: BTreeSet<String>,
    teams: BTreeMap<OrganizationId, BTreeSet<TeamId>>,
    agents: BTreeSet<AgentId>,
    clients: BTreeSet<ClientId>,
    api_keys: BTreeMap<OrganizationId, BTreeSet<ApiKeyId>>,
    digests: BTreeSet<[u8; 32]>,
    webhooks: BTreeMap<Option<OrganizationId>, BTreeSet<WebhookId>>,
}

/// What came out for one object: the identifier it has here, and the object itself where it is to be written.
type Judged = (String, Result<Option<Object>, Outcome>);

/// The store failed, which ends the import; or the object is refused, which does not.
enum Ended {
    Failed(StoreError),
    Refused(String),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<String> for Ended {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

impl From<&str> for Ended {
    fn from(reason: &str) -> Self {
        Self::Refused(reason.to_owned())
    }
}

impl<'a> Judge<'a> {
    pub(super) fn new(app: &'a App) -> Self {
        Self {
            now: app.clock.now(),
            app,
            lines: Vec::new(),
            accepted: Vec::new(),
            organizations: BTreeSet::new(),
            slugs: BTreeSet::new(),
            locations: BTreeSet::new(),
            teams: BTreeMap::new(),
            agents: BTreeSet::new(),
            clients: BTreeSet::new(),
            api_keys: BTreeMap::new(),
            digests: BTreeSet::new(),
            webhooks: BTreeMap::new(),
        }
    }

    /// A line for every object, and what is to be written, in an order in which it can be.
    pub(super) fn finish(self) -> (Vec<ObjectReport>, Vec<Accepted>) {
        (self.lines, self.accepted)
    }

    pub(super) async fn organizations(&mut self, values: &[Value]) -> Result<(), StoreError> {
        for value in values {
            let mut notes = Notes::new();
            let judged = self.organization(value, &mut notes).await;
            self.record(Kind::Organization, value, judged, notes)?;
        }
        Ok(())
    }

    pub(super) async fn teams(&mut self, values: &[Value]) -> Result<(), StoreError> {
        for value in values {
            let mut notes = Notes::new();
            let judged = self.team(value, &mut notes).await;
            self.record(Kind::Team, value, judged, notes)?;
        }
        Ok(())
    }

    pub(super) async fn agents(&mut self, values: &[Value]) -> Result<(), StoreError> {
        for value in values {
            let mut notes = Notes::new();
            let judged = self.agent(value, &mut notes).await;
            self.record(Kind::Agent, value, judged, notes)?;
        }
        Ok(())
    }

    pub(super) async fn api_keys(&mut self, values: &[Value]) -> Result<(), StoreError> {
        for value in values {
            let mut notes = Notes::new();
            let judged = self.api_key(value, &mut notes).await;
            self.record(Kind::ApiKey, value, judged, notes)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        kind: Kind,
        value: &Value,
        judged: Result<Judged, Ended>,
        notes: Notes,
    ) -> Result<(), StoreError> {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (id, judged) = match judged {
            Ok((id, judged)) => (id, judged),
            Err(Ended::Refused(reason)) => (text("id"), Err(Outcome::Refused { reason })),
            Err(Ended::Failed(error)) => return Err(error),
        };
        let (outcome, notes) = match judged {
            Ok(Some(object)) => {
                let line = self.lines.len();
                self.accepted.push(Accepted { line, object });
                (Outcome::Imported, notes)
            }
            Ok(None) => (Outcome::Unchanged, Notes::new()),
            Err(outcome) => (outcome, Notes::new()),
        };
        self.lines.push(ObjectReport {
            kind,
            id,
            name: text("name"),
            outcome,
            notes,
        });
        Ok(())
    }

    async fn organization(&mut self, value: &Value, notes: &mut Notes) -> Result<Judged, Ended> {
        let object: OrganizationObject = read(value, &convert::ORGANIZATION, notes)?;
        let mut organization = convert::organization(object, self.now, notes)?;
        let id = organization.id;
        let existing = organizations::read(&*self.app.store, id).await?;
        let existing = existing.map(|stored| stored.value);
        self.free_issuer(&mut organization, notes).await?;
        if let Some(existing) = existing {
            let fields = differing_organization(&existing, &organization);
            return Ok((id.to_string(), here(fields)));
        }
        let slug = organization.slug.as_str().to_owned();
        if !self.organizations.insert(id) {
            return Err("id: another organization of the document has it".into());
        }
        let bearer = UniqueName::Slug(organization.slug.clone())
            .bearer(&*self.app.store)
            .await?;
        if bearer.is_some() || !self.slugs.insert(slug) {
            self.organizations.remove(&id);
            return Err("slug: another organization has it".into());
        }
        Ok((id.to_string(), Ok(Some(Object::Organization(organization)))))
    }

    /// Leaves out an issuer that another organization or the server itself has.
    async fn free_issuer(
        &mut self,
        organization: &mut Organization,
        notes: &mut Notes,
    ) -> Result<(), StoreError> {
        let Some(issuer) = &organization.issuer else {
            return Ok(());
        };
        if issuer.location() == location(&self.app.config.tokens.issuer) {
            organization.issuer = None;
            return Ok(());
        }
        let bearer = self.app.organizations.issuing_at(issuer.location()).await?;
        let is_anothers = bearer.is_some_and(|bearer| bearer.value.id != organization.id);
        if is_anothers || !self.locations.insert(issuer.location()) {
            notes.push("jwt_issuer: left out, since another organization has it".to_owned());
            organization.issuer = None;
        }
        Ok(())
    }

    async fn team(&mut self, value: &Value, notes: &mut Notes) -> Result<Judged, Ended> {
        let object: TeamObject = read(value, &convert::TEAM, notes)?;
        let organization_name = object.organization_id.clone();
        let team = convert::team(object, self.now, notes)?;
        let (id, organization) = (team.id, team.organization_id);
        self.require_organization(organization, &organization_name)
            .await?;
        if let Some(existing) = teams::read(&*self.app.store, organization, id).await? {
            let fields = differing!(existing.value, team, [name, description]);
            return Ok((id.to_string(), here(fields)));
        }
        if !self.teams.contains_key(&organization) {
            let existing = self.app.teams.list(organization).await?;
            let existing = existing.into_iter().map(|team| team.id).collect();
            self.teams.insert(organization, existing);
        }
        let teams = self.teams.entry(organization).or_default();
        if teams.len() >= MAX_TEAMS {
            return Err(format!("an organization has at most {MAX_TEAMS} teams").into());
        }
        if !teams.insert(id) {
            return Err("id: another team of the document has it".into());
        }
        Ok((id.to_string(), Ok(Some(Object::Team(team)))))
    }

    async fn agent(&mut self, value: &Value, notes: &mut Notes) -> Result<Judged, Ended> {
        let object: AgentObject = read(value, &convert::AGENT, notes)?;
        let organization_name = object.organization_id.clone();
        let (agent, usage) = convert::agent(object, self.now, notes)?;
        if let Some(organization) = agent.organization_id {
            self.require_organization(organization, &organization_name)
                .await?;
        }
        self.require_team(agent.organization_id, agent.team_id)
            .await?;
        match self.app.agents.find(agent.id).await {
            Ok(existing) => {
                let fields = differing_agent(&existing.value, &agent);
                return Ok((agent.id.to_string(), here(fields)));
            }
            Err(AgentError::Store(error)) => return Err(error.into()),
            Err(_) => {}
        }
        let known = self
            .app
            .agents
            .by_client(agent.client_id, Source::Store)
            .await?;
        if known.is_some() || self.clients.contains(&agent.client_id) {
            return Err("client_id: another agent has it".into());
        }
        if !self.agents.insert(agent.id) {
            return Err("id: another agent of the document has it".into());
        }
        self.clients.insert(agent.client_id);
        Ok((
            agent.id.to_string(),
            Ok(Some(Object::Agent(Box::new((agent, usage))))),
        ))
    }

    async fn api_key(&mut self, value: &Value, notes: &mut Notes) -> Result<Judged, Ended> {
        let object: ApiKeyObject = read(value, &convert::API_KEY, notes)?;
        let organization_name = object.organization_id.clone();
        let existing = self.existing_api_key(&object).await?;
        let (organization, key) = match (existing, convert::api_key(object, self.now, notes)) {
            (Some(existing), Ok((_, key))) => {
                return Ok((
                    existing.id.to_string(),
                    here(differing_api_key(&existing, &key)),
                ));
            }
            // One that is here needs no hash to be known again.
            (Some(existing), Err(_)) => return Ok((existing.id.to_string(), Ok(None))),
            (None, converted) => converted?,
        };
        self.require_organization(organization, &organization_name)
            .await?;
        self.require_team(Some(organization), key.team).await?;
        let digest_is_known = self.app.api_keys.brought_with(&key.digest).await?.is_some();
        if digest_is_known || self.digests.contains(&key.digest) {
            return Err("key_hash: another API key has the same text".into());
        }
        if !self.api_keys.contains_key(&organization) {
            let existing = self.app.api_keys.list(organization).await?;
            let existing = existing.into_iter().map(|(key, _)| key.id).collect();
            self.api_keys.insert(organization, existing);
        }
        let keys = self.api_keys.entry(organization).or_default();
        if keys.len() >= MAX_KEYS {
            return Err(format!("an organization has at most {MAX_KEYS} API keys").into());
        }
        if !keys.insert(key.id) {
            return Err("id: another API key of the document has it".into());
        }
        self.digests.insert(key.digest);
        Ok((
            key.id.to_string(),
            Ok(Some(Object::ApiKey(organization, key))),
        ))
    }

    async fn existing_api_key(&self, object: &ApiKeyObject) -> Result<Option<ApiKey>, StoreError> {
        use convert::FromDocument as _;
        let organization = OrganizationId::read(&object.organization_id);
        let found = self
            .app
            .api_keys
            .find(organization, ApiKeyId::read(&object.id));
        match found.await {
            Ok(key) => Ok(Some(key.value)),
            Err(ApiKeyError::Store(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    async fn require_organization(&self, id: OrganizationId, name: &str) -> Result<(), Ended> {
        let is_there = self.organizations.contains(&id)
            || organizations::read(&*self.app.store, id).await?.is_some();
        match is_there {
            true => Ok(()),
            false => Err(format!("organization_id: there is no organization {name:?}").into()),
        }
    }

    async fn require_team(
        &self,
        organization: Option<OrganizationId>,
        team: Option<TeamId>,
    ) -> Result<(), Ended> {
        let Some(team) = team else { return Ok(()) };
        let is_there = match organization {
            None => false,
            Some(organization) => {
                let planned = self.teams.get(&organization);
                planned.is_some_and(|teams| teams.contains(&team))
                    || teams::read(&*self.app.store, organization, team)
                        .await?
                        .is_some()
            }
        };
        match is_there {
            true => Ok(()),
            false => Err("team_id: the organization has no such team".into()),
        }
    }
}

fn read<T: DeserializeOwned>(
    value: &Value,
    known: &[&str],
    notes: &mut Notes,
) -> Result<T, String> {
    let read = document::read(value, known)?;
    notes.extend(
        read.unknown
            .iter()
            .map(|name| format!("{name}: left out, nothing here knows what it is")),
    );
    Ok(read.object)
}

/// What is said of an object that is here already.
fn here(different: Vec<&'static str>) -> Result<Option<Object>, Outcome> {
    match different.is_empty() {
        true => Ok(None),
        false => Err(Outcome::Different { fields: different }),
    }
}

fn differing_organization(here: &Organization, there: &Organization) -> Vec<&'static str> {
    let mut fields = differing!(
        here,
        there,
        [
            name,
            slug,
            owner_email,
            token_lifetime,
            plan,
            allowed_origins
        ]
    );
    let issuer =
        |organization: &Organization| organization.issuer.as_ref().map(IssuerUrl::location);
    if issuer(here) != issuer(there) {
        fields.push("jwt_issuer");
    }
    fields
}

/// Not in secrets and not in what they did: those go on changing where they are used.
fn differing_agent(here: &Agent, there: &Agent) -> Vec<&'static str> {
    let mut fields = differing!(here, there, [organization_id, team_id, client_id, machine]);
    let (here, there) = (
        AgentChange::describing(here),
        AgentChange::describing(there),
    );
    fields.extend(differing!(
        here,
        there,
        [
            name,
            description,
            tags,
            metadata,
            is_active,
            expires_at,
            token_lifetime,
            refresh_tokens,
            audiences,
            claims,
        ]
    ));
    let sorted = |change: &AgentChange| {
        let scopes = change.scopes.iter().flat_map(ScopeSet::iter);
        let scopes: BTreeSet<_> = scopes.map(|scope| scope.as_str().to_owned()).collect();
        scopes
    };
    if sorted(&here) != sorted(&there) {
        fields.push("scopes");
    }
    fields
}

fn differing_api_key(here: &ApiKey, there: &BroughtApiKey) -> Vec<&'static str> {
    let mut fields = differing!(here, there, [name, expires_at]);
    if here.team_id != there.team {
        fields.push("team_id");
    }
    if there.scopes.as_ref().is_some_and(|scopes| {
        !scopes.contains_all(&here.scopes) || !here.scopes.contains_all(scopes)
    }) {
        fields.push("scopes");
    }
    fields
}
