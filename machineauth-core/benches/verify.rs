//! What a verification costs beyond its signature (P3), and what it costs the second time.
//!
//! `cargo bench -p machineauth-core` prints a table of ratios. Each round measures the bare signature and the whole path
//! right after one another, so that a machine that slows down slows both; the median round counts.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use machineauth_core::crypto::{Algorithm, SigningKey};
use machineauth_core::jws::{Type, sign_compact};
use machineauth_core::{
    Jws, KeySet, ManualClock, Revocation, RevocationSet, Timestamp, Verifier, base64url,
};
use serde_json::{Value, json};

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://api.example.com";
const KID: &str = "2f6c1f0e-6a53-4b6e-9f43-1d2f9c0a7b11";
const NOW: u64 = 1_800_000_000;
const TOKEN_BYTES: usize = 860;
const TOKENS: usize = 1000;
/// Short rounds, many of them: what disturbs the machine hits few, and both halves of those it hits.
const TOKENS_PER_ROUND: usize = 200;
const ROUNDS: usize = 101;
const WARM_REPEATS: usize = 50;

fn main() {
    warm_heap();
    let key = SigningKey::generate(Algorithm::RS256).expect("a key");
    let tokens: Vec<String> = (0..TOKENS).map(|n| token(&key, n)).collect();
    let keys = Arc::new(KeySet::from_jwks([key.public_jwk(KID)]));
    let bare = BareKey::new(&key, &tokens);

    let mut rounds: Vec<Round> = Vec::with_capacity(ROUNDS);
    // The first round warms caches up and is dropped.
    for round in 0..=ROUNDS {
        let from = round * TOKENS_PER_ROUND % TOKENS;
        let turn = from..from + TOKENS_PER_ROUND;
        let verifier = verifier(&keys, None);
        let measured = Round {
            bare: bare.nanos_per_token(turn.clone()),
            cold: nanos_per_check(&verifier, &tokens[turn]),
        };
        if round > 0 {
            rounds.push(measured);
        }
    }
    let ratio = median(rounds.iter().map(|round| round.cold / round.bare));
    let bare_nanos = median(rounds.iter().map(|round| round.bare));
    let cold_nanos = median(rounds.iter().map(|round| round.cold));
    let warm = warm_nanos(&verifier(&keys, None), &tokens);
    let none_revoked = warm_nanos(&verifier(&keys, Some(revocations(0))), &tokens);
    let many_revoked = warm_nanos(&verifier(&keys, Some(revocations(100_000))), &tokens);

    println!(
        "\nRS256-2048, {TOKEN_BYTES}-byte tokens, {TOKENS} different ones, median of {ROUNDS} alternated rounds"
    );
    println!("  bare aws-lc-rs verification, parsed key   {bare_nanos:>8.0} ns");
    println!("  whole cold path                           {cold_nanos:>8.0} ns");
    println!(
        "  warm look-up, one token                   {:>8.0} ns",
        warm.one
    );
    println!(
        "  warm look-up, {TOKENS} tokens in turn         {:>8.0} ns",
        warm.all
    );
    println!(
        "  …with a revocation set, empty             {:>8.0} ns",
        none_revoked.all
    );
    println!(
        "  …with 100,000 live revocations            {:>8.0} ns",
        many_revoked.all
    );
    println!();
    println!("  P3  cold path / bare signature     {ratio:>6.3}×   target ≤ 1.15");
    println!(
        "  P5  100,000 revocations, more than none  {:>+5.0} ns   target ≤ 100",
        many_revoked.all - none_revoked.all
    );
}

/// Lets the allocator keep what it is given back, as it does in a process that has been busy for a while. Otherwise it
/// returns each round's memory to the system, and half of what is measured is the kernel handing it out again.
fn warm_heap() {
    drop(black_box(vec![1_u8; 16 * 1024 * 1024]));
}

/// Nanoseconds per token.
struct Round {
    bare: f64,
    cold: f64,
}

/// Nanoseconds per check of a token that is in the cache.
struct Warm {
    one: f64,
    all: f64,
}

