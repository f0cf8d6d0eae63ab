//! Agents that come with their own access token (RFC 6750).

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use machineauth_core::bearer::bearer_token;

use crate::app::App;
use crate::context::Origin;
use crate::credential::NoCredential;
use crate::domain::agents::StoredAgent;
use crate::domain::event::{Action, Actor, By};
use crate::domain::tokens::{Holder, IssuedAccessToken, IssuedToken, Unrecognized};
use crate::error::{ApiError, Unavailable};
use crate::openapi::security::AGENT;
use crate::openapi::{BadRequest, DescribeAnswer as _, DescribeRequest, Description, InvalidToken};

/// An agent that proved by its access token who it is. It is active, and the token is meant for this server.
#[derive(Debug)]
pub struct AuthenticatedAgent {
    /// Its record.
    pub stored: StoredAgent,
    /// It, for whatever it changes.
    pub by: By,
}

/// An agent that proved by its access token who it is, and that may be suspended.
#[derive(Debug)]
pub struct SuspendableAgent {
    /// Its record.
    pub stored: StoredAgent,
    /// It, for whatever it changes.
    pub by: By,
}

impl FromRequestParts<App> for AuthenticatedAgent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let SuspendableAgent { stored, by } =
            SuspendableAgent::from_request_parts(parts, app).await?;
        match stored.value.is_active {
            true => Ok(Self { stored, by }),
            false => Err(ApiError::InvalidToken),
        }
    }
}

impl FromRequestParts<App> for SuspendableAgent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = bearer_token(&parts.headers, &parts.uri);
        let text = text.map_err(|error| match NoCredential::from(error) {
            NoCredential::Missing => ApiError::TokenRequired,
            why => why.into(),
        })?;
        let held = holder(app, text, &app.config.tokens.audience).await;
        let Ok(origin) = Origin::from_request_parts(parts, app).await;
        if let Err(ApiError::InvalidToken) = &held {
            let failed = Action::AuthenticationFailed;
            app.count_stranger(failed, origin.address, "token", None, None);
        }
        let (_, holder) = held?;
        let id = holder.agent.value.id;
        Ok(Self {
            stored: Arc::unwrap_or_clone(holder.agent),
            by: origin.by(Actor::Agent { id }),
        })
    }
}

impl DescribeRequest for AuthenticatedAgent {
    fn describe(operation: &mut Description<'_>) {
        SuspendableAgent::describe(operation);
    }
}

impl DescribeRequest for SuspendableAgent {
    fn describe(operation: &mut Description<'_>) {
        operation
            .credentials(&[AGENT])
            .refuses::<BadRequest>()
            .refuses::<InvalidToken>();
        ApiError::describe(operation);
    }
}

/// Who holds the access token `text`, which is good now and meant for `audience`. The agent may be suspended.
///
/// # Errors
/// [`ApiError::InvalidToken`], or the store's failure.
pub async fn holder(
    app: &App,
    text: &str,
    audience: &str,
) -> Result<(IssuedAccessToken, Holder), ApiError> {
    let token = match app.tokens.recognize(text).await {
        Ok(IssuedToken::Access(token)) => token,
        Ok(IssuedToken::Refresh(_)) | Err(Unrecognized::LongExpired | Unrecognized::Unknown) => {
            return Err(ApiError::InvalidToken);
        }
        Err(Unrecognized::KeysUnavailable) => {
            return Err(ApiError::TemporarilyUnavailable(Unavailable::Store));
        }
    };
    // Nobody proves here to have the key of a bound token (RFC 9449 §7.2).
    if !token.claims().audience.contains(audience) || token.claims().confirmation.is_some() {
        return Err(ApiError::InvalidToken);
    }
    match app.tokens.holder(&token).await? {
        Some(holder) => Ok((token, holder)),
        None => Err(ApiError::InvalidToken),
    }
}
