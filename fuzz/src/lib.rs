//! What is fuzzed, and what must hold whatever the bytes are. Nothing may panic; beyond that, each target says what it
//! asserts.
//!
//! `scripts/fuzz` runs the targets under libFuzzer for as long as it is told. Every test run includes these files, and tries
//! some thousand variations of the seeds in `seeds/` (`smoke.rs`).

pub mod issuer;
pub mod verifiers;
