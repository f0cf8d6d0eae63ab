//! Discovery and keys: RFC 8414, RFC 7517.

use machineauth_tests::issuer::Issuer;
use serde_json::json;

#[tokio::test]
async fn both_metadata_documents_name_the_endpoints() {
    let issuer = Issuer::start().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let answer = issuer.get(path).await;
        let metadata = answer.json();
        assert_eq!(metadata["issuer"], issuer.base);
        assert_eq!(
            metadata["token_endpoint"],
            format!("{}/oauth/token", issuer.base)
        );
        assert_eq!(
            metadata["jwks_uri"],
            format!("{}/.well-known/jwks.json", issuer.base)
        );
        assert_eq!(
            metadata["introspection_endpoint"],
            format!("{}/oauth/introspect", issuer.base)
        );
        assert_eq!(
            metadata["revocation_endpoint"],
            format!("{}/oauth/revoke", issuer.base)
        );
        assert_eq!(
            metadata["grant_types_supported"],
            json!(["client_credentials", "refresh_token"])
        );
        assert!(
            metadata
                .as_object()
                .unwrap()
                .values()
                .all(|value| !value.is_null())
        );
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json")
        );
    }
}

#[tokio::test]
async fn the_key_set_holds_public_members_only() {
    for (algorithm, members) in [
        ("RS256", vec!["alg", "e", "kid", "kty", "n", "use"]),
        ("ES256", vec!["alg", "crv", "kid", "kty", "use", "x", "y"]),
        ("EdDSA", vec!["alg", "crv", "kid", "kty", "use", "x"]),
    ] {
        let issuer = Issuer::builder()
            .with("JWT_SIGNING_ALGORITHM", algorithm)
            .with("JWT_KEY_ID", "my-key")
            .start()
            .await;
        let answer = issuer.get("/.well-known/jwks.json").await;
        assert!(answer.header("cache-control").contains("max-age="));
        let keys = answer.json();
        let key = keys["keys"][0].as_object().unwrap();
        let mut names: Vec<_> = key.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, members);
        assert_eq!(
            (&key["kid"], &key["alg"], &key["use"]),
            (&json!("my-key"), &json!(algorithm), &json!("sig"))
        );
    }
}
