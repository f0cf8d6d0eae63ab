//! Demand scopes, per route.
//!
//! [`RequireScopesLayer`] goes below [`MachineAuthLayer`](crate::MachineAuthLayer): around single routes with axum's
//! `route_layer`, or around any service. A request whose agent lacks a scope is answered with 403 and a challenge
//! that names the scopes (RFC 6750 §3.1); one without a verified agent with 401.
//!
//! Where a whole router demands the same scopes, both layers go into one call of `layer`, as a pair
//! (`.layer((MachineAuthLayer::new(verifier), RequireScopesLayer::new("read")?))`): axum boxes what each call gives it, and
//! that costs as much as the check.
//!
//! # Example
//!
//! ```
//! use axum::{Router, routing::get};
//! use machineauth_tower::RequireScopesLayer;
//! # use axum::{body::Body, http::Request};
//! # use tower::ServiceExt as _;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app: Router = Router::new()
//!     .route("/artifacts", get(async || "all of them").route_layer(RequireScopesLayer::new("read list")?))
//!     .route("/search", get(async || "some").route_layer(RequireScopesLayer::any_of("read search")?));
//!
//! // No `MachineAuthLayer` has verified anybody, so nobody gets in.
//! let response = app.oneshot(Request::get("/artifacts").body(Body::empty())?).await?;
//! assert_eq!(response.status(), 401);
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use machineauth_core::challenge::ProtectedResource;
use machineauth_core::policy::Refusal;
use machineauth_core::{Error, ErrorKind, Protocol, ScopeSet};
use tower_layer::Layer;
use tower_service::Service;

use crate::agent::VerifiedAgent;
use crate::body::AnswerBody;
pub use crate::response::ResponseFuture;

/// Layer that applies [`RequireScopes`]. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct RequireScopesLayer {
    rule: Arc<Rule>,
}

impl RequireScopesLayer {
    /// Demands every one of these space-delimited scopes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidClaim`] when one is no scope (RFC 6749 §3.3), [`ErrorKind::InvalidConfiguration`] when
    /// there is none.
    pub fn new(scopes: &str) -> Result<Self, Error> {
        Self::demanding(Quantity::All, scopes)
    }

    /// Demands at least one of these space-delimited scopes.
    ///
    /// # Errors
    /// As [`RequireScopesLayer::new`].
    pub fn any_of(scopes: &str) -> Result<Self, Error> {
        Self::demanding(Quantity::Any, scopes)
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
        let rule = Arc::make_mut(&mut self.rule);
        rule.resource = change(std::mem::take(&mut rule.resource));
    }

    fn demanding(quantity: Quantity, scopes: &str) -> Result<Self, Error> {
        let scopes = ScopeSet::parse(scopes)?;
        if scopes.is_empty() {
            return Err(ErrorKind::InvalidConfiguration.into());
        }
        Ok(Self {
            rule: Arc::new(Rule {
                quantity,
                scopes,
                resource: ProtectedResource::default(),
            }),
        })
    }
}

impl<S> Layer<S> for RequireScopesLayer {
    type Service = RequireScopes<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireScopes {
            inner,
            rule: Arc::clone(&self.rule),
        }
    }
}

/// Middleware that demands scopes of the verified agent. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct RequireScopes<S> {
    inner: S,
    rule: Arc<Rule>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RequireScopes<S>
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

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        match self.rule.judge(request.extensions()) {
            Ok(()) => ResponseFuture::accepted(self.inner.call(request)),
            Err(refusal) => {
                let challenge = self.rule.resource.complete(refusal.challenge());
                let protocol = Protocol::of(request.headers());
                ResponseFuture::refused(Box::new(challenge.protocol(protocol)))
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Rule {
    quantity: Quantity,
    scopes: ScopeSet,
    resource: ProtectedResource,
}

#[derive(Clone, Copy, Debug)]
enum Quantity {
    All,
    Any,
}

impl Rule {
    fn judge(&self, extensions: &Extensions) -> Result<(), Refusal<'_>> {
        let Some(agent) = extensions.get::<VerifiedAgent>() else {
            return Err(Refusal::Unauthenticated {
                scopes: &self.scopes,
            });
        };
        let refusal = match self.quantity {
            Quantity::All => Refusal::unless_all(&self.scopes, agent.scopes()),
            Quantity::Any => Refusal::unless_any(&self.scopes, agent.scopes()),
        };
        refusal.map_or(Ok(()), Err)
    }
}
