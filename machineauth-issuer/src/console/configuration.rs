//! `/admin/configuration`: what is in force. Never a secret.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::page::{Section, Shell, page};
use super::session::Administrator;
use crate::app::App;
use crate::config::variables::{InForce, Source};

#[derive(Template)]
#[template(path = "configuration.html")]
struct ConfigurationPage<'a> {
    shell: Shell,
    version: &'static str,
    warnings: &'a [String],
    settings: &'a [InForce],
}

impl ConfigurationPage<'_> {
    fn is_set(&self, setting: &InForce) -> bool {
        setting.source != Source::Default
    }
}

/// The page.
pub async fn show(administrator: Administrator, State(app): State<App>) -> Response {
    page(&ConfigurationPage {
        shell: administrator.shell(&app, Section::Configuration),
        version: env!("CARGO_PKG_VERSION"),
        warnings: &app.config.warnings,
        settings: &app.config.in_force,
    })
}
