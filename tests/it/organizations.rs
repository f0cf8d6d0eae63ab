//! Organizations, their teams and their API keys.

use std::time::Duration;

use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

async fn patch(issuer: &Issuer, id: &str, change: Value) -> machineauth_tests::http::Answer {
    issuer
        .admin(
            Method::PATCH,
            &format!("/api/organizations/{id}"),
            Some(change),
        )
        .await
}

#[tokio::test]
async fn an_organization_is_created_shown_changed_and_deleted() {
    let issuer = Issuer::start().await;
    let body =
        json!({ "name": "My Organization", "slug": "my-org", "owner_email": "owner@example.com" });
    let created = issuer
        .admin(Method::POST, "/api/organizations", Some(body))
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    let organization = created.json();
    for (field, value) in [
        ("name", json!("My Organization")),
        ("slug", json!("my-org")),
        ("owner_email", json!("owner@example.com")),
        ("jwt_issuer", json!("")),
        ("jwt_expiry_secs", json!(0)),
        ("allowed_origins", json!("")),
        ("plan", json!("free")),
    ] {
        assert_eq!(organization[field], value, "{field}");
    }
    let path = format!("/api/organizations/{}", created.str("id"));
    assert_eq!(
        issuer.admin(Method::GET, &path, None).await.json(),
        organization
    );
    let list = issuer
        .admin(Method::GET, "/api/organizations", None)
        .await
        .json();
    assert_eq!(list["organizations"], json!([organization]));

    let change = json!({
        "name": "Updated Name",
        "jwt_issuer": "https://custom-issuer.example.com",
        "jwt_expiry_secs": 7200,
        "allowed_origins": "https://myapp.com,https://other.com",
        "plan": "pro",
    });
    let changed = issuer.admin(Method::PUT, &path, Some(change.clone())).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    for (field, value) in change.as_object().unwrap() {
        assert_eq!(&changed.json()[field], value, "{field}");
    }
    let as_list = json!({ "allowed_origins": ["https://one.example.com"] });
    let changed = issuer.admin(Method::PATCH, &path, Some(as_list)).await;
    assert_eq!(changed.str("allowed_origins"), "https://one.example.com");
    assert_eq!(changed.str("name"), "Updated Name");

    assert_eq!(issuer.admin(Method::DELETE, &path, None).await.status, 204);
    issuer
        .admin(Method::GET, &path, None)
        .await
        .expect_error(404, "not_found");
    issuer
        .admin(Method::DELETE, &path, None)
        .await
        .expect_error(404, "not_found");
}

#[tokio::test]
async fn what_an_organization_cannot_have_is_refused_with_the_field_named() {
    let issuer = Issuer::start().await;
    for (body, field) in [
        (json!({ "slug": "a" }), "name"),
        (json!({ "name": "A" }), "slug"),
        (json!({ "name": "", "slug": "a" }), "name"),
        (json!({ "name": "A", "slug": "A B" }), "slug"),
        (
            json!({ "name": "A", "slug": "a", "owner_email": "nobody" }),
            "owner_email",
        ),
    ] {
        let answer = issuer
            .admin(Method::POST, "/api/organizations", Some(body))
            .await;
        answer.expect_error(400, "invalid_request");
        assert!(answer.str("message").contains(field), "{}", answer.text);
    }
    let id = issuer.organization("acme").await;
    for (change, field) in [
        (json!({ "jwt_issuer": "http://example.com" }), "jwt_issuer"),
        (json!({ "jwt_issuer": 7 }), "jwt_issuer"),
        (json!({ "jwt_expiry_secs": 604_801 }), "jwt_expiry_secs"),
        (json!({ "jwt_expiry_secs": -1 }), "jwt_expiry_secs"),
        (json!({ "allowed_origins": "*" }), "allowed_origins"),
        (
            json!({ "allowed_origins": ["https://a.example.com/path"] }),
            "allowed_origins",
        ),
        (json!({ "plan": "gold" }), "plan"),
    ] {
        let answer = patch(&issuer, &id, change).await;
        answer.expect_error(400, "invalid_request");
        assert!(answer.str("message").contains(field), "{}", answer.text);
    }
}

