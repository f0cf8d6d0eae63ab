//! The audit trail: what the audit logs of all partitions hold, newest first; its seals, and whether they hold.

mod check;
mod csv;
mod cursor;
pub mod export;
mod filter;
mod report;
mod retention;
mod seal;
mod sealer;
mod segment;
mod stretch;
mod trail;
mod verification;
mod verify;
mod view;

pub use self::cursor::Cursor;
pub use self::filter::{AddressFilter, Filter};
pub use self::report::{Finding, Report, Wrong};
pub use self::retention::trim;
pub use self::seal::{InvalidSeals, Seal, parse_seals, scan_seals, seals_head};
pub use self::sealer::Sealer;
pub use self::trail::{Entry, LOOKED_AT, Page, Trail};
pub use self::verification::{Conclusion, Running, Verification, VerificationState};
pub use self::verify::{Progress, VerifyError, verify};
pub use self::view::{ActorView, EntryView, TargetView};
