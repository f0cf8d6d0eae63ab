//! The socket: which request goes where, and what goes wrong on the way.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};

use super::{Endpoint, Fault, State, answer, lock};
use crate::clock::Clock as _;
use crate::revocation::Revocation;

/// How often those who follow the feed hear that nothing is missing.
const HEARTBEAT: Duration = Duration::from_secs(1);

pub(super) type Answer = Response<Either<Full<Bytes>, Events>>;

pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    // Ends its connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| respond(request, Arc::clone(&state)));
    // A connection that breaks, or that is meant to, is none of the test's business.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(request: Request<Incoming>, state: Arc<State>) -> io::Result<Answer> {
    let Some(endpoint) = endpoint(request.method(), request.uri().path()) else {
        return Ok(page(StatusCode::NOT_FOUND));
    };
    *lock(&state.requests).entry(endpoint).or_default() += 1;
    let fault = lock(&state.faults).get(&endpoint).cloned();
    match fault {
        Some(Fault::Status(status)) => {
            return Ok(page(
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            ));
        }
        Some(Fault::TooManyRequests(pause)) => {
            let mut refusal = page(StatusCode::TOO_MANY_REQUESTS);
            let headers = refusal.headers_mut();
            headers.insert(RETRY_AFTER, pause.as_secs().into());
            return Ok(refusal);
        }
        Some(Fault::HangUp) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Garbage) => return Ok(whole(content_type(endpoint), "\u{1}{garbage")),
        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
        None => {}
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, 64 * 1024).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    Ok(match endpoint {
        Endpoint::Metadata => whole(content_type(endpoint), answer::metadata(&state)),
        Endpoint::KeySet => whole(content_type(endpoint), state.key_set().to_json()),
        Endpoint::Token => answer::token(&state, &head.headers, &body),
        Endpoint::Introspection => answer::introspection(&state, &head.headers, &body),
        Endpoint::Revocations => events(&state),
    })
}

fn endpoint(method: &Method, path: &str) -> Option<Endpoint> {
    match (method.as_str(), path) {
        (
            "GET",
            "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration",
        ) => Some(Endpoint::Metadata),
        ("GET", "/.well-known/jwks.json") => Some(Endpoint::KeySet),
        ("GET", "/oauth/revocations") => Some(Endpoint::Revocations),
        ("POST", "/oauth/token") => Some(Endpoint::Token),
        ("POST", "/oauth/introspect") => Some(Endpoint::Introspection),
        _ => None,
    }
}

fn content_type(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Revocations => "text/event-stream",
        _ => "application/json",
    }
}

/// A 200 with this body.
pub(super) fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

fn page(status: StatusCode) -> Answer {
    let mut response = whole("text/html", format!("<h1>{status}</h1>"));
    *response.status_mut() = status;
    response
}

/// The revocation feed: a snapshot, then what is new.
fn events(state: &Arc<State>) -> Answer {
    let (sender, receiver) = mpsc::unbounded_channel();
    // The lock keeps out whoever revokes: nothing falls between the snapshot and the news.
    let revoked = lock(&state.revoked);
    let news = state.news.subscribe();
    let snapshot = event("snapshot", None, &revoked.list);
    drop(revoked);
    let _ = sender.send(snapshot);
    let _ = sender.send(moment("live", state));
    tokio::spawn(tell(Arc::clone(state), sender, news));
    let mut response = Response::new(Either::Right(Events(receiver)));
    let value = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

async fn tell(
    state: Arc<State>,
    sender: mpsc::UnboundedSender<Bytes>,
    mut news: broadcast::Receiver<Revocation>,
) {
    state.listeners.fetch_add(1, Ordering::SeqCst);
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        let told = tokio::select! {
            revocation = news.recv() => match revocation {
                Ok(revocation) => event("revocation", Some("1"), &revocation),
                Err(_) => break,
            },
            _ = heartbeat.tick() => moment("heartbeat", &state),
            () = sender.closed() => break,
        };
        if lock(&state.faults).contains_key(&Endpoint::Revocations) || sender.send(told).is_err() {
            break;
        }
    }
    state.listeners.fetch_sub(1, Ordering::SeqCst);
}

fn moment(name: &str, state: &State) -> Bytes {
    let at = state.clock.now();
    event(name, Some("1"), &serde_json::json!({ "at": at }))
}

fn event(name: &str, id: Option<&str>, data: &impl serde::Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let data = serde_json::to_string(data).expect("plain data");
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

/// A body that never ends by itself.
#[derive(Debug)]
pub(super) struct Events(mpsc::UnboundedReceiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(cx);
        next.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
