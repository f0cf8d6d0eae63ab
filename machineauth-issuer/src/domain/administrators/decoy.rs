//! The password that nobody has, for users who are nobody: a wrong address takes as long as a wrong password.

use machineauth_core::base64url;
use machineauth_core::crypto::random;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::domain::password_hash::PasswordHash;
use crate::domain::secret::SecretText;
use crate::domain::verifications::{Overloaded, Verifications};
use crate::store::Version;

/// A password of random bytes, as it is kept.
#[derive(Debug)]
pub(super) struct Decoy {
    /// Made when it is first needed: that takes as long as verifying it.
    hash: OnceCell<PasswordHash>,
    version: Version,
}

impl Decoy {
    pub(super) fn new() -> Self {
        Self {
            hash: OnceCell::new(),
            version: Version::mint(),
        }
    }

    /// Takes as long as verifying somebody's password, also in that an answer is remembered for this user alone.
    pub(super) async fn verify(
        &self,
        verifications: &Verifications,
        user: &str,
        password: &SecretText,
    ) -> Result<bool, Overloaded> {
        let random = || base64url::encode(random::<32>()).into();
        let made = self
            .hash
            .get_or_try_init(async || verifications.hash(&random()).await);
        let of_this_user = Zeroizing::new(format!("{user}\n{}", password.reveal()));
        let secret = SecretText::from(of_this_user.to_string());
        verifications
            .verify(made.await?, self.version, &secret)
            .await
    }
}
