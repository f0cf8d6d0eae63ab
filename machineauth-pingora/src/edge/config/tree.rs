//! What stands in `edge.toml`, as a tree of types. Nothing unknown is let pass.

use std::num::NonZero;

use ipnet::IpNet;
use machineauth_core::policy::Rule;
use serde::Deserialize;
use toml::Spanned;

use super::issuer::IssuerToml;
use super::place::{Address, HostPattern, PathPrefix};
use super::upstream::UpstreamToml;
use super::values::{Bytes, FileName, Header, HttpMethod, OneOrMore, Period, Rate, WebOrigin};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EdgeToml {
    #[serde(default)]
    pub(crate) server: ServerToml,
    #[serde(rename = "listener")]
    pub(crate) listeners: Vec<Spanned<ListenerToml>>,
    pub(crate) admin: Option<AdminToml>,
    #[serde(default)]
    pub(crate) limits: LimitsToml,
    #[serde(default, rename = "issuer")]
    pub(crate) issuers: Vec<Spanned<IssuerToml>>,
    #[serde(default)]
    pub(crate) identity: IdentityToml,
    pub(crate) resource: Option<Spanned<ResourceToml>>,
    pub(crate) dpop: Option<Spanned<DpopToml>>,
    #[serde(default, rename = "upstream")]
    pub(crate) upstreams: Vec<Spanned<UpstreamToml>>,
    #[serde(rename = "route")]
    pub(crate) routes: Vec<Spanned<RouteToml>>,
}

/// The process. Changes of this part and of `listener` and `admin` count from the next start.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerToml {
    /// How many threads serve requests. Default: one for each processor.
    pub(crate) threads: Option<NonZero<usize>>,
    /// How long requests in flight may take once the process is told to stop.
    pub(crate) grace_period: Period,
    /// The socket over which a new process takes over the listeners of the old one.
    pub(crate) upgrade_socket: Option<FileName>,
    /// Whether listeners without TLS take HTTP/2 from clients that know (RFC 9113 §3.3).
    pub(crate) h2c: bool,
    /// How many idle connections to upstreams are kept.
    pub(crate) upstream_connections: NonZero<usize>,
    /// How long the start waits for the issuers' keys and revocations.
    pub(crate) patience: Period,
    /// A level, or directives as `info,machineauth_core=debug`.
    pub(crate) log: String,
    /// Whether each request leaves a line of JSON on the standard output.
    pub(crate) access_log: bool,
}

impl Default for ServerToml {
    fn default() -> Self {
        Self {
            threads: None,
            grace_period: Period::seconds(30),
            upgrade_socket: None,
            h2c: false,
            upstream_connections: NonZero::new(256).expect("it is not zero"),
            patience: Period::seconds(3),
            log: "info".to_owned(),
            access_log: true,
        }
    }
}

/// One `[[listener]]`.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerToml {
    pub(crate) address: Address,
    pub(crate) tls: Option<ListenerTlsToml>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerTlsToml {
    /// The certificate and those that vouch for it, in PEM.
    pub(crate) certificate: FileName,
    /// The private key, in PEM.
    pub(crate) key: FileName,
    /// Who vouches for clients' certificates, in PEM. Clients may show one, and need it for tokens that are bound to one.
    pub(crate) client_ca: Option<FileName>,
    /// Whether HTTP/2 is spoken besides HTTP/1.1.
    #[serde(default = "yes")]
    pub(crate) http2: bool,
}

/// Metrics and health.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminToml {
    pub(crate) address: Address,
}

/// What all routes allow, unless they say otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsToml {
    /// How many requests of one address, over all routes.
    pub(crate) per_address: Option<Rate>,
    /// How many requests of one agent, over all routes.
    pub(crate) per_agent: Option<Rate>,
    /// The longest request body.
    pub(crate) max_body: Bytes,
    /// How long a client may be silent while it sends or receives.
    pub(crate) client_timeout: Period,
    /// Proxies in front, who are believed in `X-Forwarded-For` and `X-Forwarded-Proto`.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl Default for LimitsToml {
    fn default() -> Self {
        Self {
            per_address: None,
            per_agent: None,
            max_body: Bytes(10 << 20),
            client_timeout: Period::seconds(30),
            trusted_proxies: Vec::new(),
        }
    }
}

