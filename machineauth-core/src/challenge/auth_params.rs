//! The text of a `WWW-Authenticate` header.

use std::fmt::Write as _;

use http::HeaderValue;

use crate::bearer::Scheme;

/// A scheme, and its auth-params as quoted strings (RFC 9110 §11.2, §5.6.4).
pub(super) struct AuthParams {
    text: String,
    separator: &'static str,
}

impl AuthParams {
    pub(super) fn of(scheme: Scheme) -> Self {
        Self {
            text: scheme.as_str().to_owned(),
            separator: " ",
        }
    }

    pub(super) fn add(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        let _ = write!(self.text, "{}{name}=\"", self.separator);
        self.text.extend(value.chars().map(quotable));
        self.text.push('"');
        self.separator = ", ";
    }

    pub(super) fn into_header(self) -> HeaderValue {
        HeaderValue::try_from(self.text).expect("quoted strings keep to visible ASCII and space")
    }
}

/// RFC 6750 §3 allows neither `"` nor `\` in these values, not even escaped, and nothing beyond ASCII.
fn quotable(character: char) -> char {
    match character {
        '"' | '\\' => '\'',
        ' '..='~' => character,
        _ => '?',
    }
}
