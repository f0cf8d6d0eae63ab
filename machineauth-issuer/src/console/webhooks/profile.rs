//! The form of a webhook: creating and changing it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::secret::signing_secret;
use super::{found, path_of};
use crate::app::App;
use crate::console::address::Path;
use crate::console::failure::Failure;
use crate::console::form::{Form, wrong};
use crate::console::names;
use crate::console::page::{Done, Section, Shell, page, refused};
use crate::console::session::{Change, Editor};
use crate::domain::event::Action;
use crate::domain::organization::Organization;
use crate::domain::secret::SecretText;
use crate::domain::webhooks::{
    DEFAULT_BACKOFF_BASE, Format, InvalidWebhook, NewWebhook, StoredWebhook, Subscription,
    TokenEvents, Webhook, WebhookChange, WebhookError, WebhookUrl,
};
use crate::error::ApiError;

#[derive(Template)]
#[template(path = "webhooks/form.html")]
struct FormPage {
    shell: Shell,
    form: Form,
    /// The webhook that is changed.
    webhook: Option<Webhook>,
    organizations: Vec<Organization>,
}

impl FormPage {
    async fn new(app: &App, change: Change, webhook: Option<Webhook>) -> Result<Self, Failure> {
        let organizations = match webhook {
            Some(_) => Vec::new(),
            None => names::some_organizations(app).await?,
        };
        Ok(Self {
            shell: change.administrator.shell(app, Section::Webhooks),
            form: change.form,
            webhook,
            organizations,
        })
    }

    fn actions(&self) -> &'static [Action] {
        Action::ALL
    }
}

/// The form for a new webhook.
pub async fn new(editor: Editor, State(app): State<App>) -> Result<Response, Failure> {
    let form = Form::filled([
        ("events", "*".to_owned()),
        ("max_retries", app.webhooks.policy.max_retries.to_string()),
        ("retry_backoff_base", DEFAULT_BACKOFF_BASE.to_string()),
    ]);
    let shown = FormPage::new(&app, editor.fills(form), None);
    Ok(page(&shown.await?))
}

/// Creates a webhook and shows what signs its deliveries.
pub async fn create(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    match created(&app, &change).await {
        Ok((stored, secret)) => {
            tracing::info!(webhook.id = %stored.value.id, "created a webhook");
            let title = format!("The webhook {} was created", stored.value.name);
            Ok(signing_secret(
                &app,
                &change,
                &stored.value,
                &title,
                &secret,
            ))
        }
        Err(error) => {
            let shown = FormPage::new(&app, change.refused(error)?, None);
            Ok(refused(&shown.await?))
        }
    }
}

async fn created(app: &App, change: &Change) -> Result<(StoredWebhook, SecretText), ApiError> {
    let form = &change.form;
    let new = NewWebhook {
        organization_id: form.id("organization_id")?,
        team_id: form.id("team_id")?,
        profile: profile(form)?,
    };
    change.prove(app).await?;
    let created = app.webhooks.create(new, change.by()).await?;
    app.delivering.changed().await?;
    Ok(created)
}

/// The form with a webhook as it is.
pub async fn edit(
    editor: Editor,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let change = editor.fills(filled(&stored));
    let shown = FormPage::new(&app, change, Some(stored.value));
    Ok(page(&shown.await?))
}

/// Changes a webhook.
pub async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    match changed(&app, &change, &stored).await {
        Ok(()) => {
            tracing::info!(webhook.id = %stored.value.id, "changed a webhook");
            Ok(Done::WEBHOOK_CHANGED.then(&path_of(stored.value.id)))
        }
        Err(error) => {
            let webhook = Some(stored.value);
            let shown = FormPage::new(&app, change.refused(error)?, webhook);
            Ok(refused(&shown.await?))
        }
    }
}

async fn changed(app: &App, change: &Change, stored: &StoredWebhook) -> Result<(), ApiError> {
    let profile = profile(&change.form)?;
    change.form.is_of(stored.version)?;
    let (id, version, by) = (stored.value.id, Some(stored.version), change.by());
    app.webhooks.update(id, &profile, version, by).await?;
    Ok(app.delivering.changed().await?)
}

/// What is typed, as far as it can be understood; the domain judges the rest.
fn profile(form: &Form) -> Result<WebhookChange, ApiError> {
    let url = WebhookUrl::try_from(form.value("url").trim().to_owned());
    let events = form.values("events").map(str::to_owned);
    let events: Result<Vec<_>, InvalidWebhook> = match form.has("events", "*") {
        true => Subscription::try_from("*".to_owned()).map(|all| vec![all]),
        false => events.map(Subscription::try_from).collect(),
    };
    let invalid = |error| match error {
        InvalidWebhook::Events => wrong("events", "choose one at least, or everything"),
        error => WebhookError::from(error).into(),
    };
    Ok(WebhookChange {
        name: Some(form.value("name").trim().to_owned()),
        url: Some(url.map_err(invalid)?),
        events: Some(events.map_err(invalid)?),
        is_active: None,
        max_retries: form.number("max_retries")?,
        retry_backoff_base: form.number("retry_backoff_base")?,
        format: Some(match form.value("format") {
            "cloudevents" => Format::CloudEvents,
            _ => Format::Flat,
        }),
        token_events: Some(match form.value("token_events") {
            "each" => Some(TokenEvents::Each),
            "aggregate" => Some(TokenEvents::Aggregate),
            "off" => Some(TokenEvents::Off),
            _ => None,
        }),
    })
}

fn filled(stored: &StoredWebhook) -> Form {
    let webhook = &stored.value;
    let form = Form::filled([
        ("version", stored.version.to_string()),
        ("name", webhook.name.clone()),
        ("url", webhook.url.as_str().to_owned()),
        ("max_retries", webhook.max_retries.to_string()),
        ("retry_backoff_base", webhook.retry_backoff_base.to_string()),
        (
            "format",
            match webhook.format {
                Format::Flat => "flat",
                Format::CloudEvents => "cloudevents",
            }
            .to_owned(),
        ),
        (
            "token_events",
            match webhook.token_events {
                None => "",
                Some(TokenEvents::Each) => "each",
                Some(TokenEvents::Aggregate) => "aggregate",
                Some(TokenEvents::Off) => "off",
            }
            .to_owned(),
        ),
    ]);
    let events = webhook.events.iter().map(Subscription::as_str);
    events.fold(form, |form, event| form.with("events", event))
}
