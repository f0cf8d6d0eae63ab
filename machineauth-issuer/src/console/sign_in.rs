//! `/admin/sign-in` and `/admin/sign-out`

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use http::header::SET_COOKIE;
use serde::Deserialize;

use super::address::Query;
use super::cookie::Cookie;
use super::failure::Failure;
use super::form::{Form, wrong};
use super::page::{Assets, page, page_with};
use super::session::{Administrator, FormToken, OwnChange, Visitor, VisitorForm};
use crate::app::App;
use crate::context::Origin;
use crate::domain::administrators::{Activity, AdministratorError, Proof, SessionKind};
use crate::domain::event::{Action, Actor};
use crate::error::ApiError;
use crate::paths;
use crate::sign_in::by_password;

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Next {
    next: String,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    assets: Assets,
    token: FormToken,
    form: Form,
}

impl SignInPage {
    fn new(visitor: &Visitor, form: Form) -> Self {
        Self {
            assets: Assets,
            token: visitor.token(),
            form,
        }
    }
}

/// The form.
pub async fn show(visitor: Visitor, Query(Next { next }): Query<Next>) -> Response {
    let form = Form::default().with("next", next);
    visitor.shown(page(&SignInPage::new(&visitor, form)))
}

/// Signs in: a session begins that nobody knew before (I19).
pub async fn sign_in(
    State(app): State<App>,
    VisitorForm { visitor, mut form }: VisitorForm,
) -> Result<Response, Failure> {
    let user = form.value("email").trim().to_owned();
    let password = form.value("password").to_owned().into();
    let origin = &visitor.origin;
    match by_password(&app, origin, Action::LoginFailed, &user, &password).await {
        Ok(proof) => {
            replace(&app, &visitor).await?;
            begun(&app, origin, &proof, inside(form.value("next"))).await
        }
        Err(error) => {
            let (status, said) = match error {
                ApiError::Unauthorized => (
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "the e-mail address or the password is wrong",
                ),
                ApiError::TooManyRequests(_) => (
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong passwords: wait half a minute and try again",
                ),
                error => return Err(error.into()),
            };
            form.refuse(wrong("password", said))?;
            let shown = page_with(status, &SignInPage::new(&visitor, form));
            Ok(visitor.shown(shown))
        }
    }
}

/// Begins a session for whoever has proven to be somebody, and goes on to the page at `path`.
///
/// # Errors
/// The store's failure.
pub async fn begun(
    app: &App,
    origin: &Origin,
    proof: &Proof,
    path: &str,
) -> Result<Response, Failure> {
    let by = origin.by(Actor::Administrator {
        email: proof.identity().email.clone(),
    });
    let begun = app
        .administrators
        .begin_session(proof, SessionKind::Console, &by);
    let (_, token) = begun.await?;
    let cookie = Cookie::Session.set(token.reveal(), origin);
    Ok(([(SET_COOKIE, cookie)], Redirect::to(path)).into_response())
}

/// Ends the session that a visitor comes with: nobody would find it again.
///
/// # Errors
/// The store's failure.
pub async fn replace(app: &App, visitor: &Visitor) -> Result<(), Failure> {
    let Some(before) = &visitor.session else {
        return Ok(());
    };
    let (administrators, console) = (&app.administrators, SessionKind::Console);
    let found = administrators.recognize_session(before, console, Activity::Poll);
    let Some((identity, session)) = found.await? else {
        return Ok(());
    };
    let by = visitor.origin.by(Actor::Administrator {
        email: identity.email.clone(),
    });
    match administrators
        .end_session(identity.id, session.id, &by)
        .await
    {
        // It has ended meanwhile.
        Ok(()) | Err(AdministratorError::NoSuchSession) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Signs out.
pub async fn sign_out(
    State(app): State<App>,
    OwnChange(change): OwnChange,
) -> Result<Response, Failure> {
    let Administrator {
        identity,
        session,
        by,
        origin,
        ..
    } = change.administrator;
    app.administrators
        .end_session(identity.id, session.id, &by)
        .await?;
    Ok(signed_out(&origin))
}

/// The answer to whoever has no session any more.
pub fn signed_out(origin: &Origin) -> Response {
    let cookie = Cookie::Session.remove(origin);
    ([(SET_COOKIE, cookie)], Redirect::to(paths::ADMIN_SIGN_IN)).into_response()
}

/// Where to go, if that is a page of the console: nobody is led away from here.
fn inside(next: &str) -> &str {
    let rest = next.strip_prefix(paths::ADMIN);
    let is_inside = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let is_plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    match is_inside && is_plain {
        true => next,
        false => paths::ADMIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away() {
        for next in ["/admin", "/admin/agents?q=a", "/admin?done=x"] {
            assert_eq!(inside(next), next);
        }
        for next in [
            "",
            "https://example.com",
            "//example.com/admin",
            "/administrator",
            "/admin\\..",
            "/admin/\r\nx",
            "/api/agents",
        ] {
            assert_eq!(inside(next), "/admin");
        }
    }
}
