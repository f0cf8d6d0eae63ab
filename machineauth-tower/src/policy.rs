//! Enforce a policy over the whole service.
//!
//! [`PolicyLayer`] goes below [`MachineAuthLayer`](crate::MachineAuthLayer) and judges each request by a
//! [`Policy`]: by its method and its path as the service below sees it, and by the agent that was verified. What no rule
//! allows is refused. Where a policy has public rules, let the layer above be
//! [optional](crate::MachineAuthLayer::optional); the policy asks for an agent wherever one is needed.
//!
//! Put both around the whole application. A service that axum nests below a prefix sees paths without it, and so does a
//! layer inside.
//!
//! # Example
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use machineauth_core::{KeySet, Policy, Rule, Verifier};
//! use machineauth_tower::{MachineAuthLayer, PolicyLayer};
//! # use machineauth_core::{crypto::{Algorithm, SigningKey}, jws};
//! # use tower::ServiceExt as _;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = SigningKey::generate(Algorithm::ES256)?;
//! # let keys = KeySet::from_jwks([key.public_jwk("k1")]);
//! # let claims = serde_json::json!({
//! #     "iss": "https://issuer.example", "aud": "my-api", "sub": "agent-7", "exp": 4_000_000_000_u64,
//! #     "scope": "artifacts:read", "dockId": "dock-1",
//! # });
//! # let token = jws::sign_compact(&key, jws::Type::Jwt, "k1", claims.to_string().as_bytes())?;
//! let policy = Policy::builder()
//!     .rule(Rule::get("/health").public())
//!     .rule(Rule::get("/docks/{dock_id}/artifacts").scopes("artifacts:read").bind("dock_id", "dockId"))
//!     .build()?;
//! let verifier = Verifier::builder("https://issuer.example", "my-api").keys(keys).build()?;
//!
//! let app: Router = Router::new()
//!     .route("/health", get(async || "ok"))
//!     .route("/docks/{dock_id}/artifacts", get(async || "[]"))
//!     .route("/forgotten", get(async || "nobody wrote a rule for this"))
//!     .layer(PolicyLayer::new(policy))
//!     .layer(MachineAuthLayer::new(verifier).optional());
//!
//! let request = |path: &str| Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty());
//! let response = app.clone().oneshot(request("/docks/dock-1/artifacts")?).await?;
//! assert_eq!(response.status(), 200);
//!
//! let response = app.clone().oneshot(request("/docks/dock-2/artifacts")?).await?;
//! assert_eq!(response.status(), 403);
//!
//! let response = app.clone().oneshot(request("/forgotten")?).await?;
//! assert_eq!(response.status(), 403);
//!
//! let response = app.clone().oneshot(Request::get("/docks/dock-1/artifacts").body(Body::empty())?).await?;
//! assert_eq!(response.status(), 401);
//!
//! let response = app.oneshot(Request::get("/health").body(Body::empty())?).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use machineauth_core::challenge::ProtectedResource;
use machineauth_core::policy::OVERRIDES;
use machineauth_core::{Challenge, Policy, Protocol};
use tower_layer::Layer;
use tower_service::Service;

use crate::agent::VerifiedAgent;
use crate::body::AnswerBody;
pub use crate::response::ResponseFuture;

/// Layer that applies [`EnforcePolicy`]. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct PolicyLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    policy: Policy,
    resource: ProtectedResource,
}

impl PolicyLayer {
    /// Lets requests through that `policy` allows. In a [dry run](machineauth_core::policy::PolicyBuilder::dry_run)
    /// it lets through everything.
    ///
    /// Headers that ask for another method or path than those judged, as `X-HTTP-Method-Override`, are removed.
    pub fn new(policy: Policy) -> Self {
        Self {
            settings: Arc::new(Settings {
                policy,
                resource: ProtectedResource::default(),
            }),
        }
    }

    /// Names the protection space in challenges (RFC 9110 §11.5).
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.resource_mut(|resource| resource.realm(realm));
        self
    }

    /// Says in challenges where the protected resource's metadata is (RFC 9728 §5.1). A layer does not know what the
    /// one above it was told.
    #[must_use]
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource_mut(|resource| resource.metadata(url));
        self
    }

    fn resource_mut(&mut self, change: impl FnOnce(ProtectedResource) -> ProtectedResource) {
        let settings = Arc::make_mut(&mut self.settings);
        settings.resource = change(std::mem::take(&mut settings.resource));
    }
}

impl<S> Layer<S> for PolicyLayer {
    type Service = EnforcePolicy<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EnforcePolicy {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

/// Middleware that enforces a policy. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct EnforcePolicy<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for EnforcePolicy<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: AnswerBody,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        match self.settings.judge(&request) {
            Ok(()) => {
                remove_overrides(request.headers_mut());
                ResponseFuture::accepted(self.inner.call(request))
            }
            Err(challenge) => ResponseFuture::refused(challenge),
        }
    }
}

impl Settings {
    fn judge<B>(&self, request: &Request<B>) -> Result<(), Box<Challenge>> {
        let agent = request.extensions().get::<VerifiedAgent>();
        self.policy
            .enforce(
                request.method(),
                request.uri().path(),
                agent.map(|agent| &**agent),
            )
            .map_err(|refusal| {
                let challenge = self.resource.complete(refusal.challenge());
                Box::new(challenge.protocol(Protocol::of(request.headers())))
            })
    }
}

fn remove_overrides(headers: &mut HeaderMap) {
    for name in OVERRIDES {
        headers.remove(name);
    }
}
