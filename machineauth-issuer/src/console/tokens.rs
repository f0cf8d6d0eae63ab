//! `/admin/tokens`: what a token says, what is true of it, and its end.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::address::Query;
use super::failure::Failure;
use super::form::{Form, wrong};
use super::moment::Moment;
use super::page::{Section, Shell, page, refused};
use super::session::{Administrator, Change, OwnChange};
use crate::app::App;
use crate::domain::agent::Agent;
use crate::domain::agents::{AgentError, Source};
use crate::domain::grants::{GrantError, Granted, Requested};
use crate::domain::id::{AgentId, ClientId};
use crate::domain::tokens::said::Said;
use crate::domain::tokens::{IssuedToken, Revoker, TokenState, Unrecognized};
use crate::error::{ApiError, OAuthError, Refusal, Unavailable};

/// More than any token that is taken anywhere (V12).
const MAX_TOKEN: usize = 16 * 1024;

/// For which agent a token is to be tried.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    agent_id: String,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    shell: Shell,
    /// For looking at a token.
    looking: Form,
    /// For getting one.
    trying: Form,
    looked_at: Option<LookedAt>,
    is_revoked: bool,
}

/// A token that was looked at.
struct LookedAt {
    text: String,
    said: Option<Said>,
    verdict: Verdict,
    holder: Option<Agent>,
    expires_at: Option<Timestamp>,
}

/// What is true of a token.
enum Verdict {
    /// It is good, for this.
    Active(ScopeSet),
    /// It was ended.
    Revoked,
    /// Its time is over.
    Expired,
    /// It is none of ours, or was changed.
    Unknown,
}

impl LookedAt {
    fn pretty(&self, members: &Map<String, Value>) -> String {
        serde_json::to_string_pretty(members).unwrap_or_default()
    }

    /// The times that it names, as times.
    fn times(&self) -> Vec<(&'static str, Timestamp)> {
        let payload = self.said.as_ref().map(|said| &said.payload);
        let times = [("iat", "Issued"), ("nbf", "Not before"), ("exp", "Expires")];
        let times = times.into_iter().filter_map(|(claim, label)| {
            let seconds = payload?.get(claim)?.as_u64()?;
            Some((label, Timestamp::from_secs(seconds)))
        });
        times.collect()
    }
}

impl TokensPage {
    fn new(app: &App, administrator: &Administrator) -> Self {
        Self {
            shell: administrator.shell(app, Section::Tokens),
            looking: Form::default(),
            trying: Form::default(),
            looked_at: None,
            is_revoked: false,
        }
    }
}

/// The forms.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Response {
    let trying = Form::filled([("agent_id", asked.agent_id)]);
    page(&TokensPage {
        trying,
        ..TokensPage::new(&app, &administrator)
    })
}

/// Says what a token is. It comes in the body of a form, so that it ends up in no log.
pub async fn look(
    State(app): State<App>,
    OwnChange(change): OwnChange,
) -> Result<Response, Failure> {
    let administrator = &change.administrator;
    let shown = TokensPage::new(&app, administrator);
    let mut looking = change.form;
    match token(&looking) {
        Ok(text) => Ok(page(&TokensPage {
            looked_at: Some(looked_at(&app, administrator, text).await?),
            ..shown
        })),
        Err(error) => {
            looking.refuse(error)?;
            Ok(refused(&TokensPage { looking, ..shown }))
        }
    }
}

/// Ends a token, and says what has become of it.
pub async fn revoke(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    let administrator = &change.administrator;
    let shown = TokensPage::new(&app, administrator);
    let mut looking = change.form;
    let text = match token(&looking) {
        Ok(text) => text,
        Err(error) => {
            looking.refuse(error)?;
            return Ok(refused(&TokensPage { looking, ..shown }));
        }
    };
    let revoked = app
        .tokens
        .revoke(&text, Revoker::Holder, &administrator.by)
        .await;
    revoked.map_err(OAuthError::from).map_err(said_by_oauth)?;
    Ok(page(&TokensPage {
        looked_at: Some(looked_at(&app, administrator, text).await?),
        is_revoked: true,
        ..shown
    }))
}

