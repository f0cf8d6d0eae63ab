//! A proxy that knows no tokens: nginx asks `GET /api/verify` for each request (`auth_request`) and tells its upstream who
//! called.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use axum::Json;
use axum::Router;
use axum::http::HeaderMap;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::process::{Process, free_port};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Debian's; installed by scripts/install.
const NGINX: &str = "/usr/sbin/nginx";

/// One process, which listens on `PROXY`, asks `ISSUER` and passes on to `UPSTREAM`. `/partner/` is for tokens that are
/// meant for somebody else.
const CONFIGURATION: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;

    server {
        listen PROXY;

        location / {
            auth_request /verify;
            auth_request_set $agent_id $upstream_http_x_agent_id;
            auth_request_set $client_id $upstream_http_x_client_id;
            auth_request_set $org_id $upstream_http_x_org_id;
            auth_request_set $team_id $upstream_http_x_team_id;
            auth_request_set $scopes $upstream_http_x_agent_scopes;
            auth_request_set $method $upstream_http_x_auth_method;
            auth_request_set $expires $upstream_http_x_token_expires;

            proxy_set_header X-Agent-Id $agent_id;
            proxy_set_header X-Client-Id $client_id;
            proxy_set_header X-Org-Id $org_id;
            proxy_set_header X-Team-Id $team_id;
            proxy_set_header X-Agent-Scopes $scopes;
            proxy_set_header X-Auth-Method $method;
            proxy_set_header X-Token-Expires $expires;
            proxy_set_header Authorization "";
            proxy_set_header X-API-Key "";
            proxy_pass http://UPSTREAM;
        }

        location /partner/ {
            auth_request /verify-partner;
            proxy_set_header Authorization "";
            proxy_pass http://UPSTREAM;
        }

        location = /verify {
            internal;
            proxy_pass http://ISSUER/api/verify;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }

        location = /verify-partner {
            internal;
            proxy_pass http://ISSUER/api/verify?audience=https://partner.example.com;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }
    }
}
"#;

struct Stage {
    issuer: Issuer,
    nginx: Process,
    client: reqwest::Client,
    _directory: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let issuer = Issuer::start().await;
        let address = start_upstream().await;
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = CONFIGURATION
            .replace("PROXY", &format!("127.0.0.1:{port}"))
            .replace("ISSUER", &issuer.address.to_string())
            .replace("UPSTREAM", &address.to_string());
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let (prefix, file) = (
            directory.path().display().to_string(),
            file.display().to_string(),
        );
        let arguments = ["-p", &prefix, "-c", &file, "-e", "stderr"];
        let nginx = Process::start(Path::new(NGINX), directory.path(), port, &[], &arguments).await;
        Self {
            issuer,
            nginx,
            client: http::client(),
            _directory: directory,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.nginx.base))
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        Answer::to(self.request(Method::GET, path).bearer_auth(token)).await
    }
}

/// A service that shows what arrives.
async fn start_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let show = async |headers: HeaderMap| {
        let headers: BTreeMap<_, _> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        Json(headers)
    };
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(show))
            .await
            .unwrap();
    });
    address
}

#[tokio::test]
async fn the_upstream_learns_who_called_and_nothing_that_a_caller_forged() {
    let stage = Stage::set().await;
    let organization = stage.issuer.organization("acme").await;
    let agent = stage
        .issuer
        .agent_in(&organization, &["read", "write"])
        .await;
    let (token, _) = stage.issuer.tokens(&agent).await;
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let request = stage
            .request(method.clone(), "/artifacts?page=1")
            .bearer_auth(&token)
            .header("x-agent-id", "root")
            .header("x-agent-scopes", "admin")
            .header("x-team-id", "forged")
            .json(&json!({ "filename": "a.pdf" }));
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text);
        let arrived = answer.json();
        for (name, value) in [
            ("x-agent-id", agent.id.as_str()),
            ("x-client-id", &agent.client_id),
            ("x-org-id", &organization),
            ("x-agent-scopes", "read write"),
            ("x-auth-method", "access_token"),
        ] {
            assert_eq!(arrived[name], value, "{method} {name}");
        }
        assert!(arrived["x-token-expires"].is_string());
        assert_eq!(arrived["x-team-id"], Value::Null, "it is in no team");
        assert_eq!(
            arrived["authorization"],
            Value::Null,
            "the token stays here"
        );
    }

    let key = json!({ "name": "k" });
    let key = stage.issuer.api_key(&organization, key).await;
    let with_key = stage.request(Method::GET, "/artifacts");
    let arrived = Answer::to(with_key.header("x-api-key", &key)).await.json();
    assert_eq!(arrived["x-org-id"], organization);
    assert_eq!(arrived["x-auth-method"], "api_key");
    assert_eq!(arrived["x-agent-id"], Value::Null);
    assert_eq!(arrived["x-api-key"], Value::Null);
}

#[tokio::test]
async fn whoever_may_not_is_refused_at_once() {
    let stage = Stage::set().await;
    let agent = stage.issuer.agent(&["read"]).await;
    let refused = async |token: &str| {
        let answer = stage.get("/artifacts", token).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
    };
    let anonymous = Answer::to(stage.request(Method::GET, "/artifacts")).await;
    assert_eq!(anonymous.status, 401);
    refused("x.y.z").await;

    let (token, _) = stage.issuer.tokens(&agent).await;
    assert_eq!(stage.get("/artifacts", &token).await.status, 200);
    stage.issuer.revoke(&token).await;
    refused(&token).await;

    let (token, _) = stage.issuer.tokens(&agent).await;
    assert_eq!(stage.get("/artifacts", &token).await.status, 200);
    let path = format!("/api/agents/{}/deactivate", agent.id);
    stage.issuer.admin(Method::POST, &path, None).await;
    refused(&token).await;
}

#[tokio::test]
async fn a_token_for_another_audience_opens_only_what_asks_for_that() {
    let stage = Stage::set().await;
    let audience = "https://partner.example.com";
    let agent = stage
        .issuer
        .create(json!({ "name": "a", "scopes": ["read"], "audiences": [audience] }))
        .await;
    let (own, _) = stage.issuer.tokens(&agent).await;
    let form = agent.form(&[("grant_type", "client_credentials"), ("resource", audience)]);
    let partner = stage.issuer.post("/oauth/token", &form).await;
    let partner = partner.str("access_token");
    for (path, token, status) in [
        ("/artifacts", &own, 200),
        ("/artifacts", &partner, 401),
        ("/partner/artifacts", &partner, 200),
        ("/partner/artifacts", &own, 401),
    ] {
        assert_eq!(stage.get(path, token).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn nothing_passes_while_the_issuer_is_away() {
    let stage = Stage::set().await;
    let agent = stage.issuer.agent(&["read"]).await;
    let (token, _) = stage.issuer.tokens(&agent).await;
    assert_eq!(stage.get("/artifacts", &token).await.status, 200);
    let Stage {
        issuer,
        nginx,
        client,
        ..
    } = stage;
    issuer.stop().await;
    let request = client
        .get(format!("{}/artifacts", nginx.base))
        .bearer_auth(&token);
    assert_eq!(Answer::to(request).await.status, 500);
}
