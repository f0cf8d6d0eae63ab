//! `GET /oauth/revocations`: the revocation feed, as server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::stream::{self, Stream};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::mpsc;

use crate::app::App;
use crate::basic::BasicCredentials;
use crate::config::ClientAuth;
use crate::domain::agents::Credentials;
use crate::error::OAuthError;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Lets a client follow the feed.
const FEED_SCOPE: &str = "revocations:read";

/// `GET /oauth/revocations`
pub async fn revocations(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<
    (
        [(HeaderName, HeaderValue); 1],
        Sse<impl Stream<Item = Result<Event, Infallible>>>,
    ),
    OAuthError,
> {
    authorize(&app, &headers).await?;
    let resume = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let events = app.feed.follow(resume).await?;
    Ok((
        [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Sse::new(stream_of(events)),
    ))
}

fn stream_of(events: mpsc::Receiver<Event>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(events, async |mut events| {
        events.recv().await.map(|event| (Ok(event), events))
    })
}

async fn authorize(app: &App, headers: &HeaderMap) -> Result<(), OAuthError> {
    let given = headers.contains_key(header::AUTHORIZATION);
    if !given && app.config.access.revocations == ClientAuth::Optional {
        return Ok(());
    }
    let refused = OAuthError::InvalidClient("the feed needs client credentials, as HTTP Basic");
    let Ok(basic) = BasicCredentials::read(headers) else {
        return Err(refused);
    };
    let Ok(client_id) = basic.user.parse() else {
        return Err(refused);
    };
    let credentials = Credentials {
        client_id,
        secret: basic.password.to_string().into(),
    };
    let client = app.agents.authenticate(&credentials).await?;
    match client.value.scopes.contains(FEED_SCOPE) {
        true => Ok(()),
        false => Err(OAuthError::UnauthorizedClient(
            "the feed needs the scope revocations:read",
        )),
    }
}
