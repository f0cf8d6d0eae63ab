//! Machine authentication for [Pingora](pingora_proxy): a proxy that lets only verified agents through to its upstreams.
//!
//! * [`MachineAuthModule`] is an HTTP module. It verifies the access token of every request, and judges it by a
//!   [`Policy`](machineauth_core::Policy) where there is one, before any other phase of the proxy but
//!   `early_request_filter`.
//! * [`MachineAuth`] is what it found out about one request: the verified [`Agent`](machineauth_core::Agent), or the
//!   [`Challenge`](machineauth_core::Challenge) to answer with. A proxy with several routes says there by which module a
//!   request is [judged](MachineAuth::judge_by).
//! * [`fail_to_proxy`] gives that answer in full (RFC 6750 §3). A module can only name a status: a proxy that does not
//!   call this still refuses the request, with that status and nothing else.
//! * [`forward_identity`] tells the upstream who calls, in [headers](IdentityHeaders) that no client can forge, and if
//!   wanted [signed](AssertionSigner).
//! * [`Background`] fetches keys and follows revocations, in a background service of Pingora.
//!
//! Whoever has no proxy yet takes the finished one, `machineauth-edge`: the feature `edge`, one file, no code.
//!
//! ```no_run
//! use async_trait::async_trait;
//! use machineauth_core::{HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
//! use machineauth_pingora::{Background, MachineAuthModule, fail_to_proxy, forward_identity, was_refused};
//! use pingora_core::services::background::background_service;
//! use pingora_core::{modules::http::HttpModules, server::Server, upstreams::peer::HttpPeer};
//! use pingora_error::{Error, Result};
//! use pingora_http::RequestHeader;
//! use pingora_proxy::{FailToProxy, ProxyHttp, Session, http_proxy_service};
//!
//! struct Edge {
//!     auth: MachineAuthModule,
//! }
//!
//! #[async_trait]
//! impl ProxyHttp for Edge {
//!     type CTX = ();
//!
//!     fn new_ctx(&self) {}
//!
//!     fn init_downstream_modules(&self, modules: &mut HttpModules) {
//!         modules.add_module(Box::new(self.auth.clone()));
//!     }
//!
//!     async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
//!         Ok(Box::new(HttpPeer::new(("127.0.0.1", 3000), false, String::new())))
//!     }
//!
//!     async fn upstream_request_filter(
//!         &self,
//!         session: &mut Session,
//!         request: &mut RequestHeader,
//!         _ctx: &mut (),
//!     ) -> Result<()> {
//!         forward_identity(session, request)
//!     }
//!
//!     async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _ctx: &mut ()) -> FailToProxy {
//!         fail_to_proxy(session, error).await
//!     }
//!
//!     fn suppress_error_log(&self, session: &Session, _ctx: &(), _error: &Error) -> bool {
//!         was_refused(session)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = "https://issuer.example";
//! let background = Background::default();
//! let keys = JwksCache::new(background.home().keys(HttpKeys::discover(issuer)?));
//! let revocations = RevocationSet::new();
//! let background = background
//!     .load(keys.clone())
//!     .follow(RevocationFeed::of(issuer, revocations.clone()));
//! let verifier = Verifier::builder(issuer, "artifacts").jwks(keys).revocations(revocations).build()?;
//! let auth = MachineAuthModule::new(verifier).require("artifacts:read")?;
//!
//! let mut server = Server::new(None)?;
//! server.bootstrap();
//! let mut edge = http_proxy_service(&server.configuration, Edge { auth });
//! edge.add_tcp("127.0.0.1:8000");
//! let background = server.add_service(background_service("issuer", background));
//! server.add_service(edge).add_dependency(&background);
//! server.run_forever();
//! # }
//! ```
//!
//! Keys are fetched and revocations followed on the runtime of the background service, where HTTP clients belong: each
//! service of Pingora has one of its own. All four methods matter. Without `upstream_request_filter` the upstream
//! learns nothing, and believes what clients say about themselves if it reads the identity headers. Without
//! `suppress_error_log` Pingora writes a line with the whole URL for every refused request, and some are refused
//! because there is a token in the URL.
//!
//! A token that was verified before costs one look-up and no wait. Only a token whose key is not known yet waits for
//! the issuer's keys, together with everybody else who needs them, for a bounded time.
//!
//! Building Pingora takes `cmake`.
//!
//! # Features
//! * `http` (default): [`Background`], and the parts of `machineauth-core` that talk to an issuer.
//! * `edge`: the module `edge` and the binary `machineauth-edge`, the finished proxy. `docs/edge.md` has its reference.

pub mod assertion;
#[cfg(feature = "http")]
pub mod background;
#[cfg(feature = "edge")]
pub mod edge;
mod guard;
pub mod identity;
pub mod module;
mod path;
pub mod respond;

pub use assertion::AssertionSigner;
#[cfg(feature = "http")]
pub use background::{Background, Home};
pub use identity::{IdentityHeaders, forward_identity};
pub use module::{MachineAuth, MachineAuthModule};
pub use respond::{answer, answer_refusal, fail_to_proxy, was_refused};
