//! The documented events fire whoever acts: an administrator, an organization with its API key, an agent itself, a
//! machine client, or a command.

use machineauth_tests::command::Commands;
use machineauth_tests::go_store::GoStore;
use machineauth_tests::http::Answer;
use machineauth_tests::installation::{ADMIN, Installation};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::receiver::{Received, Receiver};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::hook;

const PROGRAM: &str = env!("CARGO_BIN_EXE_issuer");

/// Whether one of these deliveries tells of `event`, by this kind of actor.
fn tells(received: &[Received], event: &str, actor: &str) -> bool {
    received.iter().any(|one| {
        let body = one.json();
        body["event"] == event && body["actor_type"] == actor
    })
}

/// What has to be told: the event, and who did it.
async fn told(receiver: &Receiver, expected: &[(&str, &str)]) -> Vec<Received> {
    let all = |received: &[Received]| {
        let mut expected = expected.iter();
        expected.all(|(event, actor)| tells(received, event, actor))
    };
    receiver.until(all).await
}

#[tokio::test]
async fn an_organization_with_its_key_is_told_of_like_an_administrator() {
    let issuer = Issuer::start().await;
    let receiver = Receiver::start().await;
    let organization = issuer.organization("acme").await;
    let key = issuer
        .api_key(&organization, json!({ "name": "key" }))
        .await;
    hook(&issuer, &receiver, &["*"], json!({})).await;
    let call = async |method: Method, path: &str, body: Value| {
        let answer = issuer.bearer(&key, method, path, Some(body)).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        answer
    };
    let agents = format!("/api/organizations/{organization}/agents");
    let agent = call(Method::POST, &agents, json!({ "name": "a" })).await;
    let id = agent.json()["agent"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/agents/{id}");
    call(Method::PATCH, &path, json!({ "name": "b" })).await;
    call(Method::POST, &format!("{path}/rotate"), json!({})).await;
    call(Method::DELETE, &path, json!({})).await;
    let body = json!({ "name": "w", "url": "http://127.0.0.1:9/", "events": ["login.failed"] });
    let webhook = call(Method::POST, "/api/webhooks", body).await.json();
    let path = format!(
        "/api/webhooks/{}",
        webhook["webhook"]["id"].as_str().unwrap()
    );
    call(Method::PATCH, &path, json!({ "name": "v" })).await;
    call(Method::POST, &format!("{path}/test"), json!({})).await;
    call(Method::DELETE, &path, json!({})).await;
    let events = [
        "agent.created",
        "agent.updated",
        "agent.credentials_rotated",
        "agent.deleted",
        "webhook.created",
        "webhook.updated",
        "webhook.test",
        "webhook.deleted",
    ];
    told(&receiver, &events.map(|event| (event, "api_key"))).await;
}

#[tokio::test]
async fn an_agent_and_a_machine_client_are_told_of_in_what_they_do_themselves() {
    let issuer = Issuer::start().await;
    let receiver = Receiver::start().await;
    hook(&issuer, &receiver, &["*"], json!({})).await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    issuer.introspect(&token).await;
    issuer.introspect("nonsense").await;
    for step in ["deactivate", "reactivate", "rotate", "delete"] {
        let path = format!("/api/agents/me/{step}");
        let done = issuer.bearer(&token, Method::POST, &path, None).await;
        assert!(done.status.is_success(), "{step}: {}", done.text);
    }
    told(
        &receiver,
        &[
            ("token.issued", "agent"),
            ("agent.updated", "agent"),
            ("agent.credentials_rotated", "agent"),
            ("agent.deleted", "agent"),
        ],
    )
    .await;

    let organization = issuer.organization("clinic").await;
    let key = issuer
        .api_key(&organization, json!({ "name": "key" }))
        .await;
    let path = format!("/v1/organizations/{organization}/machine-clients");
    let body = json!({ "name": "ehr", "scopes": ["artifacts:read"] });
    let created = issuer.bearer(&key, Method::POST, &path, Some(body)).await;
    let client = created.json();
    let body = json!({
        "grant_type": "client_credentials",
        "client_id": client["clientId"],
        "client_secret": client["clientSecret"],
    });
    let request = issuer.request(Method::POST, "/v1/oauth/token");
    let token = Answer::to(request.json(&body)).await.str("access_token");
    issuer.introspect(&token).await;
    issuer.revoke(&token).await;
    issuer.introspect(&token).await;
    let path = format!("{path}/{}", client["id"].as_str().unwrap());
    issuer.bearer(&key, Method::DELETE, &path, None).await;
    let of_the_client = |received: &[Received], event: &str| {
        received.iter().any(|one| {
            let body = one.json();
            body["event"] == event && body["organization_id"] == organization.as_str()
        })
    };
    let events = [
        "agent.created",
        "token.issued",
        "token.validation_success",
        "token.validation_failed",
        "agent.deleted",
    ];
    receiver
        .until(|received| events.iter().all(|event| of_the_client(received, event)))
        .await;
}

#[tokio::test]
async fn a_command_is_told_of_whether_the_server_runs_or_not() {
    let place = Installation::embedded(PROGRAM);
    let receiver = Receiver::start().await;
    let server = place.start().await;
    let body = json!({ "name": "w", "url": receiver.url, "events": ["*"] });
    let request = machineauth_tests::http::client().post(format!("{}/api/webhooks", server.base));
    let request = request.basic_auth(ADMIN.0, Some(ADMIN.1)).json(&body);
    assert_eq!(Answer::to(request).await.status, 201);
    let commands = Commands::new(PROGRAM, &server.base)
        .with("ADMIN_EMAIL", ADMIN.0)
        .with("ADMIN_PASSWORD", ADMIN.1);
    let created = commands.json("agent create a").await;
    let id = created["agent"]["id"].as_str().unwrap();
    commands.done(&format!("agent rotate {id} -q")).await;
    commands.done(&format!("agent delete {id} --yes")).await;
    told(
        &receiver,
        &[
            ("agent.created", "administrator"),
            ("agent.credentials_rotated", "administrator"),
            ("agent.deleted", "administrator"),
        ],
    )
    .await;
    assert!(server.terminate().await.status.success());

    let mut store = GoStore::new();
    store.agent(&Uuid::new_v4().to_string(), "a secret", json!({}));
    place.write("old.json", store.text());
    let imported = place.command(&["import", "machineauth-json", "old.json"]);
    assert!(imported.is_success, "{imported:?}");
    let _server = place.start().await;
    let received = told(&receiver, &[("agent.created", "cli")]).await;
    let imported = received.iter().any(|one| one.json()["imported"] == true);
    assert!(imported, "told by the next server");
}
