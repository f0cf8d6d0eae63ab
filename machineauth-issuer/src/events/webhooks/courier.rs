//! From deliveries to receivers.
//!
//! A courier has a fixed number of hands, and gives one to whoever's turn it is (`round.rs`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use machineauth_core::crypto::random;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::payload;
use super::round::{LOOK_EVERY, Returned, Round};
use super::sender::Sender;
use crate::domain::event::{Action, Demand, Recorder};
use crate::domain::id::WebhookId;
use crate::domain::webhooks::{
    Claim, Delivery, Settled, Status, StoredWebhook, TokenEvents, Webhook, WebhookError, Webhooks,
};
use crate::metrics::DeliveryCounts;
use crate::store::StoreError;
use crate::telemetry::Chain;

/// How much longer than an attempt a claim lasts.
const LEASE_MARGIN: Duration = Duration::from_secs(20);
/// A receiver that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// How long attempts in flight may take once the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Delivers.
#[derive(Debug)]
pub struct Courier {
    /// What is to be delivered.
    pub webhooks: Arc<Webhooks>,
    /// Records what webhooks want to hear of tokens.
    pub recorder: Arc<Recorder>,
    /// Sends.
    pub sender: Sender,
    /// How many deliveries are sent at the same time (`WEBHOOK_WORKER_COUNT`). With none, the courier still says what
    /// webhooks want to hear of.
    pub hands: usize,
    /// Says that there is something new.
    pub wake: Arc<Notify>,
    /// What became of attempts.
    pub counts: DeliveryCounts,
}

