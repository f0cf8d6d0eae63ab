//! `machineauth-issuer admin`: the administrator's password, for whoever can open the store.

use std::error::Error;
use std::io::{self, Read, Write as _};

use machineauth_core::base64url;
use machineauth_core::crypto::random;
use zeroize::Zeroizing;

use super::offline::{self, WhenMissing};
use crate::app::App;
use crate::config::{Environment, SHORTEST_PRODUCTION_PASSWORD};
use crate::domain::event::By;
use crate::domain::secret::SecretText;

/// The longest password that is taken, in bytes.
const LONGEST_PASSWORD: u64 = 1024;
/// How many random bytes a password is made from: 20 characters that nobody guesses and somebody may have to type.
const RANDOM_BYTES: usize = 15;

/// Gives the administrator a new password, and ends all sessions. The password is read from standard input, or made here
/// and printed.
///
/// # Errors
/// When the password cannot be taken, or the store cannot be opened.
pub(super) async fn reset_password(from_stdin: bool) -> Result<(), Box<dyn Error>> {
    let given = match from_stdin {
        true => Some(read_password(io::stdin().lock())?),
        false => None,
    };
    let app = offline::open_app(WhenMissing::Refuse).await?;
    let outcome = set(&app, given).await;
    app.store.close().await?;
    outcome
}

async fn set(app: &App, given: Option<SecretText>) -> Result<(), Box<dyn Error>> {
    let password = match &given {
        Some(password) => password.clone(),
        None => SecretText::from(base64url::encode(random::<RANDOM_BYTES>())),
    };
    let is_short = password.reveal().chars().count() < SHORTEST_PRODUCTION_PASSWORD;
    if app.config.environment == Environment::Production && is_short {
        return Err(format!(
            "in production a password has at least {SHORTEST_PRODUCTION_PASSWORD} characters"
        )
        .into());
    }
    app.administrators.set_password(&password, &By::CLI).await?;
    if given.is_none() {
        writeln!(io::stdout().lock(), "{}", password.reveal())?;
    }
    eprintln!(
        "This is the password of {} from now on, instead of ADMIN_PASSWORD, which must go on being set; all sessions have \
         ended. `admin reset-password --forget` returns to ADMIN_PASSWORD.",
        app.administrators.email()
    );
    Ok(())
}

/// Returns to the configured password, and ends all sessions.
///
/// # Errors
/// When the store cannot be opened.
pub(super) async fn forget_password() -> Result<(), Box<dyn Error>> {
    let app = offline::open_app(WhenMissing::Refuse).await?;
    let forgotten = app.administrators.forget(&By::CLI).await;
    let email = app.administrators.email().to_owned();
    app.store.close().await?;
    match forgotten? {
        true => {
            eprintln!("ADMIN_PASSWORD is the password of {email} again; all sessions have ended.")
        }
        false => eprintln!("ADMIN_PASSWORD is the password of {email}; no other was set."),
    }
    Ok(())
}

/// The one line that is to be the password.
fn read_password(input: impl Read) -> Result<SecretText, Box<dyn Error>> {
    let mut text = Zeroizing::new(String::new());
    input.take(LONGEST_PASSWORD + 2).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    if password.is_empty() || password.len() as u64 > LONGEST_PASSWORD {
        return Err(format!("a password has 1 to {LONGEST_PASSWORD} bytes").into());
    }
    if password.chars().any(char::is_control) {
        return Err("a password is one line, without control characters".into());
    }
    Ok(password.to_owned().into())
}
