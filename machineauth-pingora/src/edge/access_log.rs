//! One line of JSON for each request. Never a token, never a query string.

use std::io::Write as _;

use http::header::HOST;
use http::{Method, Version};
use machineauth_core::{Agent, Timestamp};
use pingora_error::Error;
use pingora_proxy::Session;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::answers::Problem;
use super::exchange::Exchange;
use super::metrics::Metrics;
use crate::module::MachineAuth;

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
    pub(crate) reason: Option<String>,
    /// The status that it would have got, were the route no dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dry_run_status: Option<u16>,
}

impl<'a> Entry<'a> {
    /// What became of the request of `session`.
    pub(crate) fn of(
        session: &'a Session,
        status: u16,
        error: Option<&Error>,
        exchange: &'a Exchange,
    ) -> Self {
        let request = session.req_header();
        let auth = MachineAuth::of(session);
        let challenge = auth.and_then(MachineAuth::challenge);
        let would_refuse = auth.and_then(MachineAuth::would_refuse);
        let by_module = challenge
            .or(would_refuse)
            .map(|challenge| challenge.message());
        let by_edge = exchange.problem.as_ref().map(Problem::message);
        let by_error = error.map(|error| error.etype().as_str().to_owned());
        let reason = by_module
            .map(|text| text.into_owned())
            .or(by_edge)
            .or(by_error);
        let host = request.uri.authority().map(|authority| authority.as_str());
        let named = || request.headers.get(HOST)?.to_str().ok();
        Self {
            time: exchange.began,
            request_id: format!("{:032x}", exchange.id),
            client: exchange.client.map(|client| client.to_string()),
            method: &request.method,
            host: host.or_else(named).unwrap_or_default(),
            path: request.uri.path(),
            protocol: protocol(request.version),
            status,
            bytes_received: session.body_bytes_read(),
            bytes_sent: session.body_bytes_sent(),
            duration_ms: exchange.started.elapsed().as_millis(),
            route: exchange.route.as_ref().map(|route| &*route.name),
            server: exchange.server(),
            agent: auth
                .and_then(MachineAuth::agent)
                .map(|agent| (&**agent).into()),
            reason,
            dry_run_status: would_refuse.map(|challenge| challenge.status().as_u16()),
        }
    }
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
    lines: mpsc::Sender<Line>,
    metrics: Metrics,
}

/// Where the lines go, until [written](Lines::write).
#[derive(Debug)]
pub(crate) struct Lines(mpsc::Receiver<Line>);

#[derive(Debug)]
enum Line {
    Text(String),
    /// Somebody waits until all before it is written.
    Mark(oneshot::Sender<()>),
}

impl AccessLog {
    pub(crate) fn new(metrics: &Metrics) -> (Self, Lines) {
        let (lines, waiting) = mpsc::channel(MOST_WAITING);
        let metrics = metrics.clone();
        (Self { lines, metrics }, Lines(waiting))
    }

    pub(crate) fn note(&self, entry: &Entry<'_>) {
        let mut line = serde_json::to_string(entry).expect("texts and numbers are JSON");
        line.push('\n');
        if self.lines.try_send(Line::Text(line)).is_err() {
            self.metrics.log_line_lost();
        }
    }

    /// Waits until what was noted so far is written.
    pub(crate) async fn written(&self) {
        let (mark, written) = oneshot::channel();
        if self.lines.send(Line::Mark(mark)).await.is_ok() {
            let _ = written.await;
        }
    }
}

impl Lines {
    /// Writes lines to the standard output, on a thread of its own: its reader may be slow.
    pub(crate) fn write(mut self) {
        let writing = move || {
            let mut output = std::io::stdout().lock();
            let mut lines = Vec::new();
            while self.0.blocking_recv_many(&mut lines, MOST_WAITING / 8) > 0 {
                let mut text = String::new();
                let mut marks = Vec::new();
                for line in lines.drain(..) {
                    match line {
                        Line::Text(line) => text.push_str(&line),
                        Line::Mark(mark) => marks.push(mark),
                    }
                }
                // Nobody is there to be told that there is nobody to be told.
                let _ = output.write_all(text.as_bytes());
                let _ = output.flush();
                for mark in marks {
                    let _ = mark.send(());
                }
            }
        };
        std::thread::spawn(writing);
    }
}

fn as_text<S: serde::Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.as_str())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
