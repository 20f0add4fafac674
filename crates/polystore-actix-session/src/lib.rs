//! Keeps the sessions of [actix-session] in any store that [`kv`](polystore_kv::kv()) knows: in memory while a
//! program is written, in SQLite on one server, in Redis or PostgreSQL behind several.
//!
//! ```
//! use actix_session::{Session, SessionMiddleware};
//! use actix_web::cookie::{Cookie, Key};
//! use actix_web::{App, Error, get, test};
//! use polystore_actix_session::Sessions;
//!
//! #[get("/")]
//! async fn count(session: Session) -> Result<String, Error> {
//!     let visits = session.get::<u32>("visits")?.unwrap_or(0) + 1;
//!     session.insert("visits", visits)?;
//!     Ok(format!("visit {visits}"))
//! }
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Or "sqlite:sessions.db", "redis://host", a client, a Store with a prefix.
//! let sessions = Sessions::new("memory:")?;
//! // In a program: from where its secrets are, so that it survives a restart.
//! let key = Key::generate();
//! let app = App::new()
//!     .wrap(SessionMiddleware::new(sessions.clone(), key))
//!     .service(count);
//!
//! let app = test::init_service(app).await;
//! let first = test::call_service(&app, test::TestRequest::get().to_request()).await;
//! let cookie = first.response().cookies().next().map(Cookie::into_owned);
//! let again = test::TestRequest::get().cookie(cookie.ok_or("no cookie")?);
//! assert_eq!(test::call_and_read_body(&app, again.to_request()).await, "visit 2");
//! # Ok(())
//! # }
//! ```
//!
//! Make one `Sessions` outside of `HttpServer::new` and give each worker a clone: it is one store with one connection,
//! which every worker uses. Two `Sessions::default()` are two memories.
//!
//! # What is kept
//!
//! Under the session's id, the state as a JSON object of texts, as actix-session has it: each value is JSON once more
//! (`{"visits":"2","name":"\"Ada\""}`). It expires with the session, to the millisecond. In Redis these are the very keys and
//! values of actix-session's own `RedisSessionStore`: the sessions that it left go on here, and the other way round.
//!
//! An id is 64 letters and digits of actix-session's own generator (381 bits). For an hour after
//! a session has ended by `purge` or `renew`, there is an entry more, under the id and `.ended`.
//!
//! Several applications or tenants share a store by prefix:
//!
//! ```
//! # fn main() -> polystore_kv::Result<()> {
//! use polystore_actix_session::Sessions;
//! use polystore_kv::kv;
//!
//! let store = kv("memory:")?;
//! let shop = Sessions::new(store.prefix("shop:session:"))?;
//! let admin = Sessions::new(store.prefix("admin:session:"))?;
//! # let _ = (shop, admin);
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - **A new session never overwrites another one**: its id is taken by an atomic
//!   [`insert`](polystore_kv::Store::insert). Where a store has none (Cloudflare KV, a backend of
//!   your own without it), the 381 random bits of the id stand in for it.
//! - **A session that has ended stays ended.** When a request that began before a logout changes the session after it,
//!   the change is dropped, and the id that it gives back opens nothing. actix-session's own Redis store saves such a state
//!   under a new id, and with it the login. A session that has *expired* meanwhile is saved under a new id, as there. (On a store that is
//!   [not consistent at once](https://developers.cloudflare.com/kv/concepts/how-kv-works/), such as Cloudflare KV, a
//!   change of the last minute may not be seen.)
//! - **Renewing on inactivity** (`TtlExtensionPolicy::OnEveryRequest`) is an atomic [`touch`](polystore_kv::Store::touch). Without one, the
//!   state is read and written again, and a change that another request makes in between can be lost.
//! - **A lifetime** that is zero or negative ends the session at once; one of more than 1,000 years never ends.
//! - **A store that fails is an error**, 500 to the client, never a panic and never an empty session; requests succeed
//!   again when the store does.
//! - **Ids stay secret.** No error, no `Debug` and nothing that this crate logs shows one, and
//!   cookies whose content was no id of a session never get to the store.
//!
//! Requests of one session that change it at the same time overwrite each other, as with every store of actix-session: the
//! last one to finish wins.
//!
//! # Errors
//!
//! What the store says of a failure is a [`polystore_kv::Error`] inside the [`anyhow::Error`] that actix-session wants:
//! `error.downcast_ref::<polystore_kv::Error>()` has its kind, `{error:#}` its causes. What is stored under an id but is no session state is
//! [`LoadError::Deserialization`](actix_session::storage::LoadError), which actix-session logs and
//! takes for an empty session; where the whole file or table is broken, it is an error.
//!
//! [actix-session]: https://docs.rs/actix-session/0.11

#[cfg(doc)]
pub mod guides;
mod store;

pub use store::Sessions;

/// Its examples are tests.
#[cfg(doctest)]
mod readme {
    #![doc = include_str!("../README.md")]
}
