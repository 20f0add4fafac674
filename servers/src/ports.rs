//! Ports that nobody listens at.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Systems draw the ports of outgoing connections from above 32768: below it, nobody takes the port
/// of a server that is stopped and is to come back.
const FIRST: u16 = 11_000;
const COUNT: u16 = 10_000;

/// Where the nodes of a Redis cluster listen for each other, counted from the port for clients.
const BUS: u16 = 10_000;

/// A port of 127.0.0.1 that was free just now, and that this process was not given before.
pub(crate) fn free() -> u16 {
    static FROM: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Each process begins somewhere else, so that test programs side by side seldom meet.
    let from = *FROM.get_or_init(|| RandomState::new().hash_one(std::process::id()) / 2);
    let drawn = (0..u64::from(COUNT)).map(|_| {
        let drawn = (from + NEXT.fetch_add(1, Ordering::Relaxed)) % u64::from(COUNT);
        FIRST + u16::try_from(drawn).expect("it is less than COUNT")
    });
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    drawn
        .into_iter()
        .find(|port| is_free(*port) && is_free(port + BUS))
        .expect("ten thousand ports are not all taken")
}
