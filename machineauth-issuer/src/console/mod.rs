//! The console of administrators at `/admin`: pages made here, of what the domain says.
//!
//! It is one more client of the domain, beside [`crate::api`], and knows nothing of that. Every page is whole without a
//! script: a form is posted, and its answer leads to the next page, or shows the form again with what was typed and what is
//! wrong with it. Scripts only make what is there live.
//!
//! Who a request comes from, whether it may change something and whether it was one of our own forms that sent it (I19) is
//! decided in one place, by the extractors of [`session`]. What every page looks like is in [`page`].

pub mod account;
pub mod address;
pub mod administrators;
pub mod agents;
pub mod assets;
pub mod audit;
pub mod chart;
pub mod configuration;
pub mod cookie;
pub mod dashboard;
pub mod failure;
pub mod form;
pub mod invitation;
pub mod keys;
pub mod moment;
pub mod names;
pub mod organizations;
pub mod page;
pub mod session;
pub mod shown_once;
pub mod sign_in;
pub mod tokens;
pub mod webhooks;

use self::failure::Failure;
use self::session::Administrator;
use crate::error::ApiError;

/// What no page is at. Who is not signed in is not told.
pub async fn not_found(_: Administrator) -> Failure {
    Failure::Refused(ApiError::NO_SUCH_PATH)
}