/// The limit: nothing but the signature, on a parsed key, of inputs that are already decoded.
struct BareKey {
    key: ParsedPublicKey,
    signed: Vec<(Vec<u8>, Vec<u8>)>,
}

impl BareKey {
    fn new(key: &SigningKey, tokens: &[String]) -> Self {
        let jwk = serde_json::to_value(key.public_jwk(KID)).expect("a key is JSON");
        let member = |name: &str| {
            base64url::decode(jwk[name].as_str().expect("a string")).expect("base64url")
        };
        let components = RsaPublicKeyComponents {
            n: member("n"),
            e: member("e"),
        };
        let key = components
            .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
            .expect("an RSA key");
        let signed = tokens
            .iter()
            .map(|token| Jws::parse(token).expect("our own token"))
            .map(|jws| (jws.signing_input().to_vec(), jws.signature().to_vec()))
            .collect();
        Self { key, signed }
    }

    fn nanos_per_token(&self, turn: Range<usize>) -> f64 {
        let signed = &self.signed[turn];
        let start = Instant::now();
        for (message, signature) in signed {
            self.key
                .verify_sig(black_box(message), black_box(signature))
                .expect("our own signature");
        }
        start.elapsed().as_nanos() as f64 / signed.len() as f64
    }
}

/// Cold while the verifier is new and has none of the tokens in its cache, warm the second time.
fn nanos_per_check(verifier: &Verifier, tokens: &[String]) -> f64 {
    let start = Instant::now();
    for token in tokens {
        black_box(verifier.check(black_box(token))).expect("our own token");
    }
    start.elapsed().as_nanos() as f64 / tokens.len() as f64
}

fn warm_nanos(verifier: &Verifier, tokens: &[String]) -> Warm {
    nanos_per_check(verifier, tokens);
    let one = &vec![tokens[0].clone(); TOKENS];
    let median_over =
        |tokens: &[String]| median((0..WARM_REPEATS).map(|_| nanos_per_check(verifier, tokens)));
    Warm {
        one: median_over(one),
        all: median_over(tokens),
    }
}

fn verifier(keys: &Arc<KeySet>, revocations: Option<RevocationSet>) -> Verifier {
    let builder = Verifier::builder(ISSUER, AUDIENCE)
        .keys(Arc::clone(keys))
        .clock(Arc::new(ManualClock::new(Timestamp::from_secs(NOW))));
    match revocations {
        Some(revocations) => builder.revocations(revocations),
        None => builder,
    }
    .build()
    .expect("a complete configuration")
}

fn revocations(count: usize) -> RevocationSet {
    let set = RevocationSet::new();
    set.replace(
        (0..count)
            .map(|n| Revocation::Token {
                jti: format!("revoked-{n}"),
                until: NOW + 3600,
            })
            .collect(),
    );
    set
}

/// A token like the issuer's own, filled up to [`TOKEN_BYTES`].
fn token(key: &SigningKey, n: usize) -> String {
    let claims = |padding: usize| -> Value {
        json!({
            "iss": ISSUER,
            "sub": "6f0f7b5e-8a0e-4f4c-9a9f-5b0d2d0c8a11",
            "aud": AUDIENCE,
            "exp": NOW + 3600,
            "iat": NOW,
            "jti": format!("{n:08}-1d2f-4c0a-8b11-2f6c1f0e6a53"),
            "scope": ["artifacts:read", "artifacts:write"],
            "agent_id": "6f0f7b5e-8a0e-4f4c-9a9f-5b0d2d0c8a11",
            "gen": 3,
            "name": "x".repeat(padding),
        })
    };
    let sign = |padding| {
        sign_compact(key, Type::Jwt, KID, claims(padding).to_string().as_bytes())
            .expect("a signed token")
    };
    let missing = TOKEN_BYTES.saturating_sub(sign(0).len());
    let token = sign(missing * 3 / 4);
    assert!(
        token.len().abs_diff(TOKEN_BYTES) < 4,
        "a token of {} bytes",
        token.len()
    );
    token
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
