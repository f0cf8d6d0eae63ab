//! The end-to-end tests.

mod store;
