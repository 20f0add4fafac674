//! `polystore-bench-sessions ours|theirs memory|REDIS_URL`: a server that counts the visits of each session, in a store of
//! this repository or in tower-sessions' own. It says where it listens, and ends with the program that started it.

#[path = "../../src/listen.rs"]
mod listen;

use std::io;

use polystore_kv::kv;
use polystore_tower_sessions::Sessions;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};

/// The same application for both versions of tower-sessions.
macro_rules! application {
    ($name:ident, $tower_sessions:ident) => {
        mod $name {
            use axum::Router;
            use axum::http::StatusCode;
            use axum::routing::get;
            use $tower_sessions::{Session, SessionManagerLayer, SessionStore, session::Error};

            pub(crate) fn app(store: impl SessionStore + Clone) -> Router {
                let sessions = SessionManagerLayer::new(store).with_secure(false);
                Router::new().route("/", get(visit)).layer(sessions)
            }

            async fn visit(session: Session) -> Result<String, StatusCode> {
                let count = count(&session).await;
                count.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// About a hundred bytes of JSON.
            async fn count(session: &Session) -> Result<String, Error> {
                let count = session.get::<u64>("count").await?.unwrap_or(0) + 1;
                session.insert("count", count).await?;
                if count == 1 {
                    session.insert("user", "Ada Lovelace").await?;
                    session.insert("email", "ada@ex.org").await?;
                }
                Ok(count.to_string())
            }
        }
    };
}

application!(ours, tower_sessions);
application!(before, tower_sessions_0_14);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    listen::run(|listener| async move {
        let app = match words[..] {
            ["ours", "memory"] => ours::app(Sessions::default()),
            ["ours", url] => {
                let store = kv(url).map_err(io::Error::other)?;
                ours::app(Sessions::new(store).map_err(io::Error::other)?)
            }
            ["theirs", "memory"] => ours::app(tower_sessions::MemoryStore::default()),
            ["theirs", url] => before::app(RedisStore::new(connected(url).await?)),
            _ => return Err(io::Error::other("usage: ours|theirs memory|REDIS_URL")),
        };
        axum::serve(listener, app).await
    })
}

/// As its documentation has it: six connections.
async fn connected(url: &str) -> io::Result<Pool> {
    let config = Config::from_url(url).map_err(io::Error::other)?;
    let pool = Pool::new(config, None, None, None, 6).map_err(io::Error::other)?;
    pool.connect();
    pool.wait_for_connect().await.map_err(io::Error::other)?;
    Ok(pool)
}
