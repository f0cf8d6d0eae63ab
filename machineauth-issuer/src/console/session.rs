//! Who sits before the browser, and whether one of our own forms was sent (I19).
//!
//! Handlers take [`Administrator`] to show something, [`Editor`] to show a form, and [`Change`] to change something: extracting
//! it is the check.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse as _, Response};
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use machineauth_core::base64url;
use machineauth_core::crypto::{HmacKey, constant_time_eq, random};

use super::cookie::Cookie;
use super::failure::Failure;
use super::form::{Form, wrong};
use super::page::{Section, Shell};
use crate::app::App;
use crate::body::{self, MediaType};
use crate::context::Origin;
use crate::domain::administrators::{Activity, Identity, Owner, Proof, Session, SessionKind};
use crate::domain::event::{Action, Actor, By};
use crate::domain::secret::SecretText;
use crate::error::ApiError;
use crate::sign_in::by_password;

/// The field of every form that holds its token.
pub const TOKEN_FIELD: &str = "form_token";
/// The field for the password that is asked for again.
pub const PASSWORD_FIELD: &str = "password";
/// More than any form of ours.
const MAX_BODY: usize = 256 * 1024;

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
    /// Who.
    pub identity: Identity,
    /// Since when, and from where.
    pub session: Session,
    /// Who does what it does.
    pub by: By,
    /// Where it sits now.
    pub origin: Origin,
    token: FormToken,
}

impl Administrator {
    /// What surrounds a page of `section` that is shown now.
    pub fn shell(&self, app: &App, section: Section) -> Shell {
        Shell {
            section,
            email: self.identity.email.clone(),
            role: self.identity.role,
            token: self.token.clone(),
            must_prove: !self.session.is_recent(app.clock.now()),
            notice: None,
        }
    }

    /// Insists on somebody who may change things.
    fn may_change(&self) -> Result<(), Failure> {
        match self.identity.role.may_change() {
            true => Ok(()),
            false => Err(Failure::NOT_FOR_THIS_ROLE),
        }
    }

    /// Insists on an owner.
    ///
    /// # Errors
    /// For everybody else.
    pub fn owner(&self) -> Result<Owner, Failure> {
        let owner = self.identity.clone().into_owner();
        owner.ok_or(Failure::NOT_FOR_THIS_ROLE)
    }

    /// Insists that the password was proven lately, or is proven by `form`: before a new secret is shown.
    ///
    /// # Errors
    /// Names the field for the password.
    pub async fn prove(&self, app: &App, form: &Form) -> Result<(), ApiError> {
        if self.session.is_recent(app.clock.now()) {
            return Ok(());
        }
        let proof = self.proof(app, form, PASSWORD_FIELD).await?;
        let administrators = &app.administrators;
        Ok(administrators
            .confirm_session(&self.session, &proof, &self.by)
            .await?)
    }

    /// The proof that the password in a field of `form` is this administrator's.
    ///
    /// # Errors
    /// Names the field.
    pub async fn proof(
        &self,
        app: &App,
        form: &Form,
        field: &'static str,
    ) -> Result<Proof, ApiError> {
        let password = form.value(field);
        if password.is_empty() {
            return Err(wrong(field, "your password is needed for this"));
        }
        let (failed, password) = (Action::AuthenticationFailed, password.to_owned().into());
        let (origin, email) = (&self.origin, &self.identity.email);
        match by_password(app, origin, failed, email, &password).await {
            Ok(proof) => Ok(proof),
            Err(ApiError::Unauthorized) => Err(wrong(field, "this is not your password")),
            Err(ApiError::TooManyRequests(_)) => Err(wrong(
                field,
                "too many wrong passwords: wait half a minute and try again",
            )),
            Err(error) => Err(error),
        }
    }
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let origin = origin_of(parts, app).await;
        let Some(cookie) = Cookie::Session.read(&parts.headers, &origin) else {
            return Err(asks_to_sign_in(parts));
        };
        let token = FormToken::of(cookie);
        let cookie = cookie.to_owned().into();
        // A page that is left open asks by itself, and ends all the same.
        let activity = match is_by_script(parts) && parts.method == Method::GET {
            true => Activity::Poll,
            false => Activity::Use,
        };
        let console = SessionKind::Console;
        let found = app
            .administrators
            .recognize_session(&cookie, console, activity);
        let Some((identity, session)) = found.await? else {
            return Err(asks_to_sign_in(parts));
        };
        let actor = Actor::Administrator {
            email: identity.email.clone(),
        };
        Ok(Self {
            by: origin.by(actor),
            identity,
            session,
            origin,
            token,
        })
    }
}

