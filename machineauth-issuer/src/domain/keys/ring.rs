//! The keys of one issuer name.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::{SigningKey, random};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::state::{KeyState, State};
use super::stored::MAX_KEYS;
use super::{KeyError, KeyPolicy, PUBLISHED_AHEAD, RingKey, RingName, retirement};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::revocation;
use crate::domain::vault::Vault;
use crate::store::{Batch, DynStore, KeyName, Outcome, Partition, Version};

/// How often something is tried again when another issuer was faster.
const MAX_ATTEMPTS: usize = 8;

/// The keys of one issuer name, at hand.
#[derive(Debug)]
pub struct KeyRing {
    store: DynStore,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    name: RingName,
    policy: KeyPolicy,
    state: ArcSwap<State>,
    /// When the last question for the keys began. Whoever holds it asks.
    asked: Mutex<Instant>,
}

impl KeyRing {
    /// Loads the ring, which may have no key yet.
    ///
    /// # Errors
    /// When a stored key is unreadable, or the store fails.
    pub async fn open(
        store: DynStore,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        name: RingName,
        policy: KeyPolicy,
    ) -> Result<Self, KeyError> {
        let keys = name.load(&*store, &vault).await?;
        let state = State::of(keys, &policy, &clock)?;
        Ok(Self {
            store,
            vault,
            clock,
            name,
            policy,
            state: ArcSwap::from_pointee(state),
            asked: Mutex::new(Instant::now()),
        })
    }

    /// What is known of the ring.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Asks the store for the ring's keys, unless that was done within `age`, and replaces a key whose time is over. What
    /// fails is logged: the keys at hand go on.
    pub async fn refresh_if_older(&self, age: Duration) {
        // Whoever waited while somebody else's question began has its answer.
        let waiting_since = Instant::now();
        let mut asked = self.asked.lock().await;
        if asked.elapsed() < age || *asked > waiting_since {
            return;
        }
        *asked = Instant::now();
        let refreshed = async {
            self.load().await?;
            if self.state().keys().is_empty() {
                return Ok(());
            }
            self.complete().await?;
            self.rotate_if_due().await
        };
        if let Err(error) = refreshed.await {
            tracing::warn!(%error, "the signing keys cannot be refreshed; those at hand go on");
        }
    }

    /// Replaces the key that signs: the new one is published now and signs after [`PUBLISHED_AHEAD`], or, when the old
    /// one is not to be trusted, at once. Returns the new key's `kid`.
    ///
    /// # Errors
    /// [`KeyError::TooMany`], [`KeyError::Contended`], or the store's failure.
    pub async fn rotate(&self, immediately: bool, by: &By) -> Result<KeyName, KeyError> {
        self.load().await?;
        let key = generate(&self.policy).await?;
        let rotated = (Action::SigningKeyRotated, by);
        self.succeed(self.fresh_kid(), key, immediately, rotated)
            .await
    }

    /// Takes a key that was made elsewhere into the ring, to follow the one that signs.
    ///
    /// # Errors
    /// [`KeyError::KidTaken`], [`KeyError::TooMany`], or the store's failure.
    pub async fn import(
        &self,
        kid: Option<KeyName>,
        key: SigningKey,
        immediately: bool,
        by: &By,
    ) -> Result<KeyName, KeyError> {
        self.load().await?;
        let kid = kid.unwrap_or_else(|| self.fresh_kid());
        if self.state().find(kid.as_str()).is_some() {
            return Err(KeyError::KidTaken);
        }
        let imported = (Action::SigningKeyImported, by);
        self.succeed(kid, key, immediately, imported).await
    }

    /// Lets a key that does not sign leave the key set when the last of its tokens can be good.
    ///
    /// # Errors
    /// [`KeyError::NotFound`], [`KeyError::Signs`], [`KeyError::Contended`], or the store's failure.
    pub async fn retire(&self, kid: &str, by: &By) -> Result<(), KeyError> {
        self.load().await?;
        let (state, now) = (self.state(), self.clock.now());
        let key = state.find(kid).ok_or(KeyError::NotFound)?;
        if state.state_of(key, now) == KeyState::Signing {
            return Err(KeyError::Signs);
        }
        let batch = self.retired(Batch::new(Partition::SYSTEM), key, retirement(now));
        let fact = self.name.fact(Action::SigningKeyRetired, kid);
        let batch = event::record(batch, fact, by, now);
        self.commit(&batch).await
    }

