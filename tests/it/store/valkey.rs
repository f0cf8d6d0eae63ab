//! The suite on Valkey.

super::conformance::suite!(super::fixture::valkey);