/// Where a request comes from. It is as secure as the server says that it is reached: a proxy that ends TLS and is not known as
/// one must not cost the cookies their safety (I19).
async fn origin_of(parts: &mut Parts, app: &App) -> Origin {
    let Ok(mut origin) = Origin::from_request_parts(parts, app).await;
    origin.is_secure |= app.config.tokens.issuer.starts_with("https://");
    origin
}

/// Whether a page asks by itself, for a part of it.
fn is_by_script(parts: &Parts) -> bool {
    parts.headers.contains_key(HX_REQUEST)
}

fn asks_to_sign_in(parts: &Parts) -> Failure {
    let looks = parts.method == Method::GET;
    let asked = parts.uri.path_and_query().map(ToString::to_string);
    Failure::SignIn {
        next: asked.filter(|_| looks),
        by_script: is_by_script(parts),
    }
}

/// Somebody who may change things, and asks for a form.
pub struct Editor(Administrator);

impl Editor {
    /// Gives it this one.
    pub fn fills(self, form: Form) -> Change {
        Change {
            administrator: self.0,
            form,
        }
    }
}

impl FromRequestParts<App> for Editor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let administrator = Administrator::from_request_parts(parts, app).await?;
        administrator.may_change()?;
        Ok(Self(administrator))
    }
}

/// A form of somebody who may change things: as it is shown, or as it was sent.
pub struct Change {
    /// Who.
    pub administrator: Administrator,
    /// What was typed.
    pub form: Form,
}

impl Change {
    /// Who does it.
    pub fn by(&self) -> &By {
        &self.administrator.by
    }

    /// Insists that the password was proven lately, or is proven by the form: before a new secret is shown.
    ///
    /// # Errors
    /// Names the field for the password.
    pub async fn prove(&self, app: &App) -> Result<(), ApiError> {
        self.administrator.prove(app, &self.form).await
    }

    /// The form to be shown again, with why it was refused.
    ///
    /// # Errors
    /// The error itself where typing something else does not help.
    pub fn refused(mut self, error: impl Into<ApiError>) -> Result<Self, Failure> {
        self.form.refuse(error)?;
        Ok(self)
    }
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
    /// The session that it comes with, which the next one replaces.
    pub session: Option<SecretText>,
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
        let session = Cookie::Session.read(headers, &origin);
        let session = session.map(|session| session.to_owned().into());
        let cookie = Cookie::Visit.read(headers, &origin)?.to_owned();
        // What we did not make ends up in no header of ours.
        let is_ours = base64url::decode(&cookie).is_some_and(|bytes| bytes.len() == 32);
        is_ours.then_some(Self {
            cookie,
            session,
            origin,
        })
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let origin = origin_of(parts, app).await;
        Ok(
            Self::known(&parts.headers, origin.clone()).unwrap_or_else(|| Self {
                cookie: base64url::encode(random::<32>()),
                session: None,
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
        let origin = origin_of(&mut parts, app).await;
        let visitor = Visitor::known(&parts.headers, origin).ok_or(Failure::ForeignForm)?;
        let form = read(Request::from_parts(parts, body)).await?;
        match visitor.token().is_in(&form) {
            true => Ok(Self { visitor, form }),
            false => Err(Failure::ForeignForm),
        }
    }
}
