//! A resource server as an API runs it: core's verifier, key cache and revocation feed, against an issuer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::SystemClock;
use machineauth_core::{
    ErrorKind, HttpKeys, JwksCache, RevocationFeed, RevocationSet, StalePolicy, Verifier,
};
use machineauth_issuer::store::{DynStore, EmbeddedStore};
use machineauth_tests::agent::Agent;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::{Value, json};

/// Far more than the milliseconds that news takes, and than the longest pause before the feed is asked again.
const HEARS_WITHIN: Duration = Duration::from_secs(20);

struct ResourceServer {
    verifier: Verifier,
    _feed: RevocationFeed,
}

impl ResourceServer {
    async fn of(issuer: &Issuer) -> Self {
        let revocations = RevocationSet::new();
        let feed = RevocationFeed::of(&issuer.base, revocations.clone())
            .start()
            .unwrap();
        let verifier = Verifier::builder(&issuer.base, "machineauth-api")
            .jwks(JwksCache::new(HttpKeys::discover(&issuer.base).unwrap()))
            .revocations(revocations)
            .stale_revocations(StalePolicy::Refuse {
                after: Duration::from_secs(60),
            })
            .build()
            .unwrap();
        tokio::time::timeout(HEARS_WITHIN, feed.ready())
            .await
            .expect("the feed arrives");
        Self {
            verifier,
            _feed: feed,
        }
    }

    /// What is wrong with the token right now.
    async fn verdict(&self, token: &str) -> Result<(), ErrorKind> {
        let verified = self.verifier.verify(token).await;
        verified.map(drop).map_err(|error| error.kind())
    }

