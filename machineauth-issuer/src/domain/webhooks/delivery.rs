//! A delivery: one event on its way to one webhook.

use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::sha256;
use serde::{Deserialize, Serialize};

use crate::domain::id::{DeliveryId, EventId, WebhookId};

/// The longest time between two attempts by back-off.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3_600);
/// The longest that a receiver can put off the next attempt.
const LONGEST_PUT_OFF: Duration = Duration::from_secs(86_400);
/// The most that is kept of why an attempt failed, in characters.
const MAX_ERROR: usize = 1_024;

/// The stored record of a delivery.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    /// Names it, the same over all attempts.
    pub id: DeliveryId,
    /// Whose it is.
    pub webhook_id: WebhookId,
    /// What kind of event.
    pub event: String,
    /// The body, byte for byte as every attempt sends it.
    pub body: String,
    /// What the body is.
    pub content_type: String,
    /// Where the event stands in its log, for receivers that put events in order. `None` for a test.
    pub position: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How often it was tried since it was last asked for.
    pub attempts: u32,
    /// When it is to be tried next, or given up by whoever tries it now. `None` when it is over.
    pub due_at: Option<Timestamp>,
    /// When it was last tried.
    pub last_attempt_at: Option<Timestamp>,
    /// What the receiver answered last.
    pub last_status_code: Option<u16>,
    /// Why the last attempt failed. Empty when it did not.
    pub last_error: String,
    /// When the event happened.
    pub created_at: Timestamp,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not yet tried.
    Pending,
    /// Failed, and will be tried again.
    Retrying,
    /// The receiver took it.
    Delivered,
    /// The receiver does not want it, or must not be reached: it will not be tried again.
    Failed,
    /// It was tried as often as it may be.
    Dead,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What the receiver answered, if anything.
    pub status_code: Option<u16>,
    /// Whether it took it, and why not.
    pub verdict: Verdict,
}

/// What an attempt says about the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it.
    Taken,
    /// Another attempt may succeed, not before the time that the receiver asks for.
    TryAgain {
        /// Why it failed.
        error: String,
        /// What the receiver says (RFC 9110 §10.2.3).
        retry_after: Option<Duration>,
    },
    /// No attempt will ever succeed.
    GiveUp {
        /// Why.
        error: String,
    },
    /// The receiver is gone for good (RFC 9110 §15.5.11): nothing is to be sent there any more.
    Gone,
}

/// How often and how fast a webhook wants to be tried again.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// How often.
    pub most: u32,
    /// Seconds; each retry waits that many times longer than the one before.
    pub backoff_base: u32,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Retrying,
        Self::Delivered,
        Self::Failed,
        Self::Dead,
    ];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }

    /// Whether it stays as it is unless somebody asks for it again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Dead)
    }
}

impl Delivery {
    /// What an event's delivery to a webhook is called: the same whoever asks, so that no crash makes a second one. Its
    /// beginning is the time of the event, so that deliveries sort by age.
    pub fn id_of(webhook: WebhookId, event: EventId, at: Timestamp) -> DeliveryId {
        let names = [webhook.as_bytes().as_slice(), event.as_bytes().as_slice()].concat();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&at.as_millis().to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&sha256(&names)[..10]);
        // A UUID of version 8 (RFC 9562 §5.8).
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        DeliveryId::from_bytes(id.into_bytes())
    }

    /// Asks for it, at `now`: as if it had never been tried.
    pub fn ask_again(&mut self, now: Timestamp) {
        self.status = Status::Pending;
        self.attempts = 0;
        self.due_at = Some(now);
        self.last_error = String::new();
    }

    /// Notes what became of the only attempt there is, at `now`.
    pub fn settle_for_good(&mut self, attempt: &Attempt, now: Timestamp) {
        let never = Retries {
            most: 0,
            backoff_base: 1,
        };
        self.settle(attempt, never, now, 0.0);
        if self.status == Status::Dead {
            self.status = Status::Failed;
        }
    }

    /// Notes what became of an attempt at `now`; `jitter` is from 0 to 1, so that many do not try again at once.
    pub fn settle(&mut self, attempt: &Attempt, retries: Retries, now: Timestamp, jitter: f64) {
        self.attempts += 1;
        self.last_attempt_at = Some(now);
        self.last_status_code = attempt.status_code;
        let (status, error, due_at) = match &attempt.verdict {
            Verdict::Taken => (Status::Delivered, "", None),
            Verdict::GiveUp { error } => (Status::Failed, error.as_str(), None),
            Verdict::Gone => (Status::Failed, "the receiver is gone (410)", None),
            Verdict::TryAgain { error, .. } if self.attempts > retries.most => {
                (Status::Dead, error.as_str(), None)
            }
            Verdict::TryAgain { error, retry_after } => {
                let wait = backoff(self.attempts, retries.backoff_base, jitter);
                let asked = retry_after.unwrap_or_default().min(LONGEST_PUT_OFF);
                let due_at = now.saturating_add(wait.max(asked));
                (Status::Retrying, error.as_str(), Some(due_at))
            }
        };
        self.last_error = error.chars().take(MAX_ERROR).collect();
        self.status = status;
        self.due_at = due_at;
    }
}

