//! `store-growth [DAYS]`: lets days of traffic pass on the embedded store and on Redis, and prints what lies in each by then.
//! `bench/growth/run` runs it.

use std::process::ExitCode;
use std::sync::Arc;

use machineauth_issuer::store::{DynStore, EmbeddedStore, RedisStore};
use machineauth_tests::growth::{Growth, SETTINGS};
use machineauth_tests::redis_server::RedisServer;

#[tokio::main]
async fn main() -> ExitCode {
    let days = std::env::args().nth(1);
    let Ok(days) = days.as_deref().unwrap_or("21").parse::<usize>() else {
        eprintln!("usage: store-growth [DAYS]");
        return ExitCode::FAILURE;
    };
    let settings = SETTINGS.map(|(name, value)| format!("{name}={value}"));
    println!("{}", settings.join(" "));
    let mut is_bounded = true;

    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("store.redb");
    let clock = Growth::clock();
    let store = EmbeddedStore::open(&path, Arc::new(clock.clone())).await;
    let store: DynStore = Arc::new(store.expect("a new file opens"));
    let mut growth = Growth::on(store, &clock).await;
    println!("\nthe embedded store");
    for day in 1..=days {
        growth.day().await;
        let file = std::fs::metadata(&path).map_or(0, |file| file.len());
        println!("day {day}: the file has {file} bytes");
    }
    println!("{}", growth.report());
    is_bounded &= growth.report().is_bounded();

    let server = RedisServer::start().await;
    let clock = Growth::clock();
    let store = RedisStore::connect(&server.url(), Arc::new(clock.clone())).await;
    let store: DynStore = Arc::new(store.expect("a running server is reachable"));
    let mut growth = Growth::on(store, &clock).await;
    println!("\nRedis");
    for day in 1..=days {
        growth.day().await;
        let info = server.ask(&["INFO", "memory"]);
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        println!("day {day}: Redis uses {} bytes", used.unwrap_or("?").trim());
    }
    println!("{}", growth.report());
    is_bounded &= growth.report().is_bounded();
    match is_bounded {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
