//! How an administrator proves to be it: by a password, and no more often than guessing may be tried.

use crate::app::App;
use crate::context::Origin;
use crate::domain::administrators::Proof;
use crate::domain::event::Action;
use crate::domain::secret::SecretText;
use crate::error::ApiError;

/// The administrator with this address and this password; `failed` is what it is to have a wrong one.
///
/// # Errors
/// [`ApiError::Unauthorized`], [`ApiError::TooManyRequests`] after too many wrong passwords (I6), or what failed on our
/// side.
pub async fn by_password(
    app: &App,
    origin: &Origin,
    failed: Action,
    user: &str,
    password: &SecretText,
) -> Result<Proof, ApiError> {
    // However it is written, it is one name to guess the password of.
    let name = user.to_ascii_lowercase();
    let count = |action| app.count_stranger(action, origin.address, "password", Some(user), None);
    let attempt = app
        .limits
        .attempt(origin.address, &name, password, app.clock.now())
        .await
        .inspect_err(|_| count(Action::LimitLockedOut))?;
    if let Some(proof) = app.administrators.recognize(user, password).await? {
        attempt.succeeded();
        return Ok(proof);
    }
    attempt.failed();
    count(failed);
    Err(ApiError::Unauthorized)
}
