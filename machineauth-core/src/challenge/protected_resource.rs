//! What a server says of itself in each of its challenges.

use super::Challenge;

/// What every challenge of one server says, whatever the error.
#[derive(Clone, Debug, Default)]
pub struct ProtectedResource {
    realm: Option<String>,
    metadata: Option<String>,
}

impl ProtectedResource {
    /// Names the protection space (RFC 9110 §11.5).
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = Some(realm.into());
        self
    }

    /// Says where the resource's metadata is (RFC 9728 §5.1).
    #[must_use]
    pub fn metadata(mut self, url: impl Into<String>) -> Self {
        self.metadata = Some(url.into());
        self
    }

    /// Adds to a challenge what all of them say.
    pub fn complete(&self, mut challenge: Challenge) -> Challenge {
        if let Some(realm) = &self.realm {
            challenge = challenge.realm(realm);
        }
        if let Some(url) = &self.metadata {
            challenge = challenge.resource_metadata(url);
        }
        challenge
    }
}
