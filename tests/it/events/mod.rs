//! Nothing happens unseen: what changes something leaves exactly its event, and what changes nothing leaves none.

mod each_route;
mod routes;
mod tokens;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::SystemClock;
use machineauth_issuer::domain::event::{Actor, Event};
use machineauth_issuer::store::EmbeddedStore;
use machineauth_tests::audit::events;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::{ADMIN, Issuer, SERVER_KEY};
use machineauth_tests::process::{Process, free_port};
use reqwest::Method;
use serde_json::json;

use crate::tenancy::Tenant;

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
    clock.advance(Duration::from_secs(11));
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
    let _ = tokio::time::timeout(Duration::from_millis(700), load).await;
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
