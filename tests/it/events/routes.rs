//! Every route that can change something, and what it leaves.

use std::collections::BTreeSet;

use machineauth_tests::description::operations;
use machineauth_tests::issuer::ADMIN;
use reqwest::Method;
use serde_json::{Value, json};

/// Who calls a route in this test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Who {
    Administrator,
    ApiKey,
    Agent,
    Nobody,
}

use Who::{Administrator, Agent, ApiKey, Nobody};

const ADMINISTRATORS: &[Who] = &[Administrator, ApiKey, Agent];
const DEACTIVATED: &[&str] = &["agent.updated", "agent.deactivated"];
const REACTIVATED: &[&str] = &["agent.updated", "agent.reactivated"];
const CREDENTIALS: &str = r#"{ "client_id": "{client_id}", "client_secret": "{client_secret}" }"#;

pub(super) type Case = (
    Method,
    &'static str,
    Option<Value>,
    &'static [Who],
    &'static [&'static str],
);

/// Every route that can change something, with a body that is accepted, who may, and what it leaves.
pub(super) fn routes() -> Vec<Case> {
    let (post, put, patch, delete) = (Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
    let named = || Some(json!({ "name": "new" }));
    let client = |more: Value| {
        let mut body: Value = serde_json::from_str(CREDENTIALS).unwrap();
        let members = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        Some(body)
    };
    let granted = || client(json!({ "grant_type": "client_credentials" }));
    let redeemed = || client(json!({ "refresh_token": "{refresh_token}" }));
    let token = || Some(json!({ "token": "{token}" }));
    let agent = "/api/agents/{id}";
    let organization = "/api/organizations/{organization_id}";
    let teams = "/api/organizations/{organization_id}/teams";
    let team = "/api/organizations/{organization_id}/teams/{team_id}";
    let keys = "/api/organizations/{organization_id}/api-keys";
    let key = "/api/organizations/{organization_id}/api-keys/{key_id}";
    let machines = "/v1/organizations/{organization_id}/machine-clients";
    let machine = "/v1/organizations/{organization_id}/machine-clients/{client_id}";
    vec![
        (post.clone(), "/oauth/token", granted(), &[Nobody], &[]),
        (post.clone(), "/v1/oauth/token", granted(), &[Nobody], &[]),
        (post.clone(), "/oauth/refresh", redeemed(), &[Nobody], &[]),
        (post.clone(), "/oauth/introspect", token(), &[Nobody], &[]),
        (
            post.clone(),
            "/oauth/revoke",
            token(),
            &[Nobody],
            &["token.revoked"],
        ),
        (
            post.clone(),
            "/api/agents",
            named(),
            ADMINISTRATORS,
            &["agent.created"],
        ),
        (
            put.clone(),
            agent,
            named(),
            ADMINISTRATORS,
            &["agent.updated"],
        ),
        (
            patch.clone(),
            agent,
            Some(json!({ "is_active": false })),
            ADMINISTRATORS,
            DEACTIVATED,
        ),
        (
            delete.clone(),
            agent,
            None,
            ADMINISTRATORS,
            &["agent.deleted"],
        ),
        (
            post.clone(),
            agent,
            Some(json!({ "action": "rotate" })),
            ADMINISTRATORS,
            &["agent.credentials_rotated"],
        ),
        (
            post.clone(),
            "/api/agents/{id}/rotate",
            None,
            ADMINISTRATORS,
            &["agent.credentials_rotated"],
        ),
        (
            post.clone(),
            "/api/agents/{id}/deactivate",
            None,
            ADMINISTRATORS,
            DEACTIVATED,
        ),
        (
            post.clone(),
            "/api/agents/{id}/reactivate",
            None,
            ADMINISTRATORS,
            REACTIVATED,
        ),
        (
            delete.clone(),
            "/api/agents/{id}/secrets/{secret_id}",
            None,
            ADMINISTRATORS,
            &["agent.secret_revoked"],
        ),
        (
            delete.clone(),
            "/api/agents/me",
            None,
            &[Agent],
            &["agent.deleted"],
        ),
        (
            post.clone(),
            "/api/agents/me/rotate",
            None,
            &[Agent],
            &["agent.credentials_rotated"],
        ),
        (
            post.clone(),
            "/api/agents/me/deactivate",
            None,
            &[Agent],
            DEACTIVATED,
        ),
        (
            post.clone(),
            "/api/agents/me/reactivate",
            None,
            &[Agent],
            REACTIVATED,
        ),
        (
            post.clone(),
            "/api/agents/me/delete",
            None,
            &[Agent],
            &["agent.deleted"],
        ),
        (
            delete.clone(),
            "/api/agents/me/delete",
            None,
            &[Agent],
            &["agent.deleted"],
        ),
        (
            post.clone(),
            "/api/organizations",
            Some(json!({ "name": "new", "slug": "{slug}" })),
            &[Administrator],
            &["organization.created"],
        ),
        (
            put.clone(),
            organization,
            named(),
            ADMINISTRATORS,
            &["organization.updated"],
        ),
        (
            patch.clone(),
            organization,
            named(),
            ADMINISTRATORS,
            &["organization.updated"],
        ),
        (
            delete.clone(),
            organization,
            None,
            &[Administrator],
            // The tenant has one of everything, and three agents.
            &[
                "organization.deleted",
                "api_key.revoked",
                "team.deleted",
                "agent.deleted",
                "agent.deleted",
                "agent.deleted",
                "webhook.deleted",
            ],
        ),
        (
            post.clone(),
            "/api/organizations/{organization_id}/agents",
            named(),
            ADMINISTRATORS,
            &["agent.created"],
        ),
        (
            post.clone(),
            teams,
            named(),
            ADMINISTRATORS,
            &["team.created"],
        ),
        (
            put.clone(),
            team,
            named(),
            ADMINISTRATORS,
            &["team.updated"],
        ),
        (
            patch.clone(),
            team,
            named(),
            ADMINISTRATORS,
            &["team.updated"],
        ),
        (
            delete.clone(),
            team,
            None,
            ADMINISTRATORS,
            &["team.deleted"],
        ),
        (
            post.clone(),
            keys,
            named(),
            ADMINISTRATORS,
            &["api_key.created"],
        ),
        (
            delete.clone(),
            key,
            None,
            ADMINISTRATORS,
            &["api_key.revoked"],
        ),
        (
            post.clone(),
            machines,
            named(),
            ADMINISTRATORS,
            &["agent.created"],
        ),
        (
            put.clone(),
            machine,
            named(),
            ADMINISTRATORS,
            &["agent.updated"],
        ),
        (
            patch.clone(),
            machine,
            named(),
            ADMINISTRATORS,
            &["agent.updated"],
        ),
        (
            delete.clone(),
            machine,
            None,
            ADMINISTRATORS,
            &["agent.deleted"],
        ),
        (
            post.clone(),
            "/v1/organizations/{organization_id}/machine-clients/{client_id}/rotate",
            None,
            ADMINISTRATORS,
            &["agent.credentials_rotated"],
        ),
        (
            delete.clone(),
            "/v1/organizations/{organization_id}/machine-clients/{client_id}/secrets/{secret_id}",
            None,
            ADMINISTRATORS,
            &["agent.secret_revoked"],
        ),
        (
            post.clone(),
            "/api/auth/login",
            Some(json!({ "username": ADMIN.0, "password": ADMIN.1 })),
            &[Nobody],
            &["login.succeeded"],
        ),
        (
            post.clone(),
            "/api/keys/rotate",
            None,
            &[Administrator],
            &["signing_key.rotated"],
        ),
        (
            post.clone(),
            "/api/keys/import",
            Some(json!({ "pem": ED25519, "algorithm": "EdDSA" })),
            &[Administrator],
            &["signing_key.imported"],
        ),
        (
            delete.clone(),
            "/api/keys/{kid}",
            None,
            &[Administrator],
            &["signing_key.revoked", "signing_key.removed"],
        ),
        (
            post.clone(),
            "/api/webhooks",
            Some(json!({ "name": "n", "url": "http://127.0.0.1:9/", "events": ["login.failed"] })),
            ADMINISTRATORS,
            &["webhook.created"],
        ),
        (
            put,
            "/api/webhooks/{webhook_id}",
            named(),
            ADMINISTRATORS,
            &["webhook.updated"],
        ),
        (
            patch.clone(),
            "/api/webhooks/{webhook_id}",
            named(),
            ADMINISTRATORS,
            &["webhook.updated"],
        ),
        (
            delete.clone(),
            "/api/webhooks/{webhook_id}",
            None,
            ADMINISTRATORS,
            &["webhook.deleted"],
        ),
        (
            post.clone(),
            "/api/webhooks/{webhook_id}/test",
            None,
            ADMINISTRATORS,
            &["webhook.test"],
        ),
        (
            post.clone(),
            "/api/webhooks/{webhook_id}/rotate-secret",
            None,
            ADMINISTRATORS,
            &["webhook.updated"],
        ),
        (
            post.clone(),
            "/api/webhooks/{webhook_id}/replay",
            Some(json!({ "status": "dead" })),
            ADMINISTRATORS,
            &["webhook.replayed"],
        ),
        (
            post.clone(),
            "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
            None,
            ADMINISTRATORS,
            &["webhook.replayed"],
        ),
        (
            post.clone(),
            "/api/keys/{kid}/retire",
            None,
            &[Administrator],
            &["signing_key.retired"],
        ),
        (
            post.clone(),
            "/api/administrators/invitations",
            Some(json!({ "email": "{slug}@example.com", "role": "admin" })),
            &[Administrator],
            &["administrator.invited"],
        ),
        (
            delete.clone(),
            "/api/administrators/invitations/{invitation_id}",
            None,
            &[Administrator],
            &["administrator.invitation_withdrawn"],
        ),
        (
            post.clone(),
            "/api/auth/invitation",
            Some(json!({ "token": "{invitation}", "password": "correct horse battery" })),
            &[Nobody],
            &["administrator.joined"],
        ),
        (
            patch,
            "/api/administrators/{administrator_id}",
            Some(json!({ "role": "viewer" })),
            &[Administrator],
            &["administrator.role_changed"],
        ),
        (
            delete.clone(),
            "/api/administrators/{administrator_id}",
            None,
            &[Administrator],
            &["administrator.removed"],
        ),
        (
            delete.clone(),
            "/api/administrators/{administrator_id}/sessions",
            None,
            &[Administrator],
            &["session.ended"],
        ),
        (
            delete.clone(),
            "/api/administrators/{administrator_id}/sessions/{session_id}",
            None,
            &[Administrator],
            &["session.ended"],
        ),
        (
            delete.clone(),
            "/api/auth/sessions/{session_id}",
            None,
            &[Administrator],
            &["session.ended"],
        ),
        (
            delete,
            "/api/auth/sessions",
            None,
            &[Administrator],
            &["session.ended"],
        ),
        // With HTTP Basic there is nothing to end.
        (
            post.clone(),
            "/api/auth/logout",
            None,
            &[Administrator],
            &[],
        ),
        // The last one: who calls has another password after it.
        (
            post,
            "/api/auth/password",
            Some(json!({ "current_password": ADMIN.1, "new_password": "correct horse battery" })),
            &[Administrator],
            &["administrator.password_changed"],
        ),
    ]
}

/// RFC 8410 §10.3
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

/// All that is described, `GET` aside.
fn table() -> BTreeSet<(String, String)> {
    operations()
        .map(|(path, method, _)| (method.to_uppercase(), path.to_owned()))
        .filter(|(method, _)| method != "GET")
        .collect()
}

#[test]
fn every_route_that_can_change_something_is_tried() {
    let tried: BTreeSet<_> = routes()
        .iter()
        .map(|(method, path, ..)| (method.to_string(), (*path).to_owned()))
        .collect();
    assert_eq!(table(), tried);
}
