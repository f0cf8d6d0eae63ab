//! Clients that prove with their own key who they are (RFC 7523 §2.2): `private_key_jwt`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machineauth_core::clock::{Clock as _, ManualClock};
use machineauth_core::{Algorithm, SigningKey, base64url};
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Stage {
    issuer: Issuer,
    clock: ManualClock,
    agent: Agent,
    key: SigningKey,
}

impl Stage {
    async fn start() -> Self {
        let (issuer, clock) = Issuer::at_fixed_time().await;
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let agent = issuer
            .create(json!({
                "name": "signer", "scopes": ["read"], "public_key": key.public_jwk("any"),
            }))
            .await;
        Self {
            issuer,
            clock,
            agent,
            key,
        }
    }

    /// A good assertion but for these claims, with as little in its header as Authlib has.
    fn assertion(&self, changes: Value) -> String {
        self.signed(&json!({"alg": "ES256", "typ": "JWT"}), changes, &self.key)
    }

    fn signed(&self, header: &Value, changes: Value, key: &SigningKey) -> String {
        let now = self.clock.now().as_secs();
        let mut claims = json!({
            "iss": self.agent.client_id,
            "sub": self.agent.client_id,
            "aud": format!("{}/oauth/token", self.issuer.base),
            "iat": now,
            "exp": now + 3600,
            "jti": base64url::encode(machineauth_core::crypto::random::<8>()),
        });
        let Value::Object(changes) = changes else {
            panic!("changes are an object")
        };
        let members = claims.as_object_mut().unwrap();
        for (name, value) in changes {
            match value {
                Value::Null => members.remove(&name),
                value => members.insert(name, value),
            };
        }
        let [header, claims] = [header, &claims].map(|part| base64url::encode(part.to_string()));
        let input = format!("{header}.{claims}");
        let signature = base64url::encode(key.sign(input.as_bytes()).unwrap());
        format!("{input}.{signature}")
    }

    async fn ask(&self, assertion: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", TYPE),
            ("client_assertion", assertion),
        ];
        form.extend(more);
        self.issuer.post("/oauth/token", &form).await
    }
}

#[tokio::test]
async fn an_agent_with_a_key_gets_tokens_for_assertions() {
    let stage = Stage::start().await;
    let issuer = stage.issuer.base.clone();
    for audience in [
        json!(format!("{issuer}/oauth/token")),
        json!(issuer),
        json!([issuer, "https://other.example"]),
    ] {
        let answer = stage
            .ask(&stage.assertion(json!({"aud": audience})), &[])
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let token = claims(&answer.str("access_token"));
        assert_eq!(token["sub"], stage.agent.client_id.as_str());
    }
    let name = [("client_id", stage.agent.client_id.as_str())];
    let answer = stage.ask(&stage.assertion(json!({})), &name).await;
    assert_eq!(answer.status, 200, "its name beside it is no harm");
    let with_secret = stage.issuer.token_answer(&stage.agent).await;
    assert_eq!(with_secret.status, 200, "its secret is still good");
}

/// V14, V22
#[tokio::test]
async fn what_is_wrong_with_an_assertion_is_nobodys_business() {
    let stage = Stage::start().await;
    let now = stage.clock.now().as_secs();
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap();
    let other = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let plain = json!({"alg": "ES256"});
    let mut bad: Vec<String> = [
        json!({"iss": "somebody"}),
        json!({"sub": stage.agent.id}),
        json!({"aud": "https://other.example"}),
        json!({"aud": format!("{}/", stage.issuer.base)}),
        json!({"aud": null}),
        json!({"exp": null}),
        json!({"exp": now}),
        json!({"exp": now + 7200}),
        json!({"exp": "tomorrow"}),
        json!({"iat": now + 600}),
        json!({"nbf": now + 600}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"jti": "x".repeat(257)}),
    ]
    .into_iter()
    .map(|changes| stage.assertion(changes))
    .collect();
    bad.extend([
        stage.signed(&plain, json!({}), &stranger),
        stage.signed(&json!({"alg": "EdDSA"}), json!({}), &other),
        stage.signed(&json!({"alg": "none"}), json!({}), &stage.key),
        stage.signed(&json!({"alg": "HS256"}), json!({}), &stage.key),
        stage.signed(
            &json!({"alg": "ES256", "typ": "at+jwt"}),
            json!({}),
            &stage.key,
        ),
        stage.signed(
            &json!({"alg": "ES256", "typ": "dpop+jwt"}),
            json!({}),
            &stage.key,
        ),
        "a.b.c".to_owned(),
        "x".to_owned(),
    ]);
    let wrong = [
        ("grant_type", "client_credentials"),
        ("client_id", stage.agent.client_id.as_str()),
        ("client_secret", "wrong"),
    ];
    let expected = stage.issuer.post("/oauth/token", &wrong).await.text;
    for assertion in bad {
        let answer = stage.ask(&assertion, &[]).await;
        answer.expect_error(401, "invalid_client");
        assert_eq!(answer.text, expected, "the same as a wrong secret (I3)");
    }
    let unknown = json!({"iss": "nobody", "sub": "nobody"});
    let answer = stage.ask(&stage.assertion(unknown), &[]).await;
    answer.expect_error(401, "invalid_client");
}

