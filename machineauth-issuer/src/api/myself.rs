//! The administrator who calls, for what concerns itself, and for what only some administrators may.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::caller::{Caller, Credentials};
use crate::app::App;
use crate::domain::administrators::{Identity, Owner, Session};
use crate::domain::api_keys::ADMIN;
use crate::domain::event::By;
use crate::error::ApiError;
use crate::openapi::security::{ADMINISTRATOR, BEARER};
use crate::openapi::{BadRequest, DescribeAnswer as _, DescribeRequest, Description, Unauthorized};

/// An administrator of the server, whatever its role. Extracting it is the check that it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Myself {
    /// Who it is, and what it may do.
    pub identity: Identity,
    /// The session that the request is part of. `None` for HTTP Basic.
    pub session: Option<Session>,
    /// Who it is, for whatever it changes.
    pub by: By,
}

/// An owner of the server. Extracting it is the check that it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallingOwner {
    /// What lets it change administrators.
    pub owner: Owner,
    /// The session that the request is part of. `None` for HTTP Basic.
    pub session: Option<Session>,
    /// Who it is, for whatever it changes.
    pub by: By,
}

impl FromRequestParts<App> for Myself {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match Credentials::read(parts, app, &[ADMIN]).await? {
            Credentials::Administrator(myself) => Ok(myself),
            Credentials::Tenant(_) => Err(Caller::NOT_GLOBAL),
        }
    }
}

impl FromRequestParts<App> for CallingOwner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Myself {
            identity,
            session,
            by,
        } = Myself::from_request_parts(parts, app).await?;
        let owner = identity.into_owner();
        Ok(Self {
            owner: owner.ok_or(ApiError::Forbidden(
                "only an owner of the server may do this",
            ))?,
            session,
            by,
        })
    }
}

impl DescribeRequest for Myself {
    fn describe(operation: &mut Description<'_>) {
        operation
            .credentials(&[ADMINISTRATOR, BEARER])
            .refuses::<BadRequest>()
            .refuses::<Unauthorized>();
        ApiError::describe(operation);
    }
}

impl DescribeRequest for CallingOwner {
    fn describe(operation: &mut Description<'_>) {
        Myself::describe(operation);
    }
}
