//! What happens to tokens, and what strangers do: each by itself, or summed up.

use std::collections::BTreeSet;
use std::time::Duration;

use machineauth_issuer::domain::event::Demand;
use machineauth_tests::audit::events;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::json;

use super::news;

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
    clock.advance(Duration::from_secs(61));
    let news = async {
        loop {
            let news = news(&issuer, &before).await;
            if news.len() >= 4 {
                return news;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let news = tokio::time::timeout(Duration::from_secs(20), news)
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
