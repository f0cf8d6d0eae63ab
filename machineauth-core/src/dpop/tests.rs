use serde_json::{Value, json};

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::crypto::SigningKey;

const NOW: u64 = 1_800_000_000;
const ORIGIN: &str = "https://api.example";

struct Stage {
    clock: ManualClock,
    key: SigningKey,
    dpop: Dpop,
}

impl Stage {
    fn new() -> Self {
        Self::with(|dpop| dpop)
    }

    fn with(limits: impl FnOnce(DpopBuilder) -> DpopBuilder) -> Self {
        let clock = ManualClock::new(Timestamp::from_secs(NOW));
        let dpop = Dpop::builder(ORIGIN).clock(Arc::new(clock.clone()));
        Self {
            dpop: limits(dpop).build().unwrap(),
            key: SigningKey::generate(Algorithm::ES256).unwrap(),
            clock,
        }
    }

    fn builder(&self) -> ProofBuilder {
        ProofBuilder::new("GET", "https://api.example/a").at(self.clock.now())
    }

    /// A good proof but for these members.
    fn proof(&self, header: Value, claims: Value) -> String {
        let jwk = serde_json::to_value(self.key.public_jwk("k")).unwrap();
        let alg = self.key.algorithm().as_str();
        let good_header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk});
        let good_claims = json!({
            "jti": "proof-1", "htm": "GET", "htu": "https://api.example/a", "iat": NOW,
        });
        self.signed(merged(good_header, header), merged(good_claims, claims))
    }

    fn signed(&self, header: Value, claims: Value) -> String {
        let [header, claims] = [header, claims].map(|part| base64url::encode(part.to_string()));
        let input = format!("{header}.{claims}");
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", base64url::encode(signature))
    }

    fn verify(&self, proof: &str) -> Result<Proof, Error> {
        self.dpop.verify(proof, "GET", "/a", None)
    }

    fn kind(&self, proof: &str) -> Result<(), ErrorKind> {
        self.verify(proof).map(drop).map_err(|error| error.kind())
    }
}

