//! Where administrators are signed in, and how that ends.

use std::time::Duration;

use machineauth_core::clock::{ManualClock, Timestamp};
use machineauth_issuer::domain::administrators::{Activity, SessionKind};
use machineauth_issuer::domain::event::By;
use machineauth_issuer::domain::secret::SecretText;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::json;

use super::{ADA, all, join, login, status, token};

#[tokio::test]
async fn an_administrator_sees_and_ends_its_own_sessions() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    join(&issuer, ADA, "viewer").await;
    let first = token(&issuer, ADA).await;
    clock.advance(Duration::from_secs(600));
    let second = token(&issuer, ADA).await;
    let third = token(&issuer, ADA).await;
    let sessions = "/api/auth/sessions";
    let list = issuer
        .bearer(&second, Method::GET, sessions, None)
        .await
        .json();
    let list = list["sessions"].as_array().unwrap().clone();
    assert_eq!(list.len(), 3);
    let current: Vec<_> = list
        .iter()
        .filter(|session| session["is_current"] == true)
        .collect();
    assert_eq!(current.len(), 1);
    assert_eq!(
        list[2]["created_at"], "2027-01-15T08:00:00Z",
        "the one that was used last is first"
    );
    assert_eq!(current[0]["created_at"], "2027-01-15T08:10:00Z");
    assert_eq!(current[0]["last_used_at"], "2027-01-15T08:10:00Z");
    assert_eq!(current[0]["expires_at"], "2027-01-15T16:10:00Z");
    assert_eq!(current[0]["ip_address"], "127.0.0.1");
    assert_eq!(current[0]["kind"], "api");

    let path = format!("{sessions}/{}", list[2]["id"].as_str().unwrap());
    assert_eq!(
        issuer
            .bearer(&second, Method::DELETE, &path, None)
            .await
            .status,
        204
    );
    assert_eq!(status(&issuer, &first).await, 401);
    issuer
        .bearer(&second, Method::DELETE, &path, None)
        .await
        .expect_error(404, "not_found");
    // Another administrator's session is none of one's own.
    let other = login(&issuer, ADMIN.0, ADMIN.1).await.str("access_token");
    issuer
        .bearer(&other, Method::DELETE, &path, None)
        .await
        .expect_error(404, "not_found");
    assert_eq!(
        issuer
            .bearer(&second, Method::POST, "/api/auth/logout", None)
            .await
            .status,
        204
    );
    assert_eq!(status(&issuer, &second).await, 401);
    assert_eq!(status(&issuer, &third).await, 200);
    assert_eq!(
        issuer
            .bearer(&third, Method::DELETE, sessions, None)
            .await
            .status,
        204
    );
    assert_eq!(status(&issuer, &third).await, 401);
    assert_eq!(status(&issuer, &other).await, 200, "somebody else's");
}

#[tokio::test]
async fn an_owner_sees_and_ends_the_sessions_of_others() {
    let issuer = Issuer::start().await;
    let id = join(&issuer, ADA, "admin").await;
    let tokens = [
        token(&issuer, ADA).await,
        token(&issuer, ADA).await,
        token(&issuer, ADA).await,
    ];
    let path = format!("/api/administrators/{id}/sessions");
    let list = issuer.admin(Method::GET, &path, None).await.json();
    let ids = all(&list, "sessions", "id");
    assert_eq!(ids.len(), 3);
    let one = format!("{path}/{}", ids[0]);
    assert_eq!(issuer.admin(Method::DELETE, &one, None).await.status, 204);
    let mut good = 0;
    for token in &tokens {
        good += usize::from(status(&issuer, token).await == 200);
    }
    assert_eq!(good, 2);
    assert_eq!(issuer.admin(Method::DELETE, &path, None).await.status, 204);
    for token in &tokens {
        assert_eq!(status(&issuer, token).await, 401);
    }
    let list = issuer.admin(Method::GET, &path, None).await.json();
    assert_eq!(list, json!({ "sessions": [] }));
}

#[tokio::test]
async fn one_session_more_than_there_can_be_ends_the_oldest() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let oldest = login(&issuer, ADMIN.0, ADMIN.1).await.str("access_token");
    clock.advance(Duration::from_secs(1));
    let second = login(&issuer, ADMIN.0, ADMIN.1).await.str("access_token");
    clock.advance(Duration::from_secs(1));
    for _ in 0..98 {
        assert_eq!(login(&issuer, ADMIN.0, ADMIN.1).await.status, 200);
    }
    assert_eq!(status(&issuer, &oldest).await, 200);
    assert_eq!(login(&issuer, ADMIN.0, ADMIN.1).await.status, 200);
    assert_eq!(status(&issuer, &oldest).await, 401);
    assert_eq!(status(&issuer, &second).await, 200);
}

/// I19: a session in a browser is no key to the API, rests for an hour at most, and asks for the password again.
#[tokio::test]
async fn a_session_of_the_console_is_good_in_the_console_only_and_ends_when_nobody_uses_it() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let issuer = Issuer::builder().clock(&clock).start().await;
    let administrators = &issuer.app.administrators;
    let password = SecretText::from(ADMIN.1.to_owned());
    let proof = administrators
        .recognize(ADMIN.0, &password)
        .await
        .unwrap()
        .unwrap();
    let begin = async |kind| {
        administrators
            .begin_session(&proof, kind, &By::SYSTEM)
            .await
            .unwrap()
    };
    let is_good = async |token: &SecretText, kind| {
        let recognized = administrators
            .recognize_session(token, kind, Activity::Use)
            .await;
        recognized.unwrap().map(|(_, session)| session)
    };
    let (_, of_the_api) = begin(SessionKind::Api).await;
    let (session, token) = begin(SessionKind::Console).await;
    assert!(is_good(&of_the_api, SessionKind::Console).await.is_none());
    assert!(is_good(&token, SessionKind::Api).await.is_none());
    assert_eq!(status(&issuer, token.reveal()).await, 401);

    let now = || issuer.app.clock.now();
    assert!(session.is_recent(now()));
    clock.advance(Duration::from_secs(600));
    let session = is_good(&token, SessionKind::Console).await.unwrap();
    assert!(!session.is_recent(now()));
    administrators
        .confirm_session(&session, &proof, &By::SYSTEM)
        .await
        .unwrap();
    let session = is_good(&token, SessionKind::Console).await.unwrap();
    assert!(session.is_recent(now()));

    for _ in 0..3 {
        clock.advance(Duration::from_secs(3599));
        assert!(is_good(&token, SessionKind::Console).await.is_some());
    }
    clock.advance(Duration::from_secs(3600));
    assert!(is_good(&token, SessionKind::Console).await.is_none());
    let (_, left_open) = begin(SessionKind::Console).await;
    let polled = async || {
        let (kind, activity) = (SessionKind::Console, Activity::Poll);
        let recognized = administrators.recognize_session(&left_open, kind, activity);
        recognized.await.unwrap().is_some()
    };
    clock.advance(Duration::from_secs(3599));
    assert!(polled().await);
    clock.advance(Duration::from_secs(1));
    assert!(!polled().await, "a page that asks by itself is nobody");
    let (_, used) = begin(SessionKind::Console).await;
    for _ in 0..16 {
        clock.advance(Duration::from_secs(1700));
        assert!(is_good(&used, SessionKind::Console).await.is_some());
    }
    clock.advance(Duration::from_secs(1700));
    assert!(
        is_good(&used, SessionKind::Console).await.is_none(),
        "a working day is over"
    );
}
