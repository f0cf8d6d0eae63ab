//! The server key and the signing keys, over restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use machineauth_core::clock::{Clock, SystemClock};
use machineauth_issuer::app::{App, StartError};
use machineauth_issuer::config::Config;
use machineauth_issuer::domain::signing::SigningError;
use machineauth_issuer::domain::vault::{ServerKey, VaultError};
use machineauth_issuer::store::{DynStore, Log, LogRead, MemoryStore, Partition, Position};
use machineauth_tests::issuer::Issuer;

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
    assert_eq!(after.introspect(&new).await["active"], true);
    // It looks for an unknown key at most once a second.
    let deadline = Instant::now() + Duration::from_secs(10);
    while before.introspect(&new).await["active"] != true {
        assert!(
            Instant::now() < deadline,
            "the issuer that runs already does not find the new key"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
        .map(|app| {
            app.unwrap()
                .keys
                .current(SystemClock.now())
                .unwrap()
                .set()
                .to_json()
        })
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
        matches!(error, StartError::Signing(SigningError::NameTaken(_))),
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
