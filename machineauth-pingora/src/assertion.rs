//! Who calls, signed: for an upstream that cannot be sure that only the proxy reaches it.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::crypto::HmacKey;
use machineauth_core::{Agent, Clock, Error, ErrorKind, SystemClock, base64url};
use serde::Serialize;

/// A weaker secret than its hash is none (RFC 7518 §3.2).
const SHORTEST_SECRET: usize = 32;
/// How long an assertion is good unless it is said otherwise.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30);
/// Tells assertions from access tokens (RFC 8725 §3.11).
const HEADER: &str = r#"{"alg":"HS256","typ":"machineauth-agent+jwt"}"#;

/// Signs who calls: a JWT (RFC 7519) with HMAC-SHA-256 under a secret that the upstream shares, good for a moment.
///
/// Its claims are `iss` and `aud` as configured, `iat`, `exp`, `sub` (the agent's id), `client_id`, `scope`, and `org_id`
/// and `team_id` where the agent has them; `token_iss` names the issuer of the access token. Any JWT library verifies it:
/// demand the algorithm HS256, the type `machineauth-agent+jwt`, the issuer and the audience.
#[derive(Debug)]
pub struct AssertionSigner {
    key: HmacKey,
    header: String,
    issuer: String,
    audience: String,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    sub: &'a str,
    client_id: &'a str,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<&'a str>,
    token_iss: &'a str,
}

impl AssertionSigner {
    /// Signs as `issuer` for `audience`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] for a secret of fewer than 32 bytes.
    pub fn new(
        secret: &[u8],
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<Self, Error> {
        if secret.len() < SHORTEST_SECRET {
            return Err(ErrorKind::InvalidConfiguration.into());
        }
        Ok(Self {
            key: HmacKey::new(secret),
            header: base64url::encode(HEADER),
            issuer: issuer.into(),
            audience: audience.into(),
            lifetime: DEFAULT_LIFETIME,
            clock: Arc::new(SystemClock),
        })
    }

    /// How long an assertion is good, in whole seconds. Default 30 s.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The assertion about `agent`.
    pub(crate) fn sign(&self, agent: &Agent) -> String {
        let now = self.clock.now().as_secs();
        let assertion = Assertion {
            iss: &self.issuer,
            aud: &self.audience,
            iat: now,
            exp: now.saturating_add(self.lifetime.as_secs()),
            sub: agent.id(),
            client_id: agent.client_id(),
            scope: agent.scopes().to_string(),
            org_id: agent.organization_id(),
            team_id: agent.team_id(),
            token_iss: &agent.claims().issuer,
        };
        let payload = serde_json::to_vec(&assertion).expect("texts and numbers are JSON");
        let signed = format!("{}.{}", self.header, base64url::encode(payload));
        let code = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", base64url::encode(code))
    }
}
