//! The suite on the store of tests.

super::conformance::suite!(super::super::fixture::memory);
