//! A configuration in force: everything that a request needs, made at once and exchanged as a whole.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use machineauth_core::crypto::sha256;
use machineauth_core::dpop::Dpop;
use machineauth_core::{Authenticator, Clock, ResourceMetadata, ScopeSet, Verifier, hex};
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use toml::Spanned;

use super::config::{
    ConfigError, DpopToml, EdgeToml, FileName, ResourceToml, Source, UpstreamToml,
};
use super::issuers::{Issuer, Workshop};
use super::limits::Limits;
use super::metrics::Metrics;
use super::route::Routes;
use super::route_builder::RouteBuilder;
use super::tls::certificates;
use super::upstream::{Authorities, Pool};
use crate::assertion::AssertionSigner;
use crate::background::Home;
use crate::identity::{IdentityHeaders, X_AGENT_ISSUER};
use crate::module::MachineAuthModule;

/// What stays the same over all configurations.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) home: Home,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

/// A configuration in force.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) routes: Routes,
    pub(crate) issuers: Vec<Arc<Issuer>>,
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) limits: Limits,
    pub(crate) client_timeout: Duration,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// For requests that come to no route.
    pub(crate) open: MachineAuthModule,
    /// Who verifies tokens, where there are issuers.
    pub(crate) authenticator: Option<Authenticator>,
    proofs: Option<Proofs>,
}

/// Who judges proofs of possession, and what the configuration says of that. As long as it says the same, proofs that were
/// used stay used.
#[derive(Clone)]
struct Proofs {
    said: (DpopToml, Option<String>),
    dpop: Dpop,
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.said.0.fmt(f)
    }
}

impl Snapshot {
    /// Makes what `toml` describes, and takes over from `before` what has not changed.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn build(
        source: &Source,
        toml: EdgeToml,
        around: &Surroundings,
        before: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let identity = Arc::new(identity(source, &toml)?);
        let issuers = issuers(source, &toml, around, before)?;
        let proofs = proofs(source, &toml, around, before)?;
        let authenticator = authenticator(source, &toml, &issuers, proofs.as_ref())?;
        let pools = pools(source, toml.upstreams, before)?;
        let open = MachineAuthModule::open().identity(Arc::clone(&identity));
        let builder = RouteBuilder {
            source,
            pools: &pools,
            limits: &toml.limits,
            authenticator: authenticator.as_ref(),
            clock: &around.clock,
            metrics: &around.metrics,
            identity: &identity,
            forward_token: toml.identity.forward_token,
        };
        Ok(Self {
            routes: builder.routes(toml.routes)?,
            limits: Limits::of_all_routes(toml.limits.per_address, toml.limits.per_agent),
            client_timeout: toml.limits.client_timeout.0,
            trusted_proxies: toml.limits.trusted_proxies,
            issuers,
            pools,
            open,
            authenticator,
            proofs,
        })
    }
}

fn identity(source: &Source, toml: &EdgeToml) -> Result<IdentityHeaders, ConfigError> {
    let mut headers = IdentityHeaders::default();
    if toml.issuers.len() > 1 {
        headers = headers.issuer(X_AGENT_ISSUER);
    }
    let toml = &toml.identity;
    if let Some(name) = &toml.issuer {
        headers = headers.issuer(name.0.clone());
    }
    if let Some(name) = &toml.agent_id {
        headers = headers.agent_id(name.0.clone());
    }
    if let Some(name) = &toml.scopes {
        headers = headers.scopes(name.0.clone());
    }
    if let Some(name) = &toml.organization_id {
        headers = headers.organization_id(name.0.clone());
    }
    if let Some(name) = &toml.client_id {
        headers = headers.client_id(name.0.clone());
    }
    if let Some(name) = &toml.team_id {
        headers = headers.team_id(name.0.clone());
    }
    let Some(signed) = &toml.signed else {
        return Ok(headers);
    };
    let toml = signed.get_ref();
    let secret = source.secret(&toml.secret_file, signed.span())?;
    let signer = AssertionSigner::new(secret.as_bytes(), &toml.issuer, &toml.audience);
    let mut signer =
        signer.map_err(|_| source.fault_in(signed, "the secret has fewer than 32 bytes"))?;
    if let Some(lifetime) = toml.lifetime {
        signer = signer.lifetime(lifetime.0);
    }
    Ok(headers.signed(toml.header.0.clone(), signer))
}

fn issuers(
    source: &Source,
    toml: &EdgeToml,
    around: &Surroundings,
    before: Option<&Snapshot>,
) -> Result<Vec<Arc<Issuer>>, ConfigError> {
    let workshop = Workshop {
        source,
        home: &around.home,
        clock: &around.clock,
    };
    let before = before.map_or(&[][..], |before| &before.issuers);
    toml.issuers
        .iter()
        .map(|issuer| workshop.issuer(issuer.get_ref(), issuer.span(), before))
        .collect()
}

