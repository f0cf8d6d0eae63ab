//! `machineauth-issuer token inspect`: what a token says. Nothing of it is known to be true.

use chrono::{DateTime, SecondsFormat};
use machineauth_core::clock::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};

use crate::cli::failure::Failure;
use crate::cli::output::{Format, Output, cell, print, table_of_fields};
use crate::domain::tokens::said::Said;

const UNVERIFIED: &str =
    "Nothing was verified: anybody can write such a token. `token verify` verifies it.";
/// Claims that are times, in Unix seconds (RFC 7519 §4.1).
const TIMES: [&str; 4] = ["exp", "iat", "nbf", "auth_time"];

/// What `token` says.
///
/// # Errors
/// When it is no JWT (RFC 7519 §3).
pub(super) fn read(token: &str) -> Result<Said, Failure> {
    Said::read(token).ok_or_else(|| {
        let why = match token.split('.').count() {
            3 => "this is no JWT: its header and its payload are not JSON in base64url",
            _ => {
                "this is no JWT but an opaque token, which only its server can read: `token introspect` asks it"
            }
        };
        Failure::Refused(why.to_owned())
    })
}

/// The claims for people.
pub(super) fn claims(said: &Said) -> Vec<(String, String)> {
    fields(&said.payload)
}

/// Prints what `token` says.
///
/// # Errors
/// When it is no JWT, or nothing can be printed.
pub(super) fn inspect(token: &str, output: Output) -> Result<(), Failure> {
    let said = read(token)?;
    match output.format {
        Format::Json => print(json!({
            "verified": false,
            "header": said.header,
            "payload": said.payload,
        })),
        Format::Quiet => {
            eprintln!("{UNVERIFIED}");
            print(cell(&said.payload.get("jti").cloned().unwrap_or_default()))
        }
        Format::Table => {
            let header = table_of_fields(fields(&said.header));
            print(format_args!(
                "Header\n{header}\n\nPayload\n{}\n\n{UNVERIFIED}",
                table_of_fields(claims(&said))
            ))
        }
    }
}

fn fields(object: &Map<String, Value>) -> Vec<(String, String)> {
    let field = |(name, value): (&String, &Value)| {
        let time = value.as_u64().filter(|_| TIMES.contains(&name.as_str()));
        let text = time.and_then(|seconds| readable(name, seconds));
        (name.clone(), text.unwrap_or_else(|| cell(value)))
    };
    object.iter().map(field).collect()
}

fn readable(name: &str, seconds: u64) -> Option<String> {
    let date = DateTime::from_timestamp_secs(i64::try_from(seconds).ok()?)?;
    let date = date.to_rfc3339_opts(SecondsFormat::Secs, true);
    let is_past = seconds <= SystemClock.now().as_secs();
    let remark = match (name, is_past) {
        ("exp", true) => ", expired",
        ("nbf", false) => ", not yet",
        _ => "",
    };
    Some(format!("{seconds} ({date}{remark})"))
}