#[tokio::test]
async fn slugs_and_issuers_are_unique_and_free_again_when_given_up() {
    let issuer = Issuer::start().await;
    let acme = issuer.organization("acme").await;
    let other = issuer.organization("other").await;
    let same = json!({ "name": "Another", "slug": "acme" });
    issuer
        .admin(Method::POST, "/api/organizations", Some(same.clone()))
        .await
        .expect_error(409, "conflict");
    patch(&issuer, &other, json!({ "slug": "acme" }))
        .await
        .expect_error(409, "conflict");

    let issues = |at: &str| json!({ "jwt_issuer": at });
    let location = "https://auth.example.com/acme";
    assert_eq!(patch(&issuer, &acme, issues(location)).await.status, 200);
    for same in [location, "https://AUTH.example.com:443/acme", &issuer.base] {
        patch(&issuer, &other, issues(same))
            .await
            .expect_error(409, "conflict");
    }
    assert_eq!(patch(&issuer, &acme, issues("")).await.status, 200);
    assert_eq!(patch(&issuer, &other, issues(location)).await.status, 200);

    let path = format!("/api/organizations/{acme}");
    assert_eq!(issuer.admin(Method::DELETE, &path, None).await.status, 204);
    let again = issuer
        .admin(Method::POST, "/api/organizations", Some(same))
        .await;
    assert_eq!(again.status, 201, "{}", again.text);
}

