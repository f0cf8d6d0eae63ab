//! What administrators decide about agents: changes, secrets, audiences, claims, and lists in order.

use std::collections::BTreeSet;
use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::token::claims;
use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

async fn patch(issuer: &Issuer, agent: &Agent, change: Value) -> Answer {
    issuer
        .admin(
            Method::PATCH,
            &format!("/api/agents/{}", agent.id),
            Some(change),
        )
        .await
}

async fn granted(issuer: &Issuer, agent: &Agent, more: &[(&str, &str)]) -> Answer {
    let mut form = agent.form(&[("grant_type", "client_credentials")]);
    form.extend_from_slice(more);
    issuer.post("/oauth/token", &form).await
}

#[tokio::test]
async fn everything_that_is_documented_can_be_changed() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let change = json!({
        "name": "New Name",
        "description": "does things\nin lines",
        "tags": ["blue", "green"],
        "metadata": { "owner": { "team": "x" }, "n": 1 },
        "scopes": ["read", "write"],
        "expires_at": "2999-01-01T00:00:00Z",
        "token_lifetime": 60,
        "refresh_tokens": false,
        "audiences": ["https://api.example.com"],
        "claims": { "tenant": "blue" },
    });
    for method in [Method::PUT, Method::PATCH] {
        let path = format!("/api/agents/{}", agent.id);
        let changed = issuer.admin(method, &path, Some(change.clone())).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        for (field, value) in change.as_object().unwrap() {
            assert_eq!(&changed.json()["agent"][field], value, "{field}");
        }
    }
    let partly = patch(
        &issuer,
        &agent,
        json!({ "expires_at": null, "token_lifetime": null }),
    )
    .await;
    assert_eq!(partly.json()["agent"]["expires_at"], Value::Null);
    assert_eq!(partly.json()["agent"]["token_lifetime"], Value::Null);
    assert_eq!(partly.json()["agent"]["name"], "New Name");
}

/// An object so many levels deep.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "x": inner }))
}

/// V10: what verifiers cannot read could not be revoked.
#[tokio::test]
async fn whatever_claims_an_agent_may_have_its_tokens_can_be_read_and_revoked() {
    let issuer = Issuer::start().await;
    let claims = json!({ "deep": nested(15), "": [null, "\u{e9}\u{1F600}", 1e300] });
    let body = json!({ "name": "a", "scopes": ["read"], "claims": claims });
    let created = issuer.admin(Method::POST, "/api/agents", Some(body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.json()["agent"]["claims"], claims);
    let (token, _) = issuer.tokens(&Agent::read(&created)).await;
    assert_eq!(issuer.introspect(&token).await["active"], true);
    issuer.revoke(&token).await;
    assert_eq!(issuer.introspect(&token).await["active"], false);

    let twice = r#"{"name":"a","scopes":["read"],"claims":{"x":1,"\u0078":2}}"#;
    let request = issuer.request(Method::POST, "/api/agents");
    let request = request.basic_auth(ADMIN.0, Some(ADMIN.1));
    let request = request.header("content-type", "application/json");
    let refused = Answer::to(request.body(twice)).await;
    refused.expect_error(400, "invalid_request");
}

#[tokio::test]
async fn what_an_agent_cannot_have_is_refused_with_the_field_named() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let before = issuer
        .admin(Method::GET, &format!("/api/agents/{}", agent.id), None)
        .await
        .text;
    for (change, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "description": "\u{7}" }), "description"),
        (json!({ "tags": [""] }), "tags"),
        (json!({ "tags": vec!["t"; 51] }), "tags"),
        (json!({ "metadata": [] }), "metadata"),
        (
            json!({ "metadata": { "x": "y".repeat(17_000) } }),
            "metadata",
        ),
        (json!({ "metadata": nested(101) }), "metadata"),
        (json!({ "scopes": ["a b"] }), "scopes"),
        (json!({ "status": "asleep" }), "status"),
        (json!({ "status": "active", "is_active": false }), "status"),
        (json!({ "expires_at": "tomorrow" }), "expires_at"),
        (json!({ "expires_in": 0 }), "expires_in"),
        (json!({ "token_lifetime": 0 }), "token_lifetime"),
        (json!({ "token_lifetime": 604_801 }), "token_lifetime"),
        (json!({ "audiences": ["a b"] }), "audiences"),
        (json!({ "claims": { "x": "y".repeat(3_000) } }), "claims"),
        (json!({ "claims": { "sub": "somebody" } }), "claims"),
        (json!({ "claims": { "scope": "admin" } }), "claims"),
        (json!({ "claims": { "cnf": {} } }), "claims"),
        (json!({ "claims": nested(17) }), "claims"),
        (json!({ "organization_id": "x" }), "organization_id"),
    ] {
        let answer = patch(&issuer, &agent, change).await;
        answer.expect_error(400, "invalid_request");
        assert!(
            answer.str("message").contains(field),
            "{field}: {}",
            answer.text
        );
    }
    let after = issuer
        .admin(Method::GET, &format!("/api/agents/{}", agent.id), None)
        .await
        .text;
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_change_for_an_older_version_is_refused() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let path = format!("/api/agents/{}", agent.id);
    let tag = issuer
        .admin(Method::GET, &path, None)
        .await
        .header("etag")
        .to_owned();
    let change = |name: &'static str| {
        let request = issuer
            .request(Method::PATCH, &path)
            .basic_auth("admin@example.com", Some("changeme"))
            .header("if-match", &tag)
            .json(&json!({ "name": name }));
        Answer::to(request)
    };
    assert_eq!(change("first").await.status, 200);
    change("second")
        .await
        .expect_error(412, "precondition_failed");
}

