//! What is known of an issuer's keys, and which of them signs.

use std::sync::Arc;

use bytes::Bytes;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::Algorithm;
use machineauth_core::keyset::KeySet;
use machineauth_core::verifier::{GREATEST_LEEWAY, Verifier};

use super::{KeyError, KeyPolicy, RingKey};

/// What was known of a ring at one moment.
#[derive(Debug)]
pub struct State {
    keys: Vec<RingKey>,
    preferred: Algorithm,
    document: Bytes,
    verifier: Verifier,
}

/// Where a key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It will sign.
    Published,
    /// It signs.
    Signing,
    /// It has signed, and its tokens may still be good.
    Retiring,
}

impl State {
    /// What follows from these keys.
    ///
    /// # Errors
    /// When the cryptographic library cannot verify with one of them.
    pub(super) fn of(
        keys: Vec<RingKey>,
        policy: &KeyPolicy,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let public = keys.iter().map(|key| key.key.public_jwk(key.kid.as_str()));
        let set = KeySet::from_jwks(public);
        let document = set.to_json().into();
        // What a token is depends neither on its audience, nor on what the issuer was called when it was signed, nor on who
        // sends it. Whoever serves its bearer looks at that.
        let verifier = Verifier::builder("any", "any")
            .danger_accept_any_audience()
            .danger_accept_any_issuer()
            .danger_accept_without_possession()
            .keys(set)
            .clock(Arc::clone(clock))
            // A token can be revoked for as long as any verifier may accept it.
            .leeway(GREATEST_LEEWAY)
            .build()
            .map_err(KeyError::Cryptography)?;
        Ok(Self {
            keys,
            preferred: policy.algorithm,
            document,
            verifier,
        })
    }

    /// The keys, in the order of their names.
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// The key set document (RFC 7517 §5).
    pub fn document(&self) -> Bytes {
        self.document.clone()
    }

    /// Recognises the tokens of the ring, whomever they are for and whatever the issuer was called.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The key that signs at `now`: the latest of those whose time has come, first of the algorithm that is wanted.
    pub fn signer(&self, now: Timestamp) -> Option<&RingKey> {
        let latest = |is_candidate: &dyn Fn(&RingKey) -> bool| {
            self.keys
                .iter()
                .filter(|key| key.signs_from <= now && is_candidate(key))
                .max_by(|one, other| {
                    (one.signs_from, &one.kid).cmp(&(other.signs_from, &other.kid))
                })
        };
        latest(&|key| key.key.algorithm() == self.preferred)
            .or_else(|| latest(&|_| true))
            // Clocks that disagree must not keep a new server from signing.
            .or_else(|| self.keys.iter().min_by_key(|key| key.signs_from))
    }

    /// Where `key` stands at `now`.
    pub fn state_of(&self, key: &RingKey, now: Timestamp) -> KeyState {
        if self.signer(now).is_some_and(|signer| signer.kid == key.kid) {
            KeyState::Signing
        } else if now < key.signs_from {
            KeyState::Published
        } else {
            KeyState::Retiring
        }
    }

    pub(super) fn find(&self, kid: &str) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.kid.as_str() == kid)
    }

    /// The newest key of the algorithm that is wanted, whether or not it signs already.
    pub(super) fn newest(&self) -> Option<&RingKey> {
        self.keys
            .iter()
            .filter(|key| key.key.algorithm() == self.preferred && key.retires_at.is_none())
            .max_by_key(|key| key.signs_from)
    }
}
