//! What stands on a command line, as types, and as the body of a request.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::input::Source;

/// An identifier, as the server prints it. It cannot lead to another path.
#[derive(Debug, Clone)]
pub(super) struct Id(String);

impl FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=128).contains(&text.len())
            && !text.starts_with('.')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        match fits {
            true => Ok(Self(text.to_owned())),
            false => Err("expected an identifier, as `list` prints it"),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A duration: seconds, or with a unit as `90s`, `15m`, `12h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(u64);

impl Seconds {
    pub(super) const ZERO: Self = Self(0);
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = match text.char_indices().last() {
            Some((end, 's')) => (&text[..end], 1),
            Some((end, 'm')) => (&text[..end], 60),
            Some((end, 'h')) => (&text[..end], 3_600),
            Some((end, 'd')) => (&text[..end], 86_400),
            _ => (text, 1),
        };
        // `parse` would take a sign.
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u64> = number.parse().ok().filter(|_| is_number);
        let seconds = number.and_then(|number| number.checked_mul(unit));
        seconds
            .map(Self)
            .ok_or("expected seconds, or a number with a unit: 90s, 15m, 12h, 30d")
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// A value, or `none` to take away the one that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OrNone<T> {
    None,
    Some(T),
}

impl<T: FromStr> FromStr for OrNone<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            text => text.parse().map(Self::Some),
        }
    }
}

impl<T: Serialize> Serialize for OrNone<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_unit(),
            Self::Some(value) => value.serialize(serializer),
        }
    }
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(matches!(self, Self::On))
    }
}

/// `active` or `inactive`.
#[derive(Debug, Clone, Copy, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Active,
    Inactive,
}

impl Status {
    /// The word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}

/// A JSON object, or `@FILE` for the one in a file.
#[derive(Debug, Clone)]
pub(super) struct JsonObject(Map<String, Value>);

impl FromStr for JsonObject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let in_file = text.strip_prefix('@').map(|path| Source::File(path.into()));
        let text = match in_file {
            Some(source) => source.read().map_err(|failure| failure.to_string())?,
            None => text.to_owned(),
        };
        serde_json::from_str(&text)
            .map(Self)
            .map_err(|error| format!("expected a JSON object: {error}"))
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Words, from an option that can be repeated; an empty text says that there are none.
pub(super) fn words(texts: Option<&Vec<String>>) -> Option<Vec<&str>> {
    let words = texts?.iter().map(|text| text.trim());
    Some(words.filter(|text| !text.is_empty()).collect())
}

/// The body of a request: what was said. What was not said is absent.
#[derive(Debug, Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// With a member, where it has a value.
    pub(super) fn with(mut self, name: &str, value: Option<impl Serialize>) -> Self {
        if let Some(value) = value {
            let value = serde_json::to_value(value).expect("what was said is plain data");
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    /// The body of a change.
    ///
    /// # Errors
    /// When nothing was said.
    pub(super) fn change(self) -> Result<Value, Failure> {
        match self.0.is_empty() {
            true => Err(Failure::Usage(
                "nothing to change: say what, as --help lists it".to_owned(),
            )),
            false => Ok(self.into()),
        }
    }
}

impl From<Body> for Value {
    fn from(body: Body) -> Self {
        Self::Object(body.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("30d", 2_592_000),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for text in [
            "",
            "d",
            "-1",
            "+1",
            "1.5h",
            "1w",
            "1 h",
            "h1",
            "1ä",
            "99999999999999999999",
            "18446744073709551615d",
        ] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_identifier_cannot_lead_to_another_path() {
        for text in [
            "", ".", "..", "../keys", "a/b", "a?b", "a#b", "a%2fb", "a b", "ä",
        ] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
        for text in [
            "me",
            "key-1",
            "mc_AbC-_",
            "3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0",
        ] {
            assert!(text.parse::<Id>().is_ok(), "{text}");
        }
    }

    #[test]
    fn none_is_null_and_nothing_is_absent() {
        let body = Body::default()
            .with("a", Some(OrNone::<Seconds>::None))
            .with("b", Some(OrNone::Some(Seconds(60))))
            .with("c", None::<Id>);
        assert_eq!(Value::from(body), serde_json::json!({ "a": null, "b": 60 }));
        assert!(Body::default().change().is_err());
    }

    #[test]
    fn an_empty_text_says_that_there_are_no_words() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(words(Some(&texts(&[""]))), Some(vec![]));
        assert_eq!(words(Some(&texts(&["a", " b"]))), Some(vec!["a", "b"]));
        assert_eq!(words(None), None);
    }
}
