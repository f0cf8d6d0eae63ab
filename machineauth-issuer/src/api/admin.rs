//! Administrator authentication: HTTP Basic with `ADMIN_EMAIL` and `ADMIN_PASSWORD`.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::app::App;
use crate::basic::BasicCredentials;
use crate::error::ApiError;

/// A request by an administrator. Extracting it is the check.
#[derive(Debug)]
pub struct Administrator;

impl FromRequestParts<App> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let basic = BasicCredentials::read(&parts.headers).map_err(|_| ApiError::Unauthorized)?;
        match app.administrator.recognizes(&basic.user, &basic.password) {
            true => Ok(Self),
            false => Err(ApiError::Unauthorized),
        }
    }
}
