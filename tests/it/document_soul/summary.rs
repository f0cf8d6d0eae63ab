//! Endpoint Summary Table.

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;

/// Whom an endpoint asks for what.
#[derive(Debug, Clone, Copy)]
enum Auth {
    None,
    Admin,
    Bearer,
}

/// The rows of the table but for those about webhooks; `ID` stands for an identifier of the right kind.
fn rows() -> Vec<(Method, &'static str, Auth)> {
    use Auth::{Admin, Bearer, None};
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let (patch, delete) = (Method::PATCH, Method::DELETE);
    vec![
        (get.clone(), "/", None),
        (get.clone(), "/health", None),
        (get.clone(), "/health/ready", None),
        (get.clone(), "/metrics", None),
        (get.clone(), "/.well-known/jwks.json", None),
        (post.clone(), "/oauth/token", None),
        (post.clone(), "/oauth/introspect", None),
        (post.clone(), "/oauth/revoke", None),
        (post.clone(), "/oauth/refresh", None),
        (get.clone(), "/api/agents", Admin),
        (post.clone(), "/api/agents", Admin),
        (get.clone(), "/api/agents/ID", Admin),
        (delete.clone(), "/api/agents/ID", Admin),
        (post.clone(), "/api/agents/ID", Admin),
        (get.clone(), "/api/agents/me", Bearer),
        (get.clone(), "/api/agents/me/usage", Bearer),
        (post.clone(), "/api/agents/me/rotate", Bearer),
        (post.clone(), "/api/agents/me/deactivate", Bearer),
        (post.clone(), "/api/agents/me/reactivate", Bearer),
        (post.clone(), "/api/agents/me/delete", Bearer),
        (delete.clone(), "/api/agents/me/delete", Bearer),
        (get.clone(), "/api/verify", Bearer),
        (get.clone(), "/api/organizations", Admin),
        (post.clone(), "/api/organizations", Admin),
        (get.clone(), "/api/organizations/ID", Admin),
        (put, "/api/organizations/ID", Admin),
        (patch, "/api/organizations/ID", Admin),
        (delete.clone(), "/api/organizations/ID", Admin),
        (get.clone(), "/api/organizations/ID/teams", Admin),
        (post.clone(), "/api/organizations/ID/teams", Admin),
        (get.clone(), "/api/organizations/ID/agents", Admin),
        (post.clone(), "/api/organizations/ID/agents", Admin),
        (get, "/api/organizations/ID/api-keys", Admin),
        (post, "/api/organizations/ID/api-keys", Admin),
        (delete, "/api/organizations/ID/api-keys/ID", Admin),
    ]
}

#[tokio::test]
async fn every_row_is_served_and_asks_for_what_it_says() {
    let issuer = Issuer::start().await;
    for (method, path, auth) in rows() {
        let path = path.replace("ID", "00000000-0000-4000-8000-000000000000");
        let answer = Answer::to(issuer.request(method.clone(), &path)).await;
        let row = format!("{method} {path} ({auth:?}): {}", answer.text);
        match auth {
            // Decided: 400 and not 401 where parameters are missing.
            Auth::None if method == Method::GET => assert_eq!(answer.status, 200, "{row}"),
            Auth::None => assert_eq!(answer.status, 400, "{row}"),
            Auth::Admin => answer.expect_error(401, "unauthorized"),
            Auth::Bearer => answer.expect_error(401, "invalid_token"),
        }
    }
}
