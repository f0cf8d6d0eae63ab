//! Tokens that are bound to a key (RFC 9449), from the token endpoint to a resource server.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use machineauth_core::clock::Clock as _;
use machineauth_core::dpop::{Dpop, ProofBuilder};
use machineauth_core::{Algorithm, HttpKeys, JwksCache, SigningKey, Verifier};
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use machineauth_tower::MachineAuthLayer;
use reqwest::Method;
use tower::ServiceExt as _;

const API: &str = "https://api.example";

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::ES256).unwrap()
}

fn thumbprint(key: &SigningKey) -> String {
    key.public_jwk("").thumbprint().to_string()
}

/// A proof for the token endpoint.
fn proof(issuer: &Issuer, key: &SigningKey) -> String {
    let proof = ProofBuilder::new("POST", format!("{}/oauth/token", issuer.base));
    proof.sign(key).unwrap()
}

async fn ask(issuer: &Issuer, form: &[(&str, &str)], proofs: &[String]) -> Answer {
    let request = issuer.request(Method::POST, "/oauth/token").form(form);
    let with = |request: reqwest::RequestBuilder, proof: &String| request.header("dpop", proof);
    Answer::to(proofs.iter().fold(request, with)).await
}

async fn token_with(issuer: &Issuer, agent: &Agent, proofs: &[String]) -> Answer {
    let form = agent.form(&[("grant_type", "client_credentials")]);
    ask(issuer, &form, proofs).await
}

async fn refresh_with(issuer: &Issuer, agent: &Agent, token: &str, proofs: &[String]) -> Answer {
    let form = agent.form(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
    ask(issuer, &form, proofs).await
}

#[tokio::test]
async fn a_token_asked_for_with_a_proof_is_bound_and_introspection_says_so() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let key = key();
    let answer = token_with(&issuer, &agent, &[proof(&issuer, &key)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.str("token_type"), "DPoP");
    let token = answer.str("access_token");
    assert_eq!(claims(&token)["cnf"]["jkt"], thumbprint(&key));
    let described = issuer.introspect(&token).await;
    assert_eq!(described["active"], true);
    assert_eq!(described["token_type"], "DPoP");
    assert_eq!(described["cnf"]["jkt"], thumbprint(&key));

    let answer = token_with(&issuer, &agent, &[]).await;
    assert_eq!(answer.str("token_type"), "Bearer");
    assert!(claims(&answer.str("access_token")).get("cnf").is_none());
    let metadata = issuer.get("/.well-known/oauth-authorization-server").await;
    let algorithms = &metadata.json()["dpop_signing_alg_values_supported"];
    assert!(algorithms.as_array().unwrap().contains(&"ES256".into()));
}

/// V22
#[tokio::test]
async fn a_proof_that_is_no_good_gets_no_token() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let key = key();
    let sign = |proof: ProofBuilder| proof.sign(&key).unwrap();
    let endpoint = format!("{}/oauth/token", issuer.base);
    let good = proof(&issuer, &key);
    let old = machineauth_core::Timestamp::from_secs(1_700_000_000);
    for proofs in [
        vec!["x".to_owned()],
        vec![good.clone(), good.clone()],
        vec![sign(ProofBuilder::new("GET", &endpoint))],
        vec![sign(ProofBuilder::new("POST", &issuer.base))],
        vec![sign(ProofBuilder::new(
            "POST",
            "https://other.example/oauth/token",
        ))],
        vec![sign(ProofBuilder::new("POST", &endpoint).at(old))],
    ] {
        let answer = token_with(&issuer, &agent, &proofs).await;
        answer.expect_error(400, "invalid_dpop_proof");
    }
    let wrong = [
        ("grant_type", "client_credentials"),
        ("client_id", &agent.client_id),
        ("client_secret", "wrong"),
    ];
    assert_eq!(
        ask(&issuer, &wrong, &[proof(&issuer, &key)]).await.status,
        401
    );
    let used = [good];
    assert_eq!(token_with(&issuer, &agent, &used).await.status, 200);
    let again = token_with(&issuer, &agent, &used).await;
    again.expect_error(400, "invalid_dpop_proof");
}

/// I10, V22
#[tokio::test]
async fn a_refresh_keeps_the_binding() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (key, thief) = (key(), key());
    let answer = token_with(&issuer, &agent, &[proof(&issuer, &key)]).await;
    let refresh = answer.str("refresh_token");
    for proofs in [vec![], vec![proof(&issuer, &thief)]] {
        let answer = refresh_with(&issuer, &agent, &refresh, &proofs).await;
        answer.expect_error(400, "invalid_grant");
    }
    let mut refresh = refresh;
    for _ in 0..2 {
        let answer = refresh_with(&issuer, &agent, &refresh, &[proof(&issuer, &key)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.str("token_type"), "DPoP");
        let token = answer.str("access_token");
        assert_eq!(claims(&token)["cnf"]["jkt"], thumbprint(&key));
        refresh = answer.str("refresh_token");
    }
}

/// V22
#[tokio::test]
async fn a_proof_that_was_used_costs_no_refresh_token() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let key = key();
    let proof = || {
        let proof = ProofBuilder::new("POST", format!("{}/oauth/token", issuer.base));
        proof.at(clock.now()).sign(&key).unwrap()
    };
    let used = proof();
    let answer = token_with(&issuer, &agent, std::slice::from_ref(&used)).await;
    let refresh = answer.str("refresh_token");
    let refused = refresh_with(&issuer, &agent, &refresh, &[used]).await;
    refused.expect_error(400, "invalid_dpop_proof");
    // Later than a lost answer could be asked for again.
    clock.advance(Duration::from_secs(20));
    let answer = refresh_with(&issuer, &agent, &refresh, &[proof()]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// V22
#[tokio::test]
async fn a_resource_server_takes_the_token_with_its_key_and_the_issuer_takes_it_as_bearer_never() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let key = key();
    let answer = token_with(&issuer, &agent, &[proof(&issuer, &key)]).await;
    let token = answer.str("access_token");
    let verifier = Verifier::builder(&issuer.base, "machineauth-api")
        .jwks(JwksCache::new(HttpKeys::discover(&issuer.base).unwrap()))
        .build()
        .unwrap();
    let layer = MachineAuthLayer::new(verifier).dpop(Dpop::builder(API).build().unwrap());
    let api = Router::new().route("/", get(async || "in")).layer(layer);
    let call = async |authorization: String, proof: Option<String>| {
        let mut request = Request::get("/").header("authorization", authorization);
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        let request = request.body(Body::empty()).unwrap();
        api.clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let proof = ProofBuilder::new("GET", format!("{API}/")).token(&token);
    let proof = proof.sign(&key).unwrap();
    let dpop = format!("DPoP {token}");
    assert_eq!(call(dpop.clone(), Some(proof.clone())).await, 200);
    assert_eq!(call(dpop.clone(), Some(proof)).await, 401, "a replay");
    assert_eq!(call(dpop, None).await, 401);
    assert_eq!(call(format!("Bearer {token}"), None).await, 401);

    let me = issuer
        .bearer(&token, Method::GET, "/api/agents/me", None)
        .await;
    assert_eq!(me.status, 401);
    let (plain, _) = issuer.tokens(&agent).await;
    let me = issuer
        .bearer(&plain, Method::GET, "/api/agents/me", None)
        .await;
    assert_eq!(me.status, 200);
}
