//! Redis Sentinel.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use super::{ENDS, Redis, launch, socket};
use crate::ports;
use crate::programs::program;
use crate::server::{Server, wait_until};

/// A primary, its replica, and sentinels that make the replica the primary when that is gone.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [Redis; 2],
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    server: Server,
    port: u16,
}

impl RedisSentinel {
    /// By what name the sentinels know the primary.
    pub const SERVICE: &str = "polystore";

    /// With `sentinels` of them, of which the greater half must agree.
    ///
    /// # Panics
    /// If they do not start, or redis-server is missing in CI.
    #[must_use]
    pub fn start(sentinels: usize) -> Option<Self> {
        let program = program("redis-server", "redis-server")?;
        let primary = Redis::start()?;
        let replica = Redis::replica_of(&primary)?;
        let service = Self::SERVICE;
        let quorum = sentinels / 2 + 1;
        let sentinel = |_| {
            let server = Server::new("sentinel", &ENDS, None);
            let port = server.start_on_free_ports(|| {
                let port = ports::free();
                let configuration = format!(
                    "port {port}\nbind 127.0.0.1\ndir {folder}\nunixsocket {socket}\n\
                     sentinel monitor {service} 127.0.0.1 {primary} {quorum}\n\
                     sentinel down-after-milliseconds {service} 1000\n\
                     sentinel failover-timeout {service} 5000\n",
                    folder = server.folder().display(),
                    socket = socket(&server).display(),
                    primary = primary.port,
                );
                server.write("redis.conf", &configuration);
                (port, launch(&server, &program, &["--sentinel"], None))
            });
            Sentinel { server, port }
        };
        let sentinels = (0..sentinels).map(sentinel).collect();
        let all = Self {
            servers: [primary, replica],
            sentinels,
        };
        all.wait_until_known();
        Some(all)
    }

    /// Each sentinel knows the replica and the others.
    fn wait_until_known(&self) {
        let others = format!("num-other-sentinels\n{}\n", self.sentinels.len() - 1);
        wait_until("the sentinels know each other", || {
            self.sentinels.iter().all(|sentinel| {
                let known = sentinel.ask(&["SENTINEL", "MASTER", Self::SERVICE]);
                known
                    .is_ok_and(|known| known.contains(&others) && known.contains("num-slaves\n1\n"))
            })
        });
    }

    /// The primary at the start, and its replica.
    #[must_use]
    pub fn servers(&self) -> &[Redis; 2] {
        &self.servers
    }

    /// Where the sentinels listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |sentinel: &Sentinel| (Ipv4Addr::LOCALHOST, sentinel.port).into();
        self.sentinels.iter().map(address).collect()
    }

    /// The sentinel `number`, to stop it.
    #[must_use]
    pub fn sentinel(&self, number: usize) -> &Server {
        &self.sentinels[number]
    }

    /// Where the first sentinel that runs says that the primary is.
    #[must_use]
    pub fn primary(&self) -> Option<SocketAddr> {
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::SERVICE];
        let answers = self.sentinels.iter().map(|one| one.ask(&question));
        let answer = answers.into_iter().find_map(Result::ok)?;
        let (host, port) = answer.split_once('\n')?;
        Some((host.parse::<Ipv4Addr>().ok()?, port.parse().ok()?).into())
    }

    /// Waits until the replica has become the primary, after that was killed or stopped.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_for_failover(&self) {
        let replica = &self.servers[1];
        wait_until("the replica takes over", || {
            self.primary() == Some(replica.address())
                && replica.info("role").as_deref() == Some("master")
        });
    }
}

impl Sentinel {
    fn ask(&self, words: &[&str]) -> Result<String, String> {
        super::client::ask(&socket(&self.server), None, words)
    }
}

impl Deref for Sentinel {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
