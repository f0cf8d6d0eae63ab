//! The tokens that were accepted, by their whole text.

use std::sync::Arc;

use foldhash::quality::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::Agent;

/// What an entry costs besides the token's text and the claims, which are about as long as the token.
const ENTRY_BYTES: u64 = 512;

/// A small token with its claims. Only a guess from which the cache lays itself out.
const TYPICAL_WEIGHT: u64 = 1500;

/// Accepted tokens, bounded in bytes. Only what was accepted is kept, so garbage cannot push anything out.
///
/// The key is the whole text, not a hash of it: a collision would be somebody else's identity. The hash that finds it
/// is seeded at random, so nobody can make texts collide on purpose. Nothing here expires by itself: every check judges
/// the time anew. (quick_cache rather than moka: a look-up takes half the time, and so does an insertion.)
pub(super) struct VerifiedTokens(Option<Cache<Box<str>, Arc<Agent>, Weight, RandomState>>);

impl VerifiedTokens {
    pub(super) fn new(max_bytes: u64) -> Self {
        let tokens = usize::try_from(max_bytes / TYPICAL_WEIGHT).unwrap_or(usize::MAX);
        let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
        Self((max_bytes > 0).then(|| Cache::with(tokens, max_bytes, Weight, hasher, lifecycle)))
    }

    pub(super) fn get(&self, token: &str) -> Option<Arc<Agent>> {
        self.0.as_ref()?.get(token)
    }

    pub(super) fn insert(&self, token: &str, agent: &Arc<Agent>) {
        if let Some(cache) = &self.0 {
            cache.insert(token.into(), Arc::clone(agent));
        }
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Arc<Agent>> for Weight {
    fn weight(&self, token: &Box<str>, _: &Arc<Agent>) -> u64 {
        2 * token.len() as u64 + ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::Claims;

    /// V17
    #[test]
    fn however_many_tokens_are_accepted_they_take_no_more_than_was_allowed() {
        const MAX_BYTES: u64 = 200_000;
        let claims = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 1 }).to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        let agent = Arc::new(Agent::introspected(claims));
        let tokens = VerifiedTokens::new(MAX_BYTES);
        for n in 0..10_000 {
            let length = 100 + n % 3_000;
            tokens.insert(&format!("{n:0>length$}"), &agent);
            assert!(tokens.0.as_ref().unwrap().weight() <= MAX_BYTES);
        }
        assert!(tokens.0.as_ref().unwrap().weight() > MAX_BYTES / 2);
    }
}
