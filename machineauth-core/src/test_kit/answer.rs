//! What the endpoints answer when nothing goes wrong.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::server::{Answer, whole};
use super::{State, TokenBuilder, lock};
use crate::claims::Claims;
use crate::clock::{Clock as _, Timestamp};

const SIGNED: &str = "application/token-introspection+jwt";

pub(super) fn metadata(state: &State) -> String {
    let at = |path: &str| format!("{}{path}", state.url);
    json!({
        "issuer": state.url,
        "jwks_uri": at("/.well-known/jwks.json"),
        "token_endpoint": at("/oauth/token"),
        "introspection_endpoint": at("/oauth/introspect"),
        "revocation_feed": at("/oauth/revocations"),
    })
    .to_string()
}

/// The client credentials grant (RFC 6749 §4.4).
pub(super) fn token(state: &std::sync::Arc<State>, headers: &HeaderMap, body: &[u8]) -> Answer {
    let form = form(body);
    if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
        return refusal(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    let Some(client) = client(state, headers, &form) else {
        return refusal(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    let life = *lock(&state.token_life);
    let mut token = TokenBuilder::new(std::sync::Arc::clone(state))
        .agent(&client)
        .claim("client_id", client)
        .expires_in(life);
    if let Some(audience) = form.get("resource").or(form.get("audience")) {
        token = token.audience(audience);
    }
    let scope = form.get("scope").map_or("", String::as_str);
    let answer = json!({
        "access_token": token.scope(scope).sign(),
        "token_type": "Bearer",
        "expires_in": life.as_secs(),
        "scope": scope,
    });
    whole("application/json", answer.to_string())
}

/// RFC 7662, and RFC 9701 for who prefers it.
pub(super) fn introspection(
    state: &std::sync::Arc<State>,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let form = form(body);
    let Some(client) = client(state, headers, &form) else {
        return refusal(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    let claims = form.get("token").and_then(|token| state.claims_of(token));
    let answer = claims
        .filter(|claims| is_active(state, claims))
        .map_or(json!({"active": false}), |claims| describe(&claims));
    if headers.get(ACCEPT).is_none_or(|accept| accept != SIGNED) {
        return whole("application/json", answer.to_string());
    }
    let signed = TokenBuilder::new(std::sync::Arc::clone(state))
        .header("typ", "token-introspection+jwt")
        .audience(&client)
        .without("sub")
        .without("exp")
        .claim("token_introspection", answer);
    whole(SIGNED, signed.sign())
}

fn is_active(state: &State, claims: &Claims) -> bool {
    state.clock.now() < Timestamp::from_secs(claims.expires_at)
        && !lock(&state.revoked).set.hit(claims, None)
}

fn describe(claims: &Claims) -> Value {
    let mut answer = json!({
        "active": true,
        "token_type": "Bearer",
        "iss": claims.issuer,
        "sub": claims.subject,
        "aud": claims.audience.iter().collect::<Vec<_>>(),
        "exp": claims.expires_at,
        "scope": claims.scope.to_string(),
    });
    let members = answer.as_object_mut().expect("it was made as one");
    let texts = [
        ("jti", &claims.jwt_id),
        ("client_id", &claims.client_id),
        ("agent_id", &claims.agent_id),
        ("org_id", &claims.organization_id),
        ("team_id", &claims.team_id),
        ("fid", &claims.family_id),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            members.insert(name.to_owned(), value.as_str().into());
        }
    }
    for (name, value) in [("iat", claims.issued_at), ("gen", claims.generation)] {
        if let Some(value) = value {
            members.insert(name.to_owned(), value.into());
        }
    }
    members.extend(claims.extra.clone());
    answer
}

/// The client, by Basic or by the body. Where none is known, everybody is whoever it says.
fn client(state: &State, headers: &HeaderMap, form: &HashMap<String, String>) -> Option<String> {
    let (id, secret) = basic(headers).or_else(|| {
        let secret = form.get("client_secret")?;
        Some((form.get("client_id")?.clone(), secret.clone()))
    })?;
    let clients = lock(&state.clients);
    (clients.is_empty() || clients.get(&id) == Some(&secret)).then_some(id)
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let pair = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

fn form(body: &[u8]) -> HashMap<String, String> {
    let body = String::from_utf8_lossy(body);
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// Undoes `application/x-www-form-urlencoded`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refusal(status: StatusCode, error: &str) -> Answer {
    let mut response = whole("application/json", json!({ "error": error }).to_string());
    *response.status_mut() = status;
    response
}
