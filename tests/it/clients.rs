//! Clients and verifiers that others wrote, as their users use them, against the real issuer as a process. The programs
//! are in `tests/clients`.

use std::path::Path;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::process::{Process, free_port};
use machineauth_tests::program::{node, python};
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, IntrospectionUrl,
    RequestTokenError, Scope, TokenIntrospectionResponse as _, TokenResponse as _, TokenUrl,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running issuer.
struct Stage {
    issuer: Process,
    client: reqwest::Client,
    _directory: TempDir,
}

impl Stage {
    async fn set(variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let port_text = port.to_string();
        let mut all = vec![("PORT", port_text.as_str())];
        all.extend_from_slice(variables);
        let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
        Self {
            issuer: Process::start(program, directory.path(), port, &all, &[]).await,
            client: http::client(),
            _directory: directory,
        }
    }

    fn base(&self) -> &str {
        &self.issuer.base
    }

    async fn admin(&self, path: &str, body: Value) -> Answer {
        let request = self
            .client
            .post(format!("{}{path}", self.base()))
            .basic_auth("admin@example.com", Some("changeme"));
        let answer = Answer::to(request.json(&body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer
    }

    async fn agent(&self) -> Agent {
        let body = json!({ "name": "a", "scopes": ["read", "write"] });
        Agent::read(&self.admin("/api/agents", body).await)
    }

    /// A token with the scope `read`.
    async fn token(&self, agent: &Agent) -> String {
        let form = agent.form(&[("grant_type", "client_credentials"), ("scope", "read")]);
        let request = self.client.post(format!("{}/oauth/token", self.base()));
        Answer::to(request.form(&form)).await.str("access_token")
    }

    /// An organization and its API key.
    async fn organization(&self) -> (String, String) {
        let body = json!({ "name": "Docyard", "slug": "docyard" });
        let id = self.admin("/api/organizations", body).await.str("id");
        let path = format!("/api/organizations/{id}/api-keys");
        let key = self.admin(&path, json!({ "name": "k" })).await.str("key");
        (id, key)
    }
}

/// What an OAuth client has to know.
fn credentials<'a>(stage: &'a Stage, agent: &'a Agent) -> [(&'static str, &'a str); 3] {
    [
        ("BASE", stage.base()),
        ("CLIENT_ID", &agent.client_id),
        ("CLIENT_SECRET", &agent.client_secret),
    ]
}

#[tokio::test]
async fn requests_oauthlib_gets_and_refreshes_tokens() {
    let stage = Stage::set(&[]).await;
    let agent = stage.agent().await;
    python("requests_oauthlib_client", &credentials(&stage, &agent)).await;
}

#[tokio::test]
async fn authlib_gets_refreshes_introspects_and_revokes() {
    let stage = Stage::set(&[]).await;
    let agent = stage.agent().await;
    python("authlib_client", &credentials(&stage, &agent)).await;
}

#[tokio::test]
async fn openid_client_discovers_the_issuer_in_both_places() {
    let stage = Stage::set(&[]).await;
    let agent = stage.agent().await;
    node("openid_client", &credentials(&stage, &agent)).await;
}

/// Where introspection and revocation demand authentication, as in production.
#[tokio::test]
async fn oauth4webapi_accepts_every_answer_and_the_rfc_9068_token() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let stage = Stage::set(&[
            ("JWT_PROFILE", "rfc9068"),
            ("JWT_SIGNING_ALGORITHM", algorithm),
            ("INTROSPECTION_AUTH", "required"),
            ("REFRESH_CLIENT_AUTH", "required"),
        ])
        .await;
        let agent = stage.agent().await;
        node("oauth4webapi_client", &credentials(&stage, &agent)).await;
    }
}

#[tokio::test]
async fn simple_oauth2_presents_its_secret_in_four_ways() {
    let stage = Stage::set(&[]).await;
    let agent = stage.agent().await;
    node("simple_oauth2_client", &credentials(&stage, &agent)).await;
}

