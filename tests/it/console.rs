//! The Go service's admin console: every call that it makes, sent as a browser sends it, and of every answer what its pages
//! read. What it has in common with the SDKs is in `compatibility.rs`.

use http::HeaderMap;
use machineauth_tests::agent::Agent;
use machineauth_tests::document::is_date;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::receiver::{Receiver, Reply};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// What a page does with a member of an answer.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Shows it.
    Text,
    /// Goes through it and shows each.
    Texts,
    /// Calculates with it.
    Number,
    /// Decides by it.
    Flag,
    /// Makes a date of it.
    Date,
    /// Makes a date of it, or says "never" where there is nothing.
    DateOrNothing,
}

use Kind::{Date, DateOrNothing, Flag, Number, Text, Texts};

const AGENT: &[(&str, Kind)] = &[
    ("id", Text),
    ("name", Text),
    ("description", Text),
    ("client_id", Text),
    ("scopes", Texts),
    ("is_active", Flag),
    ("created_at", Date),
    ("updated_at", Date),
    ("expires_at", DateOrNothing),
    ("token_count", Number),
    ("refresh_count", Number),
    ("last_activity_at", DateOrNothing),
    ("last_token_issued_at", DateOrNothing),
];
const STATISTICS: &[(&str, Kind)] = &[
    ("requests", Number),
    ("tokens_issued", Number),
    ("tokens_refreshed", Number),
    ("tokens_revoked", Number),
    ("active_tokens", Number),
    ("total_agents", Number),
];
const ORGANIZATION: &[(&str, Kind)] = &[
    ("id", Text),
    ("name", Text),
    ("slug", Text),
    ("owner_email", Text),
    ("created_at", Date),
];
const TEAM: &[(&str, Kind)] = &[
    ("id", Text),
    ("name", Text),
    ("description", Text),
    ("created_at", Date),
];
const API_KEY: &[(&str, Kind)] = &[
    ("id", Text),
    ("name", Text),
    ("prefix", Text),
    ("is_active", Flag),
    ("created_at", Date),
];
const WEBHOOK: &[(&str, Kind)] = &[
    ("id", Text),
    ("name", Text),
    ("url", Text),
    ("events", Texts),
    ("is_active", Flag),
    ("max_retries", Number),
    ("retry_backoff_base", Number),
    ("consecutive_fails", Number),
    ("last_tested_at", DateOrNothing),
    ("created_at", Date),
    ("updated_at", Date),
];
const DELIVERY: &[(&str, Kind)] = &[
    ("id", Text),
    ("event", Text),
    ("status", Text),
    ("attempts", Number),
    ("last_attempt_at", DateOrNothing),
    ("last_error", Text),
];
const TEST: &[(&str, Kind)] = &[("success", Flag), ("status_code", Number), ("error", Text)];

/// The events that the console's form offers.
const EVENTS: [&str; 11] = [
    "agent.created",
    "agent.deleted",
    "agent.updated",
    "agent.credentials_rotated",
    "token.issued",
    "token.validation_success",
    "token.validation_failed",
    "webhook.created",
    "webhook.updated",
    "webhook.deleted",
    "webhook.test",
];

#[track_caller]
fn reads(object: &Value, members: &[(&str, Kind)]) {
    for (name, kind) in members {
        let value = &object[name];
        let fits = match kind {
            Text => value.is_string(),
            Texts => value
                .as_array()
                .is_some_and(|texts| texts.iter().all(Value::is_string)),
            Number => value.is_u64(),
            Flag => value.is_boolean(),
            Date => value.as_str().is_some_and(is_date),
            DateOrNothing => value.is_null() || value.as_str().is_some_and(is_date),
        };
        assert!(fits, "{name} is no {kind:?} in {object}");
    }
}

/// The one list of an answer, of which the console reads every element.
#[track_caller]
fn list(answer: &Answer, name: &str, members: &[(&str, Kind)]) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let list = answer.json()[name].as_array().unwrap().clone();
    list.iter().for_each(|element| reads(element, members));
    list
}

