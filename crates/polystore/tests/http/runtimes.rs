//! One store on several runtimes, and servers that come and go under many tasks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polystore_kv::{Store, kv};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::{Answer, full, store};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn use_it(runtime: &Runtime, store: &Store) {
    runtime.block_on(async {
        assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
        store.set("a", &1).await.unwrap();
        store.clear().await.unwrap();
        assert_eq!(store.values::<u8>().await.unwrap(), [7]);
    });
}

#[test]
fn a_store_goes_from_runtime_to_runtime() {
    let server = full(|request| match request.target.contains("prefix=") {
        true => Answer::ours(200, "{\"key\":\"a\",\"value\":7}\n"),
        false => Answer::ours(200, "7"),
    });
    let store = store(&server);
    let begun = Instant::now();
    for _ in 0..5 {
        // This one has ended when the next one begins.
        use_it(&current_thread(), &store);
    }
    // These stand still whenever they are not used.
    let (one, other) = (current_thread(), current_thread());
    for _ in 0..5 {
        use_it(&one, &store);
        use_it(&other, &store);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

/// The real server on a runtime of its own, which is dropped in the middle of what it does.
fn serve(behind: &Store, listener: std::net::TcpListener) -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let router = polystore_server::router(behind.clone());
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        axum::serve(listener, router).await
    });
    runtime
}

fn bind(address: std::net::SocketAddr) -> std::net::TcpListener {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match std::net::TcpListener::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true).unwrap();
                return listener;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_while_the_server_restarts() {
    let behind = kv("memory:").unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    let runtime = serve(&behind, listener);
    let store = kv(format!("http://{address}/?polystore.timeout=20s")).unwrap();
    store.capabilities().await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let acknowledged: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
    let done = Arc::new(AtomicUsize::new(0));
    let tasks = (0..64).map(|task| {
        let (store, is_over) = (store.clone(), Arc::clone(&is_over));
        let (acknowledged, done) = (Arc::clone(&acknowledged), Arc::clone(&done));
        tokio::spawn(async move {
            let mut number = 0_u64;
            while !is_over.load(Ordering::SeqCst) {
                number += 1;
                let key = format!("k{task}");
                // Of each task its own, and never less than before.
                let value = task * 1_000_000_000 + number;
                match number % 4 {
                    0 => store
                        .set_many([(&key, value), (&format!("{key}-too"), value)])
                        .await
                        .unwrap(),
                    _ => store.set(&key, &value).await.unwrap(),
                }
                acknowledged.lock().unwrap().insert(key.clone(), value);
                done.fetch_add(1, Ordering::SeqCst);
                let got = match number % 3 {
                    0 => store.get_many::<u64>([&key]).await.unwrap().remove(&key),
                    _ => store.get::<u64>(&key).await.unwrap(),
                };
                assert_eq!(got, Some(value), "{key}");
            }
            number
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let restarting = behind.clone();
    let restarts = tokio::task::spawn_blocking(move || {
        let mut runtime = runtime;
        for _ in 0..8 {
            let enough = done.load(Ordering::SeqCst) + 200;
            let deadline = Instant::now() + Duration::from_secs(30);
            while done.load(Ordering::SeqCst) < enough {
                assert!(Instant::now() < deadline, "nothing is done any more");
                std::thread::sleep(Duration::from_millis(1));
            }
            runtime.shutdown_timeout(Duration::from_secs(5));
            runtime = serve(&restarting, bind(address));
        }
        runtime
    });
    let runtime = restarts.await.unwrap();
    is_over.store(true, Ordering::SeqCst);
    for task in tasks {
        assert!(task.await.unwrap() > 1);
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    for (key, value) in acknowledged {
        assert_eq!(behind.get::<u64>(&key).await.unwrap(), Some(value), "{key}");
    }
    runtime.shutdown_background();
}
