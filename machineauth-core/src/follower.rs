//! What the revocation feed says, applied to a set: the part of the feed that knows no network.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::revocation::{Revocation, RevocationSet};
use crate::sse::Event;

/// The most that the chunks of one snapshot may have together, as text.
const MAX_SNAPSHOT_BYTES: usize = 128 * 1024 * 1024;

/// How often what has expired is dropped from the set.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Applies events to a set, and remembers where to go on after a connection broke.
#[derive(Debug)]
pub(crate) struct Follower {
    set: RevocationSet,
    /// The set is a state of the issuer's: a whole snapshot, and all increments since.
    last_event_id: Option<String>,
    /// The chunks so far of a snapshot that is not complete yet.
    snapshot: Option<Snapshot>,
    expired_at: Timestamp,
}

#[derive(Debug, Default)]
struct Snapshot {
    revocations: Vec<Revocation>,
    bytes: usize,
}

/// What an event was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The set is complete and fresh.
    Live,
    /// On the way, or one revocation more.
    Moving,
    /// Nothing that this version knows.
    Ignored,
}

/// The stream cannot be followed any further; the next one must start with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An event of a known name with data that is not what its name says.
    Malformed,
    /// More revocations than the set has room for.
    Overflow,
    /// Increments or heartbeats, but no snapshot before them.
    NoSnapshot,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "an event is malformed",
            Self::Overflow => "there are more revocations than the set has room for",
            Self::NoSnapshot => "the stream does not start with a snapshot",
        })
    }
}

impl Follower {
    pub(crate) fn new(set: RevocationSet) -> Self {
        Self {
            set,
            last_event_id: None,
            snapshot: None,
            expired_at: Timestamp::default(),
        }
    }

    /// What to send as `Last-Event-ID`; `None` asks for a snapshot.
    pub(crate) fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// Forgets what the broken connection left unfinished.
    pub(crate) fn disconnected(&mut self) {
        self.snapshot = None;
    }

    /// # Errors
    /// [`Fault`]; call [`Follower::disconnected`] and connect again.
    pub(crate) fn take(&mut self, event: Event, now: Timestamp) -> Result<Progress, Fault> {
        let taken = match event.name.as_str() {
            "snapshot" => self.take_chunk(&event),
            "live" => self.go_live(event, now),
            "revocation" => self.take_revocation(event),
            "heartbeat" => self.take_heartbeat(event, now),
            _ => Ok(Progress::Ignored),
        };
        if taken.is_err() {
            self.last_event_id = None;
        }
        taken
    }

    fn take_chunk(&mut self, event: &Event) -> Result<Progress, Fault> {
        let chunk: Vec<Revocation> = parse(&event.data)?;
        let snapshot = self.snapshot.get_or_insert_default();
        snapshot.bytes += event.data.len();
        if snapshot.bytes > MAX_SNAPSHOT_BYTES {
            return Err(Fault::Overflow);
        }
        snapshot.revocations.extend(chunk);
        Ok(Progress::Moving)
    }

    fn go_live(&mut self, event: Event, now: Timestamp) -> Result<Progress, Fault> {
        let Moment { at } = parse(&event.data)?;
        match self.snapshot.take() {
            Some(snapshot) => self.set.replace(snapshot.revocations),
            None if self.last_event_id.is_none() => return Err(Fault::NoSnapshot),
            None => {}
        }
        self.reached(event.id);
        self.fresh(at, now)
    }

    fn take_revocation(&mut self, event: Event) -> Result<Progress, Fault> {
        let revocation: Revocation = parse(&event.data)?;
        match &mut self.snapshot {
            // It may be younger than the chunks, so it counts at once and again after them. The place to resume at
            // stays where it was: a snapshot that is cut off here has left nothing behind.
            Some(snapshot) => {
                self.set.apply(&revocation);
                snapshot.bytes += event.data.len();
                snapshot.revocations.push(revocation);
            }
            None if self.last_event_id.is_none() => return Err(Fault::NoSnapshot),
            None => {
                self.set.apply(&revocation);
                self.reached(event.id);
            }
        }
        self.require_room()?;
        Ok(Progress::Moving)
    }