/// What axios and the browser add to a request of a script.
fn as_page(request: RequestBuilder) -> RequestBuilder {
    request
        .header("accept", "application/json, text/plain, */*")
        .header("accept-language", "en-US,en;q=0.9")
        .header("referer", "http://localhost:3000/")
        .header("sec-fetch-site", "same-origin")
        .header("sec-fetch-mode", "cors")
        .header("sec-fetch-dest", "empty")
}

/// The console in a browser whose user has logged in.
struct Console {
    issuer: Issuer,
    token: String,
}

impl Console {
    async fn start() -> Self {
        let issuer = Issuer::start().await;
        let login = as_page(issuer.request(Method::POST, "/api/auth/login"))
            .json(&json!({ "username": ADMIN.0, "password": ADMIN.1 }));
        let token = Answer::to(login).await.str("access_token");
        Self { issuer, token }
    }

    /// A call of the administrator. Without a body it has no `Content-Type` either.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_with(&self.token, method, path, body).await
    }

    async fn call_with(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = as_page(self.issuer.request(method, path)).bearer_auth(token);
        Answer::to(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    /// A call of the page with token tools: a form, without any `Authorization`.
    async fn form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        Answer::to(as_page(self.issuer.request(Method::POST, path)).form(form)).await
    }

    async fn create(&self, body: Value) -> Agent {
        let created = self.call(Method::POST, "/api/agents", Some(body)).await;
        assert_eq!(created.status, 201, "{}", created.text);
        reads(&created.json()["agent"], AGENT);
        Agent::read(&created)
    }

    async fn organization(&self, body: Value) -> String {
        let path = "/api/organizations";
        let created = self.call(Method::POST, path, Some(body)).await;
        assert_eq!(created.status, 201, "{}", created.text);
        created.str("id")
    }
}

// Logging in

/// At a challenge for Basic, browsers ask their user for a password and keep the page waiting: before the login, when the
/// login has ended, and at every wrong secret of a client.
#[tokio::test]
async fn a_page_is_refused_without_its_browser_asking_for_a_password() {
    let issuer = Issuer::start().await;
    let wrong = [
        ("grant_type", "client_credentials"),
        ("client_id", "nobody"),
        ("client_secret", "wrong"),
    ];
    let list = || issuer.request(Method::GET, "/api/organizations");
    let token = || issuer.request(Method::POST, "/oauth/token").form(&wrong);
    let challenge = async |request: RequestBuilder| {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
        answer.header("www-authenticate").to_owned()
    };
    // Browsers say what they are only to https and loopback; elsewhere they say less.
    for request in [list(), list().bearer_auth("ended"), token()] {
        let another = || request.try_clone().unwrap();
        for request in [
            as_page(another()),
            another().header("origin", "http://console.example.com"),
            another().header("referer", "http://console.example.com/"),
        ] {
            let challenge = challenge(request).await;
            assert_eq!(challenge, "Bearer realm=\"machineauth\"");
        }
    }
    let login = issuer.request(Method::POST, "/api/auth/login");
    let login = login.json(&json!({ "username": ADMIN.0, "password": "wrong" }));
    let asked = challenge(as_page(login)).await;
    assert_eq!(asked, "Bearer realm=\"machineauth\"");

    // Whoever is no page, as a program on Node, or came with Basic, or typed the address, is asked for Basic as ever.
    for request in [
        list(),
        list().bearer_auth("ended"),
        token(),
        as_page(list()).basic_auth(ADMIN.0, Some("wrong")),
        list().header("sec-fetch-mode", "cors"),
        list()
            .header("sec-fetch-site", "none")
            .header("sec-fetch-mode", "navigate"),
    ] {
        assert!(challenge(request).await.starts_with("Basic "));
    }
}

