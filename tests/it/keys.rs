//! The server key and the signing keys, over restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, ManualClock, SystemClock};
use machineauth_core::keyset::KeySet;
use machineauth_core::verifier::Verifier;
use machineauth_issuer::app::{App, StartError};
use machineauth_issuer::config::Config;
use machineauth_issuer::domain::keys::{KeyError, PUBLISHED_AFTER, PUBLISHED_AHEAD};
use machineauth_issuer::domain::vault::{ServerKey, VaultError};
use machineauth_issuer::store::{DynStore, Log, LogRead, MemoryStore, Partition, Position};
use machineauth_tests::audit::events;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::{claims, kid};
use reqwest::Method;
use serde_json::{Value, json};

fn new_store() -> DynStore {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Arc::new(MemoryStore::new(clock))
}

async fn open(
    store: &DynStore,
    key: &ServerKey,
    variables: &[(&str, &str)],
) -> Result<App, StartError> {
    let variables: BTreeMap<_, _> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let config = Config::from_variables(variables).unwrap();
    App::open(config, key, Arc::new(SystemClock), Arc::clone(store)).await
}

#[tokio::test]
async fn tokens_of_the_former_algorithm_stay_good() {
    let store = new_store();
    let before = Issuer::builder().store(Arc::clone(&store)).start().await;
    let agent = before.agent(&["read"]).await;
    let (token, _) = before.tokens(&agent).await;
    let after = Issuer::builder()
        .store(store)
        .with("JWT_ISSUER", &before.base)
        .with("JWT_SIGNING_ALGORITHM", "ES256")
        .start()
        .await;
    assert_eq!(after.introspect(&token).await["active"], true);
    let (new, _) = after.tokens(&agent).await;
    assert_eq!(
        kid(&new),
        "key-1",
        "the new key is published before it signs"
    );
    assert_eq!(before.introspect(&new).await["active"], true);
    before
        .app
        .keys
        .server()
        .refresh_if_older(Duration::ZERO)
        .await;
    let keys = before.get("/.well-known/jwks.json").await.json();
    let mut kids: Vec<_> = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect();
    kids.sort();
    assert_eq!(kids, ["key-1", "key-1-es256"]);
}

#[tokio::test]
async fn issuers_that_start_at_once_on_a_new_store_agree_on_its_keys() {
    let store = new_store();
    let key = ServerKey::generate();
    let opened = futures_util::future::join_all((0..4).map(|_| open(&store, &key, &[]))).await;
    let kids: Vec<_> = opened
        .into_iter()
        .map(|app| app.unwrap().keys.server().state().document())
        .collect();
    assert!(kids.windows(2).all(|pair| pair[0] == pair[1]), "{kids:?}");
}

#[tokio::test]
async fn another_server_key_is_refused() {
    let store = new_store();
    open(&store, &ServerKey::generate(), &[]).await.unwrap();
    let error = open(&store, &ServerKey::generate(), &[]).await.unwrap_err();
    assert!(
        matches!(error, StartError::Vault(VaultError::WrongServerKey)),
        "{error}"
    );
    assert!(error.to_string().contains("SERVER_KEY"), "{error}");
}

#[tokio::test]
async fn a_key_name_that_is_taken_twice_is_refused() {
    let store = new_store();
    let key = ServerKey::generate();
    open(
        &store,
        &key,
        &[
            ("JWT_KEY_ID", "k-es256"),
            ("JWT_SIGNING_ALGORITHM", "RS256"),
        ],
    )
    .await
    .unwrap();
    open(
        &store,
        &key,
        &[("JWT_KEY_ID", "k"), ("JWT_SIGNING_ALGORITHM", "EdDSA")],
    )
    .await
    .unwrap();
    let error = open(
        &store,
        &key,
        &[("JWT_KEY_ID", "k"), ("JWT_SIGNING_ALGORITHM", "ES256")],
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, StartError::Keys(KeyError::NameTaken(_))),
        "{error}"
    );
}

