//! How somebody becomes an administrator: by a link that works once, which an owner hands over.
//!
//! An address has one invitation at most, so inviting somebody again makes the link before worthless. An invitation is good
//! as long as whoever made it is an owner, and nobody signed everybody out since.

use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::constant_time_eq;
use serde::{Deserialize, Serialize};

use super::record::Administrator;
use super::token::Token;
use super::{
    ADMINISTRATORS, AdministratorError, Administrators, Email, Known, MAX_ADMINISTRATORS, Owner,
    Proof, Role, id_of, record_key,
};
use crate::domain::event::{self, Action, Actor, By, Fact};
use crate::domain::id::AdministratorId;
use crate::domain::password;
use crate::domain::secret::SecretText;
use crate::store::{Batch, Key, Outcome, Partition, StoreError, Table, Versioned};

const INVITATIONS: Table<StoredInvitation> = Table::new("administrator_invitation", 1);

/// How the tokens of invitations begin.
const PREFIX: &str = "mai_";
/// How long an invitation works: over a weekend.
pub const INVITATION_LIFETIME: Duration = Duration::from_secs(3 * 24 * 3600);

/// An invitation that nobody has accepted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Names it, and the administrator that it makes.
    pub id: AdministratorId,
    /// Who is invited.
    pub email: Box<str>,
    /// What it will be.
    pub role: Role,
    /// The owner who invited it.
    pub invited_by: Box<str>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it works no more.
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredInvitation {
    email: Box<str>,
    role: Role,
    /// A keyed hash of its token.
    mac: String,
    /// The epoch that it is from.
    epoch: String,
    invited_by: AdministratorId,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl StoredInvitation {
    fn is_good(&self, known: &Known) -> bool {
        let is_there = known.administrators.contains_key(&id_of(&self.email));
        self.epoch == known.epoch && known.owns(self.invited_by) && !is_there
    }

    fn invitation(&self, known: &Known) -> Invitation {
        Invitation {
            id: id_of(&self.email),
            email: self.email.clone(),
            role: self.role,
            invited_by: known.email(self.invited_by).into(),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

impl Administrators {
    /// Invites somebody. The token is returned here and never again: whoever holds it becomes an administrator.
    ///
    /// # Errors
    /// [`AdministratorError::AlreadyThere`], [`AdministratorError::TooMany`], [`AdministratorError::Contended`], or the store's
    /// failure.
    pub async fn invite(
        &self,
        owner: &Owner,
        email: &Email,
        role: Role,
        by: &By,
    ) -> Result<(Invitation, SecretText), AdministratorError> {
        let known = self.known().await?;
        if known.named(email.as_str()).is_some()
            || self.email().eq_ignore_ascii_case(email.as_str())
        {
            return Err(AdministratorError::AlreadyThere);
        }
        let id = id_of(email.as_str());
        let row = key(id);
        let others = self.rows().await?;
        let before = others.iter().find(|(key, _)| *key == row);
        let invited = others
            .iter()
            .filter(|(_, other)| other.value.is_good(&known));
        if known.administrators.len() + invited.count() >= MAX_ADMINISTRATORS && before.is_none() {
            return Err(AdministratorError::TooMany);
        }
        let now = self.clock.now();
        let token = Token::new(PREFIX, *id.as_bytes(), *owner.0.id.as_bytes());
        let stored = StoredInvitation {
            email: email.as_str().into(),
            role,
            mac: token.mac(&self.vault),
            epoch: known.epoch.clone(),
            invited_by: owner.0.id,
            created_at: now,
            expires_at: now.saturating_add(INVITATION_LIFETIME),
        };
        let batch = Batch::new(Partition::SYSTEM);
        let batch = match before {
            Some((row, before)) => batch.at_version(row, before.version),
            None => batch.absent(&row),
        };
        let batch = batch.put_until(&row, INVITATIONS.encode(&stored), stored.expires_at);
        let fact = Fact::administrator(Action::AdministratorInvited, id, email.as_str())
            .with("role", role.as_str());
        match self
            .store
            .commit(&event::record(batch, fact, by, now))
            .await?
        {
            Outcome::Committed => Ok((stored.invitation(&known), token.into_text())),
            Outcome::Conflict => Err(AdministratorError::Contended),
        }
    }

    /// The invitations that can be accepted, the newest first: who is about to come in is for those who let it in.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn invitations(&self, _owner: &Owner) -> Result<Vec<Invitation>, StoreError> {
        let (known, rows) = futures_util::try_join!(self.known(), self.rows())?;
        let good = rows.iter().filter(|(_, row)| row.value.is_good(&known));
        let mut invitations: Vec<_> = good.map(|(_, row)| row.value.invitation(&known)).collect();
        invitations.sort_by_key(|invitation| std::cmp::Reverse(invitation.created_at));
        Ok(invitations)
    }

    /// Makes an invitation worthless.
    ///
    /// # Errors
    /// [`AdministratorError::NoSuchInvitation`], or the store's failure.
    pub async fn withdraw_invitation(
        &self,
        _owner: &Owner,
        id: AdministratorId,
        by: &By,
    ) -> Result<(), AdministratorError> {
        let row = key(id);
        let stored = INVITATIONS.get(&*self.store, &row).await?;
        let stored = stored.ok_or(AdministratorError::NoSuchInvitation)?;
        let batch = Batch::new(Partition::SYSTEM)
            .at_version(&row, stored.version)
            .delete(&row);
        let fact = Fact::administrator(
            Action::AdministratorInvitationWithdrawn,
            id,
            &stored.value.email,
        );
        match self
            .store
            .commit(&event::record(batch, fact, by, self.clock.now()))
            .await?
        {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(AdministratorError::NoSuchInvitation),
        }
    }

    /// The invitation whose token this is, for whoever is about to accept it.
    ///
    /// # Errors
    /// [`AdministratorError::NoSuchInvitation`], or the store's failure.
    pub async fn invitation(&self, token: &SecretText) -> Result<Invitation, AdministratorError> {
        let (_, invitation) = self.presented(token).await?;
        Ok(invitation.value.invitation(&*self.known().await?))
    }

    /// Makes an administrator of whoever holds the token of an invitation, once.
    ///
    /// # Errors
    /// [`AdministratorError::InvalidPassword`], [`AdministratorError::NoSuchInvitation`],
    /// [`AdministratorError::Overloaded`], or the store's failure.
    pub async fn accept_invitation(
        &self,
        token: &SecretText,
        password: &SecretText,
        by: &By,
    ) -> Result<Proof, AdministratorError> {
        let (row, invitation) = self.presented(token).await?;
        password::check(password)?;
        let password_hash = self.verifications.hash(password).await?;
        let StoredInvitation { email, role, .. } = invitation.value;
        let (id, now) = (id_of(&email), self.clock.now());
        let by = by.known_as(Actor::Administrator {
            email: email.clone(),
        });
        let fact = Fact::administrator(Action::AdministratorJoined, id, &email)
            .with("role", role.as_str());
        let record = Administrator {
            id,
            email,
            role,
            password_hash,
            created_at: now,
            password_changed_at: now,
            is_invited: true,
        };
        let place = record_key(id);
        let batch = Batch::new(Partition::SYSTEM)
            .at_version(&row, invitation.version)
            .delete(&row);
        let batch = match ADMINISTRATORS.get(&*self.store, &place).await? {
            None => batch.absent(&place),
            // What one left behind who was configured, and is no more.
            Some(dormant) if !dormant.value.is_invited => batch.at_version(&place, dormant.version),
            Some(_) => return Err(AdministratorError::NoSuchInvitation),
        };
        let batch = batch.put(&place, ADMINISTRATORS.encode(&record));
        match self.commit(event::record(batch, fact, &by, now)).await? {
            Outcome::Committed => self.proof_of(id).await,
            Outcome::Conflict => Err(AdministratorError::NoSuchInvitation),
        }
    }

    async fn presented(
        &self,
        text: &SecretText,
    ) -> Result<(Key, Versioned<StoredInvitation>), AdministratorError> {
        let missing = AdministratorError::NoSuchInvitation;
        let Some(token) = Token::parse(PREFIX, text) else {
            return Err(missing);
        };
        let (id, _) = token.names();
        let row = key(AdministratorId::from_bytes(id));
        let (known, stored) =
            futures_util::try_join!(self.known(), INVITATIONS.get(&*self.store, &row))?;
        let mac = token.mac(&self.vault);
        let stored = stored.filter(|stored| {
            let is_its_own = constant_time_eq(mac.as_bytes(), stored.value.mac.as_bytes());
            is_its_own && stored.value.is_good(&known)
        });
        stored.map(|stored| (row, stored)).ok_or(missing)
    }

    async fn rows(&self) -> Result<Vec<(Key, Versioned<StoredInvitation>)>, StoreError> {
        let prefix = INVITATIONS.key(Partition::SYSTEM);
        INVITATIONS
            .scan(&*self.store, &prefix, None, 2 * MAX_ADMINISTRATORS)
            .await
    }
}

fn key(id: AdministratorId) -> Key {
    INVITATIONS.key(Partition::SYSTEM).with(id)
}
