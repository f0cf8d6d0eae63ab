//! One line of JSON for each request. Never a token, never a query string.

use std::io::Write as _;

use http::Method;
use machineauth_core::{Agent, Timestamp};
use serde::Serialize;
use tokio::sync::mpsc;

use super::metrics::Metrics;

/// Lines that wait for a slow reader.
const MOST_WAITING: usize = 8192;

/// What there is to say about one request.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    /// Unix milliseconds.
    pub(crate) time: Timestamp,
    #[serde(rename = "request.id")]
    pub(crate) request_id: String,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    #[serde(serialize_with = "as_text")]
    pub(crate) method: &'a Method,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) protocol: &'static str,
    /// 0 when nobody was there to be answered.
    pub(crate) status: u16,
    pub(crate) bytes_received: usize,
    pub(crate) bytes_sent: usize,
    pub(crate) duration_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<&'a str>,
    #[serde(flatten)]
    pub(crate) agent: Option<AgentEntry<'a>>,
    /// Why it was refused, or would have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    /// The status that it would have got, were the route no dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dry_run_status: Option<u16>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AgentEntry<'a> {
    #[serde(rename = "agent.id")]
    id: &'a str,
    #[serde(rename = "token.jti", skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
}

impl<'a> From<&'a Agent> for AgentEntry<'a> {
    fn from(agent: &'a Agent) -> Self {
        Self {
            id: agent.id(),
            jti: agent.claims().jwt_id.as_deref(),
        }
    }
}

/// Takes lines without waiting.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    lines: mpsc::Sender<String>,
    metrics: Metrics,
}

/// Where the lines go, until [written](Lines::write).
#[derive(Debug)]
pub(crate) struct Lines(mpsc::Receiver<String>);

impl AccessLog {
    pub(crate) fn new(metrics: &Metrics) -> (Self, Lines) {
        let (lines, waiting) = mpsc::channel(MOST_WAITING);
        let metrics = metrics.clone();
        (Self { lines, metrics }, Lines(waiting))
    }

    pub(crate) fn note(&self, entry: &Entry<'_>) {
        let mut line = serde_json::to_string(entry).expect("texts and numbers are JSON");
        line.push('\n');
        if self.lines.try_send(line).is_err() {
            self.metrics.log_line_lost();
        }
    }

    /// Waits until what was noted so far is written.
    pub(crate) async fn written(&self) {
        let _ = self.lines.reserve_many(MOST_WAITING).await;
    }
}

impl Lines {
    /// Writes lines to the standard output, on a thread of its own: its reader may be slow.
    pub(crate) fn write(mut self) {
        let writing = move || {
            let mut output = std::io::stdout().lock();
            let mut lines = Vec::new();
            while self.0.blocking_recv_many(&mut lines, MOST_WAITING / 8) > 0 {
                let text: String = lines.drain(..).collect();
                // Nobody is there to be told that there is nobody to be told.
                let _ = output.write_all(text.as_bytes());
                let _ = output.flush();
            }
        };
        std::thread::spawn(writing);
    }
}

fn as_text<S: serde::Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.as_str())
}
