//! `/api/organizations`: tenants.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::NoContent;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::caller::{Caller, Reach};
use super::created::Created;
use super::etag::{IfMatch, Tagged};
use super::page::{PageQuery, Pagination};
use crate::app::App;
use crate::date::Date;
use crate::domain::id::OrganizationId;
use crate::domain::organization::{
    InvalidOrganization, IssuerUrl, NewOrganization, Organization, OrganizationChange, Origin,
    Plan, Slug,
};
use crate::domain::organizations::StoredOrganization;
use crate::domain::stats::Stats;
use crate::error::ApiError;
use crate::openapi::{Conflict, DescribeRequest, Description, NotFound};

/// An organization as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization)]
pub struct OrganizationView {
    id: OrganizationId,
    name: String,
    #[schema(value_type = Slug)]
    slug: String,
    /// Whom to write to. May be empty.
    owner_email: String,
    /// The `iss` of its tokens; empty for the server's.
    jwt_issuer: String,
    /// How long its access tokens live, in seconds; 0 for as long as the server's.
    jwt_expiry_secs: u64,
    /// Comma-separated.
    allowed_origins: String,
    #[schema(value_type = Plan)]
    plan: &'static str,
    created_at: Date,
    updated_at: Date,
}

impl From<Organization> for OrganizationView {
    fn from(organization: Organization) -> Self {
        let origins: Vec<_> = organization
            .allowed_origins
            .iter()
            .map(Origin::as_str)
            .collect();
        Self {
            id: organization.id,
            slug: organization.slug.as_str().to_owned(),
            jwt_issuer: organization
                .issuer
                .map_or_else(String::new, |issuer| issuer.as_str().to_owned()),
            jwt_expiry_secs: organization
                .token_lifetime
                .map_or(0, |lifetime| lifetime.as_secs()),
            allowed_origins: origins.join(","),
            plan: organization.plan.as_str(),
            name: organization.name,
            owner_email: organization.owner_email,
            created_at: Date(organization.created_at),
            updated_at: Date(organization.updated_at),
        }
    }
}

/// A list of organizations.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrganizationList {
    organizations: Vec<OrganizationView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<Pagination>,
    /// Where the list goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<OrganizationId>,
}

/// The body of a creation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewOrganization)]
pub struct CreateOrganization {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(value_type = Slug)]
    slug: String,
    /// Whom to write to. May be empty.
    #[serde(default)]
    owner_email: String,
}

/// The body of a change. What is absent stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OrganizationChange)]
pub struct UpdateOrganization {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(value_type = Option<Slug>)]
    slug: Option<String>,
    /// Whom to write to; empty for nobody.
    owner_email: Option<String>,
    /// The `iss` of its tokens, which then have keys of their own; empty for the server's.
    jwt_issuer: Option<String>,
    /// How long its access tokens live, in seconds; 0 for as long as the server's.
    #[schema(maximum = 604_800)]
    jwt_expiry_secs: Option<u64>,
    /// Whose pages may call the API for it (CORS).
    allowed_origins: Option<OriginList>,
    #[schema(value_type = Option<Plan>)]
    plan: Option<String>,
}

/// Origins, as one text separated by commas or as a list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "origins, separated by commas or in a list")]
pub enum OriginList {
    /// Separated by commas.
    Text(String),
    /// One each.
    List(Vec<String>),
}

impl OriginList {
    fn parse(self) -> Result<Vec<Origin>, InvalidOrganization> {
        let texts = match self {
            Self::Text(text) => text.split(',').map(str::to_owned).collect(),
            Self::List(texts) => texts,
        };
        texts
            .iter()
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
            .map(|text| Origin::try_from(text.to_owned()))
            .collect()
    }
}

impl TryFrom<UpdateOrganization> for OrganizationChange {
    type Error = InvalidOrganization;

    fn try_from(request: UpdateOrganization) -> Result<Self, InvalidOrganization> {
        let issuer = |text: String| match text.is_empty() {
            true => Ok(None),
            false => IssuerUrl::try_from(text).map(Some),
        };
        Ok(Self {
            name: request.name,
            slug: request.slug.map(Slug::try_from).transpose()?,
            owner_email: request.owner_email,
            issuer: request.jwt_issuer.map(issuer).transpose()?,
            token_lifetime: request
                .jwt_expiry_secs
                .map(|seconds| (seconds > 0).then(|| Duration::from_secs(seconds))),
            allowed_origins: request.allowed_origins.map(OriginList::parse).transpose()?,
            plan: request.plan.as_deref().map(Plan::try_from).transpose()?,
        })
    }
}

