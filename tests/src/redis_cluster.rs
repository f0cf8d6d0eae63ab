//! A Redis cluster of one's own, on loopback.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::process::free_port;
use crate::redis_server::RedisServer;

const SLOTS: u16 = 16_384;
const FORMS_WITHIN: Duration = Duration::from_secs(30);

/// Servers that share the slots among them.
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters; together they have all slots.
    pub masters: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts a cluster of three masters.
    ///
    /// # Panics
    /// When it does not form.
    pub async fn start() -> RedisCluster {
        let mut masters = Vec::new();
        for _ in 0..3 {
            masters.push(member().await);
        }
        let share = SLOTS / 3;
        for (n, master) in (0..).zip(&masters) {
            let last = if n == 2 { SLOTS } else { (n + 1) * share } - 1;
            let first = (n * share).to_string();
            master.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last.to_string()]);
        }
        let cluster = RedisCluster { masters };
        for other in &cluster.masters[1..] {
            cluster.meets(other);
        }
        for master in &cluster.masters {
            is_formed(master).await;
        }
        cluster
    }

    /// Starts a replica of one of the masters, and waits until it is in step.
    ///
    /// # Panics
    /// When it does not get in step.
    pub async fn replica_of(&self, master: usize) -> RedisServer {
        let replica = member().await;
        self.meets(&replica);
        is_formed(&replica).await;
        let master = &self.masters[master];
        replica.ask(&["CLUSTER", "REPLICATE", &id(master)]);
        master.has_replica().await;
        replica
    }

    /// `redis+cluster://host:port,…`
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .masters
            .iter()
            .map(|master| master.address().to_string())
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Hands a slot with all its keys from one master to another, as `redis-cli --cluster reshard` does: key by key, with
    /// a pause after each.
    ///
    /// # Panics
    /// When a server refuses.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize, pause: Duration) {
        let (from, to) = (&self.masters[from], &self.masters[to]);
        let (slot, port) = (slot.to_string(), to.address().port().to_string());
        to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
        let keys: Vec<String> = from.query(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        for key in keys {
            from.ask(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]);
            sleep(pause).await;
        }
        for server in [to, from] {
            server.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]);
        }
    }

    fn meets(&self, other: &RedisServer) {
        let port = other.address().port().to_string();
        let bus = other.ask(&["CONFIG", "GET", "cluster-port"]);
        let bus: String = bus.chars().filter(char::is_ascii_digit).collect();
        self.masters[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }
}

async fn member() -> RedisServer {
    let bus = free_port().to_string();
    RedisServer::start_as(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        "1000",
        "--repl-diskless-sync-delay",
        "0",
    ])
    .await
}

fn id(server: &RedisServer) -> String {
    server.ask(&["CLUSTER", "MYID"])
}

async fn is_formed(server: &RedisServer) {
    let formed = async {
        loop {
            let info = server.ask(&["CLUSTER", "INFO"]);
            if info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384") {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(FORMS_WITHIN, formed)
        .await
        .expect("the cluster forms");
}
