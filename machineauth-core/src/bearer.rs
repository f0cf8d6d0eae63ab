//! The `Authorization: Bearer` request header, read strictly (RFC 6750 §2).

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, Uri};

use crate::error::{Error, ErrorKind};
use crate::hex;

/// The parameter's name in a form-encoded query (RFC 6750 §2.3), and the usual one of a cookie.
const ACCESS_TOKEN: &[u8] = b"access_token";

/// The one access token of a request.
///
/// Only the header counts. A token in the query string (RFC 6750 §2.3) ends up in logs and histories, one in a cookie
/// invites cross-site request forgery, and one in two places invites a proxy and a server to see different callers:
/// all are refused, whether or not there is a header too.
///
/// # Errors
/// * [`ErrorKind::MissingToken`]: no token anywhere, or credentials of another scheme
/// * [`ErrorKind::MultipleTokens`]: two `Authorization` headers, or a token in a second place as well
/// * [`ErrorKind::UnsupportedTokenTransport`]: a token in the query string or a cookie only
/// * [`ErrorKind::MalformedRequest`]: `Bearer` with anything but one token of RFC 6750 §2.1's alphabet
pub fn bearer_token<'a>(headers: &'a HeaderMap, uri: &Uri) -> Result<&'a str, Error> {
    let credentials = credentials(headers, uri)?;
    match credentials.scheme {
        Scheme::Bearer => credentials.token(),
        Scheme::Dpop => Err(ErrorKind::MissingToken.into()),
    }
}

/// The scheme in which a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer` (RFC 6750 §2.1)
    Bearer,
    /// `DPoP` (RFC 9449 §7.1)
    Dpop,
}

impl Scheme {
    /// Its name (RFC 9110 §11.1).
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// What stands for a token, and the scheme in which it was sent.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// Whatever was sent. Whoever knows the token by its bytes need not look at what they are.
    pub(crate) sent: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// The token.
    ///
    /// # Errors
    /// [`ErrorKind::MalformedRequest`] for anything but one token of RFC 6750 §2.1's alphabet.
    pub fn token(&self) -> Result<&'a str, Error> {
        let text = std::str::from_utf8(self.sent).ok();
        let token = text.filter(|text| is_b64token(text.as_bytes()));
        token.ok_or_else(|| ErrorKind::MalformedRequest.into())
    }
}

/// What the one access token of a request is to be, in the scheme `Bearer` or `DPoP`. Where it may stand is
/// [`bearer_token`]'s matter as well.
///
/// # Errors
/// As [`bearer_token`], but for the alphabet, which [`Credentials::token`] looks at.
pub fn credentials<'a>(headers: &'a HeaderMap, uri: &Uri) -> Result<Credentials<'a>, Error> {
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let authorization = credentials.next();
    if credentials.next().is_some() {
        return Err(ErrorKind::MultipleTokens.into());
    }
    let elsewhere = query_has_token(uri) || cookie_has_token(headers);
    match (authorization, elsewhere) {
        (Some(_), true) => Err(ErrorKind::MultipleTokens.into()),
        (None, true) => Err(ErrorKind::UnsupportedTokenTransport.into()),
        (None, false) => Err(ErrorKind::MissingToken.into()),
        (Some(authorization), false) => credentials_in(authorization),
    }
}

/// RFC 9110 §11.4: the scheme's name ignores case.
fn credentials_in(authorization: &HeaderValue) -> Result<Credentials<'_>, Error> {
    let value = authorization.as_bytes();
    let scheme_length = value
        .iter()
        .position(|&byte| byte == b' ')
        .unwrap_or(value.len());
    let (scheme, token) = value.split_at(scheme_length);
    let scheme = match scheme {
        bearer if bearer.eq_ignore_ascii_case(b"bearer") => Scheme::Bearer,
        dpop if dpop.eq_ignore_ascii_case(b"dpop") => Scheme::Dpop,
        _ => return Err(ErrorKind::MissingToken.into()),
    };
    let spaces = token.iter().take_while(|&&byte| byte == b' ').count();
    let sent = &token[spaces..];
    Ok(Credentials { scheme, sent })
}

/// RFC 6750 §2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|&&byte| byte == b'=').count();
    let body = &token[..token.len() - padding];
    // Every byte is looked at, even after a bad one: without an early exit the compiler checks many at once.
    !body.is_empty()
        && body
            .iter()
            .fold(true, |good, &byte| good & is_b64token_byte(byte))
}