/// I5
#[tokio::test]
async fn a_dump_of_the_store_holds_nothing_that_can_be_used() {
    let store = new_store();
    let issuer = Issuer::builder().store(Arc::clone(&store)).start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, refresh_token) = issuer.tokens(&agent).await;
    let successor = issuer.refresh(&agent, &refresh_token).await;
    issuer.revoke(&token).await;
    let organization = issuer.organization("acme").await;
    let api_key = issuer
        .api_key(&organization, serde_json::json!({ "name": "key" }))
        .await;
    let mut dump = Vec::new();
    for partition in Partition::data().chain([Partition::SYSTEM]) {
        for kind in [
            "agent",
            "client",
            "revoked",
            "redeemed",
            "data_key",
            "signing_key",
            "usage",
            "stats",
            "organization",
            "organization_key",
            "team",
            "api_key",
            "api_key_text",
            "name",
        ] {
            for (key, entry) in store.scan(&partition.key(kind), None, 1_000).await.unwrap() {
                dump.extend_from_slice(key.path().as_bytes());
                dump.extend_from_slice(&entry.value);
            }
        }
        if let LogRead::Entries(entries) = store
            .log(partition, Log::Revocations, &Position::START, 1_000)
            .await
            .unwrap()
        {
            dump.extend(entries.into_iter().flat_map(|(_, entry)| entry));
        }
    }
    let dump = String::from_utf8_lossy(&dump);
    assert!(
        dump.contains(&agent.id) && dump.contains("data_key") && dump.contains("revoked"),
        "the dump is complete"
    );
    let secrets = [
        agent.client_secret.clone(),
        api_key[5 + 8..].to_owned(),
        refresh_token,
        successor.str("refresh_token"),
        successor.str("access_token"),
        token.rsplit('.').next().unwrap().to_owned(),
    ];
    for secret in secrets {
        assert!(!dump.contains(&secret[3..]), "a secret is in the store");
    }
    // A PKCS #8 document begins with these bytes in base64url (a SEQUENCE longer than 127 bytes).
    assert!(!dump.contains("MIIE"), "a private key is in the store");
}

async fn keys(issuer: &Issuer) -> Vec<Value> {
    let list = issuer.admin(Method::GET, "/api/keys", None).await.json();
    list["keys"].as_array().unwrap().clone()
}

