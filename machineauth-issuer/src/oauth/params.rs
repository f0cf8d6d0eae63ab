//! The parameters of an OAuth request: a form (RFC 6749 appendix B) or, as documented, a JSON object of strings.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::Utf8Error;

use axum::extract::{FromRequest, Request};
use percent_encoding::percent_decode_str;
use serde::de::{Deserializer, MapAccess, Visitor};
use utoipa::ToSchema;

use crate::body::{self, MediaType};
use crate::error::OAuthError;
use crate::openapi::{BadRequest, DescribeRequest, Description, TooLarge};

const MAX_BODY: usize = 64 * 1024;
const MAX_PARAMETERS: usize = 32;

/// Parameters by name, none of them twice (RFC 6749 §3.2).
pub struct Params(Vec<(String, String)>);

/// The parameters that `T` describes.
#[derive(Debug)]
pub struct ParamsOf<T>(pub Params, pub PhantomData<T>);

impl Params {
    /// No parameters, for a request that has no body.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Takes the parameter out. One without a value counts as left out (RFC 6749 §3.2).
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(present, _)| present == name)?;
        Some(self.0.swap_remove(at).1).filter(|value| !value.is_empty())
    }

    /// Takes a parameter that must be there.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] that names it.
    pub fn require(&mut self, name: &'static str) -> Result<String, OAuthError> {
        self.take(name).ok_or_else(|| {
            OAuthError::InvalidRequest(format!("the parameter {name} is missing").into())
        })
    }

    fn parse(media_type: MediaType, body: &[u8]) -> Result<Self, OAuthError> {
        let params = match media_type {
            MediaType::Form => parse_form(body)?,
            MediaType::Json => parse_json(body)?,
            MediaType::Other => {
                return Err(invalid(
                    "send the parameters as application/x-www-form-urlencoded or application/json, and say so in \
                     Content-Type",
                ));
            }
        };
        for (at, (name, _)) in params.iter().enumerate() {
            if params[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(invalid("a parameter is there twice"));
            }
        }
        Ok(Self(params))
    }
}

impl fmt::Debug for Params {
    /// Names only: values are secrets and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl<S: Sync> FromRequest<S> for Params {
    type Rejection = OAuthError;

    async fn from_request(request: Request, _: &S) -> Result<Self, OAuthError> {
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(invalid(
                "parameters belong in the body, never in the URL, which ends up in logs",
            ));
        }
        let media_type = MediaType::of(request.headers());
        Self::parse(media_type, &body::read(request, MAX_BODY).await?)
    }
}

impl<S: Sync, T> FromRequest<S> for ParamsOf<T> {
    type Rejection = OAuthError;

    async fn from_request(request: Request, state: &S) -> Result<Self, OAuthError> {
        let params = Params::from_request(request, state).await?;
        Ok(Self(params, PhantomData))
    }
}

impl<T: ToSchema> DescribeRequest for ParamsOf<T> {
    fn describe(operation: &mut Description<'_>) {
        operation
            .form_body::<T>()
            .refuses::<BadRequest>()
            .refuses::<TooLarge>();
    }
}

fn invalid(what: &'static str) -> OAuthError {
    OAuthError::InvalidRequest(what.into())
}

fn parse_form(body: &[u8]) -> Result<Vec<(String, String)>, OAuthError> {
    let pairs = form_pairs(body).map_err(|_| invalid("a parameter is not UTF-8"))?;
    if pairs.len() > MAX_PARAMETERS {
        return Err(invalid("more than 32 parameters"));
    }
    Ok(pairs)
}

/// The names and values of a form, up to one more than there may be.
fn form_pairs(body: &[u8]) -> Result<Vec<(String, String)>, Utf8Error> {
    let pairs = str::from_utf8(body)?.split('&');
    let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    });
    pairs.take(MAX_PARAMETERS + 1).collect()
}

/// Hardly a name or a value is escaped, and tokens are long: what needs no decoding is only copied. The library for forms
/// looks at each byte several times, which took a fifth of an introspection.
fn decode(text: &str) -> Result<String, Utf8Error> {
    if !text.contains('%') && !text.contains('+') {
        return Ok(text.to_owned());
    }
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(Cow::into_owned)
}

