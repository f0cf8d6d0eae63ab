//! Tell the upstream who calls.

use std::borrow::Cow;
use std::mem;

use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts as ReqParts;
use http::{HeaderMap, HeaderValue, Uri};
use machineauth_core::bearer::credentials;
use machineauth_core::dpop::DPOP;
use machineauth_core::policy::OVERRIDES;
use machineauth_core::{Agent, ErrorKind};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora_error::{ErrorType, OrErr as _, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::assertion::AssertionSigner;
use crate::module::MachineAuth;

/// The verified agent's [id](Agent::id).
pub const X_AGENT_ID: HeaderName = HeaderName::from_static("x-agent-id");
/// What the token allows: scopes, separated by spaces; empty when it allows nothing in particular.
pub const X_AGENT_SCOPES: HeaderName = HeaderName::from_static("x-agent-scopes");
/// The organization that the agent belongs to; absent when there is none.
pub const X_ORG_ID: HeaderName = HeaderName::from_static("x-org-id");

/// Who issued the token: agents of two issuers may have the same id. Sent only where it is [asked for](IdentityHeaders::issuer).
pub const X_AGENT_ISSUER: HeaderName = HeaderName::from_static("x-agent-issuer");

/// All but visible ASCII, and the escape itself: two ids never look the same, and none can lose a space on its way.
/// (Bytes above ASCII are always escaped.)
const NOT_IN_IDS: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// In which headers the upstream is told who calls. By default [`X_AGENT_ID`], [`X_AGENT_SCOPES`] and [`X_ORG_ID`].
///
/// These names and [`X_AGENT_ISSUER`] are never let through from a client, even where others are chosen.
#[derive(Debug)]
pub struct IdentityHeaders {
    agent_id: HeaderName,
    scopes: HeaderName,
    organization_id: HeaderName,
    issuer: Option<HeaderName>,
    client_id: Option<HeaderName>,
    team_id: Option<HeaderName>,
    signed: Option<(HeaderName, AssertionSigner)>,
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self {
            agent_id: X_AGENT_ID,
            scopes: X_AGENT_SCOPES,
            organization_id: X_ORG_ID,
            issuer: None,
            client_id: None,
            team_id: None,
            signed: None,
        }
    }
}

impl IdentityHeaders {
    /// Where the [agent's id](Agent::id) stands.
    #[must_use]
    pub fn agent_id(mut self, name: HeaderName) -> Self {
        self.agent_id = name;
        self
    }

    /// Where the scopes stand, separated by spaces.
    #[must_use]
    pub fn scopes(mut self, name: HeaderName) -> Self {
        self.scopes = name;
        self
    }

    /// Where the organization stands, of an agent that has one.
    #[must_use]
    pub fn organization_id(mut self, name: HeaderName) -> Self {
        self.organization_id = name;
        self
    }

    /// Also says who issued the token: with several issuers, an id alone names nobody.
    #[must_use]
    pub fn issuer(mut self, name: HeaderName) -> Self {
        self.issuer = Some(name);
        self
    }

    /// Also says the [client's id](Agent::client_id).
    #[must_use]
    pub fn client_id(mut self, name: HeaderName) -> Self {
        self.client_id = Some(name);
        self
    }

    /// Also says the team, of an agent that is in one.
    #[must_use]
    pub fn team_id(mut self, name: HeaderName) -> Self {
        self.team_id = Some(name);
        self
    }

    /// Also says all of it in a signed assertion, for an upstream that others than the proxy can reach.
    #[must_use]
    pub fn signed(mut self, name: HeaderName, signer: AssertionSigner) -> Self {
        self.signed = Some((name, signer));
        self
    }

    /// Whether an upstream could take a header of this name for one of ours.
    fn is_ours(&self, name: &HeaderName) -> bool {
        let defaults = [X_AGENT_ID, X_AGENT_SCOPES, X_ORG_ID, X_AGENT_ISSUER];
        let chosen = [&self.agent_id, &self.scopes, &self.organization_id];
        let signed = self.signed.as_ref().map(|(name, _)| name);
        let optional = [&self.issuer, &self.client_id, &self.team_id].map(Option::as_ref);
        defaults
            .iter()
            .chain(chosen)
            .chain(signed)
            .chain(optional.into_iter().flatten())
            .any(|ours| is_taken_for(ours, name))
    }

