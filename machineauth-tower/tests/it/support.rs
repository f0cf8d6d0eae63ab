//! An issuer in memory, and requests to what its tokens protect.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use machineauth_core::jws::{self, Type};
use machineauth_core::verifier::VerifierBuilder;
use machineauth_core::{
    Algorithm, KeySet, ManualClock, RevocationSet, SigningKey, Timestamp, Verifier,
};
use machineauth_tower::{MachineAuthLayer, RequireScopesLayer, VerifiedAgent};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const NOW: u64 = 1_700_000_000;

pub(crate) struct Issuer {
    key: SigningKey,
    pub(crate) clock: ManualClock,
    pub(crate) revocations: RevocationSet,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self {
            key: SigningKey::generate(Algorithm::EdDSA).unwrap(),
            clock: ManualClock::new(Timestamp::from_secs(NOW)),
            revocations: RevocationSet::new(),
        }
    }

    pub(crate) fn key_set(&self) -> KeySet {
        KeySet::from_jwks([self.key.public_jwk("k1")])
    }

    pub(crate) fn builder(&self) -> VerifierBuilder {
        Verifier::builder(ISSUER, "api")
            .clock(Arc::new(self.clock.clone()))
            .revocations(self.revocations.clone())
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.builder().keys(self.key_set()).build().unwrap()
    }

    pub(crate) fn layer(&self) -> MachineAuthLayer {
        MachineAuthLayer::new(self.verifier())
    }

    /// For the agent `agent-7`, an hour long.
    pub(crate) fn token(&self, scope: &str) -> String {
        self.token_with(json!({"scope": scope}))
    }

    /// `claims` on top of the usual ones.
    pub(crate) fn token_with(&self, claims: Value) -> String {
        let mut all = json!({
            "iss": ISSUER, "aud": "api", "sub": "agent-7", "jti": "token-1", "exp": NOW + 3600, "iat": NOW,
        });
        let Value::Object(claims) = claims else {
            panic!("claims are an object")
        };
        all.as_object_mut().unwrap().extend(claims);
        jws::sign_compact(&self.key, Type::Jwt, "k1", all.to_string().as_bytes()).unwrap()
    }

    pub(crate) fn an_hour_passes(&self) {
        self.clock.advance(Duration::from_secs(3600 + 60));
    }

    /// `/` for everybody who is verified, `/read` and `/write` for those with the scope of that name.
    pub(crate) fn app(&self) -> Router {
        app(self.layer())
    }
}

pub(crate) fn app(layer: MachineAuthLayer) -> Router {
    let scope = |scope| RequireScopesLayer::new(scope).unwrap();
    Router::new()
        .route("/", get(whoami))
        .route("/read", get(whoami).route_layer(scope("read")))
        .route("/write", get(whoami).route_layer(scope("write")))
        .layer(layer)
}

pub(crate) async fn whoami(agent: Option<VerifiedAgent>) -> String {
    agent.map_or("nobody".into(), |agent| agent.id().to_owned())
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn challenge(&self) -> &str {
        self.headers["www-authenticate"].to_str().unwrap()
    }
}

/// Sends `GET path` with these headers.
pub(crate) async fn send(app: &Router, path: &str, headers: &[(&str, &[u8])]) -> Answer {
    let request = headers
        .iter()
        .fold(Request::get(path), |request, (name, value)| {
            request.header(*name, *value)
        });
    let response = app
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.into()).unwrap(),
    }
}

/// Sends `GET path` with `token` in the header.
pub(crate) async fn send_token(app: &Router, path: &str, token: &str) -> Answer {
    send(
        app,
        path,
        &[("authorization", format!("Bearer {token}").as_bytes())],
    )
    .await
}
