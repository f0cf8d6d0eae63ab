//! Refusals in the caller's protocol: HTTP, gRPC or gRPC-Web.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// What a request gets that is refused, whoever refuses it.
///
/// ```
/// use http::{HeaderValue, StatusCode};
/// use machineauth_core::{Protocol, Refusal};
///
/// let refusal = Refusal {
///     status: StatusCode::NOT_FOUND,
///     code: "not_found",
///     message: "nothing is served here",
/// };
/// assert_eq!(refusal.to_response(&Protocol::Http).status(), 404);
///
/// let grpc = Protocol::Grpc(HeaderValue::from_static("application/grpc"));
/// let answer = refusal.to_response(&grpc);
/// assert_eq!(answer.status(), 200);
/// assert_eq!(answer.headers()["grpc-status"], "12");
/// assert_eq!(answer.headers()["grpc-message"], "nothing is served here");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The status of the answer. To gRPC, the status code that says the same.
    pub status: StatusCode,
    /// The value of the `error` member of the body.
    pub code: &'a str,
    /// What is wrong, in a sentence.
    pub message: &'a str,
}

impl Refusal<'_> {
    /// The JSON body: `error`, `error_description`, and the same text again as `message`, which some clients read.
    pub fn body(&self) -> Bytes {
        let body = serde_json::json!({
            "error": self.code,
            "error_description": self.message,
            "message": self.message,
        });
        body.to_string().into()
    }

    /// The whole answer, in the protocol of the request. No cache keeps it for others: in gRPC its status is 200, and a `GET`
    /// can say that it speaks gRPC.
    pub fn to_response(&self, protocol: &Protocol) -> Response<Bytes> {
        let mut response = match protocol {
            Protocol::Http => self.http_response(),
            Protocol::Grpc(content_type) => self.grpc_response(content_type),
        };
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        response
    }

    fn http_response(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// The form that the gRPC specification calls `Trailers-Only`: one block of headers and no body.
    fn grpc_response(&self, content_type: &HeaderValue) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type.clone());
        headers.insert("grpc-status", grpc_status(self.status).into());
        headers.insert("grpc-message", grpc_message(self.message));
        response
    }
}

/// What a caller speaks, by the content type of its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Statuses and a JSON body.
    #[default]
    Http,
    /// gRPC or gRPC-Web: status 200, and what happened in headers that stand for trailers. The answer has the content
    /// type of the request.
    Grpc(HeaderValue),
}

impl Protocol {
    /// The protocol of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_TYPE) {
            Some(content_type) if is_grpc(content_type.as_bytes()) => {
                Self::Grpc(content_type.clone())
            }
            _ => Self::Http,
        }
    }

    /// Whether answers end in trailers. gRPC's do; those of gRPC-Web are a part of the body, which only the service that
    /// writes it can add.
    pub fn has_trailers(&self) -> bool {
        match self {
            Self::Http => false,
            Self::Grpc(content_type) => content_type.as_bytes().get(GRPC.len()) != Some(&b'-'),
        }
    }
}

const GRPC: &[u8] = b"application/grpc";

/// `application/grpc`, `application/grpc+proto`, `application/grpc-web-text; …`
fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .get(..GRPC.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
        && matches!(
            content_type.get(GRPC.len()),
            None | Some(b'+' | b'-' | b';' | b' ')
        )
}

/// The status code of gRPC that says the same (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
fn grpc_status(status: StatusCode) -> u16 {
    const INVALID_ARGUMENT: u16 = 3;
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match status {
        StatusCode::BAD_REQUEST => INVALID_ARGUMENT,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => UNIMPLEMENTED,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => DEADLINE_EXCEEDED,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// The value of `grpc-message`: bytes outside of visible ASCII and space, and `%`, are escaped.
fn grpc_message(text: &str) -> HeaderValue {
    let mut message = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => message.push(char::from(byte)),
            _ => message.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::try_from(message).expect("it is visible ASCII and space")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(content_type: &'static str) -> Protocol {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Protocol::of(&headers)
    }

    #[test]
    fn only_grpc_itself_has_trailers() {
        assert!(protocol("application/grpc").has_trailers());
        assert!(protocol("application/grpc+proto").has_trailers());
        assert!(!protocol("application/grpc-web+proto").has_trailers());
        assert!(!protocol("application/json").has_trailers());
    }

    #[test]
    fn grpc_is_known_by_its_content_type_and_nothing_else_is_taken_for_it() {
        let grpc = |content_type| protocol(content_type) != Protocol::Http;
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; charset=utf-8",
            "application/grpc-web",
            "application/grpc-web-text+proto",
            "Application/GRPC+proto",
        ] {
            assert!(grpc(content_type), "{content_type}");
        }
        for content_type in [
            "application/grpcx",
            "application/json",
            "",
            "application/grp",
            "text/application/grpc",
        ] {
            assert!(!grpc(content_type), "{content_type}");
        }
        assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Http);
    }

    #[test]
    fn every_status_has_the_code_of_grpc_that_says_the_same() {
        for (status, code) in [
            (400, 3),
            (401, 16),
            (403, 7),
            (404, 12),
            (405, 12),
            (408, 4),
            (413, 8),
            (429, 8),
            (500, 13),
            (502, 14),
            (503, 14),
            (504, 4),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(grpc_status(status), code, "{status}");
        }
    }

    /// A cache that is shared keeps an answer with status 200 that says nothing else, and gives it to others.
    #[test]
    fn no_cache_keeps_a_refusal_whatever_protocol_it_is_in() {
        let refusal = Refusal {
            status: StatusCode::UNAUTHORIZED,
            code: "unauthorized",
            message: "an access token is required",
        };
        for content_type in [
            "application/json",
            "application/grpc",
            "application/grpc-web",
        ] {
            let answer = refusal.to_response(&protocol(content_type));
            assert_eq!(
                answer.headers()[CACHE_CONTROL],
                "no-store",
                "{content_type}"
            );
        }
    }

    #[test]
    fn a_message_is_escaped_as_grpc_has_it() {
        assert_eq!(grpc_message("100% `ok`\n"), "100%25 `ok`%0A");
        assert_eq!(grpc_message("ä"), "%C3%A4");
    }
}
