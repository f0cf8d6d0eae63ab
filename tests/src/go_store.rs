//! A JSON store as the Go service writes it, made piece by piece.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use machineauth_core::crypto::sha256;
use serde_json::{Value, json};
use uuid::Uuid;

/// A store of the Go service.
#[derive(Debug, Clone)]
pub struct GoStore(pub Value);

impl GoStore {
    /// An empty one, as the Go service first writes it.
    #[expect(clippy::new_without_default, reason = "a test says what it makes")]
    pub fn new() -> Self {
        Self(json!({
            "agents": [],
            "admin_users": null,
            "audit_logs": [],
            "refresh_tokens": null,
            "revoked_tokens": null,
            "metrics": { "tokens_refreshed": 3, "tokens_revoked": 1 },
            "organizations": null,
            "teams": null,
            "api_keys": null,
            "webhook_configs": [],
            "webhook_deliveries": [],
            "org_members": null,
            "org_signing_keys": null,
        }))
    }

    /// Adds an object to one of the lists, with what `changes` says differently.
    ///
    /// # Panics
    /// When `changes` is no object.
    pub fn add(&mut self, list: &str, mut object: Value, changes: Value) -> &mut Self {
        let Value::Object(changes) = changes else {
            panic!("changes are an object: {changes}");
        };
        for (name, value) in changes {
            object[name] = value;
        }
        match &mut self.0[list] {
            Value::Array(items) => items.push(object),
            none => *none = json!([object]),
        }
        self
    }

    /// Adds an organization.
    pub fn organization(&mut self, id: &str, slug: &str, changes: Value) -> &mut Self {
        let organization = json!({
            "id": id,
            "name": format!("Organization {slug}"),
            "slug": slug,
            "owner_email": "owner@example.com",
            "jwt_issuer": "https://auth.agentauth.io",
            "jwt_expiry_secs": 3600,
            "allowed_origins": "*",
            "plan": "free",
            "created_at": "2026-01-02T03:04:05.678901234Z",
            "updated_at": "2026-01-02T03:04:05.678901234Z",
        });
        self.add("organizations", organization, changes)
    }

    /// Adds a team.
    pub fn team(&mut self, id: &str, organization: &str) -> &mut Self {
        let team = json!({
            "id": id,
            "organization_id": organization,
            "name": format!("Team {id}"),
            "description": "of the other server",
            "created_at": "2026-01-02T03:04:05Z",
            "updated_at": "0001-01-01T00:00:00Z",
        });
        self.add("teams", team, json!({}))
    }

    /// Adds an agent that authenticates with `secret`, unless `changes` bring another hash.
    pub fn agent(&mut self, client_id: &str, secret: &str, changes: Value) -> &mut Self {
        let hash = match changes.get("client_secret_hash") {
            Some(_) => String::new(),
            None => bcrypt(secret, 10),
        };
        let agent = json!({
            "id": Uuid::new_v4().to_string(),
            "organization_id": "",
            "name": format!("Agent {client_id}"),
            "description": "from the other server",
            "tags": ["old"],
            "metadata": { "room": 7 },
            "client_id": client_id,
            "client_secret_hash": hash,
            "scopes": ["read", "write"],
            "status": "active",
            "is_active": true,
            "created_at": "2026-01-02T03:04:05.678901234+05:30",
            "updated_at": "2026-01-03T03:04:05Z",
            "token_count": 41,
            "refresh_count": 7,
            "last_activity_at": "2026-02-03T04:05:07Z",
            "last_token_issued_at": "2026-02-03T04:05:06Z",
            "rotation_history": [
                { "rotated_at": "2026-01-20T00:00:00Z", "rotated_by_ip": "192.0.2.7:51234" },
                { "rotated_at": "2026-01-21T00:00:00Z" },
            ],
        });
        self.add("agents", agent, changes)
    }

    /// Adds an API key with this text.
    pub fn api_key(&mut self, organization: &str, text: &str, changes: Value) -> &mut Self {
        let key = json!({
            "id": Uuid::new_v4().to_string(),
            "organization_id": organization,
            "name": "a key",
            "key_hash": URL_SAFE.encode(sha256(text.as_bytes())),
            "prefix": &text[..12],
            "last_used_at": "2026-02-01T00:00:00Z",
            "is_active": true,
            "created_at": "2026-01-02T03:04:05Z",
        });
        self.add("api_keys", key, changes)
    }

    /// Adds a webhook to `url` that is signed with `secret`.
    pub fn webhook(&mut self, id: &str, url: &str, secret: &str, changes: Value) -> &mut Self {
        let webhook = json!({
            "id": id,
            "organization_id": "",
            "team_id": "",
            "name": format!("Webhook {id}"),
            "url": url,
            "secret": secret,
            "events": ["agent.created", "agent.deleted"],
            "is_active": true,
            "max_retries": 10,
            "retry_backoff_base": 2,
            "created_at": "2026-01-02T03:04:05Z",
            "updated_at": "2026-01-03T03:04:05Z",
            "last_tested_at": null,
            "consecutive_fails": 3,
        });
        self.add("webhook_configs", webhook, changes)
    }

    /// The file.
    pub fn text(&self) -> String {
        format!("{:#}", self.0)
    }
}

/// The hash that the Go service keeps of a secret.
///
/// # Panics
/// When the cost is none.
pub fn bcrypt(secret: &str, cost: u32) -> String {
    let parts = ::bcrypt::hash_with_salt(secret, cost, *Uuid::new_v4().as_bytes());
    let parts = parts.expect("this can be hashed");
    parts.format_for_version(::bcrypt::Version::TwoA)
}
