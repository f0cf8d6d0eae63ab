//! base64url without padding, exactly as RFC 7515 §2 writes it.
//!
//! Decoding is strict: padding, white space, the standard alphabet and trailing bits that are not zero are all refused.
//! Were they not, one token would have many spellings, and a cache or a deny list keyed by its text would miss some.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Encodes `bytes`.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Encodes `bytes` and appends the text to `out`.
pub fn encode_to(bytes: impl AsRef<[u8]>, out: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, out);
}

/// Decodes `text`; `None` when it is not the one canonical spelling of some bytes.
pub fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Decodes `text` and appends the bytes to `out`. On `None`, as from [`decode`], what was appended means nothing.
pub fn decode_to(text: impl AsRef<[u8]>, out: &mut Vec<u8>) -> Option<()> {
    URL_SAFE_NO_PAD.decode_vec(text, out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// V11
    #[test]
    fn padding_white_space_and_the_standard_alphabet_are_refused() {
        for text in [
            "TQ==", "TQ=", "TQ ", " TQ", "T\nQ", "+_8", "//8", "TQ.", "T", "TQ\0",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    /// V11
    #[test]
    fn trailing_bits_that_are_not_zero_are_refused() {
        assert_eq!(decode("TQ").as_deref(), Some(&b"M"[..]));
        for text in ["TR", "TS", "TZ", "TWF", "TWH"] {
            let canonical = decode(text).is_some_and(|bytes| encode(bytes) == text);
            assert_eq!(decode(text).is_some(), canonical, "{text:?}");
        }
        assert_eq!(decode("TR"), None);
        assert_eq!(decode("TWF"), None);
    }

    proptest! {
        #[test]
        fn bytes_survive_a_round_trip(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(decode(encode(&bytes)), Some(bytes));
        }

        /// V11
        #[test]
        fn whatever_is_accepted_is_the_only_spelling_of_its_bytes(text in "[A-Za-z0-9_=+/-]{0,24}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(bytes), text);
            }
        }

        /// V11
        #[test]
        fn appending_accepts_the_same_texts_and_keeps_what_is_there(text in "[A-Za-z0-9_=-]{0,24}", before in any::<Vec<u8>>()) {
            let mut out = before.clone();
            let appended = decode_to(&text, &mut out);
            prop_assert_eq!(appended.map(|()| out), decode(&text).map(|bytes| [before, bytes].concat()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(bytes);
        }
    }
}
