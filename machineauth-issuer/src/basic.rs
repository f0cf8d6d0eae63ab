//! HTTP Basic credentials (RFC 7617), for administrators and for clients.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

/// A user name and a password, as sent.
pub struct BasicCredentials {
    /// Everything before the first colon.
    pub user: String,
    /// Everything behind it.
    pub password: Zeroizing<String>,
}

/// There is not exactly one `Authorization` header with one well-formed Basic credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBasic;

impl BasicCredentials {
    /// Reads the one `Authorization` header.
    ///
    /// # Errors
    /// [`NotBasic`] when there is none, more than one, another scheme, or no valid credential in it.
    pub fn read(headers: &HeaderMap) -> Result<Self, NotBasic> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(NotBasic);
        };
        Self::parse(value.as_bytes()).ok_or(NotBasic)
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, encoded) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim_ascii()).ok()?);
        let text = std::str::from_utf8(&decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Self {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        })
    }
}

/// Whether a header's value, be it credentials or a challenge, is of this scheme.
pub fn is_basic(value: &HeaderValue) -> bool {
    let scheme = value.as_bytes().get(..6);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicCredentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<(String, String), NotBasic> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        BasicCredentials::read(&headers).map(|basic| (basic.user, basic.password.to_string()))
    }

    #[test]
    fn user_and_password_part_at_the_first_colon() {
        let expected = Ok(("user".to_owned(), "pass:word".to_owned()));
        assert_eq!(read(&["Basic dXNlcjpwYXNzOndvcmQ="]), expected);
        assert_eq!(read(&["basic dXNlcjpwYXNzOndvcmQ="]), expected);
    }

    #[test]
    fn anything_else_is_no_credential() {
        for values in [
            [].as_slice(),
            &["Basic"],
            &["Basic "],
            &["Bearer dXNlcjpwYXNz"],
            &["Basic dXNlcg=="],
            &["Basic dXNlcjpwYXNzOndvcmQ"],
            &["Basic dXNlcjpwYXNz!"],
            &["Basic dXNlcjpwYXNzOndvcmQ=", "Basic dXNlcjpwYXNzOndvcmQ="],
        ] {
            assert_eq!(read(values), Err(NotBasic), "{values:?}");
        }
    }

    proptest::proptest! {
        /// V23, I22
        #[test]
        fn no_header_makes_the_parser_panic(value: Vec<u8>) {
            let _ = BasicCredentials::parse(&value);
        }
    }
}
