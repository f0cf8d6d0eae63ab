//! Whose turn it is.
//!
//! Owners, which are organizations and the server itself, get hands in turn, and so do the webhooks of one owner. A webhook
//! whose receiver has just taken a delivery in time has as many hands as are free. All others are doubtful: new ones, slow
//! ones, those that fail. They hold one hand at most, leave one for the others all together, and those of one owner half of
//! what remains. So neither many new webhooks nor the dead receivers of a tenant hold up anybody else.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::id::{OrganizationId, WebhookId};

/// How often a webhook is looked at when nobody says that there is something new: another issuer may have put it there.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whom a webhook belongs to; `None` is the server.
pub(super) type Owner = Option<OrganizationId>;

/// What a courier knows from one moment to the next.
#[derive(Default)]
pub(super) struct Round {
    webhooks: Vec<(WebhookId, Owner)>,
    read_at: Option<Instant>,
    busy: HashMap<WebhookId, Busy>,
    /// Those that took their last delivery in time.
    reliable: HashSet<WebhookId>,
    look_again: HashMap<WebhookId, Instant>,
    turns: u64,
    /// The last turn of each owner and of each webhook.
    last_of_owner: HashMap<Owner, u64>,
    last: HashMap<WebhookId, u64>,
}

struct Busy {
    owner: Owner,
    hands: usize,
}

/// What one attempt showed.
pub(super) struct Returned {
    pub(super) webhook: WebhookId,
    /// Whether the receiver took the delivery, and did not take long.
    pub(super) in_time: bool,
}

/// How many hands doubtful webhooks have, and may have.
struct Doubtful {
    held: usize,
    held_by_owner: HashMap<Owner, usize>,
    most: usize,
    most_by_owner: usize,
}

