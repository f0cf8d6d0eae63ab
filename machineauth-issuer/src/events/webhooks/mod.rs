//! Webhooks: from what happened to whoever asked to be told.
//!
//! The [`dispatcher`] reads the audit log and creates deliveries, the [`courier`] brings them to their receivers. What is
//! on its way is in the store (`crate::domain::webhooks`), so either can die at any time, and there can be any number of
//! couriers.

pub mod courier;
pub mod dispatcher;
pub mod guard;
pub mod payload;
pub mod replay;
mod round;
pub mod sender;
pub mod signature;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Notify, watch};

use self::courier::Courier;
use self::dispatcher::Dispatcher;
use self::guard::{Guard, Lookup};
use self::replay::Replay;
use self::sender::Sender;
use crate::domain::event::{Action, By, Recorder};
use crate::domain::lease::Lease;
use crate::domain::webhooks::{Delivery, Webhook, WebhookError, WebhookPolicy, Webhooks};
use crate::metrics::DeliveryCounts;
use crate::store::StoreError;
use crate::telemetry::Chain;

/// How webhooks are told.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// What webhooks get, and what they may have.
    pub policy: WebhookPolicy,
    /// How many deliveries this process sends at the same time; 0 where others on the same store deliver.
    pub workers: usize,
    /// How long an attempt may take, from the first packet to the last.
    pub timeout: Duration,
    /// Networks that deliveries may go to although they are not public.
    pub allowed_networks: Vec<IpNet>,
}

/// Tells webhooks what happens.
#[derive(Debug)]
pub struct Delivering {
    dispatcher: Dispatcher,
    courier: Arc<Courier>,
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
}

impl Delivering {
    /// Tells `webhooks`; `source` names this server in CloudEvents. Nothing is told until it runs.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(
        webhooks: &Arc<Webhooks>,
        recorder: &Arc<Recorder>,
        settings: &WebhookSettings,
        lookup: Arc<dyn Lookup>,
        source: &str,
        counts: DeliveryCounts,
    ) -> Result<Self, reqwest::Error> {
        let wake = Arc::new(Notify::new());
        let guard = Guard {
            allowed: settings.allowed_networks.as_slice().into(),
            lookup,
        };
        Ok(Self {
            dispatcher: Dispatcher {
                webhooks: Arc::clone(webhooks),
                source: source.to_owned(),
                lease: Lease::new(
                    Arc::clone(&webhooks.store),
                    Arc::clone(&webhooks.clock),
                    "webhooks",
                ),
                wake: Arc::clone(&wake),
            },
            courier: Arc::new(Courier {
                webhooks: Arc::clone(webhooks),
                recorder: Arc::clone(recorder),
                sender: Sender::new(guard, settings.timeout, settings.policy.https_only)?,
                hands: settings.workers,
                wake: Arc::clone(&wake),
                counts,
            }),
            wake,
            stop: watch::Sender::new(false),
        })
    }

    /// Dispatches and delivers until it is stopped.
    pub async fn run(&self) {
        let courier = Arc::clone(&self.courier).run(self.stop.subscribe());
        let mut stopped = self.stop.subscribe();
        let dispatching = async {
            if self.courier.hands == 0 {
                // Whoever delivers decides what there is to deliver.
                return;
            }
            tokio::select! {
                () = self.dispatcher.run() => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
            if let Err(error) = self.dispatcher.lease.release().await {
                tracing::debug!(error = %Chain(&error), "another issuer goes on with webhooks when the lease is over");
            }
        };
        tokio::join!(courier, dispatching);
    }

    /// Stops; attempts in flight finish, as far as there is time.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Takes notice of what was changed about webhooks.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn changed(&self) -> Result<(), StoreError> {
        self.courier.read_webhooks().await?;
        self.wake();
        Ok(())
    }

    /// Says that there may be something new to deliver.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Sends a test to a webhook at once, whether or not it is active, with `body` or a body of ours. The delivery says
    /// what became of it.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn test(
        &self,
        webhook: &Webhook,
        event: Action,
        body: Option<String>,
    ) -> Result<Delivery, StoreError> {
        self.courier.test(webhook, event, body).await
    }

    /// Sends again what was given up, or everything since a time. Says how many deliveries that are.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn replay(
        &self,
        webhook: &Webhook,
        what: Replay,
        by: &By,
    ) -> Result<usize, WebhookError> {
        let Dispatcher {
            webhooks, source, ..
        } = &self.dispatcher;
        let replayed = replay::replay(webhooks, webhook, source, what, by).await?;
        self.wake();
        Ok(replayed)
    }
}
