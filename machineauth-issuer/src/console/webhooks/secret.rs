//! The page that shows what signs a webhook's deliveries, once.

use axum::response::Response;

use super::path_of;
use crate::app::App;
use crate::console::page::Section;
use crate::console::session::Change;
use crate::console::shown_once::ShownOnce;
use crate::domain::secret::SecretText;
use crate::domain::webhooks::Webhook;

/// The answer with the signing secret, under a title that says what happened.
pub(super) fn signing_secret(
    app: &App,
    change: &Change,
    webhook: &Webhook,
    title: &str,
    secret: &SecretText,
) -> Response {
    let shown = ShownOnce {
        shell: change.administrator.shell(app, Section::Webhooks),
        title,
        label: "Signing secret",
        purpose: "The receiver checks with it that a delivery comes from here.",
        path: path_of(webhook.id),
        back: &webhook.name,
        secret,
    };
    shown.answer()
}
