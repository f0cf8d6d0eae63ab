//! `/admin/agents`

mod actions;
mod detail;
mod list;
mod profile;
mod secret;

use crate::app::App;
use crate::domain::agents::StoredAgent;
use crate::domain::id::AgentId;
use crate::error::ApiError;

pub use self::actions::{cancel_secret, deactivate, delete, reactivate, rotate};
pub use self::detail::show;
pub use self::list::list;
pub use self::profile::{change, create, edit, new};

/// The agent that a path names.
async fn found(app: &App, id: &str) -> Result<StoredAgent, ApiError> {
    // What is no identifier names no agent.
    let id: AgentId = id.parse().map_err(|_| ApiError::NO_SUCH_AGENT)?;
    Ok(app.agents.find(id).await?)
}

/// Where an agent's page is.
pub fn path_of(id: AgentId) -> String {
    format!("{}/agents/{id}", crate::paths::ADMIN)
}
