//! The store goes away and comes back.

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
