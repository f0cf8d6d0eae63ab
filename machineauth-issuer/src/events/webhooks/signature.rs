//! What proves to a receiver that a delivery is ours: the documented headers, and those of Standard Webhooks 1.0.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::HmacKey;
use zeroize::Zeroizing;

use crate::domain::secret::SecretText;

const SECRET_PREFIX: &str = "whsec_";

/// The headers that sign one attempt to deliver one body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// `X-Webhook-Signature`: HMAC-SHA-256 of the body in lower-case hexadecimal. The whole text of the secret is the key.
    ///
    /// It has room for one signature only. While two secrets live it is the older one's, which receivers already have.
    pub documented: String,
    /// `webhook-timestamp`: when this attempt was made, in Unix seconds.
    pub timestamp: String,
    /// `webhook-signature`: one signature for each live secret, separated by spaces.
    pub standard: String,
}

impl Signatures {
    /// Signs `body`, which is called `id`, with each of `secrets`, the newest last.
    pub fn new(id: &str, body: &[u8], secrets: &[SecretText], now: Timestamp) -> Self {
        let timestamp = now.as_secs().to_string();
        let oldest = secrets.first().map_or("", SecretText::reveal);
        let standard: Vec<_> = secrets
            .iter()
            .rev()
            .map(|secret| standard(id, &timestamp, body, secret))
            .collect();
        Self {
            documented: hexadecimal(&HmacKey::new(oldest.as_bytes()).sign(body)),
            standard: standard.join(" "),
            timestamp,
        }
    }
}

/// Standard Webhooks 1.0.0, "Symmetric signatures": the key is what stands behind the prefix, decoded.
fn standard(id: &str, timestamp: &str, body: &[u8], secret: &SecretText) -> String {
    let text = secret.reveal();
    let encoded = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
    // A secret that was imported may be any text: then it is the key as it stands.
    let key = Zeroizing::new(
        STANDARD
            .decode(encoded)
            .unwrap_or_else(|_| text.as_bytes().to_vec()),
    );
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    format!("v1,{}", STANDARD.encode(HmacKey::new(&key).sign(&signed)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretText {
        text.to_owned().into()
    }

    /// The example of the specification.
    #[test]
    fn the_standard_signature_is_that_of_the_standard() {
        let signatures = Signatures::new(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            br#"{"test": 2432232314}"#,
            &[secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
            Timestamp::from_secs(1_614_265_330),
        );
        assert_eq!(
            signatures.standard,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_eq!(signatures.timestamp, "1614265330");
    }

    /// RFC 4231 §4.3
    #[test]
    fn the_documented_signature_is_the_bodys_keyed_hash() {
        let now = Timestamp::from_secs(0);
        let body = b"what do ya want for nothing?";
        let signatures = Signatures::new("id", body, &[secret("Jefe")], now);
        assert_eq!(
            signatures.documented,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    /// I17
    #[test]
    fn two_live_secrets_sign_both() {
        let (old, new) = (secret("whsec_b2xk"), secret("whsec_bmV3"));
        let now = Timestamp::from_secs(1_800_000_000);
        let both = Signatures::new("id", b"{}", &[old.clone(), new.clone()], now);
        let alone =
            |secret: &SecretText| Signatures::new("id", b"{}", std::slice::from_ref(secret), now);
        assert_eq!(both.documented, alone(&old).documented);
        let standard = format!("{} {}", alone(&new).standard, alone(&old).standard);
        assert_eq!(both.standard, standard);
    }
}
