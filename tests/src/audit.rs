//! What an issuer has recorded, read from its store.

use machineauth_issuer::domain::event::Event;
use machineauth_issuer::store::{Log, LogRead, Partition, Store};

/// All events in the audit logs, partition by partition, each in its order.
///
/// # Panics
/// When a log cannot be read, or holds what is no event.
pub async fn events(store: &dyn Store) -> Vec<Event> {
    let mut events = Vec::new();
    for partition in Partition::data().chain([Partition::SYSTEM]) {
        let tail = store.tail(partition, Log::Audit).await;
        let tail = tail.expect("the store answers");
        let read = store.log(partition, Log::Audit, &tail, usize::MAX).await;
        let LogRead::Entries(entries) = read.expect("the store answers") else {
            panic!("the tail is in the log");
        };
        events.extend(
            entries
                .iter()
                .map(|(_, entry)| Event::decode(entry).expect("an entry is an event")),
        );
    }
    events
}
