//! Who calls the administrative API, and what it may see.
//!
//! The server's administrator comes with HTTP Basic and sees everything. An organization's credentials see that
//! organization and nothing else: to them another tenant's object does not exist (I12).

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::app::App;
use crate::basic::BasicCredentials;
use crate::domain::id::{OrganizationId, TeamId};
use crate::error::ApiError;

/// Who makes an administrative request. Extracting it is the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The administrator of the server.
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
    /// Insists on the administrator of the server.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] for everybody else.
    pub fn global(&self) -> Result<(), ApiError> {
        match self {
            Self::Administrator => Ok(()),
            Self::Tenant(_) => Err(ApiError::Forbidden(
                "only the administrator of the server may do this",
            )),
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
        let reached = match self {
            Self::Administrator => true,
            Self::Tenant(tenant) => {
                organization == Some(tenant.organization)
                    && tenant.team.is_none_or(|own| team == Some(own))
            }
        };
        if reached { Ok(()) } else { Err(missing) }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        administrator(app, &parts.headers)
    }
}

fn administrator(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    if !headers.contains_key(AUTHORIZATION) {
        return Err(ApiError::Unauthorized);
    }
    let basic = BasicCredentials::read(headers).map_err(|_| ApiError::Unauthorized)?;
    match app.administrator.recognizes(&basic.user, &basic.password) {
        true => Ok(Caller::Administrator),
        false => Err(ApiError::Unauthorized),
    }
}
