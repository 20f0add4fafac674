//! A server for the clients that others wrote.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use polystore_kv::Store;
use polystore_server::Server;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

/// A store that is served on a free port of 127.0.0.1, until this is dropped.
///
/// On a thread of its own: the tests block theirs while Node runs.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves `store`, which has not been used elsewhere: its connections belong to the server's thread.
    /// (Of a `memory:` store a clone does as well.)
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self::with(Server::new(store))
    }

    /// Serves as `server` says.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn with(server: Server) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("it is a socket");
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(async {
                let listener = TcpListener::from_std(listener).expect("it does not block");
                tokio::select! {
                    served = server.serve(listener, std::future::pending()) => {
                        served.expect("connections are accepted");
                    }
                    // Also where the test has panicked.
                    _ = stopped => {}
                }
            });
        };
        Self {
            address,
            stop: Some(stop),
            thread: Some(std::thread::spawn(serve)),
        }
    }

    /// `http://127.0.0.1:PORT/`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the server panicked"
            );
        }
    }
}
