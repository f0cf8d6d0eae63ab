//! Who may do what: rules over method and path, for a layer and for an edge alike.
//!
//! A [`Policy`] is made of [`Rule`]s, in code or from a file, and checked when it is built: a rule that can never
//! apply, two rules for the same request, a binding to a parameter that the path does not have are errors that name the
//! rule. What no rule matches is refused.
//!
//! ```
//! use machineauth_core::policy::{Policy, Refusal, Rule};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::builder()
//!     .rule(Rule::get("/health").public())
//!     .rule(Rule::get("/docks/{dock_id}/artifacts").scopes("artifacts:read").bind("dock_id", "dockId"))
//!     .rule(Rule::post("/docks/{dock_id}/artifacts").scopes("artifacts:write").bind("dock_id", "dockId"))
//!     .build()?;
//!
//! assert!(policy.decide(&http::Method::GET, "/health", None).is_allowed());
//!
//! let decision = policy.decide(&http::Method::POST, "/docks/7/artifacts", None);
//! assert_eq!(decision.rule(), Some("POST /docks/{dock_id}/artifacts"));
//! assert!(matches!(decision.refusal(), Some(Refusal::Unauthenticated { .. })));
//!
//! let decision = policy.decide(&http::Method::GET, "/docks%2F7/artifacts", None);
//! assert!(matches!(decision.refusal(), Some(Refusal::AmbiguousPath(_))));
//! # Ok(())
//! # }
//! ```
//!
//! # How a request finds its rule
//!
//! By the path first: segment by segment, a literal before a parameter before a catch-all. Then by the method, among the
//! rules for that path only: a rule for `/users/{id}` says nothing about `/users/me` where there is one for that. `HEAD`
//! counts as `GET` where no rule names it, as servers answer it. Headers that ask for another method count for nothing.
//!
//! # Paths that servers read differently
//!
//! A policy protects only what it sees as the server behind it does. So a path that two servers may read differently is
//! refused: encoded slashes, dots and letters, dot segments, `;`, `//`, backslashes, control characters, and a literal
//! spelt with escapes ([`PathFault`]). A trailing slash makes another path, and so does another case, unless
//! [`PolicyBuilder::ignore_case`] is chosen for a server that takes both for one.

mod builder;
mod claim;
mod decision;
mod document;
mod error;
mod path;
mod rule;
mod template;
mod trie;

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::HeaderName;

pub use builder::PolicyBuilder;
pub use decision::{Decision, Refusal};
pub use error::{PolicyError, PolicyErrorKind};
pub use path::PathFault;
pub use rule::Rule;

use crate::clock::Clock;
use crate::verifier::Agent;
use path::RequestPath;
use rule::Demands;
use trie::Trie;

/// With these, some frameworks let a client replace the method or the path that was judged. Whoever enforces a policy
/// removes them.
pub const OVERRIDES: [HeaderName; 11] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-method"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-forwarded-prefix"),
];

/// Whether every server reads `path` alike, as [`Policy::decide`] demands: for whoever chooses by a path without a policy.
///
/// # Errors
/// [`PathFault`], but for [`PathFault::DisguisedLiteral`], which only the rules of a policy can tell.
pub fn check_path(path: &str) -> Result<(), PathFault> {
    RequestPath::parse(path).map(drop)
}

/// Rules that were checked and compiled. Clones share them.
#[derive(Clone)]
pub struct Policy(Arc<Inner>);

struct Inner {
    rules: Vec<NamedDemands>,
    paths: Trie,
    dry_run: bool,
    on_refusal: Option<Hook>,
    clock: Arc<dyn Clock>,
}

struct NamedDemands {
    name: Box<str>,
    demands: Demands,
}

type Hook = Arc<dyn Fn(&Decision<'_>) + Send + Sync>;

impl Policy {
    /// A policy without any rule so far.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }

    /// What the rules say about a request by `agent` for `path`, as in [`http::Uri::path`]. Tells nobody, and asks
    /// nobody; a dry run decides the same.
    pub fn decide<'p>(
        &'p self,
        method: &Method,
        path: &str,
        agent: Option<&Agent>,
    ) -> Decision<'p> {
        let inner = &*self.0;
        let judge = || {
            let path = RequestPath::parse(path).map_err(|fault| (None, fault.into()))?;
            let found = inner.paths.find(path);
            let found = found.map_err(|fault| (None, fault.into()))?;
            let index = found.and_then(|leaf| leaf.rule_for(method));
            let rule = &inner.rules[index.ok_or((None, Refusal::NoRule))?];
            match rule.demands.refusal(path, agent, &*inner.clock) {
                None => Ok(&*rule.name),
                Some(refusal) => Err((Some(&*rule.name), refusal)),
            }
        };
        let (rule, refusal) = match judge() {
            Ok(rule) => (Some(rule), None),
            Err((rule, refusal)) => (rule, Some(refusal)),
        };
        Decision::new(rule, refusal, !inner.dry_run)
    }

    /// As [`Policy::decide`]; a refusal is logged and told to the [hook](PolicyBuilder::on_refusal), and in a dry run
    /// that is all that comes of it.
    ///
    /// # Errors
    /// [`Refusal`], unless this is a dry run.
    pub fn enforce<'p>(
        &'p self,
        method: &Method,
        path: &str,
        agent: Option<&Agent>,
    ) -> Result<(), Refusal<'p>> {
        let decision = self.decide(method, path, agent);
        if decision.is_allowed() {
            return Ok(());
        }
        self.report(&decision, method, path, agent);
        decision.into_enforced_refusal().map_or(Ok(()), Err)
    }

    /// Whether refusals are only reported.
    pub fn is_dry_run(&self) -> bool {
        self.0.dry_run
    }

    #[cold]
    fn report(&self, decision: &Decision<'_>, method: &Method, path: &str, agent: Option<&Agent>) {
        let agent = agent.map(Agent::id);
        let (rule, reason) = (
            decision.rule(),
            decision.refusal().map(tracing::field::display),
        );
        // Anybody can cause a refusal; a dry run is watched on purpose.
        if decision.is_enforced() {
            tracing::debug!(rule, agent.id = agent, %method, ?path, reason, "refused by policy");
        } else {
            tracing::warn!(rule, agent.id = agent, %method, ?path, reason, "the policy would refuse this (dry run)");
        }
        if let Some(hook) = &self.0.on_refusal {
            hook(decision);
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.rules.iter().map(|rule| &rule.name);
        f.debug_struct("Policy")
            .field("rules", &names.collect::<Vec<_>>())
            .field("dry_run", &self.0.dry_run)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
