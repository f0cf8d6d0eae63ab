//! The administrators of the server, by their records in the store.
//!
//! There is one so far: the one that is configured. As long as it has no record, its password is the configured one; a
//! record decides instead, wherever its password was set. What requests are judged by is never older than
//! [`STALENESS`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use machineauth_core::base64url;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::{constant_time_eq, random, sha256};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::administrator::{Configured, Sessions};
use super::event::{self, Action, By, Fact};
use super::password_hash::PasswordHash;
use super::secret::SecretText;
use super::vault::Vault;
use super::verifications::{Overloaded, Verifications};
use crate::store::{
    Batch, DynStore, Key, KeyName, Outcome, Partition, Store, StoreError, Table, Versioned,
};

const ADMINISTRATORS: Table<Administrator> = Table::new("administrator", 1);
/// Changes whenever all sessions end.
const SESSIONS: Table<SessionsSince> = Table::new("administrator_sessions", 1);

/// How old the knowledge can be by which an administrator is recognised.
pub const STALENESS: Duration = Duration::from_secs(1);

/// The stored record of an administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Administrator {
    /// Names it; follows from its address.
    pub id: Uuid,
    /// The user name of HTTP Basic, and of a login.
    pub email: String,
    /// What it may do.
    pub role: Role,
    /// What its password is compared with.
    pub password_hash: PasswordHash,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When its password was set.
    pub password_changed_at: Timestamp,
}

/// What an administrator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, other administrators included.
    Owner,
    /// Everything but other administrators.
    Admin,
    /// See.
    Viewer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SessionsSince {
    /// Random: a time might repeat.
    epoch: String,
}

/// Why an administrator could not be recognised. Nothing is known about what it presented.
#[derive(Debug, thiserror::Error)]
pub enum AdministratorError {
    /// Too many passwords are being verified.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Recognises administrators.
#[derive(Debug)]
pub struct Administrators {
    store: DynStore,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    configured: Configured,
    verifications: Verifications,
    known: ArcSwapOption<Known>,
    /// Held while asking the store.
    asking: Mutex<()>,
}

/// What the store said.
#[derive(Debug)]
struct Known {
    record: Option<Versioned<Administrator>>,
    sessions: Sessions,
    asked: Instant,
}

impl Administrators {
    /// The administrators of the store, and the one that is configured.
    pub fn new(
        store: DynStore,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        email: &str,
        password: &SecretText,
    ) -> Self {
        Self {
            store,
            clock,
            vault,
            configured: Configured::new(email, password),
            verifications: Verifications::new(),
            known: ArcSwapOption::empty(),
            asking: Mutex::new(()),
        }
    }

    /// The configured administrator's address.
    pub fn email(&self) -> &str {
        self.configured.email()
    }

    /// Names the configured administrator, the same as long as the address is the same.
    pub fn id(&self) -> Uuid {
        id_of(self.email())
    }

    /// Whether the configured administrator has a record, which decides instead of the configured password.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn has_record(&self) -> Result<bool, StoreError> {
        Ok(self.known().await?.record.is_some())
    }

    /// Whether both are right. Takes as long for a wrong address as for a wrong password.
    ///
    /// # Errors
    /// [`AdministratorError`]
    pub async fn recognizes(
        &self,
        user: &str,
        password: &SecretText,
    ) -> Result<bool, AdministratorError> {
        let known = self.known().await?;
        let Some(record) = &known.record else {
            return Ok(self.configured.recognizes(user, password));
        };
        let is_it = constant_time_eq(user.as_bytes(), record.value.email.as_bytes());
        let hash = &record.value.password_hash;
        let is_right = self.verifications.verify(hash, record.version, password);
        Ok(is_right.await? & is_it)
    }