async fn published(issuer: &Issuer) -> Vec<String> {
    let keys = issuer.get("/.well-known/jwks.json").await.json();
    let keys = keys["keys"].as_array().unwrap().clone();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn rotate(issuer: &Issuer, body: Value) -> Value {
    let rotated = issuer
        .admin(Method::POST, "/api/keys/rotate", Some(body))
        .await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    rotated.json()["key"].clone()
}

/// A verifier that keeps a key set for ten minutes and never asks in between.
struct Dull {
    issuer: String,
    clock: ManualClock,
    keys: Option<(Verifier, u64)>,
}

impl Dull {
    async fn accepts(&mut self, issuer: &Issuer, token: &str) -> bool {
        let now = self.clock.now().as_secs();
        if self
            .keys
            .as_ref()
            .is_none_or(|(_, since)| now >= since + 600)
        {
            let document = issuer.get("/.well-known/jwks.json").await.text;
            for private in [
                "\"d\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\"", "\"k\"",
            ] {
                assert!(!document.contains(private), "{document}");
            }
            let verifier = Verifier::builder(&self.issuer, "machineauth-api")
                .keys(KeySet::parse(document.as_bytes()).unwrap())
                .clock(Arc::new(self.clock.clone()))
                .leeway(Duration::ZERO)
                .build();
            self.keys = Some((verifier.unwrap(), now));
        }
        self.keys.as_ref().unwrap().0.check(token).is_ok()
    }
}

/// I23
#[tokio::test]
async fn no_valid_token_is_refused_while_keys_follow_each_other() {
    let clock = ManualClock::new(machineauth_core::clock::Timestamp::from_secs(1_800_000_000));
    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
    let variables = [
        ("JWT_SIGNING_ALGORITHM", "ES256"),
        ("JWT_ACCESS_TOKEN_EXPIRY", "3600"),
    ];
    let start = |base: Option<String>| {
        let mut builder = Issuer::builder().clock(&clock).store(Arc::clone(&store));
        for (name, value) in variables {
            builder = builder.with(name, value);
        }
        match base {
            Some(base) => builder.with("JWT_ISSUER", &base).start(),
            None => builder.start(),
        }
    };
    let one = start(None).await;
    let other = start(Some(one.base.clone())).await;
    let mut verifier = Dull {
        issuer: one.base.clone(),
        clock: clock.clone(),
        keys: None,
    };
    let agent = one.agent(&["read"]).await;
    let mut tokens: Vec<(u64, String)> = Vec::new();
    let mut signers = std::collections::BTreeSet::new();
    for minute in 0..300_u64 {
        if minute % 45 == 10 {
            rotate(if minute % 2 == 0 { &one } else { &other }, json!({})).await;
        }
        for issuer in [&one, &other] {
            issuer
                .app
                .keys
                .server()
                .refresh_if_older(Duration::ZERO)
                .await;
            let (token, _) = issuer.tokens(&agent).await;
            signers.insert(kid(&token));
            tokens.push((clock.now().as_secs() + 3_600, token));
        }
        tokens.retain(|(end, _)| clock.now().as_secs() < *end);
        for (_, token) in &tokens {
            assert!(
                verifier.accepts(&one, token).await,
                "minute {minute}, key {}",
                kid(token)
            );
        }
        clock.advance(Duration::from_secs(60));
    }
    assert_eq!(signers.len(), 8, "{signers:?}");
}

/// I23
#[tokio::test]
async fn a_key_is_published_then_signs_then_retires_then_is_gone() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let signer = async || kid(&issuer.tokens(&agent).await.0);
    let states = async || {
        let keys = keys(&issuer).await;
        keys.iter()
            .map(|key| key["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let new = rotate(&issuer, json!({})).await["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(states().await, ["signing", "published"]);
    assert_eq!(published(&issuer).await, ["key-1", new.as_str()]);
    clock.advance(PUBLISHED_AHEAD - Duration::from_secs(1));
    assert_eq!(signer().await, "key-1");
    clock.advance(Duration::from_secs(1));
    assert_eq!(signer().await, new);
    assert_eq!(states().await, ["retiring", "signing"]);
    clock.advance(PUBLISHED_AFTER - Duration::from_secs(1));
    issuer
        .app
        .keys
        .server()
        .refresh_if_older(Duration::ZERO)
        .await;
    assert_eq!(published(&issuer).await.len(), 2);
    clock.advance(Duration::from_secs(1));
    issuer
        .app
        .keys
        .server()
        .refresh_if_older(Duration::ZERO)
        .await;
    assert_eq!(published(&issuer).await, [new]);
}

#[tokio::test]
async fn keys_are_replaced_on_schedule_by_one_of_the_issuers() {
    let clock = ManualClock::new(machineauth_core::clock::Timestamp::from_secs(1_800_000_000));
    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
    let start = || {
        Issuer::builder()
            .clock(&clock)
            .store(Arc::clone(&store))
            .with("JWT_KEY_ROTATION_DAYS", "30")
            .start()
    };
    let issuers = [start().await, start().await, start().await];
    let refresh = async || {
        let refreshed = issuers
            .iter()
            .map(|issuer| issuer.app.keys.server().refresh_if_older(Duration::ZERO));
        futures_util::future::join_all(refreshed).await;
    };
    clock.advance(Duration::from_secs(30 * 86_400) - PUBLISHED_AHEAD - Duration::from_secs(1));
    refresh().await;
    assert_eq!(published(&issuers[0]).await, ["key-1"]);
    clock.advance(Duration::from_secs(1));
    refresh().await;
    refresh().await;
    for issuer in &issuers {
        assert_eq!(published(issuer).await.len(), 2);
    }
    clock.advance(PUBLISHED_AHEAD);
    let agent = issuers[0].agent(&["read"]).await;
    assert_ne!(kid(&issuers[1].tokens(&agent).await.0), "key-1");
}

#[tokio::test]
async fn a_key_that_is_not_to_be_trusted_is_revoked_and_replaced_at_once() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let revoked = issuer.admin(Method::DELETE, "/api/keys/key-1", None).await;
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    assert!(!published(&issuer).await.contains(&"key-1".to_owned()));
    assert_eq!(issuer.introspect(&token).await["active"], false);
    let (new, _) = issuer.tokens(&agent).await;
    assert_ne!(kid(&new), "key-1");
    assert_eq!(issuer.introspect(&new).await["active"], true);
    let mut announced = false;
    for partition in Partition::data() {
        let log = issuer
            .app
            .store
            .log(partition, Log::Revocations, &Position::START, 10)
            .await;
        if let LogRead::Entries(entries) = log.unwrap() {
            announced |= entries.iter().any(|(_, entry)| {
                let entry: Value = serde_json::from_slice(entry).unwrap();
                entry["type"] == "key" && entry["kid"] == "key-1"
            });
        }
    }
    assert!(announced, "listeners hear of it");
    issuer
        .admin(Method::DELETE, "/api/keys/key-1", None)
        .await
        .expect_error(404, "not_found");
}

#[tokio::test]
async fn the_key_that_signs_does_not_retire_without_a_successor() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    issuer
        .admin(Method::POST, "/api/keys/key-1/retire", None)
        .await
        .expect_error(409, "conflict");
    rotate(&issuer, json!({ "immediately": true })).await;
    let retired = issuer
        .admin(Method::POST, "/api/keys/key-1/retire", None)
        .await;
    assert_eq!(retired.status, 204, "{}", retired.text);
    clock.advance(PUBLISHED_AFTER);
    issuer
        .app
        .keys
        .server()
        .refresh_if_older(Duration::ZERO)
        .await;
    assert_eq!(published(&issuer).await.len(), 1);
}

fn openssl(arguments: &[&str]) -> String {
    let output = std::process::Command::new("openssl")
        .args(arguments)
        .output();
    let output = output.expect("openssl is installed: run scripts/install");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn keys_of_every_kind_are_imported_and_sign() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let import = async |body: Value| {
        issuer
            .admin(Method::POST, "/api/keys/import", Some(body))
            .await
    };
    for (arguments, algorithm) in [
        (
            [
                "genpkey",
                "-quiet",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:3072",
            ],
            "RS256",
        ),
        (
            [
                "genpkey",
                "-quiet",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ],
            "ES256",
        ),
        (
            [
                "genpkey",
                "-quiet",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-384",
            ],
            "ES384",
        ),
    ] {
        let pem = openssl(&arguments);
        let imported = import(json!({ "pem": pem, "immediately": true, "kid": algorithm })).await;
        assert_eq!(imported.status, 201, "{}", imported.text);
        assert_eq!(imported.json()["key"]["algorithm"], algorithm);
        assert!(!imported.text.contains("PRIVATE"));
        let public = issuer
            .admin(Method::GET, &format!("/api/keys/{algorithm}/pem"), None)
            .await
            .text;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &pem).unwrap();
        assert_eq!(
            public,
            openssl(&["pkey", "-in", file.path().to_str().unwrap(), "-pubout"])
        );
        import(json!({ "pem": pem, "kid": algorithm }))
            .await
            .expect_error(409, "conflict");
    }
    let ed25519 = import(json!({ "pem": openssl(&["genpkey", "-algorithm", "ED25519"]) })).await;
    assert_eq!(ed25519.json()["key"]["algorithm"], "EdDSA");
    // The algorithm that is configured signs; of that one, the key that came last.
    let (token, _) = issuer.tokens(&agent).await;
    assert_eq!(kid(&token), "RS256");
    assert_eq!(issuer.introspect(&token).await["active"], true);

    let weak = openssl(&[
        "genpkey",
        "-quiet",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:1024",
    ]);
    let p521 = openssl(&[
        "genpkey",
        "-quiet",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-521",
    ]);
    let ec = openssl(&[
        "genpkey",
        "-quiet",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]);
    for (body, field) in [
        (json!({ "pem": weak }), "pem"),
        (json!({ "pem": p521 }), "pem"),
        (json!({ "pem": "" }), "pem"),
        (
            json!({ "pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" }),
            "pem",
        ),
        (json!({ "pem": ec, "algorithm": "RS256" }), "algorithm"),
        (json!({ "pem": ec, "algorithm": "HS256" }), "algorithm"),
        (json!({ "pem": ec, "kid": "a b" }), "kid"),
    ] {
        let answer = import(body).await;
        answer.expect_error(400, "invalid_request");
        assert!(answer.str("message").starts_with(field), "{}", answer.text);
    }
}

