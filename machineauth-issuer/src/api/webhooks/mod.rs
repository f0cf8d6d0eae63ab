//! `/api/webhooks`: who is told what happens, and what became of it.

mod body;
mod view;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::NoContent;
use http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use self::body::{RotateWebhookSecret, WebhookBody, WebhookReplay, WebhookTest};
pub use self::view::{
    CreatedWebhook, DeliveryList, DeliveryView, EventList, OneDelivery, OneWebhook, Replayed,
    RotatedWebhookSecret, Tested, WebhookList, WebhookView,
};
use super::body::{JsonBody, OptionalJsonBody};
use super::caller::{Caller, Reach};
use super::created::Created;
use super::etag::{IfMatch, Tagged};
use super::page::PageQuery;
use crate::app::App;
use crate::date::Date;
use crate::domain::event::Action;
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::webhooks::{Health, Status, StoredWebhook, WebhookError};
use crate::error::ApiError;
use crate::openapi::{BadRequest, Conflict, DescribeRequest, Description, NotFound};

/// The webhook that the path names, when it is the caller's to see.
#[derive(Debug)]
pub struct WebhookPath {
    caller: Caller,
    stored: StoredWebhook,
}

#[derive(Deserialize)]
struct WebhookParameter {
    webhook_id: String,
}

impl FromRequestParts<App> for WebhookPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        // What is no identifier names no webhook.
        let path = Path::<WebhookParameter>::from_request_parts(parts, app).await;
        let id = path
            .ok()
            .and_then(|Path(path)| path.webhook_id.parse().ok());
        let stored = app
            .webhooks
            .find(id.ok_or(ApiError::NO_SUCH_WEBHOOK)?)
            .await?;
        let webhook = &stored.value;
        caller.reaches(
            webhook.organization_id,
            webhook.team_id,
            ApiError::NO_SUCH_WEBHOOK,
        )?;
        Ok(Self { caller, stored })
    }
}

impl DescribeRequest for WebhookPath {
    fn describe(operation: &mut Description<'_>) {
        Caller::describe(operation);
        operation
            .path::<WebhookId>("webhook_id", "The webhook.")
            .refuses::<NotFound>();
    }
}

impl WebhookPath {
    fn id(&self) -> WebhookId {
        self.stored.value.id
    }
}

/// List webhooks
///
/// The newest first; an organization sees its own.
#[utoipa::path(get, path = "")]
pub async fn list(caller: Caller, State(app): State<App>) -> Result<Json<WebhookList>, ApiError> {
    let mut found = match caller.reach {
        Reach::Administrator => app.webhooks.all().await?,
        Reach::Tenant(tenant) => app.webhooks.of(tenant.organization, tenant.team).await?,
    };
    found.sort_by_key(|stored| std::cmp::Reverse(stored.value.created_at));
    let mut webhooks = Vec::with_capacity(found.len());
    for stored in found {
        webhooks.push(view(&app, stored).await?.value.webhook);
    }
    Ok(Json(WebhookList { webhooks }))
}

async fn view(app: &App, stored: StoredWebhook) -> Result<Tagged<OneWebhook>, ApiError> {
    let health = app.webhooks.health(stored.value.id).await?;
    Ok(Tagged {
        version: stored.version,
        value: OneWebhook {
            webhook: WebhookView::new(stored.value, health),
        },
    })
}

/// Create a webhook
///
/// What signs its deliveries is in this answer and never shown again.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn create(
    caller: Caller,
    State(app): State<App>,
    JsonBody(body): JsonBody<WebhookBody>,
) -> Result<Created<Json<CreatedWebhook>>, ApiError> {
    let mut new = body.into_webhook()?;
    (new.organization_id, new.team_id) = caller.places(
        new.organization_id,
        new.team_id,
        WebhookError::NoSuchOrganization,
        WebhookError::NoSuchTeam,
    )?;
    let (stored, secret) = app.webhooks.create(new, &caller.by).await?;
    app.delivering.changed().await?;
    tracing::info!(webhook.id = %stored.value.id, "created a webhook");
    let created = CreatedWebhook {
        webhook: WebhookView::new(stored.value, Health::default()),
        secret: secret.reveal().to_owned(),
    };
    Ok(Created(Json(created)))
}

/// Get a webhook
#[utoipa::path(get, path = "")]
pub async fn get(
    path: WebhookPath,
    State(app): State<App>,
) -> Result<Tagged<OneWebhook>, ApiError> {
    view(&app, path.stored).await
}

/// Change a webhook
///
/// What is absent stays as it is. Who turns a webhook on again forgets its failures.
#[utoipa::path(method(put, patch), path = "", responses(Conflict))]
pub async fn update(
    path: WebhookPath,
    State(app): State<App>,
    if_match: IfMatch,
    JsonBody(body): JsonBody<WebhookBody>,
) -> Result<Tagged<OneWebhook>, ApiError> {
    let expected = if_match.version(path.stored.version)?;
    let change = body.into_change()?;
    let by = &path.caller.by;
    let stored = app
        .webhooks
        .update(path.id(), &change, expected, by)
        .await?;
    tracing::info!(webhook.id = %path.id(), "changed a webhook");
    app.delivering.changed().await?;
    view(&app, stored).await
}

