//! A webhook of the document.

use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::sha256;

use super::{FromDocument, Notes, some};
use crate::domain::id::{OrganizationId, TeamId, WebhookId};
use crate::domain::secret::SecretText;
use crate::domain::webhooks::{
    BroughtWebhook, InvalidWebhook, MAX_BACKOFF_BASE, MAX_RETRIES, NewWebhook, Subscription,
    WebhookChange, WebhookUrl,
};
use crate::store::Partition;
use crate::transfer::document::{Time, WebhookObject};

/// What the members of a webhook are called.
pub(in crate::transfer::import) const WEBHOOK: [&str; 16] = [
    "id",
    "organization_id",
    "team_id",
    "name",
    "url",
    "secret",
    "events",
    "is_active",
    "max_retries",
    "retry_backoff_base",
    "created_at",
    "updated_at",
    "last_tested_at",
    // A receiver begins anew with another server.
    "consecutive_fails",
    "format",
    "token_events",
];
/// A secret below that many bytes can be guessed from one delivery.
const SHORTEST_SECRET: usize = 16;
const LONGEST_SECRET: usize = 1_024;

pub(in crate::transfer::import) fn webhook(
    object: WebhookObject,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<BroughtWebhook, String> {
    let created_at = Time::read(object.created_at).unwrap_or(now);
    let organization = some(&object.organization_id).map(OrganizationId::read);
    let invalid = |invalid: InvalidWebhook| invalid.to_string();
    Ok(BroughtWebhook {
        id: id(&object.id, organization, notes)?,
        new: NewWebhook {
            organization_id: organization,
            team_id: some(&object.team_id).map(TeamId::read),
            profile: WebhookChange {
                name: Some(object.name),
                url: Some(WebhookUrl::try_from(object.url).map_err(invalid)?),
                events: Some(events(object.events, notes)),
                is_active: Some(object.is_active),
                max_retries: bounded(object.max_retries, 0..=MAX_RETRIES, "max_retries", notes),
                retry_backoff_base: bounded(
                    object.retry_backoff_base,
                    1..=MAX_BACKOFF_BASE,
                    "retry_backoff_base",
                    notes,
                ),
                format: object.format,
                token_events: Some(object.token_events),
            },
        },
        secret: secret(object.secret, notes)?,
        created_at,
        updated_at: Time::read(object.updated_at).unwrap_or(created_at),
        last_tested_at: Time::read(object.last_tested_at),
    })
}

/// The webhook's identifier. One of an organization lives beside it, so an identifier that falls elsewhere is replaced by
/// one that follows from it: every later import finds the same.
fn id(
    text: &str,
    organization: Option<OrganizationId>,
    notes: &mut Notes,
) -> Result<WebhookId, String> {
    let Some(home) = organization.map(|organization| organization.partition()) else {
        return WebhookId::bear(text, notes);
    };
    if text.is_empty() {
        return Err("id: missing".to_owned());
    }
    if let Some(id) = WebhookId::parse(text).filter(|id| id.partition() == home) {
        return Ok(id);
    }
    notes.push(format!(
        "id: it was {text:?}; a webhook of an organization has one that belongs there"
    ));
    Ok(following(text, home))
}

fn following(text: &str, home: Partition) -> WebhookId {
    let candidate = |number: u32| {
        let name = format!("machineauth import {}\n{text}\n{number}", WebhookId::KIND);
        let digest = sha256(name.as_bytes());
        let (bytes, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        let id = uuid::Builder::from_custom_bytes(*bytes).into_uuid();
        WebhookId::from_bytes(id.into_bytes())
    };
    (0..)
        .map(candidate)
        .find(|id| id.partition() == home)
        .expect("every 32nd identifier fits")
}

fn events(names: Vec<String>, notes: &mut Notes) -> Vec<Subscription> {
    let mut events = Vec::new();
    for name in names {
        match Subscription::try_from(name.clone()) {
            Ok(event) => events.push(event),
            Err(_) => notes.push(format!(
                "events: {name:?} is left out, nothing here is called that"
            )),
        }
    }
    events
}

/// The number, or the nearest that there can be here.
fn bounded(
    number: Option<i64>,
    range: std::ops::RangeInclusive<u32>,
    name: &str,
    notes: &mut Notes,
) -> Option<u32> {
    let number = number?;
    let nearest = number.clamp((*range.start()).into(), (*range.end()).into());
    if nearest != number {
        notes.push(format!("{name}: {nearest} instead of {number}"));
    }
    u32::try_from(nearest).ok()
}

fn secret(secret: Option<SecretText>, notes: &mut Notes) -> Result<Option<SecretText>, String> {
    let Some(secret) = secret else {
        notes.push("secret: there is none, so it gets a new one: rotate it to learn it".to_owned());
        return Ok(None);
    };
    match secret.reveal().len() {
        ..SHORTEST_SECRET => notes.push("secret: it can be guessed; rotate it".to_owned()),
        SHORTEST_SECRET..=LONGEST_SECRET => {}
        _ => return Err(format!("secret: at most {LONGEST_SECRET} bytes")),
    }
    Ok(Some(secret))
}
