//! The audit trail in the console.

use machineauth_issuer::domain::event::{self, Action, By, Fact};
use machineauth_issuer::store::{Batch, Outcome, Partition};
use machineauth_tests::console::Furniture;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::visitor::{Page, Visitor};
use reqwest::Method;
use serde_json::json;

/// An issuer at which much has happened.
async fn furnished(name: &str) -> Issuer {
    let issuer = Issuer::start().await;
    Furniture::create(&issuer, name).await;
    issuer
}

/// So much that no page looks at all of it.
async fn much_happens(issuer: &Issuer) {
    let store = &*issuer.app.store;
    let now = issuer.app.clock.now();
    for _ in 0..10 {
        let batch = Batch::new(Partition::SYSTEM);
        let batch = (0..500).fold(batch, |batch, _| {
            event::record(batch, Fact::new(Action::LoginSucceeded), &By::SYSTEM, now)
        });
        assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
    }
}

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
async fn the_trail_and_its_seals_are_exported() {
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
    let seals = visitor.asks(Method::GET, "/admin/audit/seals", None).await;
    let disposition = seals.header("content-disposition");
    assert!(disposition.contains("audit-seals.jsonl"), "{disposition}");
    let exported = issuer.admin(Method::GET, "/api/audit-seals", None).await;
    assert!(seals.text.lines().count() > 1, "{}", seals.text);
    assert_eq!(exported.text.lines().next(), seals.text.lines().next());
}

const VERIFICATION: &str = "/admin/audit/verification";

/// Has the trail verified, and waits for the page that says what came of it.
async fn verified(visitor: &mut Visitor<'_>) -> Page {
    let page = visitor.sees(VERIFICATION).await;
    let mut page = visitor.submits(&page, VERIFICATION, &[]).await;
    while page.says("Under way") {
        page = visitor.sees(VERIFICATION).await;
    }
    page
}

#[tokio::test]
async fn the_trail_is_verified_beside_requests_and_the_last_report_stays() {
    let issuer = furnished("Night shift").await;
    issuer.app.sealer.seal_all().await.unwrap();
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = visitor.sees(VERIFICATION).await;
    assert!(!page.says("as it was sealed."), "{}", page.text);
    let page = verified(&mut visitor).await;
    assert!(
        page.says("Every entry is as it was sealed."),
        "{}",
        page.text
    );
    let mut another = Visitor::administrator(&issuer).await;
    let page = another.sees(VERIFICATION).await;
    assert!(page.says("Entries verified"), "{}", page.text);
}

/// Where the list of a page asks for what is newer.
fn follower(page: &Page) -> String {
    let (_, rest) = page.text.split_once("id=\"follower\" hx-get=\"").unwrap();
    rest.split('"').next().unwrap().replace("&amp;", "&")
}

#[tokio::test]
async fn a_list_that_is_followed_gets_only_what_is_newer() {
    let issuer = furnished("Night shift").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = visitor.sees("/admin/audit?action=agent.created").await;
    assert_eq!(rows(&page), 2, "{}", page.text);
    issuer.create(json!({ "name": "Day shift" })).await;
    let added = visitor.sees(&follower(&page)).await;
    assert_eq!(rows(&added), 1, "{}", added.text);
    assert!(added.says("Day shift") && added.text.contains("afterbegin:#rows"));
    let nothing = visitor.sees(&follower(&added)).await;
    assert_eq!(rows(&nothing), 0, "{}", nothing.text);
    assert!(follower(&nothing).ends_with("shown=3"));
}

#[tokio::test]
async fn a_list_that_was_empty_or_becomes_long_begins_anew() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let empty = visitor.sees("/admin/audit?action=agent.created").await;
    assert!(empty.says("Nothing like that happened"));
    issuer.create(json!({ "name": "First" })).await;
    let anew = visitor.sees(&follower(&empty)).await;
    assert!(
        anew.text
            .contains("id=\"events\" hx-swap-oob=\"outerMorph\"")
    );
    assert_eq!(rows(&anew), 1);
    for n in 0..100 {
        issuer.create(json!({ "name": format!("{n}") })).await;
    }
    let anew = visitor.sees(&follower(&anew)).await;
    assert!(
        anew.text
            .contains("id=\"events\" hx-swap-oob=\"outerMorph\"")
    );
    assert_eq!(rows(&anew), 50);
    assert!(anew.links().iter().any(|link| link.contains("cursor=")));
}

/// Where the list of a page looks further back, if it does.
fn further(page: &Page) -> Option<String> {
    let (_, rest) = page.text.split_once("id=\"further\"").unwrap();
    let (_, rest) = rest.split_once("hx-get=\"")?;
    Some(rest.split('"').next().unwrap().replace("&amp;", "&"))
}

#[tokio::test]
async fn a_list_that_takes_little_looks_further_back_a_bit_each_time() {
    let issuer = furnished("Night shift").await;
    much_happens(&issuer).await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let mut page = visitor.sees("/admin/audit?action=team.created").await;
    assert_eq!(rows(&page), 0, "{}", page.text);
    let (mut looks, mut found) = (0, 0);
    while let Some(path) = further(&page) {
        assert!(page.says("Looked back to"), "{}", page.text);
        page = visitor.sees(&path).await;
        assert!(page.text.contains("beforeend:#rows"), "{}", page.text);
        looks += 1;
        found += rows(&page);
    }
    assert!(looks > 1, "{looks}");
    assert_eq!(found, 1);
}

#[tokio::test]
async fn a_list_that_nothing_can_be_added_to_is_not_followed() {
    let issuer = furnished("Night shift").await;
    let mut visitor = Visitor::administrator(&issuer).await;
    for query in ["to=2001-01-01", "cursor=x"] {
        let page = visitor.sees(&format!("/admin/audit?{query}")).await;
        assert!(!page.text.contains("id=\"follower\""), "{query}");
    }
}
