//! The administrators of the server, by their records in the store.
//!
//! One of them is configured: it is always there, and always an owner, so there is never none. As long as it has no record,
//! its password is the configured one; a record decides instead, wherever its password was set. Others come by invitation.
//! What requests are judged by is never older than [`STALENESS`].

mod configured;
mod decoy;
mod invitations;
mod known;
mod passwords;
mod record;
mod session;
mod sessions;
mod token;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::sha256;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::configured::Configured;
use self::decoy::Decoy;
pub use self::invitations::{INVITATION_LIFETIME, Invitation};
use self::known::{Entry, Known};
pub use self::known::{STALENESS, end_all_sessions};
use self::record::Administrator;
pub use self::record::{Email, InvalidEmail, Role};
pub use self::session::{Activity, IDLE_LIFETIME, RECENT, SESSION_LIFETIME, Session, SessionKind};
pub use self::sessions::{MAX_SESSIONS, SESSION_PREFIX};
use super::event::{self, Action, By, Fact};
use super::id::{AdministratorId, SessionId};
use super::last_use::LastUses;
use super::password::InvalidPassword;
use super::secret::SecretText;
use super::vault::Vault;
use super::verifications::{Overloaded, Verifications};
use crate::store::{Batch, DynStore, Key, Outcome, Partition, StoreError, Table, Versioned};

const ADMINISTRATORS: Table<Administrator> = Table::new("administrator", 1);
/// How many administrators a server has at most, those who are invited included.
pub const MAX_ADMINISTRATORS: usize = 200;

/// An administrator who has proved to be it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Names it; follows from its address.
    pub id: AdministratorId,
    /// Its address.
    pub email: Box<str>,
    /// What it may do.
    pub role: Role,
    /// A keyed hash of its password as it is kept, of its role and of the epoch: what its sessions depend on.
    credential: [u8; 32],
}

/// An administrator who has just presented the right password, or just set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof(Identity);

/// An owner: whoever holds one may change administrators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(Identity);

/// An administrator as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Names it.
    pub id: AdministratorId,
    /// Its address.
    pub email: Box<str>,
    /// What it may do.
    pub role: Role,
    /// Whether it is the configured one, which can neither be removed nor get another role.
    pub is_configured: bool,
    /// When it joined. `None` for the configured one, as long as its password is the configured one.
    pub created_at: Option<Timestamp>,
    /// When its password was set. `None` as for [`Profile::created_at`].
    pub password_changed_at: Option<Timestamp>,
}

