//! Nonces that a server need not remember (RFC 9449 §8): a code over the time.

use std::time::Duration;

use http::HeaderValue;

use crate::base64url;
use crate::clock::Timestamp;
use crate::crypto::{HmacKey, constant_time_eq};

/// A new nonce begins this often; the one before is good as well.
const EVERY: Duration = Duration::from_secs(5 * 60);

#[derive(Debug)]
pub(super) struct Nonces(HmacKey);

impl Nonces {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(HmacKey::new(secret))
    }

    pub(super) fn current(&self, now: Timestamp) -> HeaderValue {
        let nonce = self.at(step(now));
        HeaderValue::try_from(nonce).expect("base64url is visible ASCII")
    }

    pub(super) fn accept(&self, nonce: &str, now: Timestamp) -> bool {
        let step = step(now);
        [step, step.saturating_sub(1)]
            .iter()
            .any(|step| constant_time_eq(nonce.as_bytes(), self.at(*step).as_bytes()))
    }

    fn at(&self, step: u64) -> String {
        let code = self.0.sign(&step.to_be_bytes());
        base64url::encode(&code[..16])
    }
}

fn step(now: Timestamp) -> u64 {
    now.as_secs() / EVERY.as_secs()
}
