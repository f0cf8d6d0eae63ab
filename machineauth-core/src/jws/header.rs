use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{MAX_KID_LENGTH, NOT_BASE64URL, Type, malformed};
use crate::base64url;
use crate::crypto::Algorithm;
use crate::error::{Error, ErrorKind};
use crate::json::{self, StrictValue};

/// The parts of a JOSE header that matter here (RFC 7515 §4).
///
/// * `crit` is refused whatever it lists, and so is `b64`: no extension is understood (RFC 7515 §4.1.11, RFC 7797).
///   So are `enc` and `zip`, which turn the payload into something else (RFC 7516 §4.1).
/// * `jwk`, `jku`, `x5u`, `x5c` and the other registered members must have their registered type, and are then
///   forgotten: a token never brings its own key. Members that nobody registered are forgotten too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
}

impl Header {
    /// Reads a header as it stands in the token.
    pub(super) fn decode(text: &str) -> Result<Self, Error> {
        Self::parse(&base64url::decode(text).ok_or(NOT_BASE64URL)?)
    }

    fn parse(text: &[u8]) -> Result<Self, Error> {
        let draft = json::read(text, Reader)
            .map_err(|_| malformed("the header is not a strict JSON object of known types"))?;
        if draft.extended {
            return Err(malformed(
                "the header has `crit`, `b64`, `enc` or `zip`, and no extension is supported",
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
                    let value = members.next_value_seed(StrictValue::member())?;
                    if !has_registered_type(other, &value) {
                        return Err(de::Error::custom("a registered member of another type"));
                    }
                    draft.extended |= matches!(other, "crit" | "b64" | "enc" | "zip");
                    others.push(name);
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

/// RFC 7515 §4.1.2–4.1.10
fn has_registered_type(name: &str, value: &Value) -> bool {
    match name {
        "jku" | "x5u" | "x5t" | "x5t#S256" | "cty" => value.is_string(),
        "x5c" => value
            .as_array()
            .is_some_and(|chain| chain.iter().all(Value::is_string)),
        "jwk" => value.is_object(),
        _ => true,
    }
}

/// RFC 7515 registers eleven; the bound keeps the search for duplicates short.
const MAX_OTHER_MEMBERS: usize = 32;

/// A string, borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
