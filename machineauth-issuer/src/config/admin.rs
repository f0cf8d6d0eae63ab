//! The administrator that is always there.

use super::reader::Reader;
use super::{Admin, SHORTEST_PRODUCTION_PASSWORD};

/// The administrator's address where none is configured.
pub const DEFAULT_ADMIN_EMAIL: &str = "admin@example.com";
/// The administrator's password where none is configured, in development.
pub const DEFAULT_ADMIN_PASSWORD: &str = "changeme";

impl Reader {
    pub(super) fn admin(&mut self, production: bool) -> Admin {
        let email = self
            .take("ADMIN_EMAIL")
            .unwrap_or_else(|| DEFAULT_ADMIN_EMAIL.to_owned());
        if email.is_empty() || email.contains(':') {
            self.problem(
                "ADMIN_EMAIL",
                "expected an address without a colon, since HTTP Basic splits there",
            );
        }
        let password = self
            .secret("ADMIN_PASSWORD")
            .unwrap_or_else(|| DEFAULT_ADMIN_PASSWORD.to_owned());
        let is_default = password == DEFAULT_ADMIN_PASSWORD;
        if production && is_default {
            self.problem(
                "ADMIN_PASSWORD",
                "the default password is refused in production; set one of your own",
            );
        } else if production && password.chars().count() < SHORTEST_PRODUCTION_PASSWORD {
            self.problem("ADMIN_PASSWORD", "in production at least 12 characters");
        } else if password.is_empty() {
            self.problem("ADMIN_PASSWORD", "an empty password is refused");
        }
        Admin {
            email,
            password: password.into(),
            is_default,
        }
    }
}
