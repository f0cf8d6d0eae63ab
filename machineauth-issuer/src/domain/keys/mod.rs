//! The keys that sign access tokens, and how they follow each other.
//!
//! A key is *published*, then it *signs*, then it *retires*: its successor signs while it stays published for as long as
//! any of its tokens can be good, and then it is gone. Which key signs follows from the stored times and the clock alone,
//! so all issuers on a store agree. A key is published [`PUBLISHED_AHEAD`] before it signs, so that a verifier that asks
//! for keys only now and then knows it when its first token comes (I23).

mod pem;
mod ring;
mod state;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::Algorithm;
use machineauth_core::verifier::GREATEST_LEEWAY;
use tokio::sync::Notify;

pub use self::pem::{import, public_pem};
pub use self::ring::KeyRing;
pub use self::state::{KeyState, State};
pub use self::stored::{RingKey, RingName};
use super::event::By;
use super::id::OrganizationId;
use super::organization::Organization;
use super::revocation::LONGEST_LIFETIME;
use super::vault::Vault;
use crate::store::{DynStore, KeyName, StoreError};

/// How long a published key set may be cached on its way to a verifier, as its `Cache-Control` says.
pub const PUBLIC_CACHE: Duration = Duration::from_secs(300);
/// How long widespread verifiers keep a key set without asking, whatever its header says.
const VERIFIER_CACHE: Duration = Duration::from_secs(600);
/// How old an issuer's knowledge of its keys can be. Of a key that was revoked it [hears](KeyRings::heard_of_revoked).
pub const REFRESH: Duration = Duration::from_secs(5);
/// How long a key is published before it signs: as long as any cache may not know it.
pub const PUBLISHED_AHEAD: Duration =
    Duration::from_secs(VERIFIER_CACHE.as_secs() + PUBLIC_CACHE.as_secs() + 12 * REFRESH.as_secs());
/// How long a key stays published after its successor began to sign: as long as any verifier may take one of its tokens.
pub const PUBLISHED_AFTER: Duration = Duration::from_secs(
    LONGEST_LIFETIME.as_secs() + GREATEST_LEEWAY.as_secs() + 12 * REFRESH.as_secs(),
);
/// How many organizations' keys are kept at hand.
const RINGS_AT_HAND: u64 = 1_000;

/// Why keys could not be loaded, made or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A stored key does not open or does not parse.
    #[error(
        "the stored signing key {0:?} cannot be read: it is damaged, or was sealed for another store"
    )]
    Unreadable(String),
    /// Every derived name for a new key is taken by a key of another algorithm.
    #[error(
        "JWT_KEY_ID {0:?} and the name derived from it are taken by keys of other algorithms: choose another"
    )]
    NameTaken(String),
    /// A new key could not be generated, or the published keys cannot verify.
    #[error("making a signing key failed: {0}")]
    Cryptography(machineauth_core::Error),
    /// There is no such key.
    #[error("there is no such key")]
    NotFound,
    /// The text holds no private key that can be used.
    #[error(
        "pem: expected one unencrypted PKCS #8 private key (RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519); \
         `openssl pkcs8 -topk8 -nocrypt` converts others"
    )]
    NotImportable,
    /// The key is not one for the algorithm.
    #[error("algorithm: the key is not one for it, or the algorithm is none of ours")]
    WrongAlgorithm,
    /// There is a key of that name.
    #[error("kid: there is a key of that name")]
    KidTaken,
    /// The ring holds as many keys as a key set may.
    #[error("there are as many keys as a key set may hold: retire or revoke some first")]
    TooMany,
    /// The key signs: nothing follows it yet.
    #[error("the key signs at the moment: rotate first")]
    Signs,
    /// The organization has no keys of its own.
    #[error(
        "organization_id: the organization has no jwt_issuer, so its tokens are signed with the server's keys"
    )]
    NoIssuer,
    /// Others changed the keys at the same time.
    #[error("the keys are being changed by others at the same time; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How keys are made and replaced.
#[derive(Debug, Clone)]
pub struct KeyPolicy {
    /// The algorithm of new keys.
    pub algorithm: Algorithm,
    /// The `kid` of the server's first key; later ones are derived from it.
    pub kid: KeyName,
    /// How many bits a new RSA key gets.
    pub rsa_bits: u16,
    /// How long a key signs before it is replaced. `None`: until somebody replaces it.
    pub rotate_after: Option<Duration>,
}

/// The rings of the server and of the organizations that issue under their own names.
#[derive(Debug)]
pub struct KeyRings {
    store: DynStore,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    policy: KeyPolicy,
    server: Arc<KeyRing>,
    organizations: moka::sync::Cache<OrganizationId, Arc<KeyRing>>,
    /// Says that the server's ring has changed.
    changed: Notify,
}

