use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

/// A client's secret, or where it is kept.
///
/// A secret in a file is read anew for every request to the issuer, so that one that was rotated is picked up without a
/// restart. A secret in the environment of a process cannot change.
#[derive(Clone)]
pub struct ClientSecret(Kept);

#[derive(Clone)]
enum Kept {
    Here(Arc<Zeroizing<String>>),
    InFile(PathBuf),
}

/// The secret could not be read, or is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoSecret;

impl fmt::Display for NoSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client secret could not be read, or is empty")
    }
}

impl std::error::Error for NoSecret {}

impl ClientSecret {
    /// This secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Kept::Here(Arc::new(Zeroizing::new(secret.into()))))
    }

    /// The secret in the environment variable `name`, as it is now.
    ///
    /// # Errors
    /// [`NoSecret`] when the variable is not set, empty, or no UTF-8.
    pub fn from_env(name: &str) -> Result<Self, NoSecret> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the application names the variable: it is the one to have it read"
        )]
        let secret = std::env::var(name).map_err(|_| NoSecret)?;
        if secret.is_empty() {
            return Err(NoSecret);
        }
        Ok(Self::new(secret))
    }

    /// The secret in a file, as it is whenever it is needed. White space around it does not count.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self(Kept::InFile(path.into()))
    }

    /// The secret as it is now.
    pub(crate) async fn read(&self) -> Result<Arc<Zeroizing<String>>, NoSecret> {
        match &self.0 {
            Kept::Here(secret) => Ok(Arc::clone(secret)),
            Kept::InFile(path) => {
                let path = path.clone();
                let text = spawn_blocking(|| std::fs::read_to_string(path)).await;
                let text = Zeroizing::new(text.map_err(|_| NoSecret)?.map_err(|_| NoSecret)?);
                match text.trim() {
                    "" => Err(NoSecret),
                    secret => Ok(Arc::new(Zeroizing::new(secret.to_owned()))),
                }
            }
        }
    }
}

impl From<&str> for ClientSecret {
    fn from(secret: &str) -> Self {
        Self::new(secret)
    }
}

impl From<String> for ClientSecret {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for ClientSecret {
    /// Says where the secret is, never what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Here(_) => f.write_str("ClientSecret(..)"),
            Kept::InFile(path) => write!(f, "ClientSecret({})", path.display()),
        }
    }
}
