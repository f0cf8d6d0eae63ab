//! `/admin/audit/verification`: whether the trail is as it was sealed.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};

use crate::app::App;
use crate::console::moment::{Moment, Number, Span};
use crate::console::page::{Section, Shell, page};
use crate::console::session::{Administrator, Change, OwnChange};
use crate::events::audit::VerificationState;
use crate::paths;

#[derive(Template)]
#[template(path = "audit/verification.html")]
struct VerificationPage {
    shell: Shell,
    state: VerificationState,
}

/// What was found last, and how far the verification is that goes on.
pub async fn show(administrator: Administrator, State(app): State<App>) -> Response {
    page(&VerificationPage {
        shell: administrator.shell(&app, Section::Audit),
        state: app.verification.state(),
    })
}

/// Begins to verify every entry against the seals. That changes nothing, so whoever may look may ask for it.
pub async fn verify(State(app): State<App>, OwnChange(Change { .. }): OwnChange) -> Response {
    app.verification.start().await;
    Redirect::to(paths::VERIFICATION).into_response()
}
