//! What the console shows instead of a page.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderName, HeaderValue, StatusCode};

use super::page::{Assets, page_with};
use crate::error::{ApiError, Refusal, Unavailable, challenges};
use crate::paths;
use crate::protection::challenge;

const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// Why there is no page.
#[derive(Debug)]
pub enum Failure {
    /// Nobody is signed in; to `next` afterwards.
    SignIn {
        /// Where the request went, if it only looked.
        next: Option<String>,
        /// Whether a script asks, for a part of a page.
        by_script: bool,
    },
    /// A form that is none of ours, or that was made in another session (I19).
    ForeignForm,
    /// As in the API.
    Refused(ApiError),
}

impl<E> From<E> for Failure
where
    ApiError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Failure {
    /// A role that does not reach so far.
    pub const NOT_FOR_THIS_ROLE: Self = Self::Refused(ApiError::Forbidden(
        "your role does not allow this: ask an administrator of this server",
    ));
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage {
    assets: Assets,
    title: &'static str,
    description: String,
    /// Whether that is the store. The dashboard takes it from here: no other page can be made then.
    is_store_away: bool,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn { next, by_script } => {
                let to = sign_in(next.as_deref());
                match by_script {
                    // Else the page that signs in would be shown in a part of this one.
                    true => {
                        let mut response = StatusCode::UNAUTHORIZED.into_response();
                        let headers = response.headers_mut();
                        headers.insert(WWW_AUTHENTICATE, challenges::BEARER);
                        headers.extend(HeaderValue::try_from(to).map(|to| (HX_REDIRECT, to)).ok());
                        response
                    }
                    false => Redirect::to(&to).into_response(),
                }
            }
            Self::ForeignForm => shown(
                StatusCode::FORBIDDEN,
                "the form was not sent from a page of your session; go back, load the page again and repeat it".into(),
                false,
            ),
            Self::Refused(error) => {
                let is_store_away =
                    matches!(error, ApiError::TemporarilyUnavailable(Unavailable::Store));
                let refusal = Refusal::from(error);
                let header = refusal.header();
                let description = refusal.description.into_owned();
                let mut response = shown(refusal.status, description, is_store_away);
                response.headers_mut().extend(header);
                challenge::for_page(response.headers_mut());
                response
            }
        }
    }
}

/// Whether a path is the console's.
pub fn is_below_admin(path: &str) -> bool {
    let rest = path.strip_prefix(paths::ADMIN);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What is refused before the console is reached is refused as the API does; [below the console's paths](is_below_admin) a
/// page says it.
pub fn as_page(mut response: Response) -> Response {
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let page = shown(refusal.status, refusal.description.into_owned(), false);
        let (head, body) = page.into_parts();
        response.headers_mut().extend(head.headers);
        *response.body_mut() = body;
    }
    response
}

fn shown(status: StatusCode, description: String, is_store_away: bool) -> Response {
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        StatusCode::SERVICE_UNAVAILABLE => "Not available",
        status if status.is_server_error() => "The server failed",
        _ => "That did not work",
    };
    page_with(
        status,
        &FailurePage {
            assets: Assets,
            title,
            description,
            is_store_away,
        },
    )
}

fn sign_in(next: Option<&str>) -> String {
    match next {
        Some(next) => {
            let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
            format!("{}?next={next}", paths::ADMIN_SIGN_IN)
        }
        None => paths::ADMIN_SIGN_IN.to_owned(),
    }
}
