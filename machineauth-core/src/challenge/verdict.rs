//! Which of the few refusals an error comes to.

use http::StatusCode;

use crate::error::ErrorKind;

/// The few ways to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No credentials: how to authenticate.
    Unauthenticated,
    /// The request itself is wrong.
    InvalidRequest,
    /// The token is no good.
    InvalidToken,
    /// The proof of possession is no good (RFC 9449 §7.1).
    InvalidProof,
    /// The proof of possession needs a nonce (RFC 9449 §9).
    NonceNeeded,
    /// The token is good and not enough.
    InsufficientScope,
    /// The token is good, and the authentication behind it does not suffice.
    InsufficientUserAuthentication,
    /// Nothing that this token, or another one like it, can be used for.
    Forbidden,
    /// It cannot be told at the moment whether the token is good.
    Unavailable,
    /// A defect on this side, of which no request can be the cause.
    Misconfigured,
}

impl Verdict {
    /// The one mapping from errors to the wire.
    pub(super) fn on(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::MissingToken => Self::Unauthenticated,
            ErrorKind::MultipleTokens
            | ErrorKind::UnsupportedTokenTransport
            | ErrorKind::MalformedRequest
            | ErrorKind::AmbiguousPath => Self::InvalidRequest,
            ErrorKind::MalformedToken
            | ErrorKind::UnsupportedAlgorithm
            | ErrorKind::UnknownKey
            | ErrorKind::InvalidSignature
            | ErrorKind::InvalidType
            | ErrorKind::InvalidClaim(_)
            | ErrorKind::Expired
            | ErrorKind::NotYetValid
            | ErrorKind::WrongIssuer
            | ErrorKind::WrongAudience
            | ErrorKind::Revoked
            | ErrorKind::Inactive => Self::InvalidToken,
            ErrorKind::InvalidProof => Self::InvalidProof,
            ErrorKind::UseDpopNonce => Self::NonceNeeded,
            ErrorKind::InsufficientScope => Self::InsufficientScope,
            ErrorKind::InsufficientUserAuthentication => Self::InsufficientUserAuthentication,
            ErrorKind::BrokenBinding | ErrorKind::Forbidden => Self::Forbidden,
            ErrorKind::KeysUnavailable
            | ErrorKind::IntrospectionUnavailable
            | ErrorKind::RevocationsStale
            | ErrorKind::ReplayGuardFull => Self::Unavailable,
            ErrorKind::InvalidKey
            | ErrorKind::InvalidConfiguration
            | ErrorKind::CryptographyFailed
            | ErrorKind::InvalidSeal => Self::Misconfigured,
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated
            | Self::InvalidToken
            | Self::InvalidProof
            | Self::NonceNeeded
            | Self::InsufficientUserAuthentication => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn error_code(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthorized",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InvalidProof => "invalid_dpop_proof",
            Self::NonceNeeded => "use_dpop_nonce",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::Forbidden => "access_denied",
            Self::Unavailable => "temporarily_unavailable",
            Self::Misconfigured => "server_error",
        }
    }

    /// Whether better credentials would help.
    pub(super) fn asks_for_credentials(self) -> bool {
        match self {
            Self::Unauthenticated
            | Self::InvalidRequest
            | Self::InvalidToken
            | Self::InvalidProof
            | Self::NonceNeeded
            | Self::InsufficientUserAuthentication
            | Self::InsufficientScope => true,
            Self::Forbidden | Self::Unavailable | Self::Misconfigured => false,
        }
    }
}
