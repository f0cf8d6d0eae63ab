//! The suite on Valkey.

super::conformance::suite!(super::super::fixture::valkey);