#[tokio::test]
async fn of_many_that_want_one_slug_at_once_one_gets_it() {
    let issuer = Issuer::start().await;
    let create = || async {
        let body = json!({ "name": "A", "slug": "wanted" });
        issuer
            .admin(Method::POST, "/api/organizations", Some(body))
            .await
            .status
            .as_u16()
    };
    let statuses = futures_util::future::join_all((0..20).map(|_| create())).await;
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        1,
        "{statuses:?}"
    );
    let list = issuer
        .admin(Method::GET, "/api/organizations", None)
        .await
        .json();
    assert_eq!(list["organizations"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_change_for_an_older_version_is_refused() {
    let issuer = Issuer::start().await;
    let id = issuer.organization("acme").await;
    let path = format!("/api/organizations/{id}");
    let seen = issuer.admin(Method::GET, &path, None).await;
    let tag = seen.header("etag").to_owned();
    let change = |tag: String, name: &'static str| {
        let request = issuer
            .request(Method::PUT, &path)
            .basic_auth("admin@example.com", Some("changeme"))
            .header("if-match", tag)
            .json(&json!({ "name": name }));
        machineauth_tests::http::Answer::to(request)
    };
    assert_eq!(change(tag.clone(), "First").await.status, 200);
    change(tag, "Second")
        .await
        .expect_error(412, "precondition_failed");
    assert_eq!(change("*".into(), "Third").await.status, 200);
    assert_eq!(
        issuer.admin(Method::GET, &path, None).await.str("name"),
        "Third"
    );
}

#[tokio::test]
async fn organizations_are_listed_page_by_page_and_by_cursor() {
    let issuer = Issuer::start().await;
    for n in 0..7 {
        issuer.organization(&format!("org-{n}")).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    for page in 1..=3 {
        let path = format!("/api/organizations?page={page}&limit=3");
        let list = issuer.admin(Method::GET, &path, None).await.json();
        assert_eq!(
            list["pagination"],
            json!({ "total": 7, "page": page, "limit": 3, "total_pages": 3 })
        );
        for organization in list["organizations"].as_array().unwrap() {
            assert!(seen.insert(organization["slug"].to_string()));
        }
    }
    assert_eq!(seen.len(), 7);

    let mut cursor = String::new();
    let mut by_cursor = 0;
    loop {
        let path = match cursor.is_empty() {
            true => "/api/organizations?limit=2".to_owned(),
            false => format!("/api/organizations?limit=2&cursor={cursor}"),
        };
        let list = issuer.admin(Method::GET, &path, None).await.json();
        by_cursor += list["organizations"].as_array().unwrap().len();
        match list["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(by_cursor, 7);
}

#[tokio::test]
async fn a_token_says_which_organization_and_team_its_agent_belongs_to() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let path = format!("/api/organizations/{organization}/teams");
    let body = json!({ "name": "Backend Team", "description": "Handles backend services" });
    let team = issuer
        .admin(Method::POST, &path, Some(body))
        .await
        .str("id");
    let agent = issuer
        .create(json!({
            "name": "a", "scopes": ["read"], "organization_id": organization, "team_id": team,
        }))
        .await;
    let (access_token, refresh_token) = issuer.tokens(&agent).await;
    let refreshed = issuer
        .refresh(&agent, &refresh_token)
        .await
        .str("access_token");
    for token in [access_token, refreshed] {
        let claims = claims(&token);
        assert_eq!(claims["org_id"], json!(organization));
        assert_eq!(claims["team_id"], json!(team));
        assert_eq!(issuer.introspect(&token).await["active"], true);
    }
}

#[tokio::test]
async fn an_organizations_tokens_live_as_long_as_it_says() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let agent = issuer.agent_in(&organization, &["read"]).await;
    assert_eq!(
        issuer.token_answer(&agent).await.json()["expires_in"],
        86_400
    );
    patch(&issuer, &organization, json!({ "jwt_expiry_secs": 120 })).await;
    assert_eq!(issuer.token_answer(&agent).await.json()["expires_in"], 120);
    for (own, expected) in [(604_800, 120), (90, 90)] {
        let body = json!({
            "name": "a", "scopes": ["read"], "organization_id": organization, "token_lifetime": own,
        });
        let agent = issuer.create(body).await;
        let granted = issuer.token_answer(&agent).await.json();
        assert_eq!(granted["expires_in"], expected);
    }
    patch(&issuer, &organization, json!({ "jwt_expiry_secs": 0 })).await;
    assert_eq!(
        issuer.token_answer(&agent).await.json()["expires_in"],
        86_400
    );
}

#[tokio::test]
async fn with_an_organization_everything_of_it_dies() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let key = issuer
        .api_key(&organization, json!({ "name": "key" }))
        .await;
    let agents =
        futures_util::future::join_all((0..5).map(|_| issuer.agent_in(&organization, &["read"])))
            .await;
    let stranger = issuer.agent(&["read"]).await;
    let mut tokens = Vec::new();
    for agent in &agents {
        tokens.push(issuer.tokens(agent).await);
    }
    let (kept, _) = issuer.tokens(&stranger).await;

    let path = format!("/api/organizations/{organization}");
    assert_eq!(issuer.admin(Method::DELETE, &path, None).await.status, 204);
    for (agent, (access_token, refresh_token)) in agents.iter().zip(&tokens) {
        issuer
            .token_answer(agent)
            .await
            .expect_error(401, "invalid_client");
        assert_eq!(issuer.introspect(access_token).await["active"], false);
        assert_eq!(issuer.introspect(refresh_token).await["active"], false);
        let agent_path = format!("/api/agents/{}", agent.id);
        issuer
            .admin(Method::GET, &agent_path, None)
            .await
            .expect_error(404, "not_found");
    }
    issuer
        .bearer(&key, Method::GET, "/api/organizations", None)
        .await
        .expect_error(401, "unauthorized");
    assert_eq!(issuer.introspect(&kept).await["active"], true);
}

#[tokio::test]
async fn a_team_is_created_shown_changed_and_deleted_when_it_is_empty() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let path = format!("/api/organizations/{organization}/teams");
    let body = json!({ "name": "Backend Team", "description": "Handles backend services" });
    let created = issuer.admin(Method::POST, &path, Some(body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let team = created.json();
    assert_eq!(team["organization_id"], json!(organization));
    assert_eq!(team["description"], "Handles backend services");
    let list = issuer.admin(Method::GET, &path, None).await.json();
    assert_eq!(list, json!({ "teams": [team] }));

    let one = format!("{path}/{}", created.str("id"));
    assert_eq!(issuer.admin(Method::GET, &one, None).await.json(), team);
    let changed = issuer
        .admin(Method::PATCH, &one, Some(json!({ "name": "Back" })))
        .await;
    assert_eq!(
        (changed.str("name"), changed.str("description")),
        ("Back".into(), "Handles backend services".into())
    );
    for (body, field) in [
        (json!({ "name": " " }), "name"),
        (
            json!({ "name": "x", "description": "\u{1}" }),
            "description",
        ),
    ] {
        let answer = issuer.admin(Method::POST, &path, Some(body)).await;
        answer.expect_error(400, "invalid_request");
        assert!(answer.str("message").contains(field), "{}", answer.text);
    }

    let member = issuer
        .create(json!({ "name": "a", "organization_id": organization, "team_id": team["id"] }))
        .await;
    issuer
        .admin(Method::DELETE, &one, None)
        .await
        .expect_error(409, "conflict");
    issuer
        .admin(Method::DELETE, &format!("/api/agents/{}", member.id), None)
        .await;
    assert_eq!(issuer.admin(Method::DELETE, &one, None).await.status, 204);
    issuer
        .admin(Method::GET, &one, None)
        .await
        .expect_error(404, "not_found");
}

#[tokio::test]
async fn an_agent_belongs_only_to_what_exists() {
    let issuer = Issuer::start().await;
    let (acme, other) = (
        issuer.organization("acme").await,
        issuer.organization("other").await,
    );
    let path = format!("/api/organizations/{other}/teams");
    let team = issuer
        .admin(Method::POST, &path, Some(json!({ "name": "t" })))
        .await
        .str("id");
    let nobody = "00000000-0000-4000-8000-000000000000";
    for (body, field) in [
        (
            json!({ "name": "a", "organization_id": nobody }),
            "organization_id",
        ),
        (
            json!({ "name": "a", "organization_id": "org-123" }),
            "organization_id",
        ),
        (
            json!({ "name": "a", "organization_id": acme, "team_id": team }),
            "team_id",
        ),
        (json!({ "name": "a", "team_id": team }), "team_id"),
    ] {
        let answer = issuer.admin(Method::POST, "/api/agents", Some(body)).await;
        answer.expect_error(400, "invalid_request");
        assert!(answer.str("message").contains(field), "{}", answer.text);
    }
}

#[tokio::test]
async fn an_api_key_is_shown_once_expires_and_is_revoked() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let organization = issuer.organization("acme").await;
    let path = format!("/api/organizations/{organization}/api-keys");
    let body = json!({ "name": "Production Key", "expires_in": 7_776_000 });
    let created = issuer.admin(Method::POST, &path, Some(body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let (key, shown) = (created.str("key"), created.json()["api_key"].clone());
    assert!(key.starts_with("mach_") && key.starts_with(shown["prefix"].as_str().unwrap()));
    assert_eq!(shown["prefix"].as_str().unwrap().len(), 12);
    assert_eq!(
        (&shown["is_active"], &shown["last_used_at"]),
        (&json!(true), &Value::Null)
    );

    let own = format!("/api/organizations/{organization}");
    assert_eq!(
        issuer.bearer(&key, Method::GET, &own, None).await.status,
        200
    );
    let list = issuer.admin(Method::GET, &path, None).await;
    assert!(!list.text.contains(&key));
    assert_eq!(
        list.json()["api_keys"][0]["last_used_at"],
        "2027-01-15T08:00:00Z"
    );

    clock.advance(Duration::from_secs(7_776_000));
    issuer
        .bearer(&key, Method::GET, &own, None)
        .await
        .expect_error(401, "unauthorized");
    assert_eq!(
        issuer.admin(Method::GET, &path, None).await.json()["api_keys"][0]["is_active"],
        false
    );

    let key = issuer
        .api_key(&organization, json!({ "name": "second" }))
        .await;
    let list = issuer.bearer(&key, Method::GET, &path, None).await.json();
    let second = list["api_keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "second");
    let one = format!("{path}/{}", second.unwrap()["id"].as_str().unwrap());
    assert_eq!(issuer.admin(Method::DELETE, &one, None).await.status, 204);
    issuer
        .bearer(&key, Method::GET, &own, None)
        .await
        .expect_error(401, "unauthorized");
    issuer
        .admin(Method::DELETE, &one, None)
        .await
        .expect_error(404, "not_found");
}

#[tokio::test]
async fn an_api_key_comes_as_a_bearer_token_or_in_a_header_of_its_own_but_once() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let key = issuer
        .api_key(&organization, json!({ "name": "key" }))
        .await;
    let own = format!("/api/organizations/{organization}");
    let with_header = || issuer.request(Method::GET, &own).header("x-api-key", &key);
    let answer = machineauth_tests::http::Answer::to(with_header()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let twice = machineauth_tests::http::Answer::to(with_header().bearer_auth(&key)).await;
    twice.expect_error(400, "invalid_request");
}

#[tokio::test]
async fn an_api_key_without_the_scope_admin_administers_nothing() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let body = json!({ "name": "key", "scopes": ["tokens:introspect"] });
    let key = issuer.api_key(&organization, body).await;
    for path in [
        "/api/organizations".to_owned(),
        format!("/api/organizations/{organization}"),
    ] {
        issuer
            .bearer(&key, Method::GET, &path, None)
            .await
            .expect_error(403, "forbidden");
    }
    let path = format!("/api/organizations/{organization}/api-keys");
    for scopes in [json!([]), json!(["everything"])] {
        let body = json!({ "name": "key", "scopes": scopes });
        let answer = issuer.admin(Method::POST, &path, Some(body)).await;
        answer.expect_error(400, "invalid_request");
        assert!(answer.str("message").contains("scopes"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_key_of_one_team_sees_only_that_team() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let teams = format!("/api/organizations/{organization}/teams");
    let create_team =
        |name: &'static str| issuer.admin(Method::POST, &teams, Some(json!({ "name": name })));
    let (mine, theirs) = (
        create_team("mine").await.str("id"),
        create_team("theirs").await.str("id"),
    );
    let key = issuer
        .api_key(&organization, json!({ "name": "key", "team_id": mine }))
        .await;
    let in_team =
        |team: &str| json!({ "name": "a", "organization_id": organization, "team_id": team });
    let my_agent = issuer.create(in_team(&mine)).await;
    let others = [
        issuer.create(in_team(&theirs)).await,
        issuer.agent_in(&organization, &[]).await,
    ];

    let get = async |path: String| issuer.bearer(&key, Method::GET, &path, None).await;
    assert_eq!(
        get(format!("/api/agents/{}", my_agent.id)).await.status,
        200
    );
    for other in &others {
        get(format!("/api/agents/{}", other.id))
            .await
            .expect_error(404, "not_found");
    }
    assert_eq!(get(format!("{teams}/{mine}")).await.status, 200);
    get(format!("{teams}/{theirs}"))
        .await
        .expect_error(404, "not_found");
    assert_eq!(
        get(teams.clone()).await.json()["teams"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    get(format!("/api/organizations/{organization}/api-keys"))
        .await
        .expect_error(403, "forbidden");

    let created = issuer
        .bearer(
            &key,
            Method::POST,
            "/api/agents",
            Some(json!({ "name": "new" })),
        )
        .await;
    assert_eq!(created.json()["agent"]["team_id"], json!(mine));
    issuer
        .bearer(&key, Method::POST, "/api/agents", Some(in_team(&theirs)))
        .await
        .expect_error(400, "invalid_request");
}
