//! What the plan of an organization allows.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use machineauth_core::clock::{ManualClock, SystemClock, Timestamp};
use machineauth_issuer::domain::id::OrganizationId;
use machineauth_issuer::store::{DynStore, EmbeddedStore, MemoryStore};
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::{Value, json};

async fn create(issuer: &Issuer, organization: &str) -> Answer {
    let path = format!("/api/organizations/{organization}/agents");
    let body = json!({ "name": "a", "scopes": ["read"] });
    issuer.admin(Method::POST, &path, Some(body)).await
}

async fn set_plan(issuer: &Issuer, organization: &str, plan: &str) {
    let path = format!("/api/organizations/{organization}");
    let change = json!({ "plan": plan });
    let changed = issuer.admin(Method::PATCH, &path, Some(change)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
}

async fn count(issuer: &Issuer, organization: &str) -> Value {
    let path = format!("/api/organizations/{organization}/agents?page=1&limit=100");
    let list = issuer.admin(Method::GET, &path, None).await.json();
    list["pagination"]["total"].clone()
}

#[tokio::test]
async fn an_organization_has_as_many_agents_as_its_plan_allows() {
    let issuer = Issuer::builder()
        .with("PLAN_FREE", "agents=2")
        .start()
        .await;
    let acme = issuer.organization("acme").await;
    let other = issuer.organization("other").await;
    let first = create(&issuer, &acme).await;
    assert_eq!(first.status, 201, "{}", first.text);
    // A machine client is an agent, too, whoever creates it.
    let key = issuer.api_key(&acme, json!({ "name": "key" })).await;
    let machines = format!("/v1/organizations/{acme}/machine-clients");
    let machine = json!({ "name": "m" });
    let second = issuer
        .bearer(&key, Method::POST, &machines, Some(machine.clone()))
        .await;
    assert_eq!(second.status, 201, "{}", second.text);
    let third = create(&issuer, &acme).await;
    third.expect_error(409, "quota_exceeded");
    assert!(
        third
            .str("message")
            .contains("free plan has at most 2 agents"),
        "{}",
        third.text
    );
    issuer
        .bearer(&key, Method::POST, &machines, Some(machine))
        .await
        .expect_error(409, "quota_exceeded");
    assert_eq!(create(&issuer, &other).await.status, 201);
    for _ in 0..3 {
        issuer.agent(&["read"]).await;
    }

    // One that is inactive keeps its place, one that is deleted does not.
    let id = Agent::read(&first).id;
    let deactivate = format!("/api/agents/{id}/deactivate");
    issuer.admin(Method::POST, &deactivate, None).await;
    create(&issuer, &acme)
        .await
        .expect_error(409, "quota_exceeded");
    let agent = format!("/api/agents/{id}");
    issuer.admin(Method::DELETE, &agent, None).await;
    assert_eq!(create(&issuer, &acme).await.status, 201);
}

#[tokio::test]
async fn a_change_of_plan_is_effective_at_once_and_takes_no_agent_away() {
    let issuer = Issuer::builder()
        .with("PLAN_FREE", "agents=1")
        .with("PLAN_PRO", "agents=3,tokens_per_second=0")
        .start()
        .await;
    let acme = issuer.organization("acme").await;
    let expect = async |plan: &str, statuses: &[u16]| {
        set_plan(&issuer, &acme, plan).await;
        for status in statuses {
            let created = create(&issuer, &acme).await;
            assert_eq!(created.status, *status, "{plan}: {}", created.text);
        }
    };
    expect("free", &[201, 409]).await;
    expect("pro", &[201, 201, 409]).await;
    expect("enterprise", &[201, 201]).await;
    expect("free", &[409]).await;
    assert_eq!(count(&issuer, &acme).await, 5);
}

#[tokio::test]
async fn a_crowd_that_creates_agents_at_several_issuers_gets_exactly_what_the_plan_allows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    // This store lets others go on while it writes; the one in memory does not.
    let store = EmbeddedStore::open(&path, Arc::new(SystemClock))
        .await
        .unwrap();
    let store: DynStore = Arc::new(store);
    let start = async || {
        let builder = Issuer::builder().store(Arc::clone(&store));
        builder.with("PLAN_FREE", "agents=10").start().await
    };
    let issuers = [start().await, start().await, start().await];
    let one = &issuers[0];
    let acme = one.organization("acme").await;
    let creations = (0..60).map(|at| create(&issuers[at % issuers.len()], &acme));
    let answers = join_all(creations).await;
    let created = answers.iter().filter(|answer| answer.status == 201);
    assert_eq!(created.count(), 10);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        refused.expect_error(409, "quota_exceeded");
    }
    assert_eq!(count(one, &acme).await, 10);
}

