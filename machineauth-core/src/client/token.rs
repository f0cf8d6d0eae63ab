use std::fmt;
use std::time::Duration;

use http::HeaderValue;

use crate::clock::Timestamp;
use crate::scope::ScopeSet;

/// A token that an issuer has just handed out.
pub struct IssuedToken {
    /// Its text.
    pub text: String,
    /// How long it is good from the moment it was asked for. Five minutes are assumed when the issuer does not say.
    pub expires_in: Option<Duration>,
    /// What was granted; `None` when that is what was asked for (RFC 6749 §5.1).
    pub scope: Option<ScopeSet>,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// An access token, ready to be sent.
pub struct AccessToken {
    authorization: HeaderValue,
    expires_at: Timestamp,
    scope: Option<ScopeSet>,
    /// Tells tokens of one source apart without comparing their texts.
    pub(super) serial: u64,
}

impl AccessToken {
    /// `None` when the text is no header value.
    pub(super) fn new(issued: IssuedToken, expires_at: Timestamp, serial: u64) -> Option<Self> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", issued.text)).ok()?;
        authorization.set_sensitive(true);
        Some(Self {
            authorization,
            expires_at,
            scope: issued.scope,
            serial,
        })
    }

    /// The value of the `Authorization` header: `Bearer` and the token. It is marked as sensitive.
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// The token itself, for what is no HTTP header. It must not get into logs.
    pub fn expose(&self) -> &str {
        let value = self.authorization.to_str().unwrap_or_default();
        value.strip_prefix("Bearer ").unwrap_or_default()
    }

    /// From when on it is refused.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// What was granted; `None` when that is what was asked for.
    pub fn scope(&self) -> Option<&ScopeSet> {
        self.scope.as_ref()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_at", &self.expires_at)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
