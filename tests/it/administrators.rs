//! Several administrators: who may do what, how they come and go, and where they are signed in.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{ManualClock, SystemClock, Timestamp};
use machineauth_issuer::domain::administrators::{Activity, SessionKind};
use machineauth_issuer::domain::event::{Action, Actor, By};
use machineauth_issuer::domain::secret::SecretText;
use machineauth_issuer::store::{DynStore, MemoryStore, Partition, Piece, Place};
use machineauth_tests::audit::events;
use machineauth_tests::description::operations;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";
const INVITATIONS: &str = "/api/administrators/invitations";

/// The token of an invitation that the configured administrator makes.
async fn invite(issuer: &Issuer, email: &str, role: &str) -> String {
    let body = json!({ "email": email, "role": role });
    let invited = issuer.admin(Method::POST, INVITATIONS, Some(body)).await;
    assert_eq!(invited.status, 201, "{}", invited.text);
    invited.str("token")
}

async fn accept(issuer: &Issuer, token: &str, password: &str) -> Answer {
    let body = json!({ "token": token, "password": password });
    let request = issuer.request(Method::POST, "/api/auth/invitation");
    Answer::to(request.json(&body)).await
}

/// Somebody who was invited and accepted: its identifier.
async fn join(issuer: &Issuer, email: &str, role: &str) -> String {
    let token = invite(issuer, email, role).await;
    let joined = accept(issuer, &token, PASSWORD).await;
    assert_eq!(joined.status, 201, "{}", joined.text);
    joined.str("id")
}

async fn login(issuer: &Issuer, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    Answer::to(issuer.request(Method::POST, "/api/auth/login").json(&body)).await
}

async fn token(issuer: &Issuer, email: &str) -> String {
    login(issuer, email, PASSWORD).await.str("access_token")
}

async fn basic(
    issuer: &Issuer,
    (email, password): (&str, &str),
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let request = issuer
        .request(method, path)
        .basic_auth(email, Some(password));
    Answer::to(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

/// The status of a request with a login's token.
async fn status(issuer: &Issuer, token: &str) -> u16 {
    let me = issuer
        .bearer(token, Method::GET, "/api/auth/me", None)
        .await;
    me.status.as_u16()
}

/// The members `member` of the objects in the list `list` of an answer.
fn all<'a>(answer: &'a Value, list: &str, member: &str) -> Vec<&'a str> {
    let list = answer[list].as_array().unwrap().iter();
    list.map(|object| object[member].as_str().unwrap())
        .collect()
}

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

#[tokio::test]
async fn issuers_on_one_store_agree_who_administers() {
    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let one = Issuer::builder().store(Arc::clone(&store)).start().await;
    let other = Issuer::builder().store(store).start().await;
    assert_eq!(
        login(&other, ADA, PASSWORD).await.status,
        401,
        "it has asked the store"
    );
    let id = join(&one, ADA, "admin").await;
    let token = token(&one, ADA).await;
    assert_eq!(
        status(&other, &token).await,
        200,
        "what is remembered refuses nobody"
    );
    let path = format!("/api/administrators/{id}");
    assert_eq!(one.admin(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(status(&other, &token).await, 401);
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

/// I5
#[tokio::test]
async fn a_dump_of_the_store_holds_no_token_of_an_administrator() {
    let issuer = Issuer::start().await;
    let invited = invite(&issuer, "eve@example.com", "owner").await;
    join(&issuer, ADA, "owner").await;
    let token = token(&issuer, ADA).await;
    let mut dump = Vec::new();
    let mut place = Place::START;
    loop {
        let (pieces, next) = issuer
            .app
            .store
            .dump(Partition::SYSTEM, &place, 1000)
            .await
            .unwrap();
        dump.extend(pieces.iter().flat_map(Piece::encode));
        match next {
            Some(next) => place = next,
            None => break,
        }
    }
    let dump = String::from_utf8_lossy(&dump).into_owned();
    assert!(
        dump.contains("administrator_session/"),
        "the sessions are in it"
    );
    for secret in [&invited, &token, &PASSWORD.to_owned()] {
        // What names the row is no secret: it is what comes after.
        let secret = secret
            .get(50..)
            .filter(|end| end.len() > 16)
            .unwrap_or(secret);
        assert!(!dump.contains(secret));
    }
}

#[tokio::test]
async fn what_happens_to_administrators_is_recorded() {
    let issuer = Issuer::start().await;
    let id = join(&issuer, ADA, "admin").await;
    let path = format!("/api/administrators/{id}");
    token(&issuer, ADA).await;
    issuer
        .admin(Method::DELETE, &format!("{path}/sessions"), None)
        .await;
    issuer
        .admin(Method::PATCH, &path, Some(json!({ "role": "viewer" })))
        .await;
    issuer.admin(Method::DELETE, &path, None).await;
    let events = events(&*issuer.app.store).await;
    let of_ada = events.iter().filter(|event| {
        let target = event.target.as_ref();
        target.is_some_and(|target| target.kind == "administrator" && target.id == id)
    });
    let names: Vec<_> = of_ada
        .map(|event| Action::find(&event.action).unwrap())
        .collect();
    assert_eq!(
        names,
        [
            Action::AdministratorInvited,
            Action::AdministratorJoined,
            Action::SessionEnded,
            Action::AdministratorRoleChanged,
            Action::AdministratorRemoved,
        ]
    );
}
