//! The harness of the end-to-end tests: real parts, started privately.

pub mod fault_proxy;
pub mod redis_server;
pub mod store_writer;
