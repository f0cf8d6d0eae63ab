//! The tokens that were accepted, by their whole text.

use std::sync::Arc;

use foldhash::quality::RandomState;
use moka::sync::Cache;

use super::Agent;

/// What an entry costs besides the token's text and the claims, which are about as long as the token.
const ENTRY_BYTES: u32 = 512;

/// Accepted tokens, bounded in bytes. Only what was accepted is kept, so garbage cannot push anything out.
///
/// The key is the whole text, not a hash of it: a collision would be somebody else's identity. The hash that finds it
/// is seeded at random, so nobody can make texts collide on purpose.
pub(super) struct VerifiedTokens(Option<Cache<Box<str>, Arc<Agent>, RandomState>>);

impl VerifiedTokens {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self((max_bytes > 0).then(|| {
            Cache::builder()
                .max_capacity(max_bytes)
                .weigher(weight)
                .build_with_hasher(RandomState::default())
        }))
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

#[expect(clippy::borrowed_box, reason = "moka hands out a reference to its key")]
fn weight(token: &Box<str>, _: &Arc<Agent>) -> u32 {
    u32::try_from(token.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(2)
        .saturating_add(ENTRY_BYTES)
}
