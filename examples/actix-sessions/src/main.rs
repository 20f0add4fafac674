//! A login and a counter of visits in actix-web, with sessions wherever `STORE` says:
//!
//! ```sh
//! cargo run -p actix-sessions                                   # in sessions.db: a restart keeps the logins
//! STORE=memory: cargo run -p actix-sessions                     # gone when it ends
//! STORE=redis://localhost PORT=8081 cargo run -p actix-sessions # any number of these share the logins
//! ```
//!
//! Open <http://127.0.0.1:8080/>. SIGTERM ends it when the requests under way are done, Ctrl-C at once.
//!
//! The cookies are encrypted with `SECRET`, 64 bytes of text or more (`openssl rand -hex 64`): set it to the same wherever the
//! same sessions are, and keep it. Without one, the program keeps a random one in the store, which is good enough to try it.

use std::env;
use std::process::ExitCode;

use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::{Key, time::Duration};
use actix_web::web::{self, Form, Html, Redirect};
use actix_web::{App, HttpServer, Result, middleware};
use polystore_actix_session::Sessions;
use polystore_kv::{Store, kv};
use serde::Deserialize;

type Failure = Box<dyn std::error::Error>;

#[actix_web::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("actix-sessions: {error}");
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
    let url = env::var("STORE").unwrap_or_else(|_| "sqlite:sessions.db".to_owned());
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port: u16 = port
        .parse()
        .map_err(|_| format!("PORT is a number up to 65535, not {port:?}"))?;

    let store = kv(url)?;
    let secret = secret(&store).await?;
    // One for all workers: the prefix keeps sessions apart from whatever else is in the store.
    let sessions = Sessions::new(store.prefix("session:"))?;

    let server = HttpServer::new(move || {
        // A session ends when it was not used for a week.
        let lives = PersistentSession::default()
            .session_ttl(Duration::weeks(1))
            .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
        let sessions = SessionMiddleware::builder(sessions.clone(), secret.clone())
            .session_lifecycle(lives)
            // A browser sends a secure cookie by https only: leave this line out behind TLS.
            .cookie_secure(false);
        App::new()
            .wrap(sessions.build())
            // Outside of the sessions, to hear what goes wrong with them.
            .wrap(middleware::from_fn(tell))
            .route("/", web::get().to(home))
            .route("/login", web::post().to(log_in))
            .route("/logout", web::post().to(log_out))
    });
    let server = server
        .bind(("127.0.0.1", port))
        .map_err(|error| format!("could not listen on 127.0.0.1:{port}: {error}"))?;
    for address in server.addrs() {
        println!("http://{address}/ with sessions in {}", store.kind());
    }
    server.run().await?;
    // Finish what was begun and let go of files and connections.
    store.close().await?;
    println!("ended");
    Ok(())
}

/// Each visit is one more in the session, which begins with the first one.
async fn home(session: Session) -> Result<Html> {
    let visits = session.get("visits")?.unwrap_or(0_u64) + 1;
    session.insert("visits", visits)?;
    let form = match session.get::<String>("user")? {
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
    Ok(Html::new(format!(
        "<!doctype html><title>Sessions</title><p>Visit {visits}.</p>{form}"
    )))
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

/// Here, you would ask for a password.
async fn log_in(session: Session, Form(login): Form<Login>) -> Result<Redirect> {
    // Another id from here on, so that nobody who knew the old one is logged in too.
    session.renew();
    session.insert("user", login.user)?;
    Ok(Redirect::to("/").see_other())
}

async fn log_out(session: Session) -> Redirect {
    session.purge();
    Redirect::to("/").see_other()
}

/// The client is told 500 and nothing else; here is why, and never whose session it was.
async fn tell(
    request: actix_web::dev::ServiceRequest,
    next: middleware::Next<impl actix_web::body::MessageBody>,
) -> Result<actix_web::dev::ServiceResponse<impl actix_web::body::MessageBody>> {
    let answered = next.call(request).await;
    if let Err(error) = &answered {
        eprintln!("{error:?}");
    }
    answered
}

async fn secret(store: &Store) -> Result<Key, Failure> {
    if let Ok(secret) = env::var("SECRET") {
        let short = "SECRET needs 64 bytes or more, such as openssl rand -hex 64 makes";
        return Key::try_from(secret.as_bytes()).map_err(|_| short.into());
    }
    // Of several programs that start at once, all get the one that came first.
    let random = Key::generate().master().to_vec();
    store.insert("secret", &random).await?;
    let kept: Option<Vec<u8>> = store.get("secret").await?;
    let short = "what the store has as \"secret\" is shorter than 64 bytes: delete it";
    Key::try_from(&kept.unwrap_or(random)[..]).map_err(|_| short.into())
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
