use crate::clock::Timestamp;
use crate::follower::Follower;
use crate::revocation::RevocationSet;
use crate::sse::EventReader;

/// Applies to `set` what a revocation feed has sent, in the pieces in which it came, at the moment `now` and without a
/// network: for recorded streams, and for fuzzers.
///
/// Returns whether all of it could be followed. Where a reader that is connected would connect anew, it ends.
pub fn replay_feed<'a>(
    set: &RevocationSet,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    now: Timestamp,
) -> bool {
    let mut reader = EventReader::default();
    let mut follower = Follower::new(set.clone());
    let mut follow = |piece| {
        let events = reader.push(piece).ok()?;
        let mut taken = events.into_iter().map(|event| follower.take(event, now));
        taken.try_for_each(|taken| taken.map(drop)).ok()
    };
    pieces.into_iter().all(|piece| follow(piece).is_some())
}
