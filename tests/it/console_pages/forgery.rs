//! I19: nobody acts through somebody else's browser, and nobody does more than its role allows: at every path of the router.

use machineauth_tests::audit::events;
use machineauth_tests::console::Furniture;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::visitor::{Page, Visitor};
use reqwest::Method;
use serde_json::json;

const PASSWORD: &str = "correct horse battery";
/// What everybody does, whatever its role: to itself, and what changes nothing.
const OF_EVERYBODY: [&str; 5] = [
    "/admin/sign-",
    "/admin/account",
    "/admin/invitation/",
    "/admin/tokens",
    "/admin/audit/verification",
];
/// What begins as one of those, and is more.
const OF_FEW: [&str; 2] = ["/admin/tokens/revoke", "/admin/tokens/test"];

fn is_of_everybody(action: &str) -> bool {
    let is_of_everybody = OF_EVERYBODY.iter().any(|own| action.starts_with(own));
    is_of_everybody && !OF_FEW.contains(&action)
}

/// Somebody who was invited with that role, signed in.
async fn joined<'a>(issuer: &'a Issuer, email: &str, role: &str) -> Visitor<'a> {
    let body = json!({ "email": email, "role": role });
    let path = "/api/administrators/invitations";
    let invited = issuer.admin(Method::POST, path, Some(body)).await;
    let body = json!({ "token": invited.str("token"), "password": PASSWORD });
    let request = issuer.request(Method::POST, "/api/auth/invitation");
    assert_eq!(Answer::to(request.json(&body)).await.status, 201);
    let mut visitor = Visitor::new(issuer);
    visitor.signs_in(email, PASSWORD).await;
    visitor
}

#[tokio::test]
async fn a_form_that_another_page_sends_is_refused_at_every_action() {
    let issuer = Issuer::start().await;
    let furniture = Furniture::create(&issuer, "thing").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let own = visitor.form_token().await;
    let foreign = Visitor::administrator(&issuer).await.form_token().await;
    let before = events(&*issuer.app.store).await.len();
    for action in furniture.actions(&issuer).await {
        for token in [None, Some(""), Some("x"), Some(foreign.as_str())] {
            let form: Vec<_> = token
                .into_iter()
                .map(|token| ("form_token", token))
                .collect();
            let answer = visitor.asks(Method::POST, &action, Some(&form)).await;
            assert_eq!(answer.status, 403, "{action} {token:?}: {}", answer.text);
        }
        // What a page elsewhere can send without asking first, and a form cannot be.
        let mut by_script = visitor.clone();
        by_script.headers = vec![("content-type", "text/plain".to_owned())];
        let form = [("form_token", own.as_str())];
        let answer = by_script.asks(Method::POST, &action, Some(&form)).await;
        assert_eq!(answer.status, 403, "{action} as text: {}", answer.text);
        let answer = visitor.asks(Method::POST, &action, None).await;
        assert_eq!(answer.status, 403, "{action} without a form");
    }
    let after = events(&*issuer.app.store).await.len();
    assert_eq!(after, before, "nothing was done");
}

#[tokio::test]
async fn nobody_without_a_session_sees_or_does_anything() {
    let issuer = Issuer::start().await;
    let furniture = Furniture::create(&issuer, "thing").await;
    let mut stranger = Visitor::new(&issuer);
    let before = events(&*issuer.app.store).await.len();
    let is_open = |path: &str| {
        let open = ["/admin/sign-in", "/admin/invitation"];
        open.iter().any(|open| path.starts_with(open))
    };
    for page in furniture.pages(&issuer).await {
        if is_open(&page) {
            continue;
        }
        let answer = stranger.asks(Method::GET, &page, None).await;
        assert_eq!(answer.status, 303, "{page}: {}", answer.text);
        assert!(answer.header("location").starts_with("/admin/sign-in"));
        assert_eq!(answer.header("cache-control"), "no-store", "{page}");
        assert!(!answer.text.contains("thing"), "{page}");
    }
    for action in furniture.actions(&issuer).await {
        let form = [("form_token", "x")];
        let answer = stranger.asks(Method::POST, &action, Some(&form)).await;
        match is_open(&action) {
            true => assert_eq!(answer.status, 403, "{action}"),
            false => assert_eq!(answer.status, 303, "{action}: {}", answer.text),
        }
    }
    let after = events(&*issuer.app.store).await.len();
    assert_eq!(after, before, "nothing was done");
}