/// V22
#[tokio::test]
async fn an_assertion_is_used_once_wherever_it_is_shown() {
    let stage = Stage::start().await;
    let used = stage.assertion(json!({}));
    assert_eq!(stage.ask(&used, &[]).await.status, 200);
    stage
        .ask(&used, &[])
        .await
        .expect_error(401, "invalid_client");
    let form = |assertion: &str| {
        vec![
            ("client_assertion_type".to_owned(), TYPE.to_owned()),
            ("client_assertion".to_owned(), assertion.to_owned()),
            ("token".to_owned(), "x".to_owned()),
        ]
    };
    let introspect = async |assertion: &str| {
        let request = stage.issuer.request(Method::POST, "/oauth/introspect");
        Answer::to(request.form(&form(assertion)))
            .await
            .status
            .as_u16()
    };
    assert_eq!(introspect(&used).await, 401);
    let fresh = stage.assertion(json!({}));
    assert_eq!(introspect(&fresh).await, 200);
    assert_eq!(introspect(&fresh).await, 401);
    stage
        .ask(&fresh, &[])
        .await
        .expect_error(401, "invalid_client");

    // After it expired it is refused for that, so nothing need be remembered any longer.
    stage.clock.advance(Duration::from_secs(3601));
    stage
        .ask(&used, &[])
        .await
        .expect_error(401, "invalid_client");
}

/// V22: many at once.
#[tokio::test]
async fn of_many_uses_of_one_assertion_at_once_one_gets_a_token() {
    let stage = Stage::start().await;
    let assertion = stage.assertion(json!({}));
    let asking = (0..20).map(|_| stage.ask(&assertion, &[]));
    let answers = futures_util::future::join_all(asking).await;
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(granted, 1);
}

/// I2
#[tokio::test]
async fn one_way_to_authenticate_at_a_time() {
    let stage = Stage::start().await;
    let assertion = stage.assertion(json!({}));
    let secret = [
        ("client_id", stage.agent.client_id.as_str()),
        ("client_secret", stage.agent.client_secret.as_str()),
    ];
    let answer = stage.ask(&assertion, &secret).await;
    answer.expect_error(400, "invalid_request");
    for form in [
        vec![("client_assertion", assertion.as_str())],
        vec![("client_assertion_type", TYPE)],
        vec![
            ("client_assertion", assertion.as_str()),
            ("client_assertion_type", "something else"),
        ],
    ] {
        let form = [vec![("grant_type", "client_credentials")], form].concat();
        let answer = stage.issuer.post("/oauth/token", &form).await;
        answer.expect_error(400, "invalid_request");
    }
    let other = [("client_id", "somebody-else")];
    let answer = stage.ask(&assertion, &other).await;
    answer.expect_error(401, "invalid_client");
}

#[tokio::test]
async fn a_key_is_set_changed_and_taken_away_over_the_api() {
    let stage = Stage::start().await;
    let path = format!("/api/agents/{}", stage.agent.id);
    let patch = async |key: Value| {
        let body = json!({ "public_key": key });
        stage.issuer.admin(Method::PATCH, &path, Some(body)).await
    };
    let shown = stage.issuer.admin(Method::GET, &path, None).await.json();
    assert_eq!(shown["agent"]["public_key"]["crv"], "P-256");
    assert_eq!(
        stage.ask(&stage.assertion(json!({})), &[]).await.status,
        200
    );

    let next = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(next.public_spki())
    );
    assert_eq!(patch(json!(pem)).await.status, 200);
    assert_eq!(
        stage.ask(&stage.assertion(json!({})), &[]).await.status,
        401
    );
    let header = json!({"alg": "EdDSA"});
    let by_next = || stage.signed(&header, json!({}), &next);
    assert_eq!(stage.ask(&by_next(), &[]).await.status, 200);

    for bad in [
        json!("x"),
        json!(1),
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA"}),
    ] {
        assert_eq!(patch(bad.clone()).await.status, 400, "{bad}");
    }
    assert_eq!(stage.ask(&by_next(), &[]).await.status, 200, "as it was");

    assert_eq!(patch(Value::Null).await.status, 200);
    assert_eq!(stage.ask(&by_next(), &[]).await.status, 401);
    assert_eq!(stage.issuer.token_answer(&stage.agent).await.status, 200);
}

/// I11
#[tokio::test]
async fn an_inactive_agent_gets_nothing_for_its_assertion() {
    let stage = Stage::start().await;
    let path = format!("/api/agents/{}/deactivate", stage.agent.id);
    stage.issuer.admin(Method::POST, &path, None).await;
    let answer = stage.ask(&stage.assertion(json!({})), &[]).await;
    answer.expect_error(401, "invalid_client");
}

#[tokio::test]
async fn the_metadata_says_so() {
    let stage = Stage::start().await;
    let metadata = stage
        .issuer
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    for endpoint in ["token", "introspection", "revocation"] {
        let methods = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
        assert!(
            methods
                .as_array()
                .unwrap()
                .contains(&json!("private_key_jwt"))
        );
        let algorithms =
            &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
        assert!(algorithms.as_array().unwrap().contains(&json!("ES256")));
    }
}
