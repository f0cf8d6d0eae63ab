//! The end-to-end tests: one file per RFC, per document, per journey.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod admin_api;
mod agents;
mod audit;
mod calling;
mod client_authentication;
mod clients;
mod command_line;
mod compatibility;
mod connections;
mod document_authentication;
mod document_docyard;
mod document_soul;
mod dpop;
mod events;
mod import;
mod introspection;
mod journey;
mod keys;
mod layering;
mod login;
mod machine_clients;
mod metadata;
mod offline;
mod opaque_tokens;
mod openapi;
mod organizations;
mod outage;
mod private_key_jwt;
mod protection;
mod refresh;
mod resource_server;
mod revocation;
mod revocation_feed;
mod secrets;
mod self_service;
mod service;
mod startup;
mod store;
mod tenancy;
mod tls;
mod token;
mod webhooks;
