//! Nobody is shut out: axe-core finds nothing serious on any page, by day and by night, and a phone shows all of it.

use machineauth_tests::browser::{Browser, Scheme};
use machineauth_tests::console::Furniture;
use machineauth_tests::issuer::ADMIN;
use serde_json::Value;

use super::{Desk, sign_in};

/// A name for a picture of the page at `path`: its words, without identifiers.
fn name(path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let is_word = |word: &&str| {
        let mut letters = word.bytes();
        !word.is_empty() && letters.all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    words.filter(is_word).collect::<Vec<_>>().join("-")
}

/// What keeps somebody from using the page that is shown.
async fn findings(browser: &Browser, page: &str, how: &str) -> Vec<String> {
    let found = browser.accessibility().await;
    let serious = found.iter().filter(|finding| finding.is_serious());
    serious
        .map(|finding| format!("{page} {how}: {finding:?}"))
        .collect()
}

/// By how many pixels the page that is shown is wider than the window.
async fn surplus(browser: &Browser) -> i64 {
    let surplus =
        "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
    browser.script(surplus, &[]).await.as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_a_serious_finding_in_light_or_dark_or_on_a_phone() {
    let desk = Desk::set("accessibility").await;
    let furniture = Furniture::create(&desk.issuer, "Thing").await;
    let browser = &desk.browser;
    browser.open("/admin/sign-in").await;
    let mut faults = findings(browser, "/admin/sign-in", "before signing in").await;
    sign_in(browser, ADMIN).await;
    for page in furniture.pages(&desk.issuer).await {
        for (scheme, (width, height), how) in [
            (Scheme::Light, (1280, 900), "light"),
            (Scheme::Dark, (1280, 900), "dark"),
            (Scheme::Light, (390, 844), "phone"),
        ] {
            browser.prefer(scheme).await;
            browser.resize(width, height).await;
            browser.open(&page).await;
            faults.extend(findings(browser, &page, how).await);
            if surplus(browser).await != 0 {
                faults.push(format!("{page} {how}: wider than the window"));
            }
            browser.picture(&format!("{}-{how}", name(&page))).await;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    desk.close().await;
}

/// Times are the reader's, and say on hover what they are in UTC.
#[tokio::test(flavor = "multi_thread")]
async fn times_are_shown_in_the_readers_zone() {
    let desk = Desk::set("times").await;
    desk.issuer.agent(&["read"]).await;
    let browser = &desk.browser;
    browser.live_in("Asia/Tokyo").await;
    sign_in(browser, ADMIN).await;
    browser.open("/admin/agents").await;
    let time = browser.element("td time").await;
    let at = time.attr("datetime").await.unwrap().unwrap();
    let title = time.attr("title").await.unwrap().unwrap();
    assert!(title.contains("UTC"), "{title}");
    let local = "return new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: 'numeric', timeZone: 'Asia/Tokyo' })
        .format(new Date(arguments[0]))";
    let local = browser.script(local, &[Value::from(at)]).await;
    let shown = time.text().await.unwrap();
    assert!(
        shown.contains(local.as_str().unwrap()),
        "{shown} is not at {local}"
    );
    desk.close().await;
}