/// Its answer to any 401 is to end the login, so a refusal of what was asked for is none.
#[tokio::test]
async fn what_cannot_be_done_does_not_log_the_console_out() {
    let console = Console::start().await;
    let organization = json!({ "name": "Acme", "slug": "acme", "owner_email": "" });
    console.organization(organization.clone()).await;
    for (method, path, body, status) in [
        // Where the dashboard's link to a new agent leads.
        (Method::GET, "/api/agents/create", None, 404),
        (
            Method::POST,
            "/api/agents",
            Some(json!({ "name": "a", "scopes": ["two words"] })),
            400,
        ),
        (Method::POST, "/api/organizations", Some(organization), 409),
        (
            Method::POST,
            "/api/webhooks",
            Some(json!({ "name": "a", "url": "ftp://example.com", "events": ["*"] })),
            400,
        ),
    ] {
        let refused = console.call(method, path, body).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.text);
    }
}

// Dashboard and metrics

#[tokio::test]
async fn the_dashboard_and_the_metrics_have_their_numbers() {
    let console = Console::start().await;
    let empty = console.get("/api/agents").await;
    assert_eq!(empty.json()["agents"], json!([]));
    let agent = console
        .create(json!({ "name": "a", "scopes": ["read"] }))
        .await;
    console.issuer.tokens(&agent).await;

    let statistics = console.get("/api/stats").await.json();
    reads(&statistics, STATISTICS);
    assert_eq!(statistics["total_agents"], 1);
    assert_eq!(statistics["tokens_issued"], 1);
    let ready = as_page(console.issuer.request(Method::GET, "/health/ready"));
    let ready = Answer::to(ready).await.json();
    reads(&ready, &[("timestamp", Date), ("agents_count", Number)]);
    assert_eq!(ready["status"], "ok");
}

// Agents

#[tokio::test]
async fn an_agent_is_created_listed_and_shown() {
    let console = Console::start().await;
    let bare = console
        .create(json!({ "name": "bare", "scopes": ["read"] }))
        .await;
    let scopes = json!(["read", "api:access", "data:write", "reports.daily"]);
    let body = json!({ "name": "whole", "description": "what it does", "scopes": scopes });
    let whole = console.create(body).await;
    console.issuer.tokens(&whole).await;

    let listed = list(&console.get("/api/agents").await, "agents", AGENT);
    assert_eq!(listed.len(), 2);
    for agent in [&bare, &whole] {
        let shown = console.get(&format!("/api/agents/{}", agent.id)).await;
        reads(&shown.json()["agent"], AGENT);
        assert!(listed.contains(&shown.json()["agent"]));
    }
    let shown = console.get(&format!("/api/agents/{}", whole.id)).await;
    let shown = &shown.json()["agent"];
    assert_eq!(shown["scopes"], scopes);
    assert_eq!(shown["token_count"], 1);
    reads(shown, &[("last_activity_at", Date)]);
    reads(shown, &[("last_token_issued_at", Date)]);
}

/// It posts to `/deactivate` for its buttons "Reactivate" and "Delete", too.
#[tokio::test]
async fn an_agent_is_rotated_and_deactivated_more_than_once() {
    let console = Console::start().await;
    let agent = console
        .create(json!({ "name": "a", "scopes": ["read"] }))
        .await;
    let path = format!("/api/agents/{}", agent.id);
    let rotated = console
        .call(Method::POST, &format!("{path}/rotate"), None)
        .await;
    assert_eq!(rotated.status, 200);
    let rotated = Agent {
        client_secret: rotated.str("client_secret"),
        ..agent
    };
    assert_eq!(console.issuer.token_answer(&rotated).await.status, 200);
    for _ in 0..2 {
        let deactivated = console
            .call(Method::POST, &format!("{path}/deactivate"), None)
            .await;
        assert_eq!(deactivated.status, 200, "{}", deactivated.text);
        let shown = console.get(&path).await.json();
        reads(&shown["agent"], AGENT);
        assert_eq!(shown["agent"]["is_active"], false);
    }
}

// Organizations

