//! The API beside OAuth: one file per noun.

pub mod admin;
pub mod agents;
pub mod body;
pub mod date;
pub mod service;
