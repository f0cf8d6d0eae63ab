//! Commands that go to Redis together.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, pin_mut};
use machineauth_issuer::store::{Batch, Outcome, Partition, RedisStore, Store as _};
use machineauth_tests::fault_proxy::FaultProxy;
use machineauth_tests::redis_server::RedisServer;
use tokio::time::{sleep, timeout};

use crate::store::fixture::{append, bytes, clock, connect, key, partition};

/// More than go together.
const CROWD: usize = 100;

/// Whoever goes away takes nobody along: neither those who asked before nor those who asked after.
#[tokio::test]
async fn askers_that_go_away_leave_the_others_their_answers() {
    let server = RedisServer::start().await;
    let store = connect(&server, &clock()).await;
    let row = key("row");
    let batch = Batch::new(partition()).put(&row, bytes("value"));
    assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
    for step in 2..5 {
        let askers = (0..CROWD).map(|number| {
            let (store, row) = (&store, &row);
            async move {
                let asking = store.get(row);
                pin_mut!(asking);
                if number % step == 0 {
                    // It has asked, and goes away.
                    return asking.as_mut().now_or_never().is_none();
                }
                asking.await.unwrap().unwrap().value == "value"
            }
        });
        let answered = timeout(Duration::from_secs(5), join_all(askers)).await;
        assert!(answered.unwrap().into_iter().all(|answered| answered));
    }
}

/// What Redis refuses of those that go together is refused alone.
#[tokio::test]
async fn a_refusal_is_of_one_command_only() {
    let server = RedisServer::start().await;
    let store = connect(&server, &clock()).await;
    let spoilt = Partition::data()
        .find(|other| *other != partition())
        .unwrap();
    server.ask(&["SET", &format!("{{ma:{spoilt}}}:rows"), "no hash"]);
    let commits = (0..CROWD).map(|number| {
        let store = &store;
        async move {
            let is_spoilt = number % 3 == 0;
            let batch = match is_spoilt {
                true => Batch::new(spoilt).put(&spoilt.key("row"), bytes("value")),
                false => append("event"),
            };
            store.commit(&batch).await.is_err() == is_spoilt
        }
    });
    assert!(join_all(commits).await.into_iter().all(|right| right));
}

/// A connection on which nothing is any more is given up with all that waited for it, and another one is made.
#[tokio::test]
async fn a_connection_that_says_nothing_is_given_up() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url, Arc::new(clock())).await.unwrap();
    assert_eq!(
        store.commit(&append("event")).await.unwrap(),
        Outcome::Committed
    );
    let usually = connections_to(proxy.address().port());

    proxy.strand();
    let row = key("row");
    let asking = join_all((0..CROWD).map(|_| store.get(&row))).await;
    // Reads are sent again, and the other connection answers.
    assert!(asking.into_iter().all(|answer| answer.unwrap().is_none()));
    let given_up = async {
        while connections_to(proxy.address().port()) > usually {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), given_up)
        .await
        .expect("the silent connection is closed");
}

/// How many connections this machine has to a port of loopback, as `/proc/net/tcp` lists them.
fn connections_to(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let lines = table.lines().filter(|line| {
        let mut columns = line.split_whitespace().skip(2);
        columns
            .next()
            .is_some_and(|address| address.ends_with(&remote))
            && columns.next() == Some(ESTABLISHED)
    });
    lines.count()
}
