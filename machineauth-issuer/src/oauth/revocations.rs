//! `GET /oauth/revocations`: the revocation feed, as server-sent events.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, State};
use axum::response::sse::{Event, Sse};
use futures_util::stream::{self, Stream};
use http::HeaderMap;
use http::header::HeaderName;
use http::request::Parts;
use machineauth_core::clock::Timestamp;
use tokio::sync::mpsc;

use super::client_auth;
use super::params::Params;
use crate::app::App;
use crate::context::Origin;
use crate::error::OAuthError;
use crate::events::feed::FeedEvent;
use crate::openapi::{DescribeRequest, Description, InvalidClient};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Lets a client follow the feed.
const FEED_SCOPE: &str = "revocations:read";

/// Where a listener was before (HTML Standard §9.2.4).
#[derive(Debug)]
pub struct LastEventId(Option<String>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let id = parts.headers.get(LAST_EVENT_ID);
        Ok(Self(id.and_then(|id| id.to_str().ok()).map(str::to_owned)))
    }
}

impl DescribeRequest for LastEventId {
    fn describe(operation: &mut Description<'_>) {
        operation.header(
            "Last-Event-ID",
            "The `id` of the last event, to go on from there.",
        );
    }
}

/// Listen to revocations
///
/// Server-sent events: `snapshot` with all that is revoked, `live` when the past has been told, `revocation` for each new one,
/// and `heartbeat`.
#[utoipa::path(get, path = "", security(("client" = []), ()), responses(InvalidClient))]
pub async fn revocations(
    State(app): State<App>,
    origin: Origin,
    headers: HeaderMap,
    LastEventId(resume): LastEventId,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, OAuthError> {
    let presented = client_auth::read(&app, &origin, &headers, &mut Params::none())?;
    let policy = app.config.access.revocations;
    let client = client_auth::authenticate(&app, &origin, presented, policy).await?;
    if client.is_some_and(|client| !client.value.scopes.contains(FEED_SCOPE)) {
        return Err(OAuthError::InsufficientScope(
            "the feed needs the scope revocations:read",
        ));
    }
    Ok(Sse::new(rendered(
        app.feed.follow(resume.as_deref()).await?,
    )))
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
