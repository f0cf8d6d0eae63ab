//! Who is told what happens.

use std::time::Duration;

use super::StoreUrl;
use super::protection::network;
use super::reader::Reader;
use crate::domain::webhooks::{MAX_RETRIES, TokenEvents, WebhookPolicy};
use crate::events::webhooks::WebhookSettings;

const LOOPBACK: &str = "127.0.0.0/8,::1";

impl Reader {
    pub(super) fn webhooks(&mut self, production: bool, store: &StoreUrl) -> WebhookSettings {
        let token_events = [
            ("each", TokenEvents::Each),
            ("aggregate", TokenEvents::Aggregate),
            ("off", TokenEvents::Off),
        ];
        // Whoever tries webhooks out has the receiver beside the server.
        let networks = if production { "" } else { LOOPBACK };
        let seconds = self.within("WEBHOOK_TIMEOUT_SECS", 1..=60, 10);
        let days = self.within("WEBHOOK_KEEP_DAYS", 1..=365, 7);
        WebhookSettings {
            policy: WebhookPolicy {
                max_retries: self.within("WEBHOOK_MAX_RETRIES", 0..=MAX_RETRIES, 10),
                token_events: self
                    .choice("WEBHOOK_TOKEN_EVENTS", &token_events)
                    .unwrap_or(TokenEvents::Each),
                https_only: production,
                keep: Duration::from_secs(days * 86_400),
                keep_deliveries: self.within("WEBHOOK_KEEP_DELIVERIES", 1..=1_000_000, 10_000),
                max_waiting: self.within("WEBHOOK_MAX_WAITING", 1..=1_000_000, 100_000),
            },
            workers: self.workers(store),
            timeout: Duration::from_secs(seconds),
            allowed_networks: self.list(
                "WEBHOOK_ALLOWED_NETWORKS",
                networks,
                "an address or a network",
                network,
            ),
        }
    }

    fn workers(&mut self, store: &StoreUrl) -> usize {
        let workers = self.within("WEBHOOK_WORKER_COUNT", 0..=64, 3);
        if workers == 0 && matches!(store, StoreUrl::Embedded(_)) {
            self.problem(
                "WEBHOOK_WORKER_COUNT",
                "0 is for issuers on one Redis, where another one delivers; nobody would here",
            );
        }
        workers
    }
}
