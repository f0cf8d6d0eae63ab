//! Who calls the administrative API, and what it may see.
//!
//! An administrator of the server comes with HTTP Basic or a login's token and sees everything; its role says what it
//! changes. An organization's credentials see that organization and nothing else: to them another tenant's object does
//! not exist (I12).

use axum::extract::FromRequestParts;
use http::request::Parts;
use machineauth_core::ScopeSet;

use super::bearer;
use super::myself::Myself;
use crate::app::App;
use crate::context::Origin;
use crate::credential::Credential;
use crate::domain::administrators::{Activity, Identity, SESSION_PREFIX, Session, SessionKind};
use crate::domain::agent::NewAgent;
use crate::domain::agents::AgentError;
use crate::domain::api_keys::{ADMIN, AUDIT_READ, ApiKey};
use crate::domain::event::{Action, Actor, By};
use crate::domain::id::{OrganizationId, TeamId};
use crate::error::ApiError;
use crate::openapi::security::{ADMINISTRATOR, API_KEY, BEARER};
use crate::openapi::{BadRequest, DescribeAnswer as _, DescribeRequest, Description, Unauthorized};
use crate::sign_in::by_password;

/// Who makes an administrative request. Extracting it is the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What it sees and changes.
    pub reach: Reach,
    /// Who it is, for whatever it changes.
    pub by: By,
}

/// What a caller sees and changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// An administrator of the server: everything. Whether it may change it is judged before.
    Administrator,
    /// An administrator of one organization, or of one team in it.
    Tenant(Tenant),
}

/// What an organization's credentials administer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant {
    /// The organization.
    pub organization: OrganizationId,
    /// The only team of it, for a key that was made for one.
    pub team: Option<TeamId>,
}

impl Caller {
    /// Insists on an administrator of the server.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] for everybody else.
    pub fn global(&self) -> Result<(), ApiError> {
        match self.reach {
            Reach::Administrator => Ok(()),
            Reach::Tenant(_) => Err(Self::NOT_GLOBAL),
        }
    }

    /// Insists on more than one team: what belongs to the whole organization is not for a key that was made for a team.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] for such a key.
    pub fn whole_tenant(&self) -> Result<(), ApiError> {
        match self.reach {
            Reach::Tenant(Tenant { team: Some(_), .. }) => Err(ApiError::Forbidden(
                "these credentials are for one team of the organization only",
            )),
            Reach::Tenant(_) | Reach::Administrator => Ok(()),
        }
    }

    /// Insists that `organization` is this caller's to see.
    ///
    /// # Errors
    /// As for an organization that does not exist.
    pub fn reaches_organization(&self, organization: OrganizationId) -> Result<(), ApiError> {
        match self.reach {
            Reach::Tenant(tenant) if tenant.organization != organization => {
                Err(ApiError::NO_SUCH_ORGANIZATION)
            }
            Reach::Tenant(_) | Reach::Administrator => Ok(()),
        }
    }

    /// Insists that an object of `organization` and `team` is this caller's to see and to change.
    ///
    /// # Errors
    /// `missing`, the same as for an object that does not exist.
    pub fn reaches(
        &self,
        organization: Option<OrganizationId>,
        team: Option<TeamId>,
        missing: ApiError,
    ) -> Result<(), ApiError> {
        let reached = match self.reach {
            Reach::Administrator => true,
            Reach::Tenant(tenant) => {
                organization == Some(tenant.organization)
                    && (tenant.team.is_none() || team == tenant.team)
            }
        };
        if reached { Ok(()) } else { Err(missing) }
    }
}

impl Caller {
    /// Where this caller creates something: an organization's credentials create in their organization, and in their team,
    /// whether or not the request says so.
    ///
    /// # Errors
    /// `no_such_organization` and `no_such_team`, as for one that does not exist, when the request names another.
    pub fn places(
        &self,
        organization: Option<OrganizationId>,
        team: Option<TeamId>,
        no_such_organization: impl Into<ApiError>,
        no_such_team: impl Into<ApiError>,
    ) -> Result<(Option<OrganizationId>, Option<TeamId>), ApiError> {
        let Reach::Tenant(tenant) = self.reach else {
            return Ok((organization, team));
        };
        let organization = organization.or(Some(tenant.organization));
        let team = team.or(tenant.team);
        if organization != Some(tenant.organization) {
            return Err(no_such_organization.into());
        }
        self.reaches(organization, team, no_such_team.into())?;
        Ok((organization, team))
    }

    /// The agent as this caller may create it.
    ///
    /// # Errors
    /// As for an organization or a team that does not exist, when the request names another.
    pub fn creates(&self, mut new: NewAgent) -> Result<NewAgent, ApiError> {
        (new.organization_id, new.team_id) = self.places(
            new.organization_id,
            new.team_id,
            AgentError::NoSuchOrganization,
            AgentError::NoSuchTeam,
        )?;
        Ok(new)
    }
}

/// Who may read the audit trail: administrators, and whoever an organization gave the scope `audit:read`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReader(pub Caller);

impl FromRequestParts<App> for AuditReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::with(parts, app, &[ADMIN, AUDIT_READ]).await?;
        // What concerns one team is not told apart.
        caller.whole_tenant()?;
        Ok(Self(caller))
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Self::with(parts, app, &[ADMIN]).await
    }
}

