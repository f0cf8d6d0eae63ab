//! Client assertions: a client proves with its own key who it is (RFC 7523 §2.2, §3).

use std::time::Duration;

use machineauth_core::base64url;
use machineauth_core::claims::Claims;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::sha256;
use machineauth_core::jws::Jws;

use super::agent::PublicKey;
use super::id::ClientId;
use crate::store::{Batch, Key, KeyName, Partition, Store, StoreError, Table};

/// Which assertions have been used, each until it expires.
const USED: Table<Timestamp> = Table::new("assertion", 1);

/// How long an assertion may be good. Some clients make them for an hour.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
/// How much the client's clock and ours may disagree.
const LEEWAY: Duration = Duration::from_secs(60);
/// A longer `jti` is refused, in bytes.
const MAX_ID_LENGTH: usize = 256;

/// An assertion that proves who its client is, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    client: ClientId,
    id: String,
    expires_at: Timestamp,
}

/// Whose assertion this claims to be. Nothing has been verified.
pub fn claimed_client(text: &str) -> Option<String> {
    let jws = Jws::parse(text).ok()?;
    Some(Claims::parse(jws.payload()).ok()?.subject)
}

/// Who must have made an assertion, for whom, and when it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The client.
    pub client: ClientId,
    /// What the client is called.
    pub name: &'a str,
    /// The names of this server; the assertion is for one of them.
    pub audiences: &'a [&'a str],
    /// The time.
    pub now: Timestamp,
}

impl Assertion {
    /// The assertion in `text`, if `key` signed it and it is what is expected. Whether it was used before is not looked at.
    pub fn verify(text: &str, key: &PublicKey, expected: &Expected<'_>) -> Option<Self> {
        let jws = Jws::parse(text).ok()?;
        // Of the types that are known, an access token or a proof of possession is none (RFC 8725 §3.11).
        let typ = jws.header().typ().unwrap_or("JWT").to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        if !matches!(typ, "jwt" | "client-authentication+jwt") {
            return None;
        }
        // The key says which algorithm it is for; a `kid` says nothing, since there is one key.
        if jws.header().algorithm() != key.jwk().algorithm() {
            return None;
        }
        let verifying = key.jwk().verifying_key().ok()?;
        verifying
            .verify(jws.signing_input(), jws.signature())
            .ok()?;
        let claims = Claims::parse(jws.payload()).ok()?;
        Self::read(claims, expected)
    }

    /// RFC 7523 §3
    fn read(claims: Claims, expected: &Expected<'_>) -> Option<Self> {
        let is_its_own = claims.issuer == expected.name && claims.subject == expected.name;
        let is_for_us = expected
            .audiences
            .iter()
            .any(|audience| claims.audience.contains(audience));
        let expires_at = Timestamp::from_secs(claims.expires_at);
        let latest = expected.now.saturating_add(LEEWAY);
        let is_timely = expected.now < expires_at
            && expires_at <= latest.saturating_add(LONGEST_LIFE)
            && claims.not_before.max(claims.issued_at) <= Some(latest.as_secs());
        let id = claims
            .jwt_id
            .filter(|id| (1..=MAX_ID_LENGTH).contains(&id.len()))?;
        (is_its_own && is_for_us && is_timely).then_some(Self {
            client: expected.client,
            id,
            expires_at,
        })
    }

    /// Adds to `batch`: the assertion is used, and was not before.
    pub fn use_up(&self, batch: Batch) -> Batch {
        let key = self.key(batch.partition());
        let row = USED.encode(&self.expires_at);
        batch.absent(&key).put_until(&key, row, self.expires_at)
    }

    /// Whether it was used before.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn was_used(&self, store: &dyn Store, home: Partition) -> Result<bool, StoreError> {
        let used = USED.get(store, &self.key(home)).await?;
        Ok(used.is_some())
    }

    fn key(&self, home: Partition) -> Key {
        let digest = base64url::encode(sha256(self.id.as_bytes()));
        let name = KeyName::try_from(digest.as_str()).expect("base64url is a valid key name");
        USED.key(home).with(self.client).with(&name)
    }
}
