//! Several administrators: who may do what, how they come and go, and where they are signed in.

mod invitations;
mod passwords;
mod roles;
mod sessions;

use std::sync::Arc;

use machineauth_core::clock::SystemClock;
use machineauth_issuer::domain::event::Action;
use machineauth_issuer::store::{DynStore, MemoryStore, Partition, Piece, Place};
use machineauth_tests::audit::events;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
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
