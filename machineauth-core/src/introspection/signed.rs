//! Introspection answers as signed JWTs (RFC 9701).

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::error::{ClaimName, Error, ErrorKind};
use crate::json;
use crate::jwks::JwksCache;
use crate::jws::{Jws, is_media_type};

/// RFC 9701 §5
const TYPE: &str = "token-introspection+jwt";

/// How far the issuer's clock and ours may be apart, and how old an answer may be: it was asked for a moment ago.
const FRESHNESS: Duration = Duration::from_secs(60);

/// What a signed answer must be like.
#[derive(Debug)]
pub(super) struct SignedAnswers {
    keys: JwksCache,
    client_id: String,
}

impl SignedAnswers {
    pub(super) fn new(keys: JwksCache, client_id: String) -> Self {
        Self { keys, client_id }
    }

    /// The members of the answer inside, once its signature, its type, who it is from and for, and its time have been
    /// checked (RFC 9701 §5).
    pub(super) async fn open(
        &self,
        body: &[u8],
        issuer: &str,
        now: Timestamp,
    ) -> Result<Map<String, Value>, Error> {
        let text = std::str::from_utf8(body).map_err(|_| not_an_answer())?;
        let jws = Jws::parse(text.trim_ascii())?;
        if !jws
            .header()
            .typ()
            .is_some_and(|typ| is_media_type(typ, TYPE))
        {
            return Err(ErrorKind::InvalidType.into());
        }
        self.verify(&jws, now).await?;
        let mut members = json::parse_object(jws.payload()).map_err(|_| not_an_answer())?;
        if members.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(ErrorKind::WrongIssuer.into());
        }
        if !self.is_meant_for_us(&members) {
            return Err(ErrorKind::WrongAudience.into());
        }
        let issued_at = members.get("iat").and_then(Value::as_u64);
        let issued_at = issued_at
            .map(Timestamp::from_secs)
            .ok_or(Error::new(ErrorKind::InvalidClaim(ClaimName::IssuedAt)))?;
        if issued_at > now.saturating_add(FRESHNESS) {
            return Err(ErrorKind::NotYetValid.into());
        }
        if now > issued_at.saturating_add(FRESHNESS) {
            return Err(ErrorKind::Expired.into());
        }
        match members.remove("token_introspection") {
            Some(Value::Object(answer)) => Ok(answer),
            _ => Err(not_an_answer()),
        }
    }

    async fn verify(&self, jws: &Jws<'_>, now: Timestamp) -> Result<(), Error> {
        let verify = || -> Result<(), Error> {
            let keys = self.keys.current(now)?;
            let key = keys
                .set()
                .find(jws.header().kid(), jws.header().algorithm())?;
            key.verify(jws.signing_input(), jws.signature())
        };
        match verify() {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnknownKey | ErrorKind::KeysUnavailable
                ) =>
            {
                self.keys.refresh().await;
                verify()
            }
            verified => verified,
        }
    }

    fn is_meant_for_us(&self, members: &Map<String, Value>) -> bool {
        match members.get("aud") {
            Some(Value::String(one)) => *one == self.client_id,
            Some(Value::Array(many)) => many.iter().any(|one| *one == *self.client_id),
            _ => false,
        }
    }
}

fn not_an_answer() -> Error {
    ErrorKind::MalformedToken.into()
}
