//! Sending again: what was given up, or everything since a time.

use machineauth_core::clock::Timestamp;

use super::payload;
use crate::date::Date;
use crate::domain::event::{self, Action, By, Event, Fact};
use crate::domain::webhooks::{Delivery, Status, Webhook, WebhookError, Webhooks};
use crate::store::{Log, LogRead, Partition};

/// How many deliveries or entries are read at once.
const PAGE: usize = 500;

/// What to send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// What was tried in vain.
    GivenUp,
    /// Everything that happened from then on, also what was never sent, because the webhook was inactive for example.
    Since(Timestamp),
}

impl Replay {
    /// That it was asked for.
    fn fact(self, webhook: &Webhook) -> Fact {
        let fact = Fact::webhook(Action::WebhookReplayed, webhook);
        match self {
            Self::GivenUp => fact.with("status", "dead"),
            Self::Since(since) => fact.with("since", Date(since).to_string()),
        }
    }
}

/// Sends again to `webhook` what is asked for. Says how many deliveries that are.
///
/// # Errors
/// The store's failure. What was asked for until then is sent.
pub async fn replay(
    webhooks: &Webhooks,
    webhook: &Webhook,
    source: &str,
    what: Replay,
    by: &By,
) -> Result<usize, WebhookError> {
    // It takes many commits. Whatever ends it between two of them, it is known who began.
    let partition = webhook.id.partition();
    let now = webhooks.clock.now();
    event::record_alone(&*webhooks.store, partition, what.fact(webhook), by, now).await?;
    match what {
        Replay::GivenUp => {
            let is_given_up = |delivery: &Delivery| {
                matches!(delivery.status, Status::Failed | Status::Dead)
                    && delivery.position.is_some()
            };
            again(webhooks, webhook, Timestamp::from_millis(0), is_given_up).await
        }
        Replay::Since(since) => {
            let known = again(webhooks, webhook, since, |delivery| {
                delivery.status.is_final() && delivery.position.is_some()
            });
            let known = known.await?;
            Ok(known + never_sent(webhooks, webhook, source, since).await?)
        }
    }
}

/// Asks again for the deliveries since a time that are meant.
async fn again(
    webhooks: &Webhooks,
    webhook: &Webhook,
    since: Timestamp,
    is_meant: impl Fn(&Delivery) -> bool,
) -> Result<usize, WebhookError> {
    let mut asked = 0;
    let mut before = None;
    loop {
        let some = webhooks.deliveries(webhook.id, before, PAGE).await?;
        before = some.last().map(|delivery| delivery.id);
        let is_last = some.len() < PAGE || some.iter().any(|delivery| delivery.created_at < since);
        let meant = some
            .iter()
            .filter(|delivery| delivery.created_at >= since && is_meant(delivery));
        for delivery in meant {
            match webhooks.ask_again(webhook.id, delivery.id).await {
                Ok(_) => asked += 1,
                Err(WebhookError::NoSuchDelivery) => {}
                Err(error) => return Err(error),
            }
        }
        if is_last {
            return Ok(asked);
        }
    }
}

/// Creates the deliveries of events since a time that have none.
async fn never_sent(
    webhooks: &Webhooks,
    webhook: &Webhook,
    source: &str,
    since: Timestamp,
) -> Result<usize, WebhookError> {
    let logs: Vec<_> = match webhook.organization_id {
        Some(organization) => vec![organization.partition()],
        None => Partition::all().collect(),
    };
    let mut created = 0;
    for partition in logs {
        let mut position = webhooks.store.tail(partition, Log::Audit).await?;
        while let LogRead::Entries(entries) = webhooks
            .store
            .log(partition, Log::Audit, &position, PAGE)
            .await?
        {
            let Some((last, _)) = entries.last() else {
                break;
            };
            position = *last;
            let deliveries = entries.iter().filter_map(|(position, entry)| {
                let event = Event::decode(entry).ok()?;
                let place = (partition, *position);
                let is_meant =
                    event.at >= since && webhook.hears(&event, place, webhooks.policy.token_events);
                let position = format!("{partition}.{}", position.sequence());
                is_meant.then(|| payload::delivery(webhook, &event, position, source))
            });
            created += webhooks.enqueue(webhook.id, deliveries.collect()).await?;
        }
    }
    Ok(created)
}
