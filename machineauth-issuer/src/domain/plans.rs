//! What the plan of an organization allows: how many agents, and how many tokens per second.

use machineauth_core::clock::Timestamp;
use machineauth_core::quota::{Buckets, Exhausted};

use super::organization::{Organization, Plan};

/// What one plan allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Agents of one organization; 0 for any number.
    pub agents: u32,
    /// Tokens per second that one process issues to the agents of one organization; 0 for any number.
    pub tokens_per_second: u32,
}

/// What each plan allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanSettings {
    /// [`Plan::Free`]
    pub free: Allowance,
    /// [`Plan::Pro`]
    pub pro: Allowance,
    /// [`Plan::Enterprise`]
    pub enterprise: Allowance,
}

impl PlanSettings {
    /// What `plan` allows.
    pub fn of(&self, plan: Plan) -> Allowance {
        match plan {
            Plan::Free => self.free,
            Plan::Pro => self.pro,
            Plan::Enterprise => self.enterprise,
        }
    }

    /// Whether some plan bounds the number of agents.
    pub fn bound_agents(&self) -> bool {
        [self.free, self.pro, self.enterprise]
            .iter()
            .any(|allowance| allowance.agents > 0)
    }
}

/// Counts the tokens of organizations against what their plans allow.
#[derive(Debug)]
pub struct TokenRates {
    free: Option<Buckets>,
    pro: Option<Buckets>,
    enterprise: Option<Buckets>,
}

impl TokenRates {
    /// The rates that `settings` allow.
    pub fn new(settings: &PlanSettings) -> Self {
        let rate = |plan| Buckets::per_second(settings.of(plan).tokens_per_second);
        Self {
            free: rate(Plan::Free),
            pro: rate(Plan::Pro),
            enterprise: rate(Plan::Enterprise),
        }
    }

    /// Counts a token of `organization`.
    ///
    /// # Errors
    /// When its plan allows no more at the moment.
    pub fn take(&self, organization: &Organization, now: Timestamp) -> Result<(), Exhausted> {
        let buckets = match organization.plan {
            Plan::Free => &self.free,
            Plan::Pro => &self.pro,
            Plan::Enterprise => &self.enterprise,
        };
        match buckets {
            Some(buckets) => buckets.take(organization.id, now).map(|_| ()),
            None => Ok(()),
        }
    }
}
