//! The security list, one file per theme. Each test's doc comment names the list's id (V1, V2, …).

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod several_issuers;
mod stale;
mod support;

mod algorithms;
mod any_bytes;
mod claims;
mod encoding;
mod header;
mod issuer_binding;
mod key_sets;
mod missing_keys;
mod oracle;
mod profiles;
mod properties;
mod remembered_tokens;
mod rfc_examples;
mod time;
mod token_types;
mod wycheproof_vectors;
