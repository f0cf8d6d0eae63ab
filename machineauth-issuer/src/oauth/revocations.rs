//! `GET /oauth/revocations`: the revocation feed, as server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::stream::{self, Stream};
use http::HeaderMap;
use http::header::HeaderName;
use machineauth_core::clock::Timestamp;
use tokio::sync::mpsc;

use super::client_auth;
use super::params::Params;
use crate::app::App;
use crate::context::Origin;
use crate::error::OAuthError;
use crate::events::feed::FeedEvent;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Lets a client follow the feed.
const FEED_SCOPE: &str = "revocations:read";

/// `GET /oauth/revocations`
pub async fn revocations(
    State(app): State<App>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, OAuthError> {
    let presented = client_auth::read(&app, &origin, &headers, &mut Params::none())?;
    let policy = app.config.access.revocations;
    let client = client_auth::authenticate(&app, &origin, presented, policy).await?;
    if client.is_some_and(|client| !client.value.scopes.contains(FEED_SCOPE)) {
        return Err(OAuthError::InsufficientScope(
            "the feed needs the scope revocations:read",
        ));
    }
    let resume = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    Ok(Sse::new(rendered(app.feed.follow(resume).await?)))
}

fn rendered(events: mpsc::Receiver<FeedEvent>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(events, async |mut events| {
        events
            .recv()
            .await
            .map(|event| (Ok(render(&event)), events))
    })
}

fn render(event: &FeedEvent) -> Event {
    let current = |name: &str, at: &Timestamp, id: &str| {
        Event::default()
            .event(name)
            .id(id)
            .data(format!("{{\"at\":{}}}", at.as_millis()))
    };
    match event {
        FeedEvent::Snapshot(revocations) => {
            let data = serde_json::to_string(revocations).expect("revocations are plain data");
            Event::default().event("snapshot").data(data)
        }
        FeedEvent::Live { at, id } => current("live", at, id),
        FeedEvent::Revocation(entry) => Event::default()
            .event("revocation")
            .data(String::from_utf8_lossy(entry)),
        FeedEvent::Heartbeat { at, id } => current("heartbeat", at, id),
    }
}
