//! Where a listener is in the revocation logs.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::store::{Log, LogRead, Partition, Position, Store, StoreError};

const PAGE: usize = 500;

/// A place in the revocation logs of all partitions, in the order of [`Partition::data`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Positions(Vec<Position>);

impl Positions {
    pub(super) async fn heads(store: &dyn Store) -> Result<Self, StoreError> {
        try_join_all(Partition::data().map(|partition| store.head(partition, Log::Revocations)))
            .await
            .map(Self)
    }

    /// An opaque event id.
    pub(super) fn to_id(&self) -> String {
        let mut id = String::new();
        for position in &self.0 {
            let separator = if id.is_empty() { "" } else { "," };
            write!(id, "{separator}{position}").expect("writing to a String cannot fail");
        }
        id
    }

    pub(super) fn parse(id: &str) -> Option<Self> {
        let positions: Vec<Position> = id
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        (positions.len() == Partition::data().count()).then_some(Self(positions))
    }

    /// Each position with the partition of its log.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (Partition, &mut Position)> {
        Partition::data().zip(&mut self.0)
    }

    /// Everything after these positions, which move on to the end. `None` when one of them is not in its log.
    pub(super) async fn read_on(
        &mut self,
        store: &dyn Store,
    ) -> Result<Option<Vec<Bytes>>, StoreError> {
        let reads = Partition::data()
            .zip(&self.0)
            .map(|(partition, after)| read_to_end(store, partition, after));
        let reads = try_join_all(reads).await?;
        let mut entries = Vec::new();
        for (position, read) in self.0.iter_mut().zip(reads) {
            let Some((end, new)) = read else {
                return Ok(None);
            };
            *position = end;
            entries.extend(new);
        }
        Ok(Some(entries))
    }
}

async fn read_to_end(
    store: &dyn Store,
    partition: Partition,
    after: &Position,
) -> Result<Option<(Position, Vec<Bytes>)>, StoreError> {
    let mut end = *after;
    let mut entries = Vec::new();
    loop {
        match store.log(partition, Log::Revocations, &end, PAGE).await? {
            LogRead::Lost => return Ok(None),
            LogRead::Entries(page) => {
                let last_page = page.len() < PAGE;
                for (position, entry) in page {
                    end = position;
                    entries.push(entry);
                }
                if last_page {
                    return Ok(Some((end, entries)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// I22
        #[test]
        fn no_event_id_makes_the_parser_panic(id in "[0-9a-f.:,-]{0,300}|\\PC{0,100}") {
            if let Some(positions) = Positions::parse(&id) {
                prop_assert_eq!(Positions::parse(&positions.to_id()), Some(positions));
            }
        }
    }

    #[test]
    fn an_event_id_has_a_position_for_every_partition() {
        let start = Positions(vec![Position::START; Partition::data().count()]);
        assert_eq!(Positions::parse(&start.to_id()), Some(start));
        for other in ["", "0", "0,0", &"0,".repeat(32), &["0"; 33].join(",")] {
            assert_eq!(Positions::parse(other), None, "{other}");
        }
    }
}