/// A field of its forms that is left empty is sent as an empty text.
#[tokio::test]
async fn an_organization_is_created_with_its_teams() {
    let console = Console::start().await;
    let none = console.get("/api/organizations").await;
    assert_eq!(none.json()["organizations"], json!([]));
    let id = console
        .organization(json!({ "name": "Acme Corp", "slug": "acme-corp", "owner_email": "" }))
        .await;
    console
        .organization(json!({ "name": "Söhne", "slug": "s-hne", "owner_email": "o@example.com" }))
        .await;
    let listed = console.get("/api/organizations").await;
    assert_eq!(list(&listed, "organizations", ORGANIZATION).len(), 2);
    let shown = console.get(&format!("/api/organizations/{id}")).await;
    reads(&shown.json(), ORGANIZATION);
    assert_eq!(shown.json()["owner_email"], "");

    let teams = format!("/api/organizations/{id}/teams");
    assert_eq!(console.get(&teams).await.json()["teams"], json!([]));
    for description in ["", "night shift"] {
        let body = json!({ "name": "Operations", "description": description });
        let created = console.call(Method::POST, &teams, Some(body)).await;
        assert_eq!(created.status, 201, "{}", created.text);
    }
    assert_eq!(list(&console.get(&teams).await, "teams", TEAM).len(), 2);
}

