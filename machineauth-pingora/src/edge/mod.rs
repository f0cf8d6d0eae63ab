//! `machineauth-edge`: a proxy that lets only verified agents through to its upstreams, from one file.
//!
//! `edge.toml` is read as a tree of types (`config`) and made into a `snapshot`: routes, pools of servers, issuers,
//! limits, exchanged as a whole when the file changes (`reload`). A request goes through the phases of `proxy`: what it
//! is for (`target`), which `route` that is, the module's judgement, the server it is sent to (`upstream`). What does
//! not come from an upstream stands in `answers`. The reference of the file, and every failure with its answer, is
//! `docs/edge.md`.

mod access_log;
mod admin;
mod admission;
mod answers;
mod attempts;
pub mod cli;
mod config;
mod cors;
mod exchange;
mod explain;
mod forward;
mod health;
mod http2;
mod issuers;
mod limits;
mod metrics;
mod proxy;
mod reload;
mod request_id;
mod route;
mod route_builder;
mod server;
mod snapshot;
mod socket;
mod target;
mod tls;
mod upstream;
mod watch;
