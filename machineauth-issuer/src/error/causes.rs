//! What each error of the domain is on the wire.

use machineauth_core::ErrorKind;
use machineauth_core::quota::Exhausted;

use super::{ApiError, OAuthError, Unavailable};
use crate::body::BodyError;
use crate::credential::NoCredential;
use crate::domain::administrators::AdministratorError;
use crate::domain::agents::{AgentError, AuthenticationError};
use crate::domain::api_keys::ApiKeyError;
use crate::domain::grants::{GrantError, ScopePolicy};
use crate::domain::keys::KeyError;
use crate::domain::organization::InvalidOrganization;
use crate::domain::organizations::OrganizationError;
use crate::domain::teams::TeamError;
use crate::domain::tokens::RevokeError;
use crate::domain::webhooks::WebhookError;
use crate::events::audit::VerifyError;
use crate::store::StoreError;
use crate::telemetry::Chain;

impl From<GrantError> for OAuthError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::InvalidClient => Self::UNKNOWN_CLIENT,
            GrantError::InvalidGrant => Self::InvalidGrant,
            GrantError::InvalidScope(policy) => Self::InvalidScope(match policy {
                ScopePolicy::Filter => "none of the requested scopes may be granted to this client",
                ScopePolicy::Strict => {
                    "not all of the requested scopes may be granted to this client"
                }
            }),
            GrantError::InvalidTarget => Self::InvalidTarget(
                "the requested audience is not one that this client may have tokens for",
            ),
            GrantError::TooMany(exhausted) => exhausted.into(),
            GrantError::Contended => Self::TemporarilyUnavailable(Unavailable::Contended),
            GrantError::Overloaded(_) => Self::TemporarilyUnavailable(Unavailable::Overloaded),
            GrantError::Keys(error) => error.into(),
            GrantError::NoKey => {
                tracing::error!("there is no key to sign with");
                Self::ServerError
            }
            GrantError::Signing(error) => {
                tracing::error!(%error, "signing a token failed");
                Self::ServerError
            }
            GrantError::Store(error) => error.into(),
        }
    }
}

impl From<machineauth_core::Error> for OAuthError {
    /// Of a proof of possession.
    fn from(error: machineauth_core::Error) -> Self {
        match error.kind() {
            ErrorKind::ReplayGuardFull => Self::TemporarilyUnavailable(Unavailable::Proofs),
            _ => Self::InvalidProof(error),
        }
    }
}

impl From<AuthenticationError> for OAuthError {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Refused => Self::UNKNOWN_CLIENT,
            AuthenticationError::Overloaded(_) => {
                Self::TemporarilyUnavailable(Unavailable::Overloaded)
            }
            AuthenticationError::Store(error) => error.into(),
        }
    }
}

impl From<AdministratorError> for ApiError {
    fn from(error: AdministratorError) -> Self {
        match error {
            AdministratorError::NotFound => Self::NO_SUCH_ADMINISTRATOR,
            AdministratorError::NoSuchInvitation => Self::NotFound(
                "there is no such invitation; it may have been used, or be too old: ask for another one",
            ),
            AdministratorError::NoSuchSession => Self::NO_SUCH_SESSION,
            AdministratorError::IsConfigured => Self::Conflict(
                "this administrator is configured: ADMIN_EMAIL says who it is, and it is an owner",
            ),
            AdministratorError::AlreadyThere => {
                Self::Conflict("email: there is an administrator with this address")
            }
            AdministratorError::TooMany => Self::Conflict(
                "there are as many administrators as there can be, those who are invited included",
            ),
            AdministratorError::InvalidPassword(what) => {
                Self::InvalidRequest(what.to_string().into())
            }
            AdministratorError::Contended => {
                Self::Conflict("the administrator is being changed by many at once; try again")
            }
            AdministratorError::Overloaded(_) => {
                Self::TemporarilyUnavailable(Unavailable::Overloaded)
            }
            AdministratorError::Store(error) => error.into(),
        }
    }
}

impl From<RevokeError> for OAuthError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::NotYours => {
                Self::UnauthorizedClient("the token was issued to another client")
            }
            RevokeError::KeysUnavailable => Self::TemporarilyUnavailable(Unavailable::Store),
            RevokeError::Store(error) => error.into(),
        }
    }
}

impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::NotFound => Self::NO_SUCH_AGENT,
            AgentError::Invalid(what) => Self::InvalidRequest(what.to_string().into()),
            AgentError::NoSuchOrganization | AgentError::NoSuchTeam => {
                Self::InvalidRequest(error.to_string().into())
            }
            AgentError::PlanExhausted { .. } => Self::QuotaExceeded(error.to_string()),
            AgentError::Grace => Self::InvalidRequest(error.to_string().into()),
            AgentError::NoSuchSecret => Self::NO_SUCH_SECRET,
            AgentError::CurrentSecret => {
                Self::Conflict("this is the agent's current secret: rotate it instead")
            }
            AgentError::NotByItself => Self::Forbidden(
                "the agent was deactivated by an administrator, and only one can reactivate it",
            ),
            AgentError::Outdated => Self::PreconditionFailed,
            AgentError::Contended => {
                Self::Conflict("the agent is being changed by many at once; try again")
            }
            AgentError::Store(error) => error.into(),
        }
    }
}

impl From<OrganizationError> for ApiError {
    fn from(error: OrganizationError) -> Self {
        match error {
            OrganizationError::NotFound => Self::NO_SUCH_ORGANIZATION,
            OrganizationError::Invalid(what) => what.into(),
            OrganizationError::SlugTaken => Self::Conflict("slug: another organization has it"),
            OrganizationError::IssuerTaken => {
                Self::Conflict("jwt_issuer: another organization or the server itself issues there")
            }
            OrganizationError::Outdated => Self::PreconditionFailed,
            OrganizationError::Contended => {
                Self::Conflict("the organization is being changed by many at once; try again")
            }
            OrganizationError::Store(error) => error.into(),
        }
    }
}

