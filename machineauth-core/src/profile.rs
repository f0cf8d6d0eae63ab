//! Where other issuers put scopes, roles and client ids.

use serde_json::{Map, Value};

use crate::claims::Claims;
use crate::error::{ClaimName, Error, ErrorKind};
use crate::scope::{Scope, ScopeSet};

/// How an issuer writes access tokens. Whatever it calls them, [`Claims`] has scopes in `scope` and the client in
/// `client_id`; the claims themselves stay in `extra` as they came.
///
/// Roles and groups become scopes too, with `role:` or `group:` before them so that none passes for a scope; one whose
/// name is no scope (RFC 6749 §3.3), as with a space in it, is left out. A [policy](crate::Policy) asks for
/// `role:editor` like for any other scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProfile {
    /// `scope` (RFC 8693 §4.2, or an array) and `client_id`: machineauth, and whoever follows RFC 9068.
    #[default]
    Standard,
    /// Auth0: the client in `azp`, scopes in `scope`, and the permissions of its role-based access control, which are
    /// named like scopes, in `permissions`.
    Auth0,
    /// Keycloak: the client in `azp`; `realm_access.roles` becomes `role:NAME`, `resource_access.CLIENT.roles`
    /// `role:CLIENT:NAME`. Only tokens whose claim `typ` is `Bearer` are access tokens.
    Keycloak,
    /// Microsoft Entra ID, tokens of version 1 and 2: the client in `azp` or `appid`, which an ID token lacks; delegated
    /// permissions in `scp` are scopes, application permissions and app roles in `roles` become `role:NAME`.
    EntraId,
    /// Okta: the client in `cid`, which an ID token lacks; scopes in `scp`; `groups`, where the server adds them, become
    /// `group:NAME`.
    Okta,
    /// Amazon Cognito: only tokens with `token_use` `access`. They say whom they are for in `client_id` instead of
    /// `aud`: the verifier's audience is the id of the app client. `cognito:groups` becomes `group:NAME`.
    Cognito,
}

impl TokenProfile {
    /// Reads a token's payload as [`Claims::parse`] does, and finds what the profile says.
    ///
    /// # Errors
    /// As [`Claims::parse`]; [`ErrorKind::InvalidType`] for a token that the issuer did not mean for access.
    pub fn read(self, payload: &[u8]) -> Result<Claims, Error> {
        match self {
            Self::Standard => Claims::parse(payload),
            Self::Auth0 => Self::auth0(Claims::parse(payload)?),
            Self::Keycloak => Self::keycloak(Claims::parse(payload)?),
            Self::EntraId => Self::entra_id(Claims::parse(payload)?),
            Self::Okta => Self::okta(Claims::parse(payload)?),
            Self::Cognito => Self::cognito(Claims::parse_for_client(payload)?),
        }
    }

    fn auth0(mut claims: Claims) -> Result<Claims, Error> {
        let permissions = words(claims.extra.get("permissions"), "")?;
        grant(&mut claims, permissions);
        name_client(&mut claims, "azp")?;
        Ok(claims)
    }

    fn keycloak(mut claims: Claims) -> Result<Claims, Error> {
        require(&claims, "typ", "Bearer")?;
        let roles = |holder: &Value, prefix: &str| words(holder.get("roles"), prefix);
        if let Some(realm) = claims.extra.get("realm_access") {
            let realm = roles(realm, "role:")?;
            grant(&mut claims, realm);
        }
        let resources = claims
            .extra
            .get("resource_access")
            .and_then(Value::as_object);
        let of_resource =
            |(client, holder): (&String, &Value)| roles(holder, &format!("role:{client}:"));
        let of_resources: Result<Vec<_>, _> = resources
            .into_iter()
            .flat_map(Map::iter)
            .map(of_resource)
            .collect();
        of_resources?
            .into_iter()
            .for_each(|roles| grant(&mut claims, roles));
        name_client(&mut claims, "azp")?;
        Ok(claims)
    }

    fn entra_id(mut claims: Claims) -> Result<Claims, Error> {
        let client = ["azp", "appid"]
            .into_iter()
            .find(|claim| claims.extra.contains_key(*claim));
        let client = client.ok_or(not_for_access())?;
        let delegated = words(claims.extra.get("scp"), "")?;
        let roles = words(claims.extra.get("roles"), "role:")?;
        grant(&mut claims, delegated);
        grant(&mut claims, roles);
        name_client(&mut claims, client)?;
        Ok(claims)
    }

    fn okta(mut claims: Claims) -> Result<Claims, Error> {
        if !claims.extra.contains_key("cid") {
            return Err(not_for_access());
        }
        let scopes = words(claims.extra.get("scp"), "")?;
        let groups = words(claims.extra.get("groups"), "group:")?;
        grant(&mut claims, scopes);
        grant(&mut claims, groups);
        name_client(&mut claims, "cid")?;
        Ok(claims)
    }

    fn cognito(mut claims: Claims) -> Result<Claims, Error> {
        require(&claims, "token_use", "access")?;
        let groups = words(claims.extra.get("cognito:groups"), "group:")?;
        grant(&mut claims, groups);
        Ok(claims)
    }
}

/// The claim must be there, and say exactly this.
fn require(claims: &Claims, claim: &str, value: &str) -> Result<(), Error> {
    match claims.extra.get(claim) {
        Some(Value::String(own)) if own == value => Ok(()),
        _ => Err(not_for_access()),
    }
}

fn not_for_access() -> Error {
    Error::because(
        ErrorKind::InvalidType,
        "its issuer did not mean it for access",
    )
}

fn grant(claims: &mut Claims, more: Vec<Scope>) {
    if !more.is_empty() {
        claims.scope = claims
            .scope
            .iter()
            .cloned()
            .chain(more)
            .collect::<ScopeSet>();
    }
}

/// The claim `client_id`, where an issuer writes both, is not overruled.
fn name_client(claims: &mut Claims, claim: &str) -> Result<(), Error> {
    match claims.extra.get(claim) {
        None => Ok(()),
        Some(Value::String(client)) if !client.is_empty() => {
            claims.client_id.get_or_insert_with(|| client.clone());
            Ok(())
        }
        Some(_) => Err(ErrorKind::InvalidClaim(ClaimName::ClientId).into()),
    }
}

/// A space-delimited string, or an array of strings, each with `prefix` before it.
fn words(value: Option<&Value>, prefix: &str) -> Result<Vec<Scope>, Error> {
    let scope = |word: &str| Scope::try_from(format!("{prefix}{word}").as_str()).ok();
    let invalid = || Error::from(ErrorKind::InvalidClaim(ClaimName::Scope));
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => {
            let words = text.split(' ').filter(|word| !word.is_empty());
            Ok(words.filter_map(scope).collect())
        }
        Some(Value::Array(items)) => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let words = words
                .ok_or_else(invalid)?
                .into_iter()
                .filter(|word| !word.is_empty());
            Ok(words.filter_map(scope).collect())
        }
        Some(_) => Err(invalid()),
    }
}
