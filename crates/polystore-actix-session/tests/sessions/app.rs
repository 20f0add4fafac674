//! Sessions as the requests of an actix-web application have them.

use actix_session::config::{
    CookieContentSecurity, PersistentSession, SessionLifecycle, TtlExtensionPolicy,
};
use actix_session::{Session, SessionMiddleware};
use actix_web::body::MessageBody;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, CookieJar, Key};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::{App, Error, test, web};
use futures_util::future::join_all;
use polystore_actix_session::Sessions;
use polystore_kv::{Store, kv};

use super::places::{everywhere, until};

const MINUTE: Duration = Duration::MINUTE;

/// The program: what it says is who is there, and how often that one was counted.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    async fn who(session: Session) -> Result<String, Error> {
        let user: Option<String> = session.get("user")?;
        let count: u32 = session.get("count")?.unwrap_or_default();
        Ok(format!("{} {count}", user.as_deref().unwrap_or("nobody")))
    }
    async fn count(session: Session) -> Result<String, Error> {
        let count: u32 = session.get("count")?.unwrap_or_default();
        session.insert("count", count + 1)?;
        who(session).await
    }
    async fn login(session: Session, user: web::Path<String>) -> Result<String, Error> {
        // Who knew the id before must not know that of what is worth more now.
        session.renew();
        session.insert("user", user.into_inner())?;
        who(session).await
    }
    async fn logout(session: Session) -> Result<String, Error> {
        session.purge();
        Ok("bye".to_owned())
    }
    app.route("/who", web::get().to(who))
        .route("/count", web::get().to(count))
        .route("/login/{user}", web::get().to(login))
        .route("/logout", web::get().to(logout));
}

pub(crate) type Answer = Result<(StatusCode, String), Error>;

/// One with a cookie.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookie: Option<Cookie<'static>>,
}

