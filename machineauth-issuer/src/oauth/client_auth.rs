//! Client authentication: `client_secret_basic`, `client_secret_post` (RFC 6749 §2.3.1) and `private_key_jwt` (RFC 7523
//! §2.2).

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use crate::app::App;
use crate::basic::BasicCredentials;
use crate::config::ClientAuth;
use crate::context::Origin;
use crate::credential::{Credential, NoCredential};
use crate::domain::agent::parse_machine_client_id;
use crate::domain::agents::{AuthenticationError, Credentials, Method, Presented, StoredAgent};
use crate::domain::api_keys::ApiKey;
use crate::domain::assertion::claimed_client;
use crate::domain::event::{Action, Actor};
use crate::domain::id::ClientId;
use crate::error::OAuthError;
use crate::protection::failures::Attempt;

/// How a client authenticates, in the audit trail.
const METHOD: &str = "client_secret";
/// RFC 7523 §2.2
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const BEARER: &[u8] = b"Bearer ";

/// The parameters by which a client authenticates.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientParams {
    /// The client, where it is not in the header.
    pub client_id: Option<String>,
    /// Its secret, where it is not in the header.
    pub client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, with an assertion.
    pub client_assertion_type: Option<String>,
    /// A JWT that the client signed (RFC 7523 §2.2), instead of its secret.
    pub client_assertion: Option<String>,
}

/// Reads how the client presents itself, in the header or in the body but not in both (RFC 6749 §2.3).
///
/// # Errors
/// `invalid_request` for two methods at once, `invalid_client` for what can never be right.
pub fn read(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    params: &mut Params,
) -> Result<Presented, OAuthError> {
    let presented = presented(headers, params);
    if let Err(OAuthError::InvalidClient(_)) = &presented {
        let failed = Action::AuthenticationFailed;
        app.count_stranger(failed, origin.address, METHOD, None, None);
    }
    presented
}

fn presented(headers: &HeaderMap, params: &mut Params) -> Result<Presented, OAuthError> {
    let name = params.take("client_id");
    let secret = params.take("client_secret");
    let assertion = params.take("client_assertion");
    match (params.take("client_assertion_type"), assertion) {
        (None, None) => {}
        (Some(kind), Some(assertion)) if kind == ASSERTION_TYPE => {
            if secret.is_some() || authenticates_in_header(headers) {
                return Err(OAuthError::InvalidRequest(
                    "authenticate in one way: with an assertion or with a secret".into(),
                ));
            }
            return asserted(name.as_deref(), assertion);
        }
        _ => {
            return Err(OAuthError::InvalidRequest(
                "client_assertion comes with client_assertion_type urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
                    .into(),
            ));
        }
    }
    if !authenticates_in_header(headers) {
        return match (name, secret) {
            (None, None) => Ok(Presented::Nothing),
            (Some(name), None) => Ok(Presented::Name(client_id(&name)?)),
            (Some(name), Some(secret)) => credentials(&name, secret),
            (None, Some(_)) => Err(OAuthError::InvalidRequest(
                "client_secret without client_id".into(),
            )),
        };
    }
    let basic = BasicCredentials::read(headers).map_err(|_| {
        OAuthError::InvalidClient("the Authorization header is not one HTTP Basic credential")
    })?;
    let basic_name = percent_decode(&basic.user)?;
    if secret.is_some() || name.is_some_and(|name| name != basic_name) {
        return Err(OAuthError::InvalidRequest(
            "authenticate in the Authorization header or in the body, not in both".into(),
        ));
    }
    credentials(&basic_name, percent_decode(&basic.password)?)
}

/// Whether the client means to authenticate in the header. A bearer token is no client authentication (RFC 6749 §2.3), and
/// some clients send their last one with every request.
fn authenticates_in_header(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => false,
        (Some(value), None) => !value
            .as_bytes()
            .get(..BEARER.len())
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(BEARER)),
        (Some(_), Some(_)) => true,
    }
}

/// The credentials, which must be there.
///
/// # Errors
/// `invalid_client`.
pub fn require(presented: Presented) -> Result<Credentials, OAuthError> {
    match presented {
        Presented::Credentials(credentials) => Ok(credentials),
        Presented::Nothing | Presented::Name(_) => Err(OAuthError::InvalidClient(
            "client authentication is required: HTTP Basic, or client_id and client_secret in the body",
        )),
    }
}

/// The client that makes this request, where `policy` lets it stay unknown `None`. Wrong credentials are never ignored.
///
/// # Errors
/// `invalid_client`, or the store's failure.
pub async fn authenticate(
    app: &App,
    origin: &Origin,
    presented: Presented,
    policy: ClientAuth,
) -> Result<Option<Arc<StoredAgent>>, OAuthError> {
    if let (Presented::Nothing | Presented::Name(_), ClientAuth::Optional) = (&presented, policy) {
        return Ok(None);
    }
    let credentials = require(presented)?;
    let attempt = attempt(app, origin, &credentials).await?;
    match app.agents.authenticate(&credentials).await {
        Err(AuthenticationError::Refused) => {
            failed(app, origin, &credentials, attempt);
            Err(OAuthError::UNKNOWN_CLIENT)
        }
        Err(unknown) => Err(unknown.into()),
        Ok(client) => {
            attempt.succeeded();
            Ok(Some(client))
        }
    }
}