#[tokio::test]
async fn an_organization_that_is_gone_leaves_no_row_of_its_places() {
    let issuer = Issuer::builder()
        .with("PLAN_FREE", "agents=2")
        .start()
        .await;
    let acme = issuer.organization("acme").await;
    assert_eq!(create(&issuer, &acme).await.status, 201);
    let path = format!("/api/organizations/{acme}");
    issuer.admin(Method::DELETE, &path, None).await;
    let home = acme.parse::<OrganizationId>().unwrap().partition();
    let places = home.key("agent_seats");
    let rows = issuer.app.store.scan(&places, None, 10).await;
    assert!(rows.unwrap().is_empty());
}

async fn fixed(variables: &[(&str, &str)]) -> (Issuer, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let mut builder = Issuer::builder().clock(&clock);
    for (name, value) in variables {
        builder = builder.with(name, value);
    }
    (builder.start().await, clock)
}

#[tokio::test]
async fn an_organization_gets_as_many_tokens_per_second_as_its_plan_allows() {
    let (issuer, clock) = fixed(&[("PLAN_FREE", "tokens_per_second=2")]).await;
    let (acme, other) = (
        issuer.organization("acme").await,
        issuer.organization("other").await,
    );
    let first = issuer.agent_in(&acme, &["read"]).await;
    let second = issuer.agent_in(&acme, &["read"]).await;
    let stranger = issuer.agent_in(&other, &["read"]).await;
    let of_nobody = issuer.agent(&["read"]).await;
    // Twice the rate at once, whichever of its agents asks; what is refused for another reason does not count.
    let wrong = Agent {
        client_secret: "wrong".to_owned(),
        ..first.clone()
    };
    for _ in 0..5 {
        issuer
            .token_answer(&wrong)
            .await
            .expect_error(401, "invalid_client");
    }
    let (_, refresh_token) = issuer.tokens(&first).await;
    for _ in 0..2 {
        assert_eq!(issuer.token_answer(&second).await.status, 200);
    }
    let refreshed = issuer.refresh(&first, &refresh_token).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    let refresh_token = refreshed.str("refresh_token");
    for agent in [&first, &second] {
        let refused = issuer.token_answer(agent).await;
        refused.expect_error(429, "too_many_requests");
        assert_eq!(refused.header("retry-after"), "1");
    }
    issuer
        .refresh(&first, &refresh_token)
        .await
        .expect_error(429, "too_many_requests");
    // Whoever does not know the secret does not learn that the organization is busy (I3).
    issuer
        .token_answer(&wrong)
        .await
        .expect_error(401, "invalid_client");
    for agent in [&stranger, &of_nobody] {
        assert_eq!(issuer.token_answer(agent).await.status, 200);
    }
    clock.advance(Duration::from_millis(500));
    // The refresh token was not redeemed by the request that was refused.
    assert_eq!(issuer.refresh(&first, &refresh_token).await.status, 200);
    issuer
        .token_answer(&first)
        .await
        .expect_error(429, "too_many_requests");
    let scraped = issuer
        .request(Method::GET, "/metrics")
        .header("accept", "text/plain");
    let metrics = Answer::to(scraped).await.text;
    assert!(
        metrics.contains("machineauth_rate_limited_total 4\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn another_plan_means_another_rate_at_once_at_every_issuer() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
    let start = async || {
        Issuer::builder()
            .clock(&clock)
            .store(Arc::clone(&store))
            .with("PLAN_FREE", "tokens_per_second=1")
            .with("PLAN_PRO", "tokens_per_second=3")
            .start()
            .await
    };
    let (here, there) = (start().await, start().await);
    let acme = here.organization("acme").await;
    let agent = here.agent_in(&acme, &["read"]).await;
    let granted = async |issuer: &Issuer| {
        let mut granted = 0;
        while issuer.token_answer(&agent).await.status == 200 {
            granted += 1;
            assert!(granted < 100, "no end of it");
        }
        granted
    };
    assert_eq!((granted(&here).await, granted(&there).await), (2, 2));
    set_plan(&here, &acme, "pro").await;
    // The other issuer has the organization at hand as it was; a refusal never rests on that.
    assert_eq!(granted(&there).await, 6);
    assert_eq!(granted(&here).await, 6);
    set_plan(&here, &acme, "free").await;
    assert_eq!((granted(&here).await, granted(&there).await), (0, 0));
    set_plan(&here, &acme, "enterprise").await;
    for _ in 0..20 {
        assert_eq!(there.token_answer(&agent).await.status, 200);
    }
}