fn is_b64token_byte(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-` `.` `/` and the digits stand in one row.
    let digit_or_neighbour = byte.wrapping_sub(b'-') < 13;
    letter | digit_or_neighbour | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

fn query_has_token(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| {
        query.split('&').any(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            is_access_token(percent_decoded(name.as_bytes()))
        })
    })
}

fn cookie_has_token(headers: &HeaderMap) -> bool {
    headers.get_all(COOKIE).iter().any(|cookies| {
        cookies.as_bytes().split(|&byte| byte == b';').any(|pair| {
            let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
            name.trim_ascii() == ACCESS_TOKEN
        })
    })
}

fn is_access_token(name: impl Iterator<Item = u8>) -> bool {
    name.eq(ACCESS_TOKEN.iter().copied())
}

/// `%61ccess_token` is the same parameter to every form parser, so it is to us.
fn percent_decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [b'%', high, low, after @ ..] => match (hex::digit(*high), hex::digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', &rest[1..]),
            },
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(uri: &str, headers: &[(&'static str, &[u8])]) -> Result<String, ErrorKind> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        bearer_token(&map, &uri.parse().unwrap())
            .map(str::to_owned)
            .map_err(|error| error.kind())
    }

    #[test]
    fn the_scheme_ignores_case_and_the_token_does_not() {
        for header in [
            "Bearer aB.c-_~+/==",
            "bearer aB.c-_~+/==",
            "BEARER   aB.c-_~+/==",
        ] {
            let token = read("/", &[("authorization", header.as_bytes())]);
            assert_eq!(token.as_deref(), Ok("aB.c-_~+/=="), "{header}");
        }
    }

    #[test]
    fn no_credentials_and_credentials_of_another_scheme_are_a_missing_token() {
        assert_eq!(read("/", &[]), Err(ErrorKind::MissingToken));
        for header in [
            "Basic YTpi",
            "DPoP abc",
            "",
            "Bearerabc",
            "Bearer\tabc",
            "Bear",
        ] {
            let answer = read("/", &[("authorization", header.as_bytes())]);
            assert_eq!(answer, Err(ErrorKind::MissingToken), "{header}");
        }
    }

    /// V23
    #[test]
    fn bearer_with_anything_but_one_token_is_malformed() {
        let headers: [&[u8]; 9] = [
            b"Bearer",
            b"Bearer ",
            b"Bearer =",
            b"Bearer a b",
            b"Bearer \ta",
            b"Bearer a=b",
            b"Bearer a,b",
            b"Bearer \"a\"",
            b"Bearer \xff\xfe",
        ];
        for header in headers {
            let answer = read("/", &[("authorization", header)]);
            assert_eq!(answer, Err(ErrorKind::MalformedRequest), "{header:?}");
        }
    }

    /// V18
    #[test]
    fn two_headers_are_refused_even_when_they_agree_or_one_is_of_another_scheme() {
        for second in ["Bearer a", "Bearer b", "Basic YTpi", ""] {
            let headers: [(_, &[u8]); 2] = [
                ("authorization", b"Bearer a"),
                ("authorization", second.as_bytes()),
            ];
            assert_eq!(read("/", &headers), Err(ErrorKind::MultipleTokens));
        }
    }

    /// V18
    #[test]
    fn a_token_in_the_query_or_a_cookie_is_refused_alone_and_beside_a_header() {
        let places: [(&str, &[u8]); 8] = [
            ("/?access_token=a", b""),
            ("/?x=1&access_token=a", b""),
            ("/?access_token", b""),
            ("/?%61ccess%5Ftoken=a", b""),
            ("https://api.example/p?access_token=a", b""),
            ("/", b"access_token=a"),
            ("/", b"x=1; access_token=a"),
            ("/", b"x=1;\taccess_token =a"),
        ];
        for (uri, cookie) in places {
            assert_eq!(
                read(uri, &[("cookie", cookie)]),
                Err(ErrorKind::UnsupportedTokenTransport),
                "{uri} {cookie:?}"
            );
            assert_eq!(
                read(uri, &[("cookie", cookie), ("authorization", b"Bearer a")]),
                Err(ErrorKind::MultipleTokens),
                "{uri} {cookie:?}"
            );
        }
    }

    #[test]
    fn what_only_looks_like_a_token_elsewhere_is_let_through() {
        let uri = "/access_token?x=access_token&my_access_token=a&ACCESS_TOKEN=a&access%token=1&%";
        let headers: [(_, &[u8]); 2] = [
            ("cookie", b"my_access_token=a; x=access_token; \xff"),
            ("authorization", b"Bearer a"),
        ];
        assert_eq!(read(uri, &headers).as_deref(), Ok("a"));
    }

    /// Often one that may stand in a token, so that whole tokens come about.
    fn any_header_byte() -> impl Strategy<Value = u8> {
        let likely = b"azAZ09-._~+/= ,:@[`{".to_vec();
        prop_oneof![4 => prop::sample::select(likely), 1 => 0x20..0x7f_u8, 1 => 0x80..=0xff_u8]
    }

    proptest! {
        /// V23
        #[test]
        fn any_bytes_are_read_as_the_grammar_says(value in prop::collection::vec(any_header_byte(), 0..12)) {
            let mut headers = HeaderMap::new();
            let header = [b"Bearer ", &*value].concat();
            headers.insert(AUTHORIZATION, HeaderValue::from_bytes(&header).unwrap());
            let token = bearer_token(&headers, &Uri::from_static("/"));

            let start = value.iter().position(|&byte| byte != b' ').unwrap_or(value.len());
            let value = &value[start..];
            let body = value.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
            let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
            let good = body > 0 && value[..body].iter().all(allowed);
            prop_assert_eq!(token.is_ok(), good);
            if let Ok(token) = token {
                prop_assert_eq!(token.as_bytes(), value);
            }
        }

        /// V23
        #[test]
        fn any_header_cookie_and_query_are_survived(
            header in "\\PC*", cookie in prop::collection::vec(any::<u8>(), 0..40), query in "[a-z%=&0-9;+]*",
        ) {
            let mut headers = HeaderMap::new();
            if let Ok(header) = HeaderValue::from_str(&header) {
                headers.insert(AUTHORIZATION, header);
            }
            if let Ok(cookie) = HeaderValue::from_bytes(&cookie) {
                headers.insert(COOKIE, cookie);
            }
            let _ = bearer_token(&headers, &format!("/?{query}").parse().unwrap());
        }
    }
}
