//! Stores that fail: what is said of it, and that it passes.

use std::collections::HashMap;
use std::path::Path;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;
use actix_web::http::StatusCode;
use futures_util::future::join_all;
use polystore_actix_session::Sessions;
use polystore_kv::backend::{Backend, BoxStream, Info, async_trait};
use polystore_kv::{Cloudflare, Entry, Error, ErrorKind, Expiry, Scan, Store, kv};
use polystore_servers::{Cloudflare as CloudflareServer, Etcd, Postgres, Proxy, Redis};
use tokio::net::TcpListener;

use super::app::Browser;
use super::places::{again, everywhere, key};

const HOUR: Duration = Duration::HOUR;

fn state() -> HashMap<String, String> {
    HashMap::from([("password".to_owned(), "\"hunter2\"".to_owned())])
}

/// What each of the five methods fails with.
async fn fails(sessions: &Sessions, key: &SessionKey) -> Vec<(&'static str, anyhow::Error)> {
    let load = match sessions.load(key).await {
        Err(LoadError::Other(error) | LoadError::Deserialization(error)) => error,
        other => panic!("load: {other:?}"),
    };
    let save = match sessions.save(state(), &HOUR).await {
        Err(SaveError::Other(error)) => error,
        other => panic!("save: {other:?}"),
    };
    let update = match sessions.update(again(key), state(), &HOUR).await {
        Err(UpdateError::Other(error)) => error,
        other => panic!("update: {other:?}"),
    };
    let update_ttl = sessions.update_ttl(key, &HOUR).await.unwrap_err();
    let delete = sessions.delete(key).await.unwrap_err();
    vec![
        ("load", load),
        ("save", save),
        ("update", update),
        ("update_ttl", update_ttl),
        ("delete", delete),
    ]
}

/// Everything that somebody may print of it, has its causes and no secret.
fn check(name: &str, error: &anyhow::Error, id: &str) {
    let cause = error.downcast_ref::<Error>();
    let cause = cause.unwrap_or_else(|| panic!("{name}: {error:?}"));
    assert_eq!(cause.key(), None, "{name}");
    let texts = [
        format!("{error}"),
        format!("{error:#}"),
        format!("{error:?}"),
        format!("{error:#?}"),
        format!("{cause:?}"),
    ];
    for text in &texts {
        // Not even a part of it.
        let parts = (0..=id.len() - 12).map(|at| &id[at..at + 12]);
        for part in parts {
            assert!(!text.contains(part), "{name}: {text}");
        }
        assert!(!text.contains("hunter2"), "{name}: {text}");
        assert!(!text.contains("secret"), "{name}: {text}");
    }
    for link in error.chain() {
        let link = link.to_string();
        assert!(texts[1].contains(&link), "{name}: {link} in {}", texts[1]);
        assert!(texts[2].contains(&link), "{name}: {link} in {}", texts[2]);
    }
}

async fn check_all(name: &str, store: &Store) -> Vec<anyhow::Error> {
    let sessions = Sessions::new(store).unwrap();
    let id = "Ab0Cd1Ef2".repeat(8)[..64].to_owned();
    let mut errors = Vec::new();
    for (method, error) in fails(&sessions, &key(&id)).await {
        check(&format!("{name}: {method}"), &error, &id);
        errors.push(error);
    }
    errors
}

#[actix_web::test]
async fn a_store_that_cannot_be_reached_is_an_error_of_every_method() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "it is no store").unwrap();
    let at = |path: &Path| path.display().to_string();
    let inside = at(&file.join("inside"));
    std::fs::create_dir(folder.path().join("a.json")).unwrap();
    let cloudflare = format!("cloudflare://a/b?base=http://127.0.0.1:1&{FAST}");
    let stores = [
        kv(format!("file:{}", at(&folder.path().join("a.json")))),
        kv(format!("file:{inside}/")),
        kv(format!("sqlite:{}", at(&file))),
        kv(format!("sqlite:{inside}/a.db")),
        kv(format!("level:{inside}")),
        kv(format!("redis://:secret@127.0.0.1:1/?{FAST}")),
        kv(format!(
            "postgres://user:secret@127.0.0.1:1/x?sslmode=disable&{FAST}"
        )),
        kv(format!("etcd://user:secret@127.0.0.1:1?{FAST}")),
        kv("http://user:secret@127.0.0.1:1/a/?polystore.timeout=300ms"),
        kv(Cloudflare::new(cloudflare, "secret")),
    ];
    for store in stores {
        let store = store.unwrap();
        let errors = check_all(&store.kind(), &store).await;
        for error in errors {
            // Somebody has to see what is wrong.
            assert!(
                error.chain().count() > 1 || error.to_string().len() > 40,
                "{error:?}"
            );
        }
    }
}

const FAST: &str = "timeout=300ms";

