//! Tenants see only what is theirs, at every route there is (I12).

use machineauth_tests::agent::Agent;
use machineauth_tests::description::operations;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

/// A tenant with one of everything, and its two kinds of administrators.
pub(super) struct Tenant {
    pub(super) organization: String,
    agent: String,
    team: String,
    key: String,
    secret: String,
    machine: String,
    machine_secret: String,
    webhook: String,
    delivery: String,
    /// An API key, and the token of an agent with the scope `admin`.
    pub(super) credentials: [String; 2],
}

impl Tenant {
    pub(super) async fn create(issuer: &Issuer, slug: &str) -> Self {
        let organization = issuer.organization(slug).await;
        let path = format!("/api/organizations/{organization}");
        let team = issuer
            .admin(
                Method::POST,
                &format!("{path}/teams"),
                Some(json!({ "name": "t" })),
            )
            .await
            .str("id");
        let created = issuer
            .admin(
                Method::POST,
                &format!("{path}/api-keys"),
                Some(json!({ "name": "k" })),
            )
            .await;
        let admin_agent = issuer.agent_in(&organization, &["admin"]).await;
        let (token, _) = issuer.tokens(&admin_agent).await;
        let agent = issuer.agent_in(&organization, &["read"]).await.id;
        // The secret that a rotation left alive.
        let path = format!("/api/agents/{agent}");
        issuer
            .admin(
                Method::POST,
                &format!("{path}/rotate"),
                Some(json!({ "grace": 3600 })),
            )
            .await;
        let secrets = issuer
            .admin(Method::GET, &format!("{path}/secrets"), None)
            .await
            .json();
        let secrets = secrets["secrets"].as_array().unwrap().clone();
        let graced = secrets
            .iter()
            .find(|secret| secret["expires_at"].is_string());
        let path = format!("/v1/organizations/{organization}/machine-clients");
        let machine = issuer
            .admin(Method::POST, &path, Some(json!({ "name": "m" })))
            .await
            .str("clientId");
        let path = format!("{path}/{machine}");
        issuer
            .admin(Method::POST, &format!("{path}/rotate"), None)
            .await;
        let secrets = issuer.admin(Method::GET, &path, None).await.json();
        let secrets = secrets["secrets"].as_array().unwrap().clone();
        let machine_secret = secrets
            .iter()
            .find(|secret| secret["expiresAt"].is_string());
        let (webhook, delivery) = webhook_of(issuer, &organization).await;
        Self {
            webhook,
            delivery,
            machine,
            machine_secret: machine_secret.unwrap()["id"].as_str().unwrap().to_owned(),
            agent,
            secret: graced.unwrap()["id"].as_str().unwrap().to_owned(),
            team,
            key: created.json()["api_key"]["id"].as_str().unwrap().to_owned(),
            credentials: [created.str("key"), token],
            organization,
        }
    }

    pub(super) fn path(&self, template: &str) -> String {
        let secret = match template.contains("machine-clients") {
            true => &self.machine_secret,
            false => &self.secret,
        };
        template
            .replace("{client_id}", &self.machine)
            .replace("{organization_id}", &self.organization)
            .replace("{team_id}", &self.team)
            .replace("{key_id}", &self.key)
            .replace("{secret_id}", secret)
            .replace("{webhook_id}", &self.webhook)
            .replace("{delivery_id}", &self.delivery)
            .replace("{id}", &self.agent)
    }
}

