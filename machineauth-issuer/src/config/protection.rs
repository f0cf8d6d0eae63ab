//! Who may call, from where, how often, and who must say who it is.

use std::net::IpAddr;

use ipnet::IpNet;

use super::reader::Reader;
use super::{Access, ClientAuth};
use crate::domain::organization::Origin;
use crate::protection::ProtectionSettings;

const DEFAULT_ORIGIN: &str = "http://localhost:3000";

impl Reader {
    pub(super) fn access(&mut self, production: bool) -> Access {
        let default = if production {
            ClientAuth::Required
        } else {
            ClientAuth::Optional
        };
        let open = [
            ("open", ClientAuth::Optional),
            ("required", ClientAuth::Required),
        ];
        let optional = [
            ("optional", ClientAuth::Optional),
            ("required", ClientAuth::Required),
        ];
        Access {
            introspection: self.choice("INTROSPECTION_AUTH", &open).unwrap_or(default),
            refresh: self
                .choice("REFRESH_CLIENT_AUTH", &optional)
                .unwrap_or(default),
            revocations: self.choice("REVOCATIONS_AUTH", &open).unwrap_or(default),
        }
    }

    pub(super) fn protection(&mut self, production: bool) -> ProtectionSettings {
        let origins = if production { "" } else { DEFAULT_ORIGIN };
        ProtectionSettings {
            trusted_proxies: self.list("TRUSTED_PROXIES", "", "an address or a network", network),
            rate_per_address: self
                .count("RATE_LIMIT_PER_ADDRESS", if production { 1000 } else { 0 }),
            rate_per_client: self.count("RATE_LIMIT_PER_CLIENT", if production { 100 } else { 0 }),
            failure_limit: self.count("FAILURE_LIMIT", 20),
            require_https: self
                .choice("REQUIRE_HTTPS", &[("true", true), ("false", false)])
                .unwrap_or(false),
            allowed_origins: self.list(
                "ALLOWED_ORIGINS",
                origins,
                "an origin as https://app.example.com",
                |text| {
                    Origin::try_from(text.to_owned())
                        .ok()
                        .map(|_| text.to_owned())
                },
            ),
        }
    }

    fn count(&mut self, name: &str, default: u32) -> u32 {
        self.within(name, 0..=1_000_000, default)
    }
}

pub(super) fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
}
