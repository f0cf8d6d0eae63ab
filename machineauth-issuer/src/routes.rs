//! Every path of the HTTP API with its handlers, in one table. What is in it is also in the API's description.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::FutureExt as _;
use futures_util::future::Map;
use tokio::time::error::Elapsed;
use tokio::time::{Timeout, timeout};
use tower::Service;
use tower::layer::layer_fn;
use utoipa::openapi::OpenApi;

use crate::api::{
    administrators, agents, api_keys, audit_logs, auth, invitations, keys, machine_clients, me,
    organizations, service, sessions, teams, verify, webhooks,
};
use crate::app::App;
use crate::console;
use crate::error::ApiError;
use crate::oauth::{introspect, metadata, revocations, revoke, token};
use crate::openapi::{self, Document, Table, handlers, reader};
use crate::paths::{
    AGENTS, INTROSPECT, JWKS, MACHINE_TOKEN, OAUTH_METADATA, OPENAPI, OPENID_METADATA, REFRESH,
    REVOCATIONS, REVOKE, TOKEN,
};
use crate::protection::gate::GateLayer;

/// How long a request may take until its answer begins, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP API of `app`.
pub fn router(app: App) -> Router {
    let (api, description) = api().split();
    let (reader, description) = reader(description).split();
    api.merge(console())
        .with_state(app.clone())
        .merge(reader.with_state(Document::new(&description)))
        .fallback(service::not_found)
        .method_not_allowed_fallback(service::method_not_allowed)
        .layer((GateLayer::new(app), layer_fn(WithinTime)))
}

/// What is to be said about the HTTP API.
pub fn description() -> OpenApi {
    let (_, description) = api().split();
    let (_, description) = reader(description).split();
    description
}

