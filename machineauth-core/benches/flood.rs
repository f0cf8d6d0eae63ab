//! P13: valid traffic at a resource server while 20,000 tokens a second name keys that do not exist, against the same
//! traffic without them. Prints the 99th percentile of each and the ratio; rounds alternate, medians count.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use machineauth_core::jwks::{FetchFuture, FetchKeys};
use machineauth_core::jws::{Type, sign_compact};
use machineauth_core::{
    Algorithm, Clock as _, JwksCache, KeySet, SigningKey, SystemClock, Verifier,
};
use serde_json::json;

const ROUNDS: usize = 15;
const SAMPLES_PER_ROUND: usize = 4_000;
/// One sample is the mean of so many checks: a single one is at the limit of what a clock can tell.
const CHECKS_PER_SAMPLE: usize = 100;
const TOKENS: usize = 1_000;
const FLOOD_PER_MILLISECOND: u64 = 20;
const ISSUER: &str = "https://issuer.example";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = SigningKey::generate(Algorithm::RS256)?;
    let source = SlowIssuer {
        document: KeySet::from_jwks([key.public_jwk("key-1")])
            .to_json()
            .into(),
        asked: Arc::default(),
    };
    let asked = Arc::clone(&source.asked);
    let verifier = Verifier::builder(ISSUER, "api")
        .jwks(JwksCache::new(source))
        .build()?;
    let tokens = tokens(&key, "key-1", TOKENS)?;
    let invented = tokens_of_invented_keys(&key)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()?;
    runtime.block_on(async {
        for token in &tokens {
            verifier.verify(token).await?;
        }
        Ok::<_, machineauth_core::Error>(())
    })?;

    let flooding = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    runtime.spawn(flood(
        verifier.clone(),
        invented,
        Arc::clone(&flooding),
        Arc::clone(&sent),
    ));
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        flooding.store(false, Ordering::Release);
        std::thread::sleep(Duration::from_millis(20));
        quiet.push(p99(&verifier, &tokens));
        flooding.store(true, Ordering::Release);
        std::thread::sleep(Duration::from_millis(20));
        flooded.push(p99(&verifier, &tokens));
    }
    let (quiet, flooded) = (median(quiet), median(flooded));
    let (sent, asked) = (sent.load(Ordering::Relaxed), asked.load(Ordering::Relaxed));
    println!(
        "P13, medians of {ROUNDS} alternated rounds, {sent} tokens of unknown keys, {asked} fetches"
    );
    println!("p99 of valid traffic, without the flood   {quiet:7.1} ns");
    println!("p99 of valid traffic, with the flood      {flooded:7.1} ns");
    println!(
        "  P13  p99 of valid traffic, with the flood / without   {:.3}×   target ≤ 1.1",
        flooded / quiet
    );
    Ok(())
}

/// The 99th percentile of the time that a check of a good token takes, in nanoseconds.
fn p99(verifier: &Verifier, tokens: &[String]) -> f64 {
    let mut tokens = tokens.iter().cycle();
    let mut samples: Vec<f64> = (0..SAMPLES_PER_ROUND)
        .map(|_| {
            let started = Instant::now();
            for token in tokens.by_ref().take(CHECKS_PER_SAMPLE) {
                black_box(verifier.check(token).expect("it is good"));
            }
            started.elapsed().as_secs_f64() * 1e9 / CHECKS_PER_SAMPLE as f64
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() * 99 / 100]
}

async fn flood(verifier: Verifier, tokens: Vec<String>, on: Arc<AtomicBool>, sent: Arc<AtomicU64>) {
    let mut tokens = tokens.into_iter().cycle();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    loop {
        tick.tick().await;
        if !on.load(Ordering::Acquire) {
            continue;
        }
        for token in tokens.by_ref().take(FLOOD_PER_MILLISECOND as usize) {
            let verifier = verifier.clone();
            tokio::spawn(async move {
                verifier
                    .verify(&token)
                    .await
                    .expect_err("nobody has its key")
            });
        }
        sent.fetch_add(FLOOD_PER_MILLISECOND, Ordering::Relaxed);
    }
}

fn tokens(
    key: &SigningKey,
    kid: &str,
    count: usize,
) -> Result<Vec<String>, machineauth_core::Error> {
    let now = SystemClock.now().as_secs();
    let token = |n: usize| {
        let claims = json!({
            "iss": ISSUER, "aud": "api", "sub": format!("agent-{n}"), "exp": now + 3600, "iat": now,
            "jti": format!("0b5f2f3e-9a52-4a0e-8d29-{n:012}"), "scope": ["artifacts:read", "artifacts:write"],
        });
        sign_compact(key, Type::Jwt, kid, claims.to_string().as_bytes())
    };
    (0..count).map(token).collect()
}

fn tokens_of_invented_keys(key: &SigningKey) -> Result<Vec<String>, machineauth_core::Error> {
    let all: Result<Vec<_>, _> = (0..2_000)
        .map(|n| tokens(key, &format!("invented-{n}"), 1))
        .collect();
    Ok(all?.concat())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Takes 200 ms for each answer.
#[derive(Debug)]
struct SlowIssuer {
    document: Bytes,
    asked: Arc<AtomicU64>,
}

impl FetchKeys for SlowIssuer {
    fn fetch(&self) -> FetchFuture<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(self.document.clone())
        })
    }
}
