//! A login and a counter of visits in axum, with sessions wherever `STORE` says:
//!
//! ```sh
//! cargo run -p axum-sessions                                   # in memory: gone when it ends
//! STORE=sqlite:sessions.db cargo run -p axum-sessions          # a restart keeps who is logged in
//! STORE=redis://localhost PORT=3001 cargo run -p axum-sessions # any number of these share sessions
//! ```
//!
//! Open <http://127.0.0.1:3000/>. Ctrl-C or SIGTERM ends it when the requests under way are done.

use std::env;
use std::process::ExitCode;

use axum::extract::Form;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use polystore_kv::kv;
use polystore_tower_sessions::Sessions;
use serde::Deserialize;
use time::Duration;
use tokio::net::TcpListener;
use tower_sessions::{Expiry, Session, SessionManagerLayer, session};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum-sessions: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let url = env::var("STORE").unwrap_or_else(|_| "memory:".to_owned());
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let port: u16 = port
        .parse()
        .map_err(|_| format!("PORT is a number up to 65535, not {port:?}"))?;

    // The prefix keeps sessions apart from whatever else is in the store.
    let store = kv(url)?;
    let sessions = SessionManagerLayer::new(Sessions::new(store.prefix("session:"))?)
        .with_expiry(Expiry::OnInactivity(Duration::days(7)))
        // A browser sends a secure cookie by https only: leave this line out behind TLS.
        .with_secure(false);
    let app = Router::new()
        .route("/", get(home))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(sessions);

    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| format!("could not listen on 127.0.0.1:{port}: {error}"))?;
    let address = listener.local_addr()?;
    println!("http://{address}/ with sessions in {}", store.kind());
    serve(listener, app).with_graceful_shutdown(end()).await?;
    // Finish what was begun and let go of files and connections.
    store.close().await?;
    println!("ended");
    Ok(())
}

/// Each visit is one more in the session, which begins with the first one.
async fn home(session: Session) -> Result<Html<String>, Unavailable> {
    let visits = session.get("visits").await?.unwrap_or(0_u64) + 1;
    session.insert("visits", visits).await?;
    let user: Option<String> = session.get("user").await?;
    let form = match user {
        Some(user) => format!(
            "<p>You are {}.</p><form method=post action=/logout><button>Log out</button></form>",
            escaped(&user)
        ),
        None => {
            "<form method=post action=/login><input name=user placeholder='Your name' required>\
                 <button>Log in</button></form>"
                .to_owned()
        }
    };
    Ok(Html(format!(
        "<!doctype html><title>Sessions</title><p>Visit {visits}.</p>{form}"
    )))
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

/// Here, you would ask for a password.
async fn log_in(session: Session, Form(login): Form<Login>) -> Result<Redirect, Unavailable> {
    // Another id from here on, so that nobody who knew the old one is logged in too.
    session.cycle_id().await?;
    session.insert("user", login.user).await?;
    Ok(Redirect::to("/"))
}

async fn log_out(session: Session) -> Result<Redirect, Unavailable> {
    session.flush().await?;
    Ok(Redirect::to("/"))
}

/// The store is down, or what it has is no session: the log says which, and never whose.
struct Unavailable(session::Error);

impl From<session::Error> for Unavailable {
    fn from(error: session::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        eprintln!("{}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "Please try again later.").into_response()
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
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