#[tokio::test]
async fn a_viewer_is_refused_every_action_and_offered_none() {
    let issuer = Issuer::start().await;
    let furniture = Furniture::create(&issuer, "thing").await;
    let mut viewer = joined(&issuer, "viewer@example.com", "viewer").await;
    let token = viewer.form_token().await;
    let before = events(&*issuer.app.store).await;
    for action in furniture.actions(&issuer).await {
        if !is_of_everybody(&action) {
            let form = [("form_token", token.as_str()), ("name", "changed")];
            let answer = viewer.asks(Method::POST, &action, Some(&form)).await;
            assert_eq!(answer.status, 403, "{action}: {}", answer.text);
        }
    }
    for path in furniture.pages(&issuer).await {
        for form in viewer.opens(&path).await.forms() {
            assert!(
                is_of_everybody(&form.action),
                "{path} offers {}",
                form.action
            );
        }
    }
    let after = events(&*issuer.app.store).await;
    let new = after.iter().filter(|event| !before.contains(event));
    let new: Vec<_> = new.collect();
    assert!(new.is_empty(), "{new:?}");
}

#[tokio::test]
async fn an_admin_is_refused_what_concerns_administrators() {
    let issuer = Issuer::start().await;
    let furniture = Furniture::create(&issuer, "thing").await;
    let mut deputy = joined(&issuer, "deputy@example.com", "admin").await;
    let token = deputy.form_token().await;
    let before = events(&*issuer.app.store).await.len();
    let actions = furniture.actions(&issuer).await;
    let concerns = |action: &&String| action.starts_with("/admin/administrators");
    for action in actions.iter().filter(concerns) {
        let form = [("form_token", token.as_str()), ("role", "owner")];
        let answer = deputy.asks(Method::POST, action, Some(&form)).await;
        assert_eq!(answer.status, 403, "{action}: {}", answer.text);
    }
    let list = deputy.sees("/admin/administrators").await;
    assert!(list.says("deputy@example.com"), "{}", list.text);
    let forms = list.forms();
    assert!(
        !forms.iter().any(|form| concerns(&&form.action)),
        "{forms:?}"
    );
    let after = events(&*issuer.app.store).await.len();
    assert_eq!(after, before, "nothing changed");
}

/// No page of another site shows the console in a frame, keeps it, or hears where its reader was.
#[tokio::test]
async fn every_page_runs_our_files_only_is_framed_and_kept_by_nobody() {
    let issuer = Issuer::start().await;
    let furniture = Furniture::create(&issuer, "thing").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let mut pages = vec![Visitor::new(&issuer).sees("/admin/sign-in").await];
    for path in furniture.pages(&issuer).await {
        pages.push(visitor.opens(&path).await);
    }
    assert!(pages.len() > 20);
    for page in pages {
        let path = &page.path;
        let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
        for (header, value) in [
            ("content-security-policy", policy),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(page.headers[header], value, "{path}: {header}");
        }
        holds_nothing_foreign(&page);
    }
}

#[track_caller]
fn holds_nothing_foreign(page: &Page) {
    for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
        assert!(!page.text.contains(inline), "{} has {inline}", page.path);
    }
    for script in page.text.split("<script").skip(1) {
        assert!(script.starts_with(" src=\"/admin/assets/"), "{script}");
    }
    for foreign in ["http://", "https://", "//"] {
        for attribute in ["src", "href", "action"] {
            let link = format!("{attribute}=\"{foreign}");
            assert!(!page.text.contains(&link), "{}: {link}", page.path);
        }
    }
}

#[tokio::test]
async fn files_are_kept_for_good_under_names_of_their_own() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::new(&issuer);
    let page = visitor.sees("/admin/sign-in").await;
    let files: Vec<_> = page
        .text
        .split('"')
        .filter(|text| text.starts_with("/admin/assets/"))
        .collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        let answer = visitor.asks(Method::GET, file, None).await;
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert!(!answer.text.contains("https://unpkg"), "{file}");
    }
    let missing = visitor
        .asks(Method::GET, "/admin/assets/console.000000000000.js", None)
        .await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn every_link_leads_somewhere() {
    let issuer = Issuer::start().await;
    Furniture::create(&issuer, "thing").await;
    let pages = Visitor::administrator(&issuer).await.wanders().await;
    assert!(pages.len() > 20, "{}", pages.len());
}
