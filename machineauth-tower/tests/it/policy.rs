use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::{HeaderMap, Request};
use machineauth_core::{Policy, Rule};
use machineauth_tower::PolicyLayer;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Issuer, NOW, send, send_token, whoami};

fn policy() -> machineauth_core::policy::PolicyBuilder {
    Policy::builder()
        .rule(Rule::get("/health").public())
        .rule(
            Rule::get("/docks/{dock_id}")
                .scopes("read")
                .bind("dock_id", "dockId"),
        )
        .rule(Rule::delete("/docks/{dock_id}").scopes("read admin"))
}

fn app(issuer: &Issuer, layer: PolicyLayer) -> Router {
    Router::new()
        .route("/health", get(whoami))
        .route("/docks/{dock_id}", any(whoami))
        .route("/forgotten", get(whoami))
        .layer(layer)
        .layer(issuer.layer().optional())
}

#[tokio::test]
async fn each_request_is_judged_by_its_rule() {
    let issuer = Issuer::new();
    let app = app(&issuer, PolicyLayer::new(policy().build().unwrap()));
    assert_eq!(send(&app, "/health", &[]).await.status, 200);

    let token = issuer.token_with(json!({"scope": "read", "dockId": "d1"}));
    assert_eq!(send_token(&app, "/docks/d1", &token).await.status, 200);

    let answer = send_token(&app, "/docks/d2", &token).await;
    assert_eq!(answer.status, 403);
    assert!(answer.json()["message"].as_str().unwrap().contains("dock"));
    assert!(!answer.headers.contains_key("www-authenticate"));

    let answer = send_token(&app, "/docks/d1", &issuer.token("list")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.json()["message"],
        "the access token lacks the scope `read`"
    );
    assert!(
        answer.challenge().ends_with("scope=\"read\""),
        "{}",
        answer.challenge()
    );
}

#[tokio::test]
async fn what_no_rule_allows_is_refused_to_everybody() {
    let issuer = Issuer::new();
    let app = app(&issuer, PolicyLayer::new(policy().build().unwrap()));
    let token = issuer.token("read admin");
    for path in ["/forgotten", "/nowhere", "/docks/d1/"] {
        assert_eq!(send_token(&app, path, &token).await.status, 403, "{path}");
        assert_eq!(send(&app, path, &[]).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_rule_that_needs_an_agent_asks_for_one_with_its_scopes() {
    let issuer = Issuer::new();
    let layer = PolicyLayer::new(policy().build().unwrap())
        .realm("docks")
        .resource_metadata("https://api.example/.well-known/oauth-protected-resource");
    let answer = send(&app(&issuer, layer), "/docks/d1", &[]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.challenge(),
        "Bearer realm=\"docks\", scope=\"read\", \
         resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\""
    );
}

/// V19
#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_does_not_reach_the_service() {
    let issuer = Issuer::new();
    let app = app(&issuer, PolicyLayer::new(policy().build().unwrap()));
    for path in [
        "/health/..%2fdocks/d1",
        "//health",
        "/health;x",
        "/%68ealth",
        "/health/../docks/d1",
    ] {
        let answer = send(&app, path, &[]).await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.json()["error"], "invalid_request");
    }
    let answer = send(&app, "http://elsewhere.example/health", &[]).await;
    assert_eq!(answer.status, 200, "the absolute form is the same path");
}

/// V19
#[tokio::test]
async fn no_header_replaces_the_method_or_path_that_was_judged() {
    let issuer = Issuer::new();
    let names = [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-method",
        "x-original-method",
        "x-forwarded-method",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-forwarded-prefix",
    ];
    let echo = async |headers: HeaderMap| format!("{}", headers.len());
    let app: Router = Router::new()
        .route("/health", get(echo))
        .layer(PolicyLayer::new(policy().build().unwrap()))
        .layer(issuer.layer().optional());
    let headers = names.map(|name| (name, b"DELETE".as_slice()));
    let answer = send(&app, "/health", &headers).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "0"));
}

