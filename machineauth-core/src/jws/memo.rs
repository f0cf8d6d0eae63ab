use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{Header, Jws};
use crate::error::Error;

/// The header of the token that was accepted last.
///
/// An issuer writes the same header into every token that it signs with one key. So nearly every token repeats the last
/// one's header byte for byte, and it need not be decoded and parsed again.
///
/// This is safe because a [`Header`] follows from its text and from nothing else, and only the very same text recalls
/// it. What may change is not remembered: which key the header asks for, whether its type is welcome and whether the
/// signature is good are found out for every token. Only headers of accepted tokens are kept, so garbage cannot push
/// a good one out.
#[derive(Default)]
pub(crate) struct HeaderMemo(ArcSwapOption<Known>);

struct Known {
    /// As it stands in the token, still in base64url.
    text: Box<str>,
    header: Arc<Header>,
}

impl HeaderMemo {
    /// The header that `text` spells, from memory if it can be.
    pub(super) fn read(&self, text: &str) -> Result<Arc<Header>, Error> {
        match &*self.0.load() {
            Some(known) if *known.text == *text => Ok(Arc::clone(&known.header)),
            _ => Header::decode(text).map(Arc::new),
        }
    }

    /// Keeps the header of `accepted` for the tokens to come.
    pub(crate) fn remember(&self, accepted: &Jws<'_>) {
        let header = &accepted.header;
        let is_known = |known: &Arc<Known>| Arc::ptr_eq(&known.header, header);
        if !self.0.load().as_ref().is_some_and(is_known) {
            self.0.store(Some(Arc::new(Known {
                text: accepted.header_text().into(),
                header: Arc::clone(header),
            })));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url;

    fn token(header: &str) -> String {
        format!("{}.e30.", base64url::encode(header))
    }

    #[test]
    fn a_header_is_read_once_for_all_tokens_that_repeat_it() {
        let memo = HeaderMemo::default();
        let token = token(r#"{"alg":"ES256","kid":"a"}"#);
        let first = Jws::parse_with(&token, &memo).unwrap();
        let unaccepted = Jws::parse_with(&token, &memo).unwrap();
        assert!(!Arc::ptr_eq(&first.header, &unaccepted.header));
        memo.remember(&first);
        let second = Jws::parse_with(&token, &memo).unwrap();
        assert!(Arc::ptr_eq(&first.header, &second.header));
    }

    /// V1, V6: neither a longer header, nor a shorter one, nor another spelling of the same one is taken for it.
    #[test]
    fn a_header_that_is_not_the_remembered_one_is_read_for_itself() {
        let memo = HeaderMemo::default();
        let remembered = token(r#"{"alg":"ES256","kid":"a"}"#);
        memo.remember(&Jws::parse(&remembered).unwrap());
        for header in [
            r#"{"alg":"ES256","kid":"b"}"#,
            r#"{"alg":"RS256","kid":"a"}"#,
            r#"{"kid":"a","alg":"ES256"}"#,
            r#"{"alg":"ES256","kid":"a"} "#,
            r#"{"alg":"ES256"}"#,
        ] {
            let token = token(header);
            let (with, without) = (Jws::parse_with(&token, &memo), Jws::parse(&token));
            assert_eq!(
                with.unwrap().header(),
                without.unwrap().header(),
                "{header}"
            );
        }
        for header in [
            "",
            "{}",
            r#"{"alg":"none","kid":"a"}"#,
            r#"{"alg":"ES256","kid":"a"}}"#,
        ] {
            assert!(Jws::parse_with(&token(header), &memo).is_err(), "{header}");
        }
        let padded = remembered.replacen('.', "=.", 1);
        assert!(Jws::parse_with(&padded, &memo).is_err());
    }
}
