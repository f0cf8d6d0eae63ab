//! The Lua scripts and the names of the keys that they work on.

use redis::{Cmd, Script as Source, ToRedisArgs};

use crate::store::{Log, Partition};

/// Where changes of logs are announced.
pub(super) const CHANGES: &str = "ma:changes";

/// All scripts, hashed once.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) commit: Source,
    pub(super) scan: Source,
    pub(super) log: Source,
    pub(super) log_back: Source,
    pub(super) ends: Source,
    pub(super) trim: Source,
    pub(super) sweep: Source,
    pub(super) dump: Source,
    pub(super) load: Source,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        Scripts {
            commit: Source::new(include_str!("lua/commit.lua")),
            scan: Source::new(include_str!("lua/scan.lua")),
            log: Source::new(include_str!("lua/log.lua")),
            log_back: Source::new(include_str!("lua/log_back.lua")),
            ends: Source::new(include_str!("lua/ends.lua")),
            trim: Source::new(include_str!("lua/trim.lua")),
            sweep: Source::new(include_str!("lua/sweep.lua")),
            dump: Source::new(include_str!("lua/dump.lua")),
            load: Source::new(include_str!("lua/load.lua")),
        }
    }

    pub(super) fn all(&self) -> [&Source; 9] {
        [
            &self.commit,
            &self.scan,
            &self.log,
            &self.log_back,
            &self.ends,
            &self.trim,
            &self.sweep,
            &self.dump,
            &self.load,
        ]
    }
}

/// `EVALSHA` with all its keys declared; arguments follow.
pub(super) fn evalsha(script: &Source, keys: &[impl ToRedisArgs]) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(keys.len());
    for key in keys {
        command.arg(key);
    }
    command
}

/// What decides in which server of a cluster a partition is.
pub(super) fn tag(partition: Partition) -> String {
    format!("ma:{partition}")
}

/// The names of a partition's Redis keys. The partition is the hash tag, so all of them are in one slot.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Hash: path to row.
    pub(super) rows: String,
    /// Sorted set of all paths, in the order of their bytes.
    pub(super) index: String,
    /// Sorted set of paths by the time at which their rows die.
    pub(super) expiry: String,
    /// Hash: path to integer.
    pub(super) counters: String,
    /// Hash: where each log begins.
    pub(super) tails: String,
    audit: String,
    revocations: String,
}

impl Names {
    pub(super) fn of(partition: Partition) -> Names {
        let name = |what: &str| format!("{{{}}}:{what}", tag(partition));
        Names {
            rows: name("rows"),
            index: name("index"),
            expiry: name("expiry"),
            counters: name("counters"),
            tails: name("tails"),
            audit: name("audit"),
            revocations: name("revocations"),
        }
    }

    /// Hash: what the store says about itself.
    pub(super) fn format() -> String {
        format!("{{{}}}:format", tag(Partition::SYSTEM))
    }

    /// List: the entries of a log, each with its version.
    pub(super) fn log(&self, log: Log) -> &str {
        match log {
            Log::Audit => &self.audit,
            Log::Revocations => &self.revocations,
        }
    }

    /// All that a partition consists of, in the order in which the script that puts a copy back takes it.
    pub(super) fn of_copy(&self) -> [&str; 7] {
        [
            &self.rows,
            &self.index,
            &self.expiry,
            &self.counters,
            &self.tails,
            &self.audit,
            &self.revocations,
        ]
    }

    /// What the commit script may touch, in its order.
    pub(super) fn of_commit(&self) -> [&str; 6] {
        [
            &self.rows,
            &self.index,
            &self.expiry,
            &self.counters,
            &self.audit,
            &self.revocations,
        ]
    }
}
