//! Reads claims straight from the text into their places, without a tree of values in between: a cold verification has
//! about two microseconds for everything but the signature.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::{Audience, Claims, invalid};
use crate::error::{ClaimName, Error, ErrorKind};
use crate::json::{self, StrictValue};
use crate::scope::ScopeSet;

/// Enough for any audience list, and small enough to search.
const MAX_AUDIENCES: usize = 64;

/// The first number that `f64`, and so JavaScript, cannot tell from its neighbour.
const NUMERIC_DATE_END: u64 = 1 << 53;

pub(super) fn claims(payload: &[u8]) -> Result<Claims, Error> {
    draft(payload)?.finish()
}

/// The client is one more audience, and may be the only one.
pub(super) fn claims_for_client(payload: &[u8]) -> Result<Claims, Error> {
    let mut draft = draft(payload)?;
    if let Some(client) = &draft.client_id {
        let audience = draft.audience.get_or_insert_with(|| Audience(Vec::new()));
        audience.0.push(client.clone());
    }
    draft.finish()
}

fn draft(payload: &[u8]) -> Result<Draft, Error> {
    // serde's errors are text; the cell carries out which claim was being read when one occurred.
    let reading = Cell::new(None);
    json::read(payload, Reader { reading: &reading }).map_err(|_| match reading.get() {
        Some(claim) => invalid(claim),
        None => Error::because(
            ErrorKind::MalformedToken,
            "the payload is not a strict JSON object",
        ),
    })
}

#[derive(Default)]
struct Draft {
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<Audience>,
    expires_at: Option<u64>,
    issued_at: Option<u64>,
    not_before: Option<u64>,
    jwt_id: Option<String>,
    scope: Option<ScopeSet>,
    client_id: Option<String>,
    agent_id: Option<String>,
    organization_id: Option<String>,
    team_id: Option<String>,
    generation: Option<u64>,
    family_id: Option<String>,
    confirmation: Option<Map<String, Value>>,
    extra: Map<String, Value>,
}

impl Draft {
    fn finish(self) -> Result<Claims, Error> {
        let not_empty = |text: &String| !text.is_empty();
        Ok(Claims {
            issuer: self.issuer.ok_or(invalid(ClaimName::Issuer))?,
            subject: self
                .subject
                .filter(not_empty)
                .ok_or(invalid(ClaimName::Subject))?,
            audience: self.audience.ok_or(invalid(ClaimName::Audience))?,
            expires_at: self.expires_at.ok_or(invalid(ClaimName::ExpiresAt))?,
            issued_at: self.issued_at,
            not_before: self.not_before,
            jwt_id: self.jwt_id,
            scope: self.scope.unwrap_or_default(),
            client_id: self.client_id,
            agent_id: self.agent_id.filter(not_empty),
            organization_id: self.organization_id.filter(not_empty),
            team_id: self.team_id.filter(not_empty),
            generation: self.generation,
            family_id: self.family_id,
            confirmation: self.confirmation,
            extra: self.extra,
        })
    }
}

struct Reader<'c> {
    reading: &'c Cell<Option<ClaimName>>,
}

