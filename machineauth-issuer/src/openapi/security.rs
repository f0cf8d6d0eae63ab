//! How callers authenticate.

use std::collections::BTreeMap;

use utoipa::openapi::RefOr;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// The administrator of the server.
pub const ADMINISTRATOR: &str = "administrator";
/// A bearer token of somebody who administers.
pub const BEARER: &str = "bearer";
/// An organization's API key in a header of its own.
pub const API_KEY: &str = "api_key";
/// An agent's own access token.
pub const AGENT: &str = "agent";
/// The credentials of an OAuth client.
pub const CLIENT: &str = "client";

/// All schemes by name.
pub(super) fn schemes() -> BTreeMap<String, RefOr<SecurityScheme>> {
    let http = |scheme, meaning: &str| {
        let http = HttpBuilder::new().scheme(scheme).description(Some(meaning));
        SecurityScheme::Http(http.build())
    };
    let schemes = [
        (
            ADMINISTRATOR,
            http(
                HttpAuthScheme::Basic,
                "An administrator of the server: its e-mail address and its password (`ADMIN_EMAIL` and `ADMIN_PASSWORD`).",
            ),
        ),
        (
            BEARER,
            http(
                HttpAuthScheme::Bearer,
                "What `/api/auth/login` answered, an API key of an organization (`mach_…`), or the access token of an \
                 organization's agent with the scope `admin`.",
            ),
        ),
        (
            API_KEY,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-API-Key",
                "An API key of an organization (`mach_…`).",
            ))),
        ),
        (
            AGENT,
            http(
                HttpAuthScheme::Bearer,
                "An agent's own access token, for the audience of this server.",
            ),
        ),
        (
            CLIENT,
            http(
                HttpAuthScheme::Basic,
                "`client_secret_basic` (RFC 6749 §2.3.1): `client_id` and `client_secret`. Instead, both can be \
                 parameters in the body (`client_secret_post`), or an assertion can be (`private_key_jwt`, RFC 7523 §2.2).",
            ),
        ),
    ];
    schemes
        .into_iter()
        .map(|(name, scheme)| (name.to_owned(), scheme.into()))
        .collect()
}
