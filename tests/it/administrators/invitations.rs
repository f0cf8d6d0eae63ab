//! How somebody becomes an administrator.

use std::time::Duration;

use machineauth_issuer::domain::event::Actor;
use machineauth_tests::audit::events;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::json;

use super::{ADA, INVITATIONS, PASSWORD, accept, all, basic, invite, join, login};

#[tokio::test]
async fn whoever_was_invited_comes_with_basic_and_with_a_login() {
    let issuer = Issuer::start().await;
    let id = join(&issuer, "Ada@Example.com", "admin").await;
    for name in [ADA, "ADA@example.com"] {
        let me = basic(&issuer, (name, PASSWORD), Method::GET, "/api/auth/me", None).await;
        assert_eq!(
            me.json()["user"],
            json!({ "id": id, "email": ADA, "role": "admin" })
        );
        let login = login(&issuer, name, PASSWORD).await.json();
        assert_eq!(login["role"], "admin");
        let token = login["access_token"].as_str().unwrap();
        let named = Some(json!({ "name": "a" }));
        let created = issuer
            .bearer(token, Method::POST, "/api/agents", named)
            .await;
        assert_eq!(created.status, 201, "{}", created.text);
    }
    for (name, password) in [
        (ADA, ADMIN.1),
        (ADMIN.0, PASSWORD),
        ("eve@example.com", PASSWORD),
    ] {
        let answer = basic(&issuer, (name, password), Method::GET, "/api/auth/me", None).await;
        answer.expect_error(401, "unauthorized");
    }
    let events = events(&*issuer.app.store).await;
    let created = events
        .iter()
        .filter(|event| event.action == "agent.created");
    for event in created {
        assert_eq!(event.actor, Actor::Administrator { email: ADA.into() });
    }
    let list = issuer
        .admin(Method::GET, "/api/administrators", None)
        .await
        .json();
    assert_eq!(all(&list, "administrators", "email"), [ADA, ADMIN.0]);
    assert_eq!(all(&list, "administrators", "role"), ["admin", "owner"]);
}

#[tokio::test]
async fn an_invitation_works_once() {
    let issuer = Issuer::start().await;
    let token = invite(&issuer, ADA, "viewer").await;
    let short = accept(&issuer, &token, "short").await;
    short.expect_error(400, "invalid_request");
    assert_eq!(accept(&issuer, &token, PASSWORD).await.status, 201);
    let again = accept(&issuer, &token, "another password").await;
    again.expect_error(404, "not_found");
    assert_eq!(login(&issuer, ADA, PASSWORD).await.status, 200);
    let body = json!({ "email": ADA, "role": "owner" });
    let invited = issuer.admin(Method::POST, INVITATIONS, Some(body)).await;
    invited.expect_error(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_accept_an_invitation_at_once_one_does() {
    let issuer = Issuer::start().await;
    let token = invite(&issuer, ADA, "viewer").await;
    let passwords: Vec<_> = (0..8).map(|n| format!("{PASSWORD} {n}")).collect();
    let accepted = passwords
        .iter()
        .map(|password| accept(&issuer, &token, password));
    let answers = futures_util::future::join_all(accepted).await;
    let mut right = 0;
    for (password, answer) in passwords.iter().zip(&answers) {
        let is_accepted = answer.status == 201;
        let is_right = login(&issuer, ADA, password).await.status == 200;
        assert_eq!(is_accepted, is_right);
        right += usize::from(is_right);
    }
    assert_eq!(right, 1);
}

#[tokio::test]
async fn an_invitation_ends_with_its_time_its_withdrawal_its_successor_and_its_owner() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let late = invite(&issuer, ADA, "viewer").await;
    clock.advance(Duration::from_secs(3 * 24 * 3600));
    accept(&issuer, &late, PASSWORD)
        .await
        .expect_error(404, "not_found");

    let first = invite(&issuer, ADA, "viewer").await;
    let withdrawn = invite(&issuer, ADA, "admin").await;
    accept(&issuer, &first, PASSWORD)
        .await
        .expect_error(404, "not_found");
    let list = issuer.admin(Method::GET, INVITATIONS, None).await.json();
    assert_eq!(all(&list, "invitations", "role"), ["admin"]);
    assert_eq!(all(&list, "invitations", "invited_by"), [ADMIN.0]);
    let id = list["invitations"][0]["id"].as_str().unwrap();
    let path = format!("{INVITATIONS}/{id}");
    assert_eq!(issuer.admin(Method::DELETE, &path, None).await.status, 204);
    issuer
        .admin(Method::DELETE, &path, None)
        .await
        .expect_error(404, "not_found");
    accept(&issuer, &withdrawn, PASSWORD)
        .await
        .expect_error(404, "not_found");

    let owner = join(&issuer, "owner@example.com", "owner").await;
    let body = Some(json!({ "email": ADA, "role": "owner" }));
    let credentials = ("owner@example.com", PASSWORD);
    let orphan = basic(&issuer, credentials, Method::POST, INVITATIONS, body)
        .await
        .str("token");
    let path = format!("/api/administrators/{owner}");
    let demoted = issuer
        .admin(Method::PATCH, &path, Some(json!({ "role": "admin" })))
        .await;
    assert_eq!(demoted.json()["role"], "admin");
    accept(&issuer, &orphan, PASSWORD)
        .await
        .expect_error(404, "not_found");
    let list = issuer.admin(Method::GET, INVITATIONS, None).await.json();
    assert_eq!(list, json!({ "invitations": [] }));

    for wrong in ["", "mai_", &first[..40], &late.replace("mai_", "mas_")] {
        accept(&issuer, wrong, PASSWORD)
            .await
            .expect_error(404, "not_found");
    }
}

#[tokio::test]
async fn what_is_no_address_or_no_role_is_not_invited() {
    let issuer = Issuer::start().await;
    for (email, role) in [
        ("ada", "admin"),
        ("<b>@example.com", "admin"),
        (ADA, "root"),
        (ADA, ""),
    ] {
        let body = json!({ "email": email, "role": role });
        let answer = issuer.admin(Method::POST, INVITATIONS, Some(body)).await;
        answer.expect_error(400, "invalid_request");
    }
    let body = json!({ "email": ADMIN.0.to_uppercase(), "role": "viewer" });
    let answer = issuer.admin(Method::POST, INVITATIONS, Some(body)).await;
    answer.expect_error(409, "conflict");
}
