//! For every input, not only for those that somebody thought of.

use std::sync::LazyLock;

use machineauth_core::crypto::Algorithm;
use machineauth_core::jws::{Type, sign_compact};
use machineauth_core::{Claims, Jws, KeySet, SigningKey, Verifier};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(verifier);
static ED25519: LazyLock<SigningKey> = LazyLock::new(|| new_key(Algorithm::EdDSA));
static ED25519_VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier_of(&ED25519));

fn any_claim() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_arbitrary_bytes_never_panics(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let _ = Jws::parse(&text);
        let _ = Claims::parse(&bytes);
        let _ = KeySet::parse(&bytes);
    }

    #[test]
    fn what_is_signed_comes_out_again(payload in any::<Vec<u8>>(), kid in any::<String>().prop_filter("short", |kid| kid.len() <= 256)) {
        let token = sign_compact(&ED25519, Type::AccessToken, &kid, &payload).unwrap();
        let jws = Jws::parse(&token).unwrap();
        prop_assert_eq!(jws.payload(), payload);
        prop_assert_eq!(jws.header().kid(), Some(kid.as_str()));
        prop_assert_eq!(jws.header().typ(), Some("at+jwt"));
        prop_assert_eq!(jws.header().algorithm(), Algorithm::EdDSA);
        let key = ED25519.verifying_key().unwrap();
        prop_assert_eq!(key.verify(jws.signing_input(), jws.signature()), Ok(()));
    }

    /// V11, V23: whatever is changed in a good token, it is good no more. (Ed25519, because anybody can turn one good
    /// ECDSA signature into one other: r and n − s.)
    #[test]
    fn every_change_of_a_character_breaks_a_token(position in any::<prop::sample::Index>(), replacement in "[A-Za-z0-9_.+/= -]") {
        let token = signed_by(&ED25519, header_of(Algorithm::EdDSA), claims_with(json!({})));
        let position = position.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(position..=position, &replacement);
        prop_assert_eq!(refusal(&ED25519_VERIFIER, &changed).is_none(), changed == token);
    }

    #[test]
    fn every_truncation_and_repetition_breaks_a_token(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let token = signed_by(&ED25519, header_of(Algorithm::EdDSA), claims_with(json!({})));
        let (from, to) = (from.index(token.len()), to.index(token.len()));
        let (from, to) = (from.min(to), from.max(to) + 1);
        let cut = format!("{}{}", &token[..from], &token[to..]);
        let doubled = format!("{}{}", &token[..to], &token[from..]);
        prop_assert!(refusal(&ED25519_VERIFIER, &cut).is_some());
        prop_assert!(refusal(&ED25519_VERIFIER, &doubled).is_some());
    }

    #[test]
    fn unknown_claims_come_out_as_they_went_in(name in "x_[a-z]{1,8}", value in any_claim()) {
        let claims = Claims::parse(claims_with(json!({ &name: value })).as_bytes()).unwrap();
        prop_assert_eq!(&claims.extra[&name], &value);
        prop_assert_eq!(claims.extra.len(), 1);
    }

    /// V3: a claim that is accepted is what the payload says, whatever the payload says.
    #[test]
    fn a_claim_of_any_value_is_refused_or_read_as_it_is(value in any_claim()) {
        for name in ["iss", "sub", "aud", "jti", "agent_id", "org_id"] {
            let Ok(claims) = Claims::parse(claims_with(json!({ name: value })).as_bytes()) else { continue };
            let read = match name {
                "iss" => Some(claims.issuer),
                "sub" => Some(claims.subject),
                "jti" => claims.jwt_id,
                "agent_id" => Some(claims.agent_id.unwrap_or_default()),
                "org_id" => Some(claims.organization_id.unwrap_or_default()),
                _ => {
                    let audiences: Vec<&str> = claims.audience.iter().collect();
                    prop_assert!(value == json!(audiences) || value == json!(audiences[0]), "{value}");
                    continue;
                }
            };
            prop_assert_eq!(value.as_str(), read.as_deref(), "{}", name);
        }
    }

    /// V10: any member of the payload, repeated anywhere.
    #[test]
    fn repeating_any_claim_is_refused(pick in any::<prop::sample::Index>(), place in any::<prop::sample::Index>()) {
        let mut members: Vec<String> =
            good_claims().iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        let repeated = members[pick.index(members.len())].clone();
        members.insert(place.index(members.len() + 1), repeated);
        let token = token_with_claims(format!("{{{}}}", members.join(",")));
        prop_assert!(refusal(&VERIFIER, &token).is_some());
    }

    /// V9: whatever stands beside a good key, it stays a good key.
    #[test]
    fn any_neighbour_leaves_a_good_key_alone(neighbour in any_claim(), kty in "RSA|EC|OKP|oct", member in "n|e|x|y|crv|alg|use") {
        let good = serde_json::to_value(KEY.public_jwk(KID)).unwrap();
        let odd = json!({ "kty": kty, member: neighbour });
        let document = json!({ "keys": [neighbour, odd, good] }).to_string();
        let set = KeySet::parse(document.as_bytes()).unwrap();
        prop_assert!(set.find(Some(KID), Algorithm::ES256).is_ok());
        prop_assert_eq!(KeySet::parse(set.to_json().as_bytes()).unwrap().len(), set.len());
    }
}