#[tokio::test]
async fn only_the_administrator_of_the_server_sees_its_keys() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let key = issuer
        .api_key(&organization, json!({ "name": "key" }))
        .await;
    for (method, path) in [
        (Method::GET, "/api/keys"),
        (Method::POST, "/api/keys/rotate"),
        (Method::GET, "/api/keys/key-1/pem"),
        (Method::POST, "/api/keys/key-1/retire"),
        (Method::DELETE, "/api/keys/key-1"),
    ] {
        issuer
            .bearer(&key, method, path, None)
            .await
            .expect_error(403, "forbidden");
    }
}

#[tokio::test]
async fn a_replaced_server_key_opens_the_store_and_the_old_one_does_not() {
    let store = new_store();
    let (old, new) = (ServerKey::generate(), ServerKey::generate());
    open(&store, &old, &[]).await.unwrap();
    let previous = old.to_text();
    let with_previous = [("SERVER_KEY_PREVIOUS", previous.as_str())];
    let opened =
        futures_util::future::join_all((0..4).map(|_| open(&store, &new, &with_previous))).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    open(&store, &new, &[]).await.unwrap();
    let error = open(&store, &old, &[]).await.unwrap_err();
    assert!(
        matches!(error, StartError::Vault(VaultError::WrongServerKey)),
        "{error}"
    );
    let unknown = ServerKey::generate();
    open(&store, &unknown, &with_previous).await.unwrap_err();
    let changes = events(&*store).await.into_iter();
    let changes = changes.filter(|event| event.action == "server_key.changed");
    assert_eq!(
        changes.count(),
        1,
        "in the commit that changes it, whoever tried"
    );
}

