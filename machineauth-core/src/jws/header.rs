use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{MAX_KID_LENGTH, Type, malformed};
use crate::crypto::Algorithm;
use crate::error::{Error, ErrorKind};
use crate::json::{self, StrictValue};

/// The parts of a JOSE header that matter here (RFC 7515 §4).
///
/// * `crit` is refused whatever it lists, and so is `b64`: no extension is understood (RFC 7515 §4.1.11, RFC 7797).
/// * `jwk`, `jku`, `x5u`, `x5c` and everything else are read over and forgotten: a token never brings its own key.
/// * `zip`, `enc` and the like mean nothing in a JWS and are read over too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
}

impl Header {
    /// Reads a decoded header.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Error> {
        let draft = json::read(text, Reader)
            .map_err(|_| malformed("the header is not a strict JSON object of known types"))?;
        if draft.extended {
            return Err(malformed(
                "the header has `crit` or `b64`, and no extension is supported",
            ));
        }
        let alg = draft.alg.ok_or(malformed("the header has no `alg`"))?;
        if draft
            .kid
            .as_ref()
            .is_some_and(|kid| kid.len() > MAX_KID_LENGTH)
        {
            return Err(malformed("`kid` is longer than 256 bytes"));
        }
        Ok(Self {
            algorithm: alg
                .parse()
                .map_err(|_: Error| Error::new(ErrorKind::UnsupportedAlgorithm))?,
            kid: draft.kid.map(Cow::into_owned),
            typ: draft.typ.map(Cow::into_owned),
        })
    }

    /// `alg`: what the token claims to be signed with. The key decides whether that is so.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid`: the name of the key, at most 256 bytes of anything.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// `typ`: the media type of the whole token, as it stands there.
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }
}

/// A header for signing. `kid` may be anything; JSON escapes it.
pub(super) fn encode(algorithm: Algorithm, typ: Type, kid: &str) -> String {
    let kid = Value::from(kid);
    format!(
        r#"{{"alg":"{algorithm}","typ":"{}","kid":{kid}}}"#,
        typ.as_str()
    )
}

#[derive(Default)]
struct Draft<'a> {
    alg: Option<Cow<'a, str>>,
    kid: Option<Cow<'a, str>>,
    typ: Option<Cow<'a, str>>,
    extended: bool,
}

struct Reader;

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Draft<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Draft<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Draft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Draft<'de>, A::Error> {
        let mut draft = Draft::default();
        // Names of members that are read over, to notice a second one.
        let mut others: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Text(name)) = members.next_key()? {
            let place = match name.as_ref() {
                "alg" => &mut draft.alg,
                "kid" => &mut draft.kid,
                "typ" => &mut draft.typ,
                other => {
                    if others.iter().any(|seen| seen == other) || others.len() == MAX_OTHER_MEMBERS
                    {
                        return Err(de::Error::custom("duplicate member, or too many"));
                    }
                    draft.extended |= matches!(other, "crit" | "b64");
                    others.push(name);
                    members.next_value_seed(StrictValue::member())?;
                    continue;
                }
            };
            if place.is_some() {
                return Err(de::Error::custom("duplicate member"));
            }
            let Text(value) = members.next_value()?;
            *place = Some(value);
        }
        Ok(draft)
    }
}

/// RFC 7515 registers eleven; the bound keeps the search for duplicates short.
const MAX_OTHER_MEMBERS: usize = 32;

/// A string, borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
