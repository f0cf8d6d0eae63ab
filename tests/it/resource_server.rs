//! A resource server as an API runs it: core's verifier, key cache and revocation feed, against an issuer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::SystemClock;
use machineauth_core::{
    ErrorKind, HttpKeys, JwksCache, RevocationFeed, RevocationSet, StalePolicy, Verifier,
};
use machineauth_issuer::store::{DynStore, EmbeddedStore, RedisStore};
use machineauth_tests::agent::Agent;
use machineauth_tests::fault_proxy::FaultProxy;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::redis_server::RedisServer;
use reqwest::Method;
use serde_json::{Value, json};

/// Far more than the milliseconds that news takes, and than the longest pause before the feed is asked again.
const HEARS_WITHIN: Duration = Duration::from_secs(20);

/// What is wrong with a token.
type Verdict = Result<(), ErrorKind>;

const REVOKED: Verdict = Err(ErrorKind::Revoked);

struct ResourceServer {
    verifier: Verifier,
    _feed: RevocationFeed,
}

impl ResourceServer {
    async fn of(issuer: &Issuer) -> Self {
        let keys = HttpKeys::discover(&issuer.base).unwrap();
        Self::following(issuer, &issuer.base, keys, Duration::from_secs(60)).await
    }

    /// Accepts tokens of the issuer called `name`, of which `issuer` is one server.
    async fn following(
        issuer: &Issuer,
        name: &str,
        keys: HttpKeys,
        may_be_stale: Duration,
    ) -> Self {
        let revocations = RevocationSet::new();
        let feed = RevocationFeed::of(&issuer.base, revocations.clone())
            .start()
            .unwrap();
        let verifier = Verifier::builder(name, "machineauth-api")
            .jwks(JwksCache::new(keys))
            .revocations(revocations)
            .stale_revocations(StalePolicy::Refuse {
                after: may_be_stale,
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
    async fn verdict(&self, token: &str) -> Verdict {
        let verified = self.verifier.verify(token).await;
        verified.map(drop).map_err(|error| error.kind())
    }

    /// Waits until the verdict is `expected`, and knows no other before it than these.
    async fn comes_to(&self, token: &str, expected: Verdict, before: &[Verdict]) {
        let heard = async {
            loop {
                let verdict = self.verdict(token).await;
                if verdict == expected {
                    return;
                }
                assert!(before.contains(&verdict), "{verdict:?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(HEARS_WITHIN, heard)
            .await
            .unwrap_or_else(|_| panic!("the token does not become {expected:?}"));
    }

    async fn comes_to_accept(&self, token: &str) {
        self.comes_to(token, Ok(()), &[REVOKED]).await;
    }

    async fn comes_to_refuse(&self, token: &str) {
        self.comes_to(token, REVOKED, &[Ok(())]).await;
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
            REVOKED,
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
    assert_eq!(resource_server.verdict(&token).await, REVOKED);
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

/// I24
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

/// I24, V24: two servers of one issuer on one store, one of which loses it.
#[tokio::test]
async fn behind_a_server_that_lost_its_store_the_stated_policy_bites_and_nowhere_else() {
    const NAME: &str = "https://issuer.example";
    const STALE: Verdict = Err(ErrorKind::RevocationsStale);
    let redis = RedisServer::start().await;
    let wire = FaultProxy::start(redis.address()).await;
    let server = async |url: &str| {
        let store = RedisStore::connect(url, Arc::new(SystemClock)).await;
        let issuer = Issuer::builder().store(Arc::new(store.unwrap()));
        issuer.with("JWT_ISSUER", NAME).start().await
    };
    let healthy = server(&redis.url()).await;
    let cut_off = server(&format!("redis://{}", wire.address())).await;
    let behind = async |server: &Issuer| {
        let keys = HttpKeys::at(&format!("{}/.well-known/jwks.json", server.base));
        // Heartbeats come every five seconds.
        let may_be_stale = Duration::from_secs(8);
        ResourceServer::following(server, NAME, keys.unwrap(), may_be_stale).await
    };
    let (near, far) = (behind(&healthy).await, behind(&cut_off).await);
    let agent = healthy.agent(&["read"]).await;
    let ((bad, _), (good, _)) = (healthy.tokens(&agent).await, healthy.tokens(&agent).await);
    for token in [&bad, &good] {
        assert_eq!(near.verdict(token).await, Ok(()));
        assert_eq!(far.verdict(token).await, Ok(()));
    }

    wire.set_silent(true);
    healthy.revoke(&bad).await;
    near.comes_to_refuse(&bad).await;
    far.comes_to(&good, STALE, &[Ok(())]).await;
    assert_eq!(far.verdict(&bad).await, STALE);
    assert_eq!(near.verdict(&good).await, Ok(()));

    wire.set_silent(false);
    wire.cut();
    far.comes_to(&bad, REVOKED, &[STALE]).await;
    far.comes_to(&good, Ok(()), &[STALE]).await;
}
