//! `/api/audit-logs`: what happened, for those who may know; `/api/audit-seals`: that it is not told otherwise later.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::{AuditReader, Caller, Reach};
use super::page::{PageQuery, Pagination};
use crate::app::App;
use crate::date::moment;
use crate::error::ApiError;
use crate::events::audit::export::{self, Format};
use crate::events::audit::{Cursor, EntryView, Filter, LOOKED_AT, Report};
use crate::openapi::{BadRequest, DescribeRequest, Description, Forbidden, NotFound};
use crate::store::DynStore;

const MAX_TEXT: usize = 200;

/// A part of the audit trail, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditLogList {
    logs: Vec<EntryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<Pagination>,
    /// Where the list goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Which events are asked for, and in which form. Empty values are as absent ones: the console sends them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct AuditLogQuery {
    /// Only what concerns this agent, or was done by it.
    agent_id: String,
    /// Only this action; `agent.*` for all that begin so.
    action: String,
    /// Only what concerns this organization.
    organization_id: String,
    /// Only what came from this address or network.
    ip_address: String,
    /// Only from this time or day on.
    from: String,
    /// Only until this time or day, it included.
    to: String,
    /// Only where this is part of a name or an identifier.
    q: String,
    /// `csv` or `jsonl` for an export of everything that is asked for.
    format: String,
}

impl<S: Send + Sync> FromRequestParts<S> for AuditLogQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        let Query(query) = query
            .map_err(|_| ApiError::invalid("the parameters of the query: each at most once"))?;
        Ok(query)
    }
}

impl DescribeRequest for AuditLogQuery {
    fn describe(operation: &mut Description<'_>) {
        operation.query::<Self>().refuses::<BadRequest>();
    }
}

impl AuditLogQuery {
    fn filter(&self, caller: &Caller) -> Result<Filter, ApiError> {
        let asked = given(&self.organization_id)
            .map(|id| id.parse().map_err(|_| ApiError::NO_SUCH_ORGANIZATION))
            .transpose()?;
        if let Some(asked) = asked {
            caller.reaches_organization(asked)?;
        }
        let own = match caller.reach {
            Reach::Administrator => None,
            Reach::Tenant(tenant) => Some(tenant.organization),
        };
        let agent = given(&self.agent_id).map(|id| {
            id.parse()
                .map_err(|_| ApiError::invalid("agent_id: an identifier"))
        });
        let address = given(&self.ip_address).map(|text| {
            text.parse()
                .map_err(|_| ApiError::invalid("ip_address: an address or a network"))
        });
        let time = |text, end_of_day| {
            given(text).map(|text| {
                moment(text, end_of_day).ok_or_else(|| {
                    ApiError::invalid("from and to: a time as 2026-03-01T12:00:00Z, or a day")
                })
            })
        };
        if self.q.len() > MAX_TEXT || self.action.len() > MAX_TEXT {
            return Err(ApiError::invalid("q and action: at most 200 bytes"));
        }
        Ok(Filter {
            organization: own.or(asked),
            agent: agent.transpose()?,
            action: given(&self.action).map(str::to_owned),
            address: address.transpose()?,
            from: time(&self.from, false).transpose()?,
            to: time(&self.to, true).transpose()?,
            text: given(&self.q).map(str::to_owned),
        })
    }

    /// The form of an export, where one is asked for.
    fn format(&self, headers: &HeaderMap) -> Result<Option<Format>, ApiError> {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let accept = accept.unwrap_or_default();
        match self.format.as_str() {
            "" if accept.contains("text/csv") => Ok(Some(Format::Csv)),
            "" if accept.contains("application/x-ndjson")
                || accept.contains("application/jsonl") =>
            {
                Ok(Some(Format::JsonLines))
            }
            "" | "json" => Ok(None),
            name => match Format::named(name) {
                None => Err(ApiError::invalid("format: json, csv or jsonl")),
                format => Ok(format),
            },
        }
    }
}

/// List what happened
///
/// The latest first. An organization's credentials see what concerns the organization only; an API key needs the scope
/// `audit:read` or `admin`. As CSV or JSON lines it is everything that is asked for, as a stream.
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "A part of the audit trail, or an export.", content(
        (AuditLogList = "application/json"),
        (String = "text/csv"),
        (String = "application/x-ndjson"),
    )),
    Forbidden,
    NotFound,
))]
pub async fn list(
    AuditReader(caller): AuditReader,
    State(app): State<App>,
    headers: HeaderMap,
    page: PageQuery,
    query: AuditLogQuery,
) -> Result<Response, ApiError> {
    let filter = query.filter(&caller)?;
    if let Some(format) = query.format(&headers)? {
        let head = attachment(format.content_type(), format.file_name());
        let body = Body::from_stream(export::export(&app.trail, filter, format));
        return Ok((head, body).into_response());
    }
    let page = page.or_first();
    let window = page.page()?;
    let found = match page.cursor::<Cursor>()? {
        Some(cursor) => {
            let trail = &app.trail;
            let found = trail.page(&filter, Some(&cursor), window.limit(), LOOKED_AT);
            found.await?
        }
        None => {
            let (skip, limit) = (window.start(), window.limit());
            app.trail.numbered(&filter, skip, limit).await?
        }
    };
    let total = i64::try_from(found.total).unwrap_or(i64::MAX);
    Ok(Json(AuditLogList {
        logs: found.entries.into_iter().map(EntryView::from).collect(),
        pagination: page.pagination(total),
        next_cursor: found.next.map(|cursor| cursor.to_string()),
    })
    .into_response())
}

/// Verify that every entry is as it was sealed
///
/// One verification at a time goes on in each issuer: who asks meanwhile gets what it finds. One that takes longer than a
/// request may goes on as well, and the next request gets what it finds.
#[utoipa::path(get, path = "", responses(Forbidden))]
pub async fn verify(caller: Caller, State(app): State<App>) -> Result<Json<Report>, ApiError> {
    caller.global()?;
    let conclusion = app.verification.conclusion().await;
    match &conclusion.found {
        Ok(report) => Ok(Json(report.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Export all seals, to be kept elsewhere
///
/// A JSON object on each line: first the key that seals, then the seals.
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The seals.", content_type = "application/x-ndjson", body = String),
    Forbidden,
))]
pub async fn seals(caller: Caller, State(app): State<App>) -> Result<Response, ApiError> {
    caller.global()?;
    let (content_type, name) = export::SEALS;
    let seals = export::seals(DynStore::clone(&app.store), app.sealer.key());
    let body = Body::from_stream(seals);
    Ok((attachment(content_type, name), body).into_response())
}

fn attachment(content_type: &'static str, name: &str) -> [(HeaderName, HeaderValue); 2] {
    let disposition = format!("attachment; filename=\"{name}\"");
    let disposition = HeaderValue::try_from(disposition).expect("a plain name fits a header");
    let content_type = HeaderValue::from_static(content_type);
    [
        (CONTENT_TYPE, content_type),
        (CONTENT_DISPOSITION, disposition),
    ]
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