fn api() -> Table<App> {
    Table::new(openapi::beginning())
        .section("Tokens", "Getting tokens, asking about them, ending them.")
        .at(TOKEN, handlers!(token::token))
        .at(REFRESH, handlers!(token::refresh))
        .at(INTROSPECT, handlers!(introspect::introspect))
        .at(REVOKE, handlers!(revoke::revoke))
        .at(REVOCATIONS, handlers!(revocations::revocations))
        .at("/api/verify", handlers!(verify::verify))
        .section("Discovery", "What clients and verifiers read first.")
        .at(OAUTH_METADATA, handlers!(metadata::metadata))
        .at(OPENID_METADATA, handlers!(metadata::metadata))
        .at(JWKS, handlers!(metadata::jwks))
        .at(
            "/.well-known/oauth-authorization-server/{segment}",
            handlers!(metadata::metadata_at),
        )
        .at(
            "/{segment}/.well-known/openid-configuration",
            handlers!(metadata::metadata_at),
        )
        .at(
            "/{segment}/.well-known/jwks.json",
            handlers!(metadata::jwks_at),
        )
        .section("Agents", "What administrators do to agents.")
        .at(AGENTS, handlers!(agents::list, agents::create))
        .at(
            "/api/agents/{id}",
            handlers!(agents::get, agents::update, agents::delete, agents::act),
        )
        .at("/api/agents/{id}/secrets", handlers!(agents::secrets))
        .at(
            "/api/agents/{id}/secrets/{secret_id}",
            handlers!(agents::cancel_secret),
        )
        .at("/api/agents/{id}/rotate", handlers!(agents::rotate))
        .at("/api/agents/{id}/deactivate", handlers!(agents::deactivate))
        .at("/api/agents/{id}/reactivate", handlers!(agents::reactivate))
        .section("Self-service", "What agents do to themselves.")
        .at("/api/agents/me", handlers!(me::get, me::delete))
        .at("/api/agents/me/usage", handlers!(me::usage))
        .at("/api/agents/me/rotate", handlers!(me::rotate))
        .at("/api/agents/me/deactivate", handlers!(me::deactivate))
        .at("/api/agents/me/reactivate", handlers!(me::reactivate))
        .at(
            "/api/agents/me/delete",
            handlers!(me::delete, me::delete_by_post),
        )
        .section("Organizations", "Tenants, with teams and API keys.")
        .at(
            "/api/organizations",
            handlers!(organizations::list, organizations::create),
        )
        .at(
            "/api/organizations/{organization_id}",
            handlers!(
                organizations::get,
                organizations::update,
                organizations::delete
            ),
        )
        .at(
            "/api/organizations/{organization_id}/agents",
            handlers!(agents::list_in, agents::create_in),
        )
        .at(
            "/api/organizations/{organization_id}/teams",
            handlers!(teams::list, teams::create),
        )
        .at(
            "/api/organizations/{organization_id}/teams/{team_id}",
            handlers!(teams::get, teams::update, teams::delete),
        )
        .at(
            "/api/organizations/{organization_id}/api-keys",
            handlers!(api_keys::list, api_keys::create),
        )
        .at(
            "/api/organizations/{organization_id}/api-keys/{key_id}",
            handlers!(api_keys::delete),
        )
        .section(
            "Machine clients",
            "Agents in the form that Docyard's documents have.",
        )
        .at(MACHINE_TOKEN, handlers!(token::token))
        .at(
            "/v1/organizations/{organization_id}/machine-clients",
            handlers!(machine_clients::list, machine_clients::create),
        )
        .at(
            "/v1/organizations/{organization_id}/machine-clients/{client_id}",
            handlers!(
                machine_clients::get,
                machine_clients::update,
                machine_clients::delete
            ),
        )
        .at(
            "/v1/organizations/{organization_id}/machine-clients/{client_id}/rotate",
            handlers!(machine_clients::rotate),
        )
        .at(
            "/v1/organizations/{organization_id}/machine-clients/{client_id}/secrets/{secret_id}",
            handlers!(machine_clients::cancel_secret),
        )
        .section(
            "Webhooks",
            "Who is told what happens, and what became of it.",
        )
        .at("/api/webhooks", handlers!(webhooks::list, webhooks::create))
        .at(
            "/api/webhooks/{webhook_id}",
            handlers!(webhooks::get, webhooks::update, webhooks::delete),
        )
        .at("/api/webhooks/{webhook_id}/test", handlers!(webhooks::test))
        .at(
            "/api/webhooks/{webhook_id}/rotate-secret",
            handlers!(webhooks::rotate_secret),
        )
        .at(
            "/api/webhooks/{webhook_id}/replay",
            handlers!(webhooks::replay),
        )
        .at(
            "/api/webhooks/{webhook_id}/deliveries",
            handlers!(webhooks::deliveries),
        )
        .at(
            "/api/webhooks/{webhook_id}/deliveries/{delivery_id}",
            handlers!(webhooks::delivery),
        )
        .at(
            "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
            handlers!(webhooks::replay_one),
        )
        .at("/api/webhook-events", handlers!(webhooks::events))
        .section("Signing keys", "For administrators of the server.")
        .at("/api/keys", handlers!(keys::list))
        .at("/api/keys/rotate", handlers!(keys::rotate))
        .at("/api/keys/import", handlers!(keys::import))
        .at("/api/keys/{kid}", handlers!(keys::revoke))
        .at("/api/keys/{kid}/pem", handlers!(keys::public_pem))
        .at("/api/keys/{kid}/retire", handlers!(keys::retire))
        .section(
            "Audit",
            "What happened, and that it is not told otherwise later.",
        )
        .at("/api/audit-logs", handlers!(audit_logs::list))
        .at("/api/audit-logs/verify", handlers!(audit_logs::verify))
        .at("/api/audit-seals", handlers!(audit_logs::seals))
        .section("Administrators", "Who administers the server.")
        .at("/api/auth/login", handlers!(auth::login))
        .at("/api/auth/logout", handlers!(auth::logout))
        .at("/api/auth/me", handlers!(auth::me))
        .at("/api/auth/password", handlers!(auth::change_password))
        .at(
            "/api/auth/sessions",
            handlers!(sessions::list_own, sessions::end_all_own),
        )
        .at(
            "/api/auth/sessions/{session_id}",
            handlers!(sessions::end_own),
        )
        .at("/api/auth/invitation", handlers!(invitations::accept))
        .at("/api/administrators", handlers!(administrators::list))
        .at(
            "/api/administrators/{administrator_id}",
            handlers!(
                administrators::get,
                administrators::update,
                administrators::delete
            ),
        )
        .at(
            "/api/administrators/{administrator_id}/sessions",
            handlers!(sessions::list, sessions::end_all),
        )
        .at(
            "/api/administrators/{administrator_id}/sessions/{session_id}",
            handlers!(sessions::end),
        )
        .at(
            "/api/administrators/invitations",
            handlers!(invitations::list, invitations::create),
        )
        .at(
            "/api/administrators/invitations/{invitation_id}",
            handlers!(invitations::delete),
        )
        .section("Service", "What the service says about itself.")
        .at("/api/stats", handlers!(service::stats))
        .at("/", handlers!(service::about))
        .at("/health", handlers!(service::health))
        .at("/health/ready", handlers!(service::ready))
        .at("/metrics", handlers!(service::metrics))
}

