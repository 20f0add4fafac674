//! Redis Cluster.

use super::{Redis, RedisBuilder};
use crate::server::wait_until;

/// Three masters with a third of the slots each, and a replica of each. A replica takes over some seconds after its
/// master is gone.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;

impl RedisCluster {
    /// All six nodes, agreed on who has what.
    ///
    /// # Panics
    /// If they do not start or do not agree, or redis-server is missing in CI.
    #[must_use]
    pub fn start() -> Option<Self> {
        let builder = RedisBuilder::default()
            .line("cluster-enabled yes")
            .line("cluster-node-timeout 2000")
            // However long a replica was without its master, it may take over.
            .line("cluster-replica-validity-factor 0");
        let nodes = (0..2 * MASTERS).map(|_| builder.clone().start());
        let cluster = Self {
            nodes: nodes.collect::<Option<_>>()?,
        };
        cluster.join();
        Some(cluster)
    }

    fn join(&self) {
        let first = self.nodes[0].port.to_string();
        for (number, node) in self.nodes.iter().enumerate() {
            let epoch = (number + 1).to_string();
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            if number < MASTERS {
                let slots = number * SLOTS / MASTERS..(number + 1) * SLOTS / MASTERS;
                let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
                let slots = slots.iter().map(String::as_str);
                let words: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots).collect();
                node.command(&words);
            }
            if number > 0 {
                node.command(&["CLUSTER", "MEET", "127.0.0.1", &first]);
            }
        }
        for number in MASTERS..2 * MASTERS {
            let master = self.nodes[number - MASTERS].command(&["CLUSTER", "MYID"]);
            // It must have heard of its master first.
            wait_until("the nodes meet", || {
                let replicate = ["CLUSTER", "REPLICATE", &master];
                self.nodes[number].try_command(&replicate).is_ok()
            });
        }
        self.wait_until_whole();
    }

    /// Waits until every node that runs says that all is well, and each master that runs has the replicas that
    /// run connected.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_whole(&self) {
        let running: Vec<&Redis> = self.nodes.iter().filter(|node| node.is_running()).collect();
        wait_until("the cluster is whole", || {
            let masters = |node: &Redis| {
                let nodes = node.command(&["CLUSTER", "NODES"]);
                let lines = nodes.lines().filter(|line| !line.contains("fail"));
                let known = lines.clone().count();
                (lines.filter(|line| line.contains("master")).count(), known)
            };
            running.iter().all(|node| {
                let state = node.command(&["CLUSTER", "INFO"]);
                let is_linked = node.info("role").as_deref() == Some("master")
                    || node.info("master_link_status").as_deref() == Some("up");
                state.contains("cluster_state:ok")
                    && masters(node) == (MASTERS, running.len())
                    && is_linked
            })
        });
    }

    /// All nodes: at the start three masters, then the replica of each in the same order.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Which nodes run and are masters now.
    #[must_use]
    pub fn masters(&self) -> Vec<usize> {
        let is_master = |node: &Redis| node.info("role").as_deref() == Some("master");
        let numbers = 0..self.nodes.len();
        numbers
            .filter(|number| is_master(&self.nodes[*number]))
            .collect()
    }

    /// The node that is the master of `key` now.
    ///
    /// # Panics
    /// If no running node can tell.
    #[must_use]
    pub fn master_of(&self, key: &str) -> usize {
        let masters = self.masters();
        let owner = masters.into_iter().find(|number| {
            let node = &self.nodes[*number];
            // To another's key it answers MOVED.
            node.try_command(&["EXISTS", key]).is_ok()
        });
        owner.expect("every slot has a master")
    }

    /// Waits until a replica has taken over from `node`, which was killed, or was stopped.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_for_failover(&self) {
        wait_until("a replica takes over", || self.masters().len() == MASTERS);
        self.wait_until_whole();
    }

    /// `redis-cluster://` with the addresses of the first three nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses = self.nodes[..MASTERS]
            .iter()
            .map(|node| node.address().to_string());
        format!(
            "redis-cluster://{}",
            addresses.collect::<Vec<_>>().join(",")
        )
    }

    /// [`url`](Self::url) with parameters like `"timeout=1s"`.
    #[must_use]
    pub fn url_with(&self, query: &str) -> String {
        crate::server::with_query(&self.url(), query)
    }
}
