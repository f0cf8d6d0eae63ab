//! Changing a password, and guessing it.

use std::sync::Arc;

use machineauth_core::clock::SystemClock;
use machineauth_issuer::store::{DynStore, MemoryStore};
use machineauth_tests::audit::events;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::json;

use super::{ADA, PASSWORD, basic, join, login, status};

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it_and_ends_all_sessions() {
    let issuer = Issuer::start().await;
    join(&issuer, ADA, "viewer").await;
    for (email, old) in [(ADA, PASSWORD), (ADMIN.0, ADMIN.1)] {
        let token = login(&issuer, email, old).await.str("access_token");
        let change = async |current: &str, new: &str| {
            let body = json!({ "current_password": current, "new_password": new });
            issuer
                .bearer(&token, Method::POST, "/api/auth/password", Some(body))
                .await
        };
        change("wrong", "a new password")
            .await
            .expect_error(403, "forbidden");
        change(old, "short")
            .await
            .expect_error(400, "invalid_request");
        assert_eq!(status(&issuer, &token).await, 200);
        assert_eq!(change(old, "a new password").await.status, 204);
        assert_eq!(status(&issuer, &token).await, 401);
        assert_eq!(login(&issuer, email, old).await.status, 401);
        assert_eq!(login(&issuer, email, "a new password").await.status, 200);
    }
    let events = events(&*issuer.app.store).await;
    let changed = events
        .iter()
        .filter(|event| event.action == "administrator.password_changed");
    assert_eq!(changed.count(), 2);
}

/// I6
#[tokio::test]
async fn guessing_the_password_of_somebody_who_was_invited_locks_out_however_the_name_is_written() {
    let issuer = Issuer::builder().with("FAILURE_LIMIT", "3").start().await;
    join(&issuer, ADA, "viewer").await;
    for (guess, name) in [ADA, "Ada@example.com", "ADA@EXAMPLE.COM"]
        .into_iter()
        .enumerate()
    {
        let answer = login(&issuer, name, &format!("wrong password {guess}")).await;
        answer.expect_error(401, "unauthorized");
    }
    let right = login(&issuer, "aDa@example.com", PASSWORD).await;
    right.expect_error(429, "too_many_requests");
    assert_eq!(
        login(&issuer, ADMIN.0, ADMIN.1).await.status,
        200,
        "somebody else is not"
    );
}

/// I6: a guess of the current password counts as any other.
#[tokio::test]
async fn guessing_the_password_in_a_session_locks_out() {
    let issuer = Issuer::builder().with("FAILURE_LIMIT", "3").start().await;
    let token = login(&issuer, ADMIN.0, ADMIN.1).await.str("access_token");
    for (guess, status) in [403, 403, 403, 429].into_iter().enumerate() {
        let current = format!("wrong password {guess}");
        let body = json!({ "current_password": current, "new_password": PASSWORD });
        let answer = issuer
            .bearer(&token, Method::POST, "/api/auth/password", Some(body))
            .await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

/// What an issuer remembers lets nobody in for good: who knows a password that is none any more changes nothing with it.
#[tokio::test]
async fn an_old_password_changes_nothing_at_an_issuer_that_has_not_heard_of_the_new_one() {
    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let one = Issuer::builder().store(Arc::clone(&store)).start().await;
    let other = Issuer::builder().store(store).start().await;
    join(&one, ADA, "owner").await;
    let change = async |issuer: &Issuer, new: &str| {
        let body = json!({ "current_password": PASSWORD, "new_password": new });
        let path = "/api/auth/password";
        basic(issuer, (ADA, PASSWORD), Method::POST, path, Some(body)).await
    };
    // The other one asks the store for the first time, and remembers the answer.
    let me = basic(&other, (ADA, PASSWORD), Method::GET, "/api/auth/me", None).await;
    assert_eq!(me.status, 200, "{}", me.text);
    let (first, second) = ("the owner's new one", "the thief's new one");
    assert_eq!(change(&one, first).await.status, 204);
    let late = change(&other, second).await;
    assert!(late.status.is_client_error(), "{}", late.text);
    assert_eq!(login(&one, ADA, first).await.status, 200);
    assert_eq!(login(&one, ADA, second).await.status, 401);
}
