//! The layers from outside: what a service behind them sees, and what a caller gets.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

mod authenticate;
mod axum_stack;
mod client;
mod keys_from_issuer;
mod plain_stack;
mod policy;
mod possession;
mod rate_limit;
mod require;
mod streams;
mod support;
