//! An independent judge: `jsonwebtoken`, with the same key, issuer, audience and leeway.
//!
//! Whatever we accept it accepts. The other way round there are differences, and each has a test below that fails when
//! the difference goes away:
//!
//! | it accepts, we refuse | why we refuse |
//! |---|---|
//! | `crit`, `b64`, `enc`, `zip` | they change what the token means (RFC 7515 §4.1.11, RFC 7797, RFC 7516) |
//! | duplicate claims, nesting beyond 16 levels | two readers may see two tokens |
//! | claims of a wrong type that it does not check: `iat`, `jti`, `scope`, an `aud` or `iss` array, … | RFC 7519 §4.1 |
//! | an `iat` in the future, an `exp` beyond 2⁵³ | no clock of ours says so |
//! | `typ` of other JWTs, ID tokens, tokens bound to a key | they are no bearer access tokens (RFC 8725 §3.11) |
//! | more than 16 KiB, a `kid` of more than 256 bytes, an empty `sub` | bounded work; nobody to speak for |
//!
//! And one that is no matter of trust: a `jwk` in the header that is an object but no key. It reads that member and
//! gives up; we never read it.

use std::sync::{Arc, LazyLock};

use jsonwebtoken::{DecodingKey, Validation, decode};
use machineauth_core::crypto::Algorithm;
use machineauth_core::{Clock, KeySet, SigningKey, SystemClock, Verifier};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::*;

/// One key with both judges. The oracle reads the machine's clock, so here both do.
struct Court {
    key: SigningKey,
    ours: Verifier,
    oracle: DecodingKey,
    validation: Validation,
}

impl Court {
    fn new(algorithm: Algorithm) -> Self {
        let key = new_key(algorithm);
        let jwk: jsonwebtoken::jwk::Jwk =
            serde_json::from_value(serde_json::to_value(key.public_jwk(KID)).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm.as_str().parse().unwrap());
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        let ours = builder()
            .keys(KeySet::from_jwks([key.public_jwk(KID)]))
            .clock(Arc::new(SystemClock))
            .build()
            .unwrap();
        Self {
            oracle: DecodingKey::from_jwk(&jwk).unwrap(),
            ours,
            validation,
            key,
        }
    }

    fn we_accept(&self, token: &str) -> bool {
        self.ours.check(token).is_ok()
    }

    fn it_accepts(&self, token: &str) -> bool {
        decode::<Value>(token, &self.oracle, &self.validation).is_ok()
    }

    fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        signed_by(&self.key, header, payload)
    }

    fn header(&self) -> Map<String, Value> {
        object(serde_json::from_str(&header_of(self.key.algorithm())).unwrap())
    }

    fn header_with(&self, changes: Value) -> String {
        let mut header = self.header();
        header.extend(object(changes));
        Value::Object(header).to_string()
    }

    fn assert_only_it_accepts(&self, token: &str, what: &str) {
        assert!(self.it_accepts(token), "the oracle accepts {what}");
        assert!(!self.we_accept(token), "we refuse {what}");
    }
}

static COURTS: LazyLock<Vec<Court>> = LazyLock::new(|| Algorithm::ALL.map(Court::new).into());
static COURT: LazyLock<Court> = LazyLock::new(|| Court::new(Algorithm::ES256));

/// The good claims, but around the real time.
fn claims() -> Map<String, Value> {
    let now = SystemClock.now().as_secs();
    let mut claims = good_claims();
    claims.extend(object(json!({ "iat": now, "exp": now + 3600 })));
    claims
}

fn claims_and(changes: Value) -> String {
    let mut claims = claims();
    claims.extend(object(changes));
    Value::Object(claims).to_string()
}

