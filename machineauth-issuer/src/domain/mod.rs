//! What the server knows about agents, secrets, keys and tokens. Knows no HTTP.

pub mod administrator;
pub mod agent;
pub mod agents;
pub mod grants;
pub mod id;
pub mod revocation;
pub mod secret;
pub mod signing;
pub mod stats;
pub mod tokens;
pub mod usage;
pub mod vault;
