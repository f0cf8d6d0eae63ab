//! Opaque tokens at a resource server: introspection (RFC 7662) behind the same layer as JWTs.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use machineauth_core::introspection::{HttpIntrospection, Introspection};
use machineauth_core::{HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tower::{MachineAuthLayer, RequireScopesLayer, VerifiedAgent};
use reqwest::Method;
use serde_json::json;
use tower::ServiceExt as _;

const SCOPE: &str = "artifacts:read";

struct Stage {
    issuer: Issuer,
    api: Router,
    _feed: RevocationFeed,
    organization: String,
    key: String,
}

impl Stage {
    async fn start() -> Self {
        let issuer = Issuer::builder()
            .with("INTROSPECTION_AUTH", "required")
            .start()
            .await;
        let organization = issuer.organization("clinic").await;
        let key = issuer
            .api_key(&organization, json!({ "name": "key" }))
            .await;
        let asker = issuer.agent(&["tokens:introspect"]).await;
        let revocations = RevocationSet::new();
        let feed = RevocationFeed::of(&issuer.base, revocations.clone())
            .start()
            .unwrap();
        let endpoint =
            HttpIntrospection::discover(&issuer.base, asker.client_id, asker.client_secret);
        let verifier = Verifier::builder(&issuer.base, "machineauth-api")
            .jwks(JwksCache::new(HttpKeys::discover(&issuer.base).unwrap()))
            .introspection(Introspection::new(&issuer.base, endpoint.unwrap()))
            .revocations(revocations)
            .build()
            .unwrap();
        let whoami = async |agent: VerifiedAgent| agent.client_id().to_owned();
        let api = Router::new()
            .route("/", get(whoami))
            .route_layer(RequireScopesLayer::new(SCOPE).unwrap())
            .layer(MachineAuthLayer::new(verifier));
        tokio::time::timeout(Duration::from_secs(20), feed.ready())
            .await
            .expect("the feed arrives");
        Self {
            issuer,
            api,
            _feed: feed,
            organization,
            key,
        }
    }

    /// A machine client with opaque tokens.
    async fn machine_client(&self) -> Agent {
        let clients = format!("/v1/organizations/{}/machine-clients", self.organization);
        let body = json!({ "name": "EHR", "scopes": [SCOPE] });
        let created = self
            .issuer
            .bearer(&self.key, Method::POST, &clients, Some(body))
            .await;
        assert_eq!(created.status, 201, "{}", created.text);
        Agent {
            id: created.str("clientId"),
            client_id: created.str("clientId"),
            client_secret: created.str("clientSecret"),
        }
    }

    /// An opaque token of the client.
    async fn opaque_token(&self, client: &Agent) -> String {
        let body = json!({
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": client.client_secret,
        });
        let request = self.issuer.request(Method::POST, "/v1/oauth/token");
        Answer::to(request.json(&body)).await.str("access_token")
    }

    async fn call(&self, token: &str) -> (u16, String) {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        let response = self.api.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await;
        (status, String::from_utf8(body.unwrap().into()).unwrap())
    }

    async fn status(&self, token: &str) -> u16 {
        self.call(token).await.0
    }
}

#[tokio::test]
async fn one_layer_takes_signed_and_opaque_tokens() {
    let stage = Stage::start().await;
    let client = stage.machine_client().await;
    let opaque = stage.opaque_token(&client).await;
    assert!(opaque.starts_with("dyt_"), "{opaque}");
    assert_eq!(stage.call(&opaque).await, (200, client.client_id.clone()));

    let agent = stage.issuer.agent(&[SCOPE]).await;
    let (signed, refresh) = stage.issuer.tokens(&agent).await;
    assert_eq!(stage.status(&signed).await, 200);

    assert_eq!(stage.status(&refresh).await, 401, "a refresh token is none");
    assert_eq!(stage.status(&format!("{opaque}x")).await, 401);
    assert_eq!(stage.status("dyt_invented").await, 401);
    let weak = stage.issuer.agent(&["other"]).await;
    let (weak, _) = stage.issuer.tokens(&weak).await;
    assert_eq!(stage.status(&weak).await, 403);
}

/// V17
#[tokio::test]
async fn a_remembered_opaque_token_is_refused_as_soon_as_the_feed_says_so() {
    let stage = Stage::start().await;
    let client = stage.machine_client().await;
    let opaque = stage.opaque_token(&client).await;
    let other = stage.opaque_token(&client).await;
    for token in [&opaque, &other] {
        assert_eq!(stage.status(token).await, 200);
    }
    let form = client.form(&[("token", &opaque)]);
    let revoked = stage.issuer.post("/oauth/revoke", &form).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    let heard = async {
        while stage.status(&opaque).await != 401 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard)
        .await
        .expect("the news arrives");
    assert_eq!(stage.status(&other).await, 200, "others live on");
}

/// V24
#[tokio::test]
async fn while_the_issuer_is_away_unknown_opaque_tokens_get_503_and_known_ones_serve() {
    let mut stage = Stage::start().await;
    let client = stage.machine_client().await;
    let known = stage.opaque_token(&client).await;
    let unknown = stage.opaque_token(&client).await;
    assert_eq!(stage.status(&known).await, 200);
    let (address, base) = (stage.issuer.address, stage.issuer.base.clone());
    stage.issuer.stop().await;
    stage.issuer = Issuer::builder().listen(address).start().await;
    assert_eq!(stage.issuer.base, base);
    assert_eq!(stage.status(&known).await, 200);
    assert_eq!(
        stage.status(&unknown).await,
        503,
        "another issuer, which does not know us, is no answer"
    );
}

/// I11
#[tokio::test]
async fn an_answer_names_what_the_feed_names() {
    let stage = Stage::start().await;
    let agent = stage.issuer.agent(&[SCOPE]).await;
    let path = format!("/api/agents/{}/rotate", agent.id);
    let body = json!({ "revoke_tokens": true });
    let rotated = stage.issuer.admin(Method::POST, &path, Some(body)).await;
    let agent = Agent {
        client_secret: rotated.str("client_secret"),
        ..agent
    };
    let (token, _) = stage.issuer.tokens(&agent).await;
    let form = agent.form(&[("token", &token)]);
    let answer = stage.issuer.post("/oauth/introspect", &form).await.json();
    assert_eq!(answer["active"], true);
    assert_eq!(answer["gen"], 1, "{answer}");
    assert!(answer["fid"].is_string(), "{answer}");
}
