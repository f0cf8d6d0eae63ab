//! What is handed to an administrator and kept only as a keyed hash: names of rows, and 256 random bits.

use machineauth_core::base64url;
use machineauth_core::crypto::random;

use crate::domain::secret::SecretText;
use crate::domain::vault::Vault;

const NAME: usize = 16;
const LENGTH: usize = 2 * NAME + 32;

/// The token of a session or of an invitation, which says where its row is.
pub(super) struct Token {
    text: SecretText,
    names: ([u8; NAME], [u8; NAME]),
}

impl Token {
    /// A fresh one.
    pub(super) fn new(prefix: &str, one: [u8; NAME], other: [u8; NAME]) -> Self {
        let mut bytes = zeroize::Zeroizing::new([0; LENGTH]);
        bytes[..NAME].copy_from_slice(&one);
        bytes[NAME..2 * NAME].copy_from_slice(&other);
        bytes[2 * NAME..].copy_from_slice(&random::<32>());
        let mut text = prefix.to_owned();
        base64url::encode_to(bytes.as_slice(), &mut text);
        Self {
            text: text.into(),
            names: (one, other),
        }
    }

    /// Reads what somebody presents. `None` for what cannot be one.
    pub(super) fn parse(prefix: &str, text: &SecretText) -> Option<Self> {
        let bytes = base64url::decode(text.reveal().strip_prefix(prefix)?)?;
        let bytes: [u8; LENGTH] = bytes.try_into().ok()?;
        let (one, rest) = bytes.split_first_chunk()?;
        let (other, _) = rest.split_first_chunk()?;
        Some(Self {
            text: text.clone(),
            names: (*one, *other),
        })
    }

    /// The names that it was made with.
    pub(super) fn names(&self) -> ([u8; NAME], [u8; NAME]) {
        self.names
    }

    /// The keyed hash that is kept of it.
    pub(super) fn mac(&self, vault: &Vault) -> String {
        base64url::encode(vault.administrator_token_mac(&self.text))
    }

    /// The text, for whoever gets it.
    pub(super) fn into_text(self) -> SecretText {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_leads_to_its_row() {
        let token = Token::new("mas_", [1; 16], [2; 16]);
        let read = Token::parse("mas_", &token.into_text()).unwrap();
        assert_eq!(read.names(), ([1; 16], [2; 16]));
        assert!(Token::parse("mai_", &read.into_text()).is_none());
    }

    proptest! {
        /// I22
        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = Token::parse("mas_", &format!("mas_{text}").into());
        }
    }
}
