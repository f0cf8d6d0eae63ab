//! One attempt to deliver: one request, within a time, to an address that may be called.

use std::error::Error;
use std::time::Duration;

use chrono::DateTime;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use machineauth_core::clock::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use url::Url;

use super::guard::{Blocked, Guard};
use tokio::time::timeout;

use super::signature::Signatures;
use crate::domain::secret::SecretText;
use crate::domain::webhooks::{Attempt, Delivery, InvalidWebhook, Verdict};

/// The most of an answer that is read, in bytes. It helps people to find out what is wrong, and nobody needs more.
const MAX_ANSWER: usize = 1024;

/// How long somebody waits for an answer: less than a request may take.
const WAITED_FOR: Duration = Duration::from_secs(20);

/// Sends deliveries.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    guard: Guard,
    timeout: Duration,
    https_only: bool,
}

impl Sender {
    /// Sends where `guard` permits, each within `timeout` from the first packet to the last, and with `https_only`
    /// nothing unencrypted: a URL may have been accepted before that was asked for.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(guard: Guard, timeout: Duration, https_only: bool) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .https_only(https_only)
            .redirect(Policy::none())
            .no_proxy()
            .timeout(timeout)
            .dns_resolver(std::sync::Arc::new(guard.clone()))
            .user_agent(concat!("machineauth-webhooks/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            guard,
            timeout,
            https_only,
        })
    }

    /// How long an attempt may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends `delivery` to `url`, signed with `secrets`.
    pub async fn send(
        &self,
        url: &str,
        delivery: &Delivery,
        secrets: &[SecretText],
        now: Timestamp,
    ) -> Attempt {
        let Ok(url) = Url::parse(url) else {
            return given_up(&"the URL cannot be read");
        };
        if self.https_only && url.scheme() != "https" {
            return given_up(&InvalidWebhook::HttpsRequired);
        }
        if let Err(blocked) = self.guard.judge(&url) {
            return given_up(&blocked);
        }
        let id = delivery.id.to_string();
        let signatures = Signatures::new(&id, delivery.body.as_bytes(), secrets, now);
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, &delivery.content_type)
            .header("x-webhook-event", &delivery.event)
            .header("x-webhook-delivery", &id)
            .header("x-webhook-attempt", delivery.attempts + 1)
            .header(
                "x-webhook-signature-256",
                format!("sha256={}", signatures.documented),
            )
            .header("x-webhook-signature", signatures.documented)
            .header("webhook-id", &id)
            .header("webhook-timestamp", signatures.timestamp)
            .header("webhook-signature", signatures.standard)
            .body(delivery.body.clone());
        match request.send().await {
            Ok(response) => judged(response, now).await,
            Err(error) => failed(&error, self.timeout),
        }
    }

    /// As [`Sender::send`], for somebody who waits for what becomes of it, and not for ever.
    pub async fn send_now(
        &self,
        url: &str,
        delivery: &Delivery,
        secrets: &[SecretText],
        now: Timestamp,
    ) -> Attempt {
        let sent = self.send(url, delivery, secrets, now);
        match timeout(WAITED_FOR, sent).await {
            Ok(attempt) => attempt,
            Err(_) => try_again(no_answer_within(WAITED_FOR)),
        }
    }
}

/// Only 2xx is success (Standard Webhooks 1.0.0). A redirect leads where nobody has said that deliveries may go.
async fn judged(mut response: Response, now: Timestamp) -> Attempt {
    let status = response.status();
    let retry_after = retry_after(&response, now);
    let answer = beginning(&mut response).await;
    let verdict = if status.is_success() {
        Verdict::Taken
    } else if status == StatusCode::GONE {
        Verdict::Gone
    } else {
        let error = match answer.is_empty() {
            true => format!("HTTP {}", status.as_u16()),
            false => format!("HTTP {}: {answer}", status.as_u16()),
        };
        Verdict::TryAgain { error, retry_after }
    };
    Attempt {
        status_code: Some(status.as_u16()),
        verdict,
    }
}

/// How an answer begins, fit for a table. The connection of an answer that goes on is given up.
async fn beginning(response: &mut Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - bytes.len())]);
        if bytes.len() == MAX_ANSWER {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let printable = text.chars().map(|character| match character {
        character if character.is_control() => ' ',
        character => character,
    });
    printable.collect::<String>().trim().to_owned()
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    let at = u64::try_from(date.timestamp_millis()).ok()?;
    Some(Duration::from_millis(at.saturating_sub(now.as_millis())))
}

fn failed(error: &reqwest::Error, timeout: Duration) -> Attempt {
    if is_blocked(error) {
        return given_up(&Blocked);
    }
    let error = if error.is_timeout() {
        no_answer_within(timeout)
    } else if error.is_connect() {
        format!("no connection: {}", innermost(error))
    } else {
        format!("the exchange failed: {}", innermost(error))
    };
    try_again(error)
}

fn no_answer_within(time: Duration) -> String {
    format!("no answer within {} s", time.as_secs())
}

fn try_again(error: String) -> Attempt {
    Attempt {
        status_code: None,
        verdict: Verdict::TryAgain {
            error,
            retry_after: None,
        },
    }
}

fn given_up(why: &dyn std::fmt::Display) -> Attempt {
    Attempt {
        status_code: None,
        verdict: Verdict::GiveUp {
            error: why.to_string(),
        },
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| Error::source(*error))
}

fn is_blocked(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.is::<Blocked>())
}

/// What really happened; the outer errors repeat the URL, which may hold a receiver's token.
fn innermost(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map_or_else(String::new, ToString::to_string)
}