    /// Removes whatever an upstream could take for one of our headers.
    fn strip(&self, upstream: &mut HeaderMap) {
        remove_if(upstream, |name| self.is_ours(name));
    }

    fn set(&self, agent: &Agent, upstream: &mut HeaderMap) -> Result<()> {
        upstream.insert(self.agent_id.clone(), id(agent.id())?);
        upstream.insert(self.scopes.clone(), value(&agent.scopes().to_string())?);
        let optional = [
            (Some(&self.organization_id), agent.organization_id()),
            (self.issuer.as_ref(), Some(&*agent.claims().issuer)),
            (self.client_id.as_ref(), Some(agent.client_id())),
            (self.team_id.as_ref(), agent.team_id()),
        ];
        for (name, text) in optional {
            if let (Some(name), Some(text)) = (name, text) {
                upstream.insert(name.clone(), id(text)?);
            }
        }
        if let Some((name, signer)) = &self.signed {
            upstream.insert(name.clone(), value(&signer.sign(agent))?);
        }
        Ok(())
    }
}

/// Says in the [identity headers](IdentityHeaders) whom the module verified; for a proxy's `upstream_request_filter`, and
/// for no earlier phase: between the two Pingora removes every header that the client named in `Connection`.
///
/// What the client says in these headers, or in any spelling that an upstream may take for them, is removed in any
/// case: `X_Agent_Id` is the same variable as `X-Agent-Id` to CGI and whatever was made after it. So is the access
/// token once it is verified, with the proof that came with it, and what only a
/// [dry run](crate::MachineAuthModule::dry_run) let through in its place, unless the module is to
/// [forward](crate::MachineAuthModule::forward_token) it. Where a policy judged the request, headers are removed that ask
/// for another method or path ([`OVERRIDES`]).
///
/// Bytes other than visible ASCII, and `%`, are percent-encoded in ids. Names of headers lose the
/// spelling that the client gave them (RFC 9110 §5.1): a server of HTTP/1.1 gets most in lower case, as HTTP/2 has all of them.
///
/// # Errors
/// None that a request could cause: only if Pingora did not take a well-formed header.
pub fn forward_identity(session: &Session, upstream: &mut RequestHeader) -> Result<()> {
    change(upstream, |headers, target| {
        if MachineAuth::of(session).is_some_and(MachineAuth::has_policy) {
            strip(headers, &OVERRIDES);
        }
        identify(session, headers, target)
    })
}

/// As [`forward_identity`], to a server who gets `headers` and `target`. Headers that ask for another method or path stay.
pub(crate) fn identify(session: &Session, headers: &mut HeaderMap, target: &Uri) -> Result<()> {
    let Some(auth) = MachineAuth::of(session) else {
        IdentityHeaders::default().strip(headers);
        return Ok(());
    };
    auth.identity().strip(headers);
    let ends_here = match auth.agent() {
        Some(_) => true,
        None => auth.would_refuse().is_some() && has_token(headers, target),
    };
    if ends_here && !auth.forwards_token() {
        headers.remove(AUTHORIZATION);
        headers.remove(DPOP);
    }
    match auth.agent() {
        Some(agent) => auth.identity().set(agent, headers),
        None => Ok(()),
    }
}

/// Changes the headers of `request`. Beside them Pingora remembers how each name was spelled, and its own methods keep that
/// true with copies of the names, which cost more than the headers themselves: so that is given up.
///
/// # Errors
/// Those of `change`.
pub(crate) fn change(
    request: &mut RequestHeader,
    change: impl FnOnce(&mut HeaderMap, &Uri) -> Result<()>,
) -> Result<()> {
    let ends_stream = request.send_end_stream();
    // What a URI cannot hold stands beside it.
    let is_beside = !request.raw_path_is_utf8() || !request.raw_path().starts_with(b"/");
    let target = is_beside.then(|| request.raw_path().to_vec());
    let (nothing, ()) = http::Request::new(()).into_parts();
    let mut parts = ReqParts::from(mem::replace(request, nothing.into()));
    let changed = change(&mut parts.headers, &parts.uri);
    *request = parts.into();
    if let Some(target) = target.filter(|target| request.raw_path() != target) {
        request.set_raw_path(&target)?;
    }
    if let Some(ends_stream) = ends_stream {
        request.set_send_end_stream(ends_stream);
    }
    changed
}

