//! I19: nobody acts through somebody else's browser, and nobody does more than its role allows.

use machineauth_tests::audit::events;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::json;

use super::{Desk, Session, Things, cookie, form_token, methods, pages, routed, sign_in};

const VIEWER: (&str, &str) = ("viewer@example.com", "correct horse battery");
const DEPUTY: (&str, &str) = ("deputy@example.com", "correct horse battery");
/// What everybody does to itself, whatever its role.
const OWN: [&str; 2] = ["/admin/sign-", "/admin/account"];

async fn join(issuer: &Issuer, (email, password): (&str, &str), role: &str) {
    let body = json!({ "email": email, "role": role });
    let path = "/api/administrators/invitations";
    let invited = issuer.admin(Method::POST, path, Some(body)).await;
    let body = json!({ "token": invited.str("token"), "password": password });
    let request = issuer.request(Method::POST, "/api/auth/invitation");
    assert_eq!(Answer::to(request.json(&body)).await.status, 201);
}

/// Everything that a form of the console can be sent to.
async fn actions(issuer: &Issuer, things: &Things) -> Vec<String> {
    let mut actions = Vec::new();
    for template in routed(issuer) {
        let path = things.path(&template);
        if methods(issuer, &path)
            .await
            .iter()
            .any(|method| method == "POST")
        {
            actions.push(path);
        }
    }
    assert!(actions.len() > 20, "the console does much: {actions:?}");
    actions
}

/// I19
#[tokio::test]
async fn a_form_that_another_page_sends_is_refused_at_every_action() {
    let issuer = Issuer::start().await;
    let things = Things::create(&issuer, "thing").await;
    let session = Session::begin(&issuer, ADMIN).await;
    let other = Session::begin(&issuer, ADMIN).await;
    let before = events(&*issuer.app.store).await.len();
    for action in actions(&issuer, &things).await {
        for token in [None, Some("x"), Some(&*other.form_token)] {
            let form: Vec<_> = token
                .into_iter()
                .map(|token| ("form_token", token))
                .collect();
            let request = session.request(&issuer, Method::POST, &action).form(&form);
            let answer = Answer::to(request).await;
            assert_eq!(
                answer.status, 403,
                "{action} with {token:?}: {}",
                answer.text
            );
        }
        // What a page elsewhere can send without asking first, and a form cannot be.
        let plain = session
            .request(&issuer, Method::POST, &action)
            .header("content-type", "text/plain")
            .body(format!("form_token={}", session.form_token));
        assert_eq!(Answer::to(plain).await.status, 403, "{action} as text");
    }
    assert_eq!(
        events(&*issuer.app.store).await.len(),
        before,
        "nothing was done"
    );
}

/// I19
#[tokio::test]
async fn nobody_without_a_session_sees_or_does_anything() {
    let issuer = Issuer::start().await;
    let things = Things::create(&issuer, "thing").await;
    let before = events(&*issuer.app.store).await.len();
    let is_open = |path: &str| {
        ["/admin/sign-in", "/admin/invitation"]
            .iter()
            .any(|open| path.starts_with(open))
    };
    for page in pages(&issuer, &things).await {
        if is_open(&page) {
            continue;
        }
        let answer = Answer::to(issuer.request(Method::GET, &page)).await;
        assert_eq!(answer.status, 303, "{page}: {}", answer.text);
        assert!(
            answer.header("location").starts_with("/admin/sign-in"),
            "{page}"
        );
        assert!(!answer.text.contains("thing"), "{page}");
    }
    for action in actions(&issuer, &things).await {
        let form = [("form_token", "x")];
        let answer = Answer::to(issuer.request(Method::POST, &action).form(&form)).await;
        match is_open(&action) {
            true => assert_eq!(answer.status, 403, "{action}"),
            false => assert_eq!(answer.status, 303, "{action}: {}", answer.text),
        }
    }
    assert_eq!(
        events(&*issuer.app.store).await.len(),
        before,
        "nothing was done"
    );
}

