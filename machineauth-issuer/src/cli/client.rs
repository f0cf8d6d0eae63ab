//! The HTTP client of the commands: one request, and its answer or a sentence about what went wrong.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Certificate, RequestBuilder, Url};
use serde_json::Value;

use super::failure::Failure;
use super::output::printable;
use crate::domain::administrators::SESSION_PREFIX;
use crate::domain::secret::SecretText;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Who asks.
#[derive(Debug)]
pub(super) enum Credential {
    /// Somebody who does not say.
    Nobody,
    /// The administrator of the server.
    Password { email: String, password: SecretText },
    /// The same, since nobody said anything else and the server is on this machine.
    DefaultPassword { email: String, password: SecretText },
    /// A program of an organization.
    ApiKey(SecretText),
    /// A logged-in administrator, or an agent.
    Token(SecretText),
    /// An OAuth client (RFC 6749 §2.3.1).
    Client { id: String, secret: SecretText },
}

impl Credential {
    fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nobody => request,
            Self::Password { email, password } | Self::DefaultPassword { email, password } => {
                request.basic_auth(email, Some(password.reveal()))
            }
            Self::ApiKey(text) | Self::Token(text) => request.bearer_auth(text.reveal()),
            Self::Client { id, secret } => {
                let encoded = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                request.basic_auth(encoded(id), Some(encoded(secret.reveal())))
            }
        }
    }

    /// What to do when the server does not accept it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Nobody => {
                "wants to know who asks: set MACHINEAUTH_CLIENT_ID and MACHINEAUTH_CLIENT_SECRET, or MACHINEAUTH_API_KEY"
            }
            Self::Password { .. } => {
                "does not accept the administrator's address and password: check ADMIN_EMAIL and ADMIN_PASSWORD"
            }
            Self::DefaultPassword { .. } => {
                "does not accept the default password: set ADMIN_EMAIL and ADMIN_PASSWORD, MACHINEAUTH_API_KEY or \
                 MACHINEAUTH_TOKEN"
            }
            Self::ApiKey(_) => {
                "does not accept the API key, which may be revoked or expired: check MACHINEAUTH_API_KEY"
            }
            Self::Token(_) => {
                "does not accept the token, which may be revoked or expired: check MACHINEAUTH_TOKEN"
            }
            Self::Client { .. } => {
                "does not accept the client and its secret: check MACHINEAUTH_CLIENT_ID and MACHINEAUTH_CLIENT_SECRET"
            }
        }
    }
}

/// Talks to one server as somebody.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    credential: Credential,
    timeout: Duration,
}

/// What the server answered to a request that it did not refuse.
#[derive(Debug)]
pub(super) struct Answer {
    /// The body, as it came.
    pub(super) text: String,
    /// The version of the object that it is about.
    pub(super) etag: Option<String>,
}

/// What is remembered of a request, to explain what became of it.
struct Asked {
    place: String,
    is_change: bool,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_str(&self.text).map_err(|_| {
            Failure::Refused(
                "the answer is not JSON: check whether --url is a machineauth server".to_owned(),
            )
        })
    }
}

