//! `/admin/organizations`

pub mod api_keys;
mod detail;
mod list;
mod profile;
pub mod teams;

use crate::app::App;
use crate::domain::id::OrganizationId;
use crate::domain::organizations::StoredOrganization;
use crate::error::ApiError;
use crate::paths;

pub use self::detail::{delete, show};
pub use self::list::list;
pub use self::profile::{change, create, edit, new};

/// The organization that a path names.
async fn found(app: &App, id: &str) -> Result<StoredOrganization, ApiError> {
    // What is no identifier names no organization.
    let id: OrganizationId = id.parse().map_err(|_| ApiError::NO_SUCH_ORGANIZATION)?;
    Ok(app.organizations.find(id).await?)
}

/// Where an organization's page is.
fn path_of(id: OrganizationId) -> String {
    format!("{}/organizations/{id}", paths::ADMIN)
}
