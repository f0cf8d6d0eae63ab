//! JSON Web Signatures in compact serialization (RFC 7515 §7.1).

use std::fmt;
use std::sync::Arc;

use crate::base64url;
use crate::crypto::SigningKey;
use crate::error::{Error, ErrorKind};

mod header;
mod memo;

pub use header::Header;
pub(crate) use memo::HeaderMemo;

/// A longer token is refused before anything else is done with it, in bytes.
pub const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// A longer `kid` is refused, in bytes.
pub const MAX_KID_LENGTH: usize = 256;

/// A token, taken apart but not yet verified: nothing in it is true before its signature has been checked.
#[derive(Clone)]
pub struct Jws<'a> {
    signing_input: &'a str,
    header: Arc<Header>,
    /// The payload, and after it the signature: one allocation for both.
    decoded: Vec<u8>,
    payload_length: usize,
}

impl<'a> Jws<'a> {
    /// Takes `token` apart.
    ///
    /// # Errors
    /// * [`ErrorKind::MalformedToken`] when it is longer than 16 KiB, has not exactly three parts (a JWE has five), a
    ///   part is not canonical base64url, or the header is not acceptable as [`Header`] says.
    /// * [`ErrorKind::UnsupportedAlgorithm`] when `alg` names none of [`Algorithm::ALL`](crate::Algorithm::ALL).
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        Self::parse_with(token, &HeaderMemo::default())
    }

    /// As [`Jws::parse`], but a header that `memo` knows is not read again.
    pub(crate) fn parse_with(token: &'a str, memo: &HeaderMemo) -> Result<Self, Error> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(malformed("it is longer than 16 KiB"));
        }
        let three_parts = malformed("a signed JWT has exactly three parts");
        let (signing_input, signature) = token.rsplit_once('.').ok_or(three_parts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(three_parts)?;
        if payload.contains('.') {
            return Err(three_parts);
        }
        let header = memo.read(header)?;
        let mut decoded = Vec::with_capacity((payload.len() + signature.len()) * 3 / 4 + 6);
        base64url::decode_to(payload, &mut decoded).ok_or(NOT_BASE64URL)?;
        let payload_length = decoded.len();
        base64url::decode_to(signature, &mut decoded).ok_or(NOT_BASE64URL)?;
        Ok(Self {
            signing_input,
            header,
            decoded,
            payload_length,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What the signature was made over: header and payload as they stand in the token (RFC 7515 §5.2).
    pub fn signing_input(&self) -> &'a [u8] {
        self.signing_input.as_bytes()
    }

    /// The decoded payload.
    pub fn payload(&self) -> &[u8] {
        &self.decoded[..self.payload_length]
    }

    /// The decoded signature.
    pub fn signature(&self) -> &[u8] {
        &self.decoded[self.payload_length..]
    }

    /// The header as it stands in the token.
    pub(crate) fn header_text(&self) -> &'a str {
        let end = self.signing_input.find('.');
        &self.signing_input[..end.unwrap_or_default()]
    }
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws")
            .field("algorithm", &self.header.algorithm())
            .finish_non_exhaustive()
    }
}

/// Whether `typ` names this media type of the tree `application` (RFC 7515 §4.1.9: the prefix may be left out; RFC 2045
/// §5.1: compared without case).
pub(crate) fn is_media_type(typ: &str, name: &str) -> bool {
    let short = typ
        .get(..12)
        .filter(|prefix| prefix.eq_ignore_ascii_case("application/"))
        .map_or(typ, |_| &typ[12..]);
    short.eq_ignore_ascii_case(name)
}

/// The `typ` of a token that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `JWT` (RFC 7519 §5.1).
    Jwt,
    /// `at+jwt` (RFC 9068 §2.1).
    AccessToken,
}

impl Type {
    /// The value on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "JWT",
            Self::AccessToken => "at+jwt",
        }
    }
}

/// Signs `payload` and returns the token in compact serialization.
///
/// # Errors
/// * [`ErrorKind::InvalidKey`] when `kid` is longer than 256 bytes: no verifier of ours would accept it.
/// * [`ErrorKind::CryptographyFailed`] when the library fails.
pub fn sign_compact(
    key: &SigningKey,
    typ: Type,
    kid: &str,
    payload: &[u8],
) -> Result<String, Error> {
    if kid.len() > MAX_KID_LENGTH {
        return Err(Error::because(
            ErrorKind::InvalidKey,
            "`kid` is longer than 256 bytes",
        ));
    }
    let header = header::encode(key.algorithm(), typ, kid);
    // Four characters for three bytes, and a signature of up to 8192 bits is the rare case.
    let mut token = String::with_capacity((header.len() + payload.len()) * 4 / 3 + 352);
    base64url::encode_to(header, &mut token);
    token.push('.');
    base64url::encode_to(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    base64url::encode_to(signature, &mut token);
    Ok(token)
}

/// Signs a payload under any header, and returns the token in compact serialization.
///
/// # Errors
/// [`ErrorKind::CryptographyFailed`] when the library fails.
pub(crate) fn sign_json(
    key: &SigningKey,
    header: &serde_json::Value,
    payload: &serde_json::Value,
) -> Result<String, Error> {
    let [header, payload] = [header, payload].map(|part| base64url::encode(part.to_string()));
    let input = format!("{header}.{payload}");
    let signature = base64url::encode(key.sign(input.as_bytes())?);
    Ok(format!("{input}.{signature}"))
}

const NOT_BASE64URL: Error = malformed("a part is not canonical base64url");

const fn malformed(detail: &'static str) -> Error {
    Error::because(ErrorKind::MalformedToken, detail)
}
