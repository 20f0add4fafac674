//! The store by environment: a small paste service that keeps its texts in memory while you write it, in Redis in
//! production, or anywhere by `STORE_URL`.
//!
//! ```sh
//! cargo run -p any-store                                          # in memory
//! STORE_URL=redis://localhost cargo run -p any-store              # in Redis
//! STORE_URL=sqlite:pastes.db cargo run -p any-store -F sqlite     # in SQLite: see the features in Cargo.toml
//!
//! curl -d "some text" localhost:3000/                             # the id of a new paste
//! curl localhost:3000/ID                                          # which is there for a day
//! curl -i localhost:3000/health                                   # 200, or 503 if the store does not answer in a second
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `STORE_URL` | the store; without it there is one in memory, but with `APP_ENV=production` that is an error |
//! | `APP_ENV` | `development` (default) or `production` |
//! | `PORT` | 3000; 0 takes a free one |
//!
//! It looks at the start whether the store can be reached and written, and says so by its exit code: 2 is a wrong
//! configuration, which no new start makes right, 3 a store that is not there, which may come, and 1 anything else, such as
//! a port that another program has.
//!
//! Ctrl-C or SIGTERM ends it when the requests under way are done.

use std::env::VarError;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use polystore_kv::{Error, ErrorKind, Result, Store, kv};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error>;

/// How long `/health` waits. Who asks gives up soon, and would not hear what the store's own `?timeout=` ends.
const HEALTHY: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => match failure.downcast_ref::<Error>() {
            Some(error) => {
                // With its causes; a URL's password is in none of them.
                eprintln!("any-store: {error:?}");
                ExitCode::from(if error.is_usage() { 2 } else { 3 })
            }
            None => {
                eprintln!("any-store: {failure}");
                ExitCode::FAILURE
            }
        },
    }
}

async fn run() -> Result<(), Failure> {
    let store = store_by_environment()?;
    check(&store).await?;
    let listener = listen().await?;
    let address = listener.local_addr()?;
    println!(
        "listening on http://{address}, with a store of the kind {}",
        store.kind()
    );
    let app = app(store.clone());
    axum::serve(listener, app)
        .with_graceful_shutdown(end())
        .await?;
    // Finish what was begun and let go of files and connections.
    store.close().await?;
    println!("ended");
    Ok(())
}

fn store_by_environment() -> Result<Store> {
    // A name that is mistyped must not mean that production forgets everything.
    let is_production = match std::env::var("APP_ENV").as_deref() {
        Err(VarError::NotPresent) | Ok("development") => false,
        Ok("production") => true,
        _ => {
            let message = "APP_ENV is neither development nor production";
            return Err(Error::new(ErrorKind::InvalidOption, message));
        }
    };
    match std::env::var("STORE_URL") {
        Ok(url) => kv(url),
        Err(_) if is_production => Err(Error::new(
            ErrorKind::InvalidOption,
            "set STORE_URL, such as redis://host: in production nothing is kept in memory",
        )),
        Err(_) => {
            eprintln!(
                "everything is in memory, and goes with the process: set STORE_URL to keep it"
            );
            kv("memory:?max_bytes=64MB")
        }
    }
}

async fn listen() -> Result<TcpListener, Failure> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let invalid = |_| Error::new(ErrorKind::InvalidOption, "PORT is no number of a port");
    let port: u16 = port.parse().map_err(invalid)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("could not listen on 127.0.0.1:{port}: {error}").into())
}

/// Whether the store can be reached, written and read. `kv()` opens nothing: the first operation does.
async fn check(store: &Store) -> Result<()> {
    let health = store.prefix("health:").expires("1min");
    health.set("check", &true).await?;
    // Not what it gives: another process may have written, or a cache evicted it.
    health.get::<bool>("check").await.map(|_| ())
}

fn app(store: Store) -> Router {
    let pastes = store.prefix("paste:").expires("1 day");
    let pastes = Router::new()
        .route("/", get("POST a text to keep it for a day\n").post(add))
        .route("/{id}", get(read))
        .with_state(pastes);
    let health = Router::new()
        .route("/health", get(health))
        .with_state(store);
    pastes.merge(health)
}

async fn add(State(pastes): State<Store>, text: String) -> Result<Response, Refusal> {
    let id = pastes.add(&text).await?;
    Ok((StatusCode::CREATED, id + "\n").into_response())
}

async fn read(State(pastes): State<Store>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let text: Option<String> = pastes.get(&id).await?;
    Ok(text.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        String::into_response,
    ))
}

async fn health(State(store): State<Store>) -> Result<&'static str, Refusal> {
    let late = |_| Error::new(ErrorKind::Timeout, "the store does not answer in a second");
    let checked = tokio::time::timeout(HEALTHY, check(&store)).await;
    checked.map_err(late)??;
    Ok("ok\n")
}

struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    /// A client learns that it may come again, and nothing of the store. The id of a paste is its key to
    /// everybody who reads the log, so it stays out of that.
    fn into_response(self) -> Response {
        let error = self.0.without_key();
        eprintln!("{error:?}");
        let status = if error.is_connection() {
            StatusCode::SERVICE_UNAVAILABLE
        } else if error.kind() == ErrorKind::InvalidKey {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        status.into_response()
    }
}

/// Is done at Ctrl-C or SIGTERM.
async fn end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                Ok(()) = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
