//! Signing in and out, and how long that lasts (I19).

use std::time::Duration;

use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::visitor::Visitor;
use reqwest::Method;

#[tokio::test]
async fn whoever_is_not_signed_in_is_led_to_the_door_and_back() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::new(&issuer);
    let page = visitor.opens("/admin/agents?q=a").await;
    assert_eq!(page.path, "/admin/sign-in?next=%2Fadmin%2Fagents%3Fq%3Da");
    let fields = [("email", ADMIN.0), ("password", ADMIN.1)];
    let page = visitor.submits(&page, "/admin/sign-in", &fields).await;
    assert_eq!(
        (page.status.as_u16(), page.path.as_str()),
        (200, "/admin/agents?q=a")
    );
}

/// I19
#[tokio::test]
async fn signing_in_leads_to_no_other_site() {
    let issuer = Issuer::start().await;
    for elsewhere in [
        "//example.com",
        "https%3A%2F%2Fexample.com%2Fadmin",
        "/\\example.com",
    ] {
        let mut visitor = Visitor::new(&issuer);
        let path = format!("/admin/sign-in?next={elsewhere}");
        let page = visitor.opens(&path).await;
        let fields = [("email", ADMIN.0), ("password", ADMIN.1)];
        let page = visitor.submits(&page, "/admin/sign-in", &fields).await;
        assert_eq!(page.path, "/admin", "{elsewhere}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_beside_its_field_and_the_address_stays() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::new(&issuer);
    let page = visitor.sees("/admin/sign-in").await;
    let fields = [("email", ADMIN.0), ("password", "wrong")];
    let page = visitor.submits(&page, "/admin/sign-in", &fields).await;
    assert_eq!(page.status, 422);
    assert_eq!(
        page.text_of("password-wrong"),
        "The e-mail address or the password is wrong"
    );
    assert!(
        page.text.contains(&format!("value=\"{}\"", ADMIN.0)),
        "{}",
        page.text
    );
    assert!(!page.text.contains("wrong\" value"), "{}", page.text);
    assert!(
        visitor
            .opens("/admin")
            .await
            .path
            .starts_with("/admin/sign-in")
    );
}

/// I19
#[tokio::test]
async fn guessing_is_locked_out() {
    let issuer = Issuer::builder().with("FAILURE_LIMIT", "3").start().await;
    let mut visitor = Visitor::new(&issuer);
    let mut last = visitor.sees("/admin/sign-in").await;
    for n in 0..4 {
        let wrong = format!("wrong {n}");
        let fields = [("email", ADMIN.0), ("password", wrong.as_str())];
        last = visitor.submits(&last, "/admin/sign-in", &fields).await;
    }
    assert_eq!(last.status, 429, "{}", last.text);
    assert!(last.says("Too many wrong passwords"), "{}", last.text);
    let fields = [("email", ADMIN.0), ("password", ADMIN.1)];
    let right = visitor.submits(&last, "/admin/sign-in", &fields).await;
    assert_eq!(right.status, 429);
}

/// I19
#[tokio::test]
async fn a_cookie_is_kept_from_scripts_other_sites_and_open_wires() {
    let issuer = Issuer::builder()
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    for (scheme, name, secure) in [
        ("http", "machineauth_session", ""),
        ("https", "__Host-machineauth_session", "; Secure"),
    ] {
        let mut visitor = Visitor::new(&issuer);
        visitor.headers = vec![("x-forwarded-proto", scheme.to_owned())];
        let page = visitor.sees("/admin/sign-in").await;
        let token = page.form("/admin/sign-in").hidden[0].1.clone();
        let form = [
            ("form_token", token.as_str()),
            ("email", ADMIN.0),
            ("password", ADMIN.1),
        ];
        let answer = visitor
            .asks(Method::POST, "/admin/sign-in", Some(&form))
            .await;
        let set = answer.header("set-cookie");
        assert!(set.starts_with(&format!("{name}=mas_")), "{set}");
        let rest = &set[set.find(';').unwrap()..];
        assert_eq!(rest, format!("; Path=/; HttpOnly; SameSite=Strict{secure}"));
        assert_eq!(visitor.sees("/admin").await.status, 200);
    }
}

/// I19
#[tokio::test]
async fn cookies_are_as_safe_as_the_address_that_the_server_is_reached_at() {
    let issuer = Issuer::builder()
        .with("JWT_ISSUER", "https://auth.example.com")
        .start()
        .await;
    let visitor = Visitor::administrator(&issuer).await;
    let names: Vec<_> = visitor.cookies.keys().collect();
    assert_eq!(
        names,
        ["__Host-machineauth_session", "__Host-machineauth_visit"]
    );
}

#[tokio::test]
async fn who_signs_in_again_leaves_no_session_behind() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let mut before = visitor.clone();
    visitor.signs_in(ADMIN.0, ADMIN.1).await;
    assert!(
        before
            .opens("/admin")
            .await
            .path
            .starts_with("/admin/sign-in")
    );
    assert_eq!(visitor.sees("/admin").await.status, 200);
}

#[tokio::test]
async fn an_administrator_may_be_called_what_no_browser_takes_for_an_address() {
    let issuer = Issuer::builder().with("ADMIN_EMAIL", "admin").start().await;
    let mut visitor = Visitor::new(&issuer);
    let page = visitor.sees("/admin/sign-in").await;
    assert!(!page.text.contains("type=email"), "{}", page.text);
    visitor.signs_in("admin", ADMIN.1).await;
}

#[tokio::test]
async fn who_signs_out_is_out_and_its_cookie_is_worth_nothing() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let stolen = visitor.clone();
    let page = visitor.sees("/admin").await;
    let page = visitor.submits(&page, "/admin/sign-out", &[]).await;
    assert_eq!(page.path, "/admin/sign-in");
    assert!(!visitor.cookies.contains_key("machineauth_session"));
    let page = stolen.clone().opens("/admin").await;
    assert!(page.path.starts_with("/admin/sign-in"), "{}", page.path);
}

#[tokio::test]
async fn a_page_that_asks_by_itself_keeps_no_session_alive() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let mut script = visitor.clone();
    script.headers = vec![("hx-request", "true".to_owned())];
    clock.advance(Duration::from_secs(40 * 60));
    assert_eq!(script.asks(Method::GET, "/admin", None).await.status, 200);
    clock.advance(Duration::from_secs(21 * 60));
    let answer = script.asks(Method::GET, "/admin/agents", None).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("hx-redirect"),
        "/admin/sign-in?next=%2Fadmin%2Fagents"
    );
    // At `Basic` the browser would ask for a password of its own.
    let challenge = answer.header("www-authenticate");
    assert_eq!(challenge, "Bearer realm=\"machineauth\"");
    assert!(
        visitor
            .opens("/admin")
            .await
            .path
            .starts_with("/admin/sign-in")
    );
}

#[tokio::test]
async fn a_session_of_the_console_is_no_key_to_the_api() {
    let issuer = Issuer::start().await;
    let visitor = Visitor::administrator(&issuer).await;
    let session = &visitor.cookies["machineauth_session"];
    let answer = issuer
        .bearer(session, Method::GET, "/api/agents", None)
        .await;
    assert_eq!(answer.status, 401);
    let mut visitor = visitor.clone();
    assert_eq!(
        visitor.asks(Method::GET, "/api/agents", None).await.status,
        401
    );
}
