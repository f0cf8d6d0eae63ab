//! An issuer for tests: in this process, on a real socket, and it does what it is told.
//!
//! [`MockIssuer`] serves metadata, keys, tokens, introspection and the revocation feed. It mints any token, rotates its
//! keys, revokes, breaks, slows down and answers garbage on command, and its clock is the test's.
//!
//! ```
//! use std::time::Duration;
//!
//! use machineauth_core::ErrorKind;
//! use machineauth_core::test_kit::{Endpoint, Fault, MockIssuer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = MockIssuer::start().await?;
//! let verifier = issuer.verifier("my-api").build()?;
//!
//! let token = issuer.token().agent("agent-7").audience("my-api").scope("read").sign();
//! assert_eq!(verifier.verify(&token).await?.id(), "agent-7");
//!
//! issuer.clock().advance(Duration::from_secs(2 * 3600));
//! assert_eq!(verifier.check(&token).unwrap_err().kind(), ErrorKind::Expired);
//!
//! // A new key, while nobody can fetch it.
//! issuer.rotate_key();
//! issuer.fail(Endpoint::KeySet, Fault::Status(503));
//! let token = issuer.token().audience("my-api").sign();
//! assert_eq!(verifier.verify(&token).await.unwrap_err().kind(), ErrorKind::UnknownKey);
//! # Ok(())
//! # }
//! ```

mod answer;
mod mint;
mod replay;
mod server;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

pub use self::mint::TokenBuilder;
pub use self::replay::replay_feed;
use crate::client::ClientCredentials;
use crate::clock::{Clock as _, ManualClock, SystemClock, Timestamp};
use crate::crypto::{Algorithm, SigningKey};
use crate::feed::{RevocationFeed, RevocationFeedBuilder};
use crate::fetch::HttpKeys;
use crate::jwks::JwksCache;
use crate::jws::Jws;
use crate::keyset::KeySet;
use crate::revocation::{Revocation, RevocationSet};
use crate::verifier::{Verifier, VerifierBuilder};

/// What an issuer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `/.well-known/oauth-authorization-server` and `/.well-known/openid-configuration`
    Metadata,
    /// `/.well-known/jwks.json`
    KeySet,
    /// `/oauth/token`
    Token,
    /// `/oauth/introspect`
    Introspection,
    /// `/oauth/revocations`
    Revocations,
}

/// How an endpoint fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answers with this status and an HTML page.
    Status(u16),
    /// Answers 200 with bytes that mean nothing, as the usual content type.
    Garbage,
    /// Waits this long, in real time, and answers as usual.
    Slow(Duration),
    /// Answers 429 with `Retry-After`, in whole seconds.
    TooManyRequests(Duration),
    /// Closes the connection without an answer.
    HangUp,
}

/// An issuer that does what a test tells it. Listens on a loopback address until it is dropped.
#[derive(Debug)]
pub struct MockIssuer {
    state: Arc<State>,
    server: AbortHandle,
}

#[derive(Debug)]
struct State {
    url: String,
    clock: ManualClock,
    keys: Mutex<Vec<Key>>,
    names: AtomicU64,
    /// Payloads by the text of the opaque token that stands for them.
    opaque: Mutex<HashMap<String, Vec<u8>>>,
    clients: Mutex<HashMap<String, String>>,
    revoked: Mutex<Revoked>,
    news: broadcast::Sender<Revocation>,
    faults: Mutex<HashMap<Endpoint, Fault>>,
    requests: Mutex<HashMap<Endpoint, usize>>,
    listeners: AtomicUsize,
    token_life: Mutex<Duration>,
}

#[derive(Clone, Debug)]
struct Key {
    kid: String,
    signing: Arc<SigningKey>,
    published: bool,
}

#[derive(Debug, Default)]
struct Revoked {
    list: Vec<Revocation>,
    set: RevocationSet,
}

/// News that a slow listener may be behind.
const BACKLOG: usize = 1024;

