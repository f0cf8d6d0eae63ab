//! P4: a warm request through [`MachineAuthLayer`], a scope requirement and the revocation check, against the bare
//! axum route, both in process. Prints nanoseconds per request and the ratio; rounds alternate, medians count.
//!
//! axum boxes what every call of `layer` and `route_layer` gives it, so it matters whether two layers come in one call: a
//! scope for the whole router can, a scope for a route cannot. Layers that do nothing, in the same places, show axum's share.

use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use machineauth_core::jwks::{FetchFuture, FetchKeys};
use machineauth_core::jws::{self, Type};
use machineauth_core::verifier::StalePolicy;
use machineauth_core::{
    Algorithm, Clock as _, JwksCache, KeySet, Revocation, RevocationSet, SigningKey, SystemClock,
    Verifier,
};
use machineauth_tower::{MachineAuthLayer, RequireScopesLayer};
use serde_json::json;
use tower::Service as _;
use tower_layer::Identity;

const ROUNDS: usize = 11;
const REQUESTS_PER_ROUND: u32 = 100_000;
const REVOCATIONS: usize = 100_000;
const ISSUER: &str = "https://issuer.example";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(compare())
}

async fn compare() -> Result<(), Box<dyn std::error::Error>> {
    let key = SigningKey::generate(Algorithm::RS256)?;
    let keys = KeySet::from_jwks([key.public_jwk("key-1")]);
    let scope = RequireScopesLayer::new("artifacts:read")?;
    let auth = || Ok::<_, machineauth_core::Error>(MachineAuthLayer::new(verifier(&keys)?));
    let one = requests_of(&key, 1)?;
    let many = requests_of(&key, 1000)?;

    let contenders = [
        ("bare axum route", route(), &one),
        (
            "nothing, once for the router",
            route().layer((Identity::new(), Identity::new())),
            &one,
        ),
        (
            "scope for the router, one token",
            route().layer((auth()?, scope.clone())),
            &one,
        ),
        (
            "scope for the router, 1000 tokens",
            route().layer((auth()?, scope.clone())),
            &many,
        ),
        (
            "nothing, for the route and for the router",
            route().route_layer(Identity::new()).layer(Identity::new()),
            &one,
        ),
        (
            "scope for the route, one token",
            route().route_layer(scope.clone()).layer(auth()?),
            &one,
        ),
        (
            "scope for the route, 1000 tokens",
            route().route_layer(scope.clone()).layer(auth()?),
            &many,
        ),
    ];
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..=ROUNDS {
        for (times, (_, app, headers)) in times.iter_mut().zip(&contenders) {
            times.push(measure(app, headers).await);
        }
    }
    println!(
        "P4, medians of {ROUNDS} alternated rounds of {REQUESTS_PER_ROUND} requests, {REVOCATIONS} live revocations"
    );
    // The first round warms up.
    let medians: Vec<_> = times.into_iter().map(|times| median(&times[1..])).collect();
    for ((what, ..), time) in contenders.iter().zip(&medians) {
        println!("{what:42} {time:7.0} ns   {:.2}×", time / medians[0]);
    }
    println!();
    for ((what, ..), time) in contenders.iter().zip(&medians).skip(1) {
        if !what.starts_with("nothing") {
            println!(
                "P4  {what}, / bare   {:.2} ×   target ≤ 2",
                time / medians[0]
            );
        }
    }
    Ok(())
}

fn route() -> Router {
    Router::new().route("/artifacts", get(async || "[]"))
}

fn verifier(keys: &KeySet) -> Result<Verifier, machineauth_core::Error> {
    let until = SystemClock.now().as_secs() + 3600;
    let revocations = RevocationSet::new();
    revocations.replace(
        (0..REVOCATIONS)
            .map(|n| Revocation::Token {
                jti: format!("revoked-{n}"),
                until,
            })
            .collect(),
    );
    revocations.mark_fresh(SystemClock.now());
    Verifier::builder(ISSUER, "artifacts")
        .jwks(JwksCache::new(Published(keys.to_json().into())))
        .revocations(revocations)
        .stale_revocations(StalePolicy::Refuse {
            after: Duration::from_secs(3600),
        })
        .build()
}

/// Header values with tokens of a usual size, about 860 bytes.
fn requests_of(
    key: &SigningKey,
    count: usize,
) -> Result<Vec<HeaderValue>, Box<dyn std::error::Error>> {
    let now = SystemClock.now().as_secs();
    let token = |n: usize| {
        let claims = json!({
            "iss": ISSUER, "aud": ["artifacts"], "sub": format!("agent-{n}"), "exp": now + 3600, "iat": now,
            "jti": format!("0b5f2f3e-9a52-4a0e-8d29-{n:012}"), "agent_id": format!("7a0e9a52-2f3e-4a0e-8d29-{n:012}"),
            "org_id": "e1c0b0a4-4ac1-4d3a-9d07-5a3f5a6f0d11", "team_id": "44f3d7be-6f2b-4a55-9e5c-b0e9f3a0c7d2",
            "scope": ["artifacts:read", "artifacts:write", "search"], "gen": 3, "fid": "c4b2a0d8-1a2b-4c3d",
        });
        jws::sign_compact(key, Type::Jwt, "key-1", claims.to_string().as_bytes())
    };
    (0..count)
        .map(|n| Ok(HeaderValue::try_from(format!("Bearer {}", token(n)?))?))
        .collect()
}

/// Nanoseconds per request.
async fn measure(app: &Router, headers: &[HeaderValue]) -> f64 {
    let mut app = app.clone();
    let started = Instant::now();
    for header in headers.iter().cycle().take(REQUESTS_PER_ROUND as usize) {
        let request = Request::get("/artifacts").header(AUTHORIZATION, header);
        let request = request.body(Body::empty()).expect("all parts are valid");
        let Ok(response) = app.call(request).await;
        assert_eq!(response.status(), 200);
        black_box(response);
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS_PER_ROUND)
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[derive(Debug)]
struct Published(Bytes);

impl FetchKeys for Published {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}
