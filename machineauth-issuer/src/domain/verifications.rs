//! Verifying slow hashes: a few at a time, never on the threads that serve, and never the same one twice.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use machineauth_core::crypto::{HmacKey, random};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::password_hash::PasswordHash;
use super::secret::SecretText;
use crate::store::Version;

/// How many verifications wait for each that runs. Whoever comes after that is told to come again: at a tenth of a second
/// each, the last in the queue waits three seconds.
const WAITING_PER_RUNNING: usize = 32;
/// How many results are remembered.
const REMEMBERED: u64 = 10_000;

/// Too many secrets are being verified; nothing is known about this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many secrets are being verified at the moment; try again shortly")]
pub struct Overloaded;

/// Verifies slow hashes, with bounded concurrency and a bounded queue, and remembers what came out.
pub struct Verifications {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// By a hash under a key of this process, so that memory holds nothing that could be guessed at.
    remembered: moka::sync::Cache<[u8; 32], bool>,
    key: HmacKey,
}

impl Verifications {
    /// Uses up to half of the machine's cores.
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let running = (cores / 2).max(1);
        Self {
            running: Arc::new(Semaphore::new(running)),
            admitted: Arc::new(Semaphore::new(running * (WAITING_PER_RUNNING + 1))),
            remembered: moka::sync::Cache::new(REMEMBERED),
            key: HmacKey::new(&random::<32>()),
        }
    }

    /// Whether `secret` is what `hash` was made of. The answer is remembered for as long as the record that the hash is
    /// in stays at `version`.
    ///
    /// # Errors
    /// [`Overloaded`]
    pub async fn verify(
        &self,
        hash: &PasswordHash,
        version: Version,
        secret: &SecretText,
    ) -> Result<bool, Overloaded> {
        let question = self.question(hash, version, secret);
        if let Some(known) = self.remembered.get(&question) {
            return Ok(known);
        }
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| Overloaded)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|_| Overloaded)?;
        // Who asked the same and stood before us in the queue may have the answer.
        if let Some(known) = self.remembered.get(&question) {
            return Ok(known);
        }
        let (hash, secret) = (hash.clone(), secret.clone());
        let answer = spawn_blocking(move || {
            let answer = hash.verify(secret.reveal());
            // Held until the work is done, also when nobody waits for it any more.
            drop((running, admitted));
            answer
        });
        let answer = answer.await.map_err(|_| Overloaded)?;
        self.remembered.insert(question, answer);
        Ok(answer)
    }

    /// The hash under which a password is kept from now on, made in the same queue.
    ///
    /// # Errors
    /// [`Overloaded`]
    pub async fn hash(&self, password: &SecretText) -> Result<PasswordHash, Overloaded> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| Overloaded)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|_| Overloaded)?;
        let password = password.clone();
        let made = spawn_blocking(move || {
            let hash = PasswordHash::of(password.reveal());
            drop((running, admitted));
            hash
        });
        made.await.map_err(|_| Overloaded)
    }

    fn question(&self, hash: &PasswordHash, version: Version, secret: &SecretText) -> [u8; 32] {
        // Neither a version nor a hash holds a line break, so no two questions are the same text.
        let text = Zeroizing::new(format!("{version}\n{}\n{}", hash.as_str(), secret.reveal()));
        self.key.sign(text.as_bytes())
    }
}

impl Default for Verifications {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Verifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifications").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures_util::future::join_all;

    use super::*;

    fn version() -> Version {
        Version::mint()
    }

    fn hash(cost: u32) -> PasswordHash {
        let parts = bcrypt::hash_with_salt("right", cost, [7; 16]).unwrap();
        PasswordHash::parse(&parts.to_string()).unwrap()
    }

    fn text(text: &str) -> SecretText {
        text.to_owned().into()
    }

    #[tokio::test]
    async fn a_result_is_remembered_for_one_version_of_a_record() {
        let (verifications, hash) = (Verifications::new(), hash(10));
        let before = version();
        for secret in ["right", "wrong"] {
            let took = async |version| {
                let start = Instant::now();
                let answer = verifications.verify(&hash, version, &text(secret)).await;
                assert_eq!(answer, Ok(secret == "right"));
                start.elapsed()
            };
            let first = took(before).await;
            let again = took(before).await;
            let changed = took(version()).await;
            assert!(
                again * 5 < first && again * 5 < changed,
                "{first:?} {again:?} {changed:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_flood_is_refused_at_once_and_does_not_hold_up_others() {
        let (verifications, hash) = (Verifications::new(), hash(8));
        let version = version();
        let guesses: Vec<_> = (0..2000).map(|guess| text(&guess.to_string())).collect();
        let flood = async {
            let answers = guesses
                .iter()
                .map(|guess| verifications.verify(&hash, version, guess));
            join_all(answers).await
        };
        let others = async {
            let mut longest = Duration::ZERO;
            for _ in 0..20 {
                let start = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                longest = longest.max(start.elapsed());
            }
            longest
        };
        let (answers, longest) = tokio::join!(flood, others);
        assert!(answers.contains(&Err(Overloaded)), "the queue is bounded");
        assert!(answers.contains(&Ok(false)), "those in it are served");
        assert!(longest < Duration::from_secs(1), "{longest:?}");
        assert_eq!(
            verifications.verify(&hash, version, &text("right")).await,
            Ok(true),
            "and afterwards it goes on"
        );
    }
}
