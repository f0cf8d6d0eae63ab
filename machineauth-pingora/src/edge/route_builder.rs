//! From `[[route]]` to routes: who may, by which policy, to which servers.

use std::sync::Arc;

use machineauth_core::policy::PolicyBuilder;
use machineauth_core::{Authenticator, Clock, Policy, Rule};
use toml::Spanned;

use super::config::{ConfigError, HostPattern, LimitsToml, RouteToml, Source};
use super::cors::Cors;
use super::limits::Limits;
use super::metrics::Metrics;
use super::route::{Route, Routes};
use super::upstream::Pool;
use crate::identity::IdentityHeaders;
use crate::module::MachineAuthModule;

/// What routes are made with.
pub(crate) struct RouteBuilder<'a> {
    pub(crate) source: &'a Source,
    pub(crate) pools: &'a [Arc<Pool>],
    pub(crate) limits: &'a LimitsToml,
    pub(crate) authenticator: Option<&'a Authenticator>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) metrics: &'a Metrics,
    pub(crate) identity: &'a Arc<IdentityHeaders>,
    pub(crate) forward_token: bool,
}

impl RouteBuilder<'_> {
    /// # Errors
    /// What is wrong with one of them, and where.
    pub(crate) fn routes(&self, tomls: Vec<Spanned<RouteToml>>) -> Result<Routes, ConfigError> {
        let mut routes = Routes::default();
        let mut names = Vec::new();
        for toml in tomls {
            let route = Arc::new(self.route(&toml)?);
            if names.contains(&route.name) {
                let message = format!("two routes are called `{}`", route.name);
                return Err(self.source.fault_in(&toml, message));
            }
            names.push(route.name.clone());
            let span = toml.span();
            let hosts = toml.into_inner().hosts;
            let hosts: Vec<Option<HostPattern>> = match hosts.is_empty() {
                true => vec![None],
                false => hosts.into_iter().map(Some).collect(),
            };
            for host in hosts {
                routes.add(host, &route).map_err(|twin| {
                    let message = format!("route `{twin}` is for the same host and path");
                    self.source.fault(Some(span.clone()), message)
                })?;
            }
        }
        Ok(routes)
    }

    fn route(&self, spanned: &Spanned<RouteToml>) -> Result<Route, ConfigError> {
        let toml = spanned.get_ref();
        let wanted = toml.upstream.get_ref();
        let pool = self.pools.iter().find(|pool| *pool.name() == **wanted);
        let pool = pool.ok_or_else(|| {
            let message = format!("there is no upstream `{wanted}`");
            self.source.fault_in(&toml.upstream, message)
        })?;
        let cors = match &toml.cors {
            Some(cors) => {
                let made = Cors::new(cors.get_ref());
                Some(made.map_err(|what| self.source.fault_in(cors, what))?)
            }
            None => None,
        };
        let name = route_name(toml);
        Ok(Route {
            auth: self.auth(spanned)?,
            path: toml.path.clone(),
            ignore_case: toml.ignore_case,
            pool: Arc::clone(pool),
            limits: Limits::of_one_route(toml.per_address, toml.per_agent),
            max_body: toml.max_body.unwrap_or(self.limits.max_body).0,
            timeout: toml.timeout.map(|timeout| timeout.0),
            cors,
            websocket: toml.websocket,
            dry_run: toml.dry_run,
            metrics: self.metrics.of_route(&name),
            name: name.into(),
        })
    }

    fn auth(&self, spanned: &Spanned<RouteToml>) -> Result<MachineAuthModule, ConfigError> {
        let toml = spanned.get_ref();
        let fault = |message: &str| self.source.fault_in(spanned, message);
        let by_scopes = toml.scopes.is_some() || toml.any_scope.is_some();
        let ways = [
            toml.public,
            toml.authenticated,
            by_scopes,
            toml.policy.is_some(),
            !toml.rules.is_empty(),
        ];
        if ways.iter().filter(|way| **way).count() != 1 {
            return Err(fault(
                "who may use this route? Say one of `public = true`, `authenticated = true`, `scopes` or `any_scope`, \
                 `policy`, or `[[route.rule]]`",
            ));
        }
        if toml.public {
            if toml.dry_run || toml.per_agent.is_some() {
                return Err(fault(
                    "a public route looks at no token: `dry_run` and `per_agent` mean nothing there",
                ));
            }
            return Ok(MachineAuthModule::open().identity(Arc::clone(self.identity)));
        }
        let authenticator = self
            .authenticator
            .ok_or_else(|| fault("this route demands a token, and there is no `[[issuer]]`"))?;
        let policy = self.policy(spanned)?;
        let mut auth = MachineAuthModule::from(authenticator.clone())
            .identity(Arc::clone(self.identity))
            .policy(policy);
        if self.forward_token {
            auth = auth.forward_token();
        }
        Ok(match toml.dry_run {
            true => auth.dry_run(),
            false => auth,
        })
    }

    fn policy(&self, spanned: &Spanned<RouteToml>) -> Result<Policy, ConfigError> {
        let toml = spanned.get_ref();
        let fault = |message: String| self.source.fault_in(spanned, message);
        if let Some(file) = &toml.policy {
            let text = self.source.text(file.get_ref(), file.span())?;
            let builder = PolicyBuilder::from_toml(&text);
            let policy = builder.and_then(|builder| self.finished(builder, toml).build());
            return policy.map_err(|error| {
                let path = self.source.path_of(file.get_ref());
                self.source
                    .fault_in(file, format!("{}: {error}", path.display()))
            });
        }
        if !toml.rules.is_empty() {
            return self.policy_of_rules(toml);
        }
        // Whatever the method and the path, which has brought the request here already.
        let mut rule = Rule::any("/{*path}").named(route_name(toml));
        if toml.authenticated {
            rule = rule.authenticated();
        }
        if let Some(scopes) = &toml.scopes {
            rule = rule.scopes(scopes.joined());
        }
        if let Some(scopes) = &toml.any_scope {
            rule = rule.any_scope(scopes.joined());
        }
        let builder = self.finished(Policy::builder().rule(rule), toml);
        builder.build().map_err(|error| fault(error.to_string()))
    }

    fn policy_of_rules(&self, toml: &RouteToml) -> Result<Policy, ConfigError> {
        let policy_of = |count: usize| {
            let rules = toml.rules[..count].iter();
            let builder = rules.fold(Policy::builder(), |builder, rule| {
                builder.rule(rule.get_ref().clone())
            });
            self.finished(builder, toml).build()
        };
        policy_of(toml.rules.len()).map_err(|error| {
            // The error names a rule; the line is that of the first rule with which it is there.
            let fits = |count: &usize| policy_of(*count).is_ok();
            let good = (1..toml.rules.len()).take_while(fits).count();
            self.source.fault_in(&toml.rules[good], error.to_string())
        })
    }

    fn finished(&self, builder: PolicyBuilder, toml: &RouteToml) -> PolicyBuilder {
        let builder = builder.clock(Arc::clone(self.clock));
        match toml.ignore_case {
            true => builder.ignore_case(),
            false => builder,
        }
    }
}

fn route_name(toml: &RouteToml) -> String {
    let host = |host: &HostPattern| match host {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Below(below) => format!("*{below}"),
    };
    let hosts: Vec<String> = toml.hosts.iter().map(host).collect();
    let default = || format!("{}{}", hosts.join(","), toml.path);
    toml.name.clone().unwrap_or_else(default)
}
