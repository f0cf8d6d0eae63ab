//! Moving what administrators made from one server to another, as the JSON document that the Go service keeps its state
//! in.

mod document;
pub mod export;
pub mod import;
pub mod report;

pub use document::{Document, NotADocument};