/// The organization that the path names, when it is the caller's to see.
#[derive(Debug)]
pub struct OrganizationPath {
    /// Who calls.
    pub caller: Caller,
    /// The organization.
    pub organization: StoredOrganization,
}

/// The path's `organization_id`, whatever else is in it.
#[derive(Deserialize)]
struct OrganizationParameter {
    organization_id: String,
}

impl FromRequestParts<App> for OrganizationPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let path = Path::<OrganizationParameter>::from_request_parts(parts, app).await;
        // What is no identifier names no organization.
        let id = path
            .ok()
            .and_then(|Path(path)| path.organization_id.parse().ok());
        let id = id.ok_or(ApiError::NO_SUCH_ORGANIZATION)?;
        caller.reaches_organization(id)?;
        let organization = app.organizations.find(id).await?;
        Ok(Self {
            caller,
            organization,
        })
    }
}

impl DescribeRequest for OrganizationPath {
    fn describe(operation: &mut Description<'_>) {
        Caller::describe(operation);
        operation
            .path::<OrganizationId>("organization_id", "The organization.")
            .refuses::<NotFound>();
    }
}

impl OrganizationPath {
    /// The organization's identifier.
    pub fn id(&self) -> OrganizationId {
        self.organization.value.id
    }
}

fn tagged(stored: StoredOrganization) -> Tagged<OrganizationView> {
    Tagged {
        version: stored.version,
        value: stored.value.into(),
    }
}

/// List organizations
///
/// An organization's credentials see that organization only.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller,
    State(app): State<App>,
    query: PageQuery,
) -> Result<Json<OrganizationList>, ApiError> {
    if let Reach::Tenant(tenant) = caller.reach {
        let own = app.organizations.find(tenant.organization).await?;
        return Ok(Json(OrganizationList {
            organizations: vec![own.value.into()],
            pagination: query.pagination(1),
            next_cursor: None,
        }));
    }
    let after = query.cursor()?;
    let page = query.page()?;
    let mut organizations = app.organizations.list(after, page.end() + 1).await?;
    let more = organizations.len() > page.end();
    organizations.truncate(page.end());
    let next_cursor = organizations.last().filter(|_| more).map(|last| last.id);
    let organizations = organizations.into_iter().skip(page.start());
    let pagination = match query.is_paged() {
        true => query.pagination(Stats::read(&*app.store).await?.organizations),
        false => None,
    };
    Ok(Json(OrganizationList {
        organizations: organizations.map(OrganizationView::from).collect(),
        pagination,
        next_cursor,
    }))
}

/// Create an organization
///
/// Only the administrator of the server can.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn create(
    caller: Caller,
    State(app): State<App>,
    JsonBody(request): JsonBody<CreateOrganization>,
) -> Result<Created<Tagged<OrganizationView>>, ApiError> {
    caller.global()?;
    let stored = app
        .organizations
        .create(
            NewOrganization {
                name: request.name,
                slug: request.slug.try_into()?,
                owner_email: request.owner_email,
            },
            &caller.by,
        )
        .await?;
    tracing::info!(organization.id = %stored.value.id, "created an organization");
    Ok(Created(tagged(stored)))
}

/// Get an organization
#[utoipa::path(get, path = "")]
pub async fn get(path: OrganizationPath) -> Tagged<OrganizationView> {
    tagged(path.organization)
}

/// Change an organization
///
/// What is absent stays as it is. Only the administrator of the server sets `jwt_issuer`, `jwt_expiry_secs` and `plan`.
#[utoipa::path(method(put, patch), path = "", responses(Conflict))]
pub async fn update(
    path: OrganizationPath,
    State(app): State<App>,
    if_match: IfMatch,
    JsonBody(request): JsonBody<UpdateOrganization>,
) -> Result<Tagged<OrganizationView>, ApiError> {
    let change = OrganizationChange::try_from(request)?;
    if change.is_reserved() {
        path.caller.global()?;
    }
    path.caller.whole_tenant()?;
    let expected = if_match.version(path.organization.version)?;
    let stored = app
        .organizations
        .update(path.id(), &change, expected, &path.caller.by)
        .await?;
    tracing::info!(organization.id = %stored.value.id, "changed an organization");
    Ok(tagged(stored))
}

/// Delete an organization
///
/// Its agents, teams, keys and webhooks go with it, and its tokens are refused at once. Only the administrator of the server can.
#[utoipa::path(delete, path = "", responses(Conflict))]
pub async fn delete(path: OrganizationPath, State(app): State<App>) -> Result<NoContent, ApiError> {
    path.caller.global()?;
    app.organizations.delete(path.id(), &path.caller.by).await?;
    tracing::info!(organization.id = %path.id(), "deleted an organization");
    Ok(NoContent)
}
