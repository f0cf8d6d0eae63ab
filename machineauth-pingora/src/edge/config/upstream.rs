//! What stands in `edge.toml` about the servers behind the edge.

use std::fmt;
use std::num::NonZero;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::place::Endpoint;
use super::values::{FileName, Period};

/// One `[[upstream]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamToml {
    pub(crate) name: String,
    pub(crate) servers: Vec<ServerEntry>,
    #[serde(default)]
    pub(crate) protocol: ProtocolToml,
    pub(crate) tls: Option<UpstreamTlsToml>,
    #[serde(default = "three_seconds")]
    pub(crate) connect_timeout: Period,
    /// How long a server may be silent.
    #[serde(default = "a_minute")]
    pub(crate) timeout: Period,
    /// How long an idle connection is kept.
    #[serde(default = "a_minute")]
    pub(crate) idle_timeout: Period,
    /// How many more servers a request is tried at, where that is safe.
    #[serde(default = "one")]
    pub(crate) retries: usize,
    pub(crate) health: Option<HealthToml>,
}

/// An address, or `{ address = "…", weight = 2 }`.
#[derive(Debug)]
pub(crate) struct ServerEntry {
    pub(crate) address: Endpoint,
    pub(crate) weight: NonZero<u8>,
}

impl<'de> Deserialize<'de> for ServerEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Weighted {
            address: Endpoint,
            weight: NonZero<u8>,
        }

        struct Entry;

        impl<'de> Visitor<'de> for Entry {
            type Value = ServerEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a server, `"127.0.0.1:3000"` or `{ address = "…", weight = 2 }`"#)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ServerEntry, E> {
                let address = Endpoint::deserialize(text.into_deserializer())?;
                let weight = NonZero::<u8>::MIN;
                Ok(ServerEntry { address, weight })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ServerEntry, A::Error> {
                let Weighted { address, weight } =
                    Weighted::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ServerEntry { address, weight })
            }
        }

        deserializer.deserialize_any(Entry)
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum ProtocolToml {
    #[default]
    #[serde(rename = "http1")]
    Http1,
    /// Without TLS: with prior knowledge. For gRPC.
    #[serde(rename = "http2")]
    Http2,
    /// What TLS negotiates.
    #[serde(rename = "auto")]
    Auto,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamTlsToml {
    /// The name in the certificate. Default: the server's.
    pub(crate) server_name: Option<String>,
    /// Who vouches for it, in PEM. Default: whom the system trusts.
    pub(crate) ca: Option<FileName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthToml {
    /// Answered with 2xx by a server that works. Default: that it takes connections is enough.
    pub(crate) path: Option<String>,
    #[serde(default = "five_seconds")]
    pub(crate) every: Period,
    #[serde(default = "two_seconds")]
    pub(crate) timeout: Period,
    /// After how many failures a server gets no more requests.
    #[serde(default = "two")]
    pub(crate) fall: NonZero<u32>,
    /// After how many successes it gets them again.
    #[serde(default = "one_check")]
    pub(crate) rise: NonZero<u32>,
}

fn one() -> usize {
    1
}

fn one_check() -> NonZero<u32> {
    NonZero::<u32>::MIN
}

fn two() -> NonZero<u32> {
    NonZero::<u32>::MIN.saturating_add(1)
}

fn two_seconds() -> Period {
    Period::seconds(2)
}

fn three_seconds() -> Period {
    Period::seconds(3)
}

fn five_seconds() -> Period {
    Period::seconds(5)
}

fn a_minute() -> Period {
    Period::seconds(60)
}
