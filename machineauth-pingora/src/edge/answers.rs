//! What the edge answers by itself, beside the module's refusals: every failure and its status.

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use machineauth_core::policy::PathFault;
use machineauth_core::quota::{Exhausted, Quota};
use machineauth_core::{Protocol, Refusal};
use pingora_error::{Error, ErrorSource, ErrorType};

/// Seconds after which a server may be back.
const RETRY_AFTER_SECONDS: u16 = 1;
/// What is served in the place of CONNECT.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Why a request does not get its upstream's answer.
#[derive(Clone, Debug)]
pub(crate) enum Problem {
    /// The request itself is wrong.
    BadRequest(&'static str),
    /// As above, and nobody knows where the next request on this connection starts.
    Smuggling(&'static str),
    /// Servers would read the path differently.
    AmbiguousPath(PathFault),
    /// The client asks for a connection to somewhere else.
    Tunnel,
    /// No route is for this host and path.
    NoRoute,
    /// Web pages of that origin may not call.
    ForeignOrigin,
    /// The body is longer than allowed.
    TooLarge,
    /// The client has used up what it may.
    TooMany(UsedUp),
    /// The client was silent for too long.
    ClientTimeout,
    /// Every server of the upstream is known to be down.
    NoServer,
    /// The server cannot be reached, or broke off.
    BadGateway,
    /// The server was silent for too long.
    GatewayTimeout,
    /// A defect of ours.
    Internal,
}

/// A quota of which nothing is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsedUp {
    pub(crate) limit: Limit,
    pub(crate) quota: Quota,
    pub(crate) exhausted: Exhausted,
}

/// Whose limit it is, over all routes or on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Address,
    Agent,
    RouteAddress,
    RouteAgent,
}

impl Limit {
    /// What the headers call it. Clients tell by that which is used up.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Agent => "agent",
            Self::RouteAddress => "route-address",
            Self::RouteAgent => "route-agent",
        }
    }
}

impl Problem {
    pub(crate) fn bad_request(what: &'static str) -> Self {
        Self::BadRequest(what)
    }

    /// What an error of the proxy is to the client; `None` when nobody is there to be told.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        Some(match (error.esource(), error.etype()) {
            (_, ErrorType::HTTPStatus(413)) => Self::TooLarge,
            (
                ErrorSource::Upstream,
                ErrorType::ConnectTimedout
                | ErrorType::ReadTimedout
                | ErrorType::WriteTimedout
                | ErrorType::TLSHandshakeTimedout,
            ) => Self::GatewayTimeout,
            (ErrorSource::Upstream, _) => Self::BadGateway,
            (ErrorSource::Downstream, ErrorType::ReadTimedout) => Self::ClientTimeout,
            (
                ErrorSource::Downstream,
                ErrorType::WriteError
                | ErrorType::WriteTimedout
                | ErrorType::ReadError
                | ErrorType::ConnectionClosed,
            ) => return None,
            (ErrorSource::Downstream, _) => {
                Self::BadRequest("the request cannot be read as HTTP says")
            }
            (ErrorSource::Internal | ErrorSource::Unset, _) => Self::Internal,
        })
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Smuggling(_) | Self::AmbiguousPath(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::Tunnel => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::NoServer => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// For the body, the log and the metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) | Self::Smuggling(_) | Self::AmbiguousPath(_) => "invalid_request",
            Self::ForeignOrigin => "origin_not_allowed",
            Self::Tunnel => "method_not_allowed",
            Self::NoRoute => "not_found",
            Self::ClientTimeout => "request_timeout",
            Self::TooLarge => "content_too_large",
            Self::TooMany(..) => "too_many_requests",
            Self::Internal => "server_error",
            Self::BadGateway => "bad_gateway",
            Self::NoServer => "temporarily_unavailable",
            Self::GatewayTimeout => "gateway_timeout",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::BadRequest(what) | Self::Smuggling(what) => return (*what).to_owned(),
            Self::AmbiguousPath(fault) => {
                return format!("servers may read the path of this request differently: {fault}");
            }
            Self::ForeignOrigin => "pages of this origin may not call",
            Self::Tunnel => "nothing is connected to on behalf of clients",
            Self::NoRoute => "nothing is served here",
            Self::ClientTimeout => "the request did not arrive in time",
            Self::TooLarge => "the request body is too long",
            Self::TooMany(..) => "too many requests; Retry-After says when to try again",
            Self::Internal => "the edge failed",
            Self::BadGateway => "the server behind the edge cannot be reached or broke off",
            Self::NoServer => "no server behind the edge is up",
            Self::GatewayTimeout => "the server behind the edge did not answer in time",
        }
        .to_owned()
    }

    /// Whether the connection is of no more use.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Smuggling(_) | Self::Tunnel | Self::ClientTimeout
        )
    }

    /// The quota that is used up.
    pub(crate) fn used_up(&self) -> Option<&UsedUp> {
        match self {
            Self::TooMany(used_up) => Some(used_up),
            _ => None,
        }
    }

    /// The answer, in the protocol of the request.
    pub(crate) fn to_response(&self, protocol: &Protocol) -> Response<Bytes> {
        if let Self::TooMany(used_up) = self {
            return used_up.exhausted.to_response(protocol);
        }
        let refusal = Refusal {
            status: self.status(),
            code: self.code(),
            message: &self.message(),
        };
        let mut response = refusal.to_response(protocol);
        let headers = response.headers_mut();
        match (self, protocol) {
            (Self::NoServer, Protocol::Http) => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
            }
            (Self::Tunnel, Protocol::Http) => {
                headers.insert(ALLOW, HeaderValue::from_static(ALLOWED));
            }
            _ => {}
        }
        response
    }
}
