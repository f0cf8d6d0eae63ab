//! The route, once for each library.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, FromRef};
use axum::http::StatusCode;
use axum::routing::get;
use huskarl_axum::layers::ValidatorLayer;
use huskarl_axum::resource_server::DefaultJwsVerifierPlatform;
use huskarl_axum::resource_server::core as huskarl_core;
use huskarl_axum::resource_server::validator::rfc9068::Rfc9068Validator;
use huskarl_core::EndpointUrl;
use huskarl_core::crypto::verifier::{JwsVerifier, JwsVerifierFactory, JwsVerifierPlatform};
use huskarl_core::jwk::{Jwk, Jwks};
use huskarl_core::platform::MaybeSendBoxFuture;
use machineauth_core::{KeySet, RevocationSet, Verifier};
use machineauth_tower::{MachineAuthLayer, RequireScopesLayer};
use serde::Deserialize;

use crate::{AUDIENCE, Failure, ISSUER, SCOPE};

/// What is read of a token where a library leaves that to its user.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims {
    #[allow(
        dead_code,
        reason = "peers that deserialize claims do so for the agent's name as well"
    )]
    pub sub: String,
    pub scope: String,
}

impl Claims {
    fn allow(&self) -> bool {
        self.scope.split(' ').any(|scope| scope == SCOPE)
    }

    fn answer(&self) -> Result<&'static str, StatusCode> {
        self.allow().then_some("[]").ok_or(StatusCode::FORBIDDEN)
    }
}

pub fn bare() -> Router {
    Router::new().route("/artifacts", get(async || "[]"))
}

/// With a revocation set, which none of the others has.
pub fn ours(keys: &KeySet) -> Result<Router, Failure> {
    let verifier = Verifier::builder(ISSUER, AUDIENCE)
        .keys(keys.clone())
        .revocations(RevocationSet::new())
        .build()?;
    let route = get(async || "[]").route_layer(RequireScopesLayer::new(SCOPE)?);
    Ok(Router::new()
        .route("/artifacts", route)
        .layer(MachineAuthLayer::new(verifier)))
}

pub async fn jwt_authorizer(jwks: &str) -> Result<axum07::Router, Failure> {
    use jwt_authorizer::{AuthorizerBuilder, IntoLayer as _, Validation};
    let validation = Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]);
    let authorizer = AuthorizerBuilder::<Claims>::from_jwks_text(jwks)
        .validation(validation)
        .check(Claims::allow)
        .build()
        .await?;
    Ok(axum07::Router::new()
        .route("/artifacts", axum07::routing::get(|| async { "[]" }))
        .layer(authorizer.into_layer()))
}

pub async fn tower_oauth2_resource_server(jwks: &str) -> Result<Router, Failure> {
    use tower_oauth2_resource_server::server::OAuth2ResourceServer;
    use tower_oauth2_resource_server::tenant::TenantConfiguration;
    use tower_oauth2_resource_server::validation::ClaimsValidationSpec;
    let audiences = vec![AUDIENCE.to_owned()];
    let tenant = TenantConfiguration::static_builder(jwks)
        .identifier(ISSUER)
        .claims_validation(ClaimsValidationSpec::recommended(ISSUER, &audiences))
        .build()?;
    let server = OAuth2ResourceServer::<Claims>::builder()
        .add_tenant(tenant)
        .build()
        .await?;
    let handler = async |Extension(claims): Extension<Claims>| claims.answer();
    Ok(Router::new()
        .route("/artifacts", get(handler))
        .layer(server.into_layer()))
}

pub fn axum_jwt_auth(jwks: &str) -> Result<Router, Failure> {
    use axum_jwt_auth::{Claims as Verified, Decoder, LocalDecoder};
    use jsonwebtoken10::{Algorithm, DecodingKey, Validation, jwk::JwkSet};

    #[derive(Clone, FromRef)]
    struct State {
        decoder: Decoder<Claims>,
    }

    let set: JwkSet = serde_json::from_str(jwks)?;
    let keys: Result<Vec<_>, _> = set.keys.iter().map(DecodingKey::from_jwk).collect();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let decoder = LocalDecoder::builder()
        .keys(keys?)
        .validation(validation)
        .build()?;
    let handler = async |verified: Verified<Claims>| verified.claims.answer();
    Ok(Router::new()
        .route("/artifacts", get(handler))
        .with_state(State {
            decoder: Arc::new(decoder),
        }))
}

/// A verifier with its key, as the factory that the validator wants.
struct Made(Arc<dyn JwsVerifier>);

impl JwsVerifierFactory for Made {
    fn build(
        &self,
        _: Option<&EndpointUrl>,
        _: Arc<dyn JwsVerifierPlatform>,
    ) -> MaybeSendBoxFuture<'static, Result<Arc<dyn JwsVerifier>, huskarl_core::Error>> {
        let made = Arc::clone(&self.0);
        Box::pin(async move { Ok(made) })
    }
}

pub async fn huskarl(jwks: &str) -> Result<Router, Failure> {
    let keys: Jwks = serde_json::from_str(jwks)?;
    let key = keys.keys.first().and_then(Jwk::public_jwk);
    let platform: Arc<dyn JwsVerifierPlatform> = DefaultJwsVerifierPlatform::default().into();
    let made = platform.create_verifier_from_jwk(key.ok_or("no key")?);
    let validator = Rfc9068Validator::builder()
        .issuer(ISSUER.to_owned())
        .audience(AUDIENCE.to_owned())
        .jws_verifier_factory(Arc::new(Made(made.await?)))
        .build()
        .await?;
    let layer = ValidatorLayer::builder().validator(validator).build();
    Ok(Router::new()
        .route("/artifacts", get(async || "[]"))
        .layer(layer.require_scopes([SCOPE])))
}
