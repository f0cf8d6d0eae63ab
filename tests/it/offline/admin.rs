//! The administrator's password, set by whoever can open the store.

use std::time::Duration;

use machineauth_tests::http::{self, Answer};
use machineauth_tests::installation::{ADMIN, Installation};
use machineauth_tests::process::Process;
use serde_json::json;

use super::PROGRAM;

/// The status of a request with HTTP Basic.
async fn basic(server: &Process, user: &str, password: &str) -> u16 {
    let request = http::client()
        .get(format!("{}/api/agents", server.base))
        .basic_auth(user, Some(password));
    Answer::to(request).await.status.as_u16()
}

async fn login(server: &Process, password: &str) -> Answer {
    let body = json!({ "email": ADMIN.0, "password": password });
    let url = format!("{}/api/auth/login", server.base);
    Answer::to(http::client().post(url).json(&body)).await
}

async fn session(server: &Process, token: &str) -> u16 {
    let url = format!("{}/api/auth/me", server.base);
    Answer::to(http::client().get(url).bearer_auth(token))
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn a_new_password_decides_and_ends_all_sessions() {
    let place = Installation::embedded(PROGRAM);
    let server = place.start().await;
    let before = login(&server, ADMIN.1).await.str("access_token");
    assert_eq!(session(&server, &before).await, 200);
    assert!(server.terminate().await.status.success());

    let reset = place.command(&["admin", "reset-password"]);
    assert!(reset.is_success);
    let password = reset.stdout.trim_end();
    assert_eq!(password.len(), 20, "nothing else on the standard output");
    assert!(!reset.stderr.contains(password));

    let server = place.start().await;
    assert_eq!(session(&server, &before).await, 401);
    for (user, secret, status) in [
        (ADMIN.0, password, 200),
        (ADMIN.0, ADMIN.1, 401),
        ("other@example.com", password, 401),
        (ADMIN.0, "", 401),
        (ADMIN.0, password, 200),
    ] {
        assert_eq!(
            basic(&server, user, secret).await,
            status,
            "{user} {secret}"
        );
    }
    login(&server, ADMIN.1)
        .await
        .expect_error(401, "unauthorized");
    let token = login(&server, password).await.str("access_token");
    assert_eq!(session(&server, &token).await, 200);
    let ended = server.terminate().await;
    assert!(!ended.printed.contains(password));

    let again = place.command(&["admin", "reset-password"]);
    let second = again.stdout.trim_end().to_owned();
    assert_ne!(second, password);
    let server = place.start().await;
    assert_eq!(session(&server, &token).await, 401);
    assert_eq!(basic(&server, ADMIN.0, password).await, 401);
    let token = login(&server, &second).await.str("access_token");
    assert!(server.terminate().await.status.success());

    let forgotten = place.command(&["admin", "reset-password", "--forget"]);
    assert!(forgotten.is_success);
    let server = place.start().await;
    assert_eq!(basic(&server, ADMIN.0, &second).await, 401);
    assert_eq!(basic(&server, ADMIN.0, ADMIN.1).await, 200);
    assert_eq!(session(&server, &token).await, 401);
    assert_eq!(
        session(&server, &before).await,
        401,
        "what has ended stays so"
    );
    assert!(server.terminate().await.status.success());
    assert!(
        place
            .command(&["admin", "reset-password", "--forget"])
            .stderr
            .contains("no other was set")
    );

    // I5
    let store = std::fs::read(place.directory().join("machineauth.redb")).unwrap();
    for password in [password, &second] {
        assert!(!store.windows(20).any(|bytes| bytes == password.as_bytes()));
    }
}

#[tokio::test]
async fn servers_on_redis_hear_of_it_within_seconds() {
    let place = Installation::on_redis(PROGRAM).await;
    let server = place.start().await;
    let before = login(&server, ADMIN.1).await.str("access_token");
    let chosen = "a password: with a colon";
    let reset = place.command_with(
        &["admin", "reset-password", "--stdin"],
        &[],
        &format!("{chosen}\n"),
    );
    assert!(reset.is_success && reset.stdout.is_empty(), "{reset:?}");
    let known = async {
        while basic(&server, ADMIN.0, chosen).await != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), known)
        .await
        .unwrap();
    assert_eq!(basic(&server, ADMIN.0, ADMIN.1).await, 401);
    assert_eq!(session(&server, &before).await, 401);
}

#[test]
fn only_one_line_that_is_long_enough_is_a_password() {
    let place = Installation::embedded(PROGRAM);
    place.write("empty.json", r#"{"agents":[]}"#);
    let missing = place.command(&["admin", "reset-password"]);
    assert!(!missing.is_success && missing.stderr.contains("there is no store"));
    assert!(
        place
            .command(&["import", "machineauth-json", "empty.json"])
            .is_success
    );
    let production = [("ENV", "production")];
    for (input, variables) in [
        ("", [].as_slice()),
        ("\n", &[]),
        ("two\nlines\n", &[]),
        ("eleven char\n", &production),
        (&"x".repeat(1025), &[]),
    ] {
        let refused = place.command_with(&["admin", "reset-password", "--stdin"], variables, input);
        assert!(
            !refused.is_success && refused.stderr.contains("a password"),
            "{refused:?}"
        );
    }
    let taken = place.command_with(
        &["admin", "reset-password", "--stdin"],
        &production,
        "twelve chars\r\n",
    );
    assert!(taken.is_success);
}
