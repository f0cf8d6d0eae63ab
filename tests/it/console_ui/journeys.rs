//! What an operator does by hand, from the first click to what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use machineauth_core::clock::{ManualClock, SystemClock, Timestamp};
use machineauth_issuer::domain::event::{self, Action, By, Fact};
use machineauth_issuer::store::{Batch, Outcome, Partition, RedisStore};
use machineauth_tests::agent::Agent;
use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::receiver::{Receiver, Reply};
use machineauth_tests::redis_server::RedisServer;
use reqwest::Method;
use serde_json::json;

use super::{Desk, sign_in};

/// The text of the element with this identifier.
async fn shown(desk: &Desk, selector: &str) -> String {
    desk.browser.element(selector).await.text().await.unwrap()
}

/// What the page shows of a new agent.
async fn credentials(desk: &Desk) -> Agent {
    Agent {
        id: String::new(),
        client_id: shown(desk, "#client-id").await,
        client_secret: shown(desk, "#client-secret").await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_created_used_rotated_deactivated_and_deleted() {
    let desk = Desk::signed_in("an_agent").await;
    let browser = &desk.browser;
    browser.picture("dashboard").await;
    browser.follow("Agents").await;
    browser.sees("No agents yet").await;
    browser.picture("no-agents").await;
    browser.follow("Create the first one").await;
    browser.fill("Name", "build agent").await;
    browser.fill("Scopes", "read\nwrite").await;
    browser.picture("new-agent").await;
    browser.press("Create and show the secret").await;
    browser.sees("build agent was created").await;
    browser.picture("created").await;
    let first = credentials(&desk).await;
    let token = desk.issuer.token_answer(&first).await;
    assert_eq!(token.status, 200, "{}", token.text);
    assert_eq!(token.str("scope"), "read write");

    browser.follow("I have kept it").await;
    browser.sees("active").await;
    browser.misses(&first.client_secret).await;
    browser.unfold("Make a new secret").await;
    browser
        .choose("The secret before works on for", "no time: it ends at once")
        .await;
    browser.press("Make it and show it").await;
    browser.sees("The new secret of build agent").await;
    let second = credentials(&desk).await;
    assert_eq!(desk.issuer.token_answer(&second).await.status, 200);
    desk.issuer
        .token_answer(&first)
        .await
        .expect_error(401, "invalid_client");

    browser.follow("I have kept it").await;
    browser.press("Deactivate").await;
    browser.sees("The agent was deactivated").await;
    browser.picture("deactivated").await;
    desk.issuer
        .token_answer(&second)
        .await
        .expect_error(401, "invalid_client");
    browser.press("Reactivate").await;
    browser.sees("The agent was reactivated").await;
    assert_eq!(desk.issuer.token_answer(&second).await.status, 200);

    browser.follow("All in the audit trail").await;
    for action in [
        "agent.created",
        "agent.credentials_rotated",
        "agent.deactivated",
        "agent.reactivated",
    ] {
        browser.sees(action).await;
    }
    browser.picture("audit").await;
    browser.follow("build agent").await;
    browser.fill("Type its name", "another agent").await;
    browser.press("Delete build agent").await;
    browser.sees("This is not its name").await;
    browser.fill("Type its name", "build agent").await;
    browser.press("Delete build agent").await;
    browser.sees("The agent was deleted").await;
    desk.issuer
        .token_answer(&second)
        .await
        .expect_error(401, "invalid_client");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_found_among_many() {
    let desk = Desk::signed_in("many_agents").await;
    for n in 0..60 {
        let name = format!("{} {n:02}", if n % 2 == 0 { "even" } else { "odd" });
        desk.issuer
            .create(json!({ "name": name, "scopes": ["read"] }))
            .await;
    }
    let browser = &desk.browser;
    browser.open("/admin/agents").await;
    browser.sees("odd 59").await;
    browser.sees("60 in all").await;
    browser.picture("first-page").await;
    browser.follow("Next page").await;
    browser.misses("odd 59").await;
    browser.picture("next-page").await;
    // The list follows what is typed, without a button.
    browser.fill("Name begins with", "even 0").await;
    browser.sees("even 00").await;
    browser.misses("odd").await;
    browser.choose("Order", "Name, Z to A").await;
    browser.press("Show").await;
    browser.reads("tbody tr a", "even 08").await;
    browser.fill("Name begins with", "nobody").await;
    browser.sees("No agent is like that").await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_is_kept_beside_what_is_wrong_with_it() {
    let desk = Desk::signed_in("wrong_input").await;
    let browser = &desk.browser;
    browser.open("/admin/agents/new").await;
    browser.fill("Name", "half right").await;
    browser.fill("Lifetime of its tokens", "an hour").await;
    browser.press("Create and show the secret").await;
    browser.sees("Something has to be put right below").await;
    browser.picture("refused").await;
    let name = browser.control("Name").await.value().await.unwrap();
    assert_eq!(name.as_deref(), Some("half right"));
    let wrong = browser.control("Lifetime of its tokens").await;
    assert_eq!(
        wrong.attr("aria-invalid").await.unwrap().as_deref(),
        Some("true")
    );
    assert_eq!(wrong.value().await.unwrap().as_deref(), Some("an hour"));
    browser.fill("Lifetime of its tokens", "3600").await;
    browser.press("Create and show the secret").await;
    browser.sees("half right was created").await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_failed_is_watched_and_sent_again() {
    let desk = Desk::signed_in("a_delivery").await;
    let status = Arc::new(AtomicU16::new(500));
    let answer = Arc::clone(&status);
    let receiver = Receiver::that(move |_| Reply::status(answer.load(Ordering::Relaxed))).await;
    let browser = &desk.browser;
    browser.follow("Webhooks").await;
    browser.follow("Create the first one").await;
    browser.fill("Name", "deploy hook").await;
    browser.fill("Address", &receiver.url).await;
    browser.fill("Retries", "0").await;
    browser.picture("new-webhook").await;
    browser.press("Create and show the secret").await;
    let secret = shown(&desk, "#secret").await;
    assert!(secret.starts_with("whsec_"), "{secret}");
    browser.follow("I have kept it").await;
    browser.press("Send a test").await;
    browser.sees("The test was sent; this became of it.").await;
    browser.sees("500").await;
    browser.picture("test-failed").await;

    browser.follow("deploy hook").await;
    desk.issuer
        .create(json!({ "name": "loud", "scopes": ["read"] }))
        .await;
    browser.sees("agent.created").await;
    browser.sees("dead").await;
    browser.picture("dead").await;
    browser.follow("agent.created").await;
    browser.sees("\"agent_name\": \"loud\"").await;
    status.store(204, Ordering::Relaxed);
    browser.press("Send it again").await;
    browser.sees("delivered").await;
    browser.sees("204").await;
    browser.picture("delivered").await;
    browser.follow("deploy hook").await;
    browser.press("Disable").await;
    browser.sees("disabled").await;
    browser.press("Enable").await;
    browser.sees("active").await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_issued_looked_at_and_revoked() {
    let desk = Desk::signed_in("a_token").await;
    let agent = desk.issuer.agent(&["read"]).await;
    let browser = &desk.browser;
    browser.follow("Tokens").await;
    browser.fill("Agent", &agent.id).await;
    browser.press("Issue it and show it").await;
    browser
        .sees("This server signed it, and it can be used.")
        .await;
    browser.picture("issued").await;
    let token = shown(&desk, "#token-text").await;
    assert_eq!(desk.issuer.introspect(&token).await["active"], true);

    browser.open("/admin/tokens").await;
    browser.fill("Token", &token).await;
    browser.press("Look").await;
    browser
        .sees(&format!("\"agent_id\": \"{}\"", agent.id))
        .await;
    browser.press("Revoke this token").await;
    browser.sees("revoked").await;
    browser.picture("revoked").await;
    assert_eq!(desk.issuer.introspect(&token).await["active"], false);
    browser.fill("Token", &format!("{token}x")).await;
    browser.press("Look").await;
    browser.sees("not ours").await;

    browser.follow("Audit").await;
    browser.sees("token.revoked").await;
    browser.picture("audit").await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_gets_a_team_a_key_that_works_and_a_machine_client() {
    let desk = Desk::signed_in("an_organization").await;
    let browser = &desk.browser;
    browser.follow("Organizations").await;
    browser.follow("Create the first one").await;
    browser.fill("Name", "Acme").await;
    browser.fill("Slug", "acme").await;
    browser.press("Create").await;
    browser.sees("The organization was created").await;
    browser.follow("New team").await;
    browser.fill("Name", "Builders").await;
    browser.press("Create").await;
    browser.sees("The team was created").await;
    browser.follow("New API key").await;
    browser.fill("Name", "ci").await;
    browser.choose("Only for one team", "Builders").await;
    browser.picture("new-key").await;
    browser.press("Create and show the key").await;
    let key = shown(&desk, "#secret").await;
    let agents = desk
        .issuer
        .bearer(&key, Method::GET, "/api/agents", None)
        .await;
    assert_eq!(agents.status, 200, "{}", agents.text);
    browser.follow("I have kept it").await;
    browser.follow("New machine client").await;
    browser.fill("Name", "crane").await;
    browser.fill("Scopes", "read").await;
    browser.fill("Dock", "dock-7").await;
    browser.press("Create and show the secret").await;
    let crane = credentials(&desk).await;
    let form = [("grant_type", "client_credentials")];
    let token = desk
        .issuer
        .post("/v1/oauth/token", &crane.form(&form))
        .await;
    assert_eq!(token.status, 200, "{}", token.text);
    browser.follow("Organizations").await;
    browser.follow("Acme").await;
    browser.sees("dock-7").await;
    browser.picture("acme").await;
    browser.press("Revoke ci").await;
    browser.sees("The API key was revoked").await;
    let agents = desk
        .issuer
        .bearer(&key, Method::GET, "/api/agents", None)
        .await;
    agents.expect_error(401, "unauthorized");
    browser.fill("Type its slug", "acme").await;
    browser.press("Delete Acme").await;
    browser.sees("The organization was deleted").await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_the_trail_is_filtered_exported_followed_and_verified() {
    let desk = Desk::signed_in("the_server").await;
    let browser = &desk.browser;
    browser.follow("Keys").await;
    browser.press("Rotate").await;
    browser.sees("The new key is published").await;
    browser.sees("published").await;
    browser.picture("keys").await;
    let keys = desk.issuer.get("/.well-known/jwks.json").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);

    browser.follow("Audit").await;
    browser.sees("signing_key.rotated").await;
    browser.fill("Action", "login.*").await;
    browser.misses("signing_key.rotated").await;
    browser.sees("login.succeeded").await;
    let exported = browser
        .script_async(
            "const [link, done] = [document.querySelector('a[download]'), arguments[0]];
             fetch(link.href).then(answer => answer.text()).then(done, error => done(String(error)))",
        )
        .await;
    let exported = exported.as_str().unwrap();
    assert!(exported.contains("login.succeeded"), "{exported}");
    assert!(
        !exported.contains("signing_key.rotated"),
        "what is filtered is exported"
    );
    // What happens while one looks on appears without reloading.
    let login = json!({ "email": ADMIN.0, "password": ADMIN.1 });
    let before = browser.count("tbody tr").await;
    let request = desk
        .issuer
        .request(Method::POST, "/api/auth/login")
        .json(&login);
    machineauth_tests::http::Answer::to(request).await;
    browser.counts("tbody tr", before + 1).await;
    browser.follow("Verify").await;
    browser.press("Verify every entry").await;
    browser.sees("Every entry is as it was sealed.").await;
    browser.picture("verified").await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_long_ago_is_found_by_looking_on() {
    let desk = Desk::signed_in("long_ago").await;
    desk.issuer.organization("acme").await;
    let store = &*desk.issuer.app.store;
    let now = desk.issuer.app.clock.now();
    for _ in 0..10 {
        let batch = Batch::new(Partition::SYSTEM);
        let batch = (0..500).fold(batch, |batch, _| {
            event::record(batch, Fact::new(Action::LoginSucceeded), &By::SYSTEM, now)
        });
        assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
    }
    let browser = &desk.browser;
    browser.open("/admin/audit?action=organization.*").await;
    browser.sees("organization.created").await;
    browser.misses("Looked back to").await;
    browser.counts("tbody tr", 1).await;
    // It is followed all the same.
    desk.issuer.organization("umbrella").await;
    browser.counts("tbody tr", 2).await;
    browser.picture("found").await;
    desk.close().await;
}

/// I15: what is shown stays, the store is said to be down, and it is asked again until it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_is_shown_as_down_until_it_is_back() {
    let mut redis = RedisServer::start().await;
    let store = RedisStore::connect(&redis.url(), Arc::new(SystemClock)).await;
    let builder = Issuer::builder().store(Arc::new(store.unwrap()));
    let desk = Desk::with(builder, "store_away").await;
    let browser = &desk.browser;
    sign_in(browser, ADMIN).await;
    browser.sees("answers in").await;
    browser
        .misses("The server does not answer as it should")
        .await;
    redis.kill();
    browser.sees("down does not answer").await;
    browser
        .sees("The server does not answer as it should")
        .await;
    browser.sees("Active agents").await;
    browser.picture("away").await;
    redis.start_again().await;
    browser.sees("answers in").await;
    browser
        .misses("The server does not answer as it should")
        .await;
    desk.close().await;
}

/// Nobody who finds a browser open gets a new secret.
#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_asked_for_again_before_a_secret_is_shown() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let desk = Desk::with(Issuer::builder().clock(&clock), "password_again").await;
    sign_in(&desk.browser, ADMIN).await;
    let browser = &desk.browser;
    clock.advance(Duration::from_secs(11 * 60));
    browser.open("/admin/agents/new").await;
    browser.fill("Name", "late").await;
    browser.fill("Your password", "not the password").await;
    browser.press("Create and show the secret").await;
    browser.sees("This is not your password").await;
    browser.picture("wrong-password").await;
    browser.fill("Your password", ADMIN.1).await;
    browser.press("Create and show the secret").await;
    browser.sees("late was created").await;
    // That counts for what follows.
    browser.open("/admin/agents/new").await;
    browser.sees("New agent").await;
    assert_eq!(browser.count("input[type=password]").await, 0);
    desk.close().await;
}
