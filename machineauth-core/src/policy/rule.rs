//! What one rule is for, and what it demands.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::claim::{ClaimPath, Comparison};
use super::decision::Refusal;
use super::error::{PolicyError, PolicyErrorKind};
use super::path::RequestPath;
use super::template::Template;
use crate::claims::Claims;
use crate::clock::{Clock, Timestamp};
use crate::scope::ScopeSet;
use crate::verifier::Agent;

/// One rule of a [`Policy`](super::Policy): the requests it is for, and what it demands of them.
///
/// A path is written as axum writes its routes: `{name}` takes one segment, `{*name}` at the end takes all that follows,
/// be it only a trailing slash. Everything that a rule demands must be met. What is wrong with a rule shows when the
/// policy is [built](super::PolicyBuilder::build).
///
/// A rule that demands nothing must say what it means: [`authenticated`](Rule::authenticated) or
/// [`public`](Rule::public).
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(from = "super::document::RuleDocument")]
#[must_use]
pub struct Rule {
    pub(super) name: Option<String>,
    pub(super) methods: Vec<String>,
    pub(super) path: String,
    pub(super) public: bool,
    pub(super) authenticated: bool,
    pub(super) scopes: Option<String>,
    pub(super) any_scope: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) issuers: Vec<String>,
    pub(super) acr_values: Vec<String>,
    pub(super) max_auth_age: Option<Duration>,
    pub(super) bindings: Vec<Binding>,
}

#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) parameter: String,
    pub(super) claim: String,
    pub(super) absent: Absent,
}

/// What a token without the claim of a binding is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Refused,
    Unrestricted,
}

/// Stands for every method that has no rule of its own at a path.
const EVERY_METHOD: &str = "*";

