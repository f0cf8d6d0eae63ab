//! The form of an agent: creating and changing it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::secret::SecretPage;
use super::{found, path_of};
use crate::app::App;
use crate::console::address::{Path, Query};
use crate::console::failure::Failure;
use crate::console::form::{Form, wrong};
use crate::console::names;
use crate::console::page::{Done, Section, Shell, page, refused};
use crate::console::session::{Change, Editor};
use crate::date::{Date, moment};
use crate::domain::agent::{
    Agent, AgentChange, DEFAULT_SCOPES, ForeignId, MachineClient, NewAgent, PublicKey, TokenFormat,
    scopes,
};
use crate::domain::agents::{AgentError, StoredAgent};
use crate::domain::json_object::JsonObject;
use crate::domain::organization::Organization;
use crate::domain::secret::SecretText;
use crate::error::ApiError;

/// What a new agent is to be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    kind: String,
    organization_id: String,
    team_id: String,
}

#[derive(Template)]
#[template(path = "agents/form.html")]
struct FormPage {
    shell: Shell,
    form: Form,
    /// The agent that is changed.
    agent: Option<Agent>,
    organizations: Vec<Organization>,
}

impl FormPage {
    async fn new(app: &App, change: Change, agent: Option<Agent>) -> Result<Self, Failure> {
        let organizations = match agent {
            Some(_) => Vec::new(),
            None => names::some_organizations(app).await?,
        };
        Ok(Self {
            shell: change.administrator.shell(app, Section::Agents),
            form: change.form,
            agent,
            organizations,
        })
    }

    fn is_machine(&self) -> bool {
        match &self.agent {
            Some(agent) => agent.machine.is_some(),
            None => is_machine(&self.form),
        }
    }
}

/// The form for a new agent.
pub async fn new(
    editor: Editor,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let mut form = Form::filled([
        ("kind", asked.kind),
        ("organization_id", asked.organization_id),
        ("team_id", asked.team_id),
    ]);
    if is_machine(&form) {
        form = form.with("scopes", DEFAULT_SCOPES.join("\n"));
    } else {
        form = form.with("refresh_tokens", "on");
    }
    let shown = FormPage::new(&app, editor.fills(form), None);
    Ok(page(&shown.await?))
}

/// Creates an agent and shows its secret.
pub async fn create(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    match created(&app, &change).await {
        Ok((agent, secret)) => {
            tracing::info!(agent.id = %agent.id, "created an agent");
            Ok(SecretPage::of_new(&app, &change, &agent, &secret))
        }
        Err(error) => {
            let shown = FormPage::new(&app, change.refused(error)?, None);
            Ok(refused(&shown.await?))
        }
    }
}

async fn created(app: &App, change: &Change) -> Result<(Agent, SecretText), ApiError> {
    let form = &change.form;
    let new = NewAgent {
        organization_id: form.id("organization_id")?,
        team_id: form.id("team_id")?,
        machine: is_machine(form).then(|| machine(form)).transpose()?,
        expires_in: None,
        profile: profile(form)?,
    };
    if new.machine.is_some() && new.organization_id.is_none() {
        return Err(wrong("organization_id", "a machine client belongs to one"));
    }
    change.prove(app).await?;
    Ok(app.agents.create(new, change.by()).await?)
}

/// The form with an agent as it is.
pub async fn edit(
    editor: Editor,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let change = editor.fills(filled(&stored));
    let shown = FormPage::new(&app, change, Some(stored.value));
    Ok(page(&shown.await?))
}

/// Changes an agent.
pub async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let id = stored.value.id;
    match changed(&app, &change, &stored).await {
        Ok(()) => {
            tracing::info!(agent.id = %id, "changed an agent");
            Ok(Done::AGENT_CHANGED.then(&path_of(id)))
        }
        Err(error) => {
            let agent = Some(stored.value);
            let shown = FormPage::new(&app, change.refused(error)?, agent);
            Ok(refused(&shown.await?))
        }
    }
}