/// `changes` over `good`; null takes out.
fn merged(mut good: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    let members = good.as_object_mut().unwrap();
    for (name, value) in changes {
        if value.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    good
}

#[test]
fn a_proof_of_each_accepted_algorithm_says_which_key_the_client_has() {
    let stage = Stage::new();
    for algorithm in DEFAULT_ALGORITHMS {
        let key = SigningKey::generate(algorithm).unwrap();
        let proof = stage.builder().sign(&key).unwrap();
        let seen = stage.verify(&proof).unwrap();
        assert_eq!(
            seen.thumbprint(),
            key.public_jwk("any").thumbprint(),
            "{algorithm}"
        );
    }
}

/// RFC 9449 §4.1 and §6.1: the proof of the example, and the thumbprint of its key.
#[test]
fn the_example_of_the_rfc_is_a_good_proof() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let clock = ManualClock::new(Timestamp::from_secs(1_562_262_616));
    let dpop = Dpop::builder("https://server.example.com").clock(Arc::new(clock));
    let dpop = dpop.build().unwrap();
    let seen = dpop.verify(proof, "POST", "/token", None).unwrap();
    assert_eq!(
        seen.thumbprint().to_string(),
        "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    );
}

/// RFC 9449 §7.1: the proof of the example, with its access token.
#[test]
fn the_example_of_the_rfc_names_its_access_token() {
    let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let clock = ManualClock::new(Timestamp::from_secs(1_562_262_618));
    let dpop = Dpop::builder("https://resource.example.org").clock(Arc::new(clock));
    let dpop = dpop.build().unwrap();
    let verify = |token| dpop.verify(proof, "GET", "/protectedresource", Some(token));
    assert!(verify(token).is_ok());
    assert!(verify("another").is_err());
}

/// V22
#[test]
fn what_is_wrong_with_a_proof_is_noticed() {
    let stage = Stage::new();
    assert_eq!(stage.kind(&stage.proof(json!({}), json!({}))), Ok(()));
    let other = SigningKey::generate(Algorithm::ES256).unwrap();
    let other = serde_json::to_value(other.public_jwk("k")).unwrap();
    let own = serde_json::to_value(stage.key.public_jwk("k")).unwrap();
    let private = merged(own.clone(), json!({"d": "AAAA"}));
    let wrong_alg = merged(own.clone(), json!({"alg": "ES384"}));
    let symmetric = json!({"kty": "oct", "k": "AAAA"});
    let ping = "x".repeat(257);
    let bad = [
        (json!({"typ": "JWT"}), json!({})),
        (json!({"typ": "at+jwt"}), json!({})),
        (json!({"typ": null}), json!({})),
        (json!({"alg": "none"}), json!({})),
        (json!({"alg": "HS256"}), json!({})),
        (json!({"alg": "ES384"}), json!({})),
        (json!({"alg": "RS256"}), json!({})),
        (json!({"jwk": null}), json!({})),
        (json!({"jwk": "x"}), json!({})),
        (json!({"jwk": {}}), json!({})),
        (json!({"jwk": other}), json!({})),
        (json!({"jwk": private}), json!({})),
        (json!({"jwk": wrong_alg}), json!({})),
        (json!({"jwk": symmetric, "alg": "HS256"}), json!({})),
        (json!({"crit": ["x"], "x": 1}), json!({})),
        (json!({}), json!({"jti": null})),
        (json!({}), json!({"jti": ""})),
        (json!({}), json!({"jti": ping})),
        (json!({}), json!({"jti": 1})),
        (json!({}), json!({"htm": null})),
        (json!({}), json!({"htm": "POST"})),
        (json!({}), json!({"htm": "get"})),
        (json!({}), json!({"htu": null})),
        (json!({}), json!({"htu": "https://other.example/a"})),
        (json!({}), json!({"htu": "https://api.example/b"})),
        (json!({}), json!({"htu": "http://api.example/a"})),
        (json!({}), json!({"iat": null})),
        (json!({}), json!({"iat": "now"})),
        (json!({}), json!({"iat": -1})),
        (json!({}), json!({"iat": NOW - 60})),
        (json!({}), json!({"iat": NOW + 61})),
        (json!({}), json!({"iat": u64::MAX})),
    ];
    for (header, claims) in bad {
        let shown = format!("{header} {claims}");
        let proof = stage.proof(header, claims);
        assert_eq!(stage.kind(&proof), Err(ErrorKind::InvalidProof), "{shown}");
    }
    let good = stage.proof(json!({}), json!({}));
    for text in ["", "a.b.c", &good[..good.len() - 2], &format!("{good}.x")] {
        assert_eq!(stage.kind(text), Err(ErrorKind::InvalidProof));
    }
    let endless = stage.proof(json!({}), json!({"x": "x".repeat(5000)}));
    assert_eq!(stage.kind(&endless), Err(ErrorKind::InvalidProof));
}

/// V22
#[test]
fn a_proof_for_a_token_is_for_that_token() {
    let stage = Stage::new();
    let verify = |proof: &str| stage.dpop.verify(proof, "GET", "/a", Some("token")).is_ok();
    let with = |token| stage.builder().token(token).sign(&stage.key).unwrap();
    assert!(verify(&with("token")));
    assert!(!verify(&with("other")));
    assert!(!verify(&stage.builder().sign(&stage.key).unwrap()));
}

/// V22
#[test]
fn a_proof_is_used_once_while_it_is_good() {
    let stage = Stage::new();
    let proof = stage.builder().sign(&stage.key).unwrap();
    let seen = stage.verify(&proof).unwrap();
    assert_eq!(stage.dpop.redeem(&seen), Ok(()));
    for _ in 0..2 {
        let seen = stage.verify(&proof).unwrap();
        let error = stage.dpop.redeem(&seen).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidProof);
        stage.clock.advance(Duration::from_millis(59_999 / 2));
    }
    stage.clock.advance(Duration::from_millis(2));
    assert_eq!(stage.kind(&proof), Err(ErrorKind::InvalidProof), "too old");

    // A proof from the future is remembered until it is too old, too.
    let early = stage.clock.now().saturating_add(Duration::from_secs(60));
    let proof = stage.builder().at(early).sign(&stage.key).unwrap();
    let seen = stage.verify(&proof).unwrap();
    assert_eq!(stage.dpop.redeem(&seen), Ok(()));
    stage.clock.advance(Duration::from_secs(119));
    let seen = stage.verify(&proof).unwrap();
    assert!(stage.dpop.redeem(&seen).is_err());
}

