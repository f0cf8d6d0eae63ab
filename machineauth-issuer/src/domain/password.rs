//! The passwords that people choose.

use super::secret::SecretText;

/// The shortest password that is taken over the network, in characters.
pub const SHORTEST: usize = 12;
/// The longest password, in bytes.
pub const LONGEST: usize = 1024;

/// A password that nobody should choose, or that cannot be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("password: {SHORTEST} characters at least, {LONGEST} bytes at most, no control characters")]
pub struct InvalidPassword;

/// Whether `password` can be somebody's from now on. Length is all that is asked for (NIST SP 800-63B §5.1.1.2).
///
/// # Errors
/// [`InvalidPassword`]
pub fn check(password: &SecretText) -> Result<(), InvalidPassword> {
    let text = password.reveal();
    let fits = text.chars().count() >= SHORTEST
        && text.len() <= LONGEST
        && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(InvalidPassword) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_as_long_as_it_has_to_be() {
        let check = |text: &str| check(&text.to_owned().into());
        assert_eq!(check("correct horse"), Ok(()));
        assert_eq!(check("zwölf Zeiche"), Ok(()));
        for text in [
            "",
            "changeme",
            "elevenchars",
            "correct\nhorse",
            &"x".repeat(1025),
        ] {
            assert_eq!(check(text), Err(InvalidPassword), "{text}");
        }
    }
}