fn parse_json(body: &[u8]) -> Result<Vec<(String, String)>, OAuthError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let pairs = deserializer
        .deserialize_map(Members)
        .and_then(|pairs| deserializer.end().map(|()| pairs))
        .map_err(|_| invalid("expected a JSON object with at most 32 members, each a string"))?;
    Ok(pairs)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
            if pairs.len() == MAX_PARAMETERS {
                return Err(serde::de::Error::custom("too many members"));
            }
            // A null member is one without a value.
            pairs.push((name, value.unwrap_or_default()));
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prop_assert_eq;

    use super::*;

    use MediaType::{Form, Json, Other};

    #[test]
    fn a_form_and_an_object_say_the_same() {
        for (media_type, body) in [
            (Form, "grant_type=client_credentials&scope=read+write"),
            (Form, "grant_type=client_credentials&scope=read%20write"),
            (
                Json,
                r#"{"grant_type": "client_credentials", "scope": "read write"}"#,
            ),
            (
                Json,
                r#"{"scope":"read write","grant_type":"client_credentials","x":null}"#,
            ),
        ] {
            let mut params = Params::parse(media_type, body.as_bytes()).unwrap();
            assert_eq!(
                params.take("grant_type").as_deref(),
                Some("client_credentials")
            );
            assert_eq!(params.take("scope").as_deref(), Some("read write"));
            assert_eq!(params.take("client_id"), None);
        }
    }

    /// I2
    #[test]
    fn a_parameter_twice_is_refused() {
        for (media_type, body) in [
            (Form, "a=1&a=2"),
            (Form, "a=1&%61=1"),
            (Json, r#"{"a":"1","a":"1"}"#),
        ] {
            assert!(
                Params::parse(media_type, body.as_bytes()).is_err(),
                "{body}"
            );
        }
    }

    /// I22
    #[test]
    fn what_is_not_parameters_is_refused() {
        let many: Vec<_> = (0..33).map(|n| format!("p{n}=1")).collect();
        let many_json = format!(
            "{{{}}}",
            (0..33)
                .map(|n| format!("\"p{n}\":\"1\""))
                .collect::<Vec<_>>()
                .join(",")
        );
        for (media_type, body) in [
            (Other, b"grant_type=x".as_slice()),
            (Json, b""),
            (Json, b"[]"),
            (Json, b"\"grant_type\""),
            (Json, br#"{"grant_type":1}"#),
            (Json, br#"{"scope":["read"]}"#),
            (Json, br#"{"grant_type":"x"} {}"#),
            (Json, b"{\"grant_type\":\"\xff\"}"),
            (Json, many_json.as_bytes()),
            (Form, b"grant_type=%ff"),
            (Form, b"grant_type=\xff"),
            (Form, many.join("&").as_bytes()),
        ] {
            assert!(
                Params::parse(media_type, body).is_err(),
                "{media_type:?} {body:?}"
            );
        }
    }

    #[test]
    fn debug_output_has_names_but_no_values() {
        let params = Params::parse(Form, b"client_secret=hunter2").unwrap();
        assert_eq!(format!("{params:?}"), r#"["client_secret"]"#);
    }

    proptest::proptest! {
        /// I22
        #[test]
        fn no_body_makes_the_parser_panic(body: Vec<u8>, json: bool) {
            let _ = Params::parse(if json { Json } else { Form }, &body);
        }

        #[test]
        fn every_parameter_survives_the_form(name in "[a-z_]{1,20}", value in "\\PC{1,40}") {
            let body = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            let read = Params::parse(Form, body.as_bytes()).map(|mut params| params.take(&name));
            prop_assert_eq!(read.unwrap(), Some(value));
        }

        /// Differs from what the library for forms reads only in that what is no UTF-8 is refused.
        #[test]
        fn a_form_is_read_as_others_read_it(body in "([a-c&=+%\u{e9}]|%[2-7][0-9a-f]|%c3%a9|%ff){0,20}") {
            let others: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            let is_text = others.iter().all(|(name, value)| ![name, value].iter().any(|text| text.contains('\u{fffd}')));
            prop_assert_eq!(parse_form(body.as_bytes()).ok(), is_text.then_some(others));
        }
    }
}
