//! The console's pages over HTTP, as they are without a script.

mod agents;
mod audit;
mod configuration;
mod forgery;
mod keys;
mod organizations;
mod people;
mod refusals;
mod sessions;
mod tokens;
mod webhooks;
