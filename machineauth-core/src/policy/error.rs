//! Why a policy cannot be built.

use std::borrow::Cow;
use std::fmt;

/// What is wrong with a policy; names the rule. Match on [`PolicyError::kind`], print it for a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    kind: PolicyErrorKind,
    rule: Option<Box<str>>,
    detail: Cow<'static, str>,
}

/// The ways in which a policy can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyErrorKind {
    /// The file is not a policy: no TOML, or with members that no policy has.
    MalformedDocument,
    /// There is no rule at all, so nothing would be allowed.
    NoRules,
    /// A path is not a template.
    MalformedTemplate,
    /// A rule names no method, or something that is none.
    InvalidMethod,
    /// A scope is none (RFC 6749 §3.3), or a list of scopes is empty.
    InvalidScope,
    /// A rule demands nothing, and does not say that it means to.
    NothingDemanded,
    /// A rule is public and demands something.
    Contradiction,
    /// A binding names a parameter that the path does not have, or a catch-all.
    UnknownParameter,
    /// Two rules are for the same method and the same paths.
    Ambiguous,
    /// No request can come to a rule, since more specific ones take them all.
    Unreachable,
}

impl PolicyError {
    pub(super) fn new(kind: PolicyErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            rule: None,
            detail: detail.into(),
        }
    }

    pub(super) fn in_rule(mut self, name: &str) -> Self {
        self.rule = Some(name.into());
        self
    }

    /// What is wrong, to decide by.
    pub fn kind(&self) -> PolicyErrorKind {
        self.kind
    }

    /// The name of the rule that is wrong.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "rule `{rule}`: {}", self.detail),
            None => write!(f, "the policy: {}", self.detail),
        }
    }
}

impl std::error::Error for PolicyError {}
