//! Tokens that need more than themselves: a key, a certificate, or their issuer to read them.

use machineauth_core::dpop::ProofBuilder;
use machineauth_core::test_kit::MockIssuer;
use machineauth_core::{Algorithm, ClientCertificate, SigningKey, base64url};
use machineauth_tests::certificate::{Pair, TlsFiles};
use machineauth_tests::edge::Edge;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::upstream::{Arrived, Upstream};
use reqwest::Method;
use serde_json::json;

use super::{EDGE, Stage, api, trusting};

const AUTHENTICATED: &str = "[[route]]\nupstream = \"api\"\nauthenticated = true\n";
/// As clients call it, whatever stands before it.
const ORIGIN: &str = "https://api.example.com";

/// V22
#[tokio::test]
async fn a_token_that_is_bound_to_a_key_needs_a_proof_for_each_request() {
    let stage = Stage::with(&format!(
        "{AUTHENTICATED}[dpop]\norigins = [\"{ORIGIN}\"]\n"
    ))
    .await;
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let agent = stage.issuer.agent(&["read"]).await;
    let url = format!("{}/oauth/token", stage.issuer.base);
    let proof = ProofBuilder::new("POST", &url).sign(&key).unwrap();
    let form = agent.form(&[("grant_type", "client_credentials")]);
    let asked = stage
        .issuer
        .request(Method::POST, "/oauth/token")
        .form(&form);
    let token = Answer::to(asked.header("dpop", proof))
        .await
        .str("access_token");

    let bearer = stage.edge.get("/a", Some(&token)).await;
    bearer.expect_error(401, "invalid_token");
    let challenges: Vec<_> = bearer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges.len(), 2, "Bearer and DPoP");
    let proof = |method: &str, path: &str| {
        let proof = ProofBuilder::new(method, format!("{ORIGIN}{path}"));
        proof.token(&token).sign(&key).unwrap()
    };
    let send = async |proof: &str| {
        let request = stage.edge.request(Method::GET, "/a");
        let request = request.header("authorization", format!("DPoP {token}"));
        Answer::to(request.header("dpop", proof)).await
    };
    let good = proof("GET", "/a");
    let arrived = Arrived::of(&send(&good).await);
    assert_eq!(arrived.header("x-agent-id"), Some(agent.id));
    assert_eq!(arrived.header("dpop"), None, "the proof stays here too");
    send(&good).await.expect_error(401, "invalid_dpop_proof");
    send(&proof("GET", "/b"))
        .await
        .expect_error(401, "invalid_dpop_proof");
    send(&proof("POST", "/a"))
        .await
        .expect_error(401, "invalid_dpop_proof");
}

#[tokio::test]
async fn tokens_that_only_their_issuer_can_read_are_asked_about() {
    let issuer = Issuer::start().await;
    let upstream = Upstream::echo("api").await;
    let asker = issuer.agent(&["tokens:introspect"]).await;
    let introspection = format!(
        "introspection = {{ client_id = \"{}\", client_secret_file = \"secret\" }}\n",
        asker.client_id
    );
    let configuration = format!(
        "{}{introspection}{}{AUTHENTICATED}",
        trusting(&issuer.base),
        api(&upstream)
    );
    let files = [("secret", asker.client_secret.as_str())];
    let edge = Edge::start_with(EDGE, &configuration, &files).await;
    let organization = issuer.organization("clinic").await;
    let key = issuer
        .api_key(&organization, json!({ "name": "key" }))
        .await;
    let clients = format!("/v1/organizations/{organization}/machine-clients");
    let body = json!({ "name": "EHR", "scopes": ["artifacts:read"] });
    let created = issuer
        .bearer(&key, Method::POST, &clients, Some(body))
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    let body = json!({
        "grant_type": "client_credentials",
        "client_id": created.str("clientId"),
        "client_secret": created.str("clientSecret"),
    });
    let request = issuer.request(Method::POST, "/v1/oauth/token");
    let token = Answer::to(request.json(&body)).await.str("access_token");
    assert!(!token.contains('.'), "it is no JWT");
    assert_eq!(edge.get("/a", Some(&token)).await.status, 200);
    edge.get("/a", Some("dyt_invented"))
        .await
        .expect_error(401, "invalid_token");
    issuer.revoke(&token).await;
    edge.comes_to("/a", Some(&token), 401).await;
}

