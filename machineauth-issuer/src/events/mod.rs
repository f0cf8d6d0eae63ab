//! What follows from the logs that every commit appends to.

pub mod feed;