    /// The sessions that begin with the password as it is now. They end with it, so whoever wants to begin one asks before
    /// the password is judged.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn sessions(&self) -> Result<Sessions, StoreError> {
        Ok(self.known().await?.sessions.clone())
    }

    /// Whether the token was got with a password that still works, and still works itself.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn recognizes_session(&self, text: &str) -> Result<bool, StoreError> {
        let known = self.known().await?;
        Ok(known.sessions.recognize(text, self.clock.now()))
    }

    /// Sets the configured administrator's password, which from now on decides instead of the configured one, and ends
    /// all sessions.
    ///
    /// # Errors
    /// [`AdministratorError`]
    pub async fn set_password(
        &self,
        password: &SecretText,
        by: &By,
    ) -> Result<(), AdministratorError> {
        let now = self.clock.now();
        let row = record_key(self.email());
        let before = ADMINISTRATORS.get(&*self.store, &row).await?;
        let record = Administrator {
            id: self.id(),
            email: self.email().to_owned(),
            role: Role::Owner,
            password_hash: self.verifications.hash(password).await?,
            created_at: before.map_or(now, |before| before.value.created_at),
            password_changed_at: now,
        };
        let batch = Batch::new(Partition::SYSTEM).put(&row, ADMINISTRATORS.encode(&record));
        let fact = Fact::new(Action::AdministratorPasswordSet).on("administrator", &record.id);
        self.commit(event::record(end_sessions(batch), fact, by, now))
            .await?;
        Ok(())
    }

    /// Removes the configured administrator's record, so that the configured password decides again, and ends all
    /// sessions. Says whether there was one.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn forget(&self, by: &By) -> Result<bool, StoreError> {
        let row = record_key(self.email());
        if ADMINISTRATORS.get(&*self.store, &row).await?.is_none() {
            return Ok(false);
        }
        let batch = end_sessions(Batch::new(Partition::SYSTEM).delete(&row));
        let fact = Fact::new(Action::AdministratorForgotten).on("administrator", &self.id());
        self.commit(event::record(batch, fact, by, self.clock.now()))
            .await?;
        Ok(true)
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        match self.store.commit(&batch).await? {
            // The batch insists on nothing.
            Outcome::Committed | Outcome::Conflict => {}
        }
        self.known.store(None);
        Ok(())
    }

    /// What the store says, or said within [`STALENESS`].
    async fn known(&self) -> Result<Arc<Known>, StoreError> {
        if let Some(known) = self.at_hand() {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        // Whoever asked before us has our answer.
        if let Some(known) = self.at_hand() {
            return Ok(known);
        }
        let asked = Instant::now();
        let (row, sessions) = (record_key(self.email()), sessions_key());
        let (record, since) = futures_util::try_join!(
            ADMINISTRATORS.get(&*self.store, &row),
            SESSIONS.get(&*self.store, &sessions),
        )?;
        let epoch = since.map_or_else(String::new, |since| since.value.epoch);
        let sessions = match &record {
            Some(record) => Sessions::new(
                self.email(),
                record.value.password_hash.as_str(),
                &epoch,
                &self.vault,
            ),
            None => self.configured.sessions(&epoch, &self.vault),
        };
        let known = Arc::new(Known {
            record,
            sessions,
            asked,
        });
        self.known.store(Some(Arc::clone(&known)));
        Ok(known)
    }

    fn at_hand(&self) -> Option<Arc<Known>> {
        let known = self.known.load_full();
        known.filter(|known| known.asked.elapsed() < STALENESS)
    }
}

/// Ends the sessions of all administrators.
///
/// # Errors
/// The store's failure.
pub async fn end_all_sessions(store: &dyn Store) -> Result<(), StoreError> {
    match store
        .commit(&end_sessions(Batch::new(Partition::SYSTEM)))
        .await?
    {
        Outcome::Committed | Outcome::Conflict => Ok(()),
    }
}

/// Adds to `batch`: all sessions end.
fn end_sessions(batch: Batch) -> Batch {
    let since = SessionsSince {
        epoch: base64url::encode(random::<16>()),
    };
    batch.put(&sessions_key(), SESSIONS.encode(&since))
}

fn id_of(email: &str) -> Uuid {
    let digest = sha256(format!("administrator {email}").as_bytes());
    let (bytes, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    uuid::Builder::from_custom_bytes(*bytes).into_uuid()
}

fn record_key(email: &str) -> Key {
    ADMINISTRATORS.key(Partition::SYSTEM).with(id_of(email))
}

fn sessions_key() -> Key {
    let all = KeyName::try_from("all").expect("letters are a valid key name");
    SESSIONS.key(Partition::SYSTEM).with(&all)
}