/// Why something about administrators was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdministratorError {
    /// There is no such administrator.
    #[error("there is no such administrator")]
    NotFound,
    /// It stands in the configuration.
    #[error("this administrator is configured: ADMIN_EMAIL says who it is, and it is an owner")]
    IsConfigured,
    /// Somebody who is to be invited is there already.
    #[error("email: there is an administrator with this address")]
    AlreadyThere,
    /// There are as many as there can be.
    #[error(
        "there are at most {MAX_ADMINISTRATORS} administrators, those who are invited included"
    )]
    TooMany,
    /// There is no such invitation: it was used, withdrawn or has expired, its owner is none any more, or it never was.
    #[error(
        "there is no such invitation; it may have been used, or be too old: ask for another one"
    )]
    NoSuchInvitation,
    /// There is no such session of this administrator.
    #[error("there is no such session")]
    NoSuchSession,
    /// The password cannot be taken.
    #[error(transparent)]
    InvalidPassword(#[from] InvalidPassword),
    /// Others changed the same record at the same time.
    #[error("the administrator is being changed by many at once; try again")]
    Contended,
    /// Too many passwords are being verified. Nothing is known about this one.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Recognises administrators, and changes them.
#[derive(Debug)]
pub struct Administrators {
    store: DynStore,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    configured: Configured,
    verifications: Verifications,
    uses: LastUses<SessionId>,
    known: ArcSwapOption<Known>,
    /// When something was last changed here.
    changed: ArcSwap<Instant>,
    /// Held while asking the store.
    asking: Mutex<()>,
    /// What passwords of users who have no hash are compared with.
    decoy: Decoy,
}

impl Identity {
    /// Itself, if it is an owner.
    pub fn into_owner(self) -> Option<Owner> {
        (self.role == Role::Owner).then_some(Owner(self))
    }
}

impl Proof {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.0
    }
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
            uses: LastUses::new(),
            known: ArcSwapOption::empty(),
            changed: ArcSwap::from_pointee(Instant::now()),
            asking: Mutex::new(()),
            decoy: Decoy::new(),
        }
    }

    /// The configured administrator's address.
    pub fn email(&self) -> &str {
        self.configured.email()
    }

    /// Whether the configured administrator has a record, which decides instead of the configured password.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn has_record(&self) -> Result<bool, StoreError> {
        let known = self.known().await?;
        let entry = known.administrators.get(&self.configured.id());
        Ok(entry.is_some_and(|entry| entry.record.is_some()))
    }

    /// The administrator with this address and this password. Takes as long for a wrong address as for a wrong password.
    ///
    /// # Errors
    /// [`AdministratorError::Overloaded`], or the store's failure.
    pub async fn recognize(
        &self,
        user: &str,
        password: &SecretText,
    ) -> Result<Option<Proof>, AdministratorError> {
        let known = self.known().await?;
        let named = known.named(user);
        let record = named.and_then(|entry| entry.record.as_ref());
        let by_hash = match record {
            Some(record) => {
                let hash = &record.value.password_hash;
                let answer = self.verifications.verify(hash, record.version, password);
                answer.await?
            }
            None if known.has_hashes() => {
                let decoy = self.decoy.verify(&self.verifications, user, password);
                decoy.await?
            }
            None => false,
        };
        let user = named.map_or(user, |entry| &entry.identity.email);
        let by_configuration = self.configured.recognizes(user, password);
        Ok(named
            .filter(|entry| match entry.record {
                Some(_) => by_hash,
                None => by_configuration,
            })
            .map(|entry| Proof(entry.identity.clone())))
    }

    /// All administrators, in the order of their addresses.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(&self) -> Result<Vec<Profile>, StoreError> {
        let known = self.known().await?;
        let mut all: Vec<_> = known
            .administrators
            .values()
            .map(|entry| self.profile(entry))
            .collect();
        all.sort_by(|one, other| one.email.cmp(&other.email));
        Ok(all)
    }

    /// The administrator of this name.
    ///
    /// # Errors
    /// [`AdministratorError::NotFound`], or the store's failure.
    pub async fn find(&self, id: AdministratorId) -> Result<Profile, AdministratorError> {
        let known = self.known().await?;
        let entry = known
            .administrators
            .get(&id)
            .ok_or(AdministratorError::NotFound)?;
        Ok(self.profile(entry))
    }

    /// Gives an administrator another role, and ends its sessions.
    ///
    /// # Errors
    /// [`AdministratorError::NotFound`], [`AdministratorError::IsConfigured`], [`AdministratorError::Contended`], or the
    /// store's failure.
    pub async fn set_role(
        &self,
        _owner: &Owner,
        id: AdministratorId,
        role: Role,
        by: &By,
    ) -> Result<Profile, AdministratorError> {
        let (row, stored) = self.invited(id).await?;
        let before = stored.value.role;
        if role != before {
            let record = Administrator {
                role,
                ..stored.value
            };
            let batch = Batch::new(Partition::SYSTEM)
                .at_version(&row, stored.version)
                .put(&row, ADMINISTRATORS.encode(&record));
            let fact = Fact::administrator(Action::AdministratorRoleChanged, id, &record.email)
                .with("before", before.as_str())
                .with("role", role.as_str());
            self.change(id, batch, fact, by).await?;
        }
        self.find(id).await
    }

    /// Removes an administrator with its sessions. Its invitations end as well.
    ///
    /// # Errors
    /// As [`Administrators::set_role`].
    pub async fn remove(
        &self,
        _owner: &Owner,
        id: AdministratorId,
        by: &By,
    ) -> Result<(), AdministratorError> {
        let (row, stored) = self.invited(id).await?;
        let batch = Batch::new(Partition::SYSTEM)
            .at_version(&row, stored.version)
            .delete(&row);
        let fact = Fact::administrator(Action::AdministratorRemoved, id, &stored.value.email);
        self.change(id, batch, fact, by).await
    }

    /// The record of an administrator who can be changed.
    async fn invited(
        &self,
        id: AdministratorId,
    ) -> Result<(Key, Versioned<Administrator>), AdministratorError> {
        if id == self.configured.id() {
            return Err(AdministratorError::IsConfigured);
        }
        let row = record_key(id);
        let stored = ADMINISTRATORS.get(&*self.store, &row).await?;
        let stored = stored.filter(|stored| stored.value.is_invited);
        Ok((row, stored.ok_or(AdministratorError::NotFound)?))
    }

    /// Commits a change of an administrator, whose sessions it ends.
    async fn change(
        &self,
        id: AdministratorId,
        batch: Batch,
        fact: Fact,
        by: &By,
    ) -> Result<(), AdministratorError> {
        let batch = self.without_sessions(batch, id).await?;
        let outcome = self
            .commit(event::record(batch, fact, by, self.clock.now()))
            .await?;
        match outcome {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(AdministratorError::Contended),
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Outcome, StoreError> {
        let outcome = self.store.commit(&batch).await?;
        self.changed.store(Arc::new(Instant::now()));
        Ok(outcome)
    }

    fn profile(&self, entry: &Entry) -> Profile {
        let Identity {
            id,
            ref email,
            role,
            ..
        } = entry.identity;
        let record = entry.record.as_ref().map(|record| &record.value);
        Profile {
            id,
            email: email.clone(),
            role,
            is_configured: id == self.configured.id(),
            created_at: record.map(|record| record.created_at),
            password_changed_at: record.map(|record| record.password_changed_at),
        }
    }
}

fn id_of(email: &str) -> AdministratorId {
    let digest = sha256(format!("administrator {email}").as_bytes());
    let (bytes, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    AdministratorId::from_bytes(
        uuid::Builder::from_custom_bytes(*bytes)
            .into_uuid()
            .into_bytes(),
    )
}

fn record_key(id: AdministratorId) -> Key {
    ADMINISTRATORS.key(Partition::SYSTEM).with(id)
}
