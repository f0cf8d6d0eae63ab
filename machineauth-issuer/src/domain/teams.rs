//! The teams of organizations.

use std::sync::Arc;

use bytes::Bytes;
use machineauth_core::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};

use super::event::{self, Action, By, Fact};
use super::id::{OrganizationId, TeamId};
use super::organizations::{self, StoredOrganization};
use super::text;
use crate::store::{Batch, DynStore, Key, Outcome, Store, StoreError, Table, Version, Versioned};

const TEAMS: Table<Team> = Table::new("team", 1);
/// How many agents a team has, in a counter beside the record.
const MEMBERS: &str = "team_members";
/// Beside it, what tells whoever counted them that there may be more.
const JOINED: &str = "team_joined";

/// The most teams that one organization can have.
pub const MAX_TEAMS: usize = 1000;

/// The stored record of a team.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Team {
    /// Names it in the API and in tokens (`team_id`).
    pub id: TeamId,
    /// Whose team it is.
    pub organization_id: OrganizationId,
    /// For people.
    pub name: String,
    /// For people. May be empty.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
}

/// What changes of a team. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct TeamChange {
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
}

/// A value that a team cannot have. The text names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTeam {
    /// The name is empty, too long, or holds control characters.
    #[error("name: 1 to {} characters, no control characters", text::MAX_NAME)]
    Name,
    /// The description is too long, or holds control characters.
    #[error(
        "description: at most {} characters, no control characters",
        text::MAX_DESCRIPTION
    )]
    Description,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// There is no such team.
    #[error("there is no such team")]
    NotFound,
    /// There is no such organization.
    #[error("there is no such organization")]
    NoSuchOrganization,
    /// The record would not be valid.
    #[error(transparent)]
    Invalid(#[from] InvalidTeam),
    /// The organization has as many teams as it can have.
    #[error("an organization has at most {MAX_TEAMS} teams")]
    TooMany,
    /// Agents belong to it.
    #[error("the team has agents: move or delete them first")]
    NotEmpty,
    /// The record is not at the version that the change was made for.
    #[error("the team has changed since; read it again")]
    Outdated,
    /// Others changed the same record at the same time.
    #[error("the team is being changed by many at once; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Team {
    /// Checks everything that its types do not.
    ///
    /// # Errors
    /// Names the field that does not hold what a team can have.
    pub fn validate(&self) -> Result<(), InvalidTeam> {
        if !text::is_name(&self.name) {
            Err(InvalidTeam::Name)
        } else if !text::is_description(&self.description) {
            Err(InvalidTeam::Description)
        } else {
            Ok(())
        }
    }
}

/// All teams.
#[derive(Debug)]
pub struct Teams {
    /// Where they are.
    pub store: DynStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Teams {
    /// Creates a team of `organization`.
    ///
    /// # Errors
    /// [`TeamError::Invalid`] names the field that cannot be accepted.
    pub async fn create(
        &self,
        organization: &StoredOrganization,
        name: String,
        description: String,
        by: &By,
    ) -> Result<Versioned<Team>, TeamError> {
        let now = self.clock.now();
        let home = organization.value.id;
        let team = Team {
            id: TeamId::random_in(home.partition()),
            organization_id: home,
            name,
            description,
            created_at: now,
            updated_at: now,
        };
        let fact = Fact::team(Action::TeamCreated, &team);
        self.establish(organization, team, fact, by).await
    }

    /// Takes over a team of another server, with its identifier. It must be one of `organization`.
    ///
    /// # Errors
    /// As [`Teams::create`]; [`TeamError::Contended`] also when the identifier is taken.
    pub async fn import(
        &self,
        organization: &StoredOrganization,
        team: Team,
        by: &By,
    ) -> Result<Versioned<Team>, TeamError> {
        if team.organization_id != organization.value.id {
            return Err(TeamError::NoSuchOrganization);
        }
        let fact = Fact::team(Action::TeamCreated, &team).imported();
        self.establish(organization, team, fact, by).await
    }

    async fn establish(
        &self,
        organization: &StoredOrganization,
        team: Team,
        fact: Fact,
        by: &By,
    ) -> Result<Versioned<Team>, TeamError> {
        let home = organization.value.id;
        team.validate()?;
        if self.list(home).await?.len() >= MAX_TEAMS {
            return Err(TeamError::TooMany);
        }
        let key = record_key(home, team.id);
        let batch = organizations::unchanged(Batch::new(home.partition()), organization)
            .absent(&key)
            .put(&key, TEAMS.encode(&team));
        let batch = event::record(batch, fact, by, self.clock.now());
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(Versioned {
                value: team,
                version: batch.version(),
            }),
            Outcome::Conflict => Err(TeamError::Contended),
        }
    }

    /// The team `id` of `organization`.
    ///
    /// # Errors
    /// [`TeamError::NotFound`], or the store's failure.
    pub async fn find(
        &self,
        organization: OrganizationId,
        id: TeamId,
    ) -> Result<Versioned<Team>, TeamError> {
        read(&*self.store, organization, id)
            .await?
            .ok_or(TeamError::NotFound)
    }

