//! What the server knows about agents, secrets, keys and tokens. Knows no HTTP.

pub mod administrator;
pub mod agent;
pub mod agents;
pub mod api_keys;
pub mod assertion;
pub mod event;
pub mod grants;
pub mod id;
pub mod keys;
pub mod last_use;
pub mod lease;
pub mod organization;
pub mod organizations;
pub mod password_hash;
pub mod proofs;
pub mod revocation;
pub mod secret;
pub mod stats;
pub mod teams;
pub mod text;
pub mod tokens;
pub mod unique;
pub mod usage;
pub mod vault;
pub mod verifications;
pub mod webhooks;