#[actix_web::test]
async fn a_closed_store_is_an_error_of_every_method() {
    for place in everywhere() {
        let sessions = Sessions::new(&place.store).unwrap();
        sessions.save(state(), &HOUR).await.unwrap();
        place.store.close().await.unwrap();
        for error in check_all(place.name, &place.store).await {
            let cause = error.downcast_ref::<Error>().unwrap();
            assert_eq!(cause.kind(), ErrorKind::Closed, "{error:?}");
        }
    }
}

/// What the servers themselves say of a key that is there and of another kind, of rights, of room.
#[actix_web::test]
async fn what_a_server_says_of_a_key_is_not_repeated() {
    let id = "Zz9Yy8Xx7".repeat(8)[..64].to_owned();
    if let Some(redis) = Redis::start() {
        redis.command(&["HSET", &id, "a", "b"]);
        let sessions = Sessions::new(redis.url()).unwrap();
        let Err(LoadError::Other(error) | LoadError::Deserialization(error)) =
            sessions.load(&key(&id)).await
        else {
            panic!("a hash is no session");
        };
        check("redis: another type", &error, &id);
        redis.command(&["DEL", &id]);
        redis.command(&["SET", &id, "\"hunter2 is no state"]);
        let error = sessions.load(&key(&id)).await.unwrap_err();
        let LoadError::Deserialization(error) = error else {
            panic!("{error:?}")
        };
        check("redis: broken text", &error, &id);
        redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
        let error = sessions.save(state(), &HOUR).await.unwrap_err();
        let SaveError::Other(error) = error else {
            panic!("{error:?}")
        };
        check("redis: full", &error, &id);
        // It can still be left.
        sessions.delete(&key(&id)).await.unwrap();
        redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(sessions.load(&key(&id)).await.unwrap(), None);
    }
    if let Some(postgres) = Postgres::start() {
        let store = kv(postgres.url()).unwrap();
        let sessions = Sessions::new(&store).unwrap();
        sessions.save(state(), &HOUR).await.unwrap();
        let tables =
            "select table_name from information_schema.tables where table_schema = 'public'";
        let table = &postgres.sql(tables)[0];
        // What PostgreSQL says of it has the whole row in its detail.
        postgres.sql(&format!(
            "alter table \"{table}\" add check (length(\"{table}\"::text) < 10) not valid"
        ));
        let error = sessions.save(state(), &HOUR).await.unwrap_err();
        let SaveError::Other(error) = error else {
            panic!("{error:?}")
        };
        check("postgres: a check fails", &error, &id);
    }
    // A server between that says all that it knows.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tells = |request: axum::extract::Request| async move {
        let told = format!("{} {:?} hunter2", request.uri(), request.headers());
        (axum::http::StatusCode::BAD_REQUEST, told)
    };
    let router = axum::Router::new().fallback(tells);
    actix_web::rt::spawn(async move { axum::serve(listener, router).await });
    let store = kv(format!("http://{address}/?polystore.timeout=500ms")).unwrap();
    check_all("http: a chatty server", &store).await;
}

/// Nobody is logged out because the file or the table of all is not what it should be.
#[actix_web::test]
async fn a_store_that_is_broken_as_a_whole_is_no_empty_session() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    let mut stores = vec![kv(file.as_path()).unwrap()];
    std::fs::write(&file, "{").unwrap();
    let postgres = Postgres::start();
    if let Some(postgres) = &postgres {
        let store = kv(postgres.url_with("table=sessions")).unwrap();
        assert!(!store.has("a").await.unwrap());
        postgres.sql("ALTER TABLE sessions DROP COLUMN value");
        stores.push(store);
    }
    let id = "Ab0Cd1Ef2".repeat(8)[..64].to_owned();
    for store in stores {
        let loaded = Sessions::new(&store).unwrap().load(&key(&id)).await;
        let Err(LoadError::Other(error)) = loaded else {
            panic!("{}: {loaded:?}", store.kind())
        };
        check(&store.kind(), &error, &id);
    }
}

/// A store of somebody's own, which says more than it should.
struct Chatty;

impl Chatty {
    fn failure<T>(key: &str) -> polystore_kv::Result<T> {
        let cause = std::io::Error::other(format!("cannot open /data/{key}.json"));
        let error = Error::new(ErrorKind::Full, format!("no room for {key}"));
        Err(error.with_source(cause).with_maybe_applied())
    }
}

#[async_trait]
impl Backend for Chatty {
    fn info(&self) -> Info {
        Info::new("chatty")
    }
    async fn get(&self, key: &str) -> polystore_kv::Result<Option<Entry>> {
        Self::failure(key)
    }
    async fn set(&self, key: &str, _: Entry) -> polystore_kv::Result<()> {
        Self::failure(key)
    }
    async fn del(&self, key: &str) -> polystore_kv::Result<()> {
        Self::failure(key)
    }
    fn scan(&self, _: Scan) -> BoxStream<'static, polystore_kv::Result<(String, Entry)>> {
        unreachable!("no session needs a listing")
    }
    async fn touch(&self, key: &str, _: Expiry) -> polystore_kv::Result<bool> {
        Self::failure(key)
    }
}