/// V22
#[test]
fn the_same_jti_of_two_keys_is_two_proofs() {
    let stage = Stage::new();
    let other = Stage::new();
    for key in [&stage, &other] {
        let seen = stage.verify(&key.proof(json!({}), json!({}))).unwrap();
        assert_eq!(stage.dpop.redeem(&seen), Ok(()));
    }
}

/// V22
#[test]
fn a_guard_that_is_full_refuses_counts_and_recovers() {
    let stage = Stage::with(|dpop| dpop.replay_capacity(64));
    let redeem = || {
        let proof = stage.builder().sign(&stage.key).unwrap();
        let seen = stage.verify(&proof).unwrap();
        stage.dpop.redeem(&seen)
    };
    let outcomes: Vec<_> = (0..200).map(|_| redeem()).collect();
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(accepted, 64);
    for outcome in &outcomes {
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::ReplayGuardFull);
            assert_eq!(crate::Challenge::new(error).status(), 503);
        }
    }
    assert_eq!(stage.dpop.refused_when_full(), 136);
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(redeem(), Ok(()));
}

/// V22
#[test]
fn where_nonces_are_wanted_a_proof_without_a_fresh_one_is_sent_back() {
    let stage = Stage::with(|dpop| dpop.require_nonces([7; 32]));
    let with = |nonce: &str| stage.builder().nonce(nonce).sign(&stage.key).unwrap();
    let nonce = stage.dpop.nonce().unwrap();
    let nonce = nonce.to_str().unwrap();
    assert_eq!(stage.kind(&with(nonce)), Ok(()));
    let without = stage.builder().sign(&stage.key).unwrap();
    for bad in [without, with(""), with("invented")] {
        assert_eq!(stage.kind(&bad), Err(ErrorKind::UseDpopNonce));
    }
    stage.clock.advance(Duration::from_secs(300));
    assert_eq!(stage.kind(&with(nonce)), Ok(()), "the one before");
    stage.clock.advance(Duration::from_secs(300));
    assert_eq!(stage.kind(&with(nonce)), Err(ErrorKind::UseDpopNonce));
    let stranger = Stage::with(|dpop| dpop.require_nonces([8; 32]));
    let foreign = stranger.dpop.nonce().unwrap();
    let foreign = with(foreign.to_str().unwrap());
    assert_eq!(stage.kind(&foreign), Err(ErrorKind::UseDpopNonce));
}

/// V22
#[test]
fn a_request_has_one_proof_or_none() {
    let mut headers = HeaderMap::new();
    assert_eq!(Dpop::proof_of(&headers), Ok(None));
    headers.append(DPOP, HeaderValue::from_static("a"));
    assert_eq!(Dpop::proof_of(&headers), Ok(Some("a")));
    headers.append(DPOP, HeaderValue::from_static("a"));
    assert!(Dpop::proof_of(&headers).is_err());
    let bytes = HeaderValue::from_bytes(b"\xff").unwrap();
    let headers = HeaderMap::from_iter([(DPOP, bytes)]);
    assert!(Dpop::proof_of(&headers).is_err());
}

#[test]
fn what_cannot_work_is_not_built() {
    for dpop in [
        Dpop::builder("api.example"),
        Dpop::builder(ORIGIN).also_at("https://api.example/v1"),
        Dpop::builder(ORIGIN).algorithms([]),
        Dpop::builder(ORIGIN).max_age(Duration::ZERO),
        Dpop::builder(ORIGIN).max_age(Duration::from_secs(3601)),
    ] {
        let error = dpop.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
}