impl Caller {
    pub(super) const NOT_GLOBAL: ApiError =
        ApiError::Forbidden("only an administrator of the server may do this");

    /// An administrator of the server, or an organization's credentials with one of `scopes`. Here and nowhere else it is
    /// decided what the role of an administrator allows.
    async fn with(parts: &mut Parts, app: &App, scopes: &[&'static str]) -> Result<Self, ApiError> {
        match Credentials::read(parts, app, scopes).await? {
            Credentials::Tenant(caller) => Ok(caller),
            Credentials::Administrator(Myself { identity, by, .. }) => {
                if !parts.method.is_safe() && !identity.role.may_change() {
                    return Err(ApiError::Forbidden(
                        "a viewer may see everything, and change nothing",
                    ));
                }
                Ok(Self {
                    reach: Reach::Administrator,
                    by,
                })
            }
        }
    }
}

/// Whose credentials came with a request.
#[derive(Debug)]
pub(super) enum Credentials {
    /// An administrator's of the server.
    Administrator(Myself),
    /// An organization's.
    Tenant(Caller),
}

impl Credentials {
    /// Judges the credential of a request; an organization's has to have one of `scopes`.
    pub(super) async fn read(
        parts: &mut Parts,
        app: &App,
        scopes: &[&'static str],
    ) -> Result<Self, ApiError> {
        let credential = Credential::read(&parts.headers, &parts.uri)?;
        let Ok(origin) = Origin::from_request_parts(parts, app).await;
        match credential {
            Credential::Basic(basic) => {
                let password = basic.password.to_string().into();
                let failed = Action::AuthenticationFailed;
                let proof = by_password(app, &origin, failed, &basic.user, &password).await?;
                Ok(Self::administrator(proof.identity(), None, &origin))
            }
            Credential::ApiKey(text) => {
                let key: Result<_, ApiError> = app.api_key(origin.address, &text).await;
                let caller = administered(&key?.ok_or(ApiError::Unauthorized)?, &origin, scopes);
                caller.map(Self::Tenant)
            }
            Credential::Token(text) => {
                let credentials = by_token(app, &origin, text, scopes).await;
                if let Err(ApiError::Unauthorized) = &credentials {
                    let failed = Action::AuthenticationFailed;
                    app.count_stranger(failed, origin.address, "token", None, None);
                }
                credentials
            }
        }
    }

    fn administrator(identity: &Identity, session: Option<Session>, origin: &Origin) -> Self {
        let by = origin.by(Actor::Administrator {
            email: identity.email.clone(),
        });
        Self::Administrator(Myself {
            identity: identity.clone(),
            session,
            by,
        })
    }
}

impl DescribeRequest for AuditReader {
    fn describe(operation: &mut Description<'_>) {
        Caller::describe(operation);
    }
}

impl DescribeRequest for Caller {
    fn describe(operation: &mut Description<'_>) {
        operation
            .credentials(&[ADMINISTRATOR, BEARER, API_KEY])
            .refuses::<BadRequest>()
            .refuses::<Unauthorized>();
        ApiError::describe(operation);
    }
}

fn administered(
    key: &ApiKey,
    origin: &Origin,
    scopes: &[&'static str],
) -> Result<Caller, ApiError> {
    insist(scopes, &key.scopes)?;
    Ok(Caller {
        reach: Reach::Tenant(Tenant {
            organization: key.organization_id,
            team: key.team_id,
        }),
        by: origin.by(Actor::ApiKey { id: key.id }),
    })
}

/// Insists on one of `scopes`, of which the last is the least.
fn insist(scopes: &[&'static str], held: &ScopeSet) -> Result<(), ApiError> {
    match scopes.last() {
        Some(least) if !scopes.iter().any(|scope| held.contains(scope)) => {
            Err(ApiError::InsufficientScope(least))
        }
        _ => Ok(()),
    }
}

/// An administrator who logged in, or an agent whose token carries the scope `admin`: that administers its organization, or
/// only its team where it is in one, and nothing without an organization.
async fn by_token(
    app: &App,
    origin: &Origin,
    text: String,
    scopes: &[&'static str],
) -> Result<Credentials, ApiError> {
    if text.starts_with(SESSION_PREFIX) {
        let token = text.into();
        let recognized = app
            .administrators
            .recognize_session(&token, SessionKind::Api, Activity::Use)
            .await?;
        let (identity, session) = recognized.ok_or(ApiError::Unauthorized)?;
        return Ok(Credentials::administrator(&identity, Some(session), origin));
    }
    let audience = &app.config.tokens.audience;
    let (token, holder) = match bearer::holder(app, &text, audience).await {
        Err(ApiError::InvalidToken) => return Err(ApiError::Unauthorized),
        held => held?,
    };
    if !holder.agent.value.is_active {
        return Err(ApiError::Unauthorized);
    }
    let agent = &holder.agent.value;
    let organization = agent.organization_id.ok_or(ApiError::Forbidden(
        "only an agent in an organization administers it",
    ))?;
    insist(scopes, &holder.allowed_by(&token))?;
    Ok(Credentials::Tenant(Caller {
        reach: Reach::Tenant(Tenant {
            organization,
            // Else whoever administers a team could make an agent in it that administers more.
            team: agent.team_id,
        }),
        by: origin.by(Actor::Agent { id: agent.id }),
    }))
}
