//! Each route, called by each who may.

use machineauth_issuer::domain::event::{Action, Actor, Event};
use machineauth_tests::audit::events;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::{Value, json};

use super::news;
use super::routes::Who::{self, Administrator, Agent, ApiKey, Nobody};
use super::routes::{Case, routes};
use crate::tenancy::Tenant;

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