#[tokio::test]
async fn an_organization_with_its_own_issuer_has_its_own_documents_keys_and_tokens() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let path = format!("/api/organizations/{organization}");
    let own = format!("{}/acme", issuer.base);
    issuer
        .admin(Method::PATCH, &path, Some(json!({ "jwt_issuer": own })))
        .await;
    let agent = issuer.agent_in(&organization, &["read"]).await;
    let (token, refresh_token) = issuer.tokens(&agent).await;
    assert_eq!(claims(&token)["iss"], json!(own));

    // By the issuer's URL alone, as a verifier finds them.
    for place in [
        "/.well-known/oauth-authorization-server/acme",
        "/acme/.well-known/openid-configuration",
    ] {
        let metadata = issuer.get(place).await.json();
        assert_eq!(metadata["issuer"], json!(own));
        assert_eq!(
            metadata["jwks_uri"],
            json!(format!("{own}/.well-known/jwks.json"))
        );
        assert_eq!(
            metadata["token_endpoint"],
            json!(format!("{}/oauth/token", issuer.base))
        );
    }
    let document = issuer.get("/acme/.well-known/jwks.json").await.text;
    let verifier = Verifier::builder(&own, "machineauth-api")
        .keys(KeySet::parse(document.as_bytes()).unwrap())
        .build()
        .unwrap();
    assert_eq!(verifier.check(&token).unwrap().client_id(), agent.client_id);
    let server = issuer.get("/.well-known/jwks.json").await.text;
    assert!(
        !server.contains(&kid(&token)),
        "the server's keys are others"
    );

    // It lives like any other token.
    assert_eq!(issuer.introspect(&token).await["active"], true);
    let refreshed = issuer
        .refresh(&agent, &refresh_token)
        .await
        .str("access_token");
    assert_eq!(claims(&refreshed)["iss"], json!(own));
    issuer.revoke(&token).await;
    assert_eq!(issuer.introspect(&token).await["active"], false);

    // Keys of its own, managed like the server's.
    let query = format!("?organization_id={organization}");
    let list = issuer
        .admin(Method::GET, &format!("/api/keys{query}"), None)
        .await
        .json();
    assert_eq!(list["keys"][0]["kid"], json!(kid(&refreshed)));
    rotate(
        &issuer,
        json!({ "organization_id": organization, "immediately": true }),
    )
    .await;
    let (renewed, _) = issuer.tokens(&agent).await;
    assert_ne!(kid(&renewed), kid(&refreshed));
    for token in [&refreshed, &renewed] {
        assert_eq!(issuer.introspect(token).await["active"], true);
    }

    // When it goes back to the server's issuer, its older tokens are still its own.
    issuer
        .admin(Method::PATCH, &path, Some(json!({ "jwt_issuer": "" })))
        .await;
    assert_eq!(
        claims(&issuer.tokens(&agent).await.0)["iss"],
        json!(issuer.base)
    );
    assert_eq!(issuer.introspect(&renewed).await["active"], true);
    issuer
        .get("/acme/.well-known/jwks.json")
        .await
        .expect_error(404, "not_found");
}

