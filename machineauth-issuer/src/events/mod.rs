//! What follows from what happened: told to resource servers, and to webhooks.

pub mod audit;
pub mod feed;
pub mod webhooks;
