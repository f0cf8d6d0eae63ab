use machineauth_core::{Challenge, Error};

/// What every challenge says about the protected resource, whatever the error.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProtectedResource {
    /// The protection space (RFC 9110 §11.5).
    pub(crate) realm: Option<String>,
    /// The URL of the resource's metadata (RFC 9728 §5.1).
    pub(crate) metadata: Option<String>,
}

impl ProtectedResource {
    pub(crate) fn challenge(&self, error: Error) -> Challenge {
        self.complete(Challenge::from(error))
    }

    pub(crate) fn complete(&self, mut challenge: Challenge) -> Challenge {
        if let Some(realm) = &self.realm {
            challenge = challenge.realm(realm);
        }
        if let Some(url) = &self.metadata {
            challenge = challenge.resource_metadata(url);
        }
        challenge
    }
}
