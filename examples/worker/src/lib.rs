//! Short links, in a Cloudflare Worker: everything is in one namespace of Workers KV.
//!
//! | request | answer |
//! |---|---|
//! | `POST /login`, a form with `name` and `password` | 204 and a cookie, for as long as `SESSION` says |
//! | `POST /logout` | 204; the cookie is worth nothing any more |
//! | `POST /`, the body is a URL; `?expires=30days` | 201 and the short link, for those who are logged in |
//! | `GET /CODE`, `HEAD /CODE` | 302, to where the link leads, for everybody |
//! | `GET /links` | 200 and your own links, by their codes |
//! | `DELETE /CODE` | 204, if the link is yours |
//!
//! What is kept, by its key:
//!
//! | key | value |
//! |---|---|
//! | `session:TOKEN` | who has logged in; it expires |
//! | `link:CODE` | where it leads, and whose it is |
//! | `links-of:NAME:CODE` | where it leads, so that one's own links are one listing |

#![cfg(target_family = "wasm")]

mod links;
mod sessions;

use polystore_kv::{Error, ErrorKind, Store, kv};
use worker::{Context, Env, Method, Request, Response, ResponseBuilder, console_error, event};

use self::links::Links;
use self::sessions::Sessions;

/// More than the longest URL, name and password have.
const MOST_BODY_BYTES: usize = 16 << 10;

/// What a request has to work with. It is made for each: a Worker's connections belong to the request that uses them,
/// and making a store does nothing yet.
struct App {
    links: Links,
    sessions: Sessions,
}

/// Why a request is not answered as its sender hoped.
enum Refusal {
    /// With a status, and a reason for people.
    Told(u16, &'static str),
    /// The store failed.
    Store(Error),
    /// The runtime did.
    Worker(worker::Error),
}

type Answer<T = Response> = Result<T, Refusal>;

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<worker::Error> for Refusal {
    fn from(error: worker::Error) -> Self {
        Self::Worker(error)
    }
}

/// What Cloudflare calls for each request.
#[event(fetch)]
async fn main(mut request: Request, env: Env, _: Context) -> worker::Result<Response> {
    match answer(&mut request, &env).await {
        Ok(response) => Ok(response),
        Err(Refusal::Told(status, why)) => text(status, why),
        Err(Refusal::Store(error)) => {
            // Keys are the tokens of sessions: they stay out of the log.
            let error = error.without_key();
            console_error!("{error:?}");
            let (status, why) = match error.kind() {
                ErrorKind::Throttled => (429, "too many at once, try again in a second"),
                _ => (503, "the links cannot be reached, try again later"),
            };
            text(status, why)
        }
        Err(Refusal::Worker(error)) => {
            console_error!("{error}");
            text(500, "this should not happen")
        }
    }
}

async fn answer(request: &mut Request, env: &Env) -> Answer {
    let store: Store = kv(env.kv("LINKS")?)?;
    let app = App {
        links: Links::new(&store),
        sessions: Sessions::new(&store, env)?,
    };
    let path = request.path();
    let code = path.strip_prefix('/').filter(|code| links::is_code(code));
    if request.method() == Method::Post {
        check_length(request)?;
    }
    match (request.method(), &path[..], code) {
        (Method::Post, "/login", _) => app.sessions.begin(request, env).await,
        (Method::Post, "/logout", _) => app.sessions.end(request).await,
        (Method::Post, "/", _) => {
            let name = app.sessions.name(request).await?;
            app.links.shorten(&name, request).await
        }
        (Method::Get, "/links", _) => {
            let name = app.sessions.name(request).await?;
            app.links.list(&name).await
        }
        (Method::Get | Method::Head, _, Some(code)) => app.links.follow(code).await,
        (Method::Delete, _, Some(code)) => {
            let name = app.sessions.name(request).await?;
            app.links.remove(&name, code).await
        }
        _ => Err(Refusal::Told(404, "there is nothing here")),
    }
}

/// A body is in memory as a whole, of which a Worker has 128 MB for all who ask at a time: it says beforehand how long
/// it is, as curl and browsers do.
fn check_length(request: &Request) -> Answer<()> {
    let length = request.headers().get("content-length")?;
    let Some(length) = length else {
        return Err(Refusal::Told(411, "say the length of the body"));
    };
    match length.parse::<usize>() {
        Ok(length) if length <= MOST_BODY_BYTES => Ok(()),
        _ => Err(Refusal::Told(413, "the body is too long")),
    }
}

/// Nobody between here and the reader keeps an answer: all of them are for one person, or can be deleted.
fn reply(status: u16) -> worker::Result<ResponseBuilder> {
    ResponseBuilder::new()
        .with_status(status)
        .with_header("cache-control", "no-store")
}

fn text(status: u16, text: &str) -> worker::Result<Response> {
    reply(status)?.ok(text)
}
