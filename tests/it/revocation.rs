//! `POST /oauth/revoke`: RFC 7009.

use machineauth_tests::issuer::Issuer;

#[tokio::test]
async fn a_revoked_token_is_inactive_and_its_siblings_are_not() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (revoked, _) = issuer.tokens(&agent).await;
    let (sibling, _) = issuer.tokens(&agent).await;
    issuer.revoke(&revoked).await;
    assert_eq!(issuer.introspect(&revoked).await["active"], false);
    assert_eq!(issuer.introspect(&sibling).await["active"], true);
    assert_eq!(issuer.get("/metrics").await.json()["tokens_revoked"], 1);
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_its_access_tokens_too() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (access, refresh_token) = issuer.tokens(&agent).await;
    issuer.revoke(&refresh_token).await;
    assert_eq!(issuer.introspect(&access).await["active"], false);
    issuer
        .refresh(&agent, &refresh_token)
        .await
        .expect_error(400, "invalid_grant");
}

/// I14
#[tokio::test]
async fn a_wrong_hint_an_unknown_token_and_a_repetition_are_no_errors() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (access, refresh_token) = issuer.tokens(&agent).await;
    for (token, hint) in [
        (access.as_str(), "refresh_token"),
        (&refresh_token, "access_token"),
        (&access, "id_token"),
        ("unknown", "access_token"),
    ] {
        let answer = issuer
            .post(
                "/oauth/revoke",
                &[("token", token), ("token_type_hint", hint)],
            )
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.str("status").as_str()),
            (200, "revoked"),
            "{hint}"
        );
    }
    assert_eq!(issuer.introspect(&access).await["active"], false);
    assert_eq!(issuer.introspect(&refresh_token).await["active"], false);
    assert_eq!(
        issuer.get("/metrics").await.json()["tokens_revoked"],
        2,
        "a repetition counts once"
    );
    issuer
        .post("/oauth/revoke", &[])
        .await
        .expect_error(400, "invalid_request");
}

/// I14
#[tokio::test]
async fn a_client_that_authenticates_revokes_only_its_own_tokens() {
    let issuer = Issuer::builder()
        .with("INTROSPECTION_AUTH", "required")
        .start()
        .await;
    let (owner, other) = (
        issuer.agent(&["tokens:introspect"]).await,
        issuer.agent(&["read"]).await,
    );
    let (token, _) = issuer.tokens(&owner).await;
    issuer
        .post("/oauth/revoke", &[("token", &token)])
        .await
        .expect_error(401, "invalid_client");
    issuer
        .post("/oauth/revoke", &other.form(&[("token", &token)]))
        .await
        .expect_error(400, "unauthorized_client");
    let active = async || {
        issuer
            .post("/oauth/introspect", &owner.form(&[("token", &token)]))
            .await
            .json()["active"]
            == true
    };
    assert!(active().await);
    assert_eq!(
        issuer
            .post("/oauth/revoke", &owner.form(&[("token", &token)]))
            .await
            .status,
        200
    );
    assert!(!active().await);
}
