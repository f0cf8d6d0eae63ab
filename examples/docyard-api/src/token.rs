//! Token requests, handed on to the issuer: clients know one address only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::response::{IntoResponse, Response};
use serde_json::json;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What the issuer needs of a request, and a client of an answer.
const ASKED_WITH: [HeaderName; 2] = [AUTHORIZATION, CONTENT_TYPE];
const ANSWERED_WITH: [HeaderName; 4] = [CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE];

/// The issuer's token endpoint.
#[derive(Clone)]
pub(crate) struct Issuer {
    client: reqwest::Client,
    endpoint: Arc<str>,
}

impl Issuer {
    /// # Errors
    /// When there is no TLS library to start.
    pub(crate) fn at(base: &str) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            endpoint: format!("{}/v1/oauth/token", base.trim_end_matches('/')).into(),
        })
    }

    async fn ask(
        &self,
        from: SocketAddr,
        headers: &HeaderMap,
        body: Bytes,
    ) -> reqwest::Result<Response> {
        let mut request = self.client.post(&*self.endpoint).body(body);
        // The issuer counts failures by address; it believes this when the API is one of its TRUSTED_PROXIES.
        request = request.header(FORWARDED_FOR, from.ip().to_string());
        for name in ASKED_WITH {
            // All of them: two are for the issuer to refuse.
            for value in headers.get_all(&name) {
                request = request.header(&name, value);
            }
        }
        let answer = request.send().await?;
        let (status, all) = (answer.status(), answer.headers().clone());
        let mut response = (status, answer.bytes().await?).into_response();
        for name in ANSWERED_WITH {
            response.headers_mut().remove(&name);
            for value in all.get_all(&name) {
                response.headers_mut().append(&name, value.clone());
            }
        }
        Ok(response)
    }
}

/// `POST /v1/oauth/token`
pub(crate) async fn forward(
    State(issuer): State<Issuer>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    issuer
        .ask(from, &headers, body)
        .await
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "the issuer does not answer");
            let body = json!({
                "error": "temporarily_unavailable",
                "message": "the issuer does not answer; try again shortly",
            });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        })
}
