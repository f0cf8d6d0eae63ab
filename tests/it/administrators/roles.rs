//! What each role may do, and how an administrator gets another or is removed.

use std::sync::Arc;

use machineauth_core::clock::SystemClock;
use machineauth_issuer::store::{DynStore, MemoryStore};
use machineauth_tests::audit::events;
use machineauth_tests::description::operations;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ADA, INVITATIONS, PASSWORD, accept, all, basic, join, login, status, token};

/// All operations that take an administrator's credentials.
fn administrative() -> Vec<(Method, &'static str)> {
    let takes_an_administrator = |operation: &Value| {
        let schemes = operation["security"].as_array().into_iter().flatten();
        schemes
            .into_iter()
            .any(|scheme| scheme.get("administrator").is_some())
    };
    operations()
        .filter(|(.., operation)| takes_an_administrator(operation))
        .map(|(path, method, _)| (method.to_uppercase().parse().unwrap(), path))
        .collect()
}

/// A path that names nothing that is there.
fn filled(template: &str) -> String {
    let mut path = String::new();
    for part in template.split('/').skip(1) {
        let name = match part.starts_with('{') {
            true => "00000000-0000-4000-8000-000000000000",
            false => part,
        };
        path.push('/');
        path.push_str(name);
    }
    path
}

/// I12: what only an owner sees and does, and what is everybody's own.
fn is_for_owners(method: &Method, path: &str) -> bool {
    let is_reading = matches!(
        path,
        "/api/administrators" | "/api/administrators/{administrator_id}"
    );
    path.starts_with("/api/administrators") && !(*method == Method::GET && is_reading)
}

/// I12: the table of paths, tried by each role.
#[tokio::test]
async fn a_viewer_changes_nothing_and_an_admin_no_administrators_at_any_route() {
    let issuer = Issuer::start().await;
    for role in ["viewer", "admin", "owner"] {
        let email = format!("the-{role}@example.com");
        join(&issuer, &email, role).await;
        let token = token(&issuer, &email).await;
        let before = events(&*issuer.app.store).await.len();
        let routes = administrative();
        assert!(routes.len() > 50, "the table has many");
        for (method, template) in routes {
            // What concerns itself: the other tests here have it.
            if template.starts_with("/api/auth/") {
                continue;
            }
            let is_refused = match role {
                "viewer" => method != Method::GET || is_for_owners(&method, template),
                "admin" => is_for_owners(&method, template),
                _ => false,
            };
            // Nothing is there, and no body: whoever may ask is told that.
            let (path, basic_auth) = (filled(template), (email.as_str(), PASSWORD));
            if !is_refused && method != Method::GET && !template.contains('{') {
                continue;
            }
            for answer in [
                issuer.bearer(&token, method.clone(), &path, None).await,
                basic(&issuer, basic_auth, method.clone(), &path, None).await,
            ] {
                match is_refused {
                    true => answer.expect_error(403, "forbidden"),
                    false => assert!(
                        ![401, 403].contains(&answer.status.as_u16()),
                        "{role} {method} {path}: {}",
                        answer.text
                    ),
                }
            }
        }
        if role == "viewer" {
            assert_eq!(
                events(&*issuer.app.store).await.len(),
                before,
                "nothing changed"
            );
        }
    }
}

