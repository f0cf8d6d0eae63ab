//! What comes from files, from the standard input, and from whoever sits at the terminal.

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::domain::secret::SecretText;

/// The most that is read of a file or of the standard input, in bytes.
const MAX_INPUT: u64 = 1 << 20;

/// A file, or `-` for the standard input.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Stdin,
    File(PathBuf),
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        match text {
            "-" => Self::Stdin,
            path => Self::File(path.into()),
        }
    }
}

impl Source {
    /// All of it, without the end of the last line.
    ///
    /// # Errors
    /// When it cannot be read, is no text, or is longer than anything that belongs there.
    pub(super) fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let (name, read) = match self {
            Self::Stdin => {
                let mut input = io::stdin().lock().take(MAX_INPUT + 1);
                (
                    "the standard input".to_owned(),
                    input.read_to_string(&mut text),
                )
            }
            Self::File(path) => {
                let file = std::fs::File::open(path);
                let read = file.and_then(|file| file.take(MAX_INPUT + 1).read_to_string(&mut text));
                (path.display().to_string(), read)
            }
        };
        let length =
            read.map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
        if length as u64 > MAX_INPUT {
            return Err(Failure::Usage(format!("{name} is longer than 1 MiB")));
        }
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Ok(text)
    }
}

/// A secret, from the option that holds it or from the one that names its file.
///
/// # Errors
/// When both are there, or the file cannot be read.
pub(super) fn secret(
    name: &str,
    direct: Option<SecretText>,
    file: Option<&Source>,
) -> Result<Option<SecretText>, Failure> {
    match (direct, file) {
        (Some(_), Some(_)) => Err(Failure::Usage(format!(
            "give either --{name} or --{name}-file, not both"
        ))),
        (Some(secret), None) => Ok(Some(secret)),
        (None, Some(file)) => Ok(Some(file.read()?.into())),
        (None, None) => Ok(None),
    }
}

/// A token on the command line, or on the standard input.
#[derive(Debug, Args)]
pub(super) struct TokenText {
    /// The token; without it, it is read from the standard input, which keeps it out of the process list
    #[arg(value_name = "TOKEN")]
    text: Option<SecretText>,
}

impl TokenText {
    /// The token.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn read(self) -> Result<SecretText, Failure> {
        if let Some(text) = self.text.filter(|text| text.reveal() != "-") {
            return Ok(text);
        }
        if io::stdin().is_terminal() {
            eprintln!("Paste the token, then press Enter and Ctrl-D:");
        }
        let text = Source::Stdin.read()?;
        match text.trim() {
            "" => Err(Failure::Usage(
                "there is no token on the standard input".to_owned(),
            )),
            token => Ok(token.to_owned().into()),
        }
    }
}

/// Leave to do what cannot be undone.
#[derive(Debug, Args)]
pub(super) struct Consent {
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
}

impl Consent {
    /// Asks whether to do `what`, when nobody has said so and there is somebody to ask.
    ///
    /// # Errors
    /// When the answer is not yes, or nobody can be asked.
    pub(super) fn to(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Failure::Usage(format!(
                "add --yes to {what}: it cannot be undone, and there is nobody to ask here"
            )));
        }
        eprint!("Really {what}? This cannot be undone. [y/N] ");
        io::stderr().flush()?;
        match is_yes(io::stdin().lock()) {
            true => Ok(()),
            false => Err(Failure::Refused("nothing was done".to_owned())),
        }
    }
}

fn is_yes(mut input: impl BufRead) -> bool {
    let mut answer = String::new();
    let read = input.read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (typed, expected) in [
            ("y\n", true),
            ("yes\n", true),
            ("\n", false),
            ("n\n", false),
            ("yellow\n", false),
            ("", false),
        ] {
            assert_eq!(is_yes(typed.as_bytes()), expected, "{typed:?}");
        }
    }
}
