//! Signing keys in the console.

use std::time::Duration;

use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::visitor::Visitor;
use reqwest::Method;
use serde_json::json;

const KEYS: &str = "/admin/keys";
/// Of RFC 8410 §10.3, and nobody's.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";

async fn kids(issuer: &Issuer) -> Vec<String> {
    let answer = issuer.admin(Method::GET, "/api/keys", None).await.json();
    let keys = answer["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_key_is_rotated_retired_and_revoked() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let first = kids(&issuer).await.remove(0);
    let page = visitor.sees(KEYS).await;
    assert!(page.says(&first) && page.says("signing"));
    let pem = format!("{KEYS}/{first}/pem");
    let pem = visitor.asks(Method::GET, &pem, None).await;
    assert!(
        pem.text.starts_with("-----BEGIN PUBLIC KEY-----"),
        "{}",
        pem.text
    );

    let rotate = "/admin/keys/rotate";
    let page = visitor
        .submits(&page, rotate, &[("immediately", "on")])
        .await;
    assert!(page.says("The new key is published."), "{}", page.text);
    assert_eq!(kids(&issuer).await.len(), 2);

    let revoke = "/admin/keys/revoke";
    let refused = visitor
        .submits(&page, revoke, &[("revoked_kid", "nothing")])
        .await;
    assert_eq!(
        refused.text_of("revoked_kid-wrong"),
        "There is no key of that name"
    );
    let page = visitor
        .submits(&page, revoke, &[("revoked_kid", &first)])
        .await;
    assert!(page.says("The key was revoked"), "{}", page.text);
    assert!(!kids(&issuer).await.contains(&first));
}

#[tokio::test]
async fn what_is_no_key_is_not_imported_and_not_shown_again() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = visitor.sees(KEYS).await;
    let import = "/admin/keys/import";
    let fields = [("pem", "a private thing"), ("kid", "mine")];
    let page = visitor.submits(&page, import, &fields).await;
    assert_eq!(page.status, 422);
    assert!(!page.text_of("pem-wrong").is_empty());
    assert!(page.says("value=\"mine\"") && !page.says("a private thing"));
}

#[tokio::test]
async fn an_organization_with_an_issuer_of_its_own_has_keys_of_its_own() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let path = format!("{KEYS}/of/{organization}");
    let page = visitor.opens(&path).await;
    assert!(
        page.says("the organization has no jwt_issuer"),
        "{}",
        page.text
    );
    let change = json!({ "jwt_issuer": format!("{}/acme", issuer.base) });
    let api = format!("/api/organizations/{organization}");
    issuer.admin(Method::PATCH, &api, Some(change)).await;
    let page = visitor.sees(&path).await;
    let page = visitor.submits(&page, "/admin/keys/rotate", &[]).await;
    assert!(page.path.starts_with(&path), "{}", page.path);
    assert!(page.says("published"));
    assert_eq!(
        kids(&issuer).await.len(),
        1,
        "the server's keys are what they were"
    );
}

/// I19
#[tokio::test]
async fn a_key_is_imported_by_whoever_proves_its_password_only() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    clock.advance(Duration::from_secs(11 * 60));
    let page = visitor.sees(KEYS).await;
    let import = "/admin/keys/import";
    let fields = [("pem", PRIVATE_KEY), ("kid", "mine")];
    let page = visitor.submits(&page, import, &fields).await;
    assert_eq!(
        page.text_of("password-wrong"),
        "Your password is needed for this"
    );
    assert!(!kids(&issuer).await.contains(&"mine".to_owned()));
    let fields = [("pem", PRIVATE_KEY), ("kid", "mine"), ("password", ADMIN.1)];
    let page = visitor.submits(&page, import, &fields).await;
    assert!(page.says("The key was imported."), "{}", page.text);
    assert!(kids(&issuer).await.contains(&"mine".to_owned()));
}