    /// Takes a key out of the key set at once: no verifier takes its tokens any more. When it signed, a new key does.
    ///
    /// # Errors
    /// [`KeyError::NotFound`], [`KeyError::Contended`], or the store's failure.
    pub async fn revoke(&self, kid: &str, by: &By) -> Result<(), KeyError> {
        self.load().await?;
        if self.state().find(kid).is_none() {
            return Err(KeyError::NotFound);
        }
        // Verifiers that cache the key set hear of it first; a crash after that has refused too much, not too little.
        let now = self.clock.now();
        let revocation = self.revocation(kid, now);
        let fact = self.name.fact(Action::SigningKeyRevoked, kid);
        let batch = event::record(revocation, fact, by, now);
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => {}
        }
        let state = self.state();
        let key = state.find(kid).ok_or(KeyError::NotFound)?;
        let signs = state.state_of(key, now) == KeyState::Signing;
        let row = self.name.row(&key.kid);
        let batch = Batch::new(Partition::SYSTEM)
            .at_version(&row, key.version)
            .delete(&row);
        let fact = self.name.fact(Action::SigningKeyRemoved, kid);
        let (batch, fact) = match signs {
            true => {
                let successor = self.made(self.fresh_kid(), generate(&self.policy).await?, true);
                let fact = fact.with("successor", successor.kid.as_str());
                (self.put(batch, &successor), fact)
            }
            false => (batch, fact),
        };
        self.commit(&event::record(batch, fact, by, now)).await?;
        // Other issuers read the ring anew when they hear of a revoked key, and now there is something new to read.
        if let Err(error) = self.store.commit(&self.revocation(kid, now)).await {
            tracing::warn!(%error, "other issuers notice in a few seconds only that a signing key was revoked");
        }
        Ok(())
    }

    /// That a key is revoked.
    fn revocation(&self, kid: &str, now: Timestamp) -> Batch {
        let batch = Batch::new(self.name.home_of(kid));
        revocation::revoke_key(batch, self.name.organization(), kid, now)
    }

    /// Revokes all keys of the ring, one after the other, and lets a new one sign. Says how many were revoked.
    ///
    /// # Errors
    /// As [`KeyRing::revoke`].
    pub(super) async fn replace_all(&self, by: &By) -> Result<usize, KeyError> {
        self.load().await?;
        let (state, now) = (self.state(), self.clock.now());
        let signs = |key: &&RingKey| state.state_of(key, now) == KeyState::Signing;
        let (signing, others): (Vec<_>, Vec<_>) = state.keys().iter().partition(signs);
        // The one that signs goes last: whatever followed it would only be revoked as well.
        for key in others.iter().chain(&signing) {
            self.revoke(key.kid.as_str(), by).await?;
        }
        Ok(state.keys().len())
    }

    /// Writes a key that follows those of its algorithm, which retire after it.
    async fn succeed(
        &self,
        kid: KeyName,
        key: SigningKey,
        immediately: bool,
        (action, by): (Action, &By),
    ) -> Result<KeyName, KeyError> {
        let state = self.state();
        if state.keys().len() >= MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        let successor = self.made(kid, key, immediately);
        let mut batch = self.put(Batch::new(Partition::SYSTEM), &successor);
        let followed = state.keys().iter().filter(|key| {
            key.retires_at.is_none() && key.key.algorithm() == successor.key.algorithm()
        });
        for key in followed {
            batch = self.retired(batch, key, retirement(successor.signs_from));
        }
        let fact = self.described(action, &successor);
        let batch = event::record(batch, fact, by, successor.created_at);
        self.commit(&batch).await?;
        tracing::info!(kid = %successor.kid, immediately, "published a new signing key");
        Ok(successor.kid)
    }

    /// Makes the key that the ring lacks, if any: its first one, or the first one of the algorithm that is wanted now.
    ///
    /// # Errors
    /// [`KeyError::NameTaken`], [`KeyError::Contended`], or the store's failure.
    pub async fn complete(&self) -> Result<(), KeyError> {
        for _ in 0..MAX_ATTEMPTS {
            let state = self.state();
            if state.newest().is_some() {
                return Ok(());
            }
            let kid = match self.name {
                RingName::Server => self.configured_kid(&state)?,
                RingName::Organization(_) => self.fresh_kid(),
            };
            let is_first = state.keys().is_empty();
            let key = self.made(kid, generate(&self.policy).await?, is_first);
            let batch = self.put(Batch::new(Partition::SYSTEM), &key);
            let fact = self.described(Action::SigningKeyCreated, &key);
            let batch = event::record(batch, fact, &By::SYSTEM, key.created_at);
            let outcome = self.store.commit(&batch).await?;
            if outcome == Outcome::Committed {
                tracing::info!(kid = %key.kid, algorithm = key.key.algorithm().as_str(), "generated a signing key");
            }
            // After a conflict, another issuer's key is the one.
            self.load().await?;
        }
        Err(KeyError::Contended)
    }

    /// The name of the server's first key of its algorithm: the configured one, or when a key of another algorithm has
    /// that, the name with the algorithm behind it.
    fn configured_kid(&self, state: &State) -> Result<KeyName, KeyError> {
        let kid = &self.policy.kid;
        let suffix = self.policy.algorithm.as_str().to_lowercase();
        let suffixed = KeyName::try_from(format!("{kid}-{suffix}").as_str());
        let of_the_algorithm_there_was_one = state
            .keys()
            .iter()
            .any(|key| key.key.algorithm() == self.policy.algorithm);
        let candidates = std::iter::once(kid.clone()).chain(suffixed);
        match candidates
            .into_iter()
            .find(|kid| state.find(kid.as_str()).is_none())
        {
            Some(kid) => Ok(kid),
            None if of_the_algorithm_there_was_one => Ok(self.fresh_kid()),
            None => Err(KeyError::NameTaken(kid.to_string())),
        }
    }

    /// When the next key is made by itself. `None` where nobody wants that.
    pub fn next_rotation(&self) -> Option<Timestamp> {
        let signs_from = self.state().newest()?.signs_from;
        let replaced = signs_from.saturating_add(self.policy.rotate_after?);
        Some(replaced.saturating_sub(PUBLISHED_AHEAD))
    }

    async fn rotate_if_due(&self) -> Result<(), KeyError> {
        let now = self.clock.now();
        if self.next_rotation().is_none_or(|due| now < due) {
            return Ok(());
        }
        let key = generate(&self.policy).await?;
        let rotated = (Action::SigningKeyRotated, &By::SYSTEM);
        match self.succeed(self.fresh_kid(), key, false, rotated).await {
            // Another issuer replaced it first.
            Ok(_) | Err(KeyError::Contended) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn made(&self, kid: KeyName, key: SigningKey, immediately: bool) -> RingKey {
        let now = self.clock.now();
        RingKey {
            kid,
            key,
            created_at: now,
            signs_from: match immediately {
                true => now,
                false => now.saturating_add(PUBLISHED_AHEAD),
            },
            retires_at: None,
            version: Version::mint(),
        }
    }

    /// What happened to a key that is new to the ring.
    fn described(&self, action: Action, key: &RingKey) -> Fact {
        self.name
            .fact(action, key.kid.as_str())
            .with("algorithm", key.key.algorithm().as_str())
            .with("signs_from", key.signs_from.as_millis())
    }

    fn put(&self, batch: Batch, key: &RingKey) -> Batch {
        let row = self.name.row(&key.kid);
        batch
            .absent(&row)
            .put(&row, key.encode(self.name, &self.vault))
    }

    fn retired(&self, batch: Batch, key: &RingKey, at: Timestamp) -> Batch {
        let row = self.name.row(&key.kid);
        let stored = key.encode_retiring(self.name, &self.vault, Some(at));
        batch
            .at_version(&row, key.version)
            .put_until(&row, stored, at)
    }

    fn fresh_kid(&self) -> KeyName {
        let suffix: String = random::<4>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let stem = match self.name {
            RingName::Server => self.policy.kid.as_str(),
            RingName::Organization(_) => "org",
        };
        // A name at its greatest length leaves no room for a suffix.
        let stem: String = stem.chars().take(100).collect();
        KeyName::try_from(format!("{stem}-{suffix}").as_str())
            .expect("a name and hexadecimal digits")
    }

    async fn commit(&self, batch: &Batch) -> Result<(), KeyError> {
        let outcome = self.store.commit(batch).await?;
        self.load().await?;
        match outcome {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(KeyError::Contended),
        }
    }

    async fn load(&self) -> Result<(), KeyError> {
        let keys = self.name.load(&*self.store, &self.vault).await?;
        let known = self.state();
        let versions = |keys: &[RingKey]| keys.iter().map(|key| key.version).collect::<Vec<_>>();
        if versions(&keys) != versions(known.keys()) {
            let state = State::of(keys, &self.policy, &self.clock)?;
            self.state.store(Arc::new(state));
        }
        Ok(())
    }
}

/// Makes a key. An RSA key takes a good part of a second, so this never holds up a thread that serves requests.
async fn generate(policy: &KeyPolicy) -> Result<SigningKey, KeyError> {
    let (algorithm, bits) = (policy.algorithm, policy.rsa_bits);
    let made = tokio::task::spawn_blocking(move || SigningKey::generate_sized(algorithm, bits));
    let made = made.await.expect("generating a key does not panic");
    made.map_err(KeyError::Cryptography)
}