/// Values that sit on both sides of what a claim may be, and some that are nowhere near.
fn any_claim_value() -> impl Strategy<Value = Value> {
    let now = SystemClock.now().as_secs();
    prop_oneof![
        prop::sample::select(vec![
            json!(null),
            json!(true),
            json!(""),
            json!(ISSUER),
            json!(AUDIENCE),
            json!([AUDIENCE]),
            json!(["x", AUDIENCE]),
            json!([AUDIENCE, 1]),
            json!([]),
            json!({}),
            json!(0),
            json!(-1),
            json!(now - 3600),
            json!(now + 3600),
            json!(now as f64 + 3600.5),
            json!(now.to_string()),
            json!(1_u64 << 53),
            json!(u64::MAX),
            json!(1e300),
            json!("read write"),
            json!(["read"]),
        ]),
        "\\PC{0,8}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ]
}

fn any_header_member() -> impl Strategy<Value = (String, Value)> {
    let name = prop::sample::select(vec![
        "alg", "kid", "typ", "cty", "jku", "x5u", "x5c", "x5t", "crit", "b64", "own",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            json!(null),
            json!(KID),
            json!("JWT"),
            json!("at+jwt"),
            json!("none"),
            json!("HS256"),
            json!("ES256"),
            json!("RS256"),
            json!([]),
            json!(["exp"]),
            json!(1),
            json!({}),
        ]),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    (name.prop_map(str::to_owned), value)
}

#[test]
fn both_accept_good_tokens_of_every_algorithm() {
    for court in COURTS.iter() {
        let token = court.sign(header_of(court.key.algorithm()), claims_and(json!({})));
        assert!(
            court.we_accept(&token) && court.it_accepts(&token),
            "{}",
            court.key.algorithm()
        );
    }
}

#[test]
fn one_partys_signatures_are_good_for_the_other() {
    for algorithm in [
        Algorithm::RS256,
        Algorithm::PS384,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ] {
        let court = Court::new(algorithm);
        let document = court.key.to_pkcs8();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => {
                jsonwebtoken::EncodingKey::from_ec_der(&document)
            }
            Algorithm::EdDSA => jsonwebtoken::EncodingKey::from_ed_der(&document),
            // It wants the PKCS#1 document inside: the last member of the PKCS#8 one, which starts 26 bytes in.
            _ => jsonwebtoken::EncodingKey::from_rsa_der(&document[26..]),
        };
        let mut header = jsonwebtoken::Header::new(algorithm.as_str().parse().unwrap());
        header.kid = Some(KID.to_owned());
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        assert!(court.we_accept(&token), "{algorithm}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// V3: any claim, any value, signed by the issuer.
    #[test]
    fn whatever_claims_we_accept_it_accepts(
        changes in prop::collection::btree_map(
            prop::sample::select(vec!["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "gen", "org_id", "x"]),
            any_claim_value(),
            0..3,
        ),
        dropped in prop::option::of(prop::sample::select(vec!["iss", "sub", "aud", "exp", "iat", "jti", "scope"])),
    ) {
        let mut claims = claims();
        claims.extend(changes.into_iter().map(|(name, value)| (name.to_owned(), value)));
        if let Some(name) = dropped {
            claims.remove(name);
        }
        let token = COURT.sign(header_of(Algorithm::ES256), Value::Object(claims).to_string());
        prop_assert!(!COURT.we_accept(&token) || COURT.it_accepts(&token));
    }

    /// V1, V4: any header, signed by the issuer.
    #[test]
    fn whatever_header_we_accept_it_accepts(
        changes in prop::collection::vec(any_header_member(), 0..3),
        dropped in prop::option::of(prop::sample::select(vec!["alg", "kid", "typ"])),
    ) {
        let mut header = COURT.header();
        header.extend(changes);
        if let Some(name) = dropped {
            header.remove(name);
        }
        let token = COURT.sign(Value::Object(header).to_string(), claims_and(json!({})));
        prop_assert!(!COURT.we_accept(&token) || COURT.it_accepts(&token));
    }

    /// V1, V11: any change to the text of a good token, for every algorithm.
    #[test]
    fn whatever_text_we_accept_it_accepts(
        court in 0..Algorithm::ALL.len(),
        position in any::<prop::sample::Index>(),
        replacement in "[A-Za-z0-9_.+/= -]{0,2}",
    ) {
        let court = &COURTS[court];
        let mut token = court.sign(header_of(court.key.algorithm()), claims_and(json!({})));
        let position = position.index(token.len());
        token.replace_range(position..=position, &replacement);
        prop_assert!(!court.we_accept(&token) || court.it_accepts(&token));
    }
}

/// V4, V12
#[test]
fn only_it_accepts_headers_that_change_what_the_token_means() {
    for members in [
        json!({ "crit": ["exp"] }),
        json!({ "b64": false }),
        json!({ "enc": "A256GCM" }),
        json!({ "zip": "DEF" }),
    ] {
        let token = COURT.sign(COURT.header_with(members.clone()), claims_and(json!({})));
        COURT.assert_only_it_accepts(&token, &members.to_string());
    }
}

/// V10
#[test]
fn only_it_accepts_duplicates_and_deep_nesting() {
    let good = claims_and(json!({}));
    let inside = good.strip_suffix('}').unwrap();
    for member in [
        r#""x":1,"x":2"#.to_owned(),
        format!("\"x\":{}{}", "[".repeat(40), "]".repeat(40)),
    ] {
        let token = COURT.sign(header_of(Algorithm::ES256), format!("{inside},{member}}}"));
        COURT.assert_only_it_accepts(&token, &member);
    }
}

/// V3, V14, V17, V21
#[test]
fn only_it_accepts_claims_that_it_does_not_look_at() {
    let later = SystemClock.now().as_secs() + 3600;
    for changes in [
        json!({ "iat": "yesterday" }),
        json!({ "iat": later }),
        json!({ "exp": 1_u64 << 53 }),
        json!({ "jti": 1 }),
        json!({ "scope": 1 }),
        json!({ "gen": -1 }),
        json!({ "org_id": [] }),
        json!({ "iss": [ISSUER] }),
        json!({ "sub": "" }),
        json!({ "nonce": "abc" }),
        json!({ "cnf": { "jkt": "abc" } }),
    ] {
        let token = COURT.sign(header_of(Algorithm::ES256), claims_and(changes.clone()));
        COURT.assert_only_it_accepts(&token, &changes.to_string());
    }
}

/// V6, V12, V14
#[test]
fn only_it_accepts_other_types_and_sizes_without_bound() {
    for changes in [
        json!({ "typ": "dpop+jwt" }),
        json!({ "typ": "logout+jwt" }),
        json!({ "kid": "k".repeat(257) }),
    ] {
        let token = COURT.sign(COURT.header_with(changes.clone()), claims_and(json!({})));
        COURT.assert_only_it_accepts(&token, &changes.to_string());
    }
    let token = COURT.sign(
        header_of(Algorithm::ES256),
        claims_and(json!({ "padding": "x".repeat(16_000) })),
    );
    COURT.assert_only_it_accepts(&token, "more than 16 KiB");
}

/// V5
#[test]
fn only_we_accept_a_header_whose_jwk_is_no_key_since_only_it_reads_that() {
    let token = COURT.sign(
        COURT.header_with(json!({ "jwk": { "kid": 1 } })),
        claims_and(json!({})),
    );
    assert!(COURT.we_accept(&token));
    assert!(!COURT.it_accepts(&token));
}
