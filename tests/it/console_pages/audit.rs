//! The audit trail in the console.

use machineauth_tests::visitor::{Page, Visitor};
use reqwest::Method;

use super::furnished;

fn rows(page: &Page) -> usize {
    page.text.matches("<tr id=\"e-").count()
}

#[tokio::test]
async fn the_trail_is_searched_and_filtered() {
    let issuer = furnished("Night shift").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let all = visitor.sees("/admin/audit").await;
    assert!(rows(&all) > 8, "{}", all.text);
    for (query, count) in [
        ("action=team.created", 1),
        ("action=team.*", 1),
        ("q=night", 5),
        ("action=agent.created&q=night", 2),
        ("ip_address=127.0.0.0/8&action=webhook.created", 1),
        ("ip_address=192.0.2.1", 0),
        ("to=2001-01-01", 0),
    ] {
        let page = visitor.sees(&format!("/admin/audit?{query}")).await;
        assert!(
            rows(&page) >= count && (count > 0 || rows(&page) == 0),
            "{query}: {}",
            rows(&page)
        );
    }
    for (query, field) in [
        ("agent_id=me", "agent_id-wrong"),
        ("ip_address=home", "ip_address-wrong"),
        ("from=yesterday", "from-wrong"),
    ] {
        let page = visitor.opens(&format!("/admin/audit?{query}")).await;
        assert_eq!(page.status, 422, "{query}");
        assert!(!page.text_of(field).is_empty());
    }
}

#[tokio::test]
async fn the_trail_is_exported_and_verified() {
    let issuer = furnished("Night shift").await;
    issuer.app.sealer.seal_all().await.unwrap();
    let mut visitor = Visitor::administrator(&issuer).await;
    let export = "/admin/audit/export?action=agent.created&format=";
    let csv = visitor
        .asks(Method::GET, &format!("{export}csv"), None)
        .await;
    assert_eq!(csv.status, 200);
    assert!(csv.header("content-disposition").contains("audit-logs.csv"));
    assert_eq!(csv.text.lines().count(), 3, "{}", csv.text);
    let lines = visitor
        .asks(Method::GET, &format!("{export}jsonl"), None)
        .await;
    assert_eq!(lines.text.lines().count(), 2, "{}", lines.text);
    let page = visitor.sees("/admin/audit/verification").await;
    assert!(
        page.says("Every entry is as it was sealed."),
        "{}",
        page.text
    );
}