impl Browser {
    /// What the application answers, or the error that it would log.
    pub(crate) async fn try_get<S, B>(&mut self, app: &S, path: &str) -> Answer
    where
        S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody,
    {
        let mut request = test::TestRequest::with_uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.cookie(cookie.clone());
        }
        let response = app.call(request.to_request()).await?;
        let cookie = response.response().cookies().next().map(Cookie::into_owned);
        if let Some(cookie) = cookie {
            self.cookie = Some(cookie).filter(|cookie| !cookie.value().is_empty());
        }
        let status = response.status();
        let body = test::read_body(response).await;
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    pub(crate) async fn get<S, B>(&mut self, app: &S, path: &str) -> String
    where
        S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody,
    {
        let (status, body) = self.try_get(app, path).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    fn value(&self) -> &str {
        self.cookie.as_ref().unwrap().value()
    }
}

/// An application of that store.
macro_rules! app {
    ($store:expr) => {
        app!($store, actix_session::config::BrowserSession::default())
    };
    ($store:expr, $lifecycle:expr) => {
        app!($store, $lifecycle, actix_web::cookie::Key::generate())
    };
    ($store:expr, $lifecycle:expr, $key:expr) => {{
        let sessions = polystore_actix_session::Sessions::new($store).unwrap();
        let sessions = actix_session::SessionMiddleware::builder(sessions, $key)
            .session_lifecycle($lifecycle)
            .build();
        let app = actix_web::App::new()
            .wrap(sessions)
            .configure($crate::app::routes);
        actix_web::test::init_service(app).await
    }};
}
/// The ids of the sessions that are there.
async fn ids(store: &Store) -> Vec<String> {
    let mut keys = store.keys().await.unwrap();
    keys.retain(|key| !key.ends_with(".ended"));
    keys
}

#[actix_web::test]
async fn a_person_logs_in_comes_back_and_logs_out() {
    for place in everywhere() {
        let (name, store) = (place.name, &place.store);
        let app = app!(store);
        let mut browser = Browser::default();
        assert_eq!(browser.get(&app, "/who").await, "nobody 0", "{name}");
        assert!(browser.cookie.is_none(), "{name}");
        assert_eq!(ids(store).await, [""; 0], "{name}");

        assert_eq!(browser.get(&app, "/count").await, "nobody 1", "{name}");
        assert_eq!(browser.get(&app, "/count").await, "nobody 2", "{name}");
        let mut before = browser.clone();
        let anonymous = ids(store).await;
        assert_eq!(anonymous.len(), 1, "{name}");

        // Another id, and what was there already.
        assert_eq!(browser.get(&app, "/login/ada").await, "ada 2", "{name}");
        assert_ne!(before.value(), browser.value(), "{name}");
        assert_eq!(browser.get(&app, "/who").await, "ada 2", "{name}");
        let ada = ids(store).await;
        assert_eq!(ada.len(), 1, "{name}");
        assert_ne!(ada, anonymous, "{name}");
        // The old one is worth nothing, and does not come back by being used.
        assert_eq!(before.get(&app, "/who").await, "nobody 0", "{name}");
        assert_eq!(before.get(&app, "/count").await, "nobody 1", "{name}");
        assert!(!ids(store).await.contains(&anonymous[0]), "{name}");

        let mut copy = browser.clone();
        assert_eq!(browser.get(&app, "/logout").await, "bye", "{name}");
        assert!(browser.cookie.is_none(), "{name}");
        assert_eq!(copy.get(&app, "/who").await, "nobody 0", "{name}");
        assert!(!ids(store).await.contains(&ada[0]), "{name}");
    }
}

#[actix_web::test]
async fn inactivity_ends_a_session_and_activity_does_not() {
    for place in everywhere() {
        let (name, store) = (place.name, &place.store);
        let lives = PersistentSession::default().session_ttl(MINUTE);
        let on_change = app!(store, lives.clone());
        let always = TtlExtensionPolicy::OnEveryRequest;
        let on_request = app!(store, lives.session_ttl_extension_policy(always));

        for (app, path, is_extended) in [
            (&on_change, "/who", false),
            (&on_change, "/count", true),
            (&on_request, "/who", true),
            (&on_request, "/count", true),
        ] {
            let what = format!("{name}: {path}");
            let mut browser = Browser::default();
            browser.get(app, "/login/ada").await;
            let id = &ids(store).await[0];
            // As if it had rested for most of its time.
            let rest = std::time::Duration::from_secs(20);
            if let Err(error) = store.touch(id, rest).await {
                assert_eq!(error.kind(), polystore_kv::ErrorKind::Unsupported, "{what}");
                let state: serde_json::Value = store.get(id).await.unwrap().unwrap();
                store.set(id, &state).expires(rest).await.unwrap();
            }
            assert!(browser.get(app, path).await.starts_with("ada"), "{what}");
            let left = store.ttl(id).await.unwrap().unwrap().as_duration();
            assert_eq!(left.unwrap() > rest, is_extended, "{what}: {left:?}");

            // As if all of it had passed.
            store.del(id).await.unwrap();
            assert_eq!(browser.get(app, "/who").await, "nobody 0", "{what}");
            assert_eq!(browser.get(app, "/count").await, "nobody 1", "{what}");
            let new = ids(store).await;
            assert!(new.len() == 1 && new[0] != *id, "{what}");
            store.clear().await.unwrap();
        }
    }
}

#[actix_web::test]
async fn a_session_that_is_over_while_it_is_used_is_nobodys() {
    let store = kv("memory:").unwrap();
    let short = PersistentSession::default().session_ttl(Duration::milliseconds(100));
    let app = app!(&store, short);
    let mut browser = Browser::default();
    browser.get(&app, "/login/ada").await;
    let is_over = async || browser.clone().get(&app, "/who").await == "nobody 0";
    until("the session is over", is_over).await;
}

#[actix_web::test]
async fn two_hundred_requests_of_one_session_at_once_all_have_it() {
    for place in everywhere() {
        let name = place.name;
        let app = app!(&place.store);
        let mut browser = Browser::default();
        browser.get(&app, "/login/ada").await;
        let requests = (0..200).map(|number| {
            let (mut browser, app) = (browser.clone(), &app);
            async move {
                let body = browser.get(app, ["/who", "/count"][number % 2]).await;
                assert!(body.starts_with("ada "), "{name}: {body}");
                browser
            }
        });
        let browsers = join_all(requests).await;
        assert_eq!(ids(&place.store).await.len(), 1, "{name}");
        for mut browser in browsers.into_iter().take(20) {
            let body = browser.get(&app, "/who").await;
            assert!(body.starts_with("ada "), "{name}: {body}");
        }
    }
}

#[actix_web::test]
async fn a_tenants_cookie_is_worth_nothing_at_another_one() {
    for place in everywhere() {
        let (name, key) = (place.name, Key::generate());
        let lives = || PersistentSession::default();
        let [one, other] = ["one:", "other:"].map(|prefix| place.store.prefix(prefix));
        let one = app!(&one, lives(), key.clone());
        let other = app!(&other, lives(), key.clone());
        let mut ada = Browser::default();
        ada.get(&one, "/login/ada").await;
        let mut copy = ada.clone();
        assert_eq!(copy.get(&other, "/who").await, "nobody 0", "{name}");
        assert_eq!(copy.get(&other, "/login/eve").await, "eve 0", "{name}");
        assert_eq!(copy.get(&other, "/logout").await, "bye", "{name}");
        assert_eq!(ada.get(&one, "/who").await, "ada 0", "{name}");
    }
}

#[actix_web::test]
async fn cookies_of_any_text_are_those_of_nobody() {
    let texts = [
        "",
        " ",
        "\u{0}",
        "a\u{0}b",
        "../x",
        "é\u{1F980}",
        "a;b",
        "a\"b",
        "{}",
        "null",
    ];
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let long = ["a".repeat(4064), "a".repeat(4065), "é".repeat(2032)];
    for place in everywhere() {
        let (name, key) = (place.name, Key::generate());
        let app = app!(&place.store, PersistentSession::default(), key.clone());
        // As somebody would encrypt it who has the secret.
        let seal = |text: &str| {
            let mut jar = CookieJar::new();
            jar.private_mut(&key)
                .add(Cookie::new("id", text.to_owned()));
            jar.get("id").unwrap().value().to_owned()
        };
        for text in texts.iter().chain(&long) {
            // Also as anybody can send it.
            for value in [seal(text), text.clone()] {
                let mut browser = Browser {
                    cookie: Some(Cookie::new("id", value)),
                };
                let body = browser.get(&app, "/who").await;
                assert_eq!(body, "nobody 0", "{name}: {text:?}");
                let body = browser.get(&app, "/login/ada").await;
                assert_eq!(body, "ada 0", "{name}: {text:?}");
            }
        }
        let ids = ids(&place.store).await;
        assert_eq!(ids.len(), 2 * (texts.len() + long.len()), "{name}");
        assert!(ids.iter().all(|id| id.len() == 64), "{name}: {ids:?}");
        let mut browser = Browser {
            cookie: Some(Cookie::new("id", seal(&ids[0]))),
        };
        assert_eq!(browser.get(&app, "/who").await, "ada 0", "{name}");
    }
}

/// They are encrypted if nothing is said.
#[actix_web::test]
async fn cookies_may_be_signed_only_and_guards_see_the_session() {
    use actix_session::SessionExt;
    use actix_web::guard;

    let signed = CookieContentSecurity::Signed;
    let lives = PersistentSession::default().session_ttl(MINUTE);
    let lives = SessionLifecycle::from(lives);
    let sessions = SessionMiddleware::builder(Sessions::default(), Key::generate())
        .cookie_content_security(signed)
        .cookie_name("other-name".to_owned())
        .session_lifecycle(lives)
        .build();
    let is_known = guard::fn_guard(|guard| {
        let user = guard.get_session().get::<String>("user");
        user.is_ok_and(|user| user.is_some())
    });
    let inside = web::scope("/inside").guard(is_known).configure(routes);
    let app = App::new().wrap(sessions).service(inside).configure(routes);
    let app = test::init_service(app).await;
    let mut browser = Browser::default();
    let (status, _) = browser.try_get(&app, "/inside/who").await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    browser.get(&app, "/login/ada").await;
    let cookie = browser.cookie.as_ref().unwrap();
    assert_eq!(
        (cookie.name(), cookie.max_age()),
        ("other-name", Some(MINUTE))
    );
    assert_eq!(browser.get(&app, "/inside/count").await, "ada 1");
    assert_eq!(browser.get(&app, "/inside/who").await, "ada 1");
}
