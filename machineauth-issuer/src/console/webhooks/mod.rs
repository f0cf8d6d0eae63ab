//! `/admin/webhooks`

mod actions;
pub mod deliveries;
mod detail;
mod list;
mod profile;
mod secret;

use crate::app::App;
use crate::domain::id::WebhookId;
use crate::domain::webhooks::StoredWebhook;
use crate::error::ApiError;
use crate::paths;

pub use self::actions::{delete, replay_given_up, replay_since, rotate, test, turn_off, turn_on};
pub use self::detail::show;
pub use self::list::list;
pub use self::profile::{change, create, edit, new};

/// The webhook that a path names.
async fn found(app: &App, id: &str) -> Result<StoredWebhook, ApiError> {
    // What is no identifier names no webhook.
    let id: WebhookId = id.parse().map_err(|_| ApiError::NO_SUCH_WEBHOOK)?;
    Ok(app.webhooks.find(id).await?)
}

/// Where a webhook's page is.
fn path_of(id: WebhookId) -> String {
    format!("{}/webhooks/{id}", paths::ADMIN)
}
