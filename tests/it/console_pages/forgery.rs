//! What others would like to do with the console (I19).

use std::collections::BTreeMap;

use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::visitor::{Form, Page, Visitor};
use reqwest::Method;

use super::{MARKUP, furnished};

/// Every form of every page that an owner can reach, by where it goes.
async fn all_forms(visitor: &mut Visitor<'_>) -> BTreeMap<String, Form> {
    let pages = visitor.wanders().await;
    let forms = pages.iter().flat_map(Page::forms);
    forms.map(|form| (form.action.clone(), form)).collect()
}

/// A viewer, who was invited and has accepted.
async fn viewer(issuer: &Issuer) -> Visitor<'_> {
    let mut owner = Visitor::administrator(issuer).await;
    let invite = "/admin/administrators/invite";
    let page = owner.sees(invite).await;
    let fields = [("email", "viewer@example.com"), ("role", "viewer")];
    let page = owner.submits(&page, invite, &fields).await;
    let link = page.text_of("secret");
    let path = link.strip_prefix(&issuer.base).unwrap();
    let mut visitor = Visitor::new(issuer);
    let page = visitor.sees(path).await;
    let fields = [
        ("new_password", "correct horse battery"),
        ("repeated", "correct horse battery"),
    ];
    let page = visitor.submits(&page, path, &fields).await;
    assert_eq!((page.status.as_u16(), page.path.as_str()), (200, "/admin"));
    visitor
}

/// What forms a viewer may send, too: they change nothing but its own.
const OF_EVERYBODY: [&str; 4] = [
    "/admin/sign-out",
    "/admin/tokens",
    "/admin/account/",
    "/admin/sign-in",
];

#[tokio::test]
async fn no_form_is_taken_that_another_site_could_have_sent() {
    let issuer = furnished("a name").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let foreign = Visitor::administrator(&issuer).await.sees("/admin").await;
    let foreign = foreign.form("/admin/sign-out").hidden[0].1.clone();
    let forms = all_forms(&mut visitor).await;
    assert!(forms.len() > 25, "{:?}", forms.keys());
    let before = visitor.sees("/admin/audit").await;
    for action in forms.keys() {
        for token in [None, Some(""), Some(foreign.as_str())] {
            let form: Vec<_> = token
                .map(|token| ("form_token", token))
                .into_iter()
                .collect();
            let answer = visitor.asks(Method::POST, action, Some(&form)).await;
            assert_eq!(answer.status, 403, "{action} {token:?}: {}", answer.text);
        }
        let answer = visitor.asks(Method::POST, action, None).await;
        assert_eq!(answer.status, 403, "{action} without a form");
    }
    let after = visitor.sees("/admin/audit").await;
    assert_eq!(events(&before), events(&after));
}

fn events(page: &Page) -> usize {
    page.text.matches("<tr id=\"e-").count()
}

#[tokio::test]
async fn a_viewer_sees_everything_and_changes_nothing() {
    let issuer = furnished("a name").await;
    let mut owner = Visitor::administrator(&issuer).await;
    let forms = all_forms(&mut owner).await;
    let mut viewer = viewer(&issuer).await;
    let offered = all_forms(&mut viewer).await;
    for action in offered.keys() {
        let is_own = OF_EVERYBODY.iter().any(|own| action.starts_with(own));
        assert!(is_own, "a viewer is offered {action}");
    }
    let token = viewer.sees("/admin").await.form("/admin/sign-out").hidden[0]
        .1
        .clone();
    let is_of_everybody = |action: &str| {
        let of_everybody = OF_EVERYBODY.iter().any(|own| action.starts_with(own));
        of_everybody && action != "/admin/tokens/revoke" && action != "/admin/tokens/test"
    };
    let mut tried = 0;
    for action in forms.keys().filter(|action| !is_of_everybody(action)) {
        let form = [("form_token", token.as_str())];
        let answer = viewer.asks(Method::POST, action, Some(&form)).await;
        assert_eq!(answer.status, 403, "{action}: {}", answer.text);
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
    for page in [
        "/admin/agents/new",
        "/admin/organizations/new",
        "/admin/webhooks/new",
    ] {
        assert_eq!(viewer.opens(page).await.status, 403, "{page}");
    }
}

#[tokio::test]
async fn no_stored_markup_is_markup_on_any_page() {
    let issuer = furnished(MARKUP).await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let pages = visitor.wanders().await;
    let shown = pages.iter().filter(|page| page.says("alert(1)")).count();
    assert!(shown > 8, "{shown}");
    for page in pages {
        assert!(
            !page.text.contains("<script>"),
            "{}: {}",
            page.path,
            page.text
        );
        assert!(!page.text.contains("<img"), "{}: {}", page.path, page.text);
    }
}

#[tokio::test]
async fn every_page_runs_our_files_only_and_is_framed_by_nobody() {
    let issuer = furnished("a name").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let mut pages = visitor.wanders().await;
    pages.push(Visitor::new(&issuer).sees("/admin/sign-in").await);
    let mut refused = visitor.opens("/admin/agents/nothing").await;
    refused.path = "a page that is not there".into();
    pages.push(refused);
    assert!(pages.len() > 20);
    for page in pages {
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        assert_eq!(page.headers["x-frame-options"], "DENY");
        assert_eq!(page.headers["cache-control"], "no-store", "{}", page.path);
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
            assert!(!page.text.contains(inline), "{} has {inline}", page.path);
        }
        for script in page.text.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/admin/assets/"), "{script}");
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
async fn the_configuration_is_shown_without_its_secrets() {
    let issuer = Issuer::builder()
        .with("ADMIN_PASSWORD", "correct horse battery")
        .start()
        .await;
    let mut visitor = Visitor::new(&issuer);
    visitor.signs_in(ADMIN.0, "correct horse battery").await;
    let page = visitor.sees("/admin/configuration").await;
    assert!(page.says("ADMIN_PASSWORD") && page.says("JWT_ISSUER"));
    assert!(!page.says("correct horse battery"));
}