    /// Waits until the verdict is `expected`, and knows no third between the two.
    async fn comes_to(&self, token: &str, expected: Result<(), ErrorKind>) {
        let heard = async {
            loop {
                let verdict = self.verdict(token).await;
                if verdict == expected {
                    return;
                }
                assert!(
                    matches!(verdict, Ok(()) | Err(ErrorKind::Revoked)),
                    "{verdict:?}"
                );
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(HEARS_WITHIN, heard)
            .await
            .unwrap_or_else(|_| panic!("the token does not become {expected:?}"));
    }

    async fn comes_to_accept(&self, token: &str) {
        self.comes_to(token, Ok(())).await;
    }

    async fn comes_to_refuse(&self, token: &str) {
        self.comes_to(token, Err(ErrorKind::Revoked)).await;
    }
}

/// Tells the issuer, as its administrator, to do `what` to the agent.
async fn tell(issuer: &Issuer, agent: &Agent, what: &str, body: Option<Value>) {
    let path = format!("/api/agents/{}{what}", agent.id);
    let answer = issuer.admin(Method::POST, &path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// An agent, the agent's token, and somebody to check it, who does and accepts it.
async fn stage(issuer: &Issuer) -> (ResourceServer, Agent, String) {
    let resource_server = ResourceServer::of(issuer).await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    assert_eq!(resource_server.verdict(&token).await, Ok(()));
    (resource_server, agent, token)
}

/// I11
#[tokio::test]
async fn the_tokens_of_an_agent_are_refused_while_it_is_inactive_and_good_afterwards() {
    let issuer = Issuer::start().await;
    let (resource_server, agent, token) = stage(&issuer).await;
    for _ in 0..2 {
        tell(&issuer, &agent, "/deactivate", None).await;
        resource_server.comes_to_refuse(&token).await;
        let late = ResourceServer::of(&issuer).await;
        assert_eq!(
            late.verdict(&token).await,
            Err(ErrorKind::Revoked),
            "a snapshot says the same as the increments"
        );
        tell(&issuer, &agent, "/reactivate", None).await;
        resource_server.comes_to_accept(&token).await;
        let late = ResourceServer::of(&issuer).await;
        assert_eq!(late.verdict(&token).await, Ok(()));
    }
}

/// I11
#[tokio::test]
async fn tokens_that_end_with_a_rotation_are_refused_by_either_of_its_paths() {
    let issuer = Issuer::start().await;
    for (what, body) in [
        ("/rotate", json!({ "revoke_tokens": true })),
        ("", json!({ "action": "rotate", "revoke_tokens": true })),
    ] {
        let (resource_server, agent, token) = stage(&issuer).await;
        let path = format!("/api/agents/{}{what}", agent.id);
        let rotated = issuer.admin(Method::POST, &path, Some(body)).await;
        resource_server.comes_to_refuse(&token).await;
        let agent = Agent {
            client_secret: rotated.str("client_secret"),
            ..agent
        };
        let (fresh, _) = issuer.tokens(&agent).await;
        assert_eq!(
            resource_server.verdict(&fresh).await,
            Ok(()),
            "what was issued afterwards is good"
        );
    }
}

/// I11
#[tokio::test]
async fn tokens_that_end_with_a_deactivation_stay_refused_after_the_reactivation() {
    let issuer = Issuer::start().await;
    let (resource_server, agent, token) = stage(&issuer).await;
    let body = json!({ "revoke_tokens": true });
    tell(&issuer, &agent, "/deactivate", Some(body)).await;
    resource_server.comes_to_refuse(&token).await;
    tell(&issuer, &agent, "/reactivate", None).await;
    let (fresh, _) = issuer.tokens(&agent).await;
    // That the new token is accepted says that the reactivation has arrived.
    resource_server.comes_to_accept(&fresh).await;
    assert_eq!(
        resource_server.verdict(&token).await,
        Err(ErrorKind::Revoked)
    );
    assert_eq!(issuer.introspect(&token).await["active"], false);
}

/// I11
#[tokio::test]
async fn the_tokens_of_a_deleted_agent_are_refused() {
    let issuer = Issuer::start().await;
    let (resource_server, agent, token) = stage(&issuer).await;
    let path = format!("/api/agents/{}", agent.id);
    assert_eq!(issuer.admin(Method::DELETE, &path, None).await.status, 204);
    resource_server.comes_to_refuse(&token).await;
}

/// I9
#[tokio::test]
async fn the_access_tokens_of_a_revoked_family_are_refused_and_no_others() {
    let issuer = Issuer::start().await;
    let (resource_server, agent, other) = stage(&issuer).await;
    let (first, refresh_token) = issuer.tokens(&agent).await;
    let refreshed = issuer.refresh(&agent, &refresh_token).await;
    let (second, refresh_token) = (
        refreshed.str("access_token"),
        refreshed.str("refresh_token"),
    );
    for token in [&first, &second] {
        assert_eq!(resource_server.verdict(token).await, Ok(()));
    }
    issuer.revoke(&refresh_token).await;
    for token in [&first, &second] {
        resource_server.comes_to_refuse(token).await;
    }
    assert_eq!(resource_server.verdict(&other).await, Ok(()));
}

async fn open(path: &Path) -> DynStore {
    let store = EmbeddedStore::open(path, Arc::new(SystemClock)).await;
    Arc::new(store.unwrap())
}

/// I24, P6
#[tokio::test]
async fn no_resource_server_misses_what_is_revoked_around_a_restart_of_the_issuer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let mut issuer = Issuer::builder().store(open(&path).await).start().await;
    let resource_servers = [
        ResourceServer::of(&issuer).await,
        ResourceServer::of(&issuer).await,
        ResourceServer::of(&issuer).await,
    ];
    let untouched = issuer.agent(&["read"]).await;
    let (good, _) = issuer.tokens(&untouched).await;
    for _ in 0..3 {
        let agent = issuer.agent(&["read"]).await;
        let (before, _) = issuer.tokens(&agent).await;
        let (after, _) = issuer.tokens(&agent).await;
        for resource_server in &resource_servers {
            for token in [&before, &after, &good] {
                assert_eq!(resource_server.verdict(token).await, Ok(()));
            }
        }
        issuer.revoke(&before).await;
        let address = issuer.address;
        issuer.stop().await;
        let store = open(&path).await;
        issuer = Issuer::builder().store(store).listen(address).start().await;
        issuer.revoke(&after).await;
        for resource_server in &resource_servers {
            resource_server.comes_to_refuse(&before).await;
            resource_server.comes_to_refuse(&after).await;
            assert_eq!(resource_server.verdict(&good).await, Ok(()));
        }
    }
}
