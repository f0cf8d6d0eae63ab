//! Which agents are asked for.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Status;
use crate::domain::agents::{AgentQuery, Order, Shelf, is_name_prefix};
use crate::error::ApiError;
use crate::openapi::{BadRequest, DescribeRequest, Description};

/// Which agents a list is to have.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct AgentFilter {
    /// Only those whose names begin so, whatever their case.
    #[param(max_length = 60)]
    q: String,
    /// Only those that are active, or those that are not.
    #[param(inline)]
    status: Option<Status>,
    /// Only those of this organization.
    pub(super) org_id: String,
    /// `name`, `-name`, `created_at` or `-created_at`.
    #[param(pattern = "^(-?(name|created_at))?$")]
    sort: String,
}

impl<S: Send + Sync> FromRequestParts<S> for AgentFilter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        let Query(filter) = query.map_err(|_| {
            ApiError::invalid(
                "status: active or inactive; q, org_id and sort: texts; each at most once",
            )
        })?;
        Ok(filter)
    }
}

impl DescribeRequest for AgentFilter {
    fn describe(operation: &mut Description<'_>) {
        operation.query::<Self>().refuses::<BadRequest>();
    }
}

impl AgentFilter {
    /// The question on `shelf`.
    ///
    /// # Errors
    /// Names the parameter that is not understood.
    pub(super) fn on(self, shelf: Shelf) -> Result<AgentQuery, ApiError> {
        let name_prefix = Some(self.q).filter(|prefix| !prefix.is_empty());
        let default = if name_prefix.is_some() {
            "name"
        } else {
            "-created_at"
        };
        let sort = if self.sort.is_empty() {
            default
        } else {
            &self.sort
        };
        let (word, is_descending) = match sort.strip_prefix('-') {
            Some(word) => (word, true),
            None => (sort, false),
        };
        let order = match word {
            "name" => Order::Name,
            "created_at" if name_prefix.is_none() => Order::Created,
            "created_at" => return Err(ApiError::invalid("sort: name or -name together with q")),
            _ => {
                return Err(ApiError::invalid(
                    "sort: name, -name, created_at or -created_at",
                ));
            }
        };
        if name_prefix
            .as_deref()
            .is_some_and(|prefix| !is_name_prefix(prefix))
        {
            return Err(ApiError::invalid("q: at most 60 bytes"));
        }
        Ok(AgentQuery {
            shelf,
            is_active: self.status.map(Status::is_active),
            name_prefix,
            order,
            is_descending,
        })
    }
}
