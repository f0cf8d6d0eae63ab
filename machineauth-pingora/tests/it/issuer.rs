//! An issuer in memory.

use std::sync::Arc;

use bytes::Bytes;
use machineauth_core::jwks::{FetchError, FetchFuture, FetchKeys};
use machineauth_core::jws::{self, Type};
use machineauth_core::verifier::VerifierBuilder;
use machineauth_core::{
    Algorithm, JwksCache, KeySet, ManualClock, SigningKey, Timestamp, Verifier,
};
use machineauth_pingora::MachineAuthModule;
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const NOW: u64 = 1_700_000_000;

pub(crate) struct Issuer {
    key: SigningKey,
    pub(crate) clock: ManualClock,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self {
            key: SigningKey::generate(Algorithm::EdDSA).unwrap(),
            clock: ManualClock::new(Timestamp::from_secs(NOW)),
        }
    }

    /// With the keys at hand.
    pub(crate) fn module(&self) -> MachineAuthModule {
        MachineAuthModule::new(self.builder().keys(self.key_set()).build().unwrap())
    }

    /// With the keys still to be fetched.
    pub(crate) fn module_that_asks(&self) -> MachineAuthModule {
        self.module_with_source(Published(Some(self.key_set().to_json().into())))
    }

    pub(crate) fn module_during_outage(&self) -> MachineAuthModule {
        self.module_with_source(Published(None))
    }

    /// For the agent `agent-7` of the organization `org-1`, an hour long.
    pub(crate) fn token(&self, scope: &str) -> String {
        self.token_with(json!({"scope": scope}))
    }

    /// `claims` on top of the usual ones.
    pub(crate) fn token_with(&self, claims: Value) -> String {
        let mut all = json!({
            "iss": ISSUER, "aud": "api", "sub": "agent-7", "org_id": "org-1", "exp": NOW + 3600, "iat": NOW,
        });
        let Value::Object(claims) = claims else {
            panic!("claims are an object")
        };
        all.as_object_mut().unwrap().extend(claims);
        jws::sign_compact(&self.key, Type::Jwt, "k1", all.to_string().as_bytes()).unwrap()
    }

    fn key_set(&self) -> KeySet {
        KeySet::from_jwks([self.key.public_jwk("k1")])
    }

    fn builder(&self) -> VerifierBuilder {
        Verifier::builder(ISSUER, "api").clock(Arc::new(self.clock.clone()))
    }

    fn module_with_source(&self, source: Published) -> MachineAuthModule {
        let jwks = JwksCache::builder(source)
            .clock(Arc::new(self.clock.clone()))
            .build()
            .unwrap();
        MachineAuthModule::new(self.builder().jwks(jwks).build().unwrap())
    }
}

/// What the issuer publishes; `None` is an outage.
#[derive(Debug)]
struct Published(Option<Bytes>);

impl FetchKeys for Published {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(async { self.0.clone().ok_or(FetchError::Unreachable) })
    }
}