/// The pages of an organization, and those of agents once the console has chosen one.
#[tokio::test]
async fn an_organizations_agents_are_listed_by_themselves() {
    let console = Console::start().await;
    let id = console
        .organization(json!({ "name": "Acme", "slug": "acme", "owner_email": "" }))
        .await;
    let path = format!("/api/organizations/{id}/agents");
    assert_eq!(console.get(&path).await.json()["agents"], json!([]));
    console.issuer.agent_in(&id, &["read"]).await;
    console.issuer.agent(&["read"]).await;
    let listed = list(&console.get(&path).await, "agents", AGENT);
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn an_api_key_is_created_by_its_name_and_revoked() {
    let console = Console::start().await;
    let id = console
        .organization(json!({ "name": "Acme", "slug": "acme", "owner_email": "" }))
        .await;
    let path = format!("/api/organizations/{id}/api-keys");
    assert_eq!(console.get(&path).await.json()["api_keys"], json!([]));
    let body = json!({ "name": "production" });
    let created = console.call(Method::POST, &path, Some(body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let key = created.str("key");
    let listed = list(&console.get(&path).await, "api_keys", API_KEY);
    assert!(key.starts_with(listed[0]["prefix"].as_str().unwrap()));

    let one = format!("{path}/{}", listed[0]["id"].as_str().unwrap());
    let revoked = console.call(Method::DELETE, &one, None).await;
    assert!(revoked.status.is_success(), "{}", revoked.text);
    let listed = list(&console.get(&path).await, "api_keys", API_KEY);
    assert!(listed.iter().all(|key| key["is_active"] == false));
}

// Token tools

/// It always sends a scope; where the user asks for none, an empty one.
#[tokio::test]
async fn a_token_is_generated_introspected_and_revoked() {
    let console = Console::start().await;
    let agent = console
        .create(json!({ "name": "a", "scopes": ["read", "write"] }))
        .await;
    let generate = async |secret: &str, scope: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &*agent.client_id),
            ("client_secret", secret),
            ("scope", scope),
        ];
        console.form("/oauth/token", &form).await
    };
    for (asked, granted) in [("", "read write"), ("read", "read")] {
        let answer = generate(&agent.client_secret, asked).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let members = [
            ("access_token", Text),
            ("token_type", Text),
            ("expires_in", Number),
            ("refresh_token", Text),
        ];
        reads(&answer.json(), &members);
        assert_eq!(answer.str("scope"), granted);
    }
    for (secret, scope, status) in [
        ("wrong", "", 401),
        (agent.client_secret.as_str(), "else", 400),
    ] {
        let refused = generate(secret, scope).await;
        assert_eq!(refused.status, status);
        reads(&refused.json(), &[("error_description", Text)]);
    }

    let answer = generate(&agent.client_secret, "").await;
    let introspect = async |token: &str| {
        let answer = console.form("/oauth/introspect", &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    };
    let (access, refresh) = (answer.str("access_token"), answer.str("refresh_token"));
    let active = introspect(&access).await;
    let members = [
        ("client_id", Text),
        ("scope", Text),
        ("token_type", Text),
        ("exp", Number),
        ("iat", Number),
    ];
    reads(&active, &members);
    assert_eq!(active["active"], true);
    assert_eq!(introspect(&refresh).await["active"], true);
    for token in [&access, &refresh, "no token"] {
        let revoked = console.form("/oauth/revoke", &[("token", token)]).await;
        assert_eq!(revoked.status, 200, "{}", revoked.text);
        assert_eq!(introspect(token).await["active"], false);
    }
}

// Webhooks

#[tokio::test]
async fn a_webhook_is_created_edited_switched_and_deleted() {
    let console = Console::start().await;
    let path = "/api/webhooks";
    assert_eq!(console.get(path).await.json()["webhooks"], json!([]));
    // A number of retries that its form takes for none, 0 among them, is left out.
    for more in [
        json!({}),
        json!({ "max_retries": 20, "retry_backoff_base": 60 }),
    ] {
        let mut body = json!({ "name": "a", "url": "https://example.com/", "events": EVENTS });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let created = console.call(Method::POST, path, Some(body)).await;
        assert_eq!(created.status, 201, "{}", created.text);
        reads(&created.json()["webhook"], WEBHOOK);
        reads(&created.json(), &[("secret", Text)]);
    }
    let listed = list(&console.get(path).await, "webhooks", WEBHOOK);
    let one = format!("{path}/{}", listed[0]["id"].as_str().unwrap());
    let whole = json!({
        "name": "renamed",
        "url": "https://example.com/hooks",
        "events": ["token.issued"],
        "max_retries": 0,
        "retry_backoff_base": 1,
    });
    for change in [
        json!({ "is_active": false }),
        json!({ "is_active": true }),
        whole,
    ] {
        let changed = console.call(Method::PUT, &one, Some(change.clone())).await;
        assert_eq!(changed.status, 200, "{change}: {}", changed.text);
        let shown = console.get(&one).await.json();
        for webhook in [&changed.json()["webhook"], &shown["webhook"]] {
            reads(webhook, WEBHOOK);
            for (name, value) in change.as_object().unwrap() {
                assert_eq!(&webhook[name], value, "{name}");
            }
        }
    }
    let deleted = console.call(Method::DELETE, &one, None).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(
        list(&console.get(path).await, "webhooks", WEBHOOK).len(),
        listed.len() - 1
    );
}

/// One of the events that it offers for tests has a name that it offers nowhere else.
#[tokio::test]
async fn a_webhook_is_tested_with_every_event_on_offer() {
    let console = Console::start().await;
    let receiver = Receiver::that(|received| {
        let is_refused = received.body.starts_with(b"refuse");
        Reply::status(if is_refused { 500 } else { 200 })
    })
    .await;
    let body = json!({ "name": "a", "url": receiver.url, "events": ["agent.deleted"] });
    let created = console
        .call(Method::POST, "/api/webhooks", Some(body))
        .await;
    let id = created.json()["webhook"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/webhooks/{id}");
    let test = async |body: Value| {
        let answer = console
            .call(Method::POST, &format!("{path}/test"), Some(body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        reads(&answer.json(), TEST);
        answer.json()
    };
    for (offered, sent) in [
        ("webhook.test", "webhook.test"),
        ("agent.created", "agent.created"),
        ("agent.deleted", "agent.deleted"),
        ("token.issued", "token.issued"),
        ("agent.rotated", "agent.credentials_rotated"),
    ] {
        let tested = test(json!({ "event": offered })).await;
        assert_eq!(tested["success"], true, "{offered}");
        assert_eq!(tested["status_code"], 200, "{offered}");
        let received = receiver.received();
        let last = received.last().unwrap();
        assert_eq!(last.header("x-webhook-event"), sent);
    }
    for payload in ["{\"key\": \"value\"}", "no JSON"] {
        test(json!({ "event": "webhook.test", "payload": payload })).await;
        assert_eq!(receiver.received().last().unwrap().body, payload);
    }
    let failed = test(json!({ "event": "webhook.test", "payload": "refuse" })).await;
    assert_eq!(failed["success"], false);
    assert_eq!(failed["status_code"], 500);

    let deliveries = console.get(&format!("{path}/deliveries")).await;
    let deliveries = list(&deliveries, "deliveries", DELIVERY);
    assert_eq!(deliveries.len(), 8);
    for delivery in &deliveries {
        let status = delivery["status"].as_str().unwrap();
        let shown = ["pending", "retrying", "delivered", "failed", "dead"];
        assert!(shown.contains(&status), "{status}");
        reads(delivery, &[("last_attempt_at", Date)]);
    }
    let shown = console.get(&path).await.json();
    reads(&shown["webhook"], &[("last_tested_at", Date)]);
}

// My account

/// With the token of an agent in the place of the administrator's.
#[tokio::test]
async fn an_agent_finds_its_account() {
    let console = Console::start().await;
    let agent = console
        .create(json!({ "name": "a", "scopes": ["read"] }))
        .await;
    let (token, _) = console.issuer.tokens(&agent).await;
    let call = async |method: Method, path: &str| {
        let body = (method == Method::POST).then(|| json!({}));
        let path = format!("/api/agents/me/{path}");
        console.call_with(&token, method, &path, body).await
    };
    let rotations = async || {
        let usage = call(Method::GET, "usage").await.json();
        reads(&usage["agent"], AGENT);
        let members = [
            ("token_count", Number),
            ("refresh_count", Number),
            ("last_activity_at", Date),
            ("last_token_issued_at", Date),
        ];
        reads(&usage, &members);
        usage["rotation_history"].as_array().unwrap().clone()
    };
    assert_eq!(rotations().await, [Value::Null; 0]);
    let rotated = call(Method::POST, "rotate").await;
    reads(&rotated.json(), &[("client_secret", Text)]);
    reads(&rotations().await[0], &[("rotated_at", Date)]);
    for action in ["deactivate", "reactivate"] {
        assert_eq!(call(Method::POST, action).await.status, 200, "{action}");
    }
    assert_eq!(call(Method::DELETE, "delete").await.status, 204);
}

// On another origin

/// Served elsewhere, it asks before every call, and reads the answers, those to wrong calls included.
#[tokio::test]
async fn the_console_may_be_served_from_another_origin() {
    let console = Console::start().await;
    let origin = "http://localhost:3000";
    let is_allowed = |headers: &HeaderMap| {
        let allowed = headers.get("access-control-allow-origin");
        allowed.is_some_and(|allowed| allowed == origin)
    };
    for (method, path) in [
        ("GET", "/api/stats"),
        ("PUT", "/api/webhooks/any"),
        ("DELETE", "/api/webhooks/any"),
        ("POST", "/api/agents/any/rotate"),
    ] {
        let asked = console
            .issuer
            .request(Method::OPTIONS, path)
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            );
        let answer = Answer::to(asked).await;
        assert!(answer.status.is_success() && is_allowed(&answer.headers));
        assert!(
            answer
                .header("access-control-allow-methods")
                .contains(method)
        );
        for name in ["authorization", "content-type"] {
            assert!(answer.header("access-control-allow-headers").contains(name));
        }
    }
    for request in [
        console.issuer.request(Method::GET, "/health/ready"),
        console.issuer.request(Method::GET, "/api/agents"),
        console.issuer.request(Method::POST, "/oauth/token"),
    ] {
        let answer = Answer::to(as_page(request).header("origin", origin)).await;
        assert!(is_allowed(&answer.headers), "{}", answer.text);
    }
}
