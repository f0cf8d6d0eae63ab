//! Nothing happens unseen: what changes something leaves exactly its event, and what changes nothing leaves none.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use machineauth_core::clock::SystemClock;
use machineauth_issuer::domain::event::{Action, Actor, Demand, Event};
use machineauth_issuer::store::EmbeddedStore;
use machineauth_tests::audit::events;
use machineauth_tests::description::operations;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::{ADMIN, Issuer, SERVER_KEY};
use machineauth_tests::process::{Process, free_port};
use reqwest::Method;
use serde_json::{Value, json};

use crate::tenancy::Tenant;

/// Who calls a route in this test.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
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

type Case = (
    Method,
    &'static str,
    Option<Value>,
    &'static [Who],
    &'static [&'static str],
);

/// Every route that can change something, with a body that is accepted, who may, and what it leaves.
fn routes() -> Vec<Case> {
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
            &[],
        ),
        (
            post.clone(),
            "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
            None,
            ADMINISTRATORS,
            &[],
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

/// A tenant and what the placeholders of a case stand for.
struct Stage<'a> {
    issuer: &'a Issuer,
    tenant: Tenant,
    placeholders: Vec<(&'static str, String)>,
}

impl<'a> Stage<'a> {
    async fn set(issuer: &'a Issuer, n: usize, template: &str) -> Self {
        let tenant = Tenant::create(issuer, &format!("tenant-{n}")).await;
        let agent = issuer.agent_in(&tenant.organization, &["read"]).await;
        let (token, refresh_token) = issuer.tokens(&agent).await;
        let mut placeholders = vec![
            ("{token}", token),
            ("{refresh_token}", refresh_token),
            ("{client_secret}", agent.client_secret.clone()),
            ("{slug}", format!("new-{n}")),
        ];
        if template.starts_with("/oauth") || template.starts_with("/v1/oauth") {
            placeholders.push(("{client_id}", agent.client_id));
        } else {
            issuer
                .admin(Method::DELETE, &format!("/api/agents/{}", agent.id), None)
                .await;
        }
        if template.contains("{kid}") {
            let made = issuer.admin(Method::POST, "/api/keys/rotate", None).await;
            let kid = made.json()["key"]["kid"].as_str().unwrap().to_owned();
            placeholders.push(("{kid}", kid));
        }
        if template.contains("/sessions") {
            placeholders.extend(session(issuer).await);
        } else if template.contains("/administrators") || template.contains("/invitation") {
            placeholders.extend(administrator(issuer, n).await);
        }
        if template == "/api/agents/me/reactivate" {
            let token = &tenant.credentials[1];
            let path = "/api/agents/me/deactivate";
            issuer.bearer(token, Method::POST, path, None).await;
        }
        Self {
            issuer,
            tenant,
            placeholders,
        }
    }

    fn fill(&self, text: &str) -> String {
        let text = self
            .placeholders
            .iter()
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(name, value)
            });
        self.tenant.path(&text)
    }

    async fn call(&self, who: Who, (method, template, body, ..): &Case) -> Answer {
        let request = self
            .issuer
            .request(method.clone(), &self.fill(template))
            .header("user-agent", "a test/1");
        let request = match who {
            Administrator => request.basic_auth(ADMIN.0, Some(ADMIN.1)),
            ApiKey => request.bearer_auth(&self.tenant.credentials[0]),
            Agent => request.bearer_auth(&self.tenant.credentials[1]),
            Nobody => request,
        };
        Answer::to(match body {
            None => request,
            Some(body) => {
                let body: Value = serde_json::from_str(&self.fill(&body.to_string())).unwrap();
                request.json(&body)
            }
        })
        .await
    }
}

