//! Who sits before the browser, and whether one of our own forms was sent (I19).
//!
//! Handlers take [`Administrator`] to show something, and [`Change`] to change something: extracting it is the check.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse as _, Response};
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::{HmacKey, constant_time_eq, random};

use super::cookie::Cookie;
use super::failure::Failure;
use super::form::Form;
use super::page::{Section, Shell};
use crate::api::caller::by_password;
use crate::app::App;
use crate::body::{self, MediaType};
use crate::context::Origin;
use crate::domain::administrators::Role;
use crate::domain::event::{Action, Actor, By};
use crate::error::ApiError;

/// The field of every form that holds its token.
pub const TOKEN_FIELD: &str = "form_token";
/// The field for the password that is asked for again.
pub const PASSWORD_FIELD: &str = "password";
/// More than any form of ours.
const MAX_BODY: usize = 256 * 1024;
/// How long a password that was proven need not be asked for again.
pub const PROVEN_FOR: Duration = Duration::from_secs(600);

const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");

/// What every form carries, so that no other site can send one: it follows from a cookie that only this host can read.
#[derive(Clone)]
pub struct FormToken(String);

impl FormToken {
    /// The token of the forms that are shown to whoever has that cookie.
    pub fn of(cookie: &str) -> Self {
        let key = HmacKey::new(cookie.as_bytes());
        Self(base64url::encode(key.sign(b"a form of the console")))
    }

    /// For the field of a form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_in(&self, form: &Form) -> bool {
        constant_time_eq(self.0.as_bytes(), form.value(TOKEN_FIELD).as_bytes())
    }
}

/// Somebody who signed in.
pub struct Administrator {
    /// The address that it signed in with.
    pub email: Box<str>,
    /// What it may do.
    pub role: Role,
    /// Who does what it does.
    pub by: By,
    /// Where it sits.
    pub origin: Origin,
    /// When its password was proven last.
    proven_at: Option<Timestamp>,
    token: FormToken,
}

impl Administrator {
    /// What surrounds a page of `section` that is shown now.
    pub fn shell(&self, app: &App, section: Section) -> Shell {
        Shell {
            section,
            email: self.email.clone(),
            role: self.role,
            token: self.token.clone(),
            must_prove: !self.is_proven(app.clock.now()),
            notice: None,
        }
    }

    /// Insists on somebody who may change things.
    ///
    /// # Errors
    /// For viewers.
    pub fn may_change(&self) -> Result<(), Failure> {
        match self.role {
            Role::Owner | Role::Admin => Ok(()),
            Role::Viewer => Err(Failure::NOT_FOR_THIS_ROLE),
        }
    }

    fn is_proven(&self, now: Timestamp) -> bool {
        self.proven_at
            .is_some_and(|at| now < at.saturating_add(PROVEN_FOR))
    }

    /// Insists that the password was proven lately, or is proven by `form`: before a new secret is shown.
    ///
    /// # Errors
    /// Names the field for the password.
    pub async fn prove(&self, app: &App, form: &Form) -> Result<(), ApiError> {
        if self.is_proven(app.clock.now()) {
            return Ok(());
        }
        let wrong = |what| super::form::wrong(PASSWORD_FIELD, what);
        let password = form.value(PASSWORD_FIELD);
        if password.is_empty() {
            return Err(wrong("your password, to show a new secret"));
        }
        let failed = Action::AuthenticationFailed;
        let password = password.to_owned().into();
        match by_password(app, &self.origin, failed, &self.email, &password).await {
            Ok(_) => Ok(()),
            Err(ApiError::Unauthorized) => Err(wrong("this is not your password")),
            Err(error) => Err(error),
        }
    }
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Ok(origin) = Origin::from_request_parts(parts, app).await;
        let Some(cookie) = Cookie::Session.read(&parts.headers, &origin) else {
            return Err(asks_to_sign_in(parts));
        };
        if !app.administrators.recognizes_session(cookie).await? {
            return Err(asks_to_sign_in(parts));
        }
        let email: Box<str> = app.administrators.email().into();
        let actor = Actor::Administrator {
            email: email.clone(),
        };
        Ok(Self {
            by: origin.by(actor),
            email,
            role: Role::Owner,
            proven_at: None,
            token: FormToken::of(cookie),
            origin,
        })
    }
}

fn asks_to_sign_in(parts: &Parts) -> Failure {
    let looks = parts.method == Method::GET;
    let asked = parts.uri.path_and_query().map(ToString::to_string);
    Failure::SignIn {
        next: asked.filter(|_| looks),
        by_script: parts.headers.contains_key(HX_REQUEST),
    }
}

/// A form that somebody sent who may change things.
pub struct Change {
    /// Who.
    pub administrator: Administrator,
    /// What was typed.
    pub form: Form,
}

/// A form about whoever sent it, which every role may send.
pub struct OwnChange(pub Change);

impl FromRequest<App> for OwnChange {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let administrator = Administrator::from_request_parts(&mut parts, app).await?;
        let form = read(Request::from_parts(parts, body)).await?;
        match administrator.token.is_in(&form) {
            true => Ok(Self(Change {
                administrator,
                form,
            })),
            false => Err(Failure::ForeignForm),
        }
    }
}

impl FromRequest<App> for Change {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let OwnChange(change) = OwnChange::from_request(request, app).await?;
        change.administrator.may_change()?;
        Ok(change)
    }
}

async fn read(request: Request) -> Result<Form, Failure> {
    if MediaType::of(request.headers()) != MediaType::Form {
        return Err(Failure::ForeignForm);
    }
    let body = body::read(request, MAX_BODY).await?;
    Ok(Form::parse(&body)?)
}

/// Somebody who has not signed in yet: its forms are bound to a cookie of their own.
pub struct Visitor {
    cookie: String,
    /// Where it sits.
    pub origin: Origin,
}

impl Visitor {
    /// What its forms carry.
    pub fn token(&self) -> FormToken {
        FormToken::of(&self.cookie)
    }

    /// A page for it.
    pub fn shown(&self, page: Response) -> Response {
        let cookie = Cookie::Visit.set(&self.cookie, &self.origin);
        ([(SET_COOKIE, cookie)], page).into_response()
    }

    fn known(headers: &HeaderMap, origin: Origin) -> Option<Self> {
        let cookie = Cookie::Visit.read(headers, &origin)?.to_owned();
        // What we did not make ends up in no header of ours.
        let is_ours = base64url::decode(&cookie).is_some_and(|bytes| bytes.len() == 32);
        is_ours.then_some(Self { cookie, origin })
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Ok(origin) = Origin::from_request_parts(parts, app).await;
        Ok(
            Self::known(&parts.headers, origin.clone()).unwrap_or_else(|| Self {
                cookie: base64url::encode(random::<32>()),
                origin,
            }),
        )
    }
}

/// A form that a visitor sent.
pub struct VisitorForm {
    /// Who.
    pub visitor: Visitor,
    /// What was typed.
    pub form: Form,
}

impl FromRequest<App> for VisitorForm {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let Ok(origin) = Origin::from_request_parts(&mut parts, app).await;
        let visitor = Visitor::known(&parts.headers, origin).ok_or(Failure::ForeignForm)?;
        let form = read(Request::from_parts(parts, body)).await?;
        match visitor.token().is_in(&form) {
            true => Ok(Self { visitor, form }),
            false => Err(Failure::ForeignForm),
        }
    }
}