    fn take_heartbeat(&mut self, event: Event, now: Timestamp) -> Result<Progress, Fault> {
        let Moment { at } = parse(&event.data)?;
        if self.snapshot.is_some() {
            return Ok(Progress::Moving);
        }
        if self.last_event_id.is_none() {
            return Err(Fault::NoSnapshot);
        }
        self.reached(event.id);
        self.fresh(at, now)
    }

    fn reached(&mut self, id: Option<String>) {
        // An empty id would ask for nothing in particular; the one before still holds.
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            self.last_event_id = Some(id);
        }
    }

    /// The issuer's clock may be ahead of ours; that makes nothing fresher than now.
    fn fresh(&mut self, at: Timestamp, now: Timestamp) -> Result<Progress, Fault> {
        // A clock of ours that jumps ahead must not forget what is still revoked; so must none of the issuer's.
        let at = at.min(now);
        if at.duration_since(self.expired_at) >= EXPIRE_EVERY {
            self.set.expire(at);
            self.expired_at = at;
        }
        self.require_room()?;
        self.set.mark_fresh(at);
        Ok(Progress::Live)
    }

    fn require_room(&self) -> Result<(), Fault> {
        if self.set.is_complete() {
            Ok(())
        } else {
            Err(Fault::Overflow)
        }
    }
}

/// The data of `live` and `heartbeat`.
#[derive(Deserialize)]
struct Moment {
    at: Timestamp,
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Fault> {
    serde_json::from_str(data).map_err(|_| Fault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            name: name.into(),
            data: data.into(),
            id: id.map(str::to_owned),
        }
    }