/// The console: pages, which are no part of the API and of what is said about that.
fn console() -> Router<App> {
    use console::organizations::{self, api_keys, teams};
    use console::webhooks::{self, deliveries};
    use console::{
        account, administrators, agents, assets, audit, configuration, dashboard, invitation, keys,
        sign_in, tokens,
    };
    Router::new()
        .route("/admin", get(dashboard::show))
        .route("/admin/", get(dashboard::show))
        .route("/admin/assets/{name}", get(assets::file))
        .route("/admin/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/admin/sign-out", post(sign_in::sign_out))
        .route("/admin/agents", get(agents::list))
        .route("/admin/agents/new", get(agents::new).post(agents::create))
        .route("/admin/agents/{id}", get(agents::show))
        .route(
            "/admin/agents/{id}/edit",
            get(agents::edit).post(agents::change),
        )
        .route("/admin/agents/{id}/rotate", post(agents::rotate))
        .route(
            "/admin/agents/{id}/secrets/{secret}/cancel",
            post(agents::cancel_secret),
        )
        .route("/admin/agents/{id}/deactivate", post(agents::deactivate))
        .route("/admin/agents/{id}/reactivate", post(agents::reactivate))
        .route("/admin/agents/{id}/delete", post(agents::delete))
        .route("/admin/organizations", get(organizations::list))
        .route(
            "/admin/organizations/new",
            get(organizations::new).post(organizations::create),
        )
        .route("/admin/organizations/{id}", get(organizations::show))
        .route(
            "/admin/organizations/{id}/edit",
            get(organizations::edit).post(organizations::change),
        )
        .route(
            "/admin/organizations/{id}/delete",
            post(organizations::delete),
        )
        .route(
            "/admin/organizations/{id}/teams/new",
            get(teams::new).post(teams::create),
        )
        .route(
            "/admin/organizations/{id}/teams/{team}/edit",
            get(teams::edit).post(teams::change),
        )
        .route(
            "/admin/organizations/{id}/teams/{team}/delete",
            post(teams::delete),
        )
        .route(
            "/admin/organizations/{id}/api-keys/new",
            get(api_keys::new).post(api_keys::create),
        )
        .route(
            "/admin/organizations/{id}/api-keys/{key}/revoke",
            post(api_keys::revoke),
        )
        .route("/admin/tokens", get(tokens::show).post(tokens::look))
        .route("/admin/tokens/revoke", post(tokens::revoke))
        .route("/admin/tokens/test", post(tokens::try_one))
        .route("/admin/webhooks", get(webhooks::list))
        .route(
            "/admin/webhooks/new",
            get(webhooks::new).post(webhooks::create),
        )
        .route("/admin/webhooks/{id}", get(webhooks::show))
        .route(
            "/admin/webhooks/{id}/edit",
            get(webhooks::edit).post(webhooks::change),
        )
        .route("/admin/webhooks/{id}/test", post(webhooks::test))
        .route("/admin/webhooks/{id}/enable", post(webhooks::turn_on))
        .route("/admin/webhooks/{id}/disable", post(webhooks::turn_off))
        .route("/admin/webhooks/{id}/rotate", post(webhooks::rotate))
        .route(
            "/admin/webhooks/{id}/replay/dead",
            post(webhooks::replay_given_up),
        )
        .route(
            "/admin/webhooks/{id}/replay/since",
            post(webhooks::replay_since),
        )
        .route("/admin/webhooks/{id}/delete", post(webhooks::delete))
        .route(
            "/admin/webhooks/{id}/deliveries/{delivery}",
            get(deliveries::show),
        )
        .route(
            "/admin/webhooks/{id}/deliveries/{delivery}/replay",
            post(deliveries::replay),
        )
        .route("/admin/audit", get(audit::list))
        .route("/admin/audit/export", get(audit::export))
        .route("/admin/audit/seals", get(audit::seals))
        .route(
            "/admin/audit/verification",
            get(audit::show).post(audit::verify),
        )
        .route("/admin/keys", get(keys::show))
        .route("/admin/keys/of/{organization}", get(keys::show_of))
        .route("/admin/keys/rotate", post(keys::rotate))
        .route("/admin/keys/import", post(keys::import))
        .route("/admin/keys/revoke", post(keys::revoke))
        .route("/admin/keys/{kid}/pem", get(keys::public_pem))
        .route("/admin/keys/{kid}/retire", post(keys::retire))
        .route("/admin/configuration", get(configuration::show))
        .route("/admin/administrators", get(administrators::list))
        .route(
            "/admin/administrators/invite",
            get(administrators::invitation).post(administrators::invite),
        )
        .route("/admin/administrators/{id}", get(administrators::show))
        .route(
            "/admin/administrators/{id}/sessions/{session}/end",
            post(administrators::end_session),
        )
        .route(
            "/admin/administrators/{id}/role",
            post(administrators::set_role),
        )
        .route(
            "/admin/administrators/{id}/remove",
            post(administrators::remove),
        )
        .route(
            "/admin/administrators/invitations/{id}/withdraw",
            post(administrators::withdraw),
        )
        .route(
            "/admin/invitation/{token}",
            get(invitation::show).post(invitation::accept),
        )
        .route("/admin/account", get(account::show))
        .route("/admin/account/password", post(account::change_password))
        .route("/admin/account/sessions/end", post(account::end_others))
        .route("/admin/account/sessions/{id}/end", post(account::end_one))
        .route("/admin/{*rest}", get(console::not_found))
}

/// What is about the description of all the other paths.
fn reader(description: OpenApi) -> Table<Document> {
    Table::new(description)
        .section("Description", "What you are reading.")
        .at(OPENAPI, handlers!(reader::document))
        .at("/docs", handlers!(reader::to_index))
        .at("/docs/", handlers!(reader::index))
        .at("/docs/{file}", handlers!(reader::file))
}

/// A client that sends its body a byte at a time does not hold a request forever.
#[derive(Clone, Debug)]
struct WithinTime<S>(S);

type InTime = Result<Result<Response, Infallible>, Elapsed>;

impl<S> Service<Request> for WithinTime<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Map<Timeout<S::Future>, fn(InTime) -> Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answered = timeout(REQUEST_TIMEOUT, self.0.call(request));
        answered.map(|answered| answered.unwrap_or_else(|_| Ok(ApiError::Timeout.into_response())))
    }
}
