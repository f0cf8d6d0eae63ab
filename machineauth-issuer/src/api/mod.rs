//! The API beside OAuth: one file per noun.

pub mod administrators;
pub mod agents;
pub mod api_keys;
pub mod audit_logs;
pub mod auth;
pub mod bearer;
pub mod body;
pub mod caller;
pub mod created;
pub mod etag;
pub mod invitations;
pub mod keys;
pub mod machine_clients;
pub mod me;
pub mod myself;
pub mod organizations;
pub mod page;
pub mod service;
pub mod sessions;
pub mod teams;
pub mod verify;
pub mod webhooks;
