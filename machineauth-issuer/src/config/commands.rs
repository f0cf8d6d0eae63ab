//! What the environment says to the commands that talk to a running server.

use std::net::{Ipv4Addr, SocketAddr};

use std::fmt;

use super::reader::Reader;
use super::{ConfigError, environment};
use crate::domain::secret::SecretText;

/// The variables of those commands. Each is read only when it is asked for, so that a file which the command does not
/// need may be unreadable.
pub struct CommandVariables(Reader);

impl CommandVariables {
    /// Those of this process.
    pub fn from_environment() -> Self {
        Self(Reader::new(environment()))
    }

    /// Where the server is: as it is said, or else on this machine, as a server with the same variables would listen.
    ///
    /// # Errors
    /// When a variable cannot be read, as with all of them.
    pub fn url(&mut self) -> Result<String, ConfigError> {
        if let Some(url) = self.plain("MACHINEAUTH_URL")? {
            return Ok(url);
        }
        let port = self.0.port();
        self.0.problems_of("PORT")?;
        let host = self.0.host(Ipv4Addr::LOCALHOST.into());
        self.0.problems_of("HOST")?;
        // On all addresses is also on this one.
        let host = match host.is_unspecified() {
            true => Ipv4Addr::LOCALHOST.into(),
            false => host,
        };
        Ok(match self.plain("TLS_CERT_FILE")? {
            None => format!("http://{}", SocketAddr::new(host, port)),
            // Certificates are for names.
            Some(_) => format!("https://localhost:{port}"),
        })
    }

    /// An organization's API key.
    ///
    /// # Errors
    /// When the variable or its file cannot be read.
    pub fn api_key(&mut self) -> Result<Option<SecretText>, ConfigError> {
        self.secret("MACHINEAUTH_API_KEY")
    }

    /// A bearer token to administer with.
    ///
    /// # Errors
    /// When the variable or its file cannot be read.
    pub fn token(&mut self) -> Result<Option<SecretText>, ConfigError> {
        self.secret("MACHINEAUTH_TOKEN")
    }

    /// The client that tokens are asked for.
    ///
    /// # Errors
    /// When the variable cannot be read.
    pub fn client_id(&mut self) -> Result<Option<String>, ConfigError> {
        self.plain("MACHINEAUTH_CLIENT_ID")
    }

    /// The client's secret.
    ///
    /// # Errors
    /// When the variable or its file cannot be read.
    pub fn client_secret(&mut self) -> Result<Option<SecretText>, ConfigError> {
        self.secret("MACHINEAUTH_CLIENT_SECRET")
    }

    /// The administrator's address.
    ///
    /// # Errors
    /// When the variable cannot be read.
    pub fn admin_email(&mut self) -> Result<Option<String>, ConfigError> {
        self.plain("ADMIN_EMAIL")
    }

    /// The administrator's password.
    ///
    /// # Errors
    /// When the variable or its file cannot be read.
    pub fn admin_password(&mut self) -> Result<Option<SecretText>, ConfigError> {
        self.secret("ADMIN_PASSWORD")
    }

    fn plain(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        let value = self.0.take(name).filter(|value| !value.is_empty());
        self.0.problems_of(name)?;
        Ok(value)
    }

    fn secret(&mut self, name: &str) -> Result<Option<SecretText>, ConfigError> {
        let value = self.0.secret(name).filter(|value| !value.is_empty());
        self.0.problems_of(name)?;
        Ok(value.map(SecretText::from))
    }
}

impl fmt::Debug for CommandVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommandVariables(…)")
    }
}