/// How long to wait after the attempt numbered `attempts`: the base to that power, at most [`LONGEST_BACKOFF`], and up to
/// a fifth longer.
fn backoff(attempts: u32, base: u32, jitter: f64) -> Duration {
    let exact = u64::from(base.max(1)).saturating_pow(attempts);
    let capped = Duration::from_secs(exact).min(LONGEST_BACKOFF);
    capped.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 5.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const RETRIES: Retries = Retries {
        most: 3,
        backoff_base: 2,
    };

    fn delivery() -> Delivery {
        Delivery {
            id: DeliveryId::random(),
            webhook_id: WebhookId::random(),
            event: "agent.created".into(),
            body: "{}".into(),
            content_type: "application/json".into(),
            position: None,
            status: Status::Pending,
            attempts: 0,
            due_at: Some(NOW),
            last_attempt_at: None,
            last_status_code: None,
            last_error: String::new(),
            created_at: NOW,
        }
    }

    fn failed(retry_after: Option<u64>) -> Attempt {
        Attempt {
            status_code: Some(500),
            verdict: Verdict::TryAgain {
                error: "500".into(),
                retry_after: retry_after.map(Duration::from_secs),
            },
        }
    }

    #[test]
    fn a_delivery_is_tried_as_often_as_it_may_be_and_then_dead() {
        let mut delivery = delivery();
        for wait in [2, 4, 8] {
            delivery.settle(&failed(None), RETRIES, NOW, 0.0);
            assert_eq!(delivery.status, Status::Retrying);
            let due_at = NOW.saturating_add(Duration::from_secs(wait));
            assert_eq!(delivery.due_at, Some(due_at));
        }
        delivery.settle(&failed(None), RETRIES, NOW, 0.0);
        assert_eq!((delivery.status, delivery.due_at), (Status::Dead, None));
        assert_eq!(delivery.attempts, 4);
        delivery.ask_again(NOW);
        assert_eq!((delivery.status, delivery.attempts), (Status::Pending, 0));
    }

    #[test]
    fn what_the_receiver_asks_for_counts_when_it_is_longer() {
        for (asked, wait) in [(1, 2), (100, 100), (1_000_000, 86_400)] {
            let mut delivery = delivery();
            delivery.settle(&failed(Some(asked)), RETRIES, NOW, 0.0);
            let due_at = NOW.saturating_add(Duration::from_secs(wait));
            assert_eq!(delivery.due_at, Some(due_at), "{asked}");
        }
    }

    #[test]
    fn a_receiver_that_is_gone_or_out_of_bounds_is_not_tried_again() {
        let giving_up = Verdict::GiveUp {
            error: "x".repeat(5_000),
        };
        for verdict in [Verdict::Gone, giving_up] {
            let mut delivery = delivery();
            let attempt = Attempt {
                status_code: None,
                verdict,
            };
            delivery.settle(&attempt, RETRIES, NOW, 0.5);
            assert_eq!((delivery.status, delivery.due_at), (Status::Failed, None));
            assert!((1..=MAX_ERROR).contains(&delivery.last_error.len()));
        }
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_longest(attempts: u32, base: u32, jitter in 0.0..=1.0) {
            let wait = backoff(attempts, base, jitter);
            prop_assert!(wait >= Duration::from_secs(1) && wait <= LONGEST_BACKOFF.mul_f64(1.2));
        }

        #[test]
        fn deliveries_sort_by_the_age_of_their_events(one in 0_u64..1 << 47, other in 0_u64..1 << 47) {
            let id = |millis| {
                let at = Timestamp::from_millis(millis);
                Delivery::id_of(WebhookId::random(), EventId::random(), at).to_string()
            };
            prop_assert_eq!(one.cmp(&other), match one == other {
                true => std::cmp::Ordering::Equal,
                false => id(one).cmp(&id(other)),
            });
        }
    }
}
