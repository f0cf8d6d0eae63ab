//! Plain HTTP, as a client of ours sees it.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::captured;
use crate::certificate::Pair;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The body, as text.
    pub text: String,
}

impl Answer {
    /// Sends the request and reads the whole answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        Self::try_to(request).await.expect("the server answers")
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn try_to(request: reqwest::RequestBuilder) -> reqwest::Result<Self> {
        let (client, request) = request.build_split();
        let request = request?;
        let sent = request.body().and_then(|body| body.as_bytes());
        let (sent, sent_headers) = (sent.map(<[u8]>::to_vec), request.headers().clone());
        let response = client.execute(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        captured::exchange(&sent_headers, sent.as_deref(), status, &text);
        Ok(Self {
            status,
            headers,
            text,
        })
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// The text of the member `name`.
    ///
    /// # Panics
    /// When there is none.
    pub fn str(&self, name: &str) -> String {
        let json = self.json();
        json[name]
            .as_str()
            .unwrap_or_else(|| panic!("no text {name} in {json}"))
            .to_owned()
    }

    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Checks the status, and that a refusal says the same in `error_description` and `message`.
    ///
    /// # Panics
    /// When it is another status, or the body is not the documented one.
    pub fn expect_error(&self, status: u16, error: &str) {
        let json = self.json();
        assert_eq!(
            (self.status.as_u16(), json["error"].as_str()),
            (status, Some(error)),
            "{json}"
        );
        assert!(
            json["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{json}"
        );
        assert_eq!(json["message"], json["error_description"], "{json}");
        assert_eq!(self.header("cache-control"), "no-store", "{json}");
    }

    /// Checks that it refuses credentials that lack a scope, and that its challenge names the scope (RFC 6750 §3.1).
    ///
    /// # Panics
    /// When it is another answer.
    pub fn expect_lacking(&self, scope: &str) {
        self.expect_error(403, "forbidden");
        let challenge = format!(
            "Bearer realm=\"machineauth\", error=\"insufficient_scope\", scope=\"{scope}\""
        );
        assert_eq!(self.header("www-authenticate"), challenge);
    }
}

/// A client without redirects, for loopback only.
///
/// # Panics
/// When the TLS library cannot start.
pub fn client() -> reqwest::Client {
    builder(&[])
        .build()
        .expect("the client has no unusual settings")
}

/// What makes a client without redirects that trusts these certificates and no others.
///
/// # Panics
/// When one of them is none.
pub fn builder(trusted: &[&Pair]) -> reqwest::ClientBuilder {
    let trusted = trusted.iter().map(|pair| {
        reqwest::Certificate::from_pem(pair.certificate.as_bytes()).expect("it is a certificate")
    });
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(std::time::Duration::from_secs(30))
        .tls_certs_only(trusted)
}
