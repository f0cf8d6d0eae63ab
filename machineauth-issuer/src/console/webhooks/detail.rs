//! The page of a webhook, with its deliveries.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::{found, path_of};
use crate::app::App;
use crate::console::address::{Path, Query};
use crate::console::failure::Failure;
use crate::console::form::Form;
use crate::console::moment::{Moment, Number};
use crate::console::names::Names;
use crate::console::page::{Section, Shell, page, refused};
use crate::console::session::{Administrator, Change};
use crate::domain::id::DeliveryId;
use crate::domain::webhooks::{Delivery, Health, Status, StoredWebhook, Webhook};

/// How many deliveries a page has.
const PAGE: usize = 25;

/// Which deliveries, from where on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    status: String,
    before: String,
    done: Option<String>,
}

/// What was typed into the forms of the page.
#[derive(Debug, Default)]
pub(super) struct Forms {
    pub(super) rotation: Form,
    pub(super) replay: Form,
    pub(super) deletion: Form,
}

#[derive(Template)]
#[template(path = "webhooks/detail.html")]
struct DetailPage {
    shell: Shell,
    webhook: Webhook,
    path: String,
    organization: Option<String>,
    health: Health,
    waiting: i64,
    given_up: i64,
    deliveries: Vec<Delivery>,
    status: Option<Status>,
    next: Option<DeliveryId>,
    is_continued: bool,
    forms: Forms,
}

impl DetailPage {
    async fn new(
        app: &App,
        administrator: &Administrator,
        stored: StoredWebhook,
        asked: &Asked,
        forms: Forms,
    ) -> Result<Self, Failure> {
        let webhook = stored.value;
        let id = webhook.id;
        let status = Status::ALL
            .into_iter()
            .find(|status| status.as_str() == asked.status);
        // A list that cannot be continued begins anew.
        let before = asked.before.parse().ok();
        let listed = app.webhooks.deliveries_at(id, status, before, PAGE);
        let (deliveries, next) = listed.await?;
        let names = Names::of(app, webhook.organization_id.into_iter()).await?;
        let (_, given_up) = app.webhooks.remembered(id).await?;
        Ok(Self {
            shell: administrator
                .shell(app, Section::Webhooks)
                .after(asked.done.as_deref()),
            path: path_of(id),
            organization: webhook.organization_id.map(|id| names.name(&id)),
            health: app.webhooks.health(id).await?,
            waiting: app.webhooks.waiting(id).await?,
            given_up,
            next,
            deliveries,
            status,
            is_continued: before.is_some(),
            webhook,
            forms,
        })
    }

    /// The query that shows the same deliveries again.
    fn query(&self) -> String {
        match self.status {
            Some(status) => format!("?status={}", status.as_str()),
            None => String::new(),
        }
    }

    fn is_chosen(&self, status: &str) -> bool {
        self.status.map_or("", Status::as_str) == status
    }
}

/// The page.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let shown = DetailPage::new(&app, &administrator, stored, &asked, Forms::default());
    Ok(page(&shown.await?))
}

/// The page again, with the form that was refused in its place.
///
/// # Errors
/// The store's failure.
pub(super) async fn refused_with(
    app: &App,
    change: Change,
    stored: StoredWebhook,
    place: fn(&mut Forms) -> &mut Form,
) -> Result<Response, Failure> {
    let (mut forms, asked) = (Forms::default(), Asked::default());
    *place(&mut forms) = change.form;
    let shown = DetailPage::new(app, &change.administrator, stored, &asked, forms);
    Ok(refused(&shown.await?))
}
