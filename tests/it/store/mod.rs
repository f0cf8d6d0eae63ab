//! The store port: one suite, run on each backend, and what is particular to each.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod agreement;
mod conformance;
mod embedded;
mod fixture;
mod linearizability;
mod memory;
mod redis;
mod valkey;

type TestResult = Result<(), Box<dyn std::error::Error>>;