impl KeyRings {
    /// Opens the server's ring, making the first key of a new store.
    ///
    /// # Errors
    /// When a stored key is unreadable, the name is taken, or the store fails.
    pub async fn open(
        store: DynStore,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        policy: KeyPolicy,
    ) -> Result<Self, KeyError> {
        let ring = KeyRing::open(
            Arc::clone(&store),
            Arc::clone(&vault),
            Arc::clone(&clock),
            RingName::Server,
            policy.clone(),
        );
        let ring = ring.await?;
        ring.complete().await?;
        Ok(Self {
            server: Arc::new(ring),
            organizations: moka::sync::Cache::new(RINGS_AT_HAND),
            changed: Notify::new(),
            store,
            vault,
            clock,
            policy,
        })
    }

    /// The server's own ring.
    pub fn server(&self) -> &Arc<KeyRing> {
        &self.server
    }

    /// The ring of an organization that issues under its own name, with a key that signs.
    ///
    /// # Errors
    /// [`KeyError::NoIssuer`], or as [`KeyRings::signing`].
    pub async fn of(&self, organization: &Organization) -> Result<Arc<KeyRing>, KeyError> {
        if organization.issuer.is_none() {
            return Err(KeyError::NoIssuer);
        }
        self.signing(RingName::Organization(organization.id)).await
    }

    /// The ring named `name`, with a key that signs.
    ///
    /// # Errors
    /// As [`KeyRings::open`], for a ring that is not at hand.
    pub async fn signing(&self, name: RingName) -> Result<Arc<KeyRing>, KeyError> {
        let ring = self.ring(name).await?;
        if ring.state().keys().is_empty() {
            ring.complete().await?;
            self.keep(name, &ring);
        }
        Ok(ring)
    }

    /// The ring named `name`, not older than it should be. It may have no keys: nothing is made for whoever only asks.
    ///
    /// # Errors
    /// As [`KeyRings::open`], for a ring that is not at hand.
    pub async fn ring(&self, name: RingName) -> Result<Arc<KeyRing>, KeyError> {
        let RingName::Organization(organization) = name else {
            return Ok(Arc::clone(&self.server));
        };
        if let Some(ring) = self.organizations.get(&organization) {
            ring.refresh_if_older(REFRESH).await;
            return Ok(ring);
        }
        let ring = KeyRing::open(
            Arc::clone(&self.store),
            Arc::clone(&self.vault),
            Arc::clone(&self.clock),
            name,
            self.policy.clone(),
        );
        let ring = Arc::new(ring.await?);
        if !ring.state().keys().is_empty() {
            self.keep(name, &ring);
        }
        Ok(ring)
    }

    /// Revokes all keys of all rings, and lets new ones sign. Says how many were revoked.
    ///
    /// # Errors
    /// As [`KeyRing::revoke`].
    pub async fn replace_all(&self, by: &By) -> Result<usize, KeyError> {
        let mut replaced = self.server.replace_all(by).await?;
        for organization in stored::organizations_with_keys(&*self.store).await? {
            let ring = self.ring(RingName::Organization(organization)).await?;
            replaced += ring.replace_all(by).await?;
        }
        Ok(replaced)
    }

    /// Deletes the keys of an organization that is gone.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn delete_all_of(
        &self,
        organization: OrganizationId,
        by: &By,
    ) -> Result<(), StoreError> {
        self.organizations.invalidate(&organization);
        RingName::Organization(organization)
            .delete(&*self.store, by, self.clock.now())
            .await
    }

    fn keep(&self, name: RingName, ring: &Arc<KeyRing>) {
        if let RingName::Organization(organization) = name {
            self.organizations.insert(organization, Arc::clone(ring));
        }
    }

    /// Takes notice that somebody, perhaps another issuer, revoked a key of `owner`, or of the server where there is none: its
    /// ring is read anew.
    pub fn heard_of_revoked(&self, owner: Option<OrganizationId>) {
        match owner {
            Some(organization) => self.organizations.invalidate(&organization),
            None => self.changed.notify_one(),
        }
    }

    /// Keeps the server's ring fresh, forever. Organizations' rings are refreshed when they are used.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(REFRESH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.changed.notified() => {}
            }
            self.server.refresh_if_older(Duration::ZERO).await;
        }
    }
}

/// When a key that is followed at `successor_signs_from` leaves the key set.
fn retirement(successor_signs_from: Timestamp) -> Timestamp {
    successor_signs_from.saturating_add(PUBLISHED_AFTER)
}
