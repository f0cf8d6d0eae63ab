//! Refusals in the caller's protocol: HTTP, gRPC or gRPC-Web.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

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

/// The status code of gRPC that says the same.
pub(super) fn grpc_status(status: StatusCode) -> u8 {
    const INVALID_ARGUMENT: u8 = 3;
    const PERMISSION_DENIED: u8 = 7;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    const UNAUTHENTICATED: u8 = 16;
    match status {
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::BAD_REQUEST => INVALID_ARGUMENT,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// The value of `grpc-message`: bytes outside of visible ASCII and space, and `%`, are escaped.
pub(super) fn grpc_message(text: &str) -> HeaderValue {
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
    fn a_message_is_escaped_as_grpc_has_it() {
        assert_eq!(grpc_message("100% `ok`\n"), "100%25 `ok`%0A");
        assert_eq!(grpc_message("ä"), "%C3%A4");
    }
}
