//! An application with sessions, and somebody who uses it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use polystore_kv::Store;
use polystore_tower_sessions::Sessions;
use time::Duration;
use tower::ServiceExt;
use tower_sessions::cookie::Cookie;
use tower_sessions::session::Error;
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

type Answer = Result<String, (StatusCode, String)>;

#[expect(clippy::needless_pass_by_value, reason = "what map_err gives")]
fn failed(error: Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The application, with sessions that end after an hour without a change.
pub(crate) fn app(store: &Store) -> Router {
    app_with(store, Expiry::OnInactivity(Duration::HOUR))
}

pub(crate) fn app_with(store: &Store, expiry: Expiry) -> Router {
    let sessions = Sessions::new(store).expect("it is a store");
    app_on(sessions, expiry)
}

pub(crate) fn app_on(sessions: impl SessionStore + Clone, expiry: Expiry) -> Router {
    Router::new()
        .route("/login", post(log_in))
        .route(
            "/logout",
            post(async |session: Session| session.flush().await.map_err(failed)),
        )
        .route(
            "/cycle",
            post(async |session: Session| session.cycle_id().await.map_err(failed)),
        )
        .route("/me", get(me))
        .route("/count", post(count))
        .route("/forget", post(forget))
        .route("/claim", post(claim))
        .layer(SessionManagerLayer::new(sessions).with_expiry(expiry))
}

async fn log_in(session: Session) -> Result<(), (StatusCode, String)> {
    session.cycle_id().await.map_err(failed)?;
    session.insert("user", "Ada").await.map_err(failed)
}

async fn me(session: Session) -> Answer {
    let user = session.get("user").await.map_err(failed)?;
    user.ok_or((StatusCode::UNAUTHORIZED, "nobody".to_owned()))
}

async fn count(session: Session) -> Answer {
    let count = session.get("count").await.map_err(failed)?.unwrap_or(0) + 1;
    session.insert("count", count).await.map_err(failed)?;
    Ok(count.to_string())
}

async fn forget(session: Session) -> Answer {
    let count: Option<u32> = session.remove("count").await.map_err(failed)?;
    Ok(count.unwrap_or_default().to_string())
}

/// Careless: it takes the cookie's word for the id.
async fn claim(session: Session) -> Result<(), (StatusCode, String)> {
    session.clear().await;
    session.insert("user", "Mallory").await.map_err(failed)
}

/// Somebody with a cookie, or without.
#[derive(Clone)]
pub(crate) struct Browser {
    app: Router,
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn new(app: &Router) -> Self {
        Self {
            app: app.clone(),
            cookie: None,
        }
    }

    /// The same cookie, at another application.
    pub(crate) fn at(&self, app: &Router) -> Self {
        Self {
            app: app.clone(),
            ..self.clone()
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> (u16, String) {
        self.ask("GET", path).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> (u16, String) {
        self.ask("POST", path).await
    }

    async fn ask(&mut self, method: &str, path: &str) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(id) = &self.cookie {
            request = request.header(COOKIE, format!("id={id}"));
        }
        let request = request.body(Body::empty()).expect("it is a request");
        let response = self.app.clone().oneshot(request).await;
        let response = response.expect("an axum application always answers");
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = Cookie::parse(cookie.to_str().expect("it is ASCII")).expect("a cookie");
            let is_over = cookie.max_age().is_some_and(|age| age <= Duration::ZERO);
            self.cookie = (!is_over).then(|| cookie.value().to_owned());
        }
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await;
        let body = body.expect("it is read");
        (
            status,
            String::from_utf8(body.to_vec()).expect("it is text"),
        )
    }

    /// The id of the session that there must be.
    pub(crate) fn id(&self) -> String {
        self.cookie.clone().expect("there is a session")
    }
}