#[tokio::test]
async fn an_agent_made_inactive_by_a_change_is_suspended() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    assert_eq!(
        patch(&issuer, &agent, json!({ "status": "inactive" }))
            .await
            .status,
        200
    );
    assert_eq!(issuer.introspect(&token).await["active"], false);
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(
        patch(&issuer, &agent, json!({ "is_active": true }))
            .await
            .status,
        200
    );
    assert_eq!(issuer.introspect(&token).await["active"], true);
}

#[tokio::test]
async fn an_earlier_end_ends_the_tokens_that_would_outlive_it() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    patch(&issuer, &agent, json!({ "expires_in": 60 })).await;
    assert_eq!(issuer.introspect(&token).await["active"], false);
    let answer = granted(&issuer, &agent, &[]).await;
    assert_eq!(answer.json()["expires_in"], 60);
}

/// I8
#[tokio::test]
async fn a_refresh_after_scopes_were_narrowed_gets_no_more_than_is_left() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let (_, refresh_token) = issuer.tokens(&agent).await;
    patch(&issuer, &agent, json!({ "scopes": ["read", "admin"] })).await;
    let refreshed = issuer.refresh(&agent, &refresh_token).await;
    assert_eq!(refreshed.str("scope"), "read");
}

/// I8
#[tokio::test]
async fn a_token_allows_no_more_than_its_agent_may_have_now() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let agent = issuer.agent_in(&organization, &["read", "admin"]).await;
    let (token, refresh_token) = issuer.tokens(&agent).await;
    let agents = async || {
        issuer
            .bearer(&token, Method::GET, "/api/agents", None)
            .await
    };
    assert_eq!(agents().await.status, 200);
    patch(&issuer, &agent, json!({ "scopes": ["read", "write"] })).await;
    agents().await.expect_error(403, "forbidden");
    for token in [&token, &refresh_token] {
        let described = issuer.introspect(token).await;
        assert_eq!(
            (&described["active"], &described["scope"]),
            (&json!(true), &json!("read"))
        );
    }
    let verified = issuer
        .bearer(&token, Method::GET, "/api/verify", None)
        .await;
    assert_eq!(verified.json()["scopes"], json!(["read"]));
    assert_eq!(verified.header("x-agent-scopes"), "read");
}

