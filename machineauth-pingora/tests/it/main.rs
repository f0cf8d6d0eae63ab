//! The module from outside: alone, and in a proxy between a client and an upstream.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

mod background;
mod edge;
mod identity;
mod issuer;
mod module;
mod refusal;
