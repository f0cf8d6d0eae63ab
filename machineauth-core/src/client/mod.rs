//! Calling others: access tokens for what this program calls, always at hand.
//!
//! A [`TokenSource`] hands out a token that is good now. [`ClientCredentials`] gets them from an issuer's token endpoint
//! (RFC 6749 §4.4) and renews them ahead of time, so that no call waits for one but the first:
//!
//! * a token is renewed in the background five minutes before it expires, or a fifth of its life before where that is
//!   shorter, a little earlier by chance so that a fleet does not ask at once; the old one serves meanwhile;
//! * everybody who needs a token waits for one and the same request, for a bounded time;
//! * after a failure the issuer is left alone for a pause that doubles up to a minute, and for as long as `Retry-After`
//!   says; who asks meanwhile gets the old token while it is good, and the last error at once after that.
//!
//! ```no_run
//! use machineauth_core::client::{ClientCredentials, ClientSecret, TokenSource as _};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let source = ClientCredentials::discover("https://auth.example.com")
//!     .client("reporter", ClientSecret::in_file("/run/secrets/reporter"))
//!     .scope("artifacts:read")
//!     .audience("https://api.example.com")
//!     .build()?;
//!
//! // With any HTTP client. For Tower and tonic, `machineauth-tower` has a layer that does this.
//! let token = source.token().await?;
//! let _header = ("authorization", token.authorization());
//! # Ok(()) }
//! ```

#[cfg(feature = "http")]
mod credentials;
mod error;
mod renewal;
#[cfg(feature = "http")]
mod request;
#[cfg(feature = "http")]
mod secret;
mod token;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

#[cfg(feature = "http")]
pub use credentials::{ClientAuthentication, ClientCredentials, ClientCredentialsBuilder};
pub use error::{Refusal, TokenError, TokenErrorKind};
pub use renewal::{Renewing, RequestFuture, RequestToken};
#[cfg(feature = "http")]
pub use secret::{ClientSecret, NoSecret};
pub use token::{AccessToken, IssuedToken};

/// Hands out access tokens for calling others.
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// A token that is good now. Waits only when there is none.
    fn token(&self) -> TokenFuture<'_>;

    /// A token that is good now, if there is one without waiting.
    fn current(&self) -> Option<Arc<AccessToken>>;

    /// Tells that somebody refused `token` as invalid (401). Says whether it is worth trying again: with another token
    /// that is there already, or with a new one.
    ///
    /// Answers no when a token was given up a moment ago as well: a resource server that refuses everything must not
    /// make its callers press the issuer.
    fn refused(&self, token: &AccessToken) -> bool;
}

/// What [`TokenSource::token`] returns.
pub type TokenFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Arc<AccessToken>, TokenError>> + Send + 'a>>;

impl<S: TokenSource + ?Sized> TokenSource for Arc<S> {
    fn token(&self) -> TokenFuture<'_> {
        (**self).token()
    }

    fn current(&self) -> Option<Arc<AccessToken>> {
        (**self).current()
    }

    fn refused(&self, token: &AccessToken) -> bool {
        (**self).refused(token)
    }
}