#[tokio::test]
async fn another_role_ends_the_sessions_of_an_administrator_and_decides_at_once() {
    let issuer = Issuer::start().await;
    let id = join(&issuer, ADA, "admin").await;
    let path = format!("/api/administrators/{id}");
    let token = token(&issuer, ADA).await;
    let set = async |role: &str| {
        issuer
            .admin(Method::PATCH, &path, Some(json!({ "role": role })))
            .await
    };
    assert_eq!(set("admin").await.status, 200);
    assert_eq!(status(&issuer, &token).await, 200, "it is what it was");
    assert_eq!(set("viewer").await.json()["role"], "viewer");
    assert_eq!(status(&issuer, &token).await, 401);
    let named = || Some(json!({ "name": "a" }));
    let create = basic(
        &issuer,
        (ADA, PASSWORD),
        Method::POST,
        "/api/agents",
        named(),
    )
    .await;
    create.expect_error(403, "forbidden");
    assert_eq!(set("owner").await.status, 200);
    let create = basic(
        &issuer,
        (ADA, PASSWORD),
        Method::POST,
        "/api/agents",
        named(),
    )
    .await;
    assert_eq!(create.status, 201, "{}", create.text);
    set("root").await.expect_error(400, "invalid_request");
}

#[tokio::test]
async fn an_administrator_who_is_removed_is_out_at_once() {
    let issuer = Issuer::start().await;
    let id = join(&issuer, ADA, "owner").await;
    let path = format!("/api/administrators/{id}");
    let token = token(&issuer, ADA).await;
    assert_eq!(issuer.admin(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(status(&issuer, &token).await, 401);
    assert_eq!(login(&issuer, ADA, PASSWORD).await.status, 401);
    for method in [Method::GET, Method::DELETE] {
        issuer
            .admin(method, &path, None)
            .await
            .expect_error(404, "not_found");
    }
    join(&issuer, ADA, "viewer").await;
    assert_eq!(
        status(&issuer, &token).await,
        401,
        "who comes back begins anew"
    );
}

/// There is always an owner: the one that is configured.
#[tokio::test]
async fn the_configured_administrator_stays_and_stays_an_owner() {
    let issuer = Issuer::start().await;
    join(&issuer, ADA, "owner").await;
    let me = issuer.admin(Method::GET, "/api/auth/me", None).await.json();
    let path = format!("/api/administrators/{}", me["user"]["id"].as_str().unwrap());
    let shown = issuer.admin(Method::GET, &path, None).await.json();
    assert_eq!(
        (&shown["is_configured"], &shown["role"]),
        (&json!(true), &json!("owner"))
    );
    let demotion = json!({ "role": "viewer" });
    for credentials in [ADMIN, (ADA, PASSWORD)] {
        let change = Some(demotion.clone());
        let answer = basic(&issuer, credentials, Method::PATCH, &path, change).await;
        answer.expect_error(409, "conflict");
        let answer = basic(&issuer, credentials, Method::DELETE, &path, None).await;
        answer.expect_error(409, "conflict");
    }
}

/// Whoever replaces `ADMIN_EMAIL` replaces an administrator: what the one before set in the store works no more.
#[tokio::test]
async fn who_was_configured_and_is_no_more_is_no_administrator() {
    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let before = Issuer::builder().store(Arc::clone(&store)).start().await;
    let body = json!({ "current_password": ADMIN.1, "new_password": PASSWORD });
    let changed = before
        .admin(Method::POST, "/api/auth/password", Some(body))
        .await;
    assert_eq!(changed.status, 204, "{}", changed.text);
    let old = token(&before, ADMIN.0).await;
    let after = Issuer::builder()
        .store(store)
        .with("ADMIN_EMAIL", ADA)
        .start()
        .await;
    assert_eq!(login(&after, ADMIN.0, PASSWORD).await.status, 401);
    assert_eq!(status(&after, &old).await, 401);
    let list = basic(
        &after,
        (ADA, ADMIN.1),
        Method::GET,
        "/api/administrators",
        None,
    )
    .await;
    assert_eq!(all(&list.json(), "administrators", "email"), [ADA]);
    // It can come back by an invitation, and is then what that says.
    let body = Some(json!({ "email": ADMIN.0, "role": "viewer" }));
    let invited = basic(&after, (ADA, ADMIN.1), Method::POST, INVITATIONS, body).await;
    let joined = accept(&after, &invited.str("token"), PASSWORD).await;
    assert_eq!(joined.json()["role"], "viewer", "{}", joined.text);
}
