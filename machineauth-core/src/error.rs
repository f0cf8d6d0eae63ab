//! What can be wrong with a token, a key or a configuration.

use std::fmt;

/// Why something was refused. Opaque: match on [`Error::kind`]; print it for a sentence that says what to do.
///
/// Neither `Debug` nor `Display` ever shows any part of a token, a key or a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    /// Narrows the kind down; chosen at compile time, so it cannot carry what a stranger sent.
    detail: Option<&'static str>,
}

impl Error {
    pub(crate) const fn new(kind: ErrorKind) -> Self {
        Self { kind, detail: None }
    }

    pub(crate) const fn because(kind: ErrorKind, detail: &'static str) -> Self {
        Self {
            kind,
            detail: Some(detail),
        }
    }

    /// What went wrong, to decide by.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.kind)
    }
}

impl std::error::Error for Error {}

/// The ways in which things go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request carries no token.
    MissingToken,
    /// The request carries more than one token: two `Authorization` headers, or a token in a second place as well
    /// (RFC 6750 §2).
    MultipleTokens,
    /// The token came in the query string or in a cookie, where this server does not take it.
    UnsupportedTokenTransport,
    /// The `Authorization` header cannot be understood.
    MalformedRequest,
    /// The token is not a well-formed JWS in compact serialization (RFC 7515 §7.1) with a JSON object inside.
    MalformedToken,
    /// The token names an algorithm that is not supported, or that its key must not be used with.
    UnsupportedAlgorithm,
    /// No key of the issuer matches the token.
    UnknownKey,
    /// The issuer's keys could not be obtained.
    KeysUnavailable,
    /// The signature is wrong.
    InvalidSignature,
    /// The token is well-formed, but is no access token (RFC 8725 §3.11).
    InvalidType,
    /// A claim is missing, or is not of the type that RFC 7519 gives it.
    InvalidClaim(ClaimName),
    /// The token has expired.
    Expired,
    /// The token is not valid yet (`nbf`, or an `iat` in the future).
    NotYetValid,
    /// The token was issued by somebody else.
    WrongIssuer,
    /// The token is meant for somebody else.
    WrongAudience,
    /// The token, its agent, its family, its organization or its key has been revoked.
    Revoked,
    /// The issuer says that the token is not active: expired, revoked, or none of its own (RFC 7662 §2.2).
    Inactive,
    /// Only the issuer can tell what the token is, and it has not been asked yet or does not answer.
    IntrospectionUnavailable,
    /// What is revoked has not been heard of for longer than the configured policy allows.
    RevocationsStale,
    /// The token is good, but lacks a scope (RFC 6750 §3.1).
    InsufficientScope,
    /// The token is good, but whoever it speaks for was authenticated too long ago, or not well enough (RFC 9470).
    InsufficientUserAuthentication,
    /// The token is good, but for another object than the path names.
    BrokenBinding,
    /// No rule of a policy allows the request, whoever sends it.
    Forbidden,
    /// The path of the request can be read in more than one way.
    AmbiguousPath,
    /// The proof of possession is missing where it must be, or is not good for this request (RFC 9449 §4.3).
    InvalidProof,
    /// The proof of possession must carry the nonce that comes with this answer (RFC 9449 §8).
    UseDpopNonce,
    /// It cannot be told whether the proof of possession was used before: too many have been lately.
    ReplayGuardFull,
    /// A key cannot be used: malformed, too small, of an unsupported type, or not meant for signatures.
    InvalidKey,
    /// A verifier or key cache was configured in a way that cannot work.
    InvalidConfiguration,
    /// The cryptographic library refused an operation on a valid key.
    CryptographyFailed,
    /// A sealed value was not sealed with this key for this purpose, or was changed since.
    InvalidSeal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::MissingToken => "no access token; send one as `Authorization: Bearer <token>`",
            Self::MultipleTokens => {
                "more than one access token; send exactly one, in one Authorization header"
            }
            Self::UnsupportedTokenTransport => {
                "the access token must be sent in the Authorization header, not in the query string or a cookie"
            }
            Self::MalformedRequest => "the Authorization header must read `Bearer <token>`",
            Self::MalformedToken => "the access token is not a well-formed signed JWT",
            Self::UnsupportedAlgorithm => {
                "the access token's signature algorithm is not accepted for its key"
            }
            Self::UnknownKey => {
                "the access token was signed with a key that its issuer does not publish"
            }
            Self::KeysUnavailable => {
                "the issuer's keys are not available at the moment; try again shortly"
            }
            Self::InvalidSignature => "the access token's signature is invalid",
            Self::InvalidType => "this token is not an access token",
            Self::InvalidClaim(claim) => {
                return write!(f, "the claim `{claim}` is missing or invalid");
            }
            Self::Expired => "the access token has expired; request a new one",
            Self::NotYetValid => {
                "the access token is not valid yet; compare the clocks of issuer and server"
            }
            Self::WrongIssuer => {
                "the access token was issued by another issuer than the one accepted here"
            }
            Self::WrongAudience => {
                "the access token is meant for another audience; request one for this service"
            }
            Self::Revoked => "the access token has been revoked; request a new one",
            Self::Inactive => "the access token is not active; request a new one",
            Self::IntrospectionUnavailable => {
                "the access token cannot be checked with its issuer at the moment; try again shortly"
            }
            Self::RevocationsStale => {
                "revocations cannot be checked at the moment; try again shortly"
            }
            Self::InsufficientScope => "the access token lacks a scope that this request needs",
            Self::InsufficientUserAuthentication => {
                "this request needs a more recent or a stronger authentication"
            }
            Self::BrokenBinding => "the access token is restricted to something else",
            Self::Forbidden => "no rule of this server allows this request",
            Self::AmbiguousPath => "the path of this request can be read in more than one way",
            Self::InvalidProof => "the DPoP proof is not good for this request",
            Self::UseDpopNonce => "the DPoP proof must carry the nonce from the DPoP-Nonce header",
            Self::ReplayGuardFull => {
                "too many proofs have been used lately to remember more; try again shortly"
            }
            Self::InvalidKey => "the key cannot be used",
            Self::InvalidConfiguration => "the configuration cannot work",
            Self::CryptographyFailed => "a cryptographic operation failed",
            Self::InvalidSeal => "the sealed value cannot be opened with this key",
        };
        f.write_str(sentence)
    }
}

