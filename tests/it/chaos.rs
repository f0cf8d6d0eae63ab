//! A little chaos in every run of the tests; `scripts/chaos` has more of it.

use std::time::Duration;

use machineauth_tests::chaos::{Ground, Programs, Run};
use machineauth_tests::redis_server::Persistence;

/// The same faults in every run; `scripts/chaos` has others each time.
const SEED: u64 = 1;

async fn promises_are_kept(ground: Ground, seconds: u64) {
    let run = Run {
        programs: Programs {
            issuer: env!("CARGO_BIN_EXE_issuer").into(),
            edge: env!("CARGO_BIN_EXE_edge").into(),
            api: env!("CARGO_BIN_EXE_axum-api").into(),
        },
        ground,
        seed: SEED,
        lasts: Duration::from_secs(seconds),
    };
    let report = run.happen().await;
    println!("{report}");
    assert!(report.is_kept(), "{report}");
    assert!(report.faults() > 4, "hardly anything happened: {report}");
    assert_eq!(report.unchecked(), [""; 0], "{report}");
}

/// I9, I15, I18, V24
#[tokio::test(flavor = "multi_thread")]
async fn two_issuers_on_redis_keep_what_they_promised_whatever_dies() {
    promises_are_kept(Ground::Redis(Persistence::Always), 15).await;
}

/// I9, I15, I18, V24
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_on_the_embedded_store_keeps_what_it_promised_whatever_dies() {
    promises_are_kept(Ground::Embedded, 12).await;
}
