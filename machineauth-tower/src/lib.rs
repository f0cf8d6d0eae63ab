//! Machine authentication as Tower layers: for axum, and for any other stack of [`tower_service::Service`]s over
//! [`http::Request`].
//!
//! * [`MachineAuthLayer`] verifies the access token of every request, or answers as RFC 6750 §3 says.
//! * [`RequireScopesLayer`] demands scopes, per route.
//! * [`PolicyLayer`] enforces a policy over the whole service: rules over method and path, deny by default.
//! * [`RateLimitLayer`] limits how much each agent may do.
//! * [`EndStreamsLayer`] ends responses whose tokens expire or are revoked meanwhile.
//! * [`VerifiedAgent`] is who called: in the request's extensions, and with the feature `axum` an extractor.
//! * [`ClientCredentialsLayer`] is for the other side: it goes around an HTTP client and sends a token with each request.
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use machineauth_core::{JwksCache, Verifier};
//! use machineauth_tower::{MachineAuthLayer, RequireScopesLayer, VerifiedAgent};
//! # use machineauth_core::jwks::{FetchFuture, FetchKeys};
//! # use tower::ServiceExt as _;
//! #
//! # #[derive(Debug)]
//! # struct PublishedKeys(bytes::Bytes);
//! # impl FetchKeys for PublishedKeys {
//! #     fn fetch(&self) -> FetchFuture<'_> {
//! #         Box::pin(async { Ok(self.0.clone()) })
//! #     }
//! # }
//!
//! async fn hello(agent: VerifiedAgent) -> String {
//!     format!("hello {}", agent.id())
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use machineauth_core::{KeySet, crypto::{Algorithm, SigningKey}, jws};
//! # let key = SigningKey::generate(Algorithm::ES256)?;
//! # let keys = PublishedKeys(KeySet::from_jwks([key.public_jwk("k1")]).to_json().into());
//! # let claims = serde_json::json!({
//! #     "iss": "https://issuer.example", "aud": "artifacts", "sub": "agent-7",
//! #     "exp": 4_000_000_000_u64, "scope": ["artifacts:read"],
//! # });
//! # let token = jws::sign_compact(&key, jws::Type::Jwt, "k1", claims.to_string().as_bytes())?;
//! // `keys`: `HttpKeys::discover("https://issuer.example")?`
//! let verifier = Verifier::builder("https://issuer.example", "artifacts")
//!     .jwks(JwksCache::new(keys))
//!     .build()?;
//!
//! let app: Router = Router::new()
//!     .route("/artifacts", get(hello).route_layer(RequireScopesLayer::new("artifacts:read")?))
//!     .route("/purge", get(hello).route_layer(RequireScopesLayer::new("artifacts:admin")?))
//!     .layer(MachineAuthLayer::new(verifier));
//!
//! // With a good token the request is let through,
//! let request = |path: &str| Request::get(path).header("authorization", format!("Bearer {token}"));
//! let response = app.clone().oneshot(request("/artifacts").body(Body::empty())?).await?;
//! assert_eq!(response.status(), 200);
//!
//! // without the scope of another route it is refused there,
//! let response = app.clone().oneshot(request("/purge").body(Body::empty())?).await?;
//! assert_eq!(response.status(), 403);
//!
//! // and without a token everywhere.
//! let response = app.oneshot(Request::get("/artifacts").body(Body::empty())?).await?;
//! assert_eq!(response.status(), 401);
//! assert_eq!(response.headers()["www-authenticate"], "Bearer");
//! # Ok(())
//! # }
//! ```
//!
//! Requests of gRPC and gRPC-Web are known by their content type and refused in their own protocol, with the same sentence:
//! `INVALID_ARGUMENT` (400), `UNAUTHENTICATED` (401), `PERMISSION_DENIED` (403), `RESOURCE_EXHAUSTED` (429) or `UNAVAILABLE`
//! (503).
//!
//! A token that was verified before costs one look-up: the request is answered without an await, and without an
//! allocation but that for the extension. Only a token whose key is not known yet waits, for the key.
//!
//! # Features
//! * `axum` (default): [`VerifiedAgent`] and `Option<VerifiedAgent>` as extractors.
//! * `http` (default): the parts of `machineauth-core` that talk to an issuer.
//! * `tonic`: bodies of tonic 0.14, so that the layers go into its `Server::builder().layer(…)`.
//! * `toml`: reads policies from TOML.

mod agent;
pub mod authenticate;
mod body;
pub mod client;
#[cfg(feature = "axum")]
pub mod extract;
pub mod policy;
pub mod rate_limit;
pub mod require;
mod response;
pub mod streams;

pub use agent::VerifiedAgent;
pub use authenticate::{MachineAuth, MachineAuthLayer};
pub use body::AnswerBody;
pub use client::{Authorize, ClientCredentialsLayer};
pub use policy::{EnforcePolicy, PolicyLayer};
pub use rate_limit::{RateLimit, RateLimitLayer};
pub use require::{RequireScopes, RequireScopesLayer};
pub use streams::{EndStreams, EndStreamsLayer, TokenEnd};