impl Reader<'_> {
    /// Reads one claim through `seed` into `place`, which must still be empty.
    fn fill<'de, A, S>(
        &self,
        members: &mut A,
        claim: ClaimName,
        place: &mut Option<S::Value>,
        seed: S,
    ) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
        S: DeserializeSeed<'de>,
    {
        if place.is_some() {
            return Err(de::Error::custom("duplicate claim"));
        }
        self.reading.set(Some(claim));
        *place = Some(members.next_value_seed(seed)?);
        self.reading.set(None);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Draft;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Draft, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Draft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Draft, A::Error> {
        let mut draft = Draft::default();
        while let Some(Name(name)) = members.next_key()? {
            let m = &mut members;
            match name.as_ref() {
                "iss" => self.fill(m, ClaimName::Issuer, &mut draft.issuer, Text)?,
                "sub" => self.fill(m, ClaimName::Subject, &mut draft.subject, Text)?,
                "aud" => self.fill(m, ClaimName::Audience, &mut draft.audience, OneOrMany)?,
                "exp" => self.fill(m, ClaimName::ExpiresAt, &mut draft.expires_at, NumericDate)?,
                "iat" => self.fill(m, ClaimName::IssuedAt, &mut draft.issued_at, NumericDate)?,
                "nbf" => self.fill(m, ClaimName::NotBefore, &mut draft.not_before, NumericDate)?,
                "jti" => self.fill(m, ClaimName::JwtId, &mut draft.jwt_id, Text)?,
                "scope" => self.fill(m, ClaimName::Scope, &mut draft.scope, PhantomData)?,
                "client_id" => self.fill(m, ClaimName::ClientId, &mut draft.client_id, Text)?,
                "agent_id" => self.fill(m, ClaimName::AgentId, &mut draft.agent_id, Text)?,
                "org_id" => self.fill(
                    m,
                    ClaimName::OrganizationId,
                    &mut draft.organization_id,
                    Text,
                )?,
                "team_id" => self.fill(m, ClaimName::TeamId, &mut draft.team_id, Text)?,
                "gen" => self.fill(m, ClaimName::Generation, &mut draft.generation, Count)?,
                "fid" => self.fill(m, ClaimName::FamilyId, &mut draft.family_id, Text)?,
                "cnf" => self.fill(m, ClaimName::Confirmation, &mut draft.confirmation, Object)?,
                _ => match draft.extra.entry(name.into_owned()) {
                    Entry::Vacant(entry) => {
                        entry.insert(m.next_value_seed(StrictValue::member())?);
                    }
                    Entry::Occupied(_) => return Err(de::Error::custom("duplicate member")),
                },
            }
        }
        Ok(draft)
    }
}

/// A member's name, borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Makes a unit struct read one JSON type: `$hint` is the type asked for, the functions say what is taken.
macro_rules! claim_type {
    ($name:ident -> $value:ty, $hint:ident, $expecting:literal, { $($take:item)* }) => {
        struct $name;

        impl<'de> DeserializeSeed<'de> for $name {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$value, D::Error> {
                deserializer.$hint(self)
            }
        }

        impl<'de> Visitor<'de> for $name {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }

            $($take)*
        }
    };
}

claim_type!(Text -> String, deserialize_str, "a string", {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
});

claim_type!(OneOrMany -> Audience, deserialize_any, "a string or an array of strings", {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Audience, E> {
        Ok(Audience(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Audience, A::Error> {
        let mut audiences = Vec::new();
        while let Some(audience) = items.next_element_seed(Text)? {
            if audiences.len() == MAX_AUDIENCES {
                return Err(de::Error::custom("more than 64 audiences"));
            }
            audiences.push(audience);
        }
        if audiences.is_empty() {
            return Err(de::Error::custom("no audience"));
        }
        Ok(Audience(audiences))
    }
});

claim_type!(NumericDate -> u64, deserialize_u64, "a number of seconds from 0 to 2^53 - 1", {
    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<u64, E> {
        if seconds < NUMERIC_DATE_END { Ok(seconds) } else { Err(E::custom("out of range")) }
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<u64, E> {
        if seconds >= 0.0 && seconds < NUMERIC_DATE_END as f64 {
            Ok(seconds as u64)
        } else {
            Err(E::custom("out of range"))
        }
    }
});

claim_type!(Count -> u64, deserialize_u64, "a whole number, not negative", {
    fn visit_u64<E: de::Error>(self, count: u64) -> Result<u64, E> {
        Ok(count)
    }
});

claim_type!(Object -> Map<String, Value>, deserialize_map, "an object", {
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Map<String, Value>, A::Error> {
        match StrictValue::member().visit_map(members)? {
            Value::Object(object) => Ok(object),
            _ => Err(de::Error::custom("not an object")),
        }
    }
});
