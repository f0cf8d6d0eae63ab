//! Targets of those who verify. Nothing may panic, whatever the bytes are; beyond that, each target says what it asserts.
//!
//! `machineauth-core/tests/fuzz.rs` includes this file.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::Method;
use machineauth_core::crypto::{Algorithm, SigningKey};
use machineauth_core::dpop::Dpop;
use machineauth_core::jws::{Type, sign_compact};
use machineauth_core::policy::PolicyBuilder;
use machineauth_core::test_kit::replay_feed;
use machineauth_core::{
    Agent, Jwk, Jws, KeySet, ManualClock, Policy, RevocationSet, Rule, Timestamp, Verifier,
    base64url,
};
use serde_json::json;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const ISSUER: &str = "https://issuer.example";
const TOKEN: &str = "a-token";

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::EdDSA).expect("a key can be made"));

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    Verifier::builder(ISSUER, "api")
        .keys(KeySet::from_jwks([KEY.public_jwk("k")]))
        .leeway(Duration::ZERO)
        .clock(Arc::new(ManualClock::new(NOW)))
        .build()
        .expect("the settings are good")
});

static DPOP: LazyLock<Dpop> = LazyLock::new(|| {
    Dpop::builder("https://api.example")
        .clock(Arc::new(ManualClock::new(NOW)))
        .build()
        .expect("the settings are good")
});

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let list = Rule::get("/docks/{dockId}/artifacts").bind("dockId", "dockId");
    let policy = Policy::builder().rule(list).build();
    policy.expect("the rule is good")
});

static AGENT: LazyLock<Arc<Agent>> = LazyLock::new(|| {
    let claims = json!({
        "iss": ISSUER, "aud": "api", "sub": "a", "exp": NOW.as_secs() + 60, "dockId": "d1",
    });
    let agent = VERIFIER.check(&signed(claims.to_string().as_bytes()));
    agent.expect("the token is good")
});

fn signed(payload: &[u8]) -> String {
    sign_compact(&KEY, Type::Jwt, "k", payload).expect("any bytes can be signed")
}

/// A token as a stranger sends it is refused, and is the only text for what it says (V11). A payload that the issuer signs
/// is accepted only for this issuer, this audience and this moment.
pub fn jws(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        if let Ok(jws) = Jws::parse(text) {
            let mut parts = text.split('.').skip(1);
            assert_eq!(parts.next(), Some(&*base64url::encode(jws.payload())));
            assert_eq!(parts.next(), Some(&*base64url::encode(jws.signature())));
        }
        assert!(VERIFIER.check(text).is_err(), "nobody signed it");
    }
    if let Ok(agent) = VERIFIER.check(&signed(data)) {
        let claims = agent.claims();
        assert_eq!(claims.issuer, ISSUER);
        assert!(claims.audience.iter().any(|audience| audience == "api"));
        assert!(Timestamp::from_secs(claims.expires_at) > NOW);
    }
}

/// What was read of a key set has its limits (V9), and can be written and read again.
pub fn jwk(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        let _ = Jwk::from_public_pem(text);
    }
    let Ok(set) = KeySet::parse(data) else { return };
    assert!(set.len() <= 100);
    let again = KeySet::parse(set.to_json().as_bytes());
    let again = again.expect("what was written can be read");
    assert_eq!((again.len(), again.skipped()), (set.len(), 0));
}

/// Three lines: method, path, and a proof, or the claims of one that is signed well. A proof that is accepted is for this
/// method and this token, and is used up by one use (V22).
pub fn dpop(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, path, proof) = (line(), line(), line());
    let _ = DPOP.verify(proof, method, path, Some(TOKEN));

    let header = json!({
        "typ": "dpop+jwt", "alg": KEY.algorithm().as_str(), "jwk": KEY.public_jwk("k"),
    });
    let [header, claims] = [header.to_string().as_bytes(), proof.as_bytes()].map(base64url::encode);
    let input = format!("{header}.{claims}");
    let signature = KEY.sign(input.as_bytes()).expect("any bytes can be signed");
    let signed = format!("{input}.{}", base64url::encode(signature));
    if let Ok(seen) = DPOP.verify(&signed, method, path, Some(TOKEN)) {
        assert_eq!(seen.thumbprint(), KEY.public_jwk("k").thumbprint());
        assert!(DPOP.verify(&signed, "OTHER", path, Some(TOKEN)).is_err());
        assert!(DPOP.verify(&signed, method, path, Some("another")).is_err());
        let _ = DPOP.redeem(&seen);
        assert!(DPOP.redeem(&seen).is_err(), "it has been used");
    }
}

/// A line with a path, then a policy. An agent that is bound to one dock reaches it under one spelling of its path only
/// (V19); what a policy allows, it allows by a rule.
pub fn policy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (path, document) = text.split_once('\n').unwrap_or((text, ""));
    if POLICY.decide(&Method::GET, path, Some(&AGENT)).is_allowed() {
        assert_eq!(path, "/docks/d1/artifacts");
    }
    if let Ok(policy) = PolicyBuilder::from_toml(document).and_then(PolicyBuilder::build) {
        for agent in [None, Some(&**AGENT)] {
            let decision = policy.decide(&Method::GET, path, agent);
            assert!(decision.rule().is_some() || !decision.is_allowed());
        }
    }
}

/// In which pieces a stream comes makes no difference, and none is fresh that never said so (V24).
pub fn feed(data: &[u8]) {
    let (whole, piecemeal) = (RevocationSet::new(), RevocationSet::new());
    let followed = replay_feed(&whole, [data], NOW);
    assert_eq!(followed, replay_feed(&piecemeal, data.chunks(1), NOW));
    if followed {
        assert_eq!(whole.len(), piecemeal.len());
        assert_eq!(whole.staleness(NOW), piecemeal.staleness(NOW));
    }
    if whole.staleness(NOW).is_some() {
        let says_live = data.windows(4).any(|window| window == b"live");
        assert!(says_live, "only a whole snapshot makes a set fresh");
    }
}