impl Rule {
    /// A rule for `method`, as it is spelt on the wire, at `path`.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: None,
            methods: vec![method.into()],
            path: path.into(),
            public: false,
            authenticated: false,
            scopes: None,
            any_scope: None,
            audience: None,
            issuers: Vec::new(),
            acr_values: Vec::new(),
            max_auth_age: None,
            bindings: Vec::new(),
        }
    }

    /// A rule for `GET`, and for `HEAD` where no rule names that.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// A rule for `POST`.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new("POST", path)
    }

    /// A rule for `PUT`.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new("PUT", path)
    }

    /// A rule for `PATCH`.
    pub fn patch(path: impl Into<String>) -> Self {
        Self::new("PATCH", path)
    }

    /// A rule for `DELETE`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new("DELETE", path)
    }

    /// A rule for every method that has no rule of its own at this path.
    pub fn any(path: impl Into<String>) -> Self {
        Self::new(EVERY_METHOD, path)
    }

    /// Is for one more method.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.methods.push(method.into());
        self
    }

    /// What the rule is called in errors, logs and decisions. Default: its methods and its path.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Lets everybody through, with a token or without.
    pub fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Lets every agent through that has been verified.
    pub fn authenticated(mut self) -> Self {
        self.authenticated = true;
        self
    }

    /// Demands every one of these space-delimited scopes.
    pub fn scopes(mut self, scopes: impl Into<String>) -> Self {
        self.scopes = Some(scopes.into());
        self
    }

    /// Demands at least one of these space-delimited scopes.
    pub fn any_scope(mut self, scopes: impl Into<String>) -> Self {
        self.any_scope = Some(scopes.into());
        self
    }

    /// Demands that the token is meant for `audience` too, on top of what the verifier demands.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Demands that the token comes from `issuer`, or from another one named like this: for verifiers of several.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// Demands an authentication of this class, the token's claim `acr` (RFC 9470), or of another one named like this, the
    /// best first. For tokens behind which there are people.
    pub fn acr(mut self, class: impl Into<String>) -> Self {
        self.acr_values.push(class.into());
        self
    }

    /// Demands that the authentication, the token's claim `auth_time` (RFC 9470), is no older than this, in whole
    /// seconds. For tokens behind which there are people.
    pub fn max_auth_age(mut self, age: Duration) -> Self {
        self.max_auth_age = Some(age);
        self
    }

    /// Demands that the path's `parameter` equals the token's `claim`; a token without that claim is refused.
    ///
    /// A claim within a claim is named by a JSON pointer (RFC 6901), `/tenant/id`. Where the claim is an array, one of
    /// its elements must be equal.
    pub fn bind(mut self, parameter: impl Into<String>, claim: impl Into<String>) -> Self {
        self.bindings.push(Binding {
            parameter: parameter.into(),
            claim: claim.into(),
            absent: Absent::Refused,
        });
        self
    }

    /// As [`Rule::bind`], but a token without the claim is not restricted by it: for claims with which an issuer narrows
    /// down what a token is good for.
    pub fn bind_if_present(
        mut self,
        parameter: impl Into<String>,
        claim: impl Into<String>,
    ) -> Self {
        self.bindings.push(Binding {
            parameter: parameter.into(),
            claim: claim.into(),
            absent: Absent::Unrestricted,
        });
        self
    }

    pub(super) fn full_name(&self) -> String {
        let default = || format!("{} {}", self.methods.join(","), self.path);
        self.name.clone().unwrap_or_else(default)
    }

    /// `None` stands for every other method.
    pub(super) fn parsed_methods(&self) -> Result<Vec<Option<Method>>, PolicyError> {
        let invalid = |detail| PolicyError::new(PolicyErrorKind::InvalidMethod, detail);
        if self.methods.is_empty() {
            return Err(invalid("names no method; `*` stands for every one"));
        }
        let parse = |text: &String| match text.as_str() {
            EVERY_METHOD => Ok(None),
            // RFC 9110 §9.1: methods are case-sensitive, and the known ones are upper-case.
            _ if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                Err(invalid("methods are written in upper case"))
            }
            _ => Method::from_bytes(text.as_bytes())
                .map(Some)
                .map_err(|_| invalid("one of its methods is none")),
        };
        self.methods.iter().map(parse).collect()
    }

    pub(super) fn demands(&self, template: &Template) -> Result<Demands, PolicyError> {
        let demands = Demands {
            public: self.public,
            scopes: parsed_scopes(self.scopes.as_deref())?,
            any_scope: parsed_scopes(self.any_scope.as_deref())?,
            audience: self.audience.as_deref().map(Into::into),
            issuers: self
                .issuers
                .iter()
                .map(|issuer| issuer.as_str().into())
                .collect(),
            authentication: Authentication::of(self),
            bindings: self
                .bindings
                .iter()
                .map(|binding| BoundParameter::new(binding, template))
                .collect::<Result<_, _>>()?,
        };
        match (
            self.public,
            self.authenticated || demands.demand_something(),
        ) {
            (true, true) => Err(PolicyError::new(
                PolicyErrorKind::Contradiction,
                "is public, and demands something all the same",
            )),
            (false, false) => Err(PolicyError::new(
                PolicyErrorKind::NothingDemanded,
                "demands nothing; say `authenticated` or `public` when that is meant",
            )),
            _ => Ok(demands),
        }
    }
}

fn parsed_scopes(text: Option<&str>) -> Result<ScopeSet, PolicyError> {
    let invalid = |detail| PolicyError::new(PolicyErrorKind::InvalidScope, detail);
    let Some(text) = text else {
        return Ok(ScopeSet::new());
    };
    let scopes = ScopeSet::parse(text).map_err(|_| invalid("one of its scopes is none"))?;
    match scopes.is_empty() {
        true => Err(invalid("a list of scopes is empty")),
        false => Ok(scopes),
    }
}

/// What a rule demands, ready to be judged.
#[derive(Debug)]
pub(super) struct Demands {
    public: bool,
    scopes: ScopeSet,
    any_scope: ScopeSet,
    audience: Option<Box<str>>,
    issuers: Vec<Box<str>>,
    authentication: Option<Authentication>,
    bindings: Vec<BoundParameter>,
}

/// How people behind a token must have been authenticated (RFC 9470).
#[derive(Debug)]
struct Authentication {
    /// As in `acr_values`; empty when any class will do.
    classes: String,
    max_age: Option<Duration>,
}

impl Authentication {
    fn of(rule: &Rule) -> Option<Self> {
        let classes = rule.acr_values.join(" ");
        let max_age = rule.max_auth_age;
        (!classes.is_empty() || max_age.is_some()).then_some(Self { classes, max_age })
    }

