//! What a request authenticates with: one credential, in one place.

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, Uri};
use machineauth_core::ErrorKind;
use machineauth_core::bearer::bearer_token;

use crate::basic::BasicCredentials;
use crate::domain::api_keys;
use crate::domain::secret::SecretText;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The one credential of a request.
#[derive(Debug)]
pub enum Credential {
    /// A user name and a password (RFC 7617).
    Basic(BasicCredentials),
    /// The text of an API key, as a bearer token or in `X-API-Key`.
    ApiKey(SecretText),
    /// Another bearer token (RFC 6750 §2.1).
    Token(String),
}

/// Why a request has no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCredential {
    /// There is none, or none of a scheme that is known here.
    Missing,
    /// There are several, and a proxy might believe another one than we do.
    Several,
    /// There is a token where none may be, or `Bearer` with anything but one.
    Malformed,
}

impl From<machineauth_core::Error> for NoCredential {
    /// Why there is no [`bearer_token`].
    fn from(error: machineauth_core::Error) -> Self {
        match error.kind() {
            ErrorKind::MultipleTokens => Self::Several,
            ErrorKind::UnsupportedTokenTransport | ErrorKind::MalformedRequest => Self::Malformed,
            _ => Self::Missing,
        }
    }
}

impl Credential {
    /// Reads the one credential of a request to `uri`.
    ///
    /// # Errors
    /// [`NoCredential`] says why there is none.
    pub fn read(headers: &HeaderMap, uri: &Uri) -> Result<Self, NoCredential> {
        let mut keys = headers.get_all(X_API_KEY).iter();
        match (
            keys.next(),
            keys.next(),
            headers.contains_key(AUTHORIZATION),
        ) {
            (None, ..) => {}
            (Some(key), None, false) => {
                // What is no text is no key of ours, but not nothing either.
                let key = String::from_utf8_lossy(key.as_bytes());
                return Ok(Self::ApiKey(key.into_owned().into()));
            }
            _ => return Err(NoCredential::Several),
        }
        if let Ok(basic) = BasicCredentials::read(headers) {
            return Ok(Self::Basic(basic));
        }
        let token = bearer_token(headers, uri)?;
        Ok(match api_keys::is_text(token) {
            true => Self::ApiKey(token.to_owned().into()),
            false => Self::Token(token.to_owned()),
        })
    }
}
