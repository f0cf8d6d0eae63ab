//! Judging webhooks.

use serde_json::Value;

use super::{Ended, Judge, Judged, here, read};
use crate::domain::webhooks::{BroughtWebhook, MAX_WEBHOOKS, Webhook, WebhookChange, WebhookError};
use crate::store::StoreError;
use crate::transfer::document::WebhookObject;
use crate::transfer::import::Object;
use crate::transfer::import::convert::{self, Notes};
use crate::transfer::report::Kind;

impl Judge<'_> {
    pub(in crate::transfer::import) async fn webhooks(
        &mut self,
        values: &[Value],
    ) -> Result<(), StoreError> {
        for value in values {
            let mut notes = Notes::new();
            let judged = self.webhook(value, &mut notes).await;
            self.record(Kind::Webhook, value, judged, notes)?;
        }
        Ok(())
    }

    async fn webhook(&mut self, value: &Value, notes: &mut Notes) -> Result<Judged, Ended> {
        let object: WebhookObject = read(value, &convert::WEBHOOK, notes)?;
        let organization_name = object.organization_id.clone();
        let brought = convert::webhook(object, self.now, notes)?;
        let (id, organization) = (brought.id, brought.new.organization_id);
        if let Some(organization) = organization {
            self.require_organization(organization, &organization_name)
                .await?;
        }
        self.require_team(organization, brought.new.team_id).await?;
        match self.app.webhooks.find(id).await {
            Ok(existing) => {
                let fields = differing(&existing.value, &brought);
                return Ok((id.to_string(), here(fields)));
            }
            Err(WebhookError::Store(error)) => return Err(error.into()),
            Err(_) => {}
        }
        let accepted = self.app.webhooks.accepts(&brought.new);
        accepted.map_err(|invalid| invalid.to_string())?;
        if !self.webhooks.contains_key(&organization) {
            let existing = self.app.webhooks.beside(organization).await?;
            let existing = existing.into_iter().map(|stored| stored.value.id);
            self.webhooks.insert(organization, existing.collect());
        }
        let webhooks = self.webhooks.entry(organization).or_default();
        if webhooks.len() >= MAX_WEBHOOKS {
            return Err(WebhookError::TooMany.to_string().into());
        }
        if !webhooks.insert(id) {
            return Err("id: another webhook of the document has it".into());
        }
        Ok((id.to_string(), Ok(Some(Object::Webhook(Box::new(brought))))))
    }
}

/// Not in secrets: those may have been rotated since.
fn differing(here: &Webhook, there: &BroughtWebhook) -> Vec<&'static str> {
    let mut fields = differing!(here, there.new, [organization_id, team_id]);
    let here = WebhookChange {
        name: Some(here.name.clone()),
        url: Some(here.url.clone()),
        events: Some(here.events.clone()),
        is_active: Some(here.is_active),
        max_retries: Some(here.max_retries),
        retry_backoff_base: Some(here.retry_backoff_base),
        format: Some(here.format),
        token_events: Some(here.token_events),
    };
    let there = &there.new.profile;
    fields.extend(differing!(
        here,
        there,
        [name, url, events, is_active, token_events]
    ));
    // What the document does not say is as usual here.
    let mut said = |name, differs: bool| {
        if differs {
            fields.push(name);
        }
    };
    said(
        "max_retries",
        there.max_retries.is_some() && there.max_retries != here.max_retries,
    );
    said(
        "retry_backoff_base",
        there.retry_backoff_base.is_some() && there.retry_backoff_base != here.retry_backoff_base,
    );
    said(
        "format",
        there.format.is_some() && there.format != here.format,
    );
    fields
}