/// Delete a webhook
///
/// Nothing is sent to it from now on.
#[utoipa::path(delete, path = "", responses(Conflict))]
pub async fn delete(path: WebhookPath, State(app): State<App>) -> Result<NoContent, ApiError> {
    app.webhooks.delete(path.id(), &path.caller.by).await?;
    tracing::info!(webhook.id = %path.id(), "deleted a webhook");
    Ok(NoContent)
}

/// Give a webhook a new signing secret
///
/// It is in this answer and never shown again. The one before signs as well until its grace is over.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn rotate_secret(
    path: WebhookPath,
    State(app): State<App>,
    OptionalJsonBody(body): OptionalJsonBody<RotateWebhookSecret>,
) -> Result<Json<RotatedWebhookSecret>, ApiError> {
    let grace = body.grace();
    let secret = app
        .webhooks
        .rotate_secret(path.id(), grace, &path.caller.by);
    let secret = secret.await?;
    tracing::info!(webhook.id = %path.id(), "rotated a webhook's signing secret");
    Ok(Json(RotatedWebhookSecret {
        secret: secret.reveal().to_owned(),
        previous_secret_expires_at: Date(app.clock.now().saturating_add(grace)),
    }))
}

/// Test a webhook
///
/// The test is sent at once, also to a webhook that is not active, and the answer says what became of it.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn test(
    path: WebhookPath,
    State(app): State<App>,
    OptionalJsonBody(body): OptionalJsonBody<WebhookTest>,
) -> Result<Json<Tested>, ApiError> {
    let (event, payload) = body.read()?;
    let webhook = &path.stored.value;
    let delivery = app.delivering.test(webhook, event, payload).await?;
    app.webhooks.tested(path.id(), &path.caller.by).await?;
    Ok(Json(Tested {
        success: delivery.status == Status::Delivered,
        status_code: delivery.last_status_code.unwrap_or(0),
        error: delivery.last_error,
    }))
}

/// Which deliveries a list is to have.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct DeliveryFilter {
    /// Only those that stand there: `pending`, `retrying`, `delivered`, `failed` or `dead`.
    #[param(value_type = Option<String>)]
    status: Option<Status>,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryFilter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        let Query(filter) = query.map_err(|_| {
            ApiError::InvalidRequest(
                "status: pending, retrying, delivered, failed or dead; at most once".into(),
            )
        })?;
        Ok(filter)
    }
}

impl DescribeRequest for DeliveryFilter {
    fn describe(operation: &mut Description<'_>) {
        operation.query::<Self>().refuses::<BadRequest>();
    }
}

/// List the deliveries to a webhook
///
/// The newest first.
#[utoipa::path(get, path = "")]
pub async fn deliveries(
    path: WebhookPath,
    State(app): State<App>,
    page: PageQuery,
    filter: DeliveryFilter,
) -> Result<Json<DeliveryList>, ApiError> {
    let window = page.page()?;
    let (found, next_cursor) = app
        .webhooks
        .deliveries_at(path.id(), filter.status, page.cursor()?, window.end())
        .await?;
    let deliveries = found.into_iter().skip(window.start());
    Ok(Json(DeliveryList {
        deliveries: deliveries.map(DeliveryView::from).collect(),
        pagination: None,
        next_cursor,
    }))
}

/// The path's `delivery_id`.
#[derive(Debug, Deserialize, IntoParams)]
pub struct DeliveryParameter {
    /// The delivery.
    #[param(format = Uuid)]
    delivery_id: String,
}

impl DeliveryParameter {
    fn id(&self) -> Result<DeliveryId, ApiError> {
        let id = self.delivery_id.parse();
        id.map_err(|_| ApiError::NO_SUCH_DELIVERY)
    }
}

/// Get a delivery
#[utoipa::path(get, path = "")]
pub async fn delivery(
    path: WebhookPath,
    Path(parameter): Path<DeliveryParameter>,
    State(app): State<App>,
) -> Result<Json<OneDelivery>, ApiError> {
    let delivery = app.webhooks.delivery(path.id(), parameter.id()?).await?;
    let delivery = delivery.into();
    Ok(Json(OneDelivery { delivery }))
}

/// Send a delivery again
///
/// As if it had never been tried, and with the same id.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn replay_one(
    path: WebhookPath,
    Path(parameter): Path<DeliveryParameter>,
    State(app): State<App>,
) -> Result<Json<OneDelivery>, ApiError> {
    let (webhook, by) = (&path.stored.value, &path.caller.by);
    let delivery = app
        .webhooks
        .replay_one(webhook, parameter.id()?, by)
        .await?;
    tracing::info!(webhook.id = %path.id(), delivery.id = %delivery.id, "a delivery is sent again");
    app.delivering.wake();
    let delivery = delivery.into();
    Ok(Json(OneDelivery { delivery }))
}

/// Send again what was given up, or everything since a time
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn replay(
    path: WebhookPath,
    State(app): State<App>,
    JsonBody(body): JsonBody<WebhookReplay>,
) -> Result<Json<Replayed>, ApiError> {
    let which = body.which()?;
    let (webhook, by) = (&path.stored.value, &path.caller.by);
    let replayed = app.delivering.replay(webhook, which, by).await?;
    tracing::info!(webhook.id = %path.id(), replayed, "deliveries are sent again");
    Ok(Json(Replayed { replayed }))
}

/// List what can be subscribed to
#[utoipa::path(get, path = "")]
pub async fn events(_: Caller) -> Json<EventList> {
    Json(EventList {
        events: Action::ALL.iter().map(|action| action.as_str()).collect(),
    })
}
