//! The page that shows a secret, once.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::page::{Shell, page_with};
use crate::domain::secret::SecretText;

/// A secret, and what it is for.
#[derive(Template)]
#[template(path = "shown_once.html")]
pub struct ShownOnce<'a> {
    /// What surrounds it.
    pub shell: Shell,
    /// What happened.
    pub title: &'a str,
    /// What the secret is called.
    pub label: &'static str,
    /// What it is good for.
    pub purpose: &'static str,
    /// The page to go on to.
    pub path: String,
    /// What that page is called.
    pub back: &'a str,
    /// The secret.
    pub secret: &'a SecretText,
}

impl ShownOnce<'_> {
    /// The answer, which nobody keeps.
    pub fn answer(&self) -> Response {
        page_with(StatusCode::OK, self)
    }
}