/// A webhook of an organization, and a delivery to it.
async fn webhook_of(issuer: &Issuer, organization: &str) -> (String, String) {
    let body = json!({
        "name": "w",
        "url": "http://127.0.0.1:9/",
        "events": ["webhook.test"],
        "is_active": false,
        "organization_id": organization,
    });
    let created = issuer
        .admin(Method::POST, "/api/webhooks", Some(body))
        .await
        .json();
    let webhook = created["webhook"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/webhooks/{webhook}");
    issuer
        .admin(Method::POST, &format!("{path}/test"), None)
        .await;
    let deliveries = issuer
        .admin(Method::GET, &format!("{path}/deliveries"), None)
        .await
        .json();
    let delivery = deliveries["deliveries"][0]["id"].as_str().unwrap();
    (webhook, delivery.to_owned())
}

/// Whom a route is for.
#[derive(Clone, Copy, PartialEq)]
enum For {
    /// Its object's own tenant.
    Tenant,
    /// The server's administrator alone, whether or not the path names an object.
    Administrator,
}

/// Every administrative route that names an object, with a body that would be accepted.
fn routes() -> Vec<(Method, &'static str, Option<Value>, For)> {
    let named = Some(json!({ "name": "new" }));
    vec![
        (Method::GET, "/api/agents/{id}", None, For::Tenant),
        (Method::DELETE, "/api/agents/{id}", None, For::Tenant),
        (
            Method::POST,
            "/api/agents/{id}",
            Some(json!({ "action": "rotate" })),
            For::Tenant,
        ),
        (Method::POST, "/api/agents/{id}/rotate", None, For::Tenant),
        (
            Method::POST,
            "/api/agents/{id}/deactivate",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/api/agents/{id}/reactivate",
            None,
            For::Tenant,
        ),
        (
            Method::GET,
            "/v1/organizations/{organization_id}/machine-clients",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/v1/organizations/{organization_id}/machine-clients",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::GET,
            "/v1/organizations/{organization_id}/machine-clients/{client_id}",
            None,
            For::Tenant,
        ),
        (
            Method::PUT,
            "/v1/organizations/{organization_id}/machine-clients/{client_id}",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::PATCH,
            "/v1/organizations/{organization_id}/machine-clients/{client_id}",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::DELETE,
            "/v1/organizations/{organization_id}/machine-clients/{client_id}",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/v1/organizations/{organization_id}/machine-clients/{client_id}/rotate",
            None,
            For::Tenant,
        ),
        (
            Method::DELETE,
            "/v1/organizations/{organization_id}/machine-clients/{client_id}/secrets/{secret_id}",
            None,
            For::Tenant,
        ),
        (Method::PUT, "/api/agents/{id}", named.clone(), For::Tenant),
        (
            Method::PATCH,
            "/api/agents/{id}",
            named.clone(),
            For::Tenant,
        ),
        (Method::GET, "/api/agents/{id}/secrets", None, For::Tenant),
        (
            Method::DELETE,
            "/api/agents/{id}/secrets/{secret_id}",
            None,
            For::Tenant,
        ),
        (
            Method::GET,
            "/api/organizations/{organization_id}/agents",
            None,
            For::Tenant,
        ),
        (
            Method::GET,
            "/api/organizations/{organization_id}",
            None,
            For::Tenant,
        ),
        (
            Method::PUT,
            "/api/organizations/{organization_id}",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::PATCH,
            "/api/organizations/{organization_id}",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::DELETE,
            "/api/organizations/{organization_id}",
            None,
            For::Administrator,
        ),
        (
            Method::POST,
            "/api/organizations/{organization_id}/agents",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::GET,
            "/api/organizations/{organization_id}/teams",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/api/organizations/{organization_id}/teams",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::GET,
            "/api/organizations/{organization_id}/teams/{team_id}",
            None,
            For::Tenant,
        ),
        (
            Method::PUT,
            "/api/organizations/{organization_id}/teams/{team_id}",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::PATCH,
            "/api/organizations/{organization_id}/teams/{team_id}",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::DELETE,
            "/api/organizations/{organization_id}/teams/{team_id}",
            None,
            For::Tenant,
        ),
        (
            Method::GET,
            "/api/organizations/{organization_id}/api-keys",
            None,
            For::Tenant,
        ),
        (Method::GET, "/api/webhooks/{webhook_id}", None, For::Tenant),
        (
            Method::PUT,
            "/api/webhooks/{webhook_id}",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::PATCH,
            "/api/webhooks/{webhook_id}",
            named.clone(),
            For::Tenant,
        ),
        (
            Method::DELETE,
            "/api/webhooks/{webhook_id}",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/api/webhooks/{webhook_id}/test",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/api/webhooks/{webhook_id}/rotate-secret",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/api/webhooks/{webhook_id}/replay",
            Some(json!({ "status": "dead" })),
            For::Tenant,
        ),
        (
            Method::GET,
            "/api/webhooks/{webhook_id}/deliveries",
            None,
            For::Tenant,
        ),
        (
            Method::GET,
            "/api/webhooks/{webhook_id}/deliveries/{delivery_id}",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
            None,
            For::Tenant,
        ),
        (
            Method::POST,
            "/api/organizations/{organization_id}/api-keys",
            named,
            For::Tenant,
        ),
        (
            Method::DELETE,
            "/api/organizations/{organization_id}/api-keys/{key_id}",
            None,
            For::Tenant,
        ),
    ]
}

/// A route that is added without a line above would be a route without this test.
#[test]
fn every_administrative_route_with_an_object_is_tried() {
    let listed = routes();
    for (path, method, _) in operations()
        .filter(|(path, ..)| path.starts_with("/api/") || path.starts_with("/v1/"))
        .filter(|(path, ..)| path.contains('{'))
        // The server's own keys are no tenant's: tests/it/keys.rs has them.
        .filter(|(path, ..)| !path.starts_with("/api/keys/"))
        // Nor are its administrators: tests/it/administrators.rs.
        .filter(|(path, ..)| !path.starts_with("/api/administrators/"))
        .filter(|(path, ..)| !path.starts_with("/api/auth/"))
    {
        let is_this = |(listed, template, ..): &(Method, &str, Option<Value>, For)| {
            listed.as_str().eq_ignore_ascii_case(method) && *template == path
        };
        assert!(listed.iter().any(is_this), "{method} {path} is not tried");
    }
}

async fn call(
    issuer: &Issuer,
    credential: &str,
    method: &Method,
    path: &str,
    body: &Option<Value>,
) -> Answer {
    issuer
        .bearer(credential, method.clone(), path, body.clone())
        .await
}

/// I12, I25
#[test]
fn another_tenants_object_does_not_exist_whatever_is_done_to_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (issuer, one, other) = runtime.block_on(async {
        let issuer = Issuer::start().await;
        let one = Tenant::create(&issuer, "one").await;
        let other = Tenant::create(&issuer, "other").await;
        (issuer, one, other)
    });
    let routes = routes();
    let before = runtime.block_on(everything(&issuer));
    let strategy = (0..routes.len(), 0..2_usize, any::<bool>());
    TestRunner::new(Config {
        cases: 200,
        ..Config::default()
    })
    .run(&strategy, |(route, credential, swapped)| {
        let (mine, theirs) = if swapped {
            (&other, &one)
        } else {
            (&one, &other)
        };
        let (method, template, body, _) = &routes[route];
        let credential = &mine.credentials[credential];
        let path = theirs.path(template);
        let answer = runtime.block_on(call(&issuer, credential, method, &path, body));
        prop_assert_eq!(answer.status, 404, "{} {}: {}", method, path, answer.text);
        // Its own organization, with an object of the other in it.
        let mixed = template.replace("{organization_id}", &mine.organization);
        let mixed = theirs.path(&mixed);
        if mixed != path && template.matches('{').count() == 2 {
            let answer = runtime.block_on(call(&issuer, credential, method, &mixed, body));
            prop_assert_eq!(answer.status, 404, "{} {}: {}", method, mixed, answer.text);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(
        runtime.block_on(everything(&issuer)),
        before,
        "nothing changed"
    );
}

/// What the administrator sees of both tenants, without what counts requests.
async fn everything(issuer: &Issuer) -> Vec<Value> {
    let mut seen = Vec::new();
    let list = issuer
        .admin(Method::GET, "/api/organizations", None)
        .await
        .json();
    for organization in list["organizations"].as_array().unwrap() {
        let id = organization["id"].as_str().unwrap();
        seen.push(organization.clone());
        for below in ["teams", "api-keys"] {
            let path = format!("/api/organizations/{id}/{below}");
            let mut list = issuer.admin(Method::GET, &path, None).await.json();
            for key in list["api_keys"].as_array_mut().into_iter().flatten() {
                key.as_object_mut().unwrap().remove("last_used_at");
            }
            seen.push(list);
        }
    }
    seen.push(issuer.admin(Method::GET, "/api/agents", None).await.json());
    seen
}

#[tokio::test]
async fn every_route_works_for_the_tenant_of_its_object() {
    let issuer = Issuer::start().await;
    for (n, (method, template, body, whom)) in routes().into_iter().enumerate() {
        for credential in 0..2 {
            let tenant = Tenant::create(&issuer, &format!("tenant-{n}-{credential}")).await;
            let path = tenant.path(template);
            let answer = call(
                &issuer,
                &tenant.credentials[credential],
                &method,
                &path,
                &body,
            )
            .await;
            match whom {
                For::Tenant => assert!(
                    answer.status.is_success(),
                    "{method} {path}: {}",
                    answer.text
                ),
                For::Administrator => answer.expect_error(403, "forbidden"),
            }
        }
    }
}

#[tokio::test]
async fn an_organizations_credentials_do_nothing_to_the_server() {
    let issuer = Issuer::start().await;
    let tenant = Tenant::create(&issuer, "one").await;
    let other = issuer.organization("other").await;
    for credential in &tenant.credentials {
        let post = async |path: &str, body: Value| {
            issuer
                .bearer(credential, Method::POST, path, Some(body))
                .await
        };
        post("/api/organizations", json!({ "name": "n", "slug": "n" }))
            .await
            .expect_error(403, "forbidden");
        post(
            "/api/agents",
            json!({ "name": "n", "organization_id": other }),
        )
        .await
        .expect_error(400, "invalid_request");
        let own = format!("/api/organizations/{}", tenant.organization);
        for change in [
            json!({ "jwt_issuer": "https://a.example.com" }),
            json!({ "jwt_expiry_secs": 60 }),
            json!({ "plan": "enterprise" }),
        ] {
            issuer
                .bearer(credential, Method::PATCH, &own, Some(change))
                .await
                .expect_error(403, "forbidden");
        }
        let list = issuer
            .bearer(credential, Method::GET, "/api/organizations", None)
            .await;
        assert_eq!(list.json()["organizations"].as_array().unwrap().len(), 1);
        assert_eq!(
            list.json()["organizations"][0]["id"],
            json!(tenant.organization)
        );
    }
}

#[tokio::test]
async fn tokens_that_are_no_administrators_are_refused() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("one").await;
    let path = format!("/api/organizations/{organization}");
    let reader = issuer.agent_in(&organization, &["read"]).await;
    let (token, refresh_token) = issuer.tokens(&reader).await;
    issuer
        .bearer(&token, Method::GET, &path, None)
        .await
        .expect_lacking("admin");
    let admin = issuer.agent_in(&organization, &["admin"]).await;
    let (revoked, admin_refresh_token) = issuer.tokens(&admin).await;
    issuer.revoke(&revoked).await;
    for token in [
        &revoked,
        &refresh_token,
        &admin_refresh_token,
        &"mach_nobody".to_owned(),
        &"x.y.z".to_owned(),
    ] {
        issuer
            .bearer(token, Method::GET, &path, None)
            .await
            .expect_error(401, "unauthorized");
    }
    let homeless = issuer.agent(&["admin"]).await;
    let (token, _) = issuer.tokens(&homeless).await;
    issuer
        .bearer(&token, Method::GET, "/api/organizations", None)
        .await
        .expect_error(403, "forbidden");
}

/// I12
#[tokio::test]
async fn whoever_administers_a_team_cannot_make_an_agent_that_administers_more() {
    let issuer = Issuer::start().await;
    let tenant = Tenant::create(&issuer, "acme").await;
    let path = format!("/api/organizations/{}/api-keys", tenant.organization);
    let (team, organization) = (&tenant.team, &tenant.organization);
    let key = json!({ "name": "team", "team_id": team });
    let key = issuer.api_key(organization, key).await;
    let scopes = ["admin", "audit:read", "tokens:introspect"];
    let body = json!({ "name": "ladder", "scopes": scopes });
    let created = issuer.bearer(&key, Method::POST, "/api/agents", Some(body));
    let agent = Agent::read(&created.await);
    let (token, _) = issuer.tokens(&agent).await;
    let new_key = json!({ "name": "mine" });
    for (method, path, body) in [
        (Method::POST, &*path, Some(new_key)),
        (Method::GET, "/api/audit-logs", None),
        (Method::GET, &*path, None),
    ] {
        let answer = issuer.bearer(&token, method, path, body).await;
        answer.expect_error(403, "forbidden");
    }
    let other = issuer.agent_in(organization, &["read"]).await;
    let other_path = format!("/api/agents/{}", other.id);
    let answer = issuer.bearer(&token, Method::GET, &other_path, None).await;
    answer.expect_error(404, "not_found");
    let own_path = format!("/api/agents/{}", agent.id);
    let answer = issuer.bearer(&token, Method::GET, &own_path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// I12
#[tokio::test]
async fn a_teams_credentials_see_and_end_the_tokens_of_the_team_only() {
    let issuer = Issuer::builder()
        .with("INTROSPECTION_AUTH", "required")
        .start()
        .await;
    let tenant = Tenant::create(&issuer, "acme").await;
    let key = json!({ "name": "team", "team_id": tenant.team });
    let key = issuer.api_key(&tenant.organization, key).await;
    let create = async |body| {
        let created = issuer.bearer(&key, Method::POST, "/api/agents", Some(body));
        Agent::read(&created.await)
    };
    let mine = create(json!({ "name": "mine", "scopes": ["read"] })).await;
    let asker = create(json!({ "name": "asker", "scopes": ["tokens:introspect"] })).await;
    let other = issuer.agent_in(&tenant.organization, &["read"]).await;
    let ask = async |path: &str, token: &str| {
        let request = issuer.request(Method::POST, path).bearer_auth(&key);
        Answer::to(request.form(&[("token", token)])).await
    };
    let asked_by_agent = async |token: &str| {
        let form = asker.form(&[("token", token)]);
        issuer.post("/oauth/introspect", &form).await.json()
    };
    let mine = <[String; 2]>::from(issuer.tokens(&mine).await);
    let other = <[String; 2]>::from(issuer.tokens(&other).await);
    for (mine, other) in mine.iter().zip(&other) {
        for (token, expected) in [(mine, true), (other, false)] {
            let introspected = ask("/oauth/introspect", token).await.json();
            assert_eq!(introspected["active"], expected);
            assert_eq!(asked_by_agent(token).await["active"], expected);
        }
        let refused = ask("/oauth/revoke", other).await;
        refused.expect_error(400, "unauthorized_client");
        assert_eq!(ask("/oauth/revoke", mine).await.status, 200);
        assert_eq!(ask("/oauth/introspect", mine).await.json()["active"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_ends_up_in_a_team_that_is_deleted_at_the_same_time() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let teams = format!("/api/organizations/{organization}/teams");
    for n in 0..50 {
        let team = json!({ "name": format!("team {n}") });
        let team = issuer
            .admin(Method::POST, &teams, Some(team))
            .await
            .str("id");
        let agent = json!({
            "name": "a", "scopes": ["read"], "organization_id": organization, "team_id": team,
        });
        let path = format!("{teams}/{team}");
        let (created, deleted) = tokio::join!(
            issuer.admin(Method::POST, "/api/agents", Some(agent)),
            issuer.admin(Method::DELETE, &path, None),
        );
        let (created, deleted) = (created.status.is_success(), deleted.status.is_success());
        assert!(!(created && deleted), "an agent is in a team that is gone");
        let stands = issuer.admin(Method::GET, &path, None).await.status == 200;
        assert_eq!(stands, !deleted);
    }
}
