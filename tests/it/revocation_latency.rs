//! P6: from the answer to a revocation until resource servers refuse the token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use machineauth_core::clock::{Clock, SystemClock};
use machineauth_core::{ErrorKind, HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
use machineauth_issuer::store::{DynStore, MemoryStore};
use machineauth_tests::issuer::Issuer;

const REVOCATIONS: usize = 200;
const RESTART_EVERY: usize = 67;
/// Nothing may take longer, restarts included: it would be lost.
const LOST: Duration = Duration::from_secs(30);

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
            .build()
            .unwrap();
        feed.ready().await;
        Self {
            verifier,
            _feed: feed,
        }
    }

    async fn comes_to_refuse(&self, token: &str) {
        let refused = || matches!(self.verifier.check(token), Err(error) if error.kind() == ErrorKind::Revoked);
        while !refused() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// P6, V24
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_resource_servers_hear_of_every_revocation_over_restarts_of_the_issuer() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store: DynStore = Arc::new(MemoryStore::new(clock));
    let mut issuer = Issuer::builder().store(Arc::clone(&store)).start().await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(ResourceServer::of(&issuer).await);
    }
    let agent = issuer.agent(&["read"]).await;
    let mut tokens = Vec::new();
    for _ in 0..REVOCATIONS {
        let (token, _) = issuer.tokens(&agent).await;
        for server in &servers {
            server.verifier.verify(&token).await.unwrap();
        }
        tokens.push(token);
    }

    let (mut latencies, mut after_restarts) = (Vec::new(), Vec::new());
    for (n, token) in tokens.iter().enumerate() {
        let restarts = n % RESTART_EVERY == RESTART_EVERY - 1;
        if restarts {
            let address = issuer.address;
            issuer.stop().await;
            issuer = Issuer::builder()
                .store(Arc::clone(&store))
                .listen(address)
                .start()
                .await;
        }
        issuer.revoke(token).await;
        let answered = Instant::now();
        let refused = async {
            for server in &servers {
                server.comes_to_refuse(token).await;
            }
        };
        tokio::time::timeout(LOST, refused)
            .await
            .expect("no revocation is lost");
        match restarts {
            true => after_restarts.push(answered.elapsed()),
            false => latencies.push(answered.elapsed()),
        }
    }
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100];
    println!(
        "P6: {REVOCATIONS} revocations at three resource servers, p99 {p99:?} (target <= 250 ms)"
    );
    println!("right after a restart of the issuer: {after_restarts:?}");
    for token in &tokens {
        for server in &servers {
            assert!(
                server.verifier.check(token).is_err(),
                "what was refused stays refused"
            );
        }
    }
}