    /// All teams of `organization`.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(&self, organization: OrganizationId) -> Result<Vec<Team>, StoreError> {
        let prefix = TEAMS.key(organization.partition()).with(organization);
        let rows = TEAMS.scan(&*self.store, &prefix, None, MAX_TEAMS).await?;
        Ok(rows.into_iter().map(|(_, row)| row.value).collect())
    }

    /// Changes a team, if `expected` is given only at that version.
    ///
    /// # Errors
    /// [`TeamError::Invalid`] names the field; the version may be another.
    pub async fn update(
        &self,
        organization: OrganizationId,
        id: TeamId,
        change: TeamChange,
        expected: Option<Version>,
        by: &By,
    ) -> Result<Versioned<Team>, TeamError> {
        let stored = self.find(organization, id).await?;
        if expected.is_some_and(|expected| expected != stored.version) {
            return Err(TeamError::Outdated);
        }
        let (before, now) = (stored.value, self.clock.now());
        let team = Team {
            name: change.name.unwrap_or_else(|| before.name.clone()),
            description: change
                .description
                .unwrap_or_else(|| before.description.clone()),
            updated_at: now,
            ..before
        };
        team.validate()?;
        let key = record_key(organization, id);
        let batch = Batch::new(organization.partition())
            .at_version(&key, stored.version)
            .put(&key, TEAMS.encode(&team));
        let fact = Fact::team(Action::TeamUpdated, &team).changed(&before, &team);
        let batch = event::record(batch, fact, by, now);
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(Versioned {
                value: team,
                version: batch.version(),
            }),
            Outcome::Conflict => Err(TeamError::Contended),
        }
    }

    /// Deletes a team that has no agents.
    ///
    /// # Errors
    /// [`TeamError::NotEmpty`], [`TeamError::NotFound`], or the store's failure.
    pub async fn delete(
        &self,
        organization: OrganizationId,
        id: TeamId,
        by: &By,
    ) -> Result<(), TeamError> {
        let stored = self.find(organization, id).await?;
        // Read before the members are counted: whoever joins after that changes it.
        let key = joined_key(organization, id);
        let joined = self.store.get(&key).await?;
        let members = members_key(organization, id);
        if self.store.counts(std::slice::from_ref(&members)).await? != [0] {
            return Err(TeamError::NotEmpty);
        }
        let batch = self.removal(&stored, by);
        let batch = match joined {
            Some(joined) => batch.at_version(&key, joined.version),
            None => batch.absent(&key),
        };
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(TeamError::Contended),
        }
    }

    /// Deletes what is left of the teams of a deleted organization.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn delete_all_of(
        &self,
        organization: OrganizationId,
        by: &By,
    ) -> Result<(), StoreError> {
        let prefix = TEAMS.key(organization.partition()).with(organization);
        loop {
            let some = TEAMS.scan(&*self.store, &prefix, None, MAX_TEAMS).await?;
            if some.is_empty() {
                return Ok(());
            }
            for (_, team) in some {
                match self.store.commit(&self.removal(&team, by)).await? {
                    // A conflict means that another issuer was faster.
                    Outcome::Committed | Outcome::Conflict => {}
                }
            }
        }
    }

    fn removal(&self, stored: &Versioned<Team>, by: &By) -> Batch {
        let team = &stored.value;
        let key = record_key(team.organization_id, team.id);
        let batch = Batch::new(key.partition())
            .at_version(&key, stored.version)
            .delete(&key)
            .delete(&members_key(team.organization_id, team.id))
            .delete(&joined_key(team.organization_id, team.id));
        let fact = Fact::team(Action::TeamDeleted, team);
        event::record(batch, fact, by, self.clock.now())
    }
}

/// The record of the team `id` of `organization`.
///
/// # Errors
/// The store's failure.
pub async fn read(
    store: &dyn Store,
    organization: OrganizationId,
    id: TeamId,
) -> Result<Option<Versioned<Team>>, StoreError> {
    TEAMS.get(store, &record_key(organization, id)).await
}

/// Adds to `batch`: the team is still the one judged by.
pub fn unchanged(batch: Batch, team: &Versioned<Team>) -> Batch {
    let key = record_key(team.value.organization_id, team.value.id);
    batch.at_version(&key, team.version)
}

/// As [`unchanged`], for a batch that makes somebody a member: whoever has counted the members has to count again.
pub fn join(batch: Batch, team: &Versioned<Team>) -> Batch {
    let key = joined_key(team.value.organization_id, team.value.id);
    unchanged(batch, team).put(&key, Bytes::new())
}

/// Adds to `batch`: the team has `n` agents more, or fewer.
pub fn count_members(batch: Batch, organization: OrganizationId, team: TeamId, n: i64) -> Batch {
    batch.add(&members_key(organization, team), n)
}

fn record_key(organization: OrganizationId, id: TeamId) -> Key {
    TEAMS
        .key(organization.partition())
        .with(organization)
        .with(id)
}

/// A row that says nothing, but changes when somebody joins.
fn joined_key(organization: OrganizationId, id: TeamId) -> Key {
    organization.partition().key(JOINED).with(id)
}

fn members_key(organization: OrganizationId, id: TeamId) -> Key {
    organization.partition().key(MEMBERS).with(id)
}
