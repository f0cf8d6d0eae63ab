//! What takes something away races what gives it, again and again: whoever was told that it is gone finds nothing of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use machineauth_core::clock::SystemClock;
use machineauth_issuer::store::{DynStore, MemoryStore, RedisStore};
use machineauth_tests::agent::Agent;
use machineauth_tests::dice::Dice;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::redis_server::{Persistence, RedisServer};
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

/// How often each race is run in memory, and on Redis.
const ROUNDS: [usize; 2] = [60, 30];

/// Two issuers on one store.
struct Two {
    one: Issuer,
    other: Issuer,
}

/// How long after the start of a race each side sets out.
type Delays = [Duration; 2];

impl Two {
    async fn on(stores: [DynStore; 2]) -> Self {
        let [store, same_store] = stores;
        let one = Issuer::builder().store(store).start().await;
        let other = Issuer::builder().store(same_store);
        let other = other.with("JWT_ISSUER", &one.base).start().await;
        Self { one, other }
    }

    async fn in_memory() -> Self {
        let store: DynStore = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        Self::on([Arc::clone(&store), store]).await
    }

    async fn on_redis(server: &RedisServer) -> Self {
        let open = async || {
            let store = RedisStore::connect(&server.url(), Arc::new(SystemClock)).await;
            Arc::new(store.unwrap()) as DynStore
        };
        Self::on([open().await, open().await]).await
    }

    /// An agent whose record both have in their caches, with an access token and a refresh token.
    async fn agent(&self) -> (Agent, String, String) {
        let agent = self.one.agent(&["read"]).await;
        self.other.tokens(&agent).await;
        let (access, refresh) = self.one.tokens(&agent).await;
        (agent, access, refresh)
    }

    async fn are_ended(&self, tokens: &[String]) {
        for token in tokens {
            for issuer in [&self.one, &self.other] {
                let said = issuer.introspect(token).await;
                assert_eq!(said["active"], false, "{said}");
            }
        }
    }
}

