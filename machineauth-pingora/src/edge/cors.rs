//! Which web pages may call (Fetch standard, CORS protocol).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use pingora_http::RequestHeader;

use super::answers::Problem;
use super::config::CorsToml;

const ANY: &[u8] = b"*";
const DEFAULT_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const DEFAULT_HEADERS: &str = "authorization, content-type";

/// What an upstream may say about this; the edge says it in its place.
pub(crate) const ANSWER_HEADERS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// What one route says to web pages.
#[derive(Debug)]
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
    methods: HeaderValue,
    headers: HeaderValue,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: u64,
}

impl Cors {
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(toml: &CorsToml) -> Result<Self, &'static str> {
        if toml.origins.is_empty() {
            return Err("`origins` names none; write `[\"https://app.example.com\"]`");
        }
        let any = toml.origins.iter().any(|origin| origin.0 == "*");
        if any && toml.credentials {
            return Err("pages of every origin may not send credentials: name the origins");
        }
        let list = |texts: Vec<&str>, default: &'static str| match texts.as_slice() {
            [] => HeaderValue::from_static(default),
            texts => HeaderValue::try_from(texts.join(", ")).expect("names fit a header"),
        };
        let methods = toml.methods.iter().map(|method| method.0.as_str());
        let headers = toml.headers.iter().map(|header| header.0.as_str());
        let expose: Vec<_> = toml.expose.iter().map(|header| header.0.as_str()).collect();
        Ok(Self {
            origins: toml.origins.iter().map(|origin| origin.0.clone()).collect(),
            methods: list(methods.collect(), DEFAULT_METHODS),
            headers: list(headers.collect(), DEFAULT_HEADERS),
            expose: (!expose.is_empty()).then(|| list(expose, "")),
            credentials: toml.credentials,
            max_age: toml.max_age.0.as_secs(),
        })
    }

    /// The answer to a pre-flight request; `None` when this is none.
    pub(crate) fn preflight(
        &self,
        request: &RequestHeader,
    ) -> Option<Result<Response<Bytes>, Problem>> {
        let asks = request.method == Method::OPTIONS
            && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let origin = request.headers.get(ORIGIN).filter(|_| asks)?;
        if self.allowed(origin).is_none() {
            return Some(Err(Problem::ForeignOrigin));
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.into());
        Some(Ok(response))
    }

    /// What every answer says to the page that asked.
    pub(crate) fn for_page(&self, request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![(VARY, HeaderValue::from_static("Origin"))];
        let Some(allowed) = request.get(ORIGIN).and_then(|origin| self.allowed(origin)) else {
            return headers;
        };
        headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, allowed));
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, yes));
        }
        if let Some(expose) = &self.expose {
            headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone()));
        }
        headers
    }

    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let named = |own: &&HeaderValue| own.as_bytes() == ANY || *own == origin;
        self.origins.iter().find(named).cloned()
    }
}
