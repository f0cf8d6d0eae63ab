//! What tokens say, what they are signed with, and who gets them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use machineauth_core::crypto::Algorithm;

use super::reader::Reader;
use crate::domain::grants::{GrantSettings, ScopePolicy};
use crate::domain::keys::KeyPolicy;
use crate::domain::revocation::LONGEST_LIFETIME;
use crate::domain::tokens::access::{Profile, TokenSettings};
use crate::store::KeyName;

const DEFAULT_AUDIENCE: &str = "machineauth-api";

impl Reader {
    pub(super) fn keys(&mut self, production: bool) -> Option<KeyPolicy> {
        let algorithm = self.parsed(
            "JWT_SIGNING_ALGORITHM",
            "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA",
            Algorithm::RS256,
            |text| text.parse().ok(),
        );
        let default = KeyName::try_from("key-1").ok()?;
        let kid = self.parsed(
            "JWT_KEY_ID",
            "1 to 128 of A-Z a-z 0-9 _ . -",
            default,
            |text| KeyName::try_from(text).ok(),
        );
        let rsa_bits = self.parsed("JWT_RSA_BITS", "2048, 3072 or 4096", 2048, |text| {
            text.parse()
                .ok()
                .filter(|bits| [2048, 3072, 4096].contains(bits))
        });
        let default_days = if production { 90 } else { 0 };
        let days: u64 = self.parsed(
            "JWT_KEY_ROTATION_DAYS",
            "0 to 3650 days",
            default_days,
            |text| text.parse().ok().filter(|days| *days <= 3650),
        );
        Some(KeyPolicy {
            algorithm,
            kid,
            rsa_bits,
            rotate_after: (days > 0).then(|| Duration::from_secs(days * 86_400)),
        })
    }

    pub(super) fn tokens(
        &mut self,
        production: bool,
        listen: SocketAddr,
        tls: bool,
    ) -> TokenSettings {
        let local = SocketAddr::new(
            if listen.ip().is_unspecified() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                listen.ip()
            },
            listen.port(),
        );
        let issuer = match self.take("JWT_ISSUER") {
            Some(issuer) => {
                if let Err(allowed) = check_issuer(&issuer, production) {
                    self.problem("JWT_ISSUER", allowed);
                } else if tls && issuer.starts_with("http:") {
                    self.warnings.push(
                        "JWT_ISSUER says http, and the server speaks TLS: clients will not find it there".to_owned(),
                    );
                }
                issuer
            }
            None => {
                if production {
                    self.problem(
                        "JWT_ISSUER",
                        "required in production: the https URL that clients reach this server at",
                    );
                }
                format!("{}://{local}", if tls { "https" } else { "http" })
            }
        };
        let default_lifetime = if production { 3_600 } else { 86_400 };
        let longest = LONGEST_LIFETIME.as_secs();
        let lifetime = self.parsed(
            "JWT_ACCESS_TOKEN_EXPIRY",
            "1 to 604800 seconds",
            default_lifetime,
            |text| {
                text.parse()
                    .ok()
                    .filter(|seconds| (1..=longest).contains(seconds))
            },
        );
        let profiles = [
            ("machineauth", Profile::Machineauth),
            ("rfc9068", Profile::Rfc9068),
        ];
        TokenSettings {
            issuer,
            audience: self.audience(),
            lifetime: Duration::from_secs(lifetime),
            profile: self
                .choice("JWT_PROFILE", &profiles)
                .unwrap_or(Profile::Machineauth),
        }
    }

    fn audience(&mut self) -> String {
        self.parsed(
            "JWT_AUDIENCE",
            "1 to 256 characters without spaces",
            DEFAULT_AUDIENCE.to_owned(),
            |text| {
                let fits = (1..=256).contains(&text.len()) && !text.contains(char::is_whitespace);
                fits.then(|| text.to_owned())
            },
        )
    }

    pub(super) fn grants(&mut self) -> GrantSettings {
        let policies = [
            ("filter", ScopePolicy::Filter),
            ("strict", ScopePolicy::Strict),
        ];
        let refresh = self
            .choice("REFRESH_TOKENS", &[("on", true), ("off", false)])
            .unwrap_or(true);
        GrantSettings {
            scope_policy: self
                .choice("SCOPE_POLICY", &policies)
                .unwrap_or(ScopePolicy::Filter),
            refresh_lifetime: refresh.then_some(LONGEST_LIFETIME),
        }
    }
}

/// An issuer identifier is an https URL without query and fragment (RFC 8414 §2); http is for development.
fn check_issuer(issuer: &str, production: bool) -> Result<(), &'static str> {
    let uri: http::Uri = issuer
        .parse()
        .map_err(|_| "expected a URL, as https://auth.example.com")?;
    let known_scheme = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => !production,
        _ => false,
    };
    if !known_scheme {
        return Err("expected an https URL (http only in development)");
    }
    if uri.query().is_some() || issuer.contains('#') || issuer.contains('@') {
        return Err("expected a URL without query, fragment and user");
    }
    if issuer.ends_with('/') {
        return Err(
            "expected a URL without a slash at the end: clients compare it character by character",
        );
    }
    Ok(())
}
