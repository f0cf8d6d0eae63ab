//! Organizations, teams, API keys and machine clients in the console.

use machineauth_tests::issuer::Issuer;
use machineauth_tests::visitor::Visitor;
use reqwest::Method;

const NEW: &str = "/admin/organizations/new";

#[tokio::test]
async fn an_organization_lives_from_its_creation_to_its_end() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    assert!(
        visitor
            .sees("/admin/organizations")
            .await
            .says("No organizations yet")
    );
    let page = visitor.sees(NEW).await;
    let fields = [("name", "Acme"), ("slug", "Not a slug")];
    let page = visitor.submits(&page, NEW, &fields).await;
    assert_eq!(page.status, 422);
    assert!(page.text_of("slug-wrong").starts_with("1 to 63"));
    let fields = [("name", "Acme"), ("slug", "acme")];
    let page = visitor.submits(&page, NEW, &fields).await;
    assert!(page.says("The organization was created."), "{}", page.text);
    let path = page.path.split('?').next().unwrap().to_owned();

    let edit = format!("{path}/edit");
    let page = visitor.sees(&edit).await;
    let fields = [
        ("name", "Acme Ltd"),
        ("slug", "acme"),
        ("plan", "pro"),
        ("jwt_expiry_secs", "120"),
        ("allowed_origins", "https://a.example\r\nhttps://b.example"),
    ];
    let page = visitor.submits(&page, &edit, &fields).await;
    for said in ["Acme Ltd", "pro", "2 minutes", "https://b.example"] {
        assert!(page.says(said), "{said}: {}", page.text);
    }

    let delete = format!("{path}/delete");
    let refused = visitor
        .submits(&page, &delete, &[("confirmation", "Acme Ltd")])
        .await;
    assert_eq!(refused.status, 422);
    let page = visitor
        .submits(&refused, &delete, &[("confirmation", "acme")])
        .await;
    assert!(page.says("The organization was deleted"));
    assert_eq!(visitor.opens(&path).await.status, 404);
}

#[tokio::test]
async fn teams_are_created_renamed_and_deleted_once_they_are_empty() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let path = format!("/admin/organizations/{organization}");
    let mut visitor = Visitor::administrator(&issuer).await;
    let new = format!("{path}/teams/new");
    let page = visitor.sees(&new).await;
    let page = visitor.submits(&page, &new, &[("name", "")]).await;
    assert!(!page.text_of("name-wrong").is_empty());
    let page = visitor.submits(&page, &new, &[("name", "Ships")]).await;
    assert!(page.says("The team was created.") && page.says("Ships"));
    let links = page.links();
    let edit = links
        .iter()
        .find(|link| link.contains("/teams/") && link.ends_with("/edit"));
    let edit = edit.unwrap().clone();
    let page = visitor.sees(&edit).await;
    let fields = [("name", "Trucks"), ("description", "on roads")];
    let page = visitor.submits(&page, &edit, &fields).await;
    assert!(page.says("Trucks") && page.says("on roads") && !page.says("Ships"));

    let team = edit.split('/').nth(5).unwrap().to_owned();
    let new_agent = "/admin/agents/new";
    let page = visitor.sees(new_agent).await;
    let fields = [
        ("name", "Driver"),
        ("organization_id", organization.as_str()),
        ("team_id", team.as_str()),
    ];
    assert_eq!(visitor.submits(&page, new_agent, &fields).await.status, 201);
    let delete = edit.replace("/edit", "/delete");
    let page = visitor.sees(&edit).await;
    let refused = visitor.submits(&page, &delete, &[]).await;
    assert!(refused.says("The team has agents"), "{}", refused.text);
    assert!(refused.says("Trucks"));
}

#[tokio::test]
async fn an_api_key_is_shown_once_works_and_is_revoked() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let path = format!("/admin/organizations/{organization}");
    let mut visitor = Visitor::administrator(&issuer).await;
    let new = format!("{path}/api-keys/new");
    let page = visitor.sees(&new).await;
    let refused = visitor.submits(&page, &new, &[("name", "Terraform")]).await;
    assert!(refused.says("At least one of admin"), "{}", refused.text);
    let fields = [
        ("name", "Terraform"),
        ("scopes", "admin"),
        ("expires_in", "2592000"),
    ];
    let page = visitor.submits(&page, &new, &fields).await;
    let key = page.text_of("secret");
    let agents = format!("/api/organizations/{organization}/agents");
    assert_eq!(
        issuer.bearer(&key, Method::GET, &agents, None).await.status,
        200
    );
    let page = visitor.sees(&path).await;
    assert!(page.says("Terraform") && !page.says(&key));
    let forms = page.forms();
    let revoke = forms.iter().find(|form| form.action.ends_with("/revoke"));
    let page = visitor.submits(&page, &revoke.unwrap().action, &[]).await;
    assert!(page.says("The API key was revoked."));
    assert_eq!(
        issuer.bearer(&key, Method::GET, &agents, None).await.status,
        401
    );
}

#[tokio::test]
async fn a_machine_client_is_created_for_one_dock() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let new = format!("/admin/agents/new?kind=machine&organization_id={organization}");
    let page = visitor.sees(&new).await;
    let action = "/admin/agents/new";
    let fields = [
        ("name", "Crane"),
        ("organization_id", organization.as_str()),
        ("dock_id", "dock-7"),
        ("scopes", "artifacts:read"),
        ("token_format", "opaque"),
    ];
    let page = visitor.submits(&page, action, &fields).await;
    assert_eq!(page.status, 201, "{}", page.text);
    let (id, secret) = (page.text_of("client-id"), page.text_of("client-secret"));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id.as_str()),
        ("client_secret", secret.as_str()),
    ];
    let answer = issuer.post("/v1/oauth/token", &form).await;
    assert!(
        answer.str("access_token").starts_with("dyt_"),
        "{}",
        answer.text
    );
    let page = visitor
        .sees(&format!("/admin/organizations/{organization}"))
        .await;
    assert!(page.says("Crane") && page.says("dock-7"));
}
