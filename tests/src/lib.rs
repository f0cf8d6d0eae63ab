//! The harness of the end-to-end tests: real parts, started privately, and what a test says to them.

pub mod agent;
pub mod audit;
pub mod browser;
pub mod captured;
pub mod certificate;
pub mod command;
pub mod console;
pub mod description;
pub mod document;
pub mod edge;
pub mod fault_proxy;
pub mod go_store;
pub mod http;
pub mod inscription;
pub mod installation;
pub mod issuer;
pub mod process;
pub mod program;
pub mod receiver;
pub mod redis_cluster;
pub mod redis_sentinel;
pub mod redis_server;
pub mod store_writer;
pub mod token;
pub mod upstream;
pub mod visitor;