#[actix_web::test]
async fn what_a_store_of_somebodys_own_says_of_a_key_is_hidden() {
    let store = kv(Chatty).unwrap();
    for error in check_all("chatty", &store).await {
        let cause = error.downcast_ref::<Error>().unwrap();
        assert_eq!(cause.kind(), ErrorKind::Full, "{error:?}");
        assert!(cause.is_maybe_applied() && !cause.is_retryable());
        let text = format!("{error:?}");
        assert!(text.contains("no room for …"), "{text}");
        assert!(text.contains("/data/…"), "{text}");
    }
    // Not even of an id that nobody has got.
    let sessions = Sessions::new(Chatty).unwrap();
    let error = sessions.save(state(), &HOUR).await.unwrap_err();
    let SaveError::Other(error) = error else {
        panic!("{error:?}")
    };
    // Its Debug may have a backtrace, of long names.
    let text = format!("{error:#}");
    let is_id = |part: &str| part.len() > 20;
    assert!(
        !text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_id),
        "{text}"
    );
}

/// A store behind a line that can be cut.
fn lines() -> Vec<(&'static str, Store, Proxy)> {
    fn line(
        name: &'static str,
        address: std::net::SocketAddr,
        url: &str,
        open: impl Fn(String) -> polystore_kv::Result<Store>,
    ) -> (&'static str, Store, Proxy) {
        let proxy = Proxy::to(address);
        let store = open(proxy.url(url)).unwrap();
        (name, store, proxy)
    }
    fn address(url: &str) -> std::net::SocketAddr {
        let after = url.rsplit_once('@').map_or(url, |(_, after)| after);
        let after = after.split_once("://").map_or(after, |(_, after)| after);
        let end = after.find(['/', '?']).unwrap_or(after.len());
        after[..end].parse().unwrap()
    }
    let mut lines = Vec::new();
    let shared = [
        ("redis", Redis::shared(), "timeout=500ms"),
        ("postgres", Postgres::shared(), "timeout=500ms"),
        ("etcd", Etcd::shared(), "timeout=500ms"),
        (
            "http",
            Some(super::places::polystore_server()),
            "polystore.timeout=500ms",
        ),
    ];
    for (name, url, timeout) in shared {
        let Some(url) = url else { continue };
        let between = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{between}{timeout}");
        lines.push(line(name, address(&url), &url, kv));
    }
    if let Some(server) = super::places::cloudflare() {
        let url = server.url_with(0, "timeout=500ms");
        let open = |url| kv(Cloudflare::new(url, CloudflareServer::TOKEN));
        lines.push(line("cloudflare", server.address(), &url, open));
    }
    lines
}

#[actix_web::test]
async fn a_store_that_is_down_is_500_and_then_it_is_back() {
    let down = lines().into_iter().map(async |(name, store, proxy)| {
        let store = store.prefix(format!("down-{}:", std::process::id()));
        let every = actix_session::config::TtlExtensionPolicy::OnEveryRequest;
        let lives = actix_session::config::PersistentSession::default();
        let app = app!(&store, lives.session_ttl_extension_policy(every));
        let mut browser = Browser::default();
        browser.get(&app, "/login/ada").await;
        let id = store.keys().await.unwrap().remove(0);
        for round in 0..2 {
            proxy.refuse();
            proxy.cut();
            if round == 1 {
                // It answers nothing at all.
                proxy.accept();
                proxy.stall();
            }
            for path in ["/who", "/count", "/login/eve", "/logout"] {
                let what = format!("{name}: {path}");
                let mut stranger = Browser::default();
                let failed = match path {
                    // Who has no cookie meets the store at the end of the request only.
                    "/login/eve" => stranger.try_get(&app, path).await,
                    _ => browser.clone().try_get(&app, path).await,
                };
                let error = failed.expect_err(&what);
                let response = error.error_response();
                let status = response.status();
                assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{what}");
                assert_eq!(response.headers().get("set-cookie"), None, "{what}");
                for text in [format!("{error}"), format!("{error:?}")] {
                    assert!(!text.contains(&id), "{what}: {text}");
                }
                // What a log shows has the store and the reason.
                let text = format!("{error:?}");
                assert!(text.contains(name), "{what}: {text}");
            }
            proxy.pass();
            // A line that was stalled may have to be found dead first.
            super::places::until(&format!("{name}: it is back"), async || {
                browser.clone().try_get(&app, "/who").await.is_ok()
            })
            .await;
            assert_eq!(browser.get(&app, "/who").await, "ada 0", "{name}");
        }
    });
    join_all(down).await;
}