#[tokio::test]
async fn an_agents_tokens_live_as_long_and_say_as_much_as_it_is_told() {
    let issuer = Issuer::start().await;
    let agent = issuer
        .create(json!({
            "name": "a", "scopes": ["read"], "token_lifetime": 90, "refresh_tokens": false,
            "claims": { "tenant": "blue", "level": 3 },
        }))
        .await;
    let answer = granted(&issuer, &agent, &[]).await;
    assert_eq!(answer.json()["expires_in"], 90);
    assert_eq!(answer.json()["refresh_token"], Value::Null);
    let claims = claims(&answer.str("access_token"));
    assert_eq!(
        (&claims["tenant"], &claims["level"]),
        (&json!("blue"), &json!(3))
    );
    assert_eq!(claims["sub"], json!(agent.client_id));
}

/// RFC 8707, I8
#[tokio::test]
async fn a_token_is_for_the_audience_that_was_asked_for_and_allowed() {
    let issuer = Issuer::start().await;
    let api = "https://api.example.com";
    let agent = issuer
        .create(json!({ "name": "a", "scopes": ["read"], "audiences": [api] }))
        .await;
    for (parameter, asked, audience) in [
        ("resource", api, api),
        ("audience", api, api),
        ("audience", "machineauth-api", "machineauth-api"),
        ("audience", "", "machineauth-api"),
    ] {
        let answer = granted(&issuer, &agent, &[(parameter, asked)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let token = answer.str("access_token");
        assert_eq!(claims(&token)["aud"], audience);
        assert_eq!(issuer.introspect(&token).await["aud"], json!([audience]));
        issuer.revoke(&token).await;
        assert_eq!(issuer.introspect(&token).await["active"], false);
    }
    for more in [
        vec![("audience", "https://other.example.com")],
        vec![("resource", "https://other.example.com")],
        vec![("resource", "relative/path")],
        vec![("resource", "https://api.example.com#fragment")],
        vec![("resource", api), ("audience", "machineauth-api")],
    ] {
        granted(&issuer, &agent, &more)
            .await
            .expect_error(400, "invalid_target");
    }

    let refresh_token = granted(&issuer, &agent, &[("resource", api)])
        .await
        .str("refresh_token");
    let wider = agent.form(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh_token),
        ("resource", "machineauth-api:x"),
    ]);
    issuer
        .post("/oauth/token", &wider)
        .await
        .expect_error(400, "invalid_target");
    let refreshed = issuer.refresh(&agent, &refresh_token).await;
    assert_eq!(claims(&refreshed.str("access_token"))["aud"], api);
    let successor = refreshed.str("refresh_token");
    patch(&issuer, &agent, json!({ "audiences": [] })).await;
    issuer
        .refresh(&agent, &successor)
        .await
        .expect_error(400, "invalid_target");
}

#[tokio::test]
async fn during_the_grace_of_a_rotation_two_secrets_work() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let path = format!("/api/agents/{}", agent.id);
    let rotate = async |grace: u64| {
        let body = json!({ "action": "rotate", "grace": grace });
        issuer.admin(Method::POST, &path, Some(body)).await
    };
    let second = Agent {
        client_secret: rotate(3_600).await.str("client_secret"),
        ..agent.clone()
    };
    for agent in [&agent, &second] {
        assert_eq!(issuer.token_answer(agent).await.status, 200);
    }
    let secrets = async || {
        let list = issuer
            .admin(Method::GET, &format!("{path}/secrets"), None)
            .await;
        assert!(!list.text.contains("cs_"));
        list.json()["secrets"].as_array().unwrap().clone()
    };
    let shown = secrets().await;
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0]["expires_at"], "2027-01-15T09:00:00Z");
    assert_eq!(shown[1]["expires_at"], Value::Null);
    assert!(
        shown
            .iter()
            .all(|secret| secret["last_used_at"] == "2027-01-15T08:00:00Z")
    );

    // A second rotation leaves two, not three.
    let third = Agent {
        client_secret: rotate(3_600).await.str("client_secret"),
        ..agent.clone()
    };
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    for agent in [&second, &third] {
        assert_eq!(issuer.token_answer(agent).await.status, 200);
    }

    let shown = secrets().await;
    let one = |at: usize| format!("{path}/secrets/{}", shown[at]["id"].as_str().unwrap());
    issuer
        .admin(Method::DELETE, &one(1), None)
        .await
        .expect_error(409, "conflict");
    assert_eq!(
        issuer.admin(Method::DELETE, &one(0), None).await.status,
        204
    );
    issuer
        .admin(Method::DELETE, &one(0), None)
        .await
        .expect_error(404, "not_found");
    issuer
        .token_answer(&second)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(issuer.token_answer(&third).await.status, 200);

    rotate(60).await;
    clock.advance(Duration::from_secs(60));
    issuer
        .token_answer(&third)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(secrets().await.len(), 1);
    rotate(31 * 86_400)
        .await
        .expect_error(400, "invalid_request");
}

