//! One token has one spelling, and a size.

use machineauth_core::{ErrorKind, base64url};
use serde_json::json;

use crate::support::*;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// V11
#[test]
fn padding_white_space_and_the_standard_alphabet_are_refused_in_every_part() {
    let token = good_token();
    let parts: Vec<&str> = token.split('.').collect();
    for position in 0..3 {
        let part = parts[position];
        let spellings = [
            format!("{part}="),
            format!("{part}=="),
            format!(" {part}"),
            format!("{part} "),
            format!("{part}\n"),
            format!("{}\n{}", &part[..4], &part[4..]),
            format!("{part}A"),
            format!("{part}+/"),
            format!("%{part}"),
        ];
        for spelling in spellings {
            let mut parts = parts.clone();
            parts[position] = &spelling;
            assert!(
                refusal(&verifier(), &parts.join(".")).is_some(),
                "{spelling:?}"
            );
        }
    }
}

/// V11
#[test]
fn trailing_bits_that_are_not_zero_are_refused() {
    // A 64-byte signature ends in a character of which only the top two bits count.
    let token = good_token();
    let (start, last) = token.split_at(token.len() - 1);
    let last = ALPHABET
        .iter()
        .position(|symbol| *symbol == last.as_bytes()[0])
        .unwrap();
    assert_eq!(last % 16, 0);
    for bits in 1..16 {
        let spelling = format!("{start}{}", char::from(ALPHABET[last + bits]));
        assert_eq!(
            refusal(&verifier(), &spelling),
            Some(ErrorKind::MalformedToken),
            "{bits:04b}"
        );
    }
}

/// V11
#[test]
fn a_token_with_anything_around_it_is_refused_although_the_bare_one_is_remembered() {
    let (verifier, token) = (verifier(), good_token());
    assert_eq!(refusal(&verifier, &token), None);
    for spelling in [
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\0"),
        format!("{token}."),
        format!(".{token}"),
    ] {
        assert_eq!(
            refusal(&verifier, &spelling),
            Some(ErrorKind::MalformedToken),
            "{spelling:?}"
        );
    }
}

/// V12
#[test]
fn a_token_beyond_16_kib_is_refused_before_its_signature_matters() {
    let with_padding =
        |bytes: usize| token_with_claims(claims_with(json!({ "padding": "x".repeat(bytes) })));
    let longest = (11_000..12_288)
        .map(with_padding)
        .take_while(|token| token.len() <= 16 * 1024)
        .last()
        .unwrap();
    assert!(longest.len() > 16 * 1024 - 4);
    assert_eq!(refusal(&verifier(), &longest), None);
    assert_eq!(
        refusal(&verifier(), &with_padding(12_288)),
        Some(ErrorKind::MalformedToken)
    );
}

/// V12
#[test]
fn the_number_of_parts_is_three() {
    let token = good_token();
    let parts: Vec<&str> = token.split('.').collect();
    for shape in [
        &[0][..],
        &[0, 1],
        &[0, 1, 2, 2],
        &[0, 0, 1, 1, 2],
        &[0, 1, 2, 2, 2, 2],
    ] {
        let joined: Vec<&str> = shape.iter().map(|index| parts[*index]).collect();
        assert_eq!(
            refusal(&verifier(), &joined.join(".")),
            Some(ErrorKind::MalformedToken),
            "{shape:?}"
        );
    }
    for text in ["", ".", "..", "...", "....", "a", "a.b", "a.b.c"] {
        assert_eq!(
            refusal(&verifier(), text),
            Some(ErrorKind::MalformedToken),
            "{text:?}"
        );
    }
    let dots = ".".repeat(1_000_000);
    assert_eq!(refusal(&verifier(), &dots), Some(ErrorKind::MalformedToken));
    assert_eq!(
        refusal(&verifier(), &".".repeat(16_000)),
        Some(ErrorKind::MalformedToken)
    );
}

/// V12
#[test]
fn an_encrypted_token_is_refused() {
    let header = base64url::encode(r#"{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"key-1"}"#);
    let jwe = format!("{header}.AAAA.AAAA.AAAA.AAAA");
    assert_eq!(refusal(&verifier(), &jwe), Some(ErrorKind::MalformedToken));
    let token = token_with_header(header_with(json!({ "enc": "A256GCM" })));
    assert_eq!(
        refusal(&verifier(), &token),
        Some(ErrorKind::MalformedToken)
    );
    let token = token_with_header(header_with(json!({ "zip": "DEF" })));
    assert_eq!(
        refusal(&verifier(), &token),
        Some(ErrorKind::MalformedToken)
    );
}
