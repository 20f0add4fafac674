//! A cluster of etcd members.

use std::path::Path;

use super::{ENDS, Etcd, EtcdBuilder, Ports, is_healthy};
use crate::certificates::Certificates;
use crate::programs::program;
use crate::server::{Server, wait_until, with_query};

/// Three members, of which one may be down.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Etcd>,
}

const MEMBERS: usize = 3;

impl EtcdCluster {
    /// All three, with a leader. Nothing where etcd is missing.
    ///
    /// # Panics
    /// If they do not start, or etcd is missing in CI.
    #[must_use]
    pub fn start() -> Option<Self> {
        Etcd::builder().start_cluster()
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &[Etcd] {
        &self.members
    }

    /// Which member is the leader, as far as those that run know. Not with TLS.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let leads = |member: &Etcd| {
            let status = member.try_call("maintenance/status", "{}", None).ok()?;
            Some(field(&status, "leader")? == field(&status, "member_id")?)
        };
        let running = self.members.iter().enumerate();
        let mut running = running.filter(|(_, member)| member.is_running());
        running.find_map(|(number, member)| (leads(member)?).then_some(number))
    }

    /// Waits until every member that runs is well, for which there must be a leader.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_healthy(&self) {
        wait_until("the members have a leader", || {
            let mut running = self.members.iter().filter(|member| member.is_running());
            running.all(Etcd::is_healthy)
        });
    }

    /// `etcd://` with the addresses of all members, and `?tls` if they speak that.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses = self
            .members
            .iter()
            .map(|member| member.address().to_string());
        let tls = if self.certificates().is_some() {
            "?tls"
        } else {
            ""
        };
        format!("etcd://{}{tls}", addresses.collect::<Vec<_>>().join(","))
    }

    /// [`url`](Self::url) with parameters like `"timeout=1s"`.
    #[must_use]
    pub fn url_with(&self, query: &str) -> String {
        with_query(&self.url(), query)
    }

    /// The files for a client, if they speak TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.members[0].certificates()
    }
}

impl EtcdBuilder {
    /// Starts a cluster of three.
    ///
    /// # Panics
    /// If they do not start, or etcd is missing in CI.
    #[must_use]
    pub fn start_cluster(self) -> Option<EtcdCluster> {
        let program = program("etcd", "etcd-server")?;
        for _ in 0..5 {
            match self.try_start_cluster(&program) {
                Ok(cluster) => return Some(cluster),
                Err(log) if log.contains("already in use") => {}
                Err(log) => panic!("etcd did not start:\n{log}"),
            }
        }
        panic!("etcd found no free ports")
    }

    fn try_start_cluster(&self, program: &Path) -> Result<EtcdCluster, String> {
        let ports = [(); MEMBERS].map(|()| Ports::free());
        let peers = ports.iter().enumerate();
        let peers =
            peers.map(|(number, ports)| format!("{number}=http://127.0.0.1:{}", ports.peers));
        let cluster = peers.collect::<Vec<_>>().join(",");
        let servers = [(); MEMBERS].map(|()| Server::new("etcd", &ENDS, None));
        // All show the first one's certificate, so that clients trust one CA.
        let certificates = self.tls.map(|_| Certificates::create(servers[0].folder()));
        let start = |number: usize| {
            let (server, ports) = (&servers[number], ports[number]);
            let member = (number, ports, cluster.as_str());
            let script = self.script(program, server.folder(), certificates.as_ref(), member);
            server.start(&script, move || is_healthy(ports.health))
        };
        // At once, as none is well before it has met another.
        std::thread::scope(|scope| {
            let start = &start;
            let starting: [_; MEMBERS] =
                std::array::from_fn(|number| scope.spawn(move || start(number)));
            starting
                .into_iter()
                .try_for_each(|one| one.join().expect("it does not panic"))
        })?;
        let members = servers.into_iter().zip(ports).map(|(server, ports)| Etcd {
            server,
            ports,
            certificates: certificates.clone(),
        });
        Ok(EtcdCluster {
            members: members.collect(),
        })
    }
}

/// The text or number after `"name":` in JSON as etcd writes it.
fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    rest.split('"').next()
}