async fn names(issuer: &Issuer, query: &str) -> Vec<String> {
    let list = issuer
        .admin(Method::GET, &format!("/api/agents?{query}"), None)
        .await;
    assert_eq!(list.status, 200, "{}", list.text);
    list.json()["agents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| agent["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn agents_are_listed_in_order_filtered_and_searched() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let organization = issuer.organization("acme").await;
    for (name, organization) in [
        ("beta", ""),
        ("Alpha", &organization),
        ("alpine", ""),
        ("gamma", &organization),
    ] {
        clock.advance(Duration::from_secs(1));
        issuer
            .create(json!({ "name": name, "organization_id": organization }))
            .await;
    }
    let inactive = issuer
        .create(json!({ "name": "zeta", "is_active": false }))
        .await;
    assert_eq!(
        names(&issuer, "sort=name").await,
        ["Alpha", "alpine", "beta", "gamma", "zeta"]
    );
    assert_eq!(
        names(&issuer, "sort=-name").await,
        ["zeta", "gamma", "beta", "alpine", "Alpha"]
    );
    let by_creation = names(&issuer, "sort=created_at").await;
    assert_eq!(by_creation[..3], ["beta", "Alpha", "alpine"]);
    let mut newest_first = by_creation.clone();
    newest_first.reverse();
    assert_eq!(names(&issuer, "sort=-created_at").await, newest_first);
    assert_eq!(names(&issuer, "").await, newest_first);
    assert_eq!(names(&issuer, "q=ALP").await, ["Alpha", "alpine"]);
    assert_eq!(
        names(&issuer, "q=alp&sort=-name").await,
        ["alpine", "Alpha"]
    );
    assert!(names(&issuer, "q=nobody").await.is_empty());
    assert_eq!(names(&issuer, "status=inactive").await, ["zeta"]);
    assert_eq!(names(&issuer, "status=active&sort=name").await.len(), 4);
    let of = format!("org_id={organization}&sort=name");
    assert_eq!(names(&issuer, &of).await, ["Alpha", "gamma"]);
    let path = format!("/api/organizations/{organization}/agents?sort=name");
    let list = issuer.admin(Method::GET, &path, None).await.json();
    assert_eq!(list["agents"].as_array().unwrap().len(), 2);

    let page = issuer
        .admin(Method::GET, "/api/agents?page=2&limit=2&sort=name", None)
        .await
        .json();
    assert_eq!(
        page["pagination"],
        json!({ "total": 5, "page": 2, "limit": 2, "total_pages": 3 })
    );
    assert_eq!(page["agents"][0]["name"], "beta");
    for (query, total) in [("status=inactive", 1), ("q=al", 2), (&*of, 2)] {
        let path = format!("/api/agents?page=1&{query}");
        let page = issuer.admin(Method::GET, &path, None).await.json();
        assert_eq!(page["pagination"]["total"], total, "{query}");
    }

    patch(
        &issuer,
        &inactive,
        json!({ "name": "aardvark", "is_active": true }),
    )
    .await;
    assert_eq!(
        names(&issuer, "sort=name&limit=2").await,
        ["aardvark", "Alpha"]
    );
    assert!(names(&issuer, "status=inactive").await.is_empty());

    for query in [
        "sort=color",
        "status=asleep",
        "q=a&sort=created_at",
        "limit=0",
        "page=0",
        "page=101&limit=100",
        "cursor=x",
        "q=a&q=b",
    ] {
        let answer = issuer
            .admin(Method::GET, &format!("/api/agents?{query}"), None)
            .await;
        answer.expect_error(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_long_list_is_walked_by_cursor_in_any_order() {
    let issuer = Issuer::start().await;
    for n in 0..50 {
        issuer
            .create(json!({ "name": format!("agent {n:03}") }))
            .await;
    }
    for sort in ["name", "-name", "created_at", "-created_at"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/agents?sort={sort}&limit=7{cursor}");
            let list = issuer.admin(Method::GET, &path, None).await.json();
            seen.extend(
                list["agents"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|agent| agent["name"].to_string()),
            );
            match list["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 50, "{sort}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 50, "{sort}");
        if sort.ends_with("name") {
            let mut sorted = seen.clone();
            sorted.sort();
            if sort.starts_with('-') {
                sorted.reverse();
            }
            assert_eq!(seen, sorted, "{sort}");
        }
    }
}

/// What happens to agents between two looks at a list.
#[derive(Debug, Clone)]
enum Step {
    Create { name: u8, in_organization: bool },
    Rename { which: usize, name: u8 },
    Switch { which: usize },
    Delete { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<u8>(), any::<bool>()).prop_map(|(name, in_organization)| Step::Create {
            name,
            in_organization
        }),
        (any::<usize>(), any::<u8>()).prop_map(|(which, name)| Step::Rename { which, name }),
        any::<usize>().prop_map(|which| Step::Switch { which }),
        any::<usize>().prop_map(|which| Step::Delete { which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn whatever_happens_lists_and_totals_agree_with_the_records(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let issuer = Issuer::start().await;
            let organization = issuer.organization("acme").await;
            let mut agents: Vec<(Agent, String, bool, bool)> = Vec::new();
            for step in steps {
                let count = agents.len().max(1);
                match step {
                    Step::Create { name, in_organization } => {
                        let name = format!("n{name}");
                        let organization = if in_organization { &*organization } else { "" };
                        let body = json!({ "name": name, "organization_id": organization });
                        agents.push((issuer.create(body).await, name, true, in_organization));
                    }
                    Step::Rename { which, name } => if let Some(agent) = agents.get_mut(which % count) {
                        agent.1 = format!("n{name}");
                        patch(&issuer, &agent.0, json!({ "name": agent.1 })).await;
                    },
                    Step::Switch { which } => if let Some(agent) = agents.get_mut(which % count) {
                        agent.2 = !agent.2;
                        patch(&issuer, &agent.0, json!({ "is_active": agent.2 })).await;
                    },
                    Step::Delete { which } => if !agents.is_empty() {
                        let (agent, ..) = agents.swap_remove(which % count);
                        issuer.admin(Method::DELETE, &format!("/api/agents/{}", agent.id), None).await;
                    },
                }
            }
            for (query, is_wanted) in [
                ("".to_owned(), &(|_: &_| true) as &dyn Fn(&(Agent, String, bool, bool)) -> bool),
                ("status=active".to_owned(), &|agent| agent.2),
                ("status=inactive".to_owned(), &|agent| !agent.2),
                (format!("org_id={organization}"), &|agent| agent.3),
                ("q=n1".to_owned(), &|agent| agent.1.starts_with("n1")),
            ] {
                let mut expected: Vec<_> =
                    agents.iter().filter(|agent| is_wanted(agent)).map(|agent| agent.1.clone()).collect();
                expected.sort();
                assert_eq!(names(&issuer, &format!("{query}&sort=name")).await, expected, "{query}");
                let path = format!("/api/agents?{query}&page=1");
                let page = issuer.admin(Method::GET, &path, None).await.json();
                assert_eq!(page["pagination"]["total"], expected.len(), "{query}");
            }
        });
    }
}
