//! The API beside OAuth: one file per noun.

pub mod agents;
pub mod body;
pub mod caller;
pub mod date;
pub mod service;
