//! Setting the passwords of administrators.

use machineauth_core::clock::Timestamp;

use super::known::begin_epoch;
use super::record::Administrator;
use super::{ADMINISTRATORS, AdministratorError, Administrators, Proof, Role, record_key};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::AdministratorId;
use crate::domain::password;
use crate::domain::password_hash::PasswordHash;
use crate::domain::secret::SecretText;
use crate::store::{Batch, Outcome, Partition, StoreError};

impl Administrators {
    /// Changes the password of whoever has just presented it as it was, and ends its sessions. What this returns begins the
    /// next one.
    ///
    /// # Errors
    /// [`AdministratorError::InvalidPassword`], [`AdministratorError::NotFound`] for one who was removed meanwhile,
    /// [`AdministratorError::Contended`], [`AdministratorError::Overloaded`], or the store's failure.
    pub async fn change_password(
        &self,
        proof: &Proof,
        password: &SecretText,
        by: &By,
    ) -> Result<Proof, AdministratorError> {
        password::check(password)?;
        let id = proof.0.id;
        let row = record_key(id);
        let password_hash = self.verifications.hash(password).await?;
        let now = self.clock.now();
        let known = self.fresh().await?;
        let entry = known.administrators.get(&id);
        let entry = entry.ok_or(AdministratorError::NotFound)?;
        // What was proven may be remembered: whoever knows a password that is none any more changes nothing with it.
        if entry.identity.credential != proof.0.credential {
            return Err(AdministratorError::Contended);
        }
        let batch = Batch::new(Partition::SYSTEM);
        let (batch, record) = match &entry.record {
            Some(before) => {
                let record = Administrator {
                    password_hash,
                    password_changed_at: now,
                    ..before.value.clone()
                };
                (batch.at_version(&row, before.version), record)
            }
            None => (
                batch.absent(&row),
                self.configured_record(password_hash, now),
            ),
        };
        let batch = batch.put(&row, ADMINISTRATORS.encode(&record));
        let fact = Fact::administrator(Action::AdministratorPasswordChanged, id, &record.email);
        self.change(id, batch, fact, by).await?;
        self.proof_of(id).await
    }

    /// Sets the configured administrator's password, which from now on decides instead of the configured one, and ends
    /// the sessions of everybody.
    ///
    /// # Errors
    /// [`AdministratorError::Overloaded`], or the store's failure.
    pub async fn set_password(
        &self,
        password: &SecretText,
        by: &By,
    ) -> Result<(), AdministratorError> {
        let row = record_key(self.configured.id());
        let before = ADMINISTRATORS.get(&*self.store, &row).await?;
        let password_hash = self.verifications.hash(password).await?;
        let now = self.clock.now();
        let record = match before {
            Some(before) => Administrator {
                password_hash,
                password_changed_at: now,
                ..before.value
            },
            None => self.configured_record(password_hash, now),
        };
        let batch = Batch::new(Partition::SYSTEM).put(&row, ADMINISTRATORS.encode(&record));
        let fact = Fact::administrator(Action::AdministratorPasswordSet, record.id, &record.email);
        match self
            .commit(event::record(begin_epoch(batch), fact, by, now))
            .await?
        {
            // The batch insists on nothing.
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }

    /// Removes the configured administrator's record, so that the configured password decides again, and ends the sessions of
    /// everybody. Says whether there was one.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn forget(&self, by: &By) -> Result<bool, StoreError> {
        let id = self.configured.id();
        let row = record_key(id);
        if ADMINISTRATORS.get(&*self.store, &row).await?.is_none() {
            return Ok(false);
        }
        let batch = begin_epoch(Batch::new(Partition::SYSTEM).delete(&row));
        let fact = Fact::administrator(Action::AdministratorForgotten, id, self.email());
        match self
            .commit(event::record(batch, fact, by, self.clock.now()))
            .await?
        {
            // The batch insists on nothing.
            Outcome::Committed | Outcome::Conflict => Ok(true),
        }
    }

    /// The proof of whoever has just set its password.
    pub(super) async fn proof_of(&self, id: AdministratorId) -> Result<Proof, AdministratorError> {
        let known = self.known().await?;
        let entry = known
            .administrators
            .get(&id)
            .ok_or(AdministratorError::NotFound)?;
        Ok(Proof(entry.identity.clone()))
    }

    fn configured_record(&self, password_hash: PasswordHash, now: Timestamp) -> Administrator {
        Administrator {
            id: self.configured.id(),
            email: self.email().into(),
            role: Role::Owner,
            password_hash,
            created_at: now,
            password_changed_at: now,
            is_invited: false,
        }
    }
}
