//! `/admin/audit`: what happened, as it happens, and that it is not told otherwise later.

mod export;
mod list;
mod verification;

pub use self::export::{export, seals};
pub use self::list::list;
pub use self::verification::{show, verify};
