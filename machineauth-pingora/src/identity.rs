//! Tell the upstream who calls.

use std::borrow::Cow;

use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName};
use machineauth_core::Agent;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora_error::{ErrorType, OrErr as _, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::module::MachineAuth;

/// The verified agent's [id](Agent::id).
pub const X_AGENT_ID: HeaderName = HeaderName::from_static("x-agent-id");
/// What the token allows: scopes, separated by spaces; empty when it allows nothing in particular.
pub const X_AGENT_SCOPES: HeaderName = HeaderName::from_static("x-agent-scopes");
/// The organization that the agent belongs to; absent when there is none.
pub const X_ORG_ID: HeaderName = HeaderName::from_static("x-org-id");

const IDENTITY: [HeaderName; 3] = [X_AGENT_ID, X_AGENT_SCOPES, X_ORG_ID];

/// All but visible ASCII, and the escape itself: two ids never look the same, and none can lose a space on its way.
/// (Bytes above ASCII are always escaped.)
const NOT_IN_IDS: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Says in `X-Agent-Id`, `X-Agent-Scopes` and `X-Org-Id` whom the module verified; for a proxy's
/// `upstream_request_filter`, and for no earlier phase: between the two Pingora removes every header that the client
/// named in `Connection`.
///
/// What the client says in these headers, or in any spelling that an upstream may take for them, is removed in any
/// case: `X_Agent_Id` is the same variable as `X-Agent-Id` to CGI and whatever was made after it. So is the access
/// token once it is verified, unless the module is to [forward](crate::MachineAuthModule::forward_token) it.
///
/// Bytes other than visible ASCII, and `%`, are percent-encoded in ids.
///
/// # Errors
/// None that a request could cause: only if Pingora did not take a well-formed header.
pub fn forward_identity(session: &Session, upstream: &mut RequestHeader) -> Result<()> {
    let auth = MachineAuth::of(session);
    let agent = auth.and_then(MachineAuth::agent);
    if agent.is_some() && !auth.is_some_and(MachineAuth::forwards_token) {
        upstream.remove_header(&AUTHORIZATION);
    }
    strip_identity(upstream);
    match agent {
        Some(agent) => set_identity(agent, upstream),
        None => Ok(()),
    }
}

/// Removes whatever an upstream could take for one of our headers.
fn strip_identity(upstream: &mut RequestHeader) {
    let forged: Vec<HeaderName> = upstream
        .headers
        .keys()
        .filter(|name| is_identity(name))
        .cloned()
        .collect();
    for name in &forged {
        upstream.remove_header(name);
    }
}

/// Whether `name` is one of ours to somebody who does not tell punctuation apart. CGI folds `-` to `_`; some of its
/// descendants fold everything that cannot stand in a variable's name (`.` in PHP).
fn is_identity(name: &HeaderName) -> bool {
    let folded = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => byte,
        false => b'-',
    };
    let name = name.as_str().as_bytes();
    IDENTITY.iter().any(|ours| {
        let ours = ours.as_str().as_bytes();
        ours.len() == name.len()
            && ours
                .iter()
                .zip(name)
                .all(|(&our, &byte)| our == folded(byte))
    })
}

fn set_identity(agent: &Agent, upstream: &mut RequestHeader) -> Result<()> {
    upstream.insert_header(X_AGENT_ID, id(agent.id())?)?;
    upstream.insert_header(X_AGENT_SCOPES, value(&agent.scopes().to_string())?)?;
    if let Some(organization) = agent.organization_id() {
        upstream.insert_header(X_ORG_ID, id(organization)?)?;
    }
    Ok(())
}

fn id(text: &str) -> Result<HeaderValue> {
    let encoded: Cow<'_, str> = utf8_percent_encode(text, NOT_IN_IDS).into();
    value(&encoded)
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).or_err(ErrorType::InvalidHTTPHeader, "an identity header")
}
