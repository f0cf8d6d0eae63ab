//! Everything can be done without a mouse, and one always sees where one is.

use machineauth_tests::browser::{Browser, Key};
use machineauth_tests::issuer::ADMIN;
use serde_json::Value;

use super::Desk;

/// What has the focus: its visible text or its label.
async fn focused(browser: &Browser) -> String {
    let name = "const at = document.activeElement;
        const label = at.labels && at.labels[0];
        return (label ? label.firstChild.textContent : at.getAttribute('aria-label') || at.innerText || '').trim()";
    browser
        .script(name, &[])
        .await
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Whether whoever looks sees where the focus is.
async fn is_visible(browser: &Browser) -> bool {
    let ring = "const style = getComputedStyle(document.activeElement);
        const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
        return outline || style.boxShadow !== 'none'";
    browser.script(ring, &[]).await == Value::Bool(true)
}

/// Goes on with the tabulator until what is called `name` has the focus.
async fn tab_to(browser: &Browser, name: &str) {
    for _ in 0..80 {
        browser.key(Key::Tab).await;
        let now = focused(browser).await;
        assert!(
            is_visible(browser).await,
            "nobody sees the focus on {now:?}"
        );
        if now == name {
            return;
        }
    }
    panic!(
        "the tabulator does not lead to {name:?}, at {}",
        browser.path().await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_created_and_deactivated_with_keys_alone() {
    let desk = Desk::set("keyboard").await;
    let browser = &desk.browser;
    browser.open("/admin").await;
    browser.sees("E-mail address").await;
    assert_eq!(
        focused(browser).await,
        "E-mail address",
        "one can type at once"
    );
    browser.types(ADMIN.0).await;
    tab_to(browser, "Password").await;
    browser.types(ADMIN.1).await;
    browser.key(Key::Enter).await;
    browser.sees("Dashboard").await;

    browser.key(Key::Tab).await;
    assert_eq!(focused(browser).await, "Skip to the content");
    browser.picture("skip").await;
    browser.key(Key::Enter).await;
    let place = browser
        .script("return document.activeElement.id", &[])
        .await;
    assert_eq!(place, "main", "what comes next is in the content");

    browser.open("/admin").await;
    tab_to(browser, "Agents").await;
    browser.picture("focus").await;
    browser.key(Key::Enter).await;
    browser.sees("No agents yet").await;
    tab_to(browser, "New agent").await;
    browser.key(Key::Enter).await;
    browser.sees("Create and show the secret").await;
    tab_to(browser, "Name").await;
    browser.types("typed").await;
    tab_to(browser, "Create and show the secret").await;
    browser.key(Key::Enter).await;
    browser.sees("typed was created").await;
    tab_to(browser, "I have kept it").await;
    browser.key(Key::Enter).await;
    browser.sees("active").await;
    tab_to(browser, "Deactivate").await;
    browser.key(Key::Enter).await;
    browser.sees("The agent was deactivated").await;
    desk.close().await;
}