#[tokio::test]
async fn an_issuer_without_a_path_is_found_by_its_host() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let path = format!("/api/organizations/{organization}");
    let own = "https://auth.acme.example";
    issuer
        .admin(Method::PATCH, &path, Some(json!({ "jwt_issuer": own })))
        .await;
    let asked_as = async |host: &str, path: &str| {
        let request = issuer.request(Method::GET, path).header("host", host);
        Answer::to(request).await.json()
    };
    let metadata = "/.well-known/oauth-authorization-server";
    assert_eq!(
        asked_as("AUTH.acme.example:443", metadata).await["issuer"],
        own
    );
    assert_eq!(
        asked_as("other.example", metadata).await["issuer"],
        json!(issuer.base)
    );
    let keys = "/.well-known/jwks.json";
    assert_ne!(
        asked_as("auth.acme.example", keys).await,
        asked_as("other.example", keys).await
    );
}

#[tokio::test]
async fn asking_about_strangers_tokens_makes_no_keys() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let elsewhere = Issuer::start().await;
    let stranger = elsewhere.organization("acme").await;
    let agent = elsewhere.agent_in(&stranger, &["read"]).await;
    let path = format!("/api/organizations/{stranger}");
    let own = json!({ "jwt_issuer": "https://auth.acme.example" });
    elsewhere.admin(Method::PATCH, &path, Some(own)).await;
    let (token, _) = elsewhere.tokens(&agent).await;
    assert_eq!(issuer.introspect(&token).await, json!({ "active": false }));
    for id in [&organization, &stranger] {
        let keys = Partition::SYSTEM.key("organization_key").with(
            id.parse::<machineauth_issuer::domain::id::OrganizationId>()
                .unwrap(),
        );
        assert!(
            issuer
                .app
                .store
                .scan(&keys, None, 1)
                .await
                .unwrap()
                .is_empty()
        );
    }
}
