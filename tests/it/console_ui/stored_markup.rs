//! I19: whatever is stored, pages show it as text.

use machineauth_tests::issuer::ADMIN;
use serde_json::Value;

use super::{Desk, Session, Things, pages, sign_in};

/// Runs what it can, and ends a text area, a script, a comment and an attribute. As long as a name can be, and with enough of
/// it in what fits a tag.
const MARKUP: &str = "<img src=x onerror=\"window.owned=1\"></textarea></script>--><script>window.owned=1</script>'\"{{7*7}}<svg onload=owned=1>";

/// I19
#[tokio::test(flavor = "multi_thread")]
async fn markup_in_every_field_of_everything_is_text_on_every_page() {
    let desk = Desk::set("markup").await;
    let things = Things::create(&desk.issuer, MARKUP).await;
    let browser = &desk.browser;
    sign_in(browser, ADMIN).await;
    let mut seen = 0;
    for page in pages(&desk.issuer, &things).await {
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
    desk.close().await;
}

/// I19: what comes in a query or in a form ends up in a page as well.
#[tokio::test(flavor = "multi_thread")]
async fn markup_in_what_is_asked_for_is_text() {
    let desk = Desk::signed_in("markup_asked").await;
    let browser = &desk.browser;
    let encoded: String = MARKUP.bytes().map(|byte| format!("%{byte:02X}")).collect();
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
    browser.fill("Token", MARKUP).await;
    browser.press("Look").await;
    browser.sees("not ours").await;
    assert_eq!(browser.count("img[onerror], svg[onload]").await, 0);
    // A session that was made before goes on after all this.
    Session::begin(&desk.issuer, ADMIN).await;
    desk.close().await;
}
