//! The server under load for a minute, while its Redis comes and goes: no answer is wrong, no
//! failure is one that is not documented, and memory does not grow.
//!
//! `POLYSTORE_SOAK_SECONDS=10` makes it shorter.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod client;
mod model;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Reply};
use model::{Model, Span};
use polystore_servers::Redis;
use serde_json::Value;
use server::Serve;

const CONNECTIONS: usize = 256;
/// How many keys each connection owns.
const KEYS: usize = 16;
/// At least so many restarts of Redis, one in each third of the time; the more, the longer it is.
const RESTARTS: u32 = 3;
const DOWN: Duration = Duration::from_millis(1200);

#[test]
fn the_server_is_right_and_does_not_grow_while_its_redis_restarts() {
    // What was answered is on the disk, whatever happens to Redis then.
    let Some(redis) = Redis::with(&["appendfsync always"]) else {
        return;
    };
    let serve = Serve::start(&redis.url_with("timeout=1s"));
    let seconds = std::env::var("POLYSTORE_SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(soak(redis, serve, Duration::from_secs(seconds)));
}

async fn soak(redis: Redis, serve: Serve, time: Duration) {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let stop = Arc::new(AtomicBool::new(false));
    let counts = Arc::new(Counts::default());
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..CONNECTIONS {
        let client = Client::connect(serve.address).await;
        let worker = Worker {
            client,
            random: Random(seed ^ (number as u64) << 32),
            model: Model::new(),
            prefix: format!("c{number}:"),
            counts: Arc::clone(&counts),
        };
        workers.spawn(worker.work(Arc::clone(&stop)));
    }
    // What the first requests and the first outage take is not growth.
    let redis = restart(redis, true).await;
    let warm = CONNECTIONS as u64 * 50;
    wait_until("the connections are warm", || counts.all() >= warm).await;

    let begun = Instant::now();
    let mut resident = Vec::new();
    let half_minutes = u32::try_from(time.as_secs() / 30).unwrap();
    let part = time / (RESTARTS * half_minutes.max(1));
    let (mut redis, mut restarts) = (Some(redis), 0);
    let mut restarting = None;
    while begun.elapsed() < time {
        if let Some(ended) = workers.try_join_next() {
            ended.unwrap();
        }
        resident.push((begun.elapsed(), serve.resident()));
        // In the middle of each part.
        if begun.elapsed() >= part * restarts + part / 2
            && let Some(redis) = redis.take()
        {
            restarts += 1;
            restarting = Some(tokio::spawn(restart(redis, restarts % 2 == 0)));
        }
        if restarting
            .as_ref()
            .is_some_and(tokio::task::JoinHandle::is_finished)
        {
            redis = Some(restarting.take().unwrap().await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It is there again for what follows.
    let _redis = match restarting {
        Some(restarting) => restarting.await.unwrap(),
        None => redis.unwrap(),
    };
    stop.store(true, Ordering::Relaxed);
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    println!("{counts:?}");
    assert!(restarts >= RESTARTS, "Redis was restarted {restarts} times");
    assert!(
        counts.failed.load(Ordering::Relaxed) > 0,
        "no outage was felt"
    );

    let mean = |third: u32| {
        let within = time / 3 * third..time / 3 * (third + 1);
        let samples = resident.iter().filter(|(at, _)| within.contains(at));
        let samples: Vec<u64> = samples.map(|(_, bytes)| *bytes).collect();
        samples.iter().sum::<u64>() as f64 / samples.len() as f64
    };
    let (first, last) = (mean(0), mean(2));
    println!(
        "resident: {:.1} MB, at the end {:.1} MB",
        first / 1e6,
        last / 1e6
    );
    assert!(last <= first * 1.1, "it grew from {first} to {last} bytes");
}

/// An outage, by an end in order or by a crash.
async fn restart(redis: Redis, crash: bool) -> Redis {
    let restart = move || {
        if crash {
            redis.kill();
        } else {
            redis.stop();
        }
        std::thread::sleep(DOWN);
        redis.start_again();
        redis
    };
    tokio::task::spawn_blocking(restart).await.unwrap()
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn all(&self) -> u64 {
        self.done.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }
}

/// As good as it need be (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % end
    }
}

/// One connection, and what it knows of the keys that are its own.
struct Worker {
    client: Client,
    random: Random,
    model: Model,
    prefix: String,
    counts: Arc<Counts>,
}

/// A request, and how the model takes its reply.
enum Sent {
    Done(Reply),
    /// It failed as documented: this says whether it may have been applied.
    Failed(bool),
}

impl Worker {
    async fn work(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            self.step().await;
        }
        // Whatever happened: now that Redis is there, everything can be read, and is right.
        let deadline = Instant::now() + Duration::from_secs(60);
        for key in 0..KEYS {
            while !self.get(key).await {
                assert!(Instant::now() < deadline, "it does not recover");
            }
        }
        while !self.list(true).await {
            assert!(Instant::now() < deadline, "it does not recover");
        }
    }

    async fn step(&mut self) {
        let key = self.random.below(KEYS);
        match self.random.below(1000) {
            0..350 => drop(self.get(key).await),
            350..400 => self.head(key).await,
            400..650 => self.put(key).await,
            650..700 => self.put_if(key, "if-none-match").await,
            700..730 => self.put_if(key, "if-match").await,
            730..800 => self.del(key).await,
            800..840 => self.touch(key).await,
            840..910 => self.get_many().await,
            910..960 => self.set_many().await,
            960..985 => self.del_many().await,
            985..990 => drop(self.list(true).await),
            990..997 => drop(self.list(false).await),
            _ => self.clear().await,
        }
    }

    fn path(&self, key: usize) -> String {
        format!("/{}k{key}", self.prefix)
    }

    /// A value that no other write puts.
    fn value(&mut self) -> String {
        let number = self.model.next_number();
        let filler = "x".repeat(self.random.below(300));
        format!(r#"{{"n":{number},"filler":"{filler}"}}"#)
    }

    /// An expiry now and then, in milliseconds.
    fn lifetime(&mut self) -> Option<Duration> {
        let is_some = self.random.below(3) == 0;
        is_some.then(|| Duration::from_millis(self.random.below(3000) as u64 + 1))
    }

    /// Sends it, and looks at failures.
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (Sent, Span) {
        let from = Instant::now();
        let reply = self.client.send(method, path, headers, body).await;
        let span = Span {
            from,
            to: Instant::now(),
        };
        let status = reply.status;
        if matches!(status, 200 | 404 | 412) {
            self.counts.done.fetch_add(1, Ordering::Relaxed);
            return (Sent::Done(reply), span);
        }
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        let maybe_applied = reply.expect_documented_failure(method, path);
        // Its client would wait as well.
        if status == 429 || !maybe_applied {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (Sent::Failed(maybe_applied), span)
    }

    /// Whether it was answered.
    async fn get(&mut self, key: usize) -> bool {
        let (sent, span) = self.send("GET", &self.path(key), &[], "").await;
        let Sent::Done(reply) = sent else {
            return false;
        };
        self.model.check_read(key, &reply, span, Some(&reply.body));
        true
    }

    async fn head(&mut self, key: usize) {
        let (sent, span) = self.send("HEAD", &self.path(key), &[], "").await;
        if let Sent::Done(reply) = sent {
            self.model.check_read(key, &reply, span, None);
        }
    }

    async fn put(&mut self, key: usize) {
        let (value, lifetime) = (self.value(), self.lifetime());
        let path = with_expires(self.path(key), '?', lifetime);
        let (sent, span) = self.send("PUT", &path, &[], &value).await;
        self.written(key, Some(&value), lifetime, &sent, span);
    }

    fn written(
        &mut self,
        key: usize,
        value: Option<&str>,
        lifetime: Option<Duration>,
        sent: &Sent,
        span: Span,
    ) {
        match sent {
            Sent::Done(reply) => {
                assert_eq!(reply.status, 200, "of a write");
                self.model.written(key, value, lifetime, span);
            }
            Sent::Failed(true) => self.model.maybe_written(key, value, lifetime, span),
            Sent::Failed(false) => self.model.note(key, "not written"),
        }
    }

    /// Only if something is there (`if-match`), or nothing (`if-none-match`).
    async fn put_if(&mut self, key: usize, condition: &str) {
        let (value, lifetime) = (self.value(), self.lifetime());
        let path = with_expires(self.path(key), '?', lifetime);
        let headers = [(condition, "*")];
        let (sent, span) = self.send("PUT", &path, &headers, &value).await;
        let is_refused = matches!(&sent, Sent::Done(reply) if reply.status == 412);
        if matches!(sent, Sent::Done(_)) {
            match (condition == "if-match") != is_refused {
                true => self.model.check_present(key, span),
                false => self.model.check_absent(key, span),
            }
        }
        if !is_refused {
            self.written(key, Some(&value), lifetime, &sent, span);
        }
    }

    async fn del(&mut self, key: usize) {
        let (sent, span) = self.send("DELETE", &self.path(key), &[], "").await;
        self.written(key, None, None, &sent, span);
    }

    async fn touch(&mut self, key: usize) {
        let lifetime = Duration::from_millis(self.random.below(5000) as u64 + 1);
        let path = with_expires(self.path(key), '?', Some(lifetime));
        let (sent, span) = self.send("PATCH", &path, &[], "").await;
        match sent {
            Sent::Done(reply) if reply.status == 404 => self.model.check_absent(key, span),
            Sent::Done(_) => {
                self.model.check_present(key, span);
                self.model.touched(key, lifetime, span, true);
            }
            Sent::Failed(true) => self.model.touched(key, lifetime, span, false),
            Sent::Failed(false) => self.model.note(key, "not touched"),
        }
    }

    /// Some of the keys, each once.
    fn some(&mut self) -> Vec<usize> {
        let first = self.random.below(KEYS);
        let count = self.random.below(KEYS) + 1;
        (first..first + count).map(|key| key % KEYS).collect()
    }

    fn names(keys: &[usize]) -> String {
        let names: Vec<String> = keys.iter().map(|key| format!("k{key}")).collect();
        serde_json::json!({ "keys": names }).to_string()
    }

    async fn post(&mut self, what: &str, lifetime: Option<Duration>, body: &str) -> (Sent, Span) {
        let path = format!("/_/{what}?prefix={}", self.prefix);
        let path = with_expires(path, '&', lifetime);
        self.send("POST", &path, &[("content-type", "application/json")], body)
            .await
    }

    async fn get_many(&mut self) {
        let keys = self.some();
        let (sent, span) = self.post("get", None, &Self::names(&keys)).await;
        if let Sent::Done(reply) = sent {
            self.check_object(&reply, keys, span);
        }
    }

    fn check_object(&mut self, reply: &Reply, keys: impl IntoIterator<Item = usize>, span: Span) {
        assert_eq!(reply.status, 200);
        let mut found: BTreeMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_str(&reply.body).unwrap();
        for key in keys {
            let value = found.remove(&format!("k{key}"));
            self.model
                .check_value(key, value.as_ref().map(|raw| raw.get()), span);
        }
        assert!(
            found.is_empty(),
            "it answered other keys: {:?}",
            found.keys()
        );
    }

    async fn set_many(&mut self) {
        let (keys, lifetime) = (self.some(), self.lifetime());
        let mut values = Vec::new();
        for key in keys {
            // A null deletes.
            let is_null = self.random.below(8) == 0;
            values.push((key, (!is_null).then(|| self.value())));
        }
        let entries: Vec<String> = values
            .iter()
            .map(|(key, value)| format!(r#""k{key}":{}"#, value.as_deref().unwrap_or("null")))
            .collect();
        let body = format!("{{{}}}", entries.join(","));
        let (sent, span) = self.post("set", lifetime, &body).await;
        for (key, value) in &values {
            self.written(*key, value.as_deref(), lifetime, &sent, span);
        }
    }

    async fn del_many(&mut self) {
        let keys = self.some();
        let (sent, span) = self.post("del", None, &Self::names(&keys)).await;
        for key in keys {
            self.written(key, None, None, &sent, span);
        }
    }

    /// Whether it was answered to its end.
    async fn list(&mut self, lines: bool) -> bool {
        let path = format!("/?prefix={}", self.prefix);
        let form = if lines {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let (sent, span) = self.send("GET", &path, &[("accept", form)], "").await;
        let Sent::Done(mut reply) = sent else {
            return false;
        };
        if lines {
            let Some(object) = object_of(&reply) else {
                return false;
            };
            reply.body = object;
        } else if !reply.is_whole {
            return false;
        }
        self.check_object(&reply, 0..KEYS, span);
        true
    }

    async fn clear(&mut self) {
        let path = format!("/?prefix={}", self.prefix);
        let (sent, span) = self.send("DELETE", &path, &[], "").await;
        for key in 0..KEYS {
            self.written(key, None, None, &sent, span);
        }
    }
}

fn with_expires(path: String, before: char, lifetime: Option<Duration>) -> String {
    match lifetime {
        Some(lifetime) => format!("{path}{before}expires={}", lifetime.as_secs_f64()),
        None => path,
    }
}

/// The lines of a listing as one object; nothing if the last one says that it failed.
fn object_of(reply: &Reply) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Line {
        key: String,
        value: Box<serde_json::value::RawValue>,
    }
    assert!(reply.is_whole, "lines are not cut off");
    let mut entries = Vec::new();
    for line in reply.body.lines() {
        if let Some(problem) = serde_json::from_str::<Value>(line).unwrap().get("error") {
            client::expect_documented(problem, "a listing in lines");
            return None;
        }
        let Line { key, value } = serde_json::from_str(line).unwrap();
        entries.push(format!("{}:{value}", Value::from(key)));
    }
    Some(format!("{{{}}}", entries.join(",")))
}
