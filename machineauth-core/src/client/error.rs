use std::fmt;
use std::time::Duration;

/// Why there is no token. Match on [`TokenError::kind`]. Shows no part of a secret or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenError {
    kind: TokenErrorKind,
    retry_after: Option<Duration>,
}

/// The ways in which asking for a token fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// The issuer cannot be reached, or the connection broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The issuer asks to come back later (429), or is down (5xx).
    Unavailable,
    /// The issuer refuses (RFC 6749 §5.2).
    Refused(Refusal),
    /// The issuer's answer is no token, or none that can be used here.
    MalformedAnswer,
    /// The issuer's metadata does not say where its token endpoint is, or says so in a way that is not to be trusted.
    NoEndpoint,
    /// The client secret could not be read.
    NoSecret,
    /// The client's key could not sign.
    SigningFailed,
    /// Nobody can ask outside a Tokio runtime.
    NoRuntime,
}

/// The error codes of RFC 6749 §5.2 and RFC 8707 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// `invalid_client`
    InvalidClient,
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_scope`
    InvalidScope,
    /// `invalid_target`
    InvalidTarget,
    /// `unauthorized_client`
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// Any other code, or none.
    Other,
}

impl TokenError {
    /// An error of this kind.
    pub const fn new(kind: TokenErrorKind) -> Self {
        Self {
            kind,
            retry_after: None,
        }
    }

    /// The same, of somebody who asks not to be asked again before `pause` is over.
    #[must_use]
    pub const fn retry_after(self, pause: Option<Duration>) -> Self {
        Self {
            retry_after: pause,
            ..self
        }
    }

    /// What went wrong, to decide by.
    pub const fn kind(&self) -> TokenErrorKind {
        self.kind
    }

    /// How long the issuer asked to be left alone.
    pub const fn asked_pause(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<TokenErrorKind> for TokenError {
    fn from(kind: TokenErrorKind) -> Self {
        Self::new(kind)
    }
}

impl Refusal {
    #[cfg(feature = "http")]
    pub(super) fn of(code: &str) -> Self {
        match code {
            "invalid_client" => Self::InvalidClient,
            "invalid_request" => Self::InvalidRequest,
            "invalid_scope" => Self::InvalidScope,
            "invalid_target" => Self::InvalidTarget,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TokenErrorKind::Unreachable => "the issuer cannot be reached",
            TokenErrorKind::TimedOut => "the issuer does not answer in time",
            TokenErrorKind::Unavailable => "the issuer asks to come back later",
            TokenErrorKind::Refused(refusal) => refusal.sentence(),
            TokenErrorKind::MalformedAnswer => "the issuer's answer holds no usable access token",
            TokenErrorKind::NoEndpoint => {
                "the issuer's metadata does not name a usable token endpoint"
            }
            TokenErrorKind::NoSecret => "the client secret could not be read, or is empty",
            TokenErrorKind::SigningFailed => "the client's key could not sign",
            TokenErrorKind::NoRuntime => "a token can only be asked for inside a Tokio runtime",
        })
    }
}

impl Refusal {
    const fn sentence(self) -> &'static str {
        match self {
            Self::InvalidClient => {
                "the issuer refuses the client (`invalid_client`): unknown, inactive, or the wrong secret"
            }
            Self::InvalidRequest => {
                "the issuer does not understand the request (`invalid_request`)"
            }
            Self::InvalidScope => "the client may not have these scopes (`invalid_scope`)",
            Self::InvalidTarget => {
                "the client may not have tokens for this audience (`invalid_target`)"
            }
            Self::UnauthorizedClient => {
                "the client may not have tokens this way (`unauthorized_client`)"
            }
            Self::UnsupportedGrantType => {
                "the issuer does not support client credentials (`unsupported_grant_type`)"
            }
            Self::Other => "the issuer refuses",
        }
    }
}

impl std::error::Error for TokenError {}