    fn token(jti: &str) -> String {
        format!(r#"{{"type":"token","jti":"{jti}","until":2000000000}}"#)
    }

    fn chunk(jtis: &[&str]) -> Event {
        let tokens: Vec<String> = jtis.iter().map(|jti| token(jti)).collect();
        event("snapshot", &format!("[{}]", tokens.join(",")), None)
    }

    fn live(id: &str) -> Event {
        event("live", r#"{"at":1000000}"#, Some(id))
    }

    fn follower() -> (Follower, RevocationSet) {
        let set = RevocationSet::new();
        (Follower::new(set.clone()), set)
    }

    fn live_follower() -> (Follower, RevocationSet) {
        let (mut follower, set) = follower();
        follower.take(chunk(&["a"]), NOW).unwrap();
        assert_eq!(follower.take(live("1"), NOW), Ok(Progress::Live));
        (follower, set)
    }

    #[test]
    fn a_snapshot_counts_when_it_is_whole_and_not_before() {
        let (mut follower, set) = follower();
        follower.take(chunk(&["a", "b"]), NOW).unwrap();
        follower.take(chunk(&["c"]), NOW).unwrap();
        assert!(set.is_empty());
        assert_eq!(set.staleness(NOW), None);
        assert_eq!(follower.last_event_id(), None);

        assert_eq!(follower.take(live("7"), NOW), Ok(Progress::Live));
        assert_eq!(set.len(), 3);
        assert_eq!(set.staleness(NOW), Some(Duration::ZERO));
        assert_eq!(follower.last_event_id(), Some("7"));
    }

    /// V24
    #[test]
    fn a_snapshot_that_is_cut_off_changes_nothing_and_the_old_place_is_resumed() {
        let (mut follower, set) = live_follower();
        follower.take(chunk(&["b", "c"]), NOW).unwrap();
        follower
            .take(event("revocation", &token("d"), Some("9")), NOW)
            .unwrap();
        follower.disconnected();
        assert_eq!(set.len(), 2, "what was revoked meanwhile counts at once");
        assert_eq!(follower.last_event_id(), Some("1"));

        let resumed = follower.take(live("2"), NOW);
        assert_eq!(resumed, Ok(Progress::Live));
        assert_eq!(set.len(), 2, "half a snapshot never replaces the set");
    }

    /// V24
    #[test]
    fn a_revocation_between_the_chunks_survives_the_swap() {
        let (mut follower, set) = live_follower();
        follower.take(chunk(&["b"]), NOW).unwrap();
        follower
            .take(event("revocation", &token("c"), Some("9")), NOW)
            .unwrap();
        follower.take(live("10"), NOW).unwrap();
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn increments_move_the_place_to_resume_at() {
        let (mut follower, set) = live_follower();
        for (jti, id) in [("b", "2"), ("c", "3")] {
            let event = event("revocation", &token(jti), Some(id));
            assert_eq!(follower.take(event, NOW), Ok(Progress::Moving));
            assert_eq!(follower.last_event_id(), Some(id));
        }
        assert_eq!(set.len(), 3);
    }

    /// V24
    #[test]
    fn what_is_replayed_changes_nothing() {
        let (mut follower, set) = live_follower();
        let later = NOW.saturating_add(Duration::from_secs(60));
        follower
            .take(event("heartbeat", r#"{"at":1060000}"#, Some("2")), later)
            .unwrap();
        let epoch = set.epoch();
        follower
            .take(event("revocation", &token("a"), Some("1")), later)
            .unwrap();
        follower
            .take(event("heartbeat", r#"{"at":1000000}"#, Some("1")), later)
            .unwrap();
        assert_eq!(set.epoch(), epoch);
        assert_eq!(set.staleness(later), Some(Duration::ZERO));
    }

    /// V24, I24: an issuer that is cut off from its store keeps sending the time of its last good read.
    #[test]
    fn freshness_is_the_time_that_the_issuer_vouches_for_and_never_the_future() {
        let (mut follower, set) = live_follower();
        let later = NOW.saturating_add(Duration::from_secs(60));
        follower
            .take(event("heartbeat", r#"{"at":1010000}"#, Some("2")), later)
            .unwrap();
        assert_eq!(set.staleness(later), Some(Duration::from_secs(50)));

        follower
            .take(
                event("heartbeat", r#"{"at":99999999999}"#, Some("3")),
                later,
            )
            .unwrap();
        assert_eq!(set.staleness(later), Some(Duration::ZERO));
        let much_later = later.saturating_add(Duration::from_secs(5));
        assert_eq!(set.staleness(much_later), Some(Duration::from_secs(5)));
    }

    /// V24
    #[test]
    fn malformed_data_is_a_fault_and_asks_for_a_snapshot() {
        let malformed = [
            ("revocation", "{"),
            ("revocation", r#"{"type":"token"}"#),
            ("snapshot", "{}"),
            ("snapshot", r#"[{"type":"token","jti":1}]"#),
            ("live", "{}"),
            ("heartbeat", r#"{"at":-1}"#),
            ("heartbeat", ""),
        ];
        for (name, data) in malformed {
            let (mut follower, set) = live_follower();
            let fault = follower.take(event(name, data, Some("2")), NOW);
            assert_eq!(fault, Err(Fault::Malformed), "{name} {data}");
            assert_eq!(follower.last_event_id(), None);
            assert_eq!(set.len(), 1, "what is known stays in force");
        }
    }

    /// V24
    #[test]
    fn a_stream_that_does_not_start_with_a_snapshot_is_not_trusted() {
        for first in [
            live("1"),
            event("revocation", &token("a"), Some("1")),
            event("heartbeat", r#"{"at":1000000}"#, Some("1")),
        ] {
            let (mut follower, set) = follower();
            assert_eq!(follower.take(first, NOW), Err(Fault::NoSnapshot));
            assert_eq!(set.staleness(NOW), None);
        }
    }

    #[test]
    fn kinds_and_events_from_the_future_are_ignored() {
        let (mut follower, set) = live_follower();
        let kind = event("revocation", r#"{"type":"galaxy","galaxy":1}"#, Some("2"));
        assert_eq!(follower.take(kind, NOW), Ok(Progress::Moving));
        let name = event("fireworks", "*", Some("3"));
        assert_eq!(follower.take(name, NOW), Ok(Progress::Ignored));
        assert_eq!(set.len(), 1);
        assert_eq!(follower.last_event_id(), Some("2"));
    }

    /// V24
    #[test]
    fn a_set_without_room_is_a_fault_and_not_fresh() {
        let set = RevocationSet::with_max_bytes(70);
        let mut follower = Follower::new(set.clone());
        follower.take(chunk(&["a"]), NOW).unwrap();
        follower.take(live("1"), NOW).unwrap();
        let one_more = event("revocation", &token("b"), Some("2"));
        assert_eq!(follower.take(one_more, NOW), Err(Fault::Overflow));
        assert_eq!(set.staleness(NOW), None);
        assert_eq!(follower.last_event_id(), None);
    }
}
