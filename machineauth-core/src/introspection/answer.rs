//! What an introspection answer says (RFC 7662 §2.2), read as strictly as a token.

use serde_json::{Map, Value};

use super::{Limits, Verdict};
use crate::claims::Claims;
use crate::clock::Timestamp;
use crate::error::{ClaimName, Error, ErrorKind};
use crate::json;

/// A verdict, and until when it serves.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) until: Timestamp,
}

impl Judged {
    pub(super) fn at(now: Timestamp, verdict: Verdict, limits: &Limits) -> Self {
        let until = match &verdict {
            Ok(agent) => {
                let end = Timestamp::from_secs(agent.claims().expires_at);
                end.min(now.saturating_add(limits.max_age))
            }
            Err(_) => now.saturating_add(limits.inactive_age),
        };
        Self { verdict, until }
    }
}

/// The members of an answer.
pub(super) fn members(body: &[u8]) -> Result<Map<String, Value>, Error> {
    json::parse_object(body).map_err(|_| ErrorKind::MalformedToken.into())
}

/// Whether the answer says that the token is active; `None` when it says nothing.
pub(super) fn is_active(members: &Map<String, Value>) -> Option<bool> {
    members.get("active")?.as_bool()
}

/// The claims of the active token that an answer describes.
///
/// `iss` and `sub` may be missing (RFC 7662 §2.2): the issuer is the one that was asked, and who has no subject is known
/// by its `client_id`. An answer without `exp` serves until `latest`. One without `aud` is for `missing_audience`.
pub(super) fn claims(
    mut members: Map<String, Value>,
    issuer: &str,
    missing_audience: Option<&str>,
    latest: Timestamp,
) -> Result<Claims, Error> {
    members.remove("active");
    check_type(members.remove("token_type").as_ref(), &members)?;
    fill(&mut members, "iss", || Some(issuer.into()));
    fill(&mut members, "exp", || Some(latest.as_secs().into()));
    let client_id = members.get("client_id").cloned();
    fill(&mut members, "sub", || client_id);
    fill(&mut members, "aud", || missing_audience.map(Value::from));
    if !members.contains_key("aud") {
        return Err(Error::because(
            ErrorKind::InvalidClaim(ClaimName::Audience),
            "the introspection answer does not say for whom the token is",
        ));
    }
    let claims = Claims::parse(Value::Object(members).to_string().as_bytes())?;
    if claims.issuer != issuer {
        return Err(ErrorKind::WrongIssuer.into());
    }
    Ok(claims)
}

fn fill(members: &mut Map<String, Value>, name: &str, value: impl FnOnce() -> Option<Value>) {
    if !members.contains_key(name)
        && let Some(value) = value()
    {
        members.insert(name.to_owned(), value);
    }
}

/// An issuer that also answers for refresh tokens must not have them taken for access tokens. A bound token that is not
/// said to be bound to what (RFC 9449 §6.2) must not be taken for one that is bound to nothing.
fn check_type(token_type: Option<&Value>, members: &Map<String, Value>) -> Result<(), Error> {
    let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
    let acceptable = match token_type {
        None => true,
        Some(Value::String(name)) if is(name, "dpop") => members.contains_key("cnf"),
        Some(Value::String(name)) => is(name, "bearer") || is(name, "access_token"),
        Some(_) => false,
    };
    if acceptable {
        Ok(())
    } else {
        Err(ErrorKind::InvalidType.into())
    }
}
