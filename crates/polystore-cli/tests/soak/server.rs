//! `polystore serve` as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

pub(crate) struct Serve {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Serve {
    pub(crate) fn start(store: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_polystore"))
            .args(["serve", "--store", store, "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, addresses) = mpsc::channel();
        // What it says later is read too: a pipe that is full would hold it up.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let address = line.split_once("http://").map(|(_, rest)| rest);
                let address = address.and_then(|rest| rest.split('/').next()?.parse().ok());
                if let Some(address) = address {
                    let _ = sender.send(address);
                }
            }
        });
        let address = addresses.recv_timeout(Duration::from_secs(60));
        Self {
            child,
            address: address.expect("it says where it listens"),
        }
    }

    /// How much memory it has, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines();
        let kilobytes = lines.find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        kilobytes.expect("it runs").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
