//! JSON, read strictly (RFC 8259, RFC 8725 §2.4).
//!
//! Members that occur twice are refused at any depth: readers that keep the first and readers that keep the last would
//! see different tokens. So are deep nesting, invalid UTF-8, numbers beyond `f64`, and anything after the value.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Objects and arrays may be nested this deep.
const MAX_DEPTH: usize = 16;

/// The text is not strict JSON, or not of the shape that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads one object.
///
/// # Errors
/// [`Malformed`] when the text is not strict JSON or not an object.
pub(crate) fn parse_object(text: &[u8]) -> Result<Map<String, Value>, Malformed> {
    match parse(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(Malformed),
    }
}

/// Reads one value of any type.
///
/// # Errors
/// [`Malformed`] when the text is not strict JSON.
fn parse(text: &[u8]) -> Result<Value, Malformed> {
    read(text, StrictValue::root())
}

/// Reads the whole of `text` through `seed`. Checking UTF-8 once up front is faster than once per string, and covers
/// strings that nobody looks at.
pub(crate) fn read<'de, S: DeserializeSeed<'de>>(
    text: &'de [u8],
    seed: S,
) -> Result<S::Value, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer).map_err(|_| Malformed)?;
    deserializer.end().map_err(|_| Malformed)?;
    Ok(value)
}

/// A [`Value`] in which no object has a member twice.
#[derive(Clone, Copy)]
pub(crate) struct StrictValue {
    levels_left: usize,
}

impl StrictValue {
    /// For a value that is the whole text.
    pub(crate) const fn root() -> Self {
        Self {
            levels_left: MAX_DEPTH,
        }
    }

    /// For a value that is a member of the outermost object.
    pub(crate) const fn member() -> Self {
        Self {
            levels_left: MAX_DEPTH - 1,
        }
    }

    fn descend<E: de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.descend()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.descend()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match object.entry(name) {
                Entry::Vacant(entry) => entry.insert(members.next_value_seed(inner)?),
                Entry::Occupied(_) => return Err(de::Error::custom("duplicate member")),
            };
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// V10
    #[test]
    fn duplicate_members_are_refused_at_any_depth_and_in_any_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"[{"x":[{"a":1,"a":2}]}]"#,
            r#"{"":1,"":2}"#,
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Malformed), "{text}");
        }
        assert!(parse(br#"{"a":{"a":1},"b":{"a":2}}"#).is_ok());
    }

    /// V10
    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(16)).is_ok());
        assert_eq!(parse(&nested(17)), Err(Malformed));
        assert_eq!(parse(&nested(1_000_000)), Err(Malformed));
        assert_eq!(parse(&vec![b'['; 1_000_000]), Err(Malformed));
        assert_eq!(parse(r#"{"a":"#.repeat(100_000).as_bytes()), Err(Malformed));
    }

    /// V10
    #[test]
    fn invalid_utf_8_lone_surrogates_and_trailing_data_are_refused() {
        for text in [
            &b"\"\xff\""[..],
            b"\"\xc0\xaf\"",
            b"\"\xed\xa0\x80\"",
            br#""\ud800""#,
            b"{} {}",
            b"{},",
            b"{}\0",
            b"\xef\xbb\xbf{}",
            b"",
            b" ",
            b"{\"a\":1,}",
            b"{'a':1}",
            b"nan",
            b"01",
            b"1e400",
            b"-1e400",
        ] {
            assert_eq!(parse(text), Err(Malformed), "{text:?}");
        }
        assert!(parse(b" {} \n").is_ok());
    }

    #[test]
    fn only_an_object_is_an_object() {
        for text in ["[]", "1", "null", "\"{}\""] {
            assert_eq!(parse_object(text.as_bytes()), Err(Malformed), "{text}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-c]{0,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }

        #[test]
        fn values_survive_a_round_trip(value in any_value()) {
            prop_assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
        }

        /// V10: an object that gets one of its own members once more, anywhere, is refused.
        #[test]
        fn repeating_any_member_is_noticed(names in prop::collection::hash_set("[a-z]{1,4}", 1..6), pick in any::<prop::sample::Index>()) {
            let mut members: Vec<String> = names.iter().map(|name| format!("\"{name}\":0")).collect();
            let once = format!("{{{}}}", members.join(","));
            prop_assert!(parse(once.as_bytes()).is_ok());
            let repeated = members[pick.index(members.len())].clone();
            members.insert(pick.index(members.len() + 1), repeated);
            let twice = format!("[{{{}}}]", members.join(","));
            prop_assert_eq!(parse(twice.as_bytes()), Err(Malformed));
        }
    }
}
