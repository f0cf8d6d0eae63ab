//! An organization: a tenant of this server, with agents, teams and API keys of its own.

mod urls;

use std::time::Duration;

use machineauth_core::clock::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::urls::{IssuerUrl, Origin, location, location_at};
use super::id::OrganizationId;
use super::revocation::LONGEST_LIFETIME;
use super::text;

/// The longest slug, in characters.
pub const MAX_SLUG: usize = 63;
/// The most origins that one organization can allow.
pub const MAX_ORIGINS: usize = 50;
const MAX_EMAIL: usize = 254;

/// The stored record of an organization.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Organization {
    /// Names it in the API and in tokens (`org_id`).
    pub id: OrganizationId,
    /// For people.
    pub name: String,
    /// Names it in URLs. Unique.
    pub slug: Slug,
    /// Whom to write to. May be empty.
    pub owner_email: String,
    /// The `iss` of its tokens, with keys of its own. `None`: the server's.
    pub issuer: Option<IssuerUrl>,
    /// How long its access tokens live. `None`: as long as the server's.
    pub token_lifetime: Option<Duration>,
    /// Origins whose pages may call the API for it (CORS).
    pub allowed_origins: Vec<Origin>,
    /// Which quotas it has.
    pub plan: Plan,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
}

/// What names an organization in URLs: lower-case letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slug(String);

/// What an organization has booked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// The default.
    #[default]
    Free,
    /// More.
    Pro,
    /// Most.
    Enterprise,
}

/// A value that an organization cannot have. The text names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOrganization {
    /// The name is empty, too long, or holds control characters.
    #[error("name: 1 to {} characters, no control characters", text::MAX_NAME)]
    Name,
    /// The slug cannot stand in a URL.
    #[error("slug: 1 to {MAX_SLUG} of a-z, 0-9 and -, with a letter or digit at both ends")]
    Slug,
    /// That is no e-mail address.
    #[error("owner_email: an e-mail address, or empty")]
    OwnerEmail,
    /// No verifier would accept that issuer.
    #[error(
        "jwt_issuer: an https URL (http only for loopback) without query, fragment and user, with at most one path \
         segment and no slash at the end; or empty"
    )]
    Issuer,
    /// A lifetime that no access token can have.
    #[error("jwt_expiry_secs: 1 to {} seconds, or 0 for the server's", LONGEST_LIFETIME.as_secs())]
    TokenLifetime,
    /// That is no list of origins.
    #[error(
        "allowed_origins: at most {MAX_ORIGINS} origins as https://app.example.com, without a path"
    )]
    AllowedOrigins,
    /// There is no such plan.
    #[error("plan: free, pro or enterprise")]
    Plan,
}

/// What an organization is made from.
#[derive(Debug, Clone)]
pub struct NewOrganization {
    /// For people; 1 to [`text::MAX_NAME`] characters.
    pub name: String,
    /// Unique.
    pub slug: Slug,
    /// May be empty.
    pub owner_email: String,
}

/// What changes of an organization. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct OrganizationChange {
    /// For people.
    pub name: Option<String>,
    /// Unique.
    pub slug: Option<Slug>,
    /// May be empty.
    pub owner_email: Option<String>,
    /// `Some(None)` returns to the server's issuer.
    pub issuer: Option<Option<IssuerUrl>>,
    /// `Some(None)` returns to the server's lifetime.
    pub token_lifetime: Option<Option<Duration>>,
    /// Replaces the list.
    pub allowed_origins: Option<Vec<Origin>>,
    /// The new plan.
    pub plan: Option<Plan>,
}

impl OrganizationChange {
    /// Whether it touches what only the administrator of the server decides.
    pub fn is_reserved(&self) -> bool {
        self.issuer.is_some() || self.token_lifetime.is_some() || self.plan.is_some()
    }
}

impl Organization {
    /// A new organization.
    ///
    /// # Errors
    /// Names the field that does not hold what an organization can have.
    pub fn create(new: NewOrganization, now: Timestamp) -> Result<Self, InvalidOrganization> {
        let organization = Self {
            id: OrganizationId::random(),
            name: new.name,
            slug: new.slug,
            owner_email: new.owner_email,
            issuer: None,
            token_lifetime: None,
            allowed_origins: Vec::new(),
            plan: Plan::default(),
            created_at: now,
            updated_at: now,
        };
        organization.validate()?;
        Ok(organization)
    }

    /// The organization after `change`.
    ///
    /// # Errors
    /// Names the field that does not hold what an organization can have.
    pub fn changed(
        &self,
        change: OrganizationChange,
        now: Timestamp,
    ) -> Result<Self, InvalidOrganization> {
        let current = self.clone();
        let changed = Self {
            name: change.name.unwrap_or(current.name),
            slug: change.slug.unwrap_or(current.slug),
            owner_email: change.owner_email.unwrap_or(current.owner_email),
            issuer: change.issuer.unwrap_or(current.issuer),
            token_lifetime: change.token_lifetime.unwrap_or(current.token_lifetime),
            allowed_origins: change.allowed_origins.unwrap_or(current.allowed_origins),
            plan: change.plan.unwrap_or(current.plan),
            updated_at: now,
            ..current
        };
        changed.validate()?;
        Ok(changed)
    }

    /// Checks everything that its types do not.
    ///
    /// # Errors
    /// Names the field that does not hold what an organization can have.
    pub fn validate(&self) -> Result<(), InvalidOrganization> {
        if !text::is_name(&self.name) {
            return Err(InvalidOrganization::Name);
        }
        if !self.owner_email.is_empty() && !is_email(&self.owner_email) {
            return Err(InvalidOrganization::OwnerEmail);
        }
        let lifetime_fits = self
            .token_lifetime
            .is_none_or(|lifetime| !lifetime.is_zero() && lifetime <= LONGEST_LIFETIME);
        if !lifetime_fits {
            return Err(InvalidOrganization::TokenLifetime);
        }
        if self.allowed_origins.len() > MAX_ORIGINS {
            return Err(InvalidOrganization::AllowedOrigins);
        }
        Ok(())
    }
}

impl Slug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Slug {
    type Error = InvalidOrganization;

    fn try_from(text: String) -> Result<Self, InvalidOrganization> {
        let bytes = text.as_bytes();
        let fits = (1..=MAX_SLUG).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits {
            Ok(Self(text))
        } else {
            Err(InvalidOrganization::Slug)
        }
    }
}

impl Plan {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }
}

impl TryFrom<&str> for Plan {
    type Error = InvalidOrganization;

    fn try_from(word: &str) -> Result<Self, InvalidOrganization> {
        match word {
            "free" => Ok(Self::Free),
            "pro" => Ok(Self::Pro),
            "enterprise" => Ok(Self::Enterprise),
            _ => Err(InvalidOrganization::Plan),
        }
    }
}

/// Enough to catch a mistake; whether somebody reads it only a letter can tell.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    text.len() <= MAX_EMAIL
        && !local.is_empty()
        && !domain.is_empty()
        && !text
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_stands_in_a_url() {
        for text in ["a", "my-org", "0-9", &"x".repeat(63)] {
            assert!(Slug::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in ["", "-a", "a-", "A", "a_b", "a/b", "ä", &"x".repeat(64)] {
            assert!(Slug::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
