//! Administrator authentication: HTTP Basic with `ADMIN_EMAIL` and `ADMIN_PASSWORD`.

use axum::extract::FromRequestParts;
use http::request::Parts;
use machineauth_core::crypto::{HmacKey, random};

use crate::app::App;
use crate::basic::BasicCredentials;
use crate::config;
use crate::error::ApiError;

/// Recognises the administrator without keeping the password.
#[derive(Debug)]
pub struct AdminCredentials {
    key: HmacKey,
    mac: [u8; 32],
}

impl AdminCredentials {
    /// Recognises the configured administrator.
    pub fn new(admin: &config::Admin) -> Self {
        let key = HmacKey::new(&random::<32>());
        let mac = key.sign(&message(&admin.email, admin.password.reveal()));
        Self { key, mac }
    }

    /// Whether both are right, in time that tells nothing about either.
    fn recognize(&self, user: &str, password: &str) -> bool {
        self.key.verify(&message(user, password), &self.mac)
    }
}

fn message(user: &str, password: &str) -> Vec<u8> {
    // The user name of HTTP Basic holds no colon, so no two pairs give the same text.
    format!("{user}:{password}").into_bytes()
}

/// A request by an administrator. Extracting it is the check.
#[derive(Debug)]
pub struct Administrator;

impl FromRequestParts<App> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let basic = BasicCredentials::read(&parts.headers).map_err(|_| ApiError::Unauthorized)?;
        match app.admin.recognize(&basic.user, &basic.password) {
            true => Ok(Self),
            false => Err(ApiError::Unauthorized),
        }
    }
}