/// Issues a token for an agent and shows it.
pub async fn try_one(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    let administrator = &change.administrator;
    let shown = TokensPage::new(&app, administrator);
    let mut trying = change.form;
    match tried(&app, administrator, &trying).await {
        Ok(granted) => {
            let text = granted.access_token;
            Ok(page(&TokensPage {
                looked_at: Some(looked_at(&app, administrator, text).await?),
                ..shown
            }))
        }
        Err(error) => {
            trying.refuse(error)?;
            Ok(refused(&TokensPage { trying, ..shown }))
        }
    }
}

async fn tried(app: &App, administrator: &Administrator, form: &Form) -> Result<Granted, ApiError> {
    let missing = || wrong("agent_id", "the identifier or the client id of an agent");
    let named = form.given("agent_id").ok_or_else(missing)?;
    let client = client(app, named).await?.ok_or_else(missing)?;
    let scope = form.given("scope").map(ScopeSet::parse).transpose();
    let requested = Requested {
        scope: scope.map_err(|_| wrong("scope", "scopes, separated by spaces"))?,
        audience: form.given("audience").map(str::to_owned),
        key: None,
    };
    administrator.prove(app, form).await?;
    let granted = app.grants.trial(client, &requested, &administrator.by);
    granted.await.map_err(|error| match error {
        GrantError::InvalidClient => wrong(
            "agent_id",
            "this agent gets no tokens: it is inactive or expired",
        ),
        GrantError::InvalidScope(_) => wrong("scope", "not among the scopes of the agent"),
        GrantError::InvalidTarget => wrong("audience", "not among the audiences of the agent"),
        error => api_error(error.into()),
    })
}

/// The client of that identifier, its own or its agent's.
async fn client(app: &App, named: &str) -> Result<Option<ClientId>, ApiError> {
    if let Some(client) = crate::domain::agent::parse_machine_client_id(named) {
        return Ok(Some(client));
    }
    if let Ok(id) = named.parse::<AgentId>() {
        match app.agents.find(id).await {
            Ok(stored) => return Ok(Some(stored.value.client_id)),
            Err(AgentError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let Ok(client) = named.parse::<ClientId>() else {
        return Ok(None);
    };
    let found = app.agents.by_client(client, Source::Store).await?;
    Ok(found.map(|_| client))
}

fn token(form: &Form) -> Result<String, ApiError> {
    match form.given("token") {
        None => Err(wrong("token", "an access token or a refresh token")),
        Some(text) if text.len() > MAX_TOKEN => Err(wrong("token", "at most 16 KiB")),
        Some(text) => Ok(text.to_owned()),
    }
}

async fn looked_at(
    app: &App,
    administrator: &Administrator,
    text: String,
) -> Result<LookedAt, ApiError> {
    let said = Said::read(&text);
    let unknown = |verdict| LookedAt {
        text: text.clone(),
        said: said.clone(),
        verdict,
        holder: None,
        expires_at: None,
    };
    let token: IssuedToken = match app.tokens.recognize(&text).await {
        Ok(token) => token,
        Err(Unrecognized::LongExpired) => return Ok(unknown(Verdict::Expired)),
        Err(Unrecognized::Unknown) => return Ok(unknown(Verdict::Unknown)),
        Err(Unrecognized::KeysUnavailable) => {
            return Err(ApiError::TemporarilyUnavailable(Unavailable::Store));
        }
    };
    let state = app.tokens.state(&token).await?;
    let by = &administrator.by;
    app.tokens.introspected(&token, &state, by).await?;
    let client = token.client_id();
    let found = app.agents.by_client(client, Source::Store).await?;
    Ok(LookedAt {
        holder: found.map(|found| found.agent.value.clone()),
        expires_at: Some(token.expires_at()),
        verdict: match state {
            TokenState::Active(scope) => Verdict::Active(scope),
            TokenState::Revoked => Verdict::Revoked,
            TokenState::Expired => Verdict::Expired,
        },
        text,
        said,
    })
}

/// What OAuth says to a client, said to an administrator.
fn api_error(error: OAuthError) -> ApiError {
    match error {
        OAuthError::TooManyRequests(exhausted) => ApiError::TooManyRequests(exhausted),
        OAuthError::TemporarilyUnavailable(why) => ApiError::TemporarilyUnavailable(why),
        OAuthError::ServerError => ApiError::ServerError,
        error => ApiError::InvalidRequest(Refusal::from(error).description),
    }
}

fn said_by_oauth(error: OAuthError) -> Failure {
    Failure::Refused(api_error(error))
}
