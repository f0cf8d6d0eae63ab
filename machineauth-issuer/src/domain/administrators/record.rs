//! What is stored of an administrator.

use std::fmt;
use std::str::FromStr;

use machineauth_core::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::id::AdministratorId;
use crate::domain::password_hash::PasswordHash;

/// The longest address that is taken, in bytes (RFC 5321 §4.5.3.1.3, without the angle brackets).
const MAX_EMAIL: usize = 254;
/// What stands in the first part of an address besides letters and digits.
const LOCAL_PUNCTUATION: &[u8] = b".!#$%&'*+/=?^_`{|}~-";
/// The longest part of a domain name between two dots, in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// The stored record of an administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Administrator {
    pub(super) id: AdministratorId,
    /// The user name of HTTP Basic, and of a login.
    pub(super) email: Box<str>,
    pub(super) role: Role,
    /// What its password is compared with.
    pub(super) password_hash: PasswordHash,
    pub(super) created_at: Timestamp,
    pub(super) password_changed_at: Timestamp,
    /// Whether it came by an invitation. Otherwise it is the configured administrator's, and means nothing when another one
    /// is configured: whoever replaces `ADMIN_EMAIL` replaces an administrator.
    #[serde(default)]
    pub(super) is_invited: bool,
}

/// What an administrator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, other administrators included.
    Owner,
    /// Everything but to other administrators.
    Admin,
    /// See.
    Viewer,
}

/// The address of an administrator who is to be invited, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(Box<str>);

/// A text that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("email: an e-mail address, as ada@example.com")]
pub struct InvalidEmail;

impl Role {
    /// All of them, the one that may most first.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Admin, Self::Viewer];

    /// `owner`, `admin` or `viewer`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        }
    }

    /// Whether it may change anything but what concerns itself.
    pub const fn may_change(self) -> bool {
        match self {
            Self::Owner | Self::Admin => true,
            Self::Viewer => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What browsers take in an `<input type="email">`
/// (<https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address>): no colon, so that it can be the user name of
/// HTTP Basic, and nothing that a page would have to fear.
impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        let is_local = |byte: u8| byte.is_ascii_alphanumeric() || LOCAL_PUNCTUATION.contains(&byte);
        let is_label = |label: &str| {
            (1..=MAX_LABEL).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let fits = text.len() <= MAX_EMAIL
            && !local.is_empty()
            && local.bytes().all(is_local)
            && domain.split('.').all(is_label);
        match fits {
            true => Ok(Self(text.to_ascii_lowercase().into())),
            false => Err(InvalidEmail),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_what_browsers_take_for_one() {
        for (text, taken) in [
            ("ada@example.com", "ada@example.com"),
            ("Ada.L+x@EXAMPLE.com", "ada.l+x@example.com"),
            ("root@localhost", "root@localhost"),
        ] {
            assert_eq!(text.parse::<Email>().unwrap().as_str(), taken);
        }
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example..com",
            "ada@-example.com",
            "ada@example.com ",
            "a da@example.com",
            "a:da@example.com",
            "<b>@example.com",
            "ada@b@example.com",
            "ada@exämple.com",
            &format!("{}@example.com", "a".repeat(250)),
        ] {
            assert_eq!(text.parse::<Email>(), Err(InvalidEmail), "{text}");
        }
    }

    #[test]
    fn a_role_is_stored_by_its_name() {
        for role in Role::ALL {
            let stored = serde_json::to_string(&role).unwrap();
            assert_eq!(stored, format!("\"{role}\""));
        }
    }

    proptest! {
        /// I22
        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            if let Ok(email) = text.parse::<Email>() {
                prop_assert!(!email.as_str().contains([':', '<', '"', ' ']));
            }
        }
    }
}
