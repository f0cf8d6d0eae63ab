//! Introspection over HTTP (RFC 7662 §2.1).

use std::fmt;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Response, StatusCode};

use super::{AnswerForm, AskError, AskFuture, AskIssuer};
use crate::client::ClientSecret;
use crate::discovery::{Endpoint, Place};
use crate::error::Error;
use crate::outbound::{CallError, PlainHttp, basic, body, client, form, has_type};

/// The most that is read of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// The introspection endpoint of one issuer, asked with the credentials of a client (HTTP Basic, RFC 6749 §2.3.1).
///
/// Only https URLs are asked, and http ones on loopback addresses. Redirects are not followed.
pub struct HttpIntrospection {
    client: Client,
    place: Place,
    client_id: String,
    secret: ClientSecret,
}

impl HttpIntrospection {
    /// Asks the issuer's metadata where its introspection endpoint is (RFC 8414 §2).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when `issuer` is no https URL (or
    /// http on loopback) without query.
    pub fn discover(
        issuer: &str,
        client_id: impl Into<String>,
        secret: impl Into<ClientSecret>,
    ) -> Result<Self, Error> {
        let place = Place::of(issuer, Endpoint::Introspection, PlainHttp::LoopbackOnly)?;
        Self::asking(place, client_id.into(), secret.into())
    }

    /// As [`HttpIntrospection::discover`], but over plain http to any host: whoever is in between sees the credentials and
    /// all tokens, and decides which are good.
    ///
    /// # Errors
    /// As [`HttpIntrospection::discover`].
    pub fn danger_discover_over_plain_http(
        issuer: &str,
        client_id: impl Into<String>,
        secret: impl Into<ClientSecret>,
    ) -> Result<Self, Error> {
        let place = Place::of(issuer, Endpoint::Introspection, PlainHttp::DangerAnywhere)?;
        Self::asking(place, client_id.into(), secret.into())
    }

    /// The endpoint at `url`, without asking for metadata.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when `url` is no https URL (or http on
    /// loopback).
    pub fn at(
        url: &str,
        client_id: impl Into<String>,
        secret: impl Into<ClientSecret>,
    ) -> Result<Self, Error> {
        let place = Place::at(url, PlainHttp::LoopbackOnly)?;
        Self::asking(place, client_id.into(), secret.into())
    }

    /// As [`HttpIntrospection::at`], but over plain http to any host: whoever is in between sees the credentials and all
    /// tokens, and decides which are good.
    ///
    /// # Errors
    /// As [`HttpIntrospection::at`].
    pub fn danger_at_over_plain_http(
        url: &str,
        client_id: impl Into<String>,
        secret: impl Into<ClientSecret>,
    ) -> Result<Self, Error> {
        let place = Place::at(url, PlainHttp::DangerAnywhere)?;
        Self::asking(place, client_id.into(), secret.into())
    }

    fn asking(place: Place, client_id: String, secret: ClientSecret) -> Result<Self, Error> {
        Ok(Self {
            client: client()?,
            place,
            client_id,
            secret,
        })
    }

    async fn ask_once(&self, token: &str, wanted: AnswerForm) -> Result<Bytes, AskError> {
        let url = self.place.url(&self.client).await?;
        let secret = self.secret.read().await;
        let secret = secret.map_err(|_| AskError::NoCredentials)?;
        let response = self
            .client
            .post(url)
            .header(ACCEPT, media_type(wanted))
            .header(AUTHORIZATION, basic(&self.client_id, &secret))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(&[
                ("token", token),
                ("token_type_hint", "access_token"),
            ]))
            .send()
            .await
            .map_err(CallError::from);
        let answer = match response {
            Ok(response) => read(response, wanted).await,
            Err(error) => Err(error.into()),
        };
        if matches!(answer, Err(AskError::Unreachable | AskError::Status(404))) {
            self.place.forget();
        }
        answer
    }
}

async fn read(response: Response, wanted: AnswerForm) -> Result<Bytes, AskError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(AskError::Unauthorized),
        status => return Err(AskError::Status(status.as_u16())),
    }
    if !has_type(response.headers(), media_type(wanted)) {
        return Err(AskError::WrongContentType);
    }
    Ok(body(response, MAX_ANSWER).await?)
}

const fn media_type(form: AnswerForm) -> &'static str {
    match form {
        AnswerForm::Json => "application/json",
        AnswerForm::Jwt => "application/token-introspection+jwt",
    }
}

impl AskIssuer for HttpIntrospection {
    fn ask<'a>(&'a self, token: &'a str, form: AnswerForm) -> AskFuture<'a> {
        Box::pin(self.ask_once(token, form))
    }
}

impl From<CallError> for AskError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable => Self::Unreachable,
            CallError::TimedOut => Self::TimedOut,
            CallError::Status(status) => Self::Status(status),
            CallError::TooLarge => Self::TooLarge,
            CallError::InvalidMetadata | CallError::WrongIssuer | CallError::ForbiddenUrl => {
                Self::NoEndpoint
            }
        }
    }
}

impl fmt::Debug for HttpIntrospection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpIntrospection")
            .field("place", &self.place)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