/// What the upstreams are told about who calls.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IdentityToml {
    pub(crate) agent_id: Option<Header>,
    pub(crate) scopes: Option<Header>,
    pub(crate) organization_id: Option<Header>,
    /// Default: none with one issuer, `X-Agent-Issuer` with several.
    pub(crate) issuer: Option<Header>,
    pub(crate) client_id: Option<Header>,
    pub(crate) team_id: Option<Header>,
    pub(crate) forward_token: bool,
    pub(crate) signed: Option<Spanned<SignedToml>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedToml {
    pub(crate) header: Header,
    pub(crate) secret_file: FileName,
    #[serde(default = "edge_name")]
    pub(crate) issuer: String,
    #[serde(default = "upstream_name")]
    pub(crate) audience: String,
    pub(crate) lifetime: Option<Period>,
}

/// What the edge protects, as clients know it (RFC 9728).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceToml {
    /// The resource identifier: its URL. The metadata is served at its well-known path.
    pub(crate) id: Option<String>,
    pub(crate) realm: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) documentation: Option<String>,
    pub(crate) scopes: Option<OneOrMore>,
}

/// Proofs of possession (RFC 9449).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct DpopToml {
    /// As clients call the edge: `https://api.example.com`.
    pub(crate) origins: Vec<String>,
    pub(crate) max_age: Option<Period>,
    /// Demands nonces. The file has a secret of 32 bytes in hexadecimal, the same at all edges.
    pub(crate) nonce_secret_file: Option<FileName>,
}

/// One `[[route]]`. Exactly one of `public`, `authenticated`, `scopes` and `any_scope`, `policy`, and `rule` says who may.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteToml {
    /// In logs and metrics. Default: its hosts and its path.
    pub(crate) name: Option<String>,
    /// Default: every host.
    #[serde(default)]
    pub(crate) hosts: Vec<HostPattern>,
    #[serde(default)]
    pub(crate) path: PathPrefix,
    pub(crate) upstream: Spanned<String>,
    /// Looks at no token.
    #[serde(default)]
    pub(crate) public: bool,
    /// Demands a good token and nothing else.
    #[serde(default)]
    pub(crate) authenticated: bool,
    pub(crate) scopes: Option<OneOrMore>,
    pub(crate) any_scope: Option<OneOrMore>,
    /// A file with rules, over whole paths.
    pub(crate) policy: Option<Spanned<FileName>>,
    /// Rules, over whole paths.
    #[serde(default, rename = "rule")]
    pub(crate) rules: Vec<Spanned<Rule>>,
    /// Takes `/Admin` for `/admin`, as the upstream does.
    #[serde(default)]
    pub(crate) ignore_case: bool,
    /// Refuses nothing, and reports what it would.
    #[serde(default)]
    pub(crate) dry_run: bool,
    pub(crate) per_address: Option<Rate>,
    pub(crate) per_agent: Option<Rate>,
    pub(crate) max_body: Option<Bytes>,
    /// How long the upstream may be silent. Default: the upstream's.
    pub(crate) timeout: Option<Period>,
    pub(crate) cors: Option<Spanned<CorsToml>>,
    #[serde(default = "yes")]
    pub(crate) websocket: bool,
}

/// Which web pages may call (Fetch standard, CORS protocol).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CorsToml {
    pub(crate) origins: Vec<WebOrigin>,
    #[serde(default)]
    pub(crate) methods: Vec<HttpMethod>,
    #[serde(default)]
    pub(crate) headers: Vec<Header>,
    #[serde(default)]
    pub(crate) expose: Vec<Header>,
    #[serde(default)]
    pub(crate) credentials: bool,
    #[serde(default = "ten_minutes")]
    pub(crate) max_age: Period,
}

fn yes() -> bool {
    true
}

fn ten_minutes() -> Period {
    Period::seconds(600)
}

fn edge_name() -> String {
    "machineauth-edge".to_owned()
}

fn upstream_name() -> String {
    "upstream".to_owned()
}
