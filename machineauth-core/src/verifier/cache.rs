//! The tokens that were accepted, by their whole text.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use super::Agent;

/// What an entry costs besides the token's text and the claims, which are about as long as the token.
const ENTRY_BYTES: u64 = 512;

/// A small token with its claims. Only a guess from which the cache lays itself out.
const TYPICAL_WEIGHT: u64 = 1500;

/// Accepted tokens, bounded in bytes. Only what was accepted is kept, so garbage cannot push anything out.
///
/// The key is the whole text, not a hash of it: a collision would be somebody else's identity. Nothing here expires by
/// itself: every check judges the time anew. (quick_cache rather than moka: a look-up takes half the time, and so does an
/// insertion.)
pub(super) struct VerifiedTokens(Option<Cache<Stored, Arc<Agent>, Weight, RandomState>>);

type Stored = Text<Box<[u8]>>;

/// The text of a token, which is looked for by its end and compared as a whole.
///
/// The end is the end of a signature: no two tokens share it by chance, and to hash the rest as well would take as long as to
/// compare it. Only what was accepted is kept, so nobody but an issuer could fill the cache with texts of one end.
struct Text<T>(T);

/// 192 bits of a signature.
const END: usize = 32;

impl VerifiedTokens {
    pub(super) fn new(max_bytes: u64) -> Self {
        let tokens = usize::try_from(max_bytes / TYPICAL_WEIGHT).unwrap_or(usize::MAX);
        let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
        Self((max_bytes > 0).then(|| Cache::with(tokens, max_bytes, Weight, hasher, lifecycle)))
    }

    /// Takes bytes: whatever is equal to a token's text is that text.
    pub(super) fn get(&self, token: &[u8]) -> Option<Arc<Agent>> {
        self.0.as_ref()?.get(&Text(token))
    }

    pub(super) fn insert(&self, token: &str, agent: &Arc<Agent>) {
        if let Some(cache) = &self.0 {
            cache.insert(Text(token.as_bytes().into()), Arc::clone(agent));
        }
    }
}

impl<T: AsRef<[u8]>> Hash for Text<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let text = self.0.as_ref();
        hasher.write(&text[text.len().saturating_sub(END)..]);
    }
}

impl<T: AsRef<[u8]>> PartialEq for Text<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl<T: AsRef<[u8]>> Eq for Text<T> {}

impl Equivalent<Stored> for Text<&[u8]> {
    fn equivalent(&self, stored: &Stored) -> bool {
        *self.0 == *stored.0
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Stored, Arc<Agent>> for Weight {
    fn weight(&self, token: &Stored, _: &Arc<Agent>) -> u64 {
        2 * token.0.len() as u64 + ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::Claims;

    fn agent() -> Arc<Agent> {
        let claims = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 1 }).to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        Arc::new(Agent::introspected(claims))
    }

    /// V17
    #[test]
    fn a_token_that_ends_as_another_is_another() {
        let tokens = VerifiedTokens::new(100_000);
        let end = "s".repeat(2 * END);
        let (first, second) = (agent(), agent());
        tokens.insert(&format!("a{end}"), &first);
        tokens.insert(&format!("b{end}"), &second);
        let found = |start: &str| tokens.get(format!("{start}{end}").as_bytes());
        assert!(Arc::ptr_eq(&found("a").unwrap(), &first));
        assert!(Arc::ptr_eq(&found("b").unwrap(), &second));
        for start in ["", "c", "aa"] {
            assert!(found(start).is_none(), "{start}");
        }
        assert!(tokens.get(b"s").is_none());
    }

    /// V17
    #[test]
    fn however_many_tokens_are_accepted_they_take_no_more_than_was_allowed() {
        const MAX_BYTES: u64 = 200_000;
        let agent = agent();
        let tokens = VerifiedTokens::new(MAX_BYTES);
        for n in 0..10_000 {
            let length = 100 + n % 3_000;
            tokens.insert(&format!("{n:0>length$}"), &agent);
            assert!(tokens.0.as_ref().unwrap().weight() <= MAX_BYTES);
        }
        assert!(tokens.0.as_ref().unwrap().weight() > MAX_BYTES / 2);
    }
}
