//! The OAuth 2.0 endpoints: one file each.

pub mod client_auth;
pub mod introspect;
pub mod metadata;
pub mod params;
pub mod revocations;
pub mod revoke;
pub mod token;