/// I19
#[tokio::test]
async fn a_viewer_is_refused_every_action_and_offered_none() {
    let issuer = Issuer::start().await;
    let things = Things::create(&issuer, "thing").await;
    join(&issuer, VIEWER, "viewer").await;
    let session = Session::begin(&issuer, VIEWER).await;
    let before = events(&*issuer.app.store).await;
    let is_own = |path: &str| OWN.iter().any(|own| path.starts_with(own));
    for action in actions(&issuer, &things).await {
        // Looking at a token changes nothing.
        if is_own(&action) || action == "/admin/tokens" || action.starts_with("/admin/invitation/")
        {
            continue;
        }
        let form = [("form_token", &*session.form_token), ("name", "changed")];
        let request = session.request(&issuer, Method::POST, &action).form(&form);
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 403, "{action}: {}", answer.text);
    }
    for page in pages(&issuer, &things).await {
        let answer = Answer::to(session.request(&issuer, Method::GET, &page)).await;
        let forms = answer.text.split("method=\"post\" action=\"").skip(1);
        for form in forms {
            let action = form.split('"').next().unwrap_or_default();
            let is_harmless = is_own(action) || action == "/admin/tokens";
            assert!(
                is_harmless || page.contains("/invitation/"),
                "{page} offers {action}"
            );
        }
    }
    let after = events(&*issuer.app.store).await;
    let new: Vec<_> = after
        .iter()
        .filter(|event| !before.contains(event))
        .collect();
    assert!(new.is_empty(), "{new:?}");
}

/// I19
#[tokio::test]
async fn an_admin_is_refused_what_concerns_administrators() {
    let issuer = Issuer::start().await;
    let things = Things::create(&issuer, "thing").await;
    join(&issuer, DEPUTY, "admin").await;
    let session = Session::begin(&issuer, DEPUTY).await;
    let before = events(&*issuer.app.store).await.len();
    for action in actions(&issuer, &things).await {
        if !action.starts_with("/admin/administrators") {
            continue;
        }
        let form = [("form_token", &*session.form_token), ("role", "owner")];
        let request = session.request(&issuer, Method::POST, &action).form(&form);
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 403, "{action}: {}", answer.text);
    }
    let list = session.request(&issuer, Method::GET, "/admin/administrators");
    let list = Answer::to(list).await;
    assert!(list.text.contains(DEPUTY.0), "{}", list.text);
    assert!(
        !list.text.contains("action=\"/admin/administrators"),
        "nothing is offered"
    );
    assert_eq!(
        events(&*issuer.app.store).await.len(),
        before,
        "nothing changed"
    );
}