/// A session of the administrator who calls.
async fn session(issuer: &Issuer) -> [(&'static str, String); 2] {
    let body = json!({ "username": ADMIN.0, "password": ADMIN.1 });
    let login = issuer.request(Method::POST, "/api/auth/login").json(&body);
    let token = Answer::to(login).await.str("access_token");
    let get = async |path| issuer.bearer(&token, Method::GET, path, None).await.json();
    let (me, list) = (get("/api/auth/me").await, get("/api/auth/sessions").await);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    [
        ("{administrator_id}", text(&me["user"]["id"])),
        ("{session_id}", text(&list["sessions"][0]["id"])),
    ]
}

/// Somebody who was invited and joined, and somebody who has not yet.
async fn administrator(issuer: &Issuer, n: usize) -> [(&'static str, String); 3] {
    let invite = async |email: String| {
        let body = json!({ "email": email, "role": "admin" });
        let path = "/api/administrators/invitations";
        issuer.admin(Method::POST, path, Some(body)).await
    };
    let invited = invite(format!("joined-{n}@example.com")).await;
    let body = json!({ "token": invited.str("token"), "password": "correct horse battery" });
    let request = issuer.request(Method::POST, "/api/auth/invitation");
    let joined = Answer::to(request.json(&body)).await;
    let waiting = invite(format!("waiting-{n}@example.com")).await;
    let id = waiting.json()["invitation"]["id"].clone();
    [
        ("{administrator_id}", joined.str("id")),
        ("{invitation_id}", id.as_str().unwrap().to_owned()),
        ("{invitation}", waiting.str("token")),
    ]
}

/// The events that are new since `before`, in the order of their names. Not that the server made itself a key that was
/// due, which it does in its own time, whatever is asked meanwhile.
async fn news(issuer: &Issuer, before: &[Event]) -> Vec<Event> {
    let is_upkeep =
        |event: &Event| event.actor == Actor::System && event.action == "signing_key.created";
    let mut news = events(&*issuer.app.store).await;
    news.retain(|event| !is_upkeep(event) && !before.iter().any(|old| old.id == event.id));
    news.sort_by(|one, other| one.action.cmp(&other.action));
    news
}

fn check(event: &Event, who: Who, stage: &Stage<'_>, answer: &Answer) {
    let is_right = match who {
        Administrator => {
            event.actor
                == Actor::Administrator {
                    email: ADMIN.0.into(),
                }
        }
        ApiKey => matches!(event.actor, Actor::ApiKey { .. }),
        Agent => matches!(event.actor, Actor::Agent { .. }),
        Nobody => matches!(event.actor, Actor::Anonymous | Actor::Administrator { .. }),
    };
    assert!(is_right, "{event:?} by {who:?}");
    assert_eq!(
        event.address,
        Some("127.0.0.1".parse().unwrap()),
        "{event:?}"
    );
    assert_eq!(
        event.user_agent.as_ref().map(|agent| agent.as_str()),
        Some("a test/1"),
        "{event:?}"
    );
    assert_eq!(
        event.request_id.as_deref(),
        Some(answer.header("x-request-id")),
        "{event:?}"
    );
    let action = Action::find(&event.action).expect("an action of ours");
    assert_eq!(event.outcome, action.outcome());
    let is_the_servers = [
        "signing_key.",
        "login.",
        "organization.created",
        "administrator.",
    ]
    .map(|kind| event.action.starts_with(kind));
    if !is_the_servers.contains(&true) && who != Administrator {
        let organization = event.organization_id.map(|id| id.to_string());
        assert_eq!(
            organization.as_ref(),
            Some(&stage.tenant.organization),
            "{event:?}"
        );
    }
    if event.action.starts_with("agent.") {
        let target = event.target.as_ref().map(|target| target.id.clone());
        assert_eq!(target, event.agent_id.map(|id| id.to_string()), "{event:?}");
    }
}

#[tokio::test]
async fn every_route_leaves_exactly_its_events() {
    let issuer = Issuer::start().await;
    let mut n = 0;
    for case in routes() {
        let (method, template, _, callers, expected) = &case;
        for who in *callers {
            n += 1;
            let stage = Stage::set(&issuer, n, template).await;
            let before = events(&*issuer.app.store).await;
            let answer = stage.call(*who, &case).await;
            assert!(
                answer.status.is_success(),
                "{method} {template}: {}",
                answer.text
            );
            let news = news(&issuer, &before).await;
            let mut names: Vec<_> = news.iter().map(|event| event.action.as_ref()).collect();
            names.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(names, expected, "{method} {template} by {who:?}");
            for event in &news {
                check(event, *who, &stage, &answer);
            }
        }
    }
}

#[tokio::test]
async fn what_is_refused_leaves_no_event() {
    let issuer = Issuer::start().await;
    let tenant = Tenant::create(&issuer, "one").await;
    issuer.organization("taken").await;
    let before = events(&*issuer.app.store).await;
    let agent = tenant.path("/api/agents/{id}");
    let organization = tenant.path("/api/organizations/{organization_id}");
    for (method, path, body, status) in [
        (Method::PATCH, agent.clone(), json!({ "name": "" }), 400),
        (
            Method::POST,
            format!("{agent}/rotate"),
            json!({ "grace": 99_999_999 }),
            400,
        ),
        (Method::PATCH, organization, json!({ "slug": "taken" }), 409),
        (
            Method::POST,
            "/api/organizations".to_owned(),
            json!({ "name": "n", "slug": "taken" }),
            409,
        ),
        (
            Method::DELETE,
            "/api/keys/nobody".to_owned(),
            json!({}),
            404,
        ),
    ] {
        let answer = issuer.admin(method, &path, Some(body)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
    let outdated = issuer
        .request(Method::PATCH, &agent)
        .basic_auth(ADMIN.0, Some(ADMIN.1))
        .header("if-match", "\"outdated\"")
        .json(&json!({ "name": "new" }));
    assert_eq!(Answer::to(outdated).await.status, 412);
    assert_eq!(news(&issuer, &before).await, []);
}

#[tokio::test]
async fn of_racing_changes_only_the_winners_leave_events() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let path = format!("/api/agents/{}", agent.id);
    let tag = issuer.admin(Method::GET, &path, None).await;
    let tag = tag.header("etag").to_owned();
    let before = events(&*issuer.app.store).await;
    let change = |n: usize| {
        let request = issuer
            .request(Method::PATCH, &path)
            .basic_auth(ADMIN.0, Some(ADMIN.1))
            .header("if-match", &tag)
            .json(&json!({ "name": format!("name {n}") }));
        Answer::to(request)
    };
    let answers = futures_util::future::join_all((0..16).map(change)).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    let news = news(&issuer, &before).await;
    assert_eq!(news.len(), 1, "{news:?}");
    let deletions = (0..8).map(|_| issuer.admin(Method::DELETE, &path, None));
    futures_util::future::join_all(deletions).await;
    let deleted = events(&*issuer.app.store).await;
    let deleted = deleted
        .iter()
        .filter(|event| event.action == "agent.deleted");
    assert_eq!(deleted.count(), 1);
}

/// I9
#[tokio::test]
async fn a_stolen_refresh_token_leaves_a_trace() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, refresh_token) = issuer.tokens(&agent).await;
    assert_eq!(issuer.refresh(&agent, &refresh_token).await.status, 200);
    clock.advance(std::time::Duration::from_secs(11));
    let before = events(&*issuer.app.store).await;
    issuer
        .refresh(&agent, &refresh_token)
        .await
        .expect_error(400, "invalid_grant");
    issuer
        .refresh(&agent, &refresh_token)
        .await
        .expect_error(400, "invalid_grant");
    let news = news(&issuer, &before).await;
    assert_eq!(news.len(), 1, "{news:?}");
    assert_eq!(news[0].action, "token.refresh_reused");
    assert_eq!(news[0].agent_id.unwrap().to_string(), agent.id);
}

/// I18
#[tokio::test]
async fn a_crash_leaves_neither_a_change_without_its_event_nor_an_event_without_its_change() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let port_text = port.to_string();
    let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
    let variables = [("PORT", port_text.as_str()), ("SERVER_KEY", SERVER_KEY)];
    let process = Process::start(program, directory.path(), port, &variables, &[]).await;
    let client = http::client();
    let create = |n: usize| {
        let request = client
            .post(format!("{}/api/agents", process.base))
            .basic_auth(ADMIN.0, Some(ADMIN.1))
            .json(&json!({ "name": format!("agent {n}") }));
        Answer::try_to(request)
    };
    let mut acknowledged = BTreeSet::new();
    let load = async {
        for n in 0.. {
            let answers = futures_util::future::join_all((0..8).map(|i| create(8 * n + i))).await;
            for answer in answers.into_iter().flatten() {
                acknowledged.insert(answer.json()["agent"]["id"].as_str().unwrap().to_owned());
            }
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(700), load).await;
    process.kill().await;

    let file = directory.path().join("machineauth.redb");
    let store = EmbeddedStore::open(&file, Arc::new(SystemClock))
        .await
        .unwrap();
    let issuer = Issuer::builder().store(Arc::new(store)).start().await;
    let mut there = BTreeSet::new();
    let mut path = "/api/agents".to_owned();
    loop {
        let list = issuer.admin(Method::GET, &path, None).await.json();
        let agents = list["agents"].as_array().unwrap().clone();
        let ids = agents
            .iter()
            .map(|agent| agent["id"].as_str().unwrap().to_owned());
        there.extend(ids);
        match list["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/agents?cursor={cursor}"),
            None => break,
        }
    }
    let recorded: Vec<_> = events(&*issuer.app.store)
        .await
        .into_iter()
        .filter(|event| event.action == "agent.created")
        .map(|event| event.agent_id.unwrap().to_string())
        .collect();
    assert!(!acknowledged.is_empty());
    assert!(
        there.is_superset(&acknowledged),
        "nothing acknowledged is lost"
    );
    assert_eq!(recorded.len(), there.len(), "each once");
    assert_eq!(recorded.into_iter().collect::<BTreeSet<_>>(), there);
}

