//! What a document shows, held against what a server answers.

use std::fmt;

use serde_json::Value;
use uuid::Uuid;

/// How documents write an identifier that they leave open.
const SOME_UUID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// Checks that `answer` has every member that the documented `example` has, with the same kind of value: identifiers and
/// dates in the documented form, lists whose every element is like the documented one. What the example has as null may
/// be absent. Members that the example does not have are none of its business.
///
/// # Panics
/// When a member is missing or of another kind.
pub fn assert_shape(answer: &Value, example: &Value) {
    assert_like(answer, example, &Path::Root, answer);
}

/// As [`assert_shape`], and there are no members beside the documented ones.
///
/// # Panics
/// When a member is missing, of another kind, or not documented.
pub fn assert_exact_shape(answer: &Value, example: &Value) {
    assert_shape(answer, example);
    let (answered, documented) = (members(answer), members(example));
    let strange: Vec<_> = answered
        .iter()
        .filter(|name| !documented.contains(name))
        .collect();
    assert!(strange.is_empty(), "{strange:?} in {answer}");
}

/// Whether `text` is a date as the documents write them: RFC 3339, in UTC.
pub fn is_date(text: &str) -> bool {
    let form = "0000-00-00T00:00:00";
    let (body, rest) = text.split_at_checked(form.len()).unwrap_or((text, ""));
    let digits_fit = body.len() == form.len()
        && body
            .bytes()
            .zip(form.bytes())
            .all(|(given, form)| match form {
                b'0' => given.is_ascii_digit(),
                mark => given == mark,
            });
    let fraction = rest.strip_suffix('Z');
    let fraction_fits = fraction.is_some_and(|fraction| {
        fraction.is_empty()
            || fraction.strip_prefix('.').is_some_and(|digits| {
                !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
            })
    });
    digits_fit && fraction_fits
}

enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the answer"),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

fn assert_like(answer: &Value, example: &Value, path: &Path<'_>, whole: &Value) {
    let fits = match (example, answer) {
        (Value::Object(documented), Value::Object(answered)) => {
            for (name, example) in documented {
                let path = Path::Member(path, name);
                match answered.get(name) {
                    Some(Value::Null) | None => {
                        assert!(example.is_null(), "{path} is missing in {whole}");
                    }
                    Some(answer) => assert_like(answer, example, &path, whole),
                }
            }
            true
        }
        (Value::Array(documented), Value::Array(answered)) => {
            if let Some(example) = documented.first() {
                assert!(!answered.is_empty(), "{path} is empty in {whole}");
                for (at, answer) in answered.iter().enumerate() {
                    assert_like(answer, example, &Path::Element(path, at), whole);
                }
            }
            true
        }
        (Value::String(example), Value::String(answer)) if example == SOME_UUID => {
            Uuid::parse_str(answer).is_ok()
        }
        (Value::String(example), Value::String(answer)) => !is_date(example) || is_date(answer),
        (Value::Number(_), Value::Number(answer)) => answer.is_u64(),
        (Value::Bool(_), Value::Bool(_)) | (Value::Null, _) => true,
        _ => false,
    };
    assert!(
        fits,
        "{path} is {answer}, and documented as {example}: {whole}"
    );
}

fn members(value: &Value) -> Vec<&String> {
    value
        .as_object()
        .map(|object| object.keys().collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_are_rfc_3339_in_utc() {
        for date in ["2026-03-02T12:00:00Z", "2026-03-02T12:00:00.123Z"] {
            assert!(is_date(date), "{date}");
        }
        for other in [
            "",
            "2026-03-02",
            "2026-03-02T12:00:00",
            "2026-03-02T12:00:00+01:00",
            "2026-03-02 12:00:00Z",
            "2026-03-02T12:00:00.Z",
            "ä026-03-02T12:00:00Z",
        ] {
            assert!(!is_date(other), "{other}");
        }
    }

    #[test]
    fn a_member_more_is_like_the_example_unless_it_has_to_be_exact() {
        assert_shape(
            &json!({ "a": 1, "b": [{ "c": "x" }] }),
            &json!({ "b": [{ "c": "y" }], "d": null }),
        );
        assert_exact_shape(&json!({ "a": 1 }), &json!({ "a": 2, "b": null }));
    }

    #[test]
    #[should_panic(expected = "the answer.b[1].c is 7")]
    fn another_kind_is_named_with_its_place() {
        assert_shape(
            &json!({ "b": [{ "c": "x" }, { "c": 7 }] }),
            &json!({ "b": [{ "c": "y" }] }),
        );
    }

    #[test]
    #[should_panic(expected = "[\"secret\"] in ")]
    fn what_is_not_documented_is_named() {
        assert_exact_shape(&json!({ "a": 1, "secret": 1 }), &json!({ "a": 1 }));
    }
}