#[tokio::test]
async fn pyjwt_and_jose_verify_tokens_of_each_algorithm() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let stage = Stage::set(&[("JWT_SIGNING_ALGORITHM", algorithm)]).await;
        let agent = stage.agent().await;
        let token = stage.token(&agent).await;
        let variables = [
            ("BASE", stage.base()),
            ("CLIENT_ID", &agent.client_id),
            ("ALGORITHM", algorithm),
            ("TOKEN", &token),
        ];
        python("pyjwt_verifier", &variables).await;
        node("jose_verifier", &variables).await;
    }
}

#[tokio::test]
async fn docyards_clients_work_as_their_guide_describes_them() {
    let stage = Stage::set(&[("RATE_LIMIT_PER_CLIENT", "20")]).await;
    let (organization, key) = stage.organization().await;
    let variables = [
        ("BASE", stage.base()),
        ("ORGANIZATION", &organization),
        ("API_KEY", &key),
    ];
    python("docyard_client", &variables).await;
    node("docyard_client", &variables).await;
}

/// I17
#[tokio::test]
async fn standardwebhooks_verifies_deliveries_and_refuses_what_was_changed_or_is_old() {
    let stage = Stage::set(&[]).await;
    let variables = [("BASE", stage.base())];
    python("standardwebhooks_receiver", &variables).await;
    node("standardwebhooks_receiver", &variables).await;
}

/// I17
#[tokio::test]
async fn a_receiver_that_was_written_from_the_document_verifies_deliveries() {
    let stage = Stage::set(&[]).await;
    python("documented_receiver", &[("BASE", stage.base())]).await;
}

/// The Rust `oauth2` crate, with the HTTP client that is here anyway.
#[tokio::test]
async fn the_rust_oauth2_crate_gets_refreshes_and_introspects() {
    let stage = Stage::set(&[]).await;
    let agent = stage.agent().await;
    let http = async |request: HttpRequest| -> reqwest::Result<HttpResponse> {
        let request = request.map(reqwest::Body::from).try_into()?;
        let response = stage.client.execute(request).await?;
        let mut answer = HttpResponse::default();
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        *answer.body_mut() = response.bytes().await?.to_vec();
        Ok(answer)
    };
    let url = |path: &str| format!("{}{path}", stage.base());
    for method in [AuthType::BasicAuth, AuthType::RequestBody] {
        let client = |secret: &str| {
            BasicClient::new(ClientId::new(agent.client_id.clone()))
                .set_client_secret(ClientSecret::new(secret.to_owned()))
                .set_token_uri(TokenUrl::new(url("/oauth/token")).unwrap())
                .set_introspection_url(IntrospectionUrl::new(url("/oauth/introspect")).unwrap())
                .set_auth_type(method.clone())
        };
        let honest = client(&agent.client_secret);
        let request = honest
            .exchange_client_credentials()
            .add_scope(Scope::new("read".into()));
        let granted = request.request_async(&http).await.unwrap();
        assert_eq!(granted.scopes(), Some(&vec![Scope::new("read".into())]));
        assert!(granted.expires_in().is_some());

        let refresh_token = granted.refresh_token().unwrap();
        let request = honest.exchange_refresh_token(refresh_token);
        let refreshed = request.request_async(&http).await.unwrap();
        let request = honest.introspect(refreshed.access_token());
        let described = request.request_async(&http).await.unwrap();
        assert!(described.active());
        assert_eq!(
            described.client_id().map(|id| id.as_str()),
            Some(agent.client_id.as_str())
        );

        let impostor = client("wrong");
        let request = impostor.exchange_client_credentials();
        match request.request_async(&http).await {
            Err(RequestTokenError::ServerResponse(response)) => {
                assert_eq!(response.error().as_ref(), "invalid_client");
            }
            other => panic!("a wrong secret is refused: {other:?}"),
        }
    }
}
