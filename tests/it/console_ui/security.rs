//! I19: what only a browser shows of how sessions begin and end.

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::ADMIN;
use machineauth_tests::visitor::Visitor;
use reqwest::Method;

use super::{Desk, sign_in};

/// I19
#[tokio::test(flavor = "multi_thread")]
async fn signing_in_begins_a_session_that_nobody_knew_before_and_signing_out_ends_it() {
    let desk = Desk::set("a_session").await;
    let browser = &desk.browser;
    // Somebody has planted a session of its own.
    let planted = Visitor::administrator(&desk.issuer).await;
    browser.open("/admin/sign-in").await;
    let name = "machineauth_session";
    let value = &planted.cookies[name];
    browser.keep_cookie(name, value).await;
    browser.open("/admin/sign-in").await;
    browser.fill("E-mail address", ADMIN.0).await;
    browser.fill("Password", ADMIN.1).await;
    browser.press("Sign in").await;
    browser.sees("Sign out").await;
    let cookies = browser.cookies().await;
    let session = cookies.iter().find(|cookie| cookie.name == name).unwrap();
    assert_ne!(session.value, *value, "it is a fresh one");
    let scripts_see = browser.script("return document.cookie", &[]).await;
    assert_eq!(scripts_see, "", "no script reads a cookie");
    let same_site = format!("{:?}", session.same_site);
    assert!(same_site.contains("Strict"), "{same_site}");

    let kept = session.value.clone();
    browser.press("Sign out").await;
    browser.sees("E-mail address").await;
    let request = desk.issuer.request(Method::GET, "/admin");
    let stolen = Answer::to(request.header("cookie", format!("{name}={kept}"))).await;
    assert_eq!(stolen.status, 303, "what was kept of it opens nothing");
    desk.close().await;
}

/// I19: a page that is open elsewhere asks in vain once somebody has signed out.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_left_open_leads_to_the_sign_in_when_its_session_ends() {
    let desk = Desk::set("left_open").await;
    sign_in(&desk.browser, ADMIN).await;
    let ended = desk
        .issuer
        .admin(Method::DELETE, "/api/auth/sessions", None)
        .await;
    assert_eq!(ended.status, 204, "{}", ended.text);
    desk.browser.sees("E-mail address").await;
    desk.close().await;
}
