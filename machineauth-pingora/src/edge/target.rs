//! What a request is for, as the upstream will see it, or not at all (V19).

use std::io::BufRead as _;
use std::net::Ipv6Addr;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, HeaderName};
use machineauth_core::policy::check_path;
use pingora_http::RequestHeader;

use super::answers::Problem;
use crate::path::path_of;

const LENGTH: &[u8] = b"content-length";
const ENCODING: &[u8] = b"transfer-encoding";

const TWICE: &str = "the length of the body is said more than once";
const UNDERSCORE: &str = "there is an underscore in a header that says how long the body is";

/// Host and path of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'r> {
    /// Without a port.
    pub(crate) host: &'r str,
    /// Without a query.
    pub(crate) path: &'r str,
}

impl<'r> Target<'r> {
    /// # Errors
    /// 400 when two servers could take it for different things.
    pub(crate) fn of(request: &'r RequestHeader) -> Result<Self, Problem> {
        let path = path_of(request).map_err(Problem::AmbiguousPath)?;
        check_path(path).map_err(Problem::AmbiguousPath)?;
        Ok(Self {
            host: host_of(request)?,
            path,
        })
    }
}

/// Pingora has compared `Host` with the target's authority where both are there. HTTP/1.0 knows requests without one; servers
/// of today answer those by whichever host they come upon first.
fn host_of(request: &RequestHeader) -> Result<&str, Problem> {
    let authority = match (request.uri.authority(), request.headers.get(HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host
            .to_str()
            .map_err(|_| Problem::bad_request("the Host header is no text"))?,
        (None, None) => return Err(Problem::bad_request("the Host header is missing")),
    };
    host_in(authority).ok_or(Problem::bad_request("the Host header names no host"))
}

/// The host of an authority (RFC 9110 §7.2), which some servers would spell in other ways: those are refused.
fn host_in(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(address) => {
            let (address, port) = address.split_once(']')?;
            let parsed: Ipv6Addr = address.parse().ok()?;
            // Another way to write the same address (RFC 5952) would come to another route.
            let usual = parsed.to_string().eq_ignore_ascii_case(address);
            usual.then_some((&authority[..address.len() + 2], port))?
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let named = !host.is_empty() && host.bytes().all(good);
            (named && !host.ends_with('.')).then_some((host, port))?
        }
    };
    let good_port = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok() && !digits.starts_with('+'),
        None => port.is_empty(),
    };
    good_port.then_some(host)
}

/// Checks the fields of an HTTP/2 head for what becomes the length of the body at a server of HTTP/1.1 behind the edge.
///
/// # Errors
/// 400.
pub(crate) fn check_fields(headers: &HeaderMap) -> Result<(), Problem> {
    let frames = |name: &HeaderName| {
        let name = name.as_str().as_bytes();
        name.contains(&b'_') && (folds_to(name, LENGTH) || folds_to(name, ENCODING))
    };
    if headers.keys().any(frames) {
        return Err(Problem::bad_request(UNDERSCORE));
    }
    match headers.get_all(CONTENT_LENGTH).iter().count() {
        0 | 1 => Ok(()),
        _ => Err(Problem::bad_request(TWICE)),
    }
}

/// Checks the bytes of an HTTP/1 head for what servers read differently, so that no request hides in another one
/// (RFC 9112 §11.2). Pingora has parsed it already, and is more generous.
///
/// # Errors
/// 400; the connection must be closed.
pub(crate) fn check_head(raw: &[u8]) -> Result<(), Problem> {
    let wrong = |what| Err(Problem::Smuggling(what));
    let (mut lengths, mut encodings) = (0, 0);
    for (number, line) in lines(raw).enumerate() {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return wrong("a line of the header does not end with CR LF");
        };
        if line.contains(&b'\r') {
            return wrong("there is a bare CR in the header");
        }
        if matches!(line, [b' ' | b'\t', ..]) {
            return wrong("a line of the header is folded");
        }
        if number == 0 {
            continue;
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(0));
        let is_length = folds_to(name, LENGTH);
        if !is_length && !folds_to(name, ENCODING) {
            continue;
        }
        if name.contains(&b'_') {
            return wrong(UNDERSCORE);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if is_length {
            lengths += 1;
            if !is_number(value) {
                return wrong("the length of the body is no number");
            }
        } else {
            encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return wrong("the body is encoded in another way than chunked");
            }
        }
    }
    match (lengths, encodings) {
        (0 | 1, 0) | (0, 1) => Ok(()),
        _ => wrong(TWICE),
    }
}

/// Each with its line feed. Tokens make long lines: `skip_until` looks at many bytes at once.
fn lines(mut raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let rest = raw;
        let length = raw.skip_until(b'\n').ok().filter(|length| *length > 0)?;
        Some(&rest[..length])
    })
}

/// `1*DIGIT` (RFC 9110 §8.6). Pingora would take a list of the same number for that number, and pass the list on.
fn is_number(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_digit)
}

/// Whether `name` is `ours`, or becomes it where underscores are hyphens.
fn folds_to(name: &[u8], ours: &[u8]) -> bool {
    name.len() == ours.len()
        && name.iter().zip(ours).all(|(&byte, &our)| match byte {
            b'_' => our == b'-',
            _ => byte.to_ascii_lowercase() == our,
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// V19
    #[test]
    fn a_head_that_two_servers_read_differently_is_refused() {
        let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        for good in [
            "",
            "Content-Length: 5\r\n",
            "Content-Length:\t05 \r\n",
            "Transfer-Encoding: Chunked \r\n",
            "X:\r\n",
        ] {
            assert!(check_head(head(good).as_bytes()).is_ok(), "{good}");
        }
        for wrong in [
            "X: 1\n",
            "X: 1\r2\r\n",
            "X: 1\r\n folded\r\n",
            "X: 1\r\n\tfolded\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent_Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 5 ,5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: \r\n",
            "Content_Length: 5\r\n",
            "Transfer_Encoding: chunked\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "transfer_encoding: chunked\r\ncontent-length: 3\r\n",
        ] {
            assert!(check_head(head(wrong).as_bytes()).is_err(), "{wrong:?}");
        }
    }

    /// V19
    #[test]
    fn no_field_of_http2_becomes_a_length_behind_the_edge() {
        let check = |names: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(*name, "5".parse().unwrap());
            }
            check_fields(&headers).is_ok()
        };
        assert!(check(&["content-length", "x_content_length", "x"]));
        for wrong in ["content_length", "transfer_encoding"] {
            assert!(!check(&[wrong]), "{wrong}");
        }
        assert!(!check(&["content-length", "content-length"]));
    }

    /// V19
    #[test]
    fn a_host_has_one_spelling_but_for_case_and_port() {
        for (authority, host) in [
            ("a.example", Some("a.example")),
            ("A.example:8080", Some("A.example")),
            ("127.0.0.1:1", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("[2001:DB8::1]", Some("[2001:DB8::1]")),
            ("[0:0::1]", None),
            ("[::01]", None),
            ("a.example.", None),
            ("a.example:", None),
            ("a.example:+1", None),
            ("a.example:99999", None),
            ("a b", None),
            ("a/b", None),
            ("a@b", None),
            ("[a]", None),
            ("[::1]x", None),
            ("", None),
        ] {
            assert_eq!(host_in(authority), host, "{authority}");
        }
    }

    proptest! {
        /// V23
        #[test]
        fn any_head_is_survived(raw in prop::collection::vec(any::<u8>(), 0..200), host in "\\PC*") {
            let _ = check_head(&raw);
            let _ = host_in(&host);
        }
    }
}
