//! The OAuth 2.0 token service for machines.
//!
//! A request goes from the accept loop ([`server`]) through the one table of paths ([`routes`]) to a handler in
//! [`oauth`] or [`api`], which parses it and hands it to the [`domain`]. The domain judges, signs, and commits one
//! atomic batch to the [`store`]. What was appended to a log by such a batch reaches listeners through [`events`].
//! [`app::App`] holds all of it, and [`config`] says how.

pub mod api;
pub mod app;
pub mod backup;
pub mod basic;
pub mod body;
pub mod cli;
pub mod config;
pub mod console;
pub mod context;
pub mod credential;
pub mod date;
pub mod documents;
pub mod domain;
pub mod error;
pub mod events;
pub mod maintenance;
pub mod metrics;
pub mod oauth;
pub mod openapi;
pub mod paths;
pub mod protection;
pub mod routes;
pub mod server;
pub mod sign_in;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod transfer;