#[tokio::test]
async fn each_token_has_its_event_where_that_is_wanted() {
    let issuer = Issuer::builder()
        .with("AUDIT_TOKEN_EVENTS", "each")
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    let before = events(&*issuer.app.store).await;
    let (token, refresh_token) = issuer.tokens(&agent).await;
    issuer.refresh(&agent, &refresh_token).await;
    issuer.introspect(&token).await;
    issuer.revoke(&token).await;
    issuer.introspect(&token).await;
    issuer.introspect("nonsense").await;
    let news = news(&issuer, &before).await;
    let names: Vec<_> = news.iter().map(|event| event.action.as_ref()).collect();
    let expected = [
        "token.issued",
        "token.issued",
        "token.revoked",
        "token.validation_failed",
        "token.validation_success",
    ];
    assert_eq!(names, expected);
    for event in &news {
        assert_eq!(event.agent_id.unwrap().to_string(), agent.id);
        assert!(event.address.is_some() && event.request_id.is_some());
    }
    assert_eq!(news[3].reason.as_deref(), Some("revoked"));
    let grants: BTreeSet<_> = news[..2]
        .iter()
        .map(|event| event.details["grant"].as_str())
        .collect();
    assert_eq!(
        grants,
        [Some("client_credentials"), Some("refresh_token")].into()
    );
}