impl MockIssuer {
    /// An issuer with one Ed25519 key, whose clock shows the time now and stands still.
    ///
    /// # Errors
    /// When no socket is to be had.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(SystemClock.now()).await
    }

    /// The same, with a clock that shows `now`.
    ///
    /// # Errors
    /// When no socket is to be had.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn start_at(now: Timestamp) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let state = Arc::new(State {
            url: format!("http://{}", listener.local_addr()?),
            clock: ManualClock::new(now),
            keys: Mutex::default(),
            names: AtomicU64::new(1),
            opaque: Mutex::default(),
            clients: Mutex::default(),
            revoked: Mutex::default(),
            news: broadcast::Sender::new(BACKLOG),
            faults: Mutex::default(),
            requests: Mutex::default(),
            listeners: AtomicUsize::new(0),
            token_life: Mutex::new(Duration::from_secs(3600)),
        });
        let server = tokio::spawn(server::serve(listener, Arc::clone(&state)));
        let issuer = Self {
            state,
            server: server.abort_handle(),
        };
        issuer.rotate_key();
        Ok(issuer)
    }

    /// Its name, and where it is: `http://127.0.0.1:…`.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// Its clock. Give it to what is tested.
    pub fn clock(&self) -> ManualClock {
        self.state.clock.clone()
    }

    /// A token of its own, for `agent-1` and the audience `api`, good for an hour.
    pub fn token(&self) -> TokenBuilder {
        TokenBuilder::new(Arc::clone(&self.state))
    }

    /// Makes a new Ed25519 key, publishes it beside those before, and signs with it from now on. Returns its `kid`.
    pub fn rotate_key(&self) -> String {
        self.rotate_key_to(Algorithm::EdDSA)
    }

    /// The same, with a key for `algorithm`.
    ///
    /// # Panics
    /// When the cryptographic library cannot make a key.
    pub fn rotate_key_to(&self, algorithm: Algorithm) -> String {
        let kid = self.state.next_name("key");
        let signing = SigningKey::generate(algorithm).expect("keys can be made");
        self.state.keys().push(Key {
            kid: kid.clone(),
            signing: Arc::new(signing),
            published: true,
        });
        kid
    }

    /// No longer publishes the key `kid`. Tokens can still be signed with it.
    pub fn withdraw_key(&self, kid: &str) {
        for key in self.state.keys().iter_mut() {
            key.published &= key.kid != kid;
        }
    }

    /// What it publishes.
    pub fn key_set(&self) -> KeySet {
        self.state.key_set()
    }

    /// Knows this client from now on, and no longer any client with any secret.
    pub fn client(&self, id: &str, secret: &str) {
        lock(&self.state.clients).insert(id.to_owned(), secret.to_owned());
    }

    /// Gives out tokens that live this long from now on.
    pub fn token_lifetime(&self, lifetime: Duration) {
        *lock(&self.state.token_life) = lifetime;
    }

    /// Revokes, and tells all who follow the feed.
    pub fn revoke(&self, revocation: &Revocation) {
        let mut revoked = lock(&self.state.revoked);
        revoked.set.apply(revocation);
        revoked.list.push(revocation.clone());
        // Nobody may be listening.
        let _ = self.state.news.send(revocation.clone());
    }

    /// Revokes one token of its own by its `jti`.
    ///
    /// # Panics
    /// When the text is no token with a `jti`.
    pub fn revoke_token(&self, token: &str) {
        let claims = self.state.claims_of(token).expect("it is a token");
        self.revoke(&Revocation::Token {
            jti: claims.jwt_id.expect("it has a name"),
            until: claims.expires_at,
        });
    }

    /// Lets an endpoint fail from now on.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        lock(&self.state.faults).insert(endpoint, fault);
    }

    /// Lets everything work again.
    pub fn heal(&self) {
        lock(&self.state.faults).clear();
    }

    /// How many requests an endpoint has had.
    pub fn requests(&self, endpoint: Endpoint) -> usize {
        let requests = lock(&self.state.requests);
        requests.get(&endpoint).copied().unwrap_or_default()
    }

    /// How many follow the revocation feed at the moment.
    pub fn listeners(&self) -> usize {
        self.state.listeners.load(Ordering::SeqCst)
    }

    /// A verifier for its tokens that are meant for `audience`, with its keys and on its clock.
    ///
    /// # Panics
    /// When there is no TLS to be had.
    pub fn verifier(&self, audience: &str) -> VerifierBuilder {
        let source = HttpKeys::discover(self.url()).expect("the URL is good");
        let jwks = JwksCache::builder(source).clock(Arc::new(self.clock()));
        Verifier::builder(self.url(), audience)
            .jwks(jwks.build().expect("the limits are the default ones"))
            .clock(Arc::new(self.clock()))
    }

    /// Its revocation feed, not yet started.
    pub fn feed(&self, set: RevocationSet) -> RevocationFeedBuilder {
        RevocationFeed::of(self.url(), set).clock(Arc::new(self.clock()))
    }

    /// Tokens of its own for calling others, as the client `agent-1`.
    ///
    /// # Panics
    /// When there is no TLS to be had.
    pub fn client_credentials(&self) -> ClientCredentials {
        ClientCredentials::discover(self.url())
            .client("agent-1", "secret")
            .clock(Arc::new(self.clock()))
            .build()
            .expect("the URL is good")
    }
}

impl Drop for MockIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn next_name(&self, kind: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::SeqCst);
        format!("{kind}-{number}")
    }

    fn keys(&self) -> MutexGuard<'_, Vec<Key>> {
        lock(&self.keys)
    }

    fn signer(&self) -> Key {
        let keys = self.keys();
        keys.last()
            .expect("there is a key from the start on")
            .clone()
    }

    fn key_set(&self) -> KeySet {
        let keys = self.keys();
        let published = keys.iter().filter(|key| key.published);
        KeySet::from_jwks(published.map(|key| key.signing.public_jwk(&key.kid)))
    }

    /// What a token of its own says, signed or opaque.
    fn claims_of(&self, token: &str) -> Option<crate::Claims> {
        if let Some(payload) = lock(&self.opaque).get(token) {
            return crate::Claims::parse(payload).ok();
        }
        let jws = Jws::parse(token).ok()?;
        let own: HashSet<_> = self.keys().iter().map(|key| key.kid.clone()).collect();
        own.contains(jws.header().kid()?)
            .then(|| crate::Claims::parse(jws.payload()).ok())
            .flatten()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