impl Round {
    /// Whether the webhooks should be read again.
    pub(super) fn is_outdated(&self) -> bool {
        self.read_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY)
    }

    /// These are the webhooks that there are now.
    pub(super) fn refill(&mut self, webhooks: Vec<(WebhookId, Owner)>) {
        let ids: HashSet<_> = webhooks.iter().map(|(id, _)| *id).collect();
        let owners: HashSet<_> = webhooks.iter().map(|(_, owner)| *owner).collect();
        self.reliable.retain(|id| ids.contains(id));
        self.look_again.retain(|id, _| ids.contains(id));
        self.last.retain(|id, _| ids.contains(id));
        self.last_of_owner.retain(|owner, _| owners.contains(owner));
        self.webhooks = webhooks;
        self.read_at = Some(Instant::now());
    }

    /// The webhook whose turn it is, of those that may have one of the `hands` and may have something due.
    pub(super) fn next(&mut self, hands: usize) -> Option<WebhookId> {
        let now = Instant::now();
        let doubtful = self.doubtful(hands);
        let candidates = self.webhooks.iter().filter(|(id, owner)| {
            let rests = self.look_again.get(id).is_some_and(|then| now < *then);
            !rests && (self.reliable.contains(id) || self.may_be_tried(*id, *owner, &doubtful))
        });
        let longest_waiting =
            candidates.min_by_key(|(id, owner)| (self.last_of_owner.get(owner), self.last.get(id)));
        let (id, owner) = *longest_waiting?;
        self.turns += 1;
        self.last_of_owner.insert(owner, self.turns);
        self.last.insert(id, self.turns);
        Some(id)
    }

    fn doubtful(&self, hands: usize) -> Doubtful {
        let mut held_by_owner: HashMap<Owner, usize> = HashMap::new();
        for (id, busy) in &self.busy {
            if !self.reliable.contains(id) {
                *held_by_owner.entry(busy.owner).or_default() += busy.hands;
            }
        }
        let most = hands.saturating_sub(1).max(1);
        let first = self.webhooks.first().map(|(_, owner)| owner);
        let is_alone = self.webhooks.iter().all(|(_, owner)| Some(owner) == first);
        Doubtful {
            held: held_by_owner.values().sum(),
            held_by_owner,
            most,
            most_by_owner: if is_alone { most } else { most.div_ceil(2) },
        }
    }

    fn may_be_tried(&self, id: WebhookId, owner: Owner, doubtful: &Doubtful) -> bool {
        let of_owner = doubtful.held_by_owner.get(&owner).copied();
        !self.busy.contains_key(&id)
            && doubtful.held < doubtful.most
            && of_owner.unwrap_or_default() < doubtful.most_by_owner
    }

    /// The webhook has a hand more.
    pub(super) fn begun(&mut self, webhook: WebhookId) {
        let owner = self.webhooks.iter().find(|(id, _)| *id == webhook);
        let owner = owner.and_then(|(_, owner)| *owner);
        let busy = self.busy.entry(webhook);
        busy.or_insert(Busy { owner, hands: 0 }).hands += 1;
    }

    /// A hand is free again.
    pub(super) fn returned(&mut self, returned: &Returned) {
        if let Some(busy) = self.busy.get_mut(&returned.webhook) {
            busy.hands -= 1;
            if busy.hands == 0 {
                self.busy.remove(&returned.webhook);
            }
        }
        match returned.in_time {
            true => self.reliable.insert(returned.webhook),
            false => self.reliable.remove(&returned.webhook),
        };
    }

    /// The webhook has nothing to do for a while.
    pub(super) fn look_again(&mut self, webhook: WebhookId, wait: Duration) {
        self.look_again.insert(webhook, Instant::now() + wait);
    }

    /// Somebody has something to do, and it is not known who.
    pub(super) fn look_everywhere(&mut self) {
        self.look_again.clear();
        self.read_at = None;
    }

    /// When to look for something to do, whatever happens.
    pub(super) fn next_look(&self) -> Instant {
        let now = Instant::now();
        let latest = now + LOOK_EVERY;
        // What is past waits for a hand, and a hand that comes back wakes whoever sleeps.
        let looks = self.look_again.values().copied().filter(|then| *then > now);
        looks.min().map_or(latest, |first| first.min(latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDS: usize = 3;

    fn webhooks(count: usize, owner: Owner) -> Vec<(WebhookId, Owner)> {
        let one = |_| (WebhookId::random(), owner);
        (0..count).map(one).collect()
    }

    fn organization() -> Owner {
        Some(OrganizationId::random())
    }

    /// Gives out hands until nobody may have one.
    fn give(round: &mut Round, hands: usize) -> Vec<WebhookId> {
        let mut given = Vec::new();
        while given.len() < hands
            && let Some(next) = round.next(HANDS)
        {
            round.begun(next);
            given.push(next);
        }
        given
    }

    fn takes(round: &mut Round, webhook: WebhookId, in_time: bool) {
        round.returned(&Returned { webhook, in_time });
    }

    #[test]
    fn a_tenant_with_many_dead_receivers_holds_up_no_other() {
        let (dead, other) = (webhooks(60, organization()), webhooks(1, organization()));
        let mut round = Round::default();
        round.refill([dead.clone(), other.clone()].concat());
        let given = give(&mut round, HANDS);
        assert_eq!(
            given.len(),
            2,
            "one hand is for those that are known to work"
        );
        assert!(
            given.contains(&other[0].0),
            "the other has its turn at once"
        );
        takes(&mut round, other[0].0, true);
        for _ in 0..10 {
            let given = give(&mut round, 2);
            assert_eq!(given, [other[0].0; 2], "and from then on what is free");
            given.into_iter().for_each(|id| takes(&mut round, id, true));
        }
    }

    #[test]
    fn a_webhook_that_fails_or_is_slow_has_one_hand_until_it_works_again() {
        let mut round = Round::default();
        let only = webhooks(1, None);
        round.refill(only.clone());
        assert_eq!(give(&mut round, HANDS).len(), 1, "it is new");
        for (in_time, hands) in [(true, HANDS), (false, 1), (true, HANDS)] {
            while round.busy.contains_key(&only[0].0) {
                takes(&mut round, only[0].0, in_time);
            }
            assert_eq!(give(&mut round, HANDS).len(), hands);
        }
    }

    #[test]
    fn owners_take_turns_and_so_do_the_webhooks_of_each() {
        let (many, few) = (webhooks(4, organization()), webhooks(2, None));
        let mut round = Round::default();
        round.refill([many.clone(), few.clone()].concat());
        for (id, _) in many.iter().chain(&few) {
            takes(&mut round, *id, true);
        }
        let turns: Vec<_> = (0..8).map(|_| round.next(HANDS).unwrap()).collect();
        let of = |all: &[(WebhookId, Owner)]| {
            let is_of = |turn: &&WebhookId| all.iter().any(|(id, _)| id == *turn);
            turns.iter().filter(is_of).collect::<HashSet<_>>().len()
        };
        assert_eq!((of(&many), of(&few)), (4, 2));
        let owners = turns
            .iter()
            .map(|turn| many.iter().any(|(id, _)| id == turn));
        let owners: Vec<_> = owners.collect();
        assert!(
            owners.windows(2).all(|pair| pair[0] != pair[1]),
            "{owners:?}"
        );
    }

    #[test]
    fn who_has_nothing_to_do_is_passed_over_until_there_is_news() {
        let mut round = Round::default();
        let only = webhooks(1, None);
        round.refill(only.clone());
        round.look_again(only[0].0, Duration::from_secs(60));
        assert_eq!(round.next(HANDS), None);
        round.look_everywhere();
        assert_eq!(round.next(HANDS), Some(only[0].0));
        assert!(round.is_outdated());
    }
}
