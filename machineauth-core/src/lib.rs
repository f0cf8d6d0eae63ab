//! Verify access tokens locally.

pub mod clock;
pub mod error;
pub mod scope;

pub mod bearer;
pub mod challenge;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use error::{ClaimName, Error, ErrorKind};
pub use scope::{Scope, ScopeSet};

pub use bearer::bearer_token;
pub use challenge::Challenge;