#[tokio::test]
async fn head_is_judged_as_get() {
    let issuer = Issuer::new();
    let app = app(&issuer, PolicyLayer::new(policy().build().unwrap()));
    for (path, status) in [("/health", 200), ("/docks/d1", 401)] {
        let request = Request::head(path).body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_dry_run_lets_everything_through() {
    let issuer = Issuer::new();
    let app = app(
        &issuer,
        PolicyLayer::new(policy().dry_run().build().unwrap()),
    );
    for path in ["/docks/d1", "/forgotten"] {
        assert_eq!(send(&app, path, &[]).await.status, 200);
    }
}

/// V17
#[tokio::test]
async fn a_cached_token_is_judged_anew_by_each_rule() {
    let issuer = Issuer::new();
    let app = app(&issuer, PolicyLayer::new(policy().build().unwrap()));
    let token = issuer.token_with(json!({"scope": "read", "dockId": "d1"}));
    for _ in 0..3 {
        assert_eq!(send_token(&app, "/docks/d1", &token).await.status, 200);
        assert_eq!(send_token(&app, "/docks/d2", &token).await.status, 403);
    }
}

/// RFC 9470 §3
#[tokio::test]
async fn who_was_authenticated_too_long_ago_or_too_weakly_is_told_what_would_do() {
    let issuer = Issuer::new();
    let policy = Policy::builder()
        .rule(Rule::get("/recent").max_auth_age(Duration::from_secs(300)))
        .rule(Rule::get("/strong").acr("phrh").acr("phr"))
        .clock(Arc::new(issuer.clock.clone()))
        .build()
        .unwrap();
    let app = Router::new()
        .route("/recent", get(whoami))
        .route("/strong", get(whoami))
        .layer(PolicyLayer::new(policy).realm("payments"))
        .layer(issuer.layer());

    let good = issuer.token_with(json!({"auth_time": NOW - 300, "acr": "phr"}));
    for path in ["/recent", "/strong"] {
        assert_eq!(send_token(&app, path, &good).await.status, 200, "{path}");
    }
    let weak = issuer.token_with(json!({"auth_time": NOW - 301, "acr": "pwd"}));
    let words = "this request needs a more recent or a stronger authentication";
    for (path, parameter) in [
        ("/recent", "max_age=\"300\""),
        ("/strong", "acr_values=\"phrh phr\""),
    ] {
        let answer = send_token(&app, path, &weak).await;
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.challenge(),
            format!(
                "Bearer realm=\"payments\", error=\"insufficient_user_authentication\", \
                 error_description=\"{words}\", {parameter}"
            )
        );
        assert_eq!(answer.json()["error"], "insufficient_user_authentication");
        assert_eq!(answer.json()["message"], words);

        let authorization = format!("Bearer {weak}");
        let headers: [(&str, &[u8]); 2] = [
            ("authorization", authorization.as_bytes()),
            ("content-type", b"application/grpc"),
        ];
        let answer = send(&app, path, &headers).await;
        assert_eq!(answer.headers["grpc-status"], "16");
        assert_eq!(answer.headers["grpc-message"], words);
        assert!(answer.challenge().ends_with(parameter));
    }
}

#[tokio::test]
async fn a_refused_binding_is_named_to_callers_of_grpc_too() {
    let issuer = Issuer::new();
    let app = app(&issuer, PolicyLayer::new(policy().build().unwrap()));
    let token = issuer.token_with(json!({"scope": "read", "dockId": "d1"}));
    let words = "`dock_id` in the path is not the `dockId` that the access token is restricted to";
    let answer = send_token(&app, "/docks/d2", &token).await;
    assert_eq!(answer.json()["message"], words);

    let authorization = format!("Bearer {token}");
    for content_type in ["application/grpc", "application/grpc-web+proto"] {
        let headers = [
            ("authorization", authorization.as_bytes()),
            ("content-type", content_type.as_bytes()),
        ];
        let answer = send(&app, "/docks/d2", &headers).await;
        assert_eq!(answer.headers["content-type"], content_type);
        assert_eq!(answer.headers["grpc-status"], "7");
        assert_eq!(answer.headers["grpc-message"], words);
    }
}
