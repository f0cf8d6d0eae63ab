//! Whatever a stranger sends is refused with a reason; nothing panics.

use machineauth_core::{ErrorKind, base64url};
use proptest::prelude::*;

use crate::support::*;

fn is_a_refusal_of_the_token(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::KeysUnavailable
            | ErrorKind::RevocationsStale
            | ErrorKind::InvalidConfiguration
            | ErrorKind::CryptographyFailed
            | ErrorKind::InvalidKey
            | ErrorKind::InvalidSeal
    )
}

proptest! {
    /// V23
    #[test]
    fn any_text_is_refused_as_a_token(text in any::<String>()) {
        let kind = refusal(&verifier(), &text).unwrap();
        prop_assert!(is_a_refusal_of_the_token(kind), "{:?}", kind);
    }

    /// V23
    #[test]
    fn three_parts_of_any_bytes_are_refused(header in any::<Vec<u8>>(), payload in any::<Vec<u8>>(), signature in any::<Vec<u8>>()) {
        let token = [header, payload, signature].map(base64url::encode).join(".");
        let kind = refusal(&verifier(), &token).unwrap();
        prop_assert!(is_a_refusal_of_the_token(kind), "{:?}", kind);
    }

    /// V23: even with a good signature.
    #[test]
    fn any_payload_that_the_issuer_signs_is_judged_without_panic(payload in any::<Vec<u8>>()) {
        let kind = refusal(&verifier(), &token_with_claims(payload)).unwrap();
        prop_assert!(is_a_refusal_of_the_token(kind), "{:?}", kind);
    }
}
