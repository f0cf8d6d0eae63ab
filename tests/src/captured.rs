//! What a whole test run put out, kept for a scanner (I21): everything that the server logged and refused with, whatever
//! the test was about, and every secret that was in use then.
//!
//! Off unless `MACHINEAUTH_TEST_CAPTURED` names a directory; `scripts/test` sets it, and runs the binary `scan-captured`
//! over that directory in the end.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

const DIRECTORY: &str = "MACHINEAUTH_TEST_CAPTURED";
/// So many characters in a row that are a secret's are no accident.
const WINDOW: usize = 16;
/// Members of bodies that are secrets, in requests and in answers.
const SECRET_MEMBERS: [&str; 9] = [
    "access_token",
    "clientSecret",
    "client_assertion",
    "client_secret",
    "key",
    "password",
    "refresh_token",
    "secret",
    "token",
];

/// The two files of this process.
struct Files {
    output: Mutex<File>,
    secrets: Mutex<File>,
}

fn files() -> Option<&'static Files> {
    static FILES: OnceLock<Option<Files>> = OnceLock::new();
    FILES
        .get_or_init(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "no variable of the server: the test run tells its tests"
            )]
            let directory = PathBuf::from(std::env::var_os(DIRECTORY)?);
            let file = |extension| {
                let name = format!("{}.{extension}", std::process::id());
                let file = File::create(directory.join(name));
                Mutex::new(file.expect("the directory for captured output can be written to"))
            };
            Some(Files {
                output: file("output"),
                secrets: file("secrets"),
            })
        })
        .as_ref()
}

/// Keeps what the server put out.
pub fn output(text: &str) {
    if let Some(files) = files() {
        append(&files.output, text.as_bytes());
    }
}

/// Keeps what issuers in this process log from now on, which nobody sees otherwise.
pub fn logs() {
    static ONCE: Once = Once::new();
    if files().is_none() {
        return;
    }
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter(
                "info,machineauth_core=trace,machineauth_issuer=trace,machineauth_tower=trace",
            )
            .with_ansi(false)
            .with_writer(|| Sink)
            .init();
    });
}

/// Keeps the secrets of a request and of the answer to it, and the answer itself where it is a refusal.
pub fn exchange(headers: &HeaderMap, sent: Option<&[u8]>, status: http::StatusCode, answer: &str) {
    if files().is_none() {
        return;
    }
    for value in headers
        .get_all(AUTHORIZATION)
        .iter()
        .chain(headers.get_all("x-api-key"))
    {
        if let Ok(value) = value.to_str() {
            secret(value.split_once(' ').map_or(value, |(_, rest)| rest));
        }
    }
    let sent = sent.unwrap_or_default();
    match serde_json::from_slice(sent) {
        Ok(sent) => secrets_in(&sent),
        Err(_) => {
            let text = std::str::from_utf8(sent).unwrap_or_default();
            for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
                if SECRET_MEMBERS.contains(&name) {
                    secret(value);
                }
            }
        }
    }
    if let Ok(answer) = serde_json::from_str(answer) {
        secrets_in(&answer);
    }
    if status.is_client_error() || status.is_server_error() {
        output(answer);
        output("\n");
    }
}

fn secrets_in(value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if SECRET_MEMBERS.contains(&&**name) => secret(text),
                    value => secrets_in(value),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(secrets_in),
        _ => {}
    }
}

/// Keeps what must not be found, by the part of it that nothing else has: behind a prefix, of a JWT its signature.
fn secret(text: &str) {
    let Some(files) = files() else { return };
    let part = match text.rsplit_once('.') {
        Some((_, signature)) => signature,
        None => match text.split_once('_') {
            Some((prefix, rest)) if prefix.len() <= 5 => rest,
            _ => text,
        },
    };
    // Identifiers are sent in the place of secrets, too, and are none.
    if part.len() >= WINDOW && uuid::Uuid::parse_str(part).is_err() && is_plain(part) {
        append(&files.secrets, format!("{part}\n").as_bytes());
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-+/=".contains(&byte))
}

fn append(file: &Mutex<File>, bytes: &[u8]) {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(bytes)
        .expect("the captured output can be written");
}

/// Where log lines go.
struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        output(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a scan went through, and what it found.
#[derive(Debug, Default)]
pub struct Scan {
    /// How many different secrets were looked for.
    pub secrets: usize,
    /// In how many lines of output.
    pub lines: usize,
    /// The lines that a secret is in, by file.
    pub found: BTreeMap<PathBuf, Vec<String>>,
}

/// Looks for every secret of the run in all of its output.
///
/// # Errors
/// When the directory cannot be read.
pub fn scan(directory: &Path) -> io::Result<Scan> {
    let (mut outputs, mut secrets) = (Vec::new(), HashSet::new());
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("output") => outputs.push(path),
            Some("secrets") => {
                for secret in fs::read_to_string(&path)?.lines() {
                    let start = secret.as_bytes()[..WINDOW].to_vec();
                    secrets.insert(start);
                }
            }
            _ => {}
        }
    }
    let mut scan = Scan {
        secrets: secrets.len(),
        ..Scan::default()
    };
    for path in outputs {
        for line in BufReader::new(File::open(&path)?).split(b'\n') {
            let line = line?;
            scan.lines += 1;
            if line.windows(WINDOW).any(|window| secrets.contains(window)) {
                let line = String::from_utf8_lossy(&line).into_owned();
                scan.found.entry(path.clone()).or_default().push(line);
            }
        }
    }
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I21
    #[test]
    fn a_secret_is_found_wherever_it_was_put_out_and_whatever_is_around_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).unwrap();
        };
        write(
            "1.secrets",
            "abcdefghijklmnopqrstuvwxyz\n0123456789abcdef\n",
        );
        write("1.output", "nothing\nabcdefghijklmno is too little\n");
        write("2.output", "xabcdefghijklmnopq\nfine\nq=0123456789abcdef&");
        let scan = scan(directory.path()).unwrap();
        assert_eq!((scan.secrets, scan.lines), (2, 5));
        let found: Vec<_> = scan.found.into_values().collect();
        assert_eq!(found, [["xabcdefghijklmnopq", "q=0123456789abcdef&"]]);
    }
}