impl Courier {
    /// Delivers until `stop` says so; attempts in flight then finish, as far as there is time.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut round = Round::default();
        let mut hands = JoinSet::new();
        loop {
            if let Err(error) = self.fill(&mut round, &mut hands).await {
                tracing::warn!(error = %Chain(&error), "deliveries to webhooks cannot be read; it is tried again");
            }
            tokio::select! {
                _ = stop.wait_for(|stopped| *stopped) => break,
                Some(returned) = hands.join_next() => {
                    if let Ok(returned) = returned {
                        round.returned(&returned);
                    }
                }
                () = self.wake.notified() => round.look_everywhere(),
                () = tokio::time::sleep_until(round.next_look()) => {}
            }
        }
        // What is cut off comes up again when its lease is over.
        let finished = async { while hands.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, finished).await.is_err() {
            tracing::info!("some deliveries to webhooks were cut off; they are tried again");
        }
    }

    /// The active webhooks. What they want to hear of tokens is recorded from now on.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn read_webhooks(&self) -> Result<Vec<StoredWebhook>, StoreError> {
        let mut active = self.webhooks.all().await?;
        active.retain(|stored| stored.value.is_active);
        let mut demand = Demand::default();
        for webhook in active.iter().map(|stored| &stored.value) {
            match (
                webhook.wants_of_tokens(self.webhooks.policy.token_events),
                webhook.organization_id,
            ) {
                (TokenEvents::Each, None) => demand.each = true,
                (TokenEvents::Each, Some(organization)) => {
                    demand.each_of.insert(organization);
                }
                (TokenEvents::Aggregate, _) => demand.sums = true,
                (TokenEvents::Off, _) => {}
            }
        }
        self.recorder.demand(demand);
        Ok(active)
    }

    /// Gives free hands something to do, as long as there is something.
    async fn fill(
        self: &Arc<Self>,
        round: &mut Round,
        hands: &mut JoinSet<Returned>,
    ) -> Result<(), StoreError> {
        if round.is_outdated() {
            let webhooks = self.read_webhooks().await?;
            let webhooks = webhooks.iter().map(|stored| &stored.value);
            round.refill(
                webhooks
                    .map(|webhook| (webhook.id, webhook.organization_id))
                    .collect(),
            );
        }
        while hands.len() < self.hands {
            let Some(webhook) = round.next(self.hands) else {
                break;
            };
            match self.claim(webhook).await? {
                Found::Claim(claim) => {
                    round.begun(webhook);
                    let courier = Arc::clone(self);
                    hands.spawn(async move {
                        let delivered = AssertUnwindSafe(courier.deliver(webhook, *claim));
                        // A panic is logged, and gives the hand back.
                        delivered.catch_unwind().await.unwrap_or(Returned {
                            webhook,
                            in_time: false,
                        })
                    });
                }
                Found::Nothing { look_again } => round.look_again(webhook, look_again),
                Found::Taken => {}
            }
        }
        Ok(())
    }

    /// Claims something that is due.
    async fn claim(&self, webhook: WebhookId) -> Result<Found, StoreError> {
        let now = self.webhooks.clock.now();
        let waiting = self.webhooks.due(webhook, self.hands).await?;
        let due: Vec<_> = waiting.iter().filter(|(at, _)| *at <= now).collect();
        let Some(at) = pick(due.len()) else {
            let wait = waiting.first().map(|(at, _)| *at);
            let wait = wait.map(|at| Duration::from_millis(at.as_millis() - now.as_millis()));
            return Ok(Found::Nothing {
                look_again: wait.unwrap_or(LOOK_EVERY).min(LOOK_EVERY),
            });
        };
        let lease = self.sender.timeout() + LEASE_MARGIN;
        let claim = self.webhooks.claim(webhook, *due[at], lease).await?;
        Ok(claim.map_or(Found::Taken, |claim| Found::Claim(Box::new(claim))))
    }

    /// Sends a test at once, whether or not the webhook is active, with `body` or a body of ours.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn test(
        &self,
        webhook: &Webhook,
        event: Action,
        body: Option<String>,
    ) -> Result<Delivery, StoreError> {
        let now = self.webhooks.clock.now();
        let body = body.unwrap_or_else(|| payload::test_body(webhook, event, now));
        let mut delivery = payload::test(webhook, event, body, now);
        let secrets = self.webhooks.signing_secrets(webhook, now)?;
        let url = webhook.url.as_str();
        let attempt = self.sender.send_now(url, &delivery, &secrets, now).await;
        delivery.settle_for_good(&attempt, self.webhooks.clock.now());
        self.webhooks.keep(&delivery).await?;
        Ok(delivery)
    }

    async fn deliver(&self, id: WebhookId, claim: Claim) -> Returned {
        let begun = Instant::now();
        let settled = self.attempt(id, claim).await;
        let has_failed = match settled {
            Ok(Some(settled)) => {
                self.counts.count(settled.status);
                if settled.disabled {
                    tracing::warn!(webhook.id = %id, "a webhook was disabled: its receiver is gone or takes nothing");
                }
                settled.status != Status::Delivered
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(webhook.id = %id, error = %Chain(&error), "a delivery could not be settled; it is tried again");
                true
            }
        };
        Returned {
            webhook: id,
            in_time: !has_failed && begun.elapsed() <= SLOW,
        }
    }

    /// Sends a delivery and notes what became of it. `None` when there was nothing to do.
    async fn attempt(&self, id: WebhookId, claim: Claim) -> Result<Option<Settled>, WebhookError> {
        // As the record stands now: a webhook that was deleted or disabled stops at once.
        let webhook = match self.webhooks.find(id).await {
            Ok(stored) if stored.value.is_active => stored.value,
            Ok(_) | Err(WebhookError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let secrets = self
            .webhooks
            .signing_secrets(&webhook, self.webhooks.clock.now())?;
        let attempt = self
            .sender
            .send(
                webhook.url.as_str(),
                &claim.delivery,
                &secrets,
                self.webhooks.clock.now(),
            )
            .await;
        let settled = self.webhooks.settle(&webhook, claim, &attempt, jitter());
        Ok(settled.await?)
    }
}

/// What there is to do for a webhook.
enum Found {
    Claim(Box<Claim>),
    /// Somebody else was faster.
    Taken,
    Nothing {
        look_again: Duration,
    },
}

/// One of the first, so that issuers on one store rarely reach for the same.
fn pick(candidates: usize) -> Option<usize> {
    let [random] = random::<1>();
    usize::from(random).checked_rem(candidates)
}

fn jitter() -> f64 {
    let [random] = random::<1>();
    f64::from(random) / 255.0
}