/// I19: no page of another site shows the console in a frame, keeps it, or hears where its reader was.
#[tokio::test]
async fn every_page_says_that_it_is_framed_by_nobody_kept_by_nobody_and_runs_nothing_foreign() {
    let issuer = Issuer::start().await;
    let things = Things::create(&issuer, "thing").await;
    let session = Session::begin(&issuer, ADMIN).await;
    for page in pages(&issuer, &things).await {
        for answer in [
            Answer::to(session.request(&issuer, Method::GET, &page)).await,
            Answer::to(issuer.request(Method::GET, &page)).await,
        ] {
            if answer.status == 303 {
                assert_eq!(answer.header("cache-control"), "no-store", "{page}");
                continue;
            }
            let policy = answer.header("content-security-policy");
            for part in [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "form-action 'self'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            ] {
                assert!(policy.contains(part), "{page}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{page}: {policy}");
            for (header, value) in [
                ("x-frame-options", "DENY"),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
            ] {
                assert_eq!(answer.header(header), value, "{page}: {header}");
            }
            for foreign in ["http://", "https://", "//"] {
                for attribute in ["src", "href", "action"] {
                    let link = format!("{attribute}=\"{foreign}");
                    assert!(!answer.text.contains(&link), "{page}: {link}");
                }
            }
        }
    }
}

/// I19
#[tokio::test(flavor = "multi_thread")]
async fn signing_in_begins_a_session_that_nobody_knew_before_and_signing_out_ends_it() {
    let desk = Desk::set("a_session").await;
    let browser = &desk.browser;
    // Somebody has planted a session of its own.
    let planted = Session::begin(&desk.issuer, ADMIN).await;
    browser.open("/admin/sign-in").await;
    let (name, value) = planted.cookie.split_once('=').unwrap();
    browser.keep_cookie(name, value).await;
    browser.open("/admin/sign-in").await;
    browser.fill("E-mail address", ADMIN.0).await;
    browser.fill("Password", ADMIN.1).await;
    browser.press("Sign in").await;
    browser.sees("Sign out").await;
    let cookies = browser.cookies().await;
    let session = cookies.iter().find(|cookie| cookie.name == name).unwrap();
    assert_ne!(session.value, value, "it is a fresh one");
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

/// I19: over TLS the browser keeps the cookie to this host alone.
#[tokio::test]
async fn over_tls_the_cookie_is_this_hosts_alone() {
    let issuer = Issuer::builder()
        .with("TRUSTED_PROXIES", "127.0.0.1/32")
        .start()
        .await;
    let by_tls = |method, path: &str| {
        issuer
            .request(method, path)
            .header("x-forwarded-proto", "https")
    };
    let shown = Answer::to(by_tls(Method::GET, "/admin/sign-in")).await;
    let form = [
        ("form_token", &*form_token(&shown)),
        ("email", ADMIN.0),
        ("password", ADMIN.1),
    ];
    let request = by_tls(Method::POST, "/admin/sign-in").header("cookie", cookie(&shown));
    let signed_in = Answer::to(request.form(&form)).await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.text);
    let set = signed_in.header("set-cookie");
    assert!(set.starts_with("__Host-"), "{set}");
    for attribute in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.split("; ").any(|part| part == attribute), "{set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    // The same cookie says nothing over an open wire.
    let open = issuer
        .request(Method::GET, "/admin")
        .header("cookie", cookie(&signed_in));
    assert_eq!(Answer::to(open).await.status, 303);
}

/// I19
#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_locked_out_and_says_so() {
    let builder = Issuer::builder().with("FAILURE_LIMIT", "3");
    let desk = Desk::with(builder, "guessing").await;
    let browser = &desk.browser;
    browser.open("/admin").await;
    for guess in 0..3 {
        browser.fill("E-mail address", ADMIN.0).await;
        browser.fill("Password", &format!("wrong {guess}")).await;
        browser.press("Sign in").await;
        browser
            .sees("The e-mail address or the password is wrong")
            .await;
    }
    browser.picture("wrong").await;
    browser.fill("Password", ADMIN.1).await;
    browser.press("Sign in").await;
    browser.sees("Too many wrong passwords").await;
    browser.picture("locked-out").await;
    desk.close().await;
}

/// I19: whoever signs in is led nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn signing_in_leads_back_to_where_one_was_going_and_to_no_other_site() {
    let desk = Desk::set("going_on").await;
    let browser = &desk.browser;
    browser.open("/admin/keys").await;
    assert!(browser.path().await.starts_with("/admin/sign-in"));
    browser.fill("E-mail address", ADMIN.0).await;
    browser.fill("Password", ADMIN.1).await;
    browser.press("Sign in").await;
    browser.sees("Signing keys").await;
    assert_eq!(browser.path().await, "/admin/keys");
    browser.press("Sign out").await;
    browser.sees("E-mail address").await;
    browser
        .open("/admin/sign-in?next=https%3A%2F%2Fexample.com%2Fadmin")
        .await;
    browser.fill("E-mail address", ADMIN.0).await;
    browser.fill("Password", ADMIN.1).await;
    browser.press("Sign in").await;
    browser.sees("Dashboard").await;
    assert_eq!(browser.path().await, "/admin");
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
