//! What a policy says about a request.

use std::fmt;
use std::time::Duration;

use super::path::PathFault;
use crate::challenge::Challenge;
use crate::error::{Error, ErrorKind};
use crate::scope::{Scope, ScopeSet};

/// What a [`Policy`](super::Policy) says about one request: by which rule, and which demand was not met.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Decision<'p> {
    rule: Option<&'p str>,
    refusal: Option<Refusal<'p>>,
    enforced: bool,
}

impl<'p> Decision<'p> {
    pub(super) fn new(rule: Option<&'p str>, refusal: Option<Refusal<'p>>, enforced: bool) -> Self {
        Self {
            rule,
            refusal,
            enforced,
        }
    }

    /// Whether every demand is met.
    pub fn is_allowed(&self) -> bool {
        self.refusal.is_none()
    }

    /// The name of the rule that the request came to. There are as many names as rules, so it may label a metric.
    pub fn rule(&self) -> Option<&'p str> {
        self.rule
    }

    /// Why the request is not allowed.
    pub fn refusal(&self) -> Option<&Refusal<'p>> {
        self.refusal.as_ref()
    }

    /// Whether a refusal has consequences: not in a dry run.
    pub fn is_enforced(&self) -> bool {
        self.enforced
    }

    pub(super) fn into_enforced_refusal(self) -> Option<Refusal<'p>> {
        self.refusal.filter(|_| self.enforced)
    }
}

/// Why a policy refuses a request; prints as a sentence for the caller.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refusal<'p> {
    /// Servers would read the path differently.
    AmbiguousPath(PathFault),
    /// No rule is for this method at this path.
    NoRule,
    /// Nobody has been verified.
    Unauthenticated {
        /// Scopes that the rule will ask for.
        scopes: &'p ScopeSet,
    },
    /// The token comes from an issuer that the rule does not name.
    WrongIssuer,
    /// The token is not meant for the rule's audience.
    WrongAudience {
        /// The rule's audience.
        needed: &'p str,
    },
    /// Scopes are missing, and all are needed.
    MissingScopes {
        /// All that the rule demands.
        needed: &'p ScopeSet,
        /// Those that the token lacks.
        missing: ScopeSet,
    },
    /// None of several scopes is there.
    MissingAnyScope {
        /// Those of which the rule demands one.
        needed: &'p ScopeSet,
    },
    /// Whoever is behind the token was not authenticated well or recently enough.
    WeakAuthentication {
        /// The classes of which the rule demands one, space-delimited; empty when any will do.
        acr_values: &'p str,
        /// How long ago it may have been.
        max_age: Option<Duration>,
    },
    /// The token is for another object than the path names.
    BrokenBinding {
        /// The path's parameter.
        parameter: &'p str,
        /// The token's claim.
        claim: &'p str,
    },
}

impl<'p> Refusal<'p> {
    /// The refusal of an agent that does not hold all scopes of `needed`.
    pub fn unless_all(needed: &'p ScopeSet, held: &ScopeSet) -> Option<Self> {
        if held.contains_all(needed) {
            return None;
        }
        let lacking = needed.iter().filter(|scope| !held.contains(scope.as_str()));
        Some(Self::MissingScopes {
            needed,
            missing: lacking.cloned().collect(),
        })
    }

    /// The refusal of an agent that holds no scope of `needed`, if there are any.
    pub fn unless_any(needed: &'p ScopeSet, held: &ScopeSet) -> Option<Self> {
        let met = needed.is_empty() || needed.iter().any(|scope| held.contains(scope.as_str()));
        (!met).then_some(Self::MissingAnyScope { needed })
    }
}

impl Refusal<'_> {
    /// The refusal as an error, to decide by.
    pub fn error(&self) -> Error {
        Error::new(match self {
            Self::AmbiguousPath(_) => ErrorKind::AmbiguousPath,
            Self::NoRule => ErrorKind::Forbidden,
            Self::Unauthenticated { .. } => ErrorKind::MissingToken,
            Self::WrongIssuer => ErrorKind::WrongIssuer,
            Self::WrongAudience { .. } => ErrorKind::WrongAudience,
            Self::MissingScopes { .. } | Self::MissingAnyScope { .. } => {
                ErrorKind::InsufficientScope
            }
            Self::WeakAuthentication { .. } => ErrorKind::InsufficientUserAuthentication,
            Self::BrokenBinding { .. } => ErrorKind::BrokenBinding,
        })
    }

    /// How to answer: status, challenge, and this refusal's sentence.
    pub fn challenge(&self) -> Challenge {
        let challenge = Challenge::from(self.error()).description(self.to_string());
        match self {
            Self::Unauthenticated { scopes } => challenge.scopes(scopes),
            Self::MissingScopes { needed, .. } | Self::MissingAnyScope { needed } => {
                challenge.scopes(needed)
            }
            Self::WeakAuthentication {
                acr_values,
                max_age,
            } => {
                let challenge = match *acr_values {
                    "" => challenge,
                    values => challenge.acr_values(values),
                };
                match max_age {
                    Some(age) => challenge.max_age(*age),
                    None => challenge,
                }
            }
            Self::AmbiguousPath(_)
            | Self::NoRule
            | Self::WrongIssuer
            | Self::WrongAudience { .. }
            | Self::BrokenBinding { .. } => challenge,
        }
    }
}

impl From<PathFault> for Refusal<'_> {
    fn from(fault: PathFault) -> Self {
        Self::AmbiguousPath(fault)
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AmbiguousPath(fault) => {
                write!(
                    f,
                    "servers may read the path of this request differently: {fault}"
                )
            }
            Self::MissingScopes { missing, .. } => {
                write!(
                    f,
                    "the access token lacks the scope {}",
                    Listed(missing, " and ")
                )
            }
            Self::MissingAnyScope { needed } => {
                write!(
                    f,
                    "the access token needs the scope {}",
                    Listed(needed, " or ")
                )
            }
            Self::WrongAudience { needed } => {
                write!(
                    f,
                    "the access token is not meant for the audience `{needed}`, which this request needs"
                )
            }
            // Clients look for the words in it: no word of one refusal stands in another.
            Self::BrokenBinding { parameter, claim } => {
                write!(
                    f,
                    "`{parameter}` in the path is not the `{claim}` that the access token is restricted to"
                )
            }
            Self::NoRule
            | Self::Unauthenticated { .. }
            | Self::WrongIssuer
            | Self::WeakAuthentication { .. } => self.error().fmt(f),
        }
    }
}

/// `` `a`, `b` and `c` ``
struct Listed<'a>(&'a ScopeSet, &'static str);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.len().saturating_sub(1);
        for (at, scope) in self.0.iter().map(Scope::as_str).enumerate() {
            let joint = match at {
                0 => "",
                _ if at == last => self.1,
                _ => ", ",
            };
            write!(f, "{joint}`{scope}`")?;
        }
        Ok(())
    }
}