async fn change(issuer: &Issuer, agent: &Agent, what: &str) -> Answer {
    let path = format!("/api/agents/{}/{what}", agent.id);
    let answer = issuer.admin(Method::POST, &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

/// The access and the refresh token, where there are some.
fn given(answer: &Answer) -> Option<(String, String)> {
    let is_granted = answer.status == 200;
    is_granted.then(|| (answer.str("access_token"), answer.str("refresh_token")))
}

async fn at_once<A, B>(
    delays: Delays,
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (A, B) {
    let [before_one, before_other] = delays;
    tokio::join!(
        async {
            sleep(before_one).await;
            one.await
        },
        async {
            sleep(before_other).await;
            other.await
        }
    )
}

/// Runs a race often, in memory and on Redis.
async fn again_and_again(race: impl AsyncFn(&Two, Delays)) {
    let redis = RedisServer::start_with(Persistence::None).await;
    let places = [Two::in_memory().await, Two::on_redis(&redis).await];
    let mut dice = Dice::new(1);
    for (two, rounds) in places.iter().zip(ROUNDS) {
        for _ in 0..rounds {
            let delays = [dice.millis(0, 4), dice.millis(0, 4)];
            race(two, delays).await;
        }
    }
}

/// I9
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_family_that_is_revoked_while_it_is_refreshed_is_good() {
    again_and_again(async |two, delays| {
        let (agent, access, refresh) = two.agent().await;
        let revocation = [("token", refresh.as_str())];
        let (refreshed, revoked) = at_once(
            delays,
            two.one.refresh(&agent, &refresh),
            two.other.post("/oauth/revoke", &revocation),
        )
        .await;
        assert_eq!(revoked.status, 200, "{}", revoked.text);
        two.are_ended(&[access]).await;
        if let Some((access, refresh)) = given(&refreshed) {
            two.are_ended(&[access]).await;
            let again = two.other.refresh(&agent, &refresh).await;
            again.expect_error(400, "invalid_grant");
        }
    })
    .await;
}

/// I10
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_refreshed_while_a_rotation_ends_all_tokens_is_good() {
    again_and_again(async |two, delays| {
        let (agent, access, refresh) = two.agent().await;
        let rotation = json!({ "action": "rotate", "revoke_tokens": true });
        let path = format!("/api/agents/{}", agent.id);
        let (refreshed, rotated) = at_once(
            delays,
            two.one
                .post("/oauth/refresh", &[("refresh_token", &refresh)]),
            two.other.admin(Method::POST, &path, Some(rotation)),
        )
        .await;
        assert_eq!(rotated.status, 200, "{}", rotated.text);
        two.are_ended(&[access]).await;
        if let Some((access, refresh)) = given(&refreshed) {
            two.are_ended(&[access]).await;
            let form = [("refresh_token", refresh.as_str())];
            let again = two.other.post("/oauth/refresh", &form).await;
            again.expect_error(400, "invalid_grant");
        }
    })
    .await;
}

/// I11
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_issued_or_refreshed_while_its_agent_is_deactivated_is_good() {
    again_and_again(async |two, delays| {
        let (agent, access, refresh) = two.agent().await;
        let granting = Box::pin(async {
            tokio::join!(
                two.one.token_answer(&agent),
                two.one.refresh(&agent, &refresh)
            )
        });
        let deactivating = change(&two.other, &agent, "deactivate");
        let ((issued, refreshed), _) = at_once(delays, granting, deactivating).await;
        two.are_ended(&[access]).await;
        for answer in [issued, refreshed] {
            if let Some((access, _)) = given(&answer) {
                two.are_ended(&[access]).await;
            }
        }
        let late = two.one.token_answer(&agent).await;
        late.expect_error(401, "invalid_client");
    })
    .await;
}

/// I10
#[tokio::test(flavor = "multi_thread")]
async fn of_rotations_at_once_one_secret_is_good_afterwards_and_no_former_one() {
    again_and_again(async |two, delays| {
        let (agent, _, _) = two.agent().await;
        let (one, other) = at_once(
            delays,
            change(&two.one, &agent, "rotate"),
            change(&two.other, &agent, "rotate"),
        )
        .await;
        let mut good = 0;
        for client_secret in [one, other].map(|answer| answer.str("client_secret")) {
            let rotated = Agent {
                client_secret,
                ..agent.clone()
            };
            good += usize::from(two.one.token_answer(&rotated).await.status == 200);
        }
        assert_eq!(good, 1);
        let former = two.other.token_answer(&agent).await;
        former.expect_error(401, "invalid_client");
    })
    .await;
}

/// I9
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_many_redeem_while_it_is_used_again_has_one_successor_or_no_family() {
    again_and_again(async |two, delays| {
        let (agent, _, first) = two.agent().await;
        let (_, second) = given(&two.one.refresh(&agent, &first).await).unwrap();
        let redeeming = join_all((0..4).map(|n| match n % 2 {
            0 => two.one.refresh(&agent, &second),
            _ => two.other.refresh(&agent, &second),
        }));
        let (redeemed, again) = at_once(delays, redeeming, two.other.refresh(&agent, &first)).await;
        let mut successors: Vec<_> = redeemed.iter().filter_map(given).collect();
        successors.dedup();
        assert!(successors.len() <= 1, "{successors:?}");
        let Some((access, third)) = successors.pop() else {
            again.expect_error(400, "invalid_grant");
            return;
        };
        match again.status.as_u16() {
            // The lost answer of an honest client, who then went on.
            200 => assert_eq!(again.str("refresh_token"), second),
            _ => {
                again.expect_error(400, "invalid_grant");
                two.are_ended(&[access]).await;
                let next = two.one.refresh(&agent, &third).await;
                next.expect_error(400, "invalid_grant");
            }
        }
    })
    .await;
}
