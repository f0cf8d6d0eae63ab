//! What is refused before a page is asked for is said by a page as well, below the console's paths.

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::visitor::Visitor;
use reqwest::Method;

#[track_caller]
fn is_a_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text);
    let content_type = answer.header("content-type");
    assert!(content_type.starts_with("text/html"), "{content_type}");
    assert!(answer.text.contains("To the console"), "{}", answer.text);
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("style-src 'self'"), "{policy}");
}

#[tokio::test]
async fn a_method_that_a_page_does_not_have_is_refused_by_a_page() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let answer = visitor.asks(Method::DELETE, "/admin/agents", None).await;
    is_a_page(&answer, 405);
    assert!(answer.header("allow").contains("GET"));
}

#[tokio::test]
async fn a_path_that_is_no_text_leads_to_a_page_that_says_so() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    for path in ["/admin/agents/%FF", "/admin/webhooks/%FF/deliveries/%C3"] {
        is_a_page(&visitor.asks(Method::GET, path, None).await, 404);
    }
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_by_a_page() {
    let issuer = Issuer::builder()
        .with("RATE_LIMIT_PER_ADDRESS", "1")
        .start()
        .await;
    let mut visitor = Visitor::new(&issuer);
    let mut answer = visitor.asks(Method::GET, "/admin/sign-in", None).await;
    while answer.status == 200 {
        answer = visitor.asks(Method::GET, "/admin/sign-in", None).await;
    }
    is_a_page(&answer, 429);
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn beside_the_console_a_refusal_is_what_programs_read() {
    let issuer = Issuer::start().await;
    for path in ["/api/agents", "/administration"] {
        let answer = Answer::to(issuer.request(Method::PUT, path)).await;
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
}
