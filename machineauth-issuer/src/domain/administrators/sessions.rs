//! The sessions of administrators: from a password that was right to an end.
//!
//! A session is a row; what its bearer holds is a token, of which the row keeps a keyed hash (I5). The row also names what
//! the session depends on: the password it began with, the role, and that not everybody was signed out since.

use machineauth_core::clock::Timestamp;

use super::session::{Activity, Session, SessionKind, StoredSession};
use super::token::Token;
use super::{AdministratorError, Administrators, Identity, Known, Proof};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{AdministratorId, SessionId};
use crate::domain::last_use;
use crate::domain::secret::SecretText;
use crate::store::{Batch, Key, Outcome, Partition, StoreError, Table, Versioned};

const SESSIONS: Table<StoredSession> = Table::new("administrator_session", 1);

/// How the tokens of administrators begin.
pub const SESSION_PREFIX: &str = "mas_";
/// How many sessions an administrator has at once. One more ends the oldest.
pub const MAX_SESSIONS: usize = 100;

impl Administrators {
    /// Begins a session for whoever has just presented the right password. The token is returned here and never again.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn begin_session(
        &self,
        proof: &Proof,
        kind: SessionKind,
        by: &By,
    ) -> Result<(Session, SecretText), StoreError> {
        let administrator = proof.0.id;
        let now = self.clock.now();
        let id = SessionId::random();
        let token = Token::new(SESSION_PREFIX, *administrator.as_bytes(), *id.as_bytes());
        let stored = StoredSession::begun(kind, &token, &self.vault, &proof.0, by, now);
        let row = key(administrator, id);
        let batch = Batch::new(Partition::SYSTEM).absent(&row).put_until(
            &row,
            SESSIONS.encode(&stored),
            stored.expires_at,
        );
        let fact = Fact::new(Action::LoginSucceeded)
            .on("session", &id)
            .with("kind", kind.as_str());
        let batch = event::record(batch, fact, by, now);
        let batch = self.make_room(batch, &proof.0, by, now).await?;
        match self.store.commit(&batch).await? {
            // Nobody else has this random identifier.
            Outcome::Committed | Outcome::Conflict => {}
        }
        Ok((stored.session(administrator, id, 0), token.into_text()))
    }

    /// Adds to `batch`, which begins a session: the oldest one ends, where there are as many as there can be.
    async fn make_room(
        &self,
        batch: Batch,
        identity: &Identity,
        by: &By,
        now: Timestamp,
    ) -> Result<Batch, StoreError> {
        let rows = self.session_rows(identity.id).await?;
        let surplus = (rows.len() + 1).saturating_sub(MAX_SESSIONS);
        if surplus == 0 {
            return Ok(batch);
        }
        let mut oldest: Vec<_> = rows.iter().collect();
        oldest.sort_by_key(|(_, row)| row.value.created_at);
        let ended = oldest.iter().take(surplus);
        let batch = ended.fold(batch, |batch, (row, _)| batch.delete(row));
        let fact = Fact::administrator(Action::SessionEnded, identity.id, &identity.email)
            .with("sessions", surplus)
            .because("there were as many as an administrator can have");
        Ok(event::record(batch, fact, by, now))
    }

    /// Whose session's token this is, where tokens of `kind` are good.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn recognize_session(
        &self,
        text: &SecretText,
        kind: SessionKind,
        activity: Activity,
    ) -> Result<Option<(Identity, Session)>, StoreError> {
        let Some(token) = Token::parse(SESSION_PREFIX, text) else {
            return Ok(None);
        };
        let (administrator, id) = token.names();
        let (administrator, id) = (
            AdministratorId::from_bytes(administrator),
            SessionId::from_bytes(id),
        );
        let row = key(administrator, id);
        let counters = [row.clone()];
        let (stored, used) = futures_util::try_join!(
            SESSIONS.get(&*self.store, &row),
            self.store.counts(&counters),
        )?;
        let Some(stored) = stored.filter(|stored| stored.value.is_of(&token, &self.vault)) else {
            return Ok(None);
        };
        let used = used.first().copied().unwrap_or_default();
        let session = stored.value.session(administrator, id, used);
        let now = self.clock.now();
        if session.kind != kind || !session.is_live(now) {
            return Ok(None);
        }
        let Some(identity) = self.depended_on(&stored.value, administrator).await? else {
            return Ok(None);
        };
        if activity == Activity::Use {
            self.remember_use(&row, &stored, id, now).await?;
        }
        Ok(Some((identity, session)))
    }

    /// The administrator, if it is what the session depends on.
    async fn depended_on(
        &self,
        stored: &StoredSession,
        administrator: AdministratorId,
    ) -> Result<Option<Identity>, StoreError> {
        let identity = |known: &Known| {
            let entry = known.administrators.get(&administrator);
            let identity = entry.map(|entry| entry.identity.clone());
            identity.filter(|identity| stored.depends_on(identity))
        };
        match identity(&*self.known().await?) {
            Some(identity) => Ok(Some(identity)),
            // What is remembered refuses nobody: the session may have begun at another issuer, with a new password.
            None => Ok(identity(&*self.fresh().await?)),
        }
    }

    async fn remember_use(
        &self,
        row: &Key,
        stored: &Versioned<StoredSession>,
        id: SessionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !self.uses.is_news(id, now) {
            return Ok(());
        }
        let batch = Batch::new(Partition::SYSTEM).at_version(row, stored.version);
        match self
            .store
            .commit(&last_use::record(batch, row, now))
            .await?
        {
            // A session that ended meanwhile leaves no counter behind.
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }

    /// Notes that the password was presented again in `session`, whose it is.
    ///
    /// # Errors
    /// [`AdministratorError::NoSuchSession`] when it has ended meanwhile, or is another administrator's.
    pub async fn confirm_session(
        &self,
        session: &Session,
        proof: &Proof,
        by: &By,
    ) -> Result<(), AdministratorError> {
        let row = key(proof.0.id, session.id);
        let stored = SESSIONS.get(&*self.store, &row).await?;
        let stored = stored.ok_or(AdministratorError::NoSuchSession)?;
        let now = self.clock.now();
        let confirmed = stored.value.confirmed(now);
        let batch = Batch::new(Partition::SYSTEM)
            .at_version(&row, stored.version)
            .put_until(&row, SESSIONS.encode(&confirmed), confirmed.expires_at);
        let fact = Fact::new(Action::LoginConfirmed).on("session", &session.id);
        match self
            .store
            .commit(&event::record(batch, fact, by, now))
            .await?
        {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(AdministratorError::Contended),
        }
    }

    /// The sessions of an administrator that are good, the one that was used last first.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn sessions(
        &self,
        administrator: AdministratorId,
    ) -> Result<Vec<Session>, StoreError> {
        let (known, rows) =
            futures_util::try_join!(self.known(), self.session_rows(administrator))?;
        let Some(entry) = known.administrators.get(&administrator) else {
            return Ok(Vec::new());
        };
        let keys: Vec<_> = rows.iter().map(|(key, _)| key.clone()).collect();
        let uses = self.store.counts(&keys).await?;
        let now = self.clock.now();
        let mut sessions: Vec<_> = rows
            .iter()
            .zip(uses)
            .filter(|((_, row), _)| row.value.depends_on(&entry.identity))
            .filter_map(|((key, row), used)| {
                let id = key.last_part().parse().ok()?;
                Some(row.value.session(administrator, id, used))
            })
            .filter(|session| session.is_live(now))
            .collect();
        sessions
            .sort_by_key(|session| std::cmp::Reverse((session.last_used_at, session.created_at)));
        Ok(sessions)
    }

    /// Ends a session of an administrator.
    ///
    /// # Errors
    /// [`AdministratorError::NoSuchSession`], or the store's failure.
    pub async fn end_session(
        &self,
        administrator: AdministratorId,
        id: SessionId,
        by: &By,
    ) -> Result<(), AdministratorError> {
        let row = key(administrator, id);
        let (known, stored) =
            futures_util::try_join!(self.known(), SESSIONS.get(&*self.store, &row))?;
        let stored = stored.ok_or(AdministratorError::NoSuchSession)?;
        let batch = Batch::new(Partition::SYSTEM)
            .at_version(&row, stored.version)
            .delete(&row);
        let fact = Fact::administrator(
            Action::SessionEnded,
            administrator,
            known.email(administrator),
        )
        .with("sessions", 1);
        match self
            .store
            .commit(&event::record(batch, fact, by, self.clock.now()))
            .await?
        {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(AdministratorError::NoSuchSession),
        }
    }

    /// Ends the sessions of an administrator, except for one where that is named. Says how many there were.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn end_sessions(
        &self,
        administrator: AdministratorId,
        except: Option<SessionId>,
        by: &By,
    ) -> Result<usize, StoreError> {
        let (known, rows) =
            futures_util::try_join!(self.known(), self.session_rows(administrator))?;
        let kept = except.map(|id| key(administrator, id));
        let ended: Vec<_> = rows
            .iter()
            .filter(|(row, _)| kept.as_ref() != Some(row))
            .collect();
        if ended.is_empty() {
            return Ok(0);
        }
        let batch = Batch::new(Partition::SYSTEM);
        let batch = ended
            .iter()
            .fold(batch, |batch, (row, _)| batch.delete(row));
        let fact = Fact::administrator(
            Action::SessionEnded,
            administrator,
            known.email(administrator),
        )
        .with("sessions", ended.len());
        match self
            .store
            .commit(&event::record(batch, fact, by, self.clock.now()))
            .await?
        {
            // The batch insists on nothing.
            Outcome::Committed | Outcome::Conflict => Ok(ended.len()),
        }
    }

    /// Adds to `batch`, after which they would be good no more: the sessions of an administrator are gone.
    pub(super) async fn without_sessions(
        &self,
        batch: Batch,
        administrator: AdministratorId,
    ) -> Result<Batch, StoreError> {
        let rows = self.session_rows(administrator).await?;
        Ok(rows.iter().fold(batch, |batch, (row, _)| batch.delete(row)))
    }

    async fn session_rows(
        &self,
        administrator: AdministratorId,
    ) -> Result<Vec<(Key, Versioned<StoredSession>)>, StoreError> {
        let prefix = SESSIONS.key(Partition::SYSTEM).with(administrator);
        // Some that begin at the same moment may be more than there can be.
        SESSIONS
            .scan(&*self.store, &prefix, None, 2 * MAX_SESSIONS)
            .await
    }
}

fn key(administrator: AdministratorId, id: SessionId) -> Key {
    SESSIONS.key(Partition::SYSTEM).with(administrator).with(id)
}
