//! Links, by their codes and by whose they are.

use std::collections::BTreeMap;

use polystore_kv::{Expires, Store};
use serde::{Deserialize, Serialize};
use worker::{Request, Url};

use super::{Answer, Refusal, reply};

const CODE_CHARS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const CODE_LENGTH: usize = 8;
const MOST_URL_BYTES: usize = 2048;

#[derive(Serialize, Deserialize)]
struct Link {
    url: String,
    owner: String,
}

pub(super) struct Links {
    /// By code.
    links: Store,
    /// By owner and code.
    of: Store,
}

pub(super) fn is_code(text: &str) -> bool {
    text.len() == CODE_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Links {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            links: store.prefix("link:"),
            of: store.prefix("links-of:"),
        }
    }

    /// A name has no colon, so that no one's prefix begins like that of another.
    fn of(&self, name: &str) -> Store {
        self.of.prefix(format!("{name}:"))
    }

    /// Makes a link to the URL in the body.
    pub(super) async fn shorten(&self, owner: &str, request: &mut Request) -> Answer {
        let address = request.url()?;
        let expires = expires_in(&address)?;
        let url = destination(&request.text().await?)?;
        let link = Link {
            url: url.clone(),
            owner: owner.to_owned(),
        };
        // KV has no "only if absent". Of two hundred trillion codes, one that is taken does not come up.
        let code = new_code()?;
        // If this is all that succeeds, the link works and is not listed; the other way round it would be listed and lead nowhere.
        self.links.set(&code, &link).expires(expires).await?;
        self.of(owner).set(&code, &url).expires(expires).await?;
        let short = address
            .join(&format!("/{code}"))
            .map_err(worker::Error::from)?;
        let reply = reply(201)?.with_header("location", short.as_str())?;
        Ok(reply.ok(short.as_str())?)
    }

    /// Leads to where a link does.
    pub(super) async fn follow(&self, code: &str) -> Answer {
        let link: Option<Link> = self.links.get(code).await?;
        let link = link.ok_or(Refusal::Told(404, "there is no such link"))?;
        Ok(reply(302)?.with_header("location", &link.url)?.empty())
    }

    /// Every link of one person.
    pub(super) async fn list(&self, owner: &str) -> Answer {
        let links: BTreeMap<String, String> = self.of(owner).all().await?;
        Ok(reply(200)?.from_json(&links)?)
    }

    /// Removes a link, for its owner alone.
    pub(super) async fn remove(&self, owner: &str, code: &str) -> Answer {
        let link: Option<Link> = self.links.get(code).await?;
        if !link.is_some_and(|link| link.owner == owner) {
            // Whose it is, others do not learn.
            return Err(Refusal::Told(404, "you have no such link"));
        }
        // While the link is there, its owner can ask for this again: it goes last.
        self.of(owner).del(code).await?;
        self.links.del(code).await?;
        Ok(reply(204)?.empty())
    }
}

/// The `expires` of the query; a link without it stays.
fn expires_in(address: &Url) -> Answer<Expires> {
    let mut query = address.query_pairs();
    let Some((_, words)) = query.find(|(name, _)| name == "expires") else {
        return Ok(Expires::NEVER);
    };
    let expires: Expires = words
        .parse()
        .map_err(|_| Refusal::Told(400, "expires is a time such as 10minutes or 30days"))?;
    match expires.as_duration() {
        Some(time) if time.is_zero() => Err(Refusal::Told(400, "that would expire at once")),
        _ => Ok(expires),
    }
}

/// A URL of the web, as it is to stand in `location`.
fn destination(text: &str) -> Answer<String> {
    let url = Some(text.trim()).filter(|text| text.len() <= MOST_URL_BYTES);
    let url = url.and_then(|text| Url::parse(text).ok());
    // What others could run in the name of this page, such as javascript:, it leads nobody to.
    url.filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(String::from)
        .ok_or(Refusal::Told(
            400,
            "the body is to be a URL of http or https",
        ))
}

/// Random letters and digits, each as likely as the other.
fn new_code() -> Answer<String> {
    let mut code = String::with_capacity(CODE_LENGTH);
    while code.len() < CODE_LENGTH {
        let mut random = [0; 2 * CODE_LENGTH];
        getrandom::fill(&mut random)
            .map_err(|_| Refusal::Told(503, "there is no randomness to be had"))?;
        // The largest bytes would make the first letters likelier.
        let fair = random.iter().filter(|byte| **byte < 248);
        let chars = fair.map(|byte| char::from(CODE_CHARS[usize::from(*byte) % CODE_CHARS.len()]));
        code.extend(chars.take(CODE_LENGTH - code.len()));
    }
    Ok(code)
}
