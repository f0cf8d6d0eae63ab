use std::time::Duration;

use crate::crypto;

/// The pauses between attempts that fail: each about twice as long as the one before, up to a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The longest that the first pause may be.
    pub(crate) first: Duration,
    /// The longest that any may be.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The pause after so many failures before this one: between a half and the whole of a time that doubles with each, so
    /// that a fleet does not return at once.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.min(16));
        let [random] = crypto::random::<1>();
        doubled
            .min(self.longest)
            .mul_f64(0.5 + f64::from(random) / 510.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pauses_double_from_the_first_to_the_longest_and_differ() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
        };
        let mut seen = HashSet::new();
        for (failures, longest) in [(0, 100), (1, 200), (3, 800), (7, 5_000), (u32::MAX, 5_000)] {
            for _ in 0..100 {
                let pause = backoff.after(failures);
                let longest = Duration::from_millis(longest);
                assert!(
                    pause <= longest && pause >= longest / 2,
                    "{failures}: {pause:?}"
                );
                seen.insert(pause);
            }
        }
        assert!(seen.len() > 100);
    }
}
