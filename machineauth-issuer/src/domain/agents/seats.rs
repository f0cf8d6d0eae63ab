//! As many agents as an organization's plan allows, and not one more.
//!
//! The counters of agents never conflict, so two that create an agent at the same time could both see room for the last
//! one. Whoever creates an agent under a limit therefore also rewrites one row of the organization, which only one of
//! two can. Within a process they wait for each other, so that a crowd does not conflict over and over.

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

use super::AgentError;
use super::index::Shelf;
use crate::domain::id::OrganizationId;
use crate::domain::organization::Organization;
use crate::domain::plans::PlanSettings;
use crate::store::{Batch, Key, PARTITIONS, Partition, Store};

const SEATS: &str = "agent_seats";

/// Gives out places for agents.
#[derive(Debug)]
pub(super) struct Seats {
    plans: PlanSettings,
    /// One for the organizations of each partition.
    turns: Vec<Mutex<()>>,
}

impl Seats {
    pub(super) fn new(plans: PlanSettings) -> Self {
        Self {
            plans,
            turns: (0..PARTITIONS).map(|_| Mutex::new(())).collect(),
        }
    }

    /// Waits until it is the caller's turn to create an agent of `organization`.
    pub(super) async fn turn(&self, organization: OrganizationId) -> Option<MutexGuard<'_, ()>> {
        if !self.plans.bound_agents() {
            return None;
        }
        let home = organization.partition();
        let turn = Partition::data().position(|partition| partition == home)?;
        Some(self.turns.get(turn)?.lock().await)
    }

    /// Adds to `batch`: there is room for one agent more, as the plan of `organization` has it.
    ///
    /// # Errors
    /// [`AgentError::PlanExhausted`], or the store's failure.
    pub(super) async fn claim(
        &self,
        store: &dyn Store,
        organization: &Organization,
        batch: Batch,
    ) -> Result<Batch, AgentError> {
        let limit = self.plans.of(organization.plan).agents;
        if limit == 0 {
            return Ok(batch);
        }
        let (home, key) = (organization.id.partition(), key(organization.id));
        // The row first: what is counted after that cannot have grown when the row is still the same.
        let row = store.get(&key).await?;
        let shelf = Shelf::Organization(organization.id);
        let agents = store
            .counts(&[true, false].map(|is_active| shelf.count(home, is_active)))
            .await?;
        if agents.iter().sum::<i64>() >= i64::from(limit) {
            return Err(AgentError::PlanExhausted {
                plan: organization.plan,
                agents: limit,
            });
        }
        let batch = match row {
            Some(row) => batch.at_version(&key, row.version),
            None => batch.absent(&key),
        };
        Ok(batch.put(&key, Bytes::new()))
    }
}

/// Adds to `batch`: nothing is left of the places of `organization`.
pub fn forget_seats(batch: Batch, organization: OrganizationId) -> Batch {
    batch.delete(&key(organization))
}

fn key(organization: OrganizationId) -> Key {
    organization.partition().key(SEATS).with(organization)
}