impl Client {
    /// A client of the server at `base`.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub(super) fn new(
        base: Url,
        credential: Credential,
        certificates: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .user_agent(concat!("machineauth-issuer/", env!("CARGO_PKG_VERSION")));
        let builder = match certificates {
            Some(path) => builder.tls_certs_only(read_certificates(path)?),
            // A health check in an empty container has no certificates to load, and needs none.
            None if base.scheme() == "http" => builder.tls_certs_only([]),
            None => builder,
        };
        let http = builder.build().map_err(|_| {
            Failure::Usage(
                "the system's certificate authorities cannot be loaded: name a PEM file with --cacert"
                    .to_owned(),
            )
        })?;
        Ok(Self {
            http,
            base,
            credential,
            timeout,
        })
    }

    /// Whether whoever asks belongs to an organization, as far as can be seen from here.
    pub(super) fn may_be_tenant(&self) -> bool {
        match &self.credential {
            Credential::ApiKey(_) => true,
            Credential::Token(token) => !token.reveal().starts_with(SESSION_PREFIX),
            Credential::Nobody
            | Credential::Password { .. }
            | Credential::DefaultPassword { .. }
            | Credential::Client { .. } => false,
        }
    }

    /// `GET path`
    ///
    /// # Errors
    /// As for every request: a sentence that says what to do.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `GET url`, wherever that is, without saying who asks.
    ///
    /// # Errors
    /// As for every request.
    pub(super) async fn get_elsewhere(&self, url: Url) -> Result<Answer, Failure> {
        self.send(self.http.get(url)).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// As for every request.
    pub(super) async fn post(&self, path: &str, body: impl Into<Value>) -> Result<Answer, Failure> {
        self.send(with_json(self.request(Method::POST, path), &body.into()))
            .await
    }

    /// `PATCH path` with a JSON body, where it is wanted only of the version that `etag` names.
    ///
    /// # Errors
    /// As for every request.
    pub(super) async fn patch(
        &self,
        path: &str,
        body: &Value,
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut request = with_json(self.request(Method::PATCH, path), body);
        if let Some(etag) = etag {
            request = request.header(IF_MATCH, format!("\"{}\"", etag.trim_matches('"')));
        }
        self.send(request).await
    }

    /// `DELETE path`
    ///
    /// # Errors
    /// As for every request.
    pub(super) async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// `POST path` with a form, as OAuth has it.
    ///
    /// # Errors
    /// As for every request.
    pub(super) async fn form(
        &self,
        path: &str,
        parameters: &[(&str, Option<&str>)],
    ) -> Result<Answer, Failure> {
        let body = encoded(parameters);
        let request = self.request(Method::POST, path);
        self.send(request.header(CONTENT_TYPE, FORM).body(body))
            .await
    }

    /// Without the slash that ends the URL of a host.
    fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base()));
        self.credential.sign(request)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let request = request.build().map_err(|_| {
            Failure::Usage("a credential has characters that no HTTP header can carry".to_owned())
        })?;
        let asked = Asked {
            place: request.url().origin().ascii_serialization(),
            is_change: !request.method().is_safe(),
        };
        let unreachable = |error| self.unreachable(&asked, error);
        let response = self.http.execute(request).await.map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(self.refusal(&asked.place, status, &headers, &text));
        }
        Ok(Answer {
            text,
            etag: header(&headers, &ETAG).map(|tag| tag.trim_matches('"').to_owned()),
        })
    }

    fn unreachable(&self, asked: &Asked, error: reqwest::Error) -> Failure {
        let place = &asked.place;
        if error.is_timeout() && !error.is_connect() {
            let limit = self.timeout.as_secs();
            let outcome = match asked.is_change {
                true => "; whether it did what it was asked is unknown",
                false => ": --timeout lets it take longer",
            };
            return Failure::Unreachable(format!(
                "the server at {place} did not answer within {limit} s{outcome}"
            ));
        }
        let error = error.without_url();
        let mut cause: &dyn Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let advice = match place.starts_with("https:") {
            true => {
                "check --url or MACHINEAUTH_URL, and --cacert for a certificate authority of your own"
            }
            false => "start it, or say where it is with --url or MACHINEAUTH_URL",
        };
        Failure::Unreachable(format!(
            "the server at {place} cannot be reached ({}): {advice}",
            printable(&cause.to_string())
        ))
    }

    fn refusal(&self, place: &str, status: StatusCode, headers: &HeaderMap, text: &str) -> Failure {
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        let said = ["message", "error_description"].map(|name| body[name].as_str());
        let said = said.into_iter().flatten().next().map(printable);
        let location = header(headers, &LOCATION).map(printable);
        let Some(said) = said else {
            return Failure::Refused(match location {
                Some(location) => format!(
                    "the server at {place} redirects to {location}: use that address as --url"
                ),
                None => format!(
                    "the server at {place} answered {status} without a word of machineauth: check --url"
                ),
            });
        };
        Failure::Refused(match status {
            StatusCode::UNAUTHORIZED => {
                format!("the server at {place} {}", self.credential.advice())
            }
            StatusCode::FORBIDDEN => {
                format!("not allowed: {said}; use credentials that may do this")
            }
            StatusCode::NOT_FOUND => {
                format!("not found: {said}, or these credentials may not see it; `list` shows what they see")
            }
            StatusCode::CONFLICT => format!("conflict: {said}"),
            StatusCode::PRECONDITION_FAILED => {
                "it has changed in the meantime: get it again, and repeat the change with its new etag".to_owned()
            }
            StatusCode::TOO_MANY_REQUESTS => match header(headers, &RETRY_AFTER) {
                Some(seconds) => format!(
                    "too many requests, or too many wrong secrets: try again in {} s",
                    printable(seconds)
                ),
                None => "too many requests, or too many wrong secrets: try again later".to_owned(),
            },
            status if status.is_server_error() => {
                format!("the server failed ({}): {said}", status.as_u16())
            }
            _ => format!("refused: {said}"),
        })
    }
}

/// `path` with those parameters that have a value.
pub(super) fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    match encoded(parameters) {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

fn encoded(parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters
        .iter()
        .filter_map(|(name, value)| Some((name, (*value)?)));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given)
        .finish()
}

fn with_json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(CONTENT_TYPE, JSON).body(body.to_string())
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let pem = std::fs::read(path)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    let certificates = Certificate::from_pem_bundle(&pem).ok();
    certificates
        .filter(|found| !found.is_empty())
        .ok_or_else(|| Failure::Usage(format!("{} holds no PEM certificate", path.display())))
}
