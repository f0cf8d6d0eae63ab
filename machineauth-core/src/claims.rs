//! What a token says (RFC 7519 §4), as typed values.

mod read;

use serde_json::{Map, Value};

use crate::error::{ClaimName, Error, ErrorKind};
use crate::scope::ScopeSet;

/// The claims of an access token. Times are whole Unix seconds; fractions on the wire are cut off.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claims {
    /// `iss`: who issued the token.
    pub issuer: String,
    /// `sub`: whom it is about. Never empty.
    pub subject: String,
    /// `aud`: whom it is meant for.
    pub audience: Audience,
    /// `exp`: until when it is valid, exclusive.
    pub expires_at: u64,
    /// `iat`: when it was issued.
    pub issued_at: Option<u64>,
    /// `nbf`: from when it is valid, inclusive.
    pub not_before: Option<u64>,
    /// `jti`: the token's own name.
    pub jwt_id: Option<String>,
    /// `scope`: a space-delimited string (RFC 9068 §2.2.3) or an array of strings; empty when absent.
    pub scope: ScopeSet,
    /// `client_id`
    pub client_id: Option<String>,
    /// `agent_id`: the agent that acts; `""` reads as none.
    pub agent_id: Option<String>,
    /// `org_id`: the organization the agent belongs to; `""` reads as none.
    pub organization_id: Option<String>,
    /// `team_id`; `""` reads as none.
    pub team_id: Option<String>,
    /// `gen`: the agent's generation at issuance, for revoking everything issued before.
    pub generation: Option<u64>,
    /// `fid`: the refresh family the token belongs to.
    pub family_id: Option<String>,
    /// `cnf`: what the presenter must prove possession of (RFC 7800 §3.1).
    pub confirmation: Option<Map<String, Value>>,
    /// Every other claim, as it came.
    pub extra: Map<String, Value>,
}

impl Claims {
    /// Reads a token's payload strictly: duplicate members at any depth, nesting beyond 16 levels, invalid UTF-8 and
    /// claims of a wrong type are refused. `null` is no value for a claim that is named here.
    ///
    /// # Errors
    /// * [`ErrorKind::MalformedToken`] when the payload is not a strict JSON object.
    /// * [`ErrorKind::InvalidClaim`] when `iss`, `sub`, `aud` or `exp` is missing, or a claim has the wrong type. A
    ///   `NumericDate` must be a number from 0 to 2⁵³ − 1.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        read::claims(payload)
    }

    /// As [`Claims::parse`], for an issuer that says in `client_id` whom a token is meant for.
    pub(crate) fn parse_for_client(payload: &[u8]) -> Result<Self, Error> {
        read::claims_for_client(payload)
    }
}

/// Whom a token is meant for: one or many (RFC 7519 §4.1.3). Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(Vec<String>);

impl Audience {
    /// Whether the token is meant for `audience`, compared exactly.
    pub fn contains(&self, audience: &str) -> bool {
        self.0.iter().any(|own| own == audience)
    }

    /// Everybody whom the token is meant for.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

const fn invalid(claim: ClaimName) -> Error {
    Error::new(ErrorKind::InvalidClaim(claim))
}
