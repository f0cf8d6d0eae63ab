//! JSON that is somebody else's.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// How deep objects and arrays may be nested: what reads JSON gives up at 128 levels, and answers put some around this.
pub const MAX_DEPTH: usize = 100;

/// A JSON object that is not interpreted, kept as the text that it is, without spaces: as values it could take a hundred
/// times the memory.
#[derive(Clone)]
pub struct JsonObject(Box<RawValue>);

impl JsonObject {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.as_str() == "{}"
    }

    /// Whether it has at most so many bytes, is no deeper than [`MAX_DEPTH`], and has no number that is too large for
    /// whoever reads it.
    pub fn fits(&self, bytes: usize) -> bool {
        let text = self.as_str();
        text.len() <= bytes
            && depth(text) <= MAX_DEPTH
            && serde_json::from_str::<Map<String, Value>>(text).is_ok()
    }

    /// Its members. One that is there twice counts once.
    pub fn members(&self) -> Map<String, Value> {
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// Adds its members to `object`, the bytes of a JSON object that has some.
    pub fn append_to(&self, object: &mut Vec<u8>) {
        if !self.is_empty() {
            object.pop();
            object.push(b',');
            object.extend_from_slice(&self.as_str().as_bytes()[1..]);
        }
    }
}

impl Default for JsonObject {
    fn default() -> Self {
        Map::new().into()
    }
}

impl From<Map<String, Value>> for JsonObject {
    fn from(members: Map<String, Value>) -> Self {
        Self(serde_json::value::to_raw_value(&members).expect("values are JSON"))
    }
}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for JsonObject {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        if !text.get().starts_with('{') {
            return Err(de::Error::custom("something else, expected a JSON object"));
        }
        match text.get().contains(|c: char| c.is_ascii_whitespace()) {
            true => RawValue::from_string(without_spaces(text.get())).map_err(de::Error::custom),
            false => Ok(text),
        }
        .map(Self)
    }
}

/// The characters of a JSON text, each with whether it is part of a string.
fn characters(json: &str) -> impl Iterator<Item = (char, bool)> {
    let (mut in_string, mut is_escaped) = (false, false);
    json.chars().map(move |character| {
        let is_quote = character == '"' && !is_escaped;
        let is_part = in_string || is_quote;
        is_escaped = in_string && !is_escaped && character == '\\';
        in_string ^= is_quote;
        (character, is_part)
    })
}

fn without_spaces(json: &str) -> String {
    characters(json)
        .filter(|(character, in_string)| *in_string || !character.is_ascii_whitespace())
        .map(|(character, _)| character)
        .collect()
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for (character, _) in characters(json).filter(|(_, in_string)| !in_string) {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<JsonObject, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn an_object_is_kept_without_its_spaces() {
        let object = read(" { \"a b\" : [ 1 , \"\\\" c \\\\\" ] ,\n\"d\": { } } ").unwrap();
        assert_eq!(object.as_str(), r#"{"a b":[1,"\" c \\"],"d":{}}"#);
        assert!(read("{ }").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "\"{}\"", "1", "null", "{", "{\"a\":}", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn neither_length_nor_depth_is_without_bounds() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(read(&nested(MAX_DEPTH)).unwrap().fits(1_000));
        assert!(!read(&nested(MAX_DEPTH + 1)).unwrap().fits(1_000));
        assert!(!read(&nested(10_000)).unwrap().fits(100_000));
        assert!(!read(r#"{"a":"[[[[["}"#).unwrap().fits(12));
        assert!(read(r#"{"a":"[[[[["}"#).unwrap().fits(13));
        assert!(!read(r#"{"a":[1e400]}"#).unwrap().fits(100));
    }

    #[test]
    fn its_members_are_added_to_another() {
        let mut bytes = br#"{"a":1}"#.to_vec();
        JsonObject::default().append_to(&mut bytes);
        JsonObject::from(json!({ "b": [2] }).as_object().unwrap().clone()).append_to(&mut bytes);
        assert_eq!(bytes, br#"{"a":1,"b":[2]}"#);
    }

    proptest! {
        #[test]
        fn spaces_change_nothing(members in prop::collection::hash_map("\\PC{0,6}", "\\PC{0,9}", 0..5)) {
            let members: Map<String, Value> = members.into_iter().map(|(name, value)| (name, json!([value]))).collect();
            let object = read(&serde_json::to_string_pretty(&members).unwrap()).unwrap();
            prop_assert_eq!(object.as_str(), serde_json::to_string(&members).unwrap());
            prop_assert_eq!(object.members(), members);
        }
    }
}