impl From<InvalidOrganization> for ApiError {
    fn from(what: InvalidOrganization) -> Self {
        Self::InvalidRequest(what.to_string().into())
    }
}

impl From<TeamError> for ApiError {
    fn from(error: TeamError) -> Self {
        match error {
            TeamError::NotFound => Self::NO_SUCH_TEAM,
            TeamError::NoSuchOrganization => Self::NO_SUCH_ORGANIZATION,
            TeamError::Invalid(what) => Self::InvalidRequest(what.to_string().into()),
            TeamError::TooMany => {
                Self::Conflict("the organization has as many teams as it can have")
            }
            TeamError::NotEmpty => Self::Conflict("the team has agents: delete them first"),
            TeamError::Outdated => Self::PreconditionFailed,
            TeamError::Contended => {
                Self::Conflict("the team is being changed by many at once; try again")
            }
            TeamError::Store(error) => error.into(),
        }
    }
}

impl From<ApiKeyError> for ApiError {
    fn from(error: ApiKeyError) -> Self {
        match error {
            ApiKeyError::NotFound => Self::NO_SUCH_API_KEY,
            ApiKeyError::Invalid(what) => Self::InvalidRequest(what.to_string().into()),
            ApiKeyError::TooMany => {
                Self::Conflict("the organization has as many API keys as it can have")
            }
            ApiKeyError::Contended => {
                Self::Conflict("the organization is being changed by many at once; try again")
            }
            ApiKeyError::Store(error) => error.into(),
        }
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound => Self::NO_SUCH_WEBHOOK,
            WebhookError::NoSuchDelivery => Self::NO_SUCH_DELIVERY,
            WebhookError::Invalid(what) => Self::InvalidRequest(what.to_string().into()),
            WebhookError::NoSuchOrganization | WebhookError::NoSuchTeam | WebhookError::Grace => {
                Self::InvalidRequest(error.to_string().into())
            }
            WebhookError::TooMany => {
                Self::Conflict("there are as many webhooks as there can be: delete some first")
            }
            WebhookError::Outdated => Self::PreconditionFailed,
            WebhookError::Contended => {
                Self::Conflict("the webhook is being changed by many at once; try again")
            }
            WebhookError::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for OAuthError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Contended => Self::TemporarilyUnavailable(Unavailable::Contended),
            error => {
                tracing::error!(%error, "the signing keys cannot be used");
                Self::ServerError
            }
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound => Self::NotFound("there is no such key"),
            KeyError::NotImportable | KeyError::WrongAlgorithm => {
                Self::InvalidRequest(error.to_string().into())
            }
            KeyError::NoIssuer => Self::Conflict(
                "organization_id: the organization has no jwt_issuer, so its tokens are signed with the server's keys",
            ),
            KeyError::KidTaken => Self::Conflict("kid: there is a key of that name"),
            KeyError::TooMany => Self::Conflict(
                "there are as many keys as a key set may hold: retire or revoke some first",
            ),
            KeyError::Signs => Self::Conflict("the key signs at the moment: rotate first"),
            KeyError::Contended => {
                Self::Conflict("the keys are being changed by others at the same time; try again")
            }
            KeyError::Store(error) => error.into(),
            KeyError::Unreadable(_) | KeyError::NameTaken(_) | KeyError::Cryptography(_) => {
                tracing::error!(%error, "the signing keys cannot be used");
                Self::ServerError
            }
        }
    }
}

/// Logged where it happened.
impl From<&VerifyError> for ApiError {
    fn from(error: &VerifyError) -> Self {
        match error.is_unavailable() {
            true => Self::TemporarilyUnavailable(Unavailable::Store),
            false => Self::ServerError,
        }
    }
}

impl From<Exhausted> for OAuthError {
    fn from(exhausted: Exhausted) -> Self {
        Self::TooManyRequests(exhausted)
    }
}

impl From<Exhausted> for ApiError {
    fn from(exhausted: Exhausted) -> Self {
        Self::TooManyRequests(exhausted)
    }
}

impl From<BodyError> for OAuthError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::TooLarge(limit),
            BodyError::Incomplete => Self::InvalidRequest("the body ended early".into()),
        }
    }
}

impl From<NoCredential> for ApiError {
    fn from(missing: NoCredential) -> Self {
        match missing {
            NoCredential::Missing => Self::Unauthorized,
            NoCredential::Several => {
                Self::InvalidCredentials("authenticate once: in Authorization or in X-API-Key")
            }
            NoCredential::Malformed => Self::InvalidCredentials(
                "a token belongs into Authorization, one after Bearer, and never into the URL or a cookie",
            ),
        }
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::TooLarge(limit),
            BodyError::Incomplete => Self::InvalidRequest("the body ended early".into()),
        }
    }
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        match is_outage(&error) {
            true => Self::TemporarilyUnavailable(Unavailable::Store),
            false => Self::ServerError,
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match is_outage(&error) {
            true => Self::TemporarilyUnavailable(Unavailable::Store),
            false => Self::ServerError,
        }
    }
}

/// Logs the error, the one time that it passes here, and tells whether waiting helps.
fn is_outage(error: &StoreError) -> bool {
    let outage = error.is_unavailable();
    match outage {
        true => tracing::warn!(error = %Chain(error), "the store cannot be reached"),
        false => tracing::error!(error = %Chain(error), "the store failed"),
    }
    outage
}
