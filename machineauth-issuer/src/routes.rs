//! Every path of the HTTP API with its handlers, in one table.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use crate::api::{
    agents, api_keys, auth, keys, machine_clients, me, organizations, service, teams, verify,
};
use crate::app::App;
use crate::error::ApiError;
use crate::oauth::{introspect, metadata, revocations, revoke, token};
use crate::paths::{
    AGENTS, INTROSPECT, JWKS, MACHINE_TOKEN, OAUTH_METADATA, OPENID_METADATA, REFRESH, REVOCATIONS,
    REVOKE, TOKEN,
};
use crate::protection::gate::gate;
use crate::protection::origins;

/// How long a request may take until its answer begins, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP API of `app`.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(service::about))
        .route("/health", get(service::health))
        .route("/health/ready", get(service::ready))
        .route("/metrics", get(service::metrics))
        .route(JWKS, get(metadata::jwks))
        .route("/{segment}/.well-known/jwks.json", get(metadata::jwks_at))
        .route(
            "/.well-known/oauth-authorization-server/{segment}",
            get(metadata::metadata_at),
        )
        .route(
            "/{segment}/.well-known/openid-configuration",
            get(metadata::metadata_at),
        )
        .route(OAUTH_METADATA, get(metadata::metadata))
        .route(OPENID_METADATA, get(metadata::metadata))
        .route(TOKEN, post(token::token))
        .route(MACHINE_TOKEN, post(token::token))
        .route(REFRESH, post(token::refresh))
        .route(INTROSPECT, post(introspect::introspect))
        .route(REVOKE, post(revoke::revoke))
        .route(REVOCATIONS, get(revocations::revocations))
        .route(AGENTS, get(agents::list).post(agents::create))
        .route(
            "/api/agents/{id}",
            get(agents::get)
                .put(agents::update)
                .patch(agents::update)
                .delete(agents::delete)
                .post(agents::act),
        )
        .route("/api/agents/me", get(me::get).delete(me::delete))
        .route("/api/agents/me/usage", get(me::usage))
        .route("/api/agents/me/rotate", post(me::rotate))
        .route("/api/agents/me/deactivate", post(me::deactivate))
        .route("/api/agents/me/reactivate", post(me::reactivate))
        .route("/api/agents/me/delete", post(me::delete).delete(me::delete))
        .route("/api/verify", get(verify::verify))
        .route("/api/agents/{id}/secrets", get(agents::secrets))
        .route(
            "/api/agents/{id}/secrets/{secret_id}",
            delete(agents::cancel_secret),
        )
        .route("/api/agents/{id}/rotate", post(agents::rotate))
        .route("/api/agents/{id}/deactivate", post(agents::deactivate))
        .route("/api/agents/{id}/reactivate", post(agents::reactivate))
        .route(
            "/api/organizations",
            get(organizations::list).post(organizations::create),
        )
        .route(
            "/api/organizations/{organization_id}",
            get(organizations::get)
                .put(organizations::update)
                .patch(organizations::update)
                .delete(organizations::delete),
        )
        .route(
            "/api/organizations/{organization_id}/agents",
            get(agents::list_in).post(agents::create_in),
        )
        .route(
            "/api/organizations/{organization_id}/teams",
            get(teams::list).post(teams::create),
        )
        .route(
            "/api/organizations/{organization_id}/teams/{team_id}",
            get(teams::get)
                .put(teams::update)
                .patch(teams::update)
                .delete(teams::delete),
        )
        .route(
            "/api/organizations/{organization_id}/api-keys",
            get(api_keys::list).post(api_keys::create),
        )
        .route(
            "/api/organizations/{organization_id}/api-keys/{key_id}",
            delete(api_keys::delete),
        )
        .route(
            "/v1/organizations/{organization_id}/machine-clients",
            get(machine_clients::list).post(machine_clients::create),
        )
        .route(
            "/v1/organizations/{organization_id}/machine-clients/{client_id}",
            get(machine_clients::get)
                .put(machine_clients::update)
                .patch(machine_clients::update)
                .delete(machine_clients::delete),
        )
        .route(
            "/v1/organizations/{organization_id}/machine-clients/{client_id}/rotate",
            post(machine_clients::rotate),
        )
        .route(
            "/v1/organizations/{organization_id}/machine-clients/{client_id}/secrets/{secret_id}",
            delete(machine_clients::cancel_secret),
        )
        .route("/api/stats", get(service::stats))
        .route("/api/auth/login", post(auth::login))
        .route("/api/auth/me", get(auth::me))
        .route("/api/keys", get(keys::list))
        .route("/api/keys/rotate", post(keys::rotate))
        .route("/api/keys/import", post(keys::import))
        .route("/api/keys/{kid}", delete(keys::revoke))
        .route("/api/keys/{kid}/pem", get(keys::public_pem))
        .route("/api/keys/{kid}/retire", post(keys::retire))
        .fallback(service::not_found)
        .method_not_allowed_fallback(service::method_not_allowed)
        .layer(from_fn(within_time))
        .layer(origins::layer(&app))
        .layer(from_fn_with_state(app.clone(), gate))
        .with_state(app)
}

/// A client that sends its body a byte at a time does not hold a request forever.
async fn within_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Timeout.into_response(),
    }
}
