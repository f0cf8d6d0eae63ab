//! The one page that shows an agent's secret.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::path_of;
use crate::app::App;
use crate::console::page::{Section, Shell, page_with};
use crate::console::session::Change;
use crate::domain::agent::Agent;
use crate::domain::secret::SecretText;
use crate::paths;

/// The secret, and how it is used.
#[derive(Template)]
#[template(path = "agents/secret.html")]
pub(super) struct SecretPage<'a> {
    shell: Shell,
    is_new: bool,
    name: &'a str,
    path: String,
    client_id: String,
    secret: &'a str,
    token_endpoint: String,
    scope: String,
}

impl<'a> SecretPage<'a> {
    /// The line for a shell. Scopes may hold what means something to shells, and an organization chooses those of its agents
    /// (I19).
    fn curl(&self) -> String {
        let credentials = format!("{}:{}", self.client_id, self.secret);
        let scope = match self.scope.is_empty() {
            true => String::new(),
            false => format!(" -d {}", shell_quoted(&format!("scope={}", self.scope))),
        };
        format!(
            "curl -u {} \\\n  -d grant_type=client_credentials{scope} \\\n  {}",
            shell_quoted(&credentials),
            shell_quoted(&self.token_endpoint),
        )
    }

    /// Of an agent that was just created.
    pub(super) fn of_new(
        app: &App,
        change: &Change,
        agent: &'a Agent,
        secret: &'a SecretText,
    ) -> Response {
        let shown = Self::new(app, change, agent, secret, true);
        page_with(StatusCode::CREATED, &shown)
    }

    /// Of an agent whose secret was rotated.
    pub(super) fn of_rotated(
        app: &App,
        change: &Change,
        agent: &'a Agent,
        secret: &'a SecretText,
    ) -> Response {
        let shown = Self::new(app, change, agent, secret, false);
        page_with(StatusCode::OK, &shown)
    }

    fn new(
        app: &App,
        change: &Change,
        agent: &'a Agent,
        secret: &'a SecretText,
        is_new: bool,
    ) -> Self {
        let endpoint = match agent.machine {
            Some(_) => paths::MACHINE_TOKEN,
            None => paths::TOKEN,
        };
        Self {
            shell: change.administrator.shell(app, Section::Agents),
            is_new,
            name: &agent.name,
            path: path_of(agent.id),
            client_id: agent.client_name(),
            secret: secret.reveal(),
            token_endpoint: format!("{}{endpoint}", app.config.tokens.issuer),
            scope: agent.scopes.to_string(),
        }
    }
}

/// One word for a POSIX shell, whatever is in it.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// I19
        #[test]
        fn what_is_quoted_is_one_word_to_a_shell(text in "[^\\x00]*") {
            let script = format!("printf %s. {}", shell_quoted(&text));
            let said = Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(said.stdout, format!("{text}.").into_bytes());
        }
    }
}