/// The claims that are checked, named as in [`crate::Claims`]; prints as the name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClaimName {
    /// `iss`, RFC 7519 §4.1.1
    Issuer,
    /// `sub`, RFC 7519 §4.1.2
    Subject,
    /// `aud`, RFC 7519 §4.1.3
    Audience,
    /// `exp`, RFC 7519 §4.1.4
    ExpiresAt,
    /// `nbf`, RFC 7519 §4.1.5
    NotBefore,
    /// `iat`, RFC 7519 §4.1.6
    IssuedAt,
    /// `jti`, RFC 7519 §4.1.7
    JwtId,
    /// `scope`, RFC 8693 §4.2
    Scope,
    /// `client_id`, RFC 8693 §4.3
    ClientId,
    /// `agent_id`
    AgentId,
    /// `org_id`
    OrganizationId,
    /// `team_id`
    TeamId,
    /// `gen`
    Generation,
    /// `fid`
    FamilyId,
    /// `cnf`, RFC 7800 §3.1
    Confirmation,
}

impl ClaimName {
    /// The claim's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "iss",
            Self::Subject => "sub",
            Self::Audience => "aud",
            Self::ExpiresAt => "exp",
            Self::NotBefore => "nbf",
            Self::IssuedAt => "iat",
            Self::JwtId => "jti",
            Self::Scope => "scope",
            Self::ClientId => "client_id",
            Self::AgentId => "agent_id",
            Self::OrganizationId => "org_id",
            Self::TeamId => "team_id",
            Self::Generation => "gen",
            Self::FamilyId => "fid",
            Self::Confirmation => "cnf",
        }
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
