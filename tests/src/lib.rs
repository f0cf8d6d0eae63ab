//! The harness: issuers in process and as processes, and what a test says to them.

pub mod agent;
pub mod http;
pub mod issuer;
pub mod process;
