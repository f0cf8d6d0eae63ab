//! I19: whatever is stored, pages show it as text.

use machineauth_tests::console::Furniture;
use machineauth_tests::inscription::Inscription;
use machineauth_tests::issuer::ADMIN;
use machineauth_tests::receiver::{Receiver, Reply};
use machineauth_tests::visitor::Visitor;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Desk, sign_in};

/// Runs what it can, and ends a text area, a script, a comment and an attribute.
const MARKUP: Inscription<'_> = Inscription {
    text: "<img src=x onerror=\"window.owned=1\"></textarea></script>--><script>window.owned=1</script>'\"{{7*7}}<svg onload=owned=1>",
    word: "<svg/onload=window.owned=1>",
};
/// What is a text, or holds some, and takes no markup.
const WITHOUT: [&str; 15] = [
    "/api/agents/{id} organization_id",
    "/api/agents/{id} public_key",
    "/api/agents/{id} team_id",
    "/api/organizations/{organization_id} allowed_origins",
    "/api/organizations/{organization_id} jwt_issuer",
    "/api/organizations/{organization_id} owner_email",
    "/api/organizations/{organization_id} slug",
    "/api/organizations/{organization_id}/api-keys scopes",
    "/api/organizations/{organization_id}/api-keys team_id",
    "/api/webhooks/{webhook_id} events",
    "/api/webhooks/{webhook_id} organization_id",
    "/api/webhooks/{webhook_id} team_id",
    "/api/webhooks/{webhook_id}/test event",
    "/v1/organizations/{organization_id}/machine-clients dockId",
    "/v1/organizations/{organization_id}/machine-clients partyId",
];

/// An issuer that shows on its pages what strangers sent: a receiver's answer, a browser's name.
async fn visited(desk: &Desk, furniture: &Furniture) {
    let reply = || Reply {
        body: MARKUP.text,
        ..Reply::status(500)
    };
    let receiver = Receiver::that(move |_| reply()).await;
    let webhook = furniture.path("/api/webhooks/{webhook}");
    let there = Some(json!({ "url": receiver.url }));
    desk.issuer.admin(Method::PATCH, &webhook, there).await;
    let test = format!("{webhook}/test");
    let tested = desk
        .issuer
        .admin(Method::POST, &test, Some(json!({})))
        .await;
    assert!(tested.text.contains("owned=1"), "{}", tested.text);
    let mut visitor = Visitor::new(&desk.issuer);
    visitor.headers = vec![("user-agent", MARKUP.text.to_owned())];
    visitor.signs_in(ADMIN.0, ADMIN.1).await;
}

/// I19
#[tokio::test(flavor = "multi_thread")]
async fn markup_in_every_field_of_everything_is_text_on_every_page() {
    let desk = Desk::set("markup").await;
    let furniture = Furniture::create(&desk.issuer, "thing").await;
    let without = MARKUP.write(&desk.issuer, &furniture).await;
    visited(&desk, &furniture).await;
    let browser = &desk.browser;
    sign_in(browser, ADMIN).await;
    let mut seen = 0;
    for page in furniture.pages(&desk.issuer).await {
        browser.open(&page).await;
        let owned = browser
            .script("return window.owned === undefined", &[])
            .await;
        assert_eq!(owned, Value::Bool(true), "{page} ran it");
        assert_eq!(
            browser.count("img[onerror], svg[onload]").await,
            0,
            "{page}"
        );
        let inline = "script:not([src]), style, [style], [onclick], [onload], [onsubmit]";
        assert_eq!(browser.count(inline).await, 0, "{page}: nothing is inline");
        let source = browser
            .script("return document.documentElement.innerText", &[])
            .await;
        seen += usize::from(source.as_str().unwrap().contains("window.owned=1"));
        let complaints = browser.complaints().await;
        let complaints: Vec<_> = complaints
            .iter()
            // Some pages say that there is nothing, or nothing to show.
            .filter(|complaint| {
                !complaint
                    .contains("Failed to load resource: the server responded with a status of 4")
            })
            .collect();
        assert!(complaints.is_empty(), "{page}: {complaints:?}");
    }
    assert!(seen > 8, "it was to be seen on {seen} pages only");
    assert_eq!(without, WITHOUT);
    desk.close().await;
}

/// I19: what comes in a query or in a form ends up in a page as well.
#[tokio::test(flavor = "multi_thread")]
async fn markup_in_what_is_asked_for_is_text() {
    let desk = Desk::signed_in("markup_asked").await;
    let browser = &desk.browser;
    let encoded: String = MARKUP
        .text
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    for path in [
        format!(
            "/admin/agents?q={encoded}&organization_id={encoded}&sort={encoded}&after={encoded}"
        ),
        format!("/admin/audit?q={encoded}&action={encoded}&from={encoded}&cursor={encoded}"),
        format!("/admin/tokens?agent_id={encoded}"),
        format!("/admin/agents?done={encoded}"),
        format!("/admin/agents/{encoded}"),
        format!("/admin/sign-in?next={encoded}"),
    ] {
        browser.open(&path).await;
        let owned = browser
            .script("return window.owned === undefined", &[])
            .await;
        assert_eq!(owned, Value::Bool(true), "{path} ran it");
        assert_eq!(
            browser.count("img[onerror], svg[onload]").await,
            0,
            "{path}"
        );
    }
    browser.open("/admin/tokens").await;
    browser.fill("Token", MARKUP.text).await;
    browser.press("Look").await;
    browser.sees("not ours").await;
    assert_eq!(browser.count("img[onerror], svg[onload]").await, 0);
    desk.close().await;
}
