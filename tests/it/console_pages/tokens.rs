//! Tokens and the dashboard in the console.

use machineauth_tests::issuer::Issuer;
use machineauth_tests::visitor::Visitor;

const TOKENS: &str = "/admin/tokens";

#[tokio::test]
async fn a_token_is_decoded_verified_and_revoked() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["a"]).await;
    let (access, refresh) = issuer.tokens(&agent).await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = visitor.sees(TOKENS).await;
    let page = visitor.submits(&page, TOKENS, &[("token", &access)]).await;
    for said in [
        "This server signed it, and it can be used.",
        "\"alg\": \"RS256\"",
        "test agent",
    ] {
        assert!(page.says(said), "{said}: {}", page.text);
    }
    let page = visitor.submits(&page, "/admin/tokens/revoke", &[]).await;
    assert!(page.says("revoked"), "{}", page.text);
    assert_eq!(issuer.introspect(&access).await["active"], false);
    assert_eq!(issuer.introspect(&refresh).await["active"], true);
    let page = visitor.submits(&page, TOKENS, &[("token", &refresh)]).await;
    assert!(page.says("It is opaque") && page.says("active"));
}

#[tokio::test]
async fn what_is_none_of_ours_is_said_to_be_unknown() {
    let issuer = Issuer::start().await;
    let other = Issuer::start().await;
    let agent = other.agent(&["a"]).await;
    let (foreign, _) = other.tokens(&agent).await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = visitor.sees(TOKENS).await;
    for token in [foreign.as_str(), "nonsense", "a.b.c", "<script>"] {
        let page = visitor.submits(&page, TOKENS, &[("token", token)]).await;
        assert_eq!(page.status, 200);
        assert!(page.says("No key of this server has signed it"), "{token}");
    }
    let page = visitor.submits(&page, TOKENS, &[("token", " ")]).await;
    assert!(!page.text_of("token-wrong").is_empty());
}

#[tokio::test]
async fn a_test_token_is_issued_for_an_agent_in_the_name_of_the_administrator() {
    let issuer = Issuer::builder()
        .with("AUDIT_TOKEN_EVENTS", "each")
        .start()
        .await;
    let agent = issuer.agent(&["a", "b"]).await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = visitor
        .sees(&format!("{TOKENS}?agent_id={}", agent.id))
        .await;
    let test = "/admin/tokens/test";
    let fields = [("agent_id", agent.id.as_str()), ("scope", "a")];
    let page = visitor.submits(&page, test, &fields).await;
    let token = page.text_of("token-text");
    let said = issuer.introspect(&token).await;
    assert_eq!(
        (&said["active"], &said["scope"]),
        (&true.into(), &"a".into())
    );
    let audit = visitor.sees("/admin/audit?action=token.issued").await;
    assert!(
        audit.says("admin@example.com") && audit.says("trial"),
        "{}",
        audit.text
    );
    for (agent_id, scope, field) in [
        ("nobody", "", "agent_id-wrong"),
        (agent.id.as_str(), "c", "scope-wrong"),
    ] {
        let fields = [("agent_id", agent_id), ("scope", scope)];
        let page = visitor.submits(&page, test, &fields).await;
        assert_eq!(page.status, 422);
        assert!(!page.text_of(field).is_empty(), "{field}");
    }
}

#[tokio::test]
async fn the_dashboard_counts_what_happens() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["a"]).await;
    let mut access = String::new();
    for _ in 0..3 {
        access = issuer.tokens(&agent).await.0;
    }
    let (_, refresh) = issuer.tokens(&agent).await;
    assert_eq!(issuer.refresh(&agent, &refresh).await.status, 200);
    issuer.revoke(&access).await;
    let mut stranger = agent.clone();
    stranger.client_secret = "wrong".into();
    assert_eq!(issuer.token_answer(&stranger).await.status, 401);
    issuer.app.recorder.flush().await.unwrap();
    let mut visitor = Visitor::administrator(&issuer).await;
    for path in ["/admin", "/admin?span=week"] {
        let page = visitor.sees(path).await;
        for said in [
            "Issued: 4 in all",
            "Refreshed: 1 in all",
            "Revoked: 1 in all",
            "Refused: 1 in all",
        ] {
            assert!(page.says(said), "{path} {said}: {}", page.text);
        }
    }
}
