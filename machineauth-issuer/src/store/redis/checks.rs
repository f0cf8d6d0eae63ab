//! Whether what was found is a store for this program, on servers that are fit to keep it.

use std::collections::HashMap;

use redis::InfoDict;

use super::script::Names;
use super::servers::Servers;
use crate::store::{FORMAT, Incompatibility, PARTITIONS, Partition, StoreError};

/// The oldest Redis that has what the scripts need.
const OLDEST: (u64, u64) = (6, 2);

/// Makes sure that the store is one for this program; an empty one becomes one.
pub(super) async fn format(servers: &Servers) -> Result<(), StoreError> {
    let mut open = redis::cmd("EVAL");
    open.arg(include_str!("lua/open.lua"))
        .arg(1)
        .arg(Names::format())
        .arg(FORMAT)
        .arg(PARTITIONS);
    let (format, partitions): (Option<u64>, Option<u64>) =
        servers.call(Partition::SYSTEM, &open).await?;
    Incompatibility::check(format.unwrap_or_default(), partitions.unwrap_or_default())
        .map_err(|why| StoreError::Incompatible { why })
}

/// Refuses servers that cannot work, and warns of those that lose what they are given.
///
/// # Errors
/// [`StoreError::Incompatible`] for one that is too old.
pub(super) async fn fitness(servers: &Servers, replicas: u32) -> Result<(), StoreError> {
    for info in servers.each::<InfoDict>(&redis::cmd("INFO")).await? {
        let version: String = info.get("redis_version").unwrap_or_default();
        if is_too_old(&version) {
            let why = Incompatibility::Server;
            return Err(StoreError::Incompatible { why });
        }
        for complaint in complaints(&info, replicas) {
            tracing::warn!("{complaint}");
        }
    }
    if is_set(servers, "appendfsync", "no").await {
        tracing::warn!(
            "Redis leaves it to its system when to write to the disk (appendfsync no), so a crash forgets half a minute of \
             revocations: set `appendfsync everysec`"
        );
    }
    if replicas > 0 && is_set(servers, "min-replicas-to-write", "0").await {
        tracing::warn!(
            "set min-replicas-to-write on every Redis server that can become the master: one that was cut off from its \
             replicas goes on answering reads and issuing tokens until it notices that it is no longer the master"
        );
    }
    Ok(())
}

/// What an operator should know about a server.
fn complaints(info: &InfoDict, replicas: u32) -> Vec<String> {
    let text = |name: &str| info.get::<String>(name).unwrap_or_default();
    let mut complaints = Vec::new();
    if text("aof_enabled") == "0" {
        complaints.push(
            "Redis keeps no append-only file, so a restart forgets revocations: set `appendonly yes`".to_owned(),
        );
    }
    let policy = text("maxmemory_policy");
    if policy.starts_with("allkeys-") && text("maxmemory") != "0" {
        complaints.push(format!(
            "Redis throws records away when its memory is full (maxmemory-policy {policy}): set `maxmemory-policy \
             noeviction`"
        ));
    }
    let connected: u32 = info.get("connected_slaves").unwrap_or_default();
    if connected < replicas {
        complaints.push(format!(
            "{connected} replicas are connected to Redis and REDIS_REPLICAS is {replicas}: revocations and other changes \
             that wait for them are refused until there are as many"
        ));
    }
    complaints
}

/// Whether `name` is `value` on one of the servers. Where it may not be asked for, who operates Redis knows better.
async fn is_set(servers: &Servers, name: &str, value: &str) -> bool {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg(name);
    let found: Vec<HashMap<String, String>> = servers.each(&get).await.unwrap_or_default();
    let mut values = found.iter().flat_map(HashMap::values);
    values.any(|found| found == value)
}

/// What cannot be read is let through: forks count their own versions.
fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn complaints_about(info: &str) -> Vec<String> {
        let info = redis::from_redis_value(Value::BulkString(info.into())).unwrap();
        complaints(&info, 1)
    }

    #[test]
    fn each_thing_that_loses_records_is_named_in_one_sentence() {
        let bad = "maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\nconnected_slaves:0\r\n";
        let complaints = complaints_about(bad);
        for (complaint, names) in
            complaints
                .iter()
                .zip(["appendonly yes", "noeviction", "REDIS_REPLICAS is 1"])
        {
            assert!(complaint.contains(names), "{complaint}");
        }
        assert_eq!(complaints.len(), 3);
        let good = "maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1\r\nconnected_slaves:2\r\n";
        assert_eq!(complaints_about(good), Vec::<String>::new());
    }

    #[test]
    fn versions_before_6_2_are_too_old() {
        for version in ["5.0.14", "6.0.20", "2.8"] {
            assert!(is_too_old(version), "{version}");
        }
        for version in ["6.2.0", "7.0.15", "255.255.255", "", "unstable"] {
            assert!(!is_too_old(version), "{version}");
        }
    }
}
