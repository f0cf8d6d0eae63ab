//! `GET /oauth/revocations`: the revocation feed, as server-sent events.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, State};
use axum::response::sse::{Event, Sse};
use futures_util::stream::{self, Stream};
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderMap, Uri};
use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use tokio::sync::mpsc;

use super::client_auth;
use super::params::Params;
use crate::app::App;
use crate::context::Origin;
use crate::credential::Credential;
use crate::domain::agents::{AuthenticationError, Presented, StoredAgent};
use crate::domain::api_keys::ApiKey;
use crate::error::OAuthError;
use crate::events::feed::{FeedEvent, Range};
use crate::openapi::{DescribeRequest, Description, InvalidClient};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Lets a client or an API key follow the feed.
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
#[utoipa::path(
    get,
    path = "",
    security(("client" = []), ("bearer" = []), ("api_key" = []), ()),
    responses(InvalidClient)
)]
pub async fn revocations(
    State(app): State<App>,
    origin: Origin,
    headers: HeaderMap,
    LastEventId(resume): LastEventId,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, OAuthError> {
    let listener = Listener {
        app,
        origin,
        headers,
    };
    let range = listener.admitted().await?;
    let events = listener.app.feed.follow(resume.as_deref(), range).await?;
    Ok(Sse::new(rendered(listener, range, events)))
}

/// Whoever opened the stream, as often as it is asked whether that is still right.
struct Listener {
    app: App,
    origin: Origin,
    headers: HeaderMap,
}

impl Listener {
    /// What the request's credentials let it hear: everything, or what concerns their organization.
    async fn admitted(&self) -> Result<Range, OAuthError> {
        if let Ok(Credential::ApiKey(text)) = Credential::read(&self.headers, &Uri::default()) {
            let key: Result<_, OAuthError> = self.app.api_key(self.origin.address, &text).await;
            return range_of_key(&key?.ok_or(OAuthError::UNKNOWN_CLIENT)?);
        }
        let policy = self.app.config.access.revocations;
        let client =
            client_auth::authenticate(&self.app, &self.origin, self.presented()?, policy).await?;
        client.map_or(Ok(Range::Everything), |client| range_of_client(&client))
    }

    /// Whether the stream may go on. Nothing is presented anew, so nothing is counted, and no limit keeps from looking. A
    /// store that cannot tell ends nothing: heartbeats stop by themselves then.
    async fn is_still_admitted(&self, range: Range) -> bool {
        let app = &self.app;
        let now = match Credential::read(&self.headers, &Uri::default()) {
            Ok(Credential::ApiKey(text)) => match app.api_keys.authenticate(&text).await {
                Ok(key) => key.map(|key| range_of_key(&key)),
                Err(_) => return true,
            },
            _ => match self.presented() {
                Ok(Presented::Credentials(presented)) => {
                    match app.agents.authenticate(&presented).await {
                        Ok(client) => Some(range_of_client(&client)),
                        Err(AuthenticationError::Refused) => None,
                        Err(_) => return true,
                    }
                }
                Ok(Presented::Nothing | Presented::Name(_)) => Some(Ok(Range::Everything)),
                Err(_) => None,
            },
        };
        now.is_some_and(|now| now.is_ok_and(|now| now == range))
    }

    fn presented(&self) -> Result<Presented, OAuthError> {
        client_auth::read(&self.app, &self.origin, &self.headers, &mut Params::none())
    }
}

fn range_of_key(key: &ApiKey) -> Result<Range, OAuthError> {
    may_listen(&key.scopes)?;
    Ok(Range::Organization(key.organization_id))
}

fn range_of_client(client: &StoredAgent) -> Result<Range, OAuthError> {
    may_listen(&client.value.scopes)?;
    let organization = client.value.organization_id;
    Ok(organization.map_or(Range::Everything, Range::Organization))
}

fn may_listen(scopes: &ScopeSet) -> Result<(), OAuthError> {
    match scopes.contains(FEED_SCOPE) {
        true => Ok(()),
        false => Err(OAuthError::InsufficientScope(
            "the feed needs the scope revocations:read",
        )),
    }
}

/// The events for `listener`, until its credentials are no good: looked at with every heartbeat.
fn rendered(
    listener: Listener,
    range: Range,
    events: mpsc::Receiver<FeedEvent>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(
        (listener, range, events),
        async |(listener, range, mut events)| {
            let event = events.recv().await?;
            if matches!(event, FeedEvent::Heartbeat { .. })
                && !listener.is_still_admitted(range).await
            {
                return None;
            }
            Some((Ok(render(&event)), (listener, range, events)))
        },
    )
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
