use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{State, lock};
use crate::base64url;
use crate::clock::Clock as _;
use crate::crypto::SigningKey;

/// A token to be: good until something is said that makes it bad.
#[derive(Clone)]
pub struct TokenBuilder {
    state: Arc<State>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    key: Arc<SigningKey>,
}

impl TokenBuilder {
    pub(super) fn new(state: Arc<State>) -> Self {
        let (now, key) = (state.clock.now().as_secs(), state.signer());
        let claims = json!({
            "iss": state.url,
            "sub": "agent-1",
            "agent_id": "agent-1",
            "aud": "api",
            "iat": now,
            "exp": now + 3600,
            "jti": state.next_name("token"),
            "gen": 0,
        });
        let header = json!({
            "alg": key.signing.algorithm().as_str(),
            "typ": "JWT",
            "kid": key.kid,
        });
        Self {
            header: object(header),
            claims: object(claims),
            key: key.signing,
            state,
        }
    }

    /// For this agent.
    #[must_use]
    pub fn agent(self, id: &str) -> Self {
        self.claim("sub", id).claim("agent_id", id)
    }

    /// Meant for this audience.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// With these space-delimited scopes.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Good this long from now on, by the issuer's clock.
    #[must_use]
    pub fn expires_in(self, life: Duration) -> Self {
        let end = self.state.clock.now().saturating_add(life).as_secs();
        self.claim("exp", end)
    }

    /// With any claim, of any type.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Without this claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// With any member in its header, of any type: `typ`, `kid`, `crit`, and an `alg` that its key does not have.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Signed with this key instead, under the name of the issuer's own unless the header is given another.
    #[must_use]
    pub fn signed_with(mut self, key: Arc<SigningKey>) -> Self {
        let algorithm = key.algorithm().as_str();
        self.key = key;
        self.header("alg", algorithm)
    }

    /// The token in compact serialization.
    ///
    /// # Panics
    /// When the cryptographic library cannot sign.
    pub fn sign(self) -> String {
        let [header, payload] = [self.header, self.claims]
            .map(|part| base64url::encode(Value::Object(part).to_string()));
        let input = format!("{header}.{payload}");
        let signature = self.key.sign(input.as_bytes());
        let signature = signature.expect("a key that was made here signs");
        format!("{input}.{}", base64url::encode(signature))
    }

    /// A token that only the issuer can read: whoever wants to know asks its introspection endpoint.
    pub fn opaque(self) -> String {
        let text = self.state.next_name("opaque");
        let payload = Value::Object(self.claims).to_string().into_bytes();
        lock(&self.state.opaque).insert(text.clone(), payload);
        text
    }
}

impl fmt::Debug for TokenBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenBuilder")
            .field("header", &self.header)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
