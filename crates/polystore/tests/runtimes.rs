//! One store on the network, on several runtimes that come, stand still, and end.

#![cfg(all(
    unix,
    feature = "redis",
    feature = "postgres",
    feature = "etcd",
    feature = "http",
    feature = "cloudflare"
))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use polystore_kv::{Cloudflare, Error, Store, kv};
use polystore_servers::{Cloudflare as CloudflareServer, Etcd, Postgres, Redis};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Far below the time limit of an operation, and far above what one takes.
const AT_ONCE: Duration = Duration::from_secs(3);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs it on each kind of store on the network, one after the other.
fn on_each(property: impl Fn(&'static str, &Store)) {
    if let Some(redis) = Redis::start() {
        property("redis", &kv(redis.url()).unwrap());
    }
    if let Some(postgres) = Postgres::start() {
        property("postgres", &kv(postgres.url()).unwrap());
    }
    if let Some(etcd) = Etcd::start() {
        property("etcd", &kv(etcd.url()).unwrap());
    }
    property("http", &kv(polystore_server()).unwrap());
    if let Some(server) = CloudflareServer::with_namespaces(1) {
        let store = Cloudflare::new(server.url(0), CloudflareServer::TOKEN);
        property("cloudflare", &kv(store).unwrap());
    }
}

/// The URL of a store in memory behind the real server, for as long as this process lives.
fn polystore_server() -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        current_thread().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            sender.send(format!("http://{address}/")).unwrap();
            let router = polystore_server::router(kv("memory:").unwrap());
            axum::serve(listener, router).await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

/// What it gives, if that does not take long.
async fn at_once<T>(what: &str, work: impl Future<Output = Result<T, Error>>) -> T {
    let begun = Instant::now();
    let done = work.await;
    let took = begun.elapsed();
    let done = done.unwrap_or_else(|error| panic!("{what} after {took:?}: {error:?}"));
    assert!(took < AT_ONCE, "{what} took {took:?}");
    done
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Some of everything, at the same time.
async fn use_it(name: &str, store: &Store) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let some = (0..4).map(async |task| {
        let key = &format!("k{number}-{task}");
        let what = |method| format!("{name}: {method}");
        at_once(
            &what("set"),
            store.set(key, &number).expires("1h").into_future(),
        )
        .await;
        let got: Option<u32> = at_once(&what("get"), store.get(key)).await;
        assert_eq!(got, Some(number), "{name}");
        let got = at_once(&what("get_many"), store.get_many::<u32>([key])).await;
        assert_eq!(got.len(), 1, "{name}");
        if name != "cloudflare" {
            assert!(
                at_once(&what("touch"), store.touch(key, "2h")).await,
                "{name}"
            );
        }
        let keys = at_once(&what("keys"), store.prefix(key).keys()).await;
        assert_eq!(keys, [""], "{name}");
        at_once(&what("del"), store.del(key)).await;
        assert!(!at_once(&what("has"), store.has(key)).await, "{name}");
    });
    join_all(some).await;
}

/// Lets the others end where one fails.
struct Failed<'a>(&'a AtomicBool);

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_runtime_that_ends_in_the_middle_takes_nothing_from_the_others() {
    on_each(|name, store| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stay: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut rounds = 0;
                        let _failed = Failed(&is_over);
                        current_thread().block_on(async {
                            while !is_over.load(Ordering::Relaxed) {
                                use_it(name, store).await;
                                rounds += 1;
                            }
                        });
                        rounds
                    })
                })
                .collect();
            for round in 0..60_u64 {
                let runtime = current_thread();
                for task in 0..8 {
                    let store = store.clone();
                    runtime.spawn(async move {
                        loop {
                            let key = format!("short-{task}");
                            let _ = store.set(&key, &1).await;
                            let _ = store.get::<u8>(&key).await;
                            let _ = store.prefix(&key).keys().await;
                        }
                    });
                }
                runtime
                    .block_on(async { tokio::time::sleep(Duration::from_millis(round % 7)).await });
                drop(runtime);
            }
            is_over.store(true, Ordering::Relaxed);
            for stays in stay {
                assert!(stays.join().unwrap() > 0, "{name}");
            }
        });
    });
}
