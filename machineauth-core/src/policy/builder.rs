//! From rules to a policy, with every check on the way.

use std::fmt;
use std::sync::Arc;

use super::decision::Decision;
use super::error::{PolicyError, PolicyErrorKind};
use super::rule::Rule;
use super::template::Template;
use super::trie::{Spelling, Trie};
use super::{Hook, Inner, NamedDemands, Policy};
use crate::clock::{Clock, SystemClock};

/// Makes a [`Policy`]. Deserializes from what a policy file has in it; with the feature `toml`, `from_toml` reads one.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(from = "super::document::PolicyDocument")]
#[must_use]
pub struct PolicyBuilder {
    pub(super) rules: Vec<Rule>,
    pub(super) dry_run: bool,
    pub(super) spelling: Spelling,
    on_refusal: Option<Hook>,
    clock: Option<Arc<dyn Clock>>,
}

impl PolicyBuilder {
    pub(super) fn with(rules: Vec<Rule>, dry_run: bool, spelling: Spelling) -> Self {
        Self {
            rules,
            dry_run,
            spelling,
            on_refusal: None,
            clock: None,
        }
    }

    /// Adds a rule. The order of rules does not matter.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Only reports what would be refused, to the log and to the [hook](PolicyBuilder::on_refusal).
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Takes `/Admin` for `/admin`, as some servers do. Parameters still differ by case.
    pub fn ignore_case(mut self) -> Self {
        self.spelling = Spelling::AnyCase;
        self
    }

    /// Is told of every refusal, also in a dry run: for metrics. It is called while the request waits.
    pub fn on_refusal(mut self, hook: impl Fn(&Decision<'_>) + Send + Sync + 'static) -> Self {
        self.on_refusal = Some(Arc::new(hook));
        self
    }

    /// Where the time comes from, for rules that [need it](Rule::max_auth_age). Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Checks the rules and compiles them.
    ///
    /// # Errors
    /// [`PolicyError`] for the first rule that is wrong by itself, and then for rules that stand in each other's way.
    pub fn build(self) -> Result<Policy, PolicyError> {
        if self.rules.is_empty() {
            return Err(PolicyError::new(
                PolicyErrorKind::NoRules,
                "has no rules, so nothing would be allowed",
            ));
        }
        let mut paths = Trie::new(self.spelling);
        let mut rules: Vec<NamedDemands> = Vec::new();
        for rule in &self.rules {
            let name = rule.full_name();
            let demands = compile(rule, rules.len(), &mut paths);
            let demands = demands.map_err(|fault| fault.told(&rules).in_rule(&name))?;
            rules.push(NamedDemands {
                name: name.into(),
                demands,
            });
        }
        if let Some(index) = paths.unreachable() {
            let detail = "can never apply: rules with more specific paths take every request";
            let error = PolicyError::new(PolicyErrorKind::Unreachable, detail);
            return Err(error.in_rule(&rules[index].name));
        }
        Ok(Policy(Arc::new(Inner {
            rules,
            paths,
            dry_run: self.dry_run,
            on_refusal: self.on_refusal,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
        })))
    }
}

enum Fault {
    Own(PolicyError),
    /// The rule of this number is for the same requests.
    Twin(usize),
}

impl Fault {
    fn told(self, rules: &[NamedDemands]) -> PolicyError {
        match self {
            Self::Own(error) => error,
            Self::Twin(index) => {
                let detail = match rules.get(index) {
                    Some(twin) => format!("is for the same requests as rule `{}`", twin.name),
                    None => "names a method twice".to_owned(),
                };
                PolicyError::new(PolicyErrorKind::Ambiguous, detail)
            }
        }
    }
}

impl From<PolicyError> for Fault {
    fn from(error: PolicyError) -> Self {
        Self::Own(error)
    }
}

fn compile(rule: &Rule, index: usize, paths: &mut Trie) -> Result<super::Demands, Fault> {
    let template = Template::parse(&rule.path)?;
    let demands = rule.demands(&template)?;
    for method in rule.parsed_methods()? {
        paths
            .insert(template.parts(), method, index)
            .map_err(Fault::Twin)?;
    }
    Ok(demands)
}

impl fmt::Debug for PolicyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyBuilder")
            .field("rules", &self.rules)
            .field("dry_run", &self.dry_run)
            .field("spelling", &self.spelling)
            .finish_non_exhaustive()
    }
}