async fn changed(app: &App, change: &Change, stored: &StoredAgent) -> Result<(), ApiError> {
    let mut profile = profile(&change.form)?;
    if stored.value.machine.is_some() {
        // What its form does not show stays as it is.
        profile = AgentChange {
            name: profile.name,
            description: profile.description,
            scopes: profile.scopes,
            expires_at: profile.expires_at,
            ..AgentChange::default()
        };
    }
    // Whoever has the other half of a key gets tokens with it.
    let is_other_key = |key: &Option<PublicKey>| *key != stored.value.public_key;
    if profile.public_key.as_ref().is_some_and(is_other_key) {
        change.prove(app).await?;
    }
    change.form.is_of(stored.version)?;
    let (id, version) = (stored.value.id, Some(stored.version));
    let agents = &app.agents;
    agents.update(id, &profile, version, change.by()).await?;
    Ok(())
}

fn is_machine(form: &Form) -> bool {
    form.value("kind") == "machine"
}

fn machine(form: &Form) -> Result<MachineClient, ApiError> {
    let foreign = |field: &'static str| {
        let id = form.given(field).map(|text| {
            ForeignId::parse(text).ok_or_else(|| wrong(field, "1 to 128 of A-Z a-z 0-9 _ . : -"))
        });
        id.transpose()
    };
    Ok(MachineClient {
        dock_id: foreign("dock_id")?,
        party_id: foreign("party_id")?,
        token_format: match form.value("token_format") {
            "jwt" => TokenFormat::Jwt,
            _ => TokenFormat::Opaque,
        },
    })
}

/// What is typed, as far as it can be understood; the domain judges the rest.
fn profile(form: &Form) -> Result<AgentChange, ApiError> {
    let end = form.given("expires_at").map(|text| {
        moment(text, true).ok_or_else(|| {
            wrong(
                "expires_at",
                "a day as 2027-01-31, or a time as 2027-01-31T12:00:00Z",
            )
        })
    });
    let key = form.given("public_key").map(|text| {
        let value = match serde_json::from_str(text) {
            Ok(jwk @ Value::Object(_)) => jwk,
            _ => Value::String(text.to_owned()),
        };
        PublicKey::parse(&value)
    });
    let scopes = scopes(&form.words("scopes")).map_err(AgentError::from)?;
    Ok(AgentChange {
        name: Some(form.value("name").trim().to_owned()),
        description: Some(form.value("description").to_owned()),
        tags: Some(tags(form.value("tags"))),
        metadata: Some(object(form, "metadata")?),
        scopes: Some(scopes),
        is_active: None,
        expires_at: Some(end.transpose()?),
        token_lifetime: Some(form.seconds("token_lifetime")?),
        refresh_tokens: Some(form.is_ticked("refresh_tokens")),
        audiences: Some(form.words("audiences")),
        claims: Some(object(form, "claims")?),
        public_key: Some(key.transpose().map_err(AgentError::from)?),
    })
}

fn tags(text: &str) -> Vec<String> {
    let tags = text.split([',', '\n']).map(str::trim);
    tags.filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}

fn object(form: &Form, field: &'static str) -> Result<JsonObject, ApiError> {
    match form.given(field) {
        None => Ok(JsonObject::default()),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let place = format!("line {line}, column {column}");
            wrong(field, &format!("this is no JSON object: see {place}"))
        }),
    }
}

fn filled(stored: &StoredAgent) -> Form {
    let agent = &stored.value;
    let json = |object: &JsonObject| match object.is_empty() {
        true => String::new(),
        false => serde_json::to_string_pretty(&object.members()).unwrap_or_default(),
    };
    let key = agent.public_key.as_ref();
    let scopes: Vec<_> = agent.scopes.iter().map(AsRef::as_ref).collect();
    let form = Form::filled([
        ("version", stored.version.to_string()),
        ("name", agent.name.clone()),
        ("description", agent.description.clone()),
        ("tags", agent.tags.join(", ")),
        ("metadata", json(&agent.metadata)),
        ("scopes", scopes.join("\n")),
        (
            "expires_at",
            agent
                .expires_at
                .map_or_else(String::new, |at| Date(at).to_string()),
        ),
        (
            "token_lifetime",
            agent
                .token_lifetime
                .map_or_else(String::new, |lifetime| lifetime.as_secs().to_string()),
        ),
        ("audiences", agent.audiences.join("\n")),
        ("claims", json(&agent.claims)),
        (
            "public_key",
            key.and_then(|key| serde_json::to_string_pretty(key).ok())
                .unwrap_or_default(),
        ),
    ]);
    match agent.refresh_tokens {
        true => form.with("refresh_tokens", "on"),
        false => form,
    }
}
