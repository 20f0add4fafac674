//! Who has logged in: a random token in a cookie, and behind it a name in the store, until it expires.

use std::collections::HashMap;

use polystore_kv::{Expires, Store};
use serde::{Deserialize, Serialize};
use worker::{Env, Request};

use super::{Answer, Refusal, reply};

/// A browser takes a cookie of such a name from this very host alone: another one of its domain cannot put a session of
/// its own in the place of somebody's.
const COOKIE: &str = "__Host-session";
const TOKEN_LENGTH: usize = 24;
/// If the variable `SESSION` says nothing else.
const LASTS: &str = "1 day";

#[derive(Serialize, Deserialize)]
struct Session {
    name: String,
}

pub(super) struct Sessions {
    /// Whatever is written to it expires.
    store: Store,
    lasts: Expires,
}

impl Sessions {
    pub(super) fn new(store: &Store, env: &Env) -> Answer<Self> {
        let lasts = env.var("SESSION").map(|lasts| lasts.to_string());
        let lasts: Expires = lasts.as_deref().unwrap_or(LASTS).parse()?;
        Ok(Self {
            store: store.prefix("session:").expires(lasts),
            lasts,
        })
    }

    /// Checks the password, and gives a cookie.
    pub(super) async fn begin(&self, request: &mut Request, env: &Env) -> Answer {
        const FORM: Refusal = Refusal::Told(400, "login takes a form with name and password");
        check_origin(request)?;
        let form = request.form_data().await.map_err(|_| FORM)?;
        let name = form.get_field("name").ok_or(FORM)?;
        let password = form.get_field("password").ok_or(FORM)?;
        let passwords = env.secret("PASSWORDS")?.to_string();
        let passwords: HashMap<String, String> =
            serde_json::from_str(&passwords).map_err(worker::Error::from)?;
        let is_right = passwords
            .get(&name)
            .is_some_and(|right| is_same(right, &password));
        if !is_right || !is_name(&name) {
            return Err(Refusal::Told(401, "there is no such name and password"));
        }
        // The store makes the token: 24 letters and digits, from the runtime's own randomness.
        let token = self.store.add(&Session { name }).await?;
        cookie(&token, self.lasts)
    }

    /// Ends the session, if there is one.
    pub(super) async fn end(&self, request: &Request) -> Answer {
        if let Some(token) = token_in(request)? {
            self.store.del(&token).await?;
        }
        cookie("", Expires::from(0))
    }

    /// Who is asking.
    pub(super) async fn name(&self, request: &Request) -> Answer<String> {
        let session: Option<Session> = match token_in(request)? {
            Some(token) => self.store.get(&token).await?,
            None => None,
        };
        let session = session.ok_or(Refusal::Told(401, "please log in"))?;
        Ok(session.name)
    }
}

/// Another site's form could log people in as somebody else, who would then see what they shorten.
fn check_origin(request: &Request) -> Answer<()> {
    let own = request.url()?.origin().ascii_serialization();
    // What is no browser says none.
    match request.headers().get("origin")? {
        Some(origin) if origin != own => Err(Refusal::Told(403, "log in from this site's pages")),
        _ => Ok(()),
    }
}

/// The token of the cookie, if it can be one: nothing else is worth asking the store for.
fn token_in(request: &Request) -> Answer<Option<String>> {
    let cookies = request.headers().get("cookie")?.unwrap_or_default();
    let mut pairs = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    let token = pairs.find_map(|(name, value)| (name == COOKIE).then_some(value));
    let is_token = |token: &&str| {
        token.len() == TOKEN_LENGTH && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    Ok(token.filter(is_token).map(str::to_owned))
}

/// No script sees it, and no form of another site sends it.
fn cookie(token: &str, lasts: Expires) -> Answer {
    let seconds = lasts
        .as_duration()
        .map_or(u64::MAX, |lasts| lasts.as_secs());
    let cookie =
        format!("{COOKIE}={token}; Max-Age={seconds}; Path=/; HttpOnly; Secure; SameSite=Lax");
    Ok(reply(204)?.with_header("set-cookie", &cookie)?.empty())
}

/// What can stand in a key between colons.
fn is_name(name: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(is_of_one)
}

/// How long it takes says nothing of where they differ.
fn is_same(right: &str, given: &str) -> bool {
    let pairs = right.bytes().zip(given.bytes());
    let different = pairs.fold(0, |different, (one, other)| different | (one ^ other));
    right.len() == given.len() && different == 0
}
