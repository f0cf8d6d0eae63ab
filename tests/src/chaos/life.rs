//! What is known of one agent, from what clients were told about it.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use super::history::{Act, Entry, History, Outcome, Token};

/// One agent's part of a history. Whoever owns it asks for one thing after the other, but for refreshes, which may race.
#[derive(Debug)]
pub(super) struct Life<'a> {
    pub(super) history: &'a History,
    pub(super) agent: usize,
    pub(super) entries: Vec<&'a Entry>,
    /// The family of each token, access or refresh: what its first refresh token is called.
    families: HashMap<Token, Token>,
    /// When what of each family was presented, and what a refresh gave.
    redemptions: BTreeMap<Token, Vec<&'a Entry>>,
}

impl<'a> Life<'a> {
    pub(super) fn new(history: &'a History, agent: usize, entries: Vec<&'a Entry>) -> Self {
        let mut families = HashMap::new();
        let mut redemptions: BTreeMap<Token, Vec<&Entry>> = BTreeMap::new();
        for entry in &entries {
            let (family, given) = match entry.act {
                Act::Issue { given, .. } => (given.map(|pair| pair.refresh), given),
                Act::Refresh { presented, given } => {
                    redemptions.entry(presented).or_default().push(entry);
                    (families.get(&presented).copied(), given)
                }
                _ => continue,
            };
            if let (Some(family), Some(given)) = (family, given) {
                families.insert(given.refresh, family);
                families.insert(given.access, family);
            }
        }
        Self {
            history,
            agent,
            entries,
            families,
            redemptions,
        }
    }

    /// What happened for good.
    pub(super) fn certain<'b>(
        &'b self,
        is_meant: impl Fn(Act) -> bool + 'b,
    ) -> impl Iterator<Item = &'a Entry> + 'b {
        let certain = move |entry: &&Entry| is_meant(entry.act) && self.history.is_certain(entry);
        self.entries.iter().copied().filter(certain)
    }

    pub(super) fn after_the_calm(&self) -> impl Iterator<Item = &'a Entry> {
        let calm = self.history.calm;
        let entries = self.entries.iter().copied();
        entries.filter(move |entry| entry.sent > calm)
    }

    /// How often something happened at least, and at most.
    pub(super) fn count(&self, is_meant: impl Fn(Act) -> bool) -> RangeInclusive<u64> {
        let meant = self.entries.iter().filter(|entry| is_meant(entry.act));
        let possible = meant.filter(|entry| entry.outcome.is_possible()).count();
        let certain = self.certain(&is_meant).count();
        number(certain)..=number(possible)
    }

    pub(super) fn issued(&self) -> RangeInclusive<u64> {
        self.count(|act| matches!(act, Act::Issue { .. }))
    }

    /// However often a token is presented, it is redeemed once.
    pub(super) fn refreshed(&self) -> RangeInclusive<u64> {
        let count = |is_meant: &dyn Fn(&Entry) -> bool| {
            let redeemed = self.redemptions.values();
            let redeemed = redeemed.filter(|entries| entries.iter().any(|entry| is_meant(entry)));
            number(redeemed.count())
        };
        let certain = count(&|entry| self.history.is_certain(entry));
        certain..=count(&|entry| entry.outcome.is_possible())
    }

    /// The rotation that ended a secret for good.
    pub(super) fn rotation_of(&self, secret: usize) -> Option<&'a Entry> {
        let answered = |entry: &&&Entry| entry.act == Act::Rotate && entry.outcome == Outcome::Done;
        let mut since = self.entries.iter().filter(answered).skip(secret).copied();
        since.find(|entry| self.history.is_certain(entry))
    }

    /// The number of the secret that is good, where that is known.
    pub(super) fn current_secret(&self) -> Option<usize> {
        let rotations = self.count(|act| act == Act::Rotate);
        let is_known = self.creation().is_some() && rotations.start() == rotations.end();
        is_known.then(|| usize::try_from(*rotations.start()).expect("a count fits"))
    }

    pub(super) fn creation(&self) -> Option<&'a Entry> {
        self.certain(|act| act == Act::Create).next()
    }

    pub(super) fn deactivation(&self) -> Option<&'a Entry> {
        self.certain(|act| act == Act::Deactivate).next()
    }

    pub(super) fn may_be_deactivated(&self) -> bool {
        *self.count(|act| act == Act::Deactivate).end() > 0
    }

    /// Each refresh token that was presented, and when.
    pub(super) fn redemptions(&self) -> impl Iterator<Item = (Token, &[&'a Entry])> {
        let all = self.redemptions.iter();
        all.map(|(presented, entries)| (*presented, &entries[..]))
    }

    /// Whether this presents a token that was redeemed, and so was its successor, for good and before.
    pub(super) fn is_re_use(&self, entry: &Entry) -> bool {
        let Act::Refresh { presented, .. } = entry.act else {
            return false;
        };
        let successors = self.redeemed(presented, entry);
        successors
            .into_iter()
            .any(|successor| !self.redeemed(successor, entry).is_empty())
    }

    /// What the token had given for good when `before` was sent.
    fn redeemed(&self, presented: Token, before: &Entry) -> Vec<Token> {
        let entries = self.redemptions.get(&presented).into_iter().flatten();
        let earlier = entries.filter(|entry| entry.answered < before.sent);
        let certain = earlier.filter(|entry| self.history.is_certain(entry));
        let given = certain.filter_map(|entry| match entry.act {
            Act::Refresh { given, .. } => given.map(|pair| pair.refresh),
            _ => None,
        });
        given.collect()
    }

    /// The re-use that ended a token's family for good.
    pub(super) fn end_of_family(&self, token: Token) -> Option<&'a Entry> {
        let family = self.families.get(&token)?;
        let of_family = self
            .redemptions
            .iter()
            .filter(|(presented, _)| self.families.get(presented) == Some(family));
        let refused = of_family
            .flat_map(|(_, entries)| entries)
            .copied()
            .filter(|entry| entry.outcome == Outcome::Refused && self.is_re_use(entry))
            .filter(|entry| self.history.is_settled(entry));
        refused.min_by_key(|entry| entry.answered)
    }

    /// What ended an access token for good: its revocation, its family's, its agent's.
    pub(super) fn end_of(&self, access: Token) -> Option<&'a Entry> {
        let revoked = self.certain(|act| act == Act::Revoke { access }).next();
        let ends = [revoked, self.deactivation(), self.end_of_family(access)];
        ends.into_iter()
            .flatten()
            .min_by_key(|entry| entry.answered)
    }

    /// Whether nothing can have ended an access token, and its agent is there for good.
    pub(super) fn is_certainly_good(&self, access: Token) -> bool {
        let is_created = self.creation().is_some();
        let is_revoked = *self.count(|act| act == Act::Revoke { access }).end() > 0;
        is_created && !is_revoked && !self.may_be_deactivated() && !self.family_may_be_ended(access)
    }

    /// Whether some refresh token of the family was presented again, and not just for the same answer.
    fn family_may_be_ended(&self, token: Token) -> bool {
        let Some(family) = self.families.get(&token) else {
            return true;
        };
        self.redemptions.iter().any(|(presented, entries)| {
            self.families.get(presented) == Some(family)
                && entries.len() > 1
                && entries.iter().any(|entry| entry.outcome != Outcome::Done)
        })
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("a count fits")
}
