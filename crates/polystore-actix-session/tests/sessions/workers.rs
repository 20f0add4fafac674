//! Several workers of a real server, each with a runtime of its own, on one store.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::dev::ServerHandle;
use actix_web::{App, Error, HttpServer, web};
use polystore_actix_session::Sessions;

use super::places::{Place, everywhere};

const WORKERS: usize = 4;

async fn count(session: Session) -> Result<String, Error> {
    let count = session.get::<u32>("count")?.unwrap_or(0) + 1;
    session.insert("count", count)?;
    Ok(count.to_string())
}

async fn look(session: Session) -> Result<String, Error> {
    Ok(session.get::<u32>("count")?.unwrap_or(0).to_string())
}

async fn login(session: Session) -> Result<String, Error> {
    session.renew();
    count(session).await
}

/// Starts a server with several workers, on a thread of its own.
fn serve(place: &Place) -> (SocketAddr, ServerHandle, std::thread::JoinHandle<()>) {
    let sessions = Sessions::new(&place.store).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let key = Key::generate();
            let server = HttpServer::new(move || {
                let sessions = SessionMiddleware::builder(sessions.clone(), key.clone());
                App::new()
                    .wrap(sessions.cookie_secure(false).build())
                    .route("/count", web::get().to(count))
                    .route("/look", web::get().to(look))
                    .route("/login", web::get().to(login))
            });
            let server = server
                .workers(WORKERS)
                .shutdown_timeout(20)
                .disable_signals()
                .bind("127.0.0.1:0")
                .unwrap();
            let address = server.addrs()[0];
            let server = server.run();
            sender.send((address, server.handle())).unwrap();
            server.await.unwrap();
        });
    });
    let (address, handle) = receiver.recv().unwrap();
    (address, handle, serving)
}

/// A browser with one connection, and its cookie.
struct Browser {
    stream: BufReader<TcpStream>,
    cookie: String,
}

struct Reply {
    status: u16,
    body: String,
}

impl Browser {
    fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream: BufReader::new(stream),
            cookie: String::new(),
        })
    }

    /// Nothing where the connection was closed without a word.
    fn get(&mut self, path: &str) -> Option<Reply> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\ncookie: {}\r\n\r\n",
            self.cookie
        );
        self.stream.get_mut().write_all(request.as_bytes()).ok()?;
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "set-cookie" => value.split(';').next()?.clone_into(&mut self.cookie),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).unwrap();
        Some(Reply { status, body })
    }
}

/// The stores on the network, where a connection lives on the runtime that made it.
fn on_the_network() -> impl Iterator<Item = Place> {
    let is_local = |place: &Place| ["memory", "file", "folder", "level"].contains(&place.name);
    everywhere()
        .into_iter()
        .filter(move |place| !is_local(place))
}

#[test]
fn workers_share_one_store_under_load() {
    const BROWSERS: usize = 32;
    const VISITS: usize = 12;
    for place in on_the_network() {
        let (address, handle, serving) = serve(&place);
        std::thread::scope(|scope| {
            for _ in 0..BROWSERS {
                scope.spawn(|| {
                    let mut cookie = String::new();
                    for visit in 1..=VISITS {
                        // Another connection each time: another worker, most often.
                        let mut browser = Browser::open(address).unwrap();
                        browser.cookie.clone_from(&cookie);
                        let path = if visit % 4 == 0 { "/login" } else { "/count" };
                        let reply = browser.get(path).unwrap();
                        assert_eq!(reply.status, 200, "{}: visit {visit}", place.name);
                        assert_eq!(reply.body, visit.to_string(), "{}", place.name);
                        let reply = browser.get("/look").unwrap();
                        assert_eq!(reply.body, visit.to_string(), "{}", place.name);
                        cookie.clone_from(&browser.cookie);
                    }
                });
            }
        });
        futures_executor::block_on(handle.stop(true));
        serving.join().unwrap();
    }
}

/// A worker without connections ends at once, and its runtime with it: perhaps the one that the connection to the
/// store lives on, while the others still answer.
#[test]
fn a_graceful_end_answers_every_request_that_it_took() {
    for place in on_the_network().filter(|place| place.name != "sqlite") {
        for _ in 0..3 {
            let (address, handle, serving) = serve(&place);
            let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for number in 0..3 {
                    let (place, is_over, answered) = (&place, &is_over, &answered);
                    scope.spawn(move || {
                        let mut browser = Browser::open(address).unwrap();
                        // Until it is told that the connection ends.
                        while let Some(reply) = browser.get(["/count", "/login"][number % 2]) {
                            let status = reply.status;
                            assert_eq!(status, 200, "{}: {}", place.name, reply.body);
                            answered.fetch_add(1, Ordering::SeqCst);
                            if is_over.load(Ordering::SeqCst) {
                                break;
                            }
                            // Every other one as a new visitor.
                            if number == 2 {
                                browser.cookie.clear();
                            }
                        }
                    });
                }
                while answered.load(Ordering::SeqCst) < 30 {
                    std::thread::yield_now();
                }
                futures_executor::block_on(handle.stop(true));
                is_over.store(true, Ordering::SeqCst);
            });
            serving.join().unwrap();
        }
    }
}

#[test]
fn a_store_outlives_the_server_that_used_it() {
    for place in on_the_network() {
        let mut cookie = String::new();
        for visit in 1..=3 {
            let (address, handle, serving) = serve(&place);
            let mut browser = Browser::open(address).unwrap();
            browser.cookie = std::mem::take(&mut cookie);
            // Another key signs the cookies now: what counts is that the store works.
            let reply = browser.get("/count").unwrap();
            assert_eq!(
                (reply.status, &*reply.body),
                (200, "1"),
                "{}: {visit}",
                place.name
            );
            cookie = browser.cookie;
            // At once, with what is under way.
            futures_executor::block_on(handle.stop(false));
            serving.join().unwrap();
        }
    }
}
