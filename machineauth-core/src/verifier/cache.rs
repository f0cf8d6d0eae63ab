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