#[tokio::test]
async fn tokens_are_summed_up_by_agent_and_minute() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let organization = issuer.organization("one").await;
    let agents = [
        issuer.agent(&["read"]).await,
        issuer.agent_in(&organization, &[]).await,
    ];
    let before = events(&*issuer.app.store).await;
    for _ in 0..5 {
        for agent in &agents {
            let (token, _) = issuer.tokens(agent).await;
            issuer.introspect(&token).await;
        }
    }
    assert_eq!(news(&issuer, &before).await, [], "the minute is not over");
    clock.advance(std::time::Duration::from_secs(61));
    let news = async {
        loop {
            let news = news(&issuer, &before).await;
            if news.len() >= 4 {
                return news;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let news = tokio::time::timeout(std::time::Duration::from_secs(20), news)
        .await
        .unwrap();
    assert_eq!(news.len(), 4, "{news:?}");
    for agent in &agents {
        let of_it: Vec<_> = news
            .iter()
            .filter(|event| event.agent_id.unwrap().to_string() == agent.id)
            .map(|event| {
                (
                    event.action.as_ref(),
                    event.details["count"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            of_it,
            [("token.issued", 5), ("token.validation_success", 5)]
        );
    }
    let of_the_organization = news.iter().filter(|event| event.organization_id.is_some());
    assert_eq!(of_the_organization.count(), 2);
    let usage = issuer
        .admin(Method::GET, &format!("/api/agents/{}", agents[0].id), None)
        .await;
    assert_eq!(
        usage.json()["agent"]["token_count"],
        5,
        "counters are never summed up late"
    );
}

#[tokio::test]
async fn whoever_wants_each_token_of_an_organization_gets_them() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("one").await;
    let agents = [
        issuer.agent(&["read"]).await,
        issuer.agent_in(&organization, &[]).await,
    ];
    let demand = Demand {
        each_of: [organization.parse().unwrap()].into(),
        ..Demand::default()
    };
    issuer.app.recorder.demand(demand);
    let before = events(&*issuer.app.store).await;
    for agent in &agents {
        issuer.tokens(agent).await;
    }
    let news = news(&issuer, &before).await;
    assert_eq!(news.len(), 1, "{news:?}");
    assert_eq!(news[0].organization_id.unwrap().to_string(), organization);
}

/// I6
#[tokio::test]
async fn strangers_cannot_fill_the_store() {
    let issuer = Issuer::builder().with("FAILURE_LIMIT", "5").start().await;
    let agent = issuer.agent(&["read"]).await;
    let before = events(&*issuer.app.store).await;
    for n in 0..400 {
        let client = format!("00000000-0000-4000-8000-{n:012}");
        let form = [("client_id", &*client), ("client_secret", "wrong")];
        issuer
            .post(
                "/oauth/token",
                &[("grant_type", "client_credentials"), form[0], form[1]],
            )
            .await;
    }
    let wrong = [("client_id", &*agent.client_id), ("client_secret", "wrong")];
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        issuer
            .post(path, &[("token", "x"), wrong[0], wrong[1]])
            .await;
    }
    issuer
        .bearer("mach_nobody", Method::GET, "/api/agents", None)
        .await;
    let login = json!({ "username": "mach_in_the_wrong_place", "password": "x" });
    let login = issuer.request(Method::POST, "/api/auth/login").json(&login);
    Answer::to(login).await;
    issuer.app.recorder.flush().await.unwrap();
    let news = news(&issuer, &before).await;
    assert!((200..260).contains(&news.len()), "{} entries", news.len());
    let total: u64 = news
        .iter()
        .map(|event| event.details["count"].as_u64().unwrap())
        .sum();
    assert_eq!(total, 404, "each is counted");
    assert!(news.iter().any(|event| event.action == "limit.locked_out"));
    for event in &news {
        let text = String::from_utf8(event.encode().to_vec()).unwrap();
        assert!(!text.contains("mach_"), "{text}");
    }
    issuer.app.recorder.flush().await.unwrap();
    assert_eq!(
        events(&*issuer.app.store).await.len(),
        before.len() + news.len()
    );
}

#[tokio::test]
async fn a_wrong_secret_of_an_agent_is_its_organizations_business() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("one").await;
    let agent = issuer.agent_in(&organization, &["read"]).await;
    let before = events(&*issuer.app.store).await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &agent.client_id),
        ("client_secret", "cs_wrong"),
    ];
    issuer
        .post("/oauth/token", &form)
        .await
        .expect_error(401, "invalid_client");
    issuer.app.recorder.flush().await.unwrap();
    let news = news(&issuer, &before).await;
    assert_eq!(news.len(), 1, "{news:?}");
    assert_eq!(news[0].action, "authentication.failed");
    assert_eq!(news[0].organization_id.unwrap().to_string(), organization);
    assert_eq!(news[0].agent_id.unwrap().to_string(), agent.id);
    assert_eq!(news[0].details["method"], "client_secret");
}