    fn suffices(&self, claims: &Claims, now: Timestamp) -> bool {
        let claim = |name| claims.extra.get(name);
        let class = claim("acr").and_then(Value::as_str);
        let good_class =
            self.classes.is_empty() || self.classes.split(' ').any(|own| class == Some(own));
        let at = claim("auth_time")
            .and_then(Value::as_u64)
            .map(Timestamp::from_secs);
        let recent = |age| at.is_some_and(|at| now.duration_since(at) <= age);
        good_class && self.max_age.is_none_or(recent)
    }
}

#[derive(Debug)]
struct BoundParameter {
    name: Box<str>,
    segment: usize,
    claim: ClaimPath,
    absent: Absent,
}

impl Demands {
    fn demand_something(&self) -> bool {
        !self.scopes.is_empty()
            || !self.any_scope.is_empty()
            || self.audience.is_some()
            || !self.issuers.is_empty()
            || self.authentication.is_some()
            || !self.bindings.is_empty()
    }

    /// The first demand that is not met; whose the token is comes before what it allows.
    pub(super) fn refusal(
        &self,
        path: RequestPath<'_>,
        agent: Option<&Agent>,
        clock: &dyn Clock,
    ) -> Option<Refusal<'_>> {
        if self.public {
            return None;
        }
        let Some(agent) = agent else {
            let scopes = match self.scopes.is_empty() {
                true => &self.any_scope,
                false => &self.scopes,
            };
            return Some(Refusal::Unauthenticated { scopes });
        };
        self.wrong_issuer(agent)
            .or_else(|| self.wrong_audience(agent))
            .or_else(|| self.missing_scope(agent))
            .or_else(|| self.weak_authentication(agent, clock))
            .or_else(|| self.broken_binding(path, agent))
    }

    fn wrong_issuer(&self, agent: &Agent) -> Option<Refusal<'_>> {
        let issuer = &*agent.claims().issuer;
        let accepted = self.issuers.is_empty() || self.issuers.iter().any(|own| **own == *issuer);
        (!accepted).then_some(Refusal::WrongIssuer)
    }

    fn wrong_audience(&self, agent: &Agent) -> Option<Refusal<'_>> {
        let needed = self.audience.as_deref()?;
        let meant = agent.claims().audience.contains(needed);
        (!meant).then_some(Refusal::WrongAudience { needed })
    }

    fn missing_scope(&self, agent: &Agent) -> Option<Refusal<'_>> {
        Refusal::unless_all(&self.scopes, agent.scopes())
            .or_else(|| Refusal::unless_any(&self.any_scope, agent.scopes()))
    }

    fn weak_authentication(&self, agent: &Agent, clock: &dyn Clock) -> Option<Refusal<'_>> {
        let demanded = self.authentication.as_ref()?;
        let suffices = demanded.suffices(agent.claims(), clock.now());
        (!suffices).then_some(Refusal::WeakAuthentication {
            acr_values: &demanded.classes,
            max_age: demanded.max_age,
        })
    }

    fn broken_binding(&self, path: RequestPath<'_>, agent: &Agent) -> Option<Refusal<'_>> {
        let broken = self
            .bindings
            .iter()
            .find(|bound| !bound.holds(path, agent))?;
        Some(Refusal::BrokenBinding {
            parameter: &broken.name,
            claim: broken.claim.name(),
        })
    }
}

impl BoundParameter {
    fn new(binding: &Binding, template: &Template) -> Result<Self, PolicyError> {
        let unknown = || {
            let parameter = &binding.parameter;
            let detail =
                format!("binds `{parameter}`, which is no parameter `{{{parameter}}}` of its path");
            PolicyError::new(PolicyErrorKind::UnknownParameter, detail)
        };
        Ok(Self {
            name: binding.parameter.as_str().into(),
            segment: template.position(&binding.parameter).ok_or_else(unknown)?,
            claim: ClaimPath::new(&binding.claim),
            absent: binding.absent,
        })
    }

    fn holds(&self, path: RequestPath<'_>, agent: &Agent) -> bool {
        let segment = path.segment(self.segment);
        let compared = segment.map(|segment| self.claim.compare(agent.claims(), segment));
        match compared {
            Some(Comparison::Equal) => true,
            Some(Comparison::Absent) => self.absent == Absent::Unrestricted,
            Some(Comparison::Different) | None => false,
        }
    }
}
