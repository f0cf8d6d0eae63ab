//! What people call the things that records name by their identifiers.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::try_join_all;

use crate::app::App;
use crate::domain::id::OrganizationId;
use crate::domain::organization::Organization;
use crate::domain::organizations::OrganizationError;
use crate::store::StoreError;

/// How many organizations are offered to choose from; others are named by their identifiers.
const OFFERED: usize = 200;

/// The names of some organizations.
#[derive(Debug, Default)]
pub struct Names(HashMap<OrganizationId, String>);

impl Names {
    /// Those of these organizations.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn of(
        app: &App,
        organizations: impl Iterator<Item = OrganizationId>,
    ) -> Result<Self, StoreError> {
        let different: BTreeSet<_> = organizations.collect();
        let looks = different.into_iter().map(|id| async move {
            match app.organizations.find(id).await {
                Ok(found) => Ok(Some((id, found.value.name))),
                Err(OrganizationError::Store(error)) => Err(error),
                // It is being deleted.
                Err(_) => Ok(None),
            }
        });
        let found = try_join_all(looks).await?;
        Ok(Self(found.into_iter().flatten().collect()))
    }

    /// What the organization is called.
    pub fn name(&self, id: &OrganizationId) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// Some organizations to choose from.
///
/// # Errors
/// The store's failure.
pub async fn some_organizations(app: &App) -> Result<Vec<Organization>, StoreError> {
    app.organizations.list(None, OFFERED).await
}
