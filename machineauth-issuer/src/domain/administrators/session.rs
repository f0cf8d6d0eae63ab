//! One session: what is stored of it, and until when it is good.

use std::net::IpAddr;
use std::time::Duration;

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::constant_time_eq;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::token::Token;
use crate::domain::event::{By, UserAgent};
use crate::domain::id::{AdministratorId, SessionId};
use crate::domain::last_use;
use crate::domain::vault::Vault;

/// How long a session lasts at most: a working day.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3600);
/// After how long without a request a session in a browser ends.
pub const IDLE_LIFETIME: Duration = Duration::from_secs(3600);
/// How long a password that was presented counts as just presented.
pub const RECENT: Duration = Duration::from_secs(10 * 60);

/// A session of an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Names it. Nobody can do anything with it by knowing that.
    pub id: SessionId,
    /// Whose it is.
    pub administrator: AdministratorId,
    /// Where its token is good.
    pub kind: SessionKind,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Timestamp,
    /// When the password was last presented in it.
    pub authenticated_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// The address that it began from.
    pub address: Option<IpAddr>,
    /// What it began with.
    pub user_agent: Option<UserAgent>,
}

/// Where a session's token is good: nowhere else, so that what a browser holds is no key to the API, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// At the API, as a bearer token.
    Api,
    /// In the console, as a cookie.
    Console,
}

/// What a request in a session is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Somebody is there.
    Use,
    /// A page that was left open asks by itself, which keeps no session alive.
    Poll,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredSession {
    kind: SessionKind,
    /// A keyed hash of its token.
    mac: String,
    /// What it depends on: [`Identity::credential`] as it was.
    credential: String,
    pub(super) created_at: Timestamp,
    authenticated_at: Timestamp,
    pub(super) expires_at: Timestamp,
    address: Option<IpAddr>,
    user_agent: Option<UserAgent>,
}

impl SessionKind {
    /// `api` or `console`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Console => "console",
        }
    }

    /// After how long without a request it ends.
    const fn idle_lifetime(self) -> Duration {
        match self {
            // The documented login says how long its token works, and means it.
            Self::Api => SESSION_LIFETIME,
            Self::Console => IDLE_LIFETIME,
        }
    }
}

impl Session {
    /// Whether the password was presented so lately that it need not be asked for again.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now < self.authenticated_at.saturating_add(RECENT)
    }

    /// Whether it goes on at `now`.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        let idle_until = self.last_used_at.saturating_add(self.kind.idle_lifetime());
        now < self.expires_at && now < idle_until
    }
}

impl StoredSession {
    /// One that begins at `now`.
    pub(super) fn begun(
        kind: SessionKind,
        token: &Token,
        vault: &Vault,
        identity: &Identity,
        by: &By,
        now: Timestamp,
    ) -> Self {
        Self {
            kind,
            mac: token.mac(vault),
            credential: base64url::encode(identity.credential),
            created_at: now,
            authenticated_at: now,
            expires_at: now.saturating_add(SESSION_LIFETIME),
            address: by.address,
            user_agent: by.user_agent.clone(),
        }
    }

    /// The same, now that the password was presented again at `now`.
    pub(super) fn confirmed(self, now: Timestamp) -> Self {
        Self {
            authenticated_at: now,
            ..self
        }
    }

    /// As it is shown, used last when its counter says.
    pub(super) fn session(
        &self,
        administrator: AdministratorId,
        id: SessionId,
        used: i64,
    ) -> Session {
        Session {
            id,
            administrator,
            kind: self.kind,
            created_at: self.created_at,
            last_used_at: last_use::read(used)
                .map_or(self.created_at, |used| used.max(self.created_at)),
            authenticated_at: self.authenticated_at,
            expires_at: self.expires_at,
            address: self.address,
            user_agent: self.user_agent.clone(),
        }
    }

    /// Whether it is the session of `token`.
    pub(super) fn is_of(&self, token: &Token, vault: &Vault) -> bool {
        constant_time_eq(token.mac(vault).as_bytes(), self.mac.as_bytes())
    }

    /// Whether the administrator is what it was when the session began.
    pub(super) fn depends_on(&self, identity: &Identity) -> bool {
        constant_time_eq(
            self.credential.as_bytes(),
            base64url::encode(identity.credential).as_bytes(),
        )
    }
}