#[tokio::test]
async fn clients_may_show_a_certificate_and_only_one_that_is_vouched_for() {
    let issuer = Issuer::start().await;
    let upstream = Upstream::echo("api").await;
    let (server, known, unknown) = (Pair::new(), Pair::new(), Pair::new());
    let files = TlsFiles::holding(&server);
    let listener = format!(
        "[[listener]]\naddress = \"LISTEN\"\n\
         tls = {{ certificate = {:?}, key = {:?}, client_ca = \"clients.pem\" }}\n",
        files.certificate(),
        files.key()
    );
    let configuration = format!(
        "{listener}{}{}{AUTHENTICATED}",
        trusting(&issuer.base),
        api(&upstream)
    );
    let clients = [("clients.pem", known.certificate.as_str())];
    let edge = Edge::start_with(EDGE, &configuration, &clients).await;
    let url = edge.base.replace("http://", "https://");
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    let get = async |pair: Option<&Pair>| {
        let mut client = http::builder(&[&server]);
        if let Some(pair) = pair {
            let pem = format!("{}{}", pair.certificate, pair.key);
            client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        Answer::try_to(client.build().unwrap().get(&url).bearer_auth(&token)).await
    };
    assert_eq!(get(None).await.unwrap().status, 200);
    assert_eq!(get(Some(&known)).await.unwrap().status, 200);
    assert!(get(Some(&unknown)).await.is_err());

    std::fs::write(edge.file("clients.pem"), &unknown.certificate).unwrap();
    edge.process
        .logged_until("the new configuration is in force")
        .await;
    assert!(
        get(Some(&known)).await.is_err(),
        "nobody vouches for it now"
    );
    assert_eq!(get(Some(&unknown)).await.unwrap().status, 200);
}

/// V17
#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_is_good_with_that_alone() {
    let issuer = MockIssuer::start().await.unwrap();
    let upstream = Upstream::echo("api").await;
    let (server, own, other) = (Pair::new(), Pair::new(), Pair::new());
    let files = TlsFiles::holding(&server);
    let configuration = format!(
        r#"
        [[listener]]
        address = "LISTEN"
        tls = {{ certificate = {:?}, key = {:?}, client_ca = "clients.pem" }}
        [[issuer]]
        url = "{}"
        audience = "api"
        {}{AUTHENTICATED}"#,
        files.certificate(),
        files.key(),
        issuer.url(),
        api(&upstream)
    );
    let clients = format!("{}{}", own.certificate, other.certificate);
    let edge = Edge::start_with(EDGE, &configuration, &[("clients.pem", &clients)]).await;
    let url = edge.base.replace("http://", "https://");
    let thumbprint = ClientCertificate::from_der(&own.der);
    let thumbprint = base64url::encode(thumbprint.thumbprint());
    let bound = issuer
        .token()
        .claim("cnf", json!({ "x5t#S256": thumbprint }))
        .sign();
    for http2 in [false, true] {
        let get = async |pair: Option<&Pair>| {
            let mut client = http::builder(&[&server]);
            if let Some(pair) = pair {
                let pem = format!("{}{}", pair.certificate, pair.key);
                client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
            }
            let client = match http2 {
                true => client.http2_prior_knowledge(),
                false => client.http1_only(),
            };
            Answer::to(client.build().unwrap().get(&url).bearer_auth(&bound)).await
        };
        assert_eq!(get(Some(&own)).await.status, 200);
        for stolen in [None, Some(&other)] {
            get(stolen).await.expect_error(401, "invalid_token");
        }
    }
}