/// Whether there is an access token, or what was meant as one. Credentials of another kind are the upstream's matter.
fn has_token(headers: &HeaderMap, target: &Uri) -> bool {
    let read = credentials(headers, target);
    !read.is_err_and(|error| error.kind() == ErrorKind::MissingToken)
}

/// Removes whatever an upstream could take for a header of one of these names.
fn strip(upstream: &mut HeaderMap, names: &[HeaderName]) {
    remove_if(upstream, |name| {
        names.iter().any(|ours| is_taken_for(ours, name))
    });
}

pub(crate) fn remove_if(upstream: &mut HeaderMap, is_wrong: impl Fn(&HeaderName) -> bool) {
    let names = upstream.keys();
    let wrong: Vec<HeaderName> = names.filter(|name| is_wrong(name)).cloned().collect();
    for name in &wrong {
        upstream.remove(name);
    }
}

/// Whether `name` is `ours` to somebody who does not tell punctuation apart. CGI folds `-` to `_`; some of its
/// descendants fold everything that cannot stand in a variable's name (`.` in PHP).
pub(crate) fn is_taken_for(ours: &HeaderName, name: &HeaderName) -> bool {
    looks_like(ours.as_str().as_bytes(), name.as_str().as_bytes())
}

/// As [`is_taken_for`], of all names that start like this.
pub(crate) fn starts_like(start: &str, name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes().get(..start.len());
    name.is_some_and(|name| looks_like(start.as_bytes(), name))
}

fn looks_like(ours: &[u8], name: &[u8]) -> bool {
    let folded = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => byte,
        false => b'-',
    };
    ours.len() == name.len()
        && ours
            .iter()
            .zip(name)
            .all(|(&our, &byte)| folded(our) == folded(byte))
}

fn id(text: &str) -> Result<HeaderValue> {
    let encoded: Cow<'_, str> = utf8_percent_encode(text, NOT_IN_IDS).into();
    value(&encoded)
}

pub(crate) fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).or_err(ErrorType::InvalidHTTPHeader, "a header for the upstream")
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;

    fn add(headers: &mut HeaderMap, _: &Uri) -> Result<()> {
        headers.insert(X_AGENT_ID, HeaderValue::from_static("agent-7"));
        Ok(())
    }

    /// V19
    #[test]
    fn a_change_of_headers_changes_nothing_else() {
        let targets: [&[u8]; 5] = [b"/a?b=c", b"*", b"http://a.example/b", b"/\xfe", b"/"];
        for target in targets {
            let mut request = RequestHeader::build(Method::OPTIONS, target, None).unwrap();
            request.append_header("X-One", "1").unwrap();
            request.append_header("X-One", "2").unwrap();
            request.extensions_mut().insert("kept");
            let before = request.clone();
            change(&mut request, add).unwrap();
            assert_eq!(request.raw_path(), target);
            assert_eq!(request.raw_path_is_utf8(), before.raw_path_is_utf8());
            assert_eq!(
                (&request.method, &request.uri),
                (&before.method, &before.uri)
            );
            assert_eq!(request.version, before.version);
            let ones: Vec<_> = request.headers.get_all("x-one").iter().collect();
            assert_eq!(ones, ["1", "2"]);
            assert_eq!(request.headers[X_AGENT_ID], "agent-7");
            assert_eq!(request.extensions.get(), Some(&"kept"));
        }
    }

    #[test]
    fn a_request_of_http2_keeps_its_authority_and_how_it_ends() {
        let mut request = RequestHeader::build(Method::OPTIONS, b"/", None).unwrap();
        let uri = Uri::builder().scheme("https").authority("a.example");
        let uri = uri.path_and_query("*").build().unwrap();
        request.set_uri(uri.clone());
        request.set_version(Version::HTTP_2);
        request.set_send_end_stream(false);
        change(&mut request, add).unwrap();
        assert_eq!(request.uri, uri);
        assert_eq!(request.send_end_stream(), Some(false));
    }
}
