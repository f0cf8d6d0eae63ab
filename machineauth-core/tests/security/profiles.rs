//! Tokens as other issuers write them, from their documentation.

use machineauth_core::{ClaimName, ErrorKind, ScopeSet, TokenProfile, Verifier};
use serde_json::{Value, json};

use crate::support::*;

fn verifier_for(profile: TokenProfile, audience: &str) -> Verifier {
    let keys = machineauth_core::KeySet::from_jwks([KEY.public_jwk(KID)]);
    Verifier::builder(ISSUER, audience)
        .profile(profile)
        .keys(keys)
        .clock(std::sync::Arc::new(clock()))
        .build()
        .unwrap()
}

fn token(claims: Value) -> String {
    let mut all = object(json!({ "iss": ISSUER, "exp": NOW + 3600, "iat": NOW }));
    all.extend(object(claims));
    signed_by(&KEY, good_header(), Value::Object(all).to_string())
}

struct Expected {
    client: &'static str,
    scopes: &'static str,
}

fn accepted(profile: TokenProfile, audience: &str, claims: Value, expected: &Expected) {
    let agent = verifier_for(profile, audience)
        .check(&token(claims))
        .unwrap();
    assert_eq!(agent.client_id(), expected.client);
    let scopes: ScopeSet = expected.scopes.parse().unwrap();
    assert_eq!(*agent.scopes(), scopes);
}

#[test]
fn auth0_names_the_client_in_azp_and_grants_permissions() {
    let claims = json!({
        "sub": "wW1aB2@clients", "aud": ["https://api.example.com", "https://tenant.auth0.com/userinfo"],
        "azp": "wW1aB2", "scope": "read:files", "gty": "client-credentials", "permissions": ["read:files", "write:files"],
    });
    let expected = Expected {
        client: "wW1aB2",
        scopes: "read:files write:files",
    };
    accepted(TokenProfile::Auth0, AUDIENCE, claims, &expected);
}

#[test]
fn keycloak_has_roles_of_the_realm_and_of_each_client() {
    let claims = json!({
        "sub": "service-account", "aud": [AUDIENCE, "account"], "typ": "Bearer", "azp": "loader",
        "scope": "email profile", "realm_access": {"roles": ["offline_access", "has space"]},
        "resource_access": {"files": {"roles": ["editor"]}, "account": {"roles": ["view-profile"]}},
    });
    let scopes = "email profile role:offline_access role:account:view-profile role:files:editor";
    let expected = Expected {
        client: "loader",
        scopes,
    };
    accepted(TokenProfile::Keycloak, AUDIENCE, claims, &expected);
}

#[test]
fn entra_id_has_delegated_permissions_and_roles_in_both_versions() {
    let v2 = json!({
        "sub": "b1", "aud": "6e74172b", "ver": "2.0", "azp": "43537c0b", "azpacr": "1", "oid": "b1", "tid": "t1",
        "roles": ["Files.Read.All"],
    });
    let expected = Expected {
        client: "43537c0b",
        scopes: "role:Files.Read.All",
    };
    accepted(TokenProfile::EntraId, "6e74172b", v2, &expected);
    let v1 = json!({
        "sub": "b1", "aud": "api://files", "ver": "1.0", "appid": "43537c0b", "appidacr": "1", "scp": "Files.Read Files.Write",
    });
    let expected = Expected {
        client: "43537c0b",
        scopes: "Files.Read Files.Write",
    };
    accepted(TokenProfile::EntraId, "api://files", v1, &expected);
}

#[test]
fn okta_has_scp_and_cid() {
    let claims = json!({
        "ver": 1, "jti": "AT.x", "sub": "0oaf", "aud": "api://default", "cid": "0oaf", "scp": ["files.read", "files.write"],
        "groups": ["Everyone"],
    });
    let expected = Expected {
        client: "0oaf",
        scopes: "files.read files.write group:Everyone",
    };
    accepted(TokenProfile::Okta, "api://default", claims, &expected);
}

