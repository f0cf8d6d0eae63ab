//! What concerns one agent is found among everything else, whatever of it is sealed.

use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_issuer::domain::event::{Action, Actor, By, Event, Fact};
use machineauth_issuer::domain::id::AgentId;
use machineauth_issuer::events::audit::{Filter, LOOKED_AT, Wrong};
use machineauth_issuer::store::{Batch, Key, Outcome, Partition, Store};
use machineauth_tests::issuer::Issuer;
use reqwest::Method;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// As many entries as a segment has at most.
const SEGMENT: usize = 500;

fn token_of(agent: AgentId) -> Event {
    token_at(agent, 0)
}

/// A token that was issued so many seconds after the start.
fn token_at(agent: AgentId, seconds: u64) -> Event {
    let by = By::SYSTEM.known_as(Actor::Agent { id: agent });
    let at = START.saturating_add(Duration::from_secs(seconds));
    Fact::new(Action::TokenIssued).happened(&by, at)
}

async fn append(store: &dyn Store, partition: Partition, events: impl Iterator<Item = Event>) {
    let batch = Batch::new(partition);
    let batch = events.fold(batch, |batch, event| event.append(batch));
    assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
}

/// The rows that note which agents the segments of a log concern.
async fn segments(store: &dyn Store, partition: Partition) -> Vec<Key> {
    let prefix = partition.key("audit_segment");
    let rows = store.scan(&prefix, None, 1000).await.unwrap();
    rows.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn an_agents_events_are_found_at_once_below_many_of_others() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let id: AgentId = agent.id.parse().unwrap();
    let other = AgentId::random();
    for _ in 0..LOOKED_AT / SEGMENT + 2 {
        let events = (0..SEGMENT).map(|_| token_of(other));
        append(&*issuer.app.store, id.partition(), events).await;
        issuer.app.sealer.seal_all().await.unwrap();
    }
    let path = format!("/api/audit-logs?agent_id={id}");
    let found = issuer.admin(Method::GET, &path, None).await.json();
    assert_eq!(found["logs"][0]["action"], "agent.created", "{found}");
}

#[tokio::test]
async fn whatever_is_sealed_the_list_of_an_agent_is_what_concerns_it() {
    let issuer = Issuer::start().await;
    let store = &*issuer.app.store;
    let one: AgentId = issuer.agent(&[]).await.id.parse().unwrap();
    let others: Vec<_> = (0..5).map(|_| AgentId::random()).collect();
    let mut expected = 1;
    for n in 0..40 {
        // Every third stretch has none of it.
        let of = |m: usize| match n % 3 > 0 && m.is_multiple_of(37) {
            true => one,
            false => others[m % others.len()],
        };
        let stretch: Vec<_> = (0..100 + n).map(of).collect();
        expected += stretch.iter().filter(|agent| **agent == one).count();
        append(store, one.partition(), stretch.into_iter().map(token_of)).await;
        if n % 4 == 0 {
            issuer.app.sealer.seal_all().await.unwrap();
        }
    }
    // A part of the log was sealed by a version that noted nothing.
    let rows = segments(store, one.partition()).await;
    assert!(rows.len() > 5, "{rows:?}");
    let older = rows.iter().step_by(3);
    let batch = older.fold(Batch::new(one.partition()), |batch, row| batch.delete(row));
    assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);

    let filter = Filter {
        agent: Some(one),
        ..Filter::default()
    };
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = issuer.app.trail.page(&filter, cursor.as_ref(), 7, 500);
        let page = page.await.unwrap();
        found.extend(page.entries.into_iter().map(|entry| entry.sequence));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), expected);
    assert!(found.is_sorted_by(|later, earlier| later > earlier));
}

/// What is not looked at yet of one log may be newer than what is found in another.
#[tokio::test]
async fn a_page_passes_over_so_much_at_most_and_its_cursor_goes_on_in_order() {
    let issuer = Issuer::start().await;
    let store = &*issuer.app.store;
    let agent: AgentId = issuer.agent(&[]).await.id.parse().unwrap();
    let home = agent.partition();
    append(store, Partition::SYSTEM, [token_at(agent, 1)].into_iter()).await;
    append(store, home, [token_at(agent, 2)].into_iter()).await;
    issuer.app.sealer.seal_all().await.unwrap();
    for _ in 0..200 {
        append(store, home, [token_at(AgentId::random(), 3)].into_iter()).await;
        issuer.app.sealer.seal_all().await.unwrap();
    }

    let filter = Filter {
        agent: Some(agent),
        action: Some("token.*".into()),
        ..Filter::default()
    };
    let first = issuer.app.trail.page(&filter, None, 10, 10).await.unwrap();
    assert!(first.entries.is_empty(), "{first:?}");
    let (mut found, mut cursor) = (Vec::new(), first.next);
    assert!(cursor.is_some());
    while cursor.is_some() {
        let page = issuer.app.trail.page(&filter, cursor.as_ref(), 10, 10);
        let page = page.await.unwrap();
        found.extend(page.entries.into_iter().map(|entry| entry.partition));
        cursor = page.next;
    }
    assert_eq!(found, [home, Partition::SYSTEM]);
}

/// Whoever changes what is noted of a segment, or adds a note, hides entries from such lists, and is found out.
#[tokio::test]
async fn a_note_that_hides_entries_is_found_by_verification() {
    for (first, note) in [
        (1, br#"{"first":1,"last":1,"agents":""}"#.as_slice()),
        (2, br#"{"first":2,"last":900,"agents":""}"#),
    ] {
        let issuer = Issuer::start().await;
        let store = &*issuer.app.store;
        let agent: AgentId = issuer.agent(&[]).await.id.parse().unwrap();
        let home = agent.partition();
        append(store, home, (0..9).map(|_| token_of(agent))).await;
        issuer.app.sealer.seal_all().await.unwrap();
        let conclusion = issuer.app.verification.conclusion().await;
        assert!(conclusion.found.as_ref().unwrap().intact);
        let row = home.key("audit_segment").with(first);
        let forged = [b"\x01", note].concat();
        let batch = Batch::new(home).put(&row, forged.into());
        assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
        let conclusion = issuer.app.verification.conclusion().await;
        let report = conclusion.found.as_ref().unwrap();
        assert_eq!(report.findings.len(), 1, "{report:?}");
        assert_eq!(report.findings[0].what, Wrong::IndexChanged);
        assert_eq!(report.findings[0].sequence, first);
    }
}

#[tokio::test]
async fn a_note_that_cannot_be_read_hides_nothing_and_is_found_by_verification() {
    let issuer = Issuer::start().await;
    let store = &*issuer.app.store;
    let agent: AgentId = issuer.agent(&[]).await.id.parse().unwrap();
    let home = agent.partition();
    append(store, home, (0..9).map(|_| token_of(agent))).await;
    issuer.app.sealer.seal_all().await.unwrap();
    let row = home.key("audit_segment").with(1_u64);
    for note in [b"\x01{".as_slice(), b"\xff{}"] {
        let batch = Batch::new(home).put(&row, note.to_vec().into());
        assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
        let path = format!("/api/audit-logs?agent_id={agent}");
        let list = issuer.admin(Method::GET, &path, None).await.json();
        assert_eq!(list["logs"].as_array().map(Vec::len), Some(10), "{list}");
        let conclusion = issuer.app.verification.conclusion().await;
        let report = conclusion.found.as_ref().unwrap();
        assert_eq!(report.findings.len(), 1, "{report:?}");
        assert_eq!(report.findings[0].what, Wrong::IndexChanged);
        assert_eq!(report.findings[0].sequence, 1);
    }
}
