//! A policy as it is written in a file.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::builder::PolicyBuilder;
use super::rule::{Absent, Binding, Rule};
use super::trie::Spelling;

/// What a policy file has in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyDocument {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

/// One `[[rule]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleDocument {
    name: Option<String>,
    methods: Vec<String>,
    path: String,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    authenticated: bool,
    scopes: Option<Words>,
    any_scope: Option<Words>,
    audience: Option<String>,
    #[serde(default)]
    issuers: Vec<String>,
    #[serde(default)]
    acr_values: Vec<String>,
    max_auth_age_seconds: Option<u64>,
    #[serde(default)]
    bind: BTreeMap<String, String>,
    #[serde(default)]
    bind_if_present: BTreeMap<String, String>,
}

/// `"a b"` or `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

impl From<PolicyDocument> for PolicyBuilder {
    fn from(document: PolicyDocument) -> Self {
        let spelling = match document.ignore_case {
            true => Spelling::AnyCase,
            false => Spelling::Exact,
        };
        Self::with(document.rules, document.dry_run, spelling)
    }
}

impl From<RuleDocument> for Rule {
    fn from(document: RuleDocument) -> Self {
        let bindings = |map: BTreeMap<String, String>, absent| {
            map.into_iter().map(move |(parameter, claim)| Binding {
                parameter,
                claim,
                absent,
            })
        };
        let bound = bindings(document.bind, Absent::Refused);
        Self {
            name: document.name,
            methods: document.methods,
            path: document.path,
            public: document.public,
            authenticated: document.authenticated,
            scopes: document.scopes.map(Words::joined),
            any_scope: document.any_scope.map(Words::joined),
            audience: document.audience,
            issuers: document.issuers,
            acr_values: document.acr_values,
            max_auth_age: document.max_auth_age_seconds.map(Duration::from_secs),
            bindings: bound
                .chain(bindings(document.bind_if_present, Absent::Unrestricted))
                .collect(),
        }
    }
}

impl Words {
    fn joined(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::List(words) => words.join(" "),
        }
    }
}

#[cfg(feature = "toml")]
impl PolicyBuilder {
    /// Reads a policy file.
    ///
    /// ```
    /// use machineauth_core::policy::PolicyBuilder;
    ///
    /// # fn main() -> Result<(), machineauth_core::policy::PolicyError> {
    /// let policy = PolicyBuilder::from_toml(r#"
    ///     [[rule]]
    ///     methods = ["GET"]
    ///     path = "/health"
    ///     public = true
    ///
    ///     [[rule]]
    ///     name = "upload"
    ///     methods = ["POST", "PUT"]
    ///     path = "/docks/{dock_id}/artifacts"
    ///     scopes = "artifacts:write"           # all of them; or `any_scope = ["a", "b"]`
    ///     bind = { dock_id = "dockId" }        # or `bind_if_present`
    /// "#)?.build()?;
    /// assert!(policy.decide(&http::Method::GET, "/health", None).is_allowed());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `methods = ["*"]` stands for every method. Rules also take `any_scope`, `audience`, `issuers`,
    /// `acr_values`, `max_auth_age_seconds` and `authenticated`; beside them stand `dry_run` and `ignore_case`.
    ///
    /// # Errors
    /// [`PolicyErrorKind::MalformedDocument`](super::PolicyErrorKind::MalformedDocument) with the place in the file.
    pub fn from_toml(text: &str) -> Result<Self, super::PolicyError> {
        let kind = super::PolicyErrorKind::MalformedDocument;
        toml::from_str(text)
            .map_err(|error| super::PolicyError::new(kind, error.to_string().trim().to_owned()))
    }
}