#[test]
fn cognito_has_no_audience_but_the_client() {
    let claims = json!({
        "sub": "1example23456789", "token_use": "access", "scope": "files/read", "auth_time": NOW, "version": 2,
        "jti": "j", "client_id": "1example23456789", "cognito:groups": ["admins"],
    });
    let expected = Expected {
        client: "1example23456789",
        scopes: "files/read group:admins",
    };
    accepted(
        TokenProfile::Cognito,
        "1example23456789",
        claims.clone(),
        &expected,
    );
    let refused = refusal(
        &verifier_for(TokenProfile::Cognito, "another-client"),
        &token(claims),
    );
    assert_eq!(refused, Some(ErrorKind::WrongAudience));
}

/// V14
#[test]
fn tokens_that_their_issuer_did_not_mean_for_access_are_refused() {
    let claims = |more: Value| {
        let mut all = object(json!({"sub": "s", "aud": AUDIENCE, "client_id": AUDIENCE}));
        all.extend(object(more));
        token(Value::Object(all))
    };
    for (profile, more) in [
        (TokenProfile::Keycloak, json!({"typ": "ID", "azp": "a"})),
        (
            TokenProfile::Keycloak,
            json!({"typ": "Refresh", "azp": "a"}),
        ),
        (TokenProfile::Keycloak, json!({"azp": "a"})),
        (
            TokenProfile::EntraId,
            json!({"roles": ["admin"], "preferred_username": "x"}),
        ),
        (TokenProfile::Okta, json!({"ver": 1, "amr": ["pwd"]})),
        (TokenProfile::Cognito, json!({"token_use": "id"})),
        (TokenProfile::Cognito, json!({})),
    ] {
        let token = claims(more.clone());
        let kind = refusal(&verifier_for(profile, AUDIENCE), &token);
        assert_eq!(kind, Some(ErrorKind::InvalidType), "{profile:?} {more}");
    }
}

/// V3
#[test]
fn claims_of_the_wrong_type_are_refused_in_every_profile() {
    use ClaimName::{ClientId, Scope};
    for (profile, more, claim) in [
        (
            TokenProfile::Auth0,
            json!({"permissions": "a b", "azp": 1}),
            ClientId,
        ),
        (TokenProfile::Auth0, json!({"permissions": {"a": 1}}), Scope),
        (TokenProfile::Auth0, json!({"permissions": [1]}), Scope),
        (
            TokenProfile::Keycloak,
            json!({"typ": "Bearer", "realm_access": {"roles": 1}}),
            Scope,
        ),
        (
            TokenProfile::Keycloak,
            json!({"typ": "Bearer", "resource_access": {"x": {"roles": null}}}),
            Scope,
        ),
        (TokenProfile::EntraId, json!({"azp": ""}), ClientId),
        (TokenProfile::EntraId, json!({"azp": "a", "scp": 1}), Scope),
        (TokenProfile::Okta, json!({"cid": []}), ClientId),
        (TokenProfile::Okta, json!({"cid": "a", "scp": true}), Scope),
    ] {
        let mut all = object(json!({"sub": "s", "aud": AUDIENCE}));
        all.extend(object(more.clone()));
        let kind = refusal(&verifier_for(profile, AUDIENCE), &token(Value::Object(all)));
        assert_eq!(
            kind,
            Some(ErrorKind::InvalidClaim(claim)),
            "{profile:?} {more}"
        );
    }
}

/// A role never passes for a scope.
#[test]
fn a_role_named_like_a_scope_does_not_grant_it() {
    let claims = json!({"sub": "s", "aud": AUDIENCE, "azp": "a", "roles": ["read", "scope:x"]});
    let agent = verifier_for(TokenProfile::EntraId, AUDIENCE)
        .check(&token(claims))
        .unwrap();
    assert!(!agent.has_scope("read"));
    assert!(agent.has_scope("role:read"));
}

#[test]
fn several_audiences_may_be_ours() {
    let keys = machineauth_core::KeySet::from_jwks([KEY.public_jwk(KID)]);
    let verifier = Verifier::builder(ISSUER, "api://files")
        .or_audience("6e74172b")
        .keys(keys)
        .clock(std::sync::Arc::new(clock()))
        .build()
        .unwrap();
    for (audience, kind) in [
        ("api://files", None),
        ("6e74172b", None),
        ("other", Some(ErrorKind::WrongAudience)),
    ] {
        let token = token_with_claims(claims_with(json!({ "aud": audience })));
        assert_eq!(refusal(&verifier, &token), kind);
    }
}