fn authenticator(
    source: &Source,
    toml: &EdgeToml,
    issuers: &[Arc<Issuer>],
    proofs: Option<&Proofs>,
) -> Result<Option<Authenticator>, ConfigError> {
    let Some(first) = toml.issuers.first() else {
        return Ok(None);
    };
    let verifiers = issuers.iter().map(|issuer| issuer.verifier.clone());
    let verifier = Verifier::any_of(verifiers);
    let verifier = verifier.map_err(|error| source.fault_in(first, error.to_string()))?;
    let mut authenticator = Authenticator::new(verifier);
    if let Some(proofs) = proofs {
        authenticator = authenticator.dpop(proofs.dpop.clone());
    }
    if let Some(resource) = &toml.resource {
        let toml = resource.get_ref();
        if let Some(realm) = &toml.realm {
            authenticator = authenticator.realm(realm);
        }
        let metadata = metadata(toml);
        let metadata = metadata.map_err(|error| source.fault_in(resource, error.to_string()))?;
        if let Some(metadata) = metadata {
            authenticator = authenticator.protects(metadata);
        }
    }
    Ok(Some(authenticator))
}

fn metadata(toml: &ResourceToml) -> Result<Option<ResourceMetadata>, machineauth_core::Error> {
    let Some(id) = &toml.id else {
        return Ok(None);
    };
    let mut metadata = ResourceMetadata::new(id)?;
    if let Some(name) = &toml.name {
        metadata = metadata.name(name);
    }
    if let Some(url) = &toml.documentation {
        metadata = metadata.documentation(url);
    }
    if let Some(scopes) = &toml.scopes {
        metadata = metadata.scopes(&ScopeSet::parse(&scopes.joined())?);
    }
    Ok(Some(metadata))
}

fn proofs(
    source: &Source,
    toml: &EdgeToml,
    around: &Surroundings,
    before: Option<&Snapshot>,
) -> Result<Option<Proofs>, ConfigError> {
    let Some(dpop) = &toml.dpop else {
        return Ok(None);
    };
    let file = dpop.get_ref().nonce_secret_file.as_ref();
    let secret = file.map(|file| source.secret(file, dpop.span()));
    let said = (dpop.get_ref().clone(), secret.transpose()?);
    let known = before.and_then(|before| before.proofs.as_ref());
    if let Some(known) = known.filter(|known| known.said == said) {
        return Ok(Some(known.clone()));
    }
    let made = judge_of_proofs(source, dpop, said.1.as_deref(), &around.clock)?;
    Ok(Some(Proofs { said, dpop: made }))
}

fn judge_of_proofs(
    source: &Source,
    dpop: &Spanned<DpopToml>,
    secret: Option<&str>,
    clock: &Arc<dyn Clock>,
) -> Result<Dpop, ConfigError> {
    let toml = dpop.get_ref();
    let mut origins = toml.origins.iter();
    let first = origins.next().cloned().unwrap_or_default();
    let mut builder = Dpop::builder(first).clock(Arc::clone(clock));
    for origin in origins {
        builder = builder.also_at(origin);
    }
    if let Some(max_age) = toml.max_age {
        builder = builder.max_age(max_age.0);
    }
    if let Some(text) = secret {
        let secret = hex::decode(text).and_then(|secret| secret.try_into().ok());
        let secret: [u8; 32] = secret
            .ok_or_else(|| source.fault_in(dpop, "a secret for nonces is 64 hexadecimal digits"))?;
        builder = builder.require_nonces(secret);
    }
    builder
        .build()
        .map_err(|error| source.fault_in(dpop, error.to_string()))
}

fn pools(
    source: &Source,
    upstreams: Vec<Spanned<UpstreamToml>>,
    before: Option<&Snapshot>,
) -> Result<Vec<Arc<Pool>>, ConfigError> {
    let mut pools: Vec<Arc<Pool>> = Vec::new();
    for upstream in upstreams {
        let toml = upstream.get_ref();
        let fault = |message: &str| Err(source.fault_in(&upstream, message));
        if toml.servers.is_empty() {
            return fault("`servers` names none");
        }
        if pools.iter().any(|pool| *pool.name() == *toml.name) {
            return fault("two upstreams have this name");
        }
        let path = toml.health.as_ref().and_then(|health| health.path.as_ref());
        if path.is_some_and(|path| !path.starts_with('/')) {
            return fault("the path of a health check starts with a slash");
        }
        let ca = toml.tls.as_ref().and_then(|tls| tls.ca.as_ref());
        let ca = ca
            .map(|file| authorities(source, file, upstream.span()))
            .transpose()?;
        let known = before.into_iter().flat_map(|before| &before.pools);
        let known = known.into_iter().find(|pool| *pool.name() == *toml.name);
        let known = known.cloned();
        let pool = Pool::new(upstream.into_inner(), ca, known.as_deref());
        pools.push(Arc::new(pool));
    }
    Ok(pools)
}

fn authorities(
    source: &Source,
    file: &FileName,
    span: Range<usize>,
) -> Result<Authorities, ConfigError> {
    let pem = source.file(file, span.clone())?;
    let certificates =
        certificates(&pem, "ca").map_err(|message| source.fault(Some(span), message))?;
    let wrapped = |der: CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
    let [a, b, c, d, e, f, g, h, ..] = sha256(&pem);
    Ok(Authorities {
        certificates: certificates.into_iter().map(wrapped).collect(),
        digest: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
    })
}