/// Lets the client present its secret, if it has not failed too often from where it is (I6), and is not used too often.
///
/// It counts as a use of the client until the secret is found [wrong](failed): strangers use up nothing.
///
/// # Errors
/// [`OAuthError::TooManyRequests`]
pub async fn attempt<'a>(
    app: &'a App,
    origin: &Origin,
    credentials: &Credentials,
) -> Result<Attempt<'a>, OAuthError> {
    let name = credentials.client_id.to_string();
    let now = app.clock.now();
    let limited = |action| {
        move |exhausted| {
            count_of(app, origin, action, credentials);
            OAuthError::from(exhausted)
        }
    };
    let attempt = app
        .limits
        .attempt(origin.address, &name, &credentials.secret, now)
        .await
        .map_err(limited(Action::LimitLockedOut))?;
    app.limits
        .admit_client(&name, now)
        .map_err(limited(Action::LimitExceeded))?;
    Ok(attempt)
}

/// The credentials were wrong.
pub fn failed(app: &App, origin: &Origin, credentials: &Credentials, attempt: Attempt<'_>) {
    attempt.failed();
    app.limits.forget_use(&credentials.client_id.to_string());
    count_of(app, origin, Action::AuthenticationFailed, credentials);
}

/// The organization's plan allows no token at the moment. Who has only a refresh token need not say who it is.
pub fn over_plan(app: &App, origin: &Origin, client: Option<ClientId>) {
    app.limits.limited.inc();
    let exceeded = Action::LimitExceeded;
    match client {
        Some(client) => count(app, origin, exceeded, client, METHOD),
        None => app.count_stranger(exceeded, origin.address, METHOD, None, None),
    }
}

fn count_of(app: &App, origin: &Origin, action: Action, credentials: &Credentials) {
    let method = match credentials.method {
        Method::Secret => METHOD,
        Method::Assertion => "private_key_jwt",
    };
    count(app, origin, action, credentials.client_id, method);
}

fn count(app: &App, origin: &Origin, action: Action, client: ClientId, method: &'static str) {
    let name = client.to_string();
    // An unknown client is looked for where a known one is found, in the same time (I3).
    let agent = app.agents.at_hand(client);
    let agent = agent.as_deref().map(|stored| &stored.value);
    app.count_stranger(action, origin.address, method, Some(&name), agent);
}

/// Who asks about tokens.
#[derive(Debug)]
pub enum Asker {
    /// Somebody who does not say, where that is allowed.
    Anybody,
    /// A client.
    Client(Arc<StoredAgent>),
    /// A program of an organization.
    ApiKey(ApiKey),
}

impl Asker {
    /// Who that is, for what is recorded of it.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Anybody => Actor::Anonymous,
            Self::Client(client) => Actor::Agent {
                id: client.value.id,
            },
            Self::ApiKey(key) => Actor::ApiKey { id: key.id },
        }
    }
}

/// Who asks about a token: a client with its credentials, or an organization's API key. Wrong credentials are never
/// ignored.
///
/// # Errors
/// `invalid_client`, or the store's failure.
pub async fn asker(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    params: &mut Params,
) -> Result<Asker, OAuthError> {
    let presented = read(app, origin, headers, params)?;
    match (Credential::read(headers, &Uri::default()), &presented) {
        (Ok(Credential::ApiKey(text)), Presented::Nothing) => {
            let key: Result<_, OAuthError> = app.api_key(origin.address, &text).await;
            return key?.map(Asker::ApiKey).ok_or(OAuthError::UNKNOWN_CLIENT);
        }
        (Ok(Credential::ApiKey(_)), _) | (Err(NoCredential::Several), _) => {
            return Err(OAuthError::InvalidRequest(
                "authenticate in one way: as a client or with an API key".into(),
            ));
        }
        _ => {}
    }
    let client = authenticate(app, origin, presented, app.config.access.introspection).await?;
    Ok(client.map_or(Asker::Anybody, Asker::Client))
}

fn credentials(name: &str, secret: String) -> Result<Presented, OAuthError> {
    Ok(Presented::Credentials(Credentials {
        client_id: client_id(name)?,
        secret: secret.into(),
        method: Method::Secret,
    }))
}

/// Who is meant stands in the assertion; a `client_id` beside it must be the same (RFC 7521 §4.2).
fn asserted(name: Option<&str>, assertion: String) -> Result<Presented, OAuthError> {
    let claimed = claimed_client(&assertion).ok_or(OAuthError::UNKNOWN_CLIENT)?;
    if name.is_some_and(|name| name != claimed) {
        return Err(OAuthError::UNKNOWN_CLIENT);
    }
    Ok(Presented::Credentials(Credentials {
        client_id: client_id(&claimed)?,
        secret: assertion.into(),
        method: Method::Assertion,
    }))
}

/// A `client_id` that is not one of ours belongs to an unknown client.
fn client_id(text: &str) -> Result<ClientId, OAuthError> {
    match parse_machine_client_id(text) {
        Some(client_id) => Ok(client_id),
        None => text.parse().map_err(|_| OAuthError::UNKNOWN_CLIENT),
    }
}

/// RFC 6749 §2.3.1 has both halves form-encoded; many clients send them raw. Our identifiers and secrets hold only
/// characters that read the same either way.
fn percent_decode(text: &str) -> Result<String, OAuthError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(OAuthError::UNKNOWN_CLIENT),
    }
}
