//! Those of browsers and Workers.

/// `localstorage:`, `sessionstorage:` — the web storage of a page, on the target `wasm32-unknown-unknown`.
///
/// `localStorage` is the site's: all its tabs share it, and it stays when the browser ends. `sessionStorage` is one
/// tab's, survives a reload, and ends with the tab. There are no options. A `web_sys::Storage` (feature
/// `web-sys-0_3`) is a store too: the page's own `sessionStorage` as `sessionstorage:`, any other as `localstorage:`.
///
/// An entry is what the npm package keeps: its key as it is, and the text
/// `{"expires": milliseconds since 1970 or null, "value": …}`. What others keep in the storage is
/// [`Corrupt`](crate::ErrorKind::Corrupt) in `get`, left out of listings with a warning, and stays when a store is
/// cleared; what is under half a surrogate pair, which is no key in Rust, is left alone too.
///
/// Reads and writes are synchronous: each is done, or has failed, when it is first polled. A browser
/// that denies the page its storage (a sandboxed frame, `data:`, a person's settings) is
/// [`Denied`](crate::ErrorKind::Denied). Workers have none: that is [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// **Room**: browsers let a site have five million characters, keys and wrappers included. A write beyond that
/// first removes what has expired; if that does not help it is [`Full`](crate::ErrorKind::Full), and nothing has changed. Of a `set_many`
/// that fails so, the entries before the one that the error names are written.
///
/// **Expiry** is judged by the clock of this process. Expired entries are removed when a read or a listing meets
/// them, and by `prune`.
///
/// **Tabs** see each other's writes, at once or as soon as the browser tells them. The HTML standard has no lock
/// between them, so that `localstorage:` has no [`insert`](crate::Store::insert), `replace` and
/// [`touch`](crate::Store::touch); `sessionstorage:`, on which one thread works, has all three. Removing what has expired looks and
/// removes in one step of this page: what another tab renews in that very instant is the one thing that it can't see.
///
/// A listing looks at all keys, and reads the values of those that begin with the prefix. It takes the keys first: what is written
/// meanwhile does not show.
pub mod web_storage {}

/// `cookie:`, or `cookie` alone — the cookies of a page, by `document.cookie`, on the target
/// `wasm32-unknown-unknown`.
///
/// | option | meaning |
/// |---|---|
/// | `path=/app` | the pages that have the cookies; without it the page's own folder |
/// | `domain=example.com` | for all hosts of this domain, which the page has to be of; without it for the page's host |
/// | `samesite=strict` | `strict`, `lax` or `none`: whether requests from other sites' pages carry them; `none` needs `secure` |
/// | `secure` | over https only (and on this machine, which browsers trust) |
/// | `partitioned` | for frames: others in each site that has the frame; needs `secure` |
///
/// A cookie is what the npm package writes: `encodeURIComponent(key)=encodeURIComponent(json)`, with `expires=` where
/// it expires. The browser sends it to the server with every request. The server's own that are `HttpOnly` can be neither
/// seen nor replaced from a page.
///
/// **What counts as an entry** is every cookie whose name and value decode so, the value to one JSON value, whoever wrote it:
/// a server's `visits=5` too. [`keys`](crate::Store::keys) shows them, and
/// [`clear`](crate::Store::clear) removes them, whatever their path, and nothing else: give the store a
/// [prefix](crate::Store::prefix) on a page that has others'. A cookie that does not decode is
/// [`Corrupt`](crate::ErrorKind::Corrupt) in `get`. Of several of one name, from several paths or domains, the first counts
/// as the browser orders them: the longest path, and then the oldest. (The npm package takes the last.) A write that such a one
/// would hide is an error, and undone; a removal removes all that it can reach.
///
/// **Expiry** is the browser's: in whole seconds, rounded up, and without a way to read it, so that there is no `ttl`, `touch`
/// or `prune`. Chromium keeps no cookie for more than 400 days, whatever was asked for. One that does not expire ends with the
/// browser's session, as those of the npm package do.
///
/// **Room**: name and value, encoded, have 4,096 bytes together, 1,023 of them for the name. Whatever its characters, a key of 341 bytes and
/// a value of 1,024 bytes of JSON fit; longer ones are taken if they do. What does not fit is a usage error
/// before anything is written. Browsers remove cookies, anybody's, when a site has too many (Chromium when it has more
/// than 180): a new one is [`Full`](crate::ErrorKind::Full) where the page sees 150. Those that it can't see count for
/// the browser too, and go unnoticed: a server that sets more than thirty `HttpOnly` ones leaves room for fewer. If any that the page
/// saw has gone after a write, that is `Full` as well, and [may have been applied](crate::Error::is_maybe_applied).
///
/// A browser does not say that it refuses a cookie. So each write reads back what is there, and is an error if it is
/// not what was written; the old value is still there. Writes that wait share that.
pub mod cookie {}

/// `localforage:` — the `IndexedDB` of a browser, in a page or in a worker of one, as localForage 1.10 keeps it.
///
/// | option | meaning |
/// |---|---|
/// | `name=localforage` | the database, which is localForage's `name` |
/// | `store=keyvaluepairs` | the object store, its `storeName` (of which `localforage.config`, unlike `createInstance`, makes `_` of all but ASCII letters and digits) |
/// | `driver=indexeddb` (default) | `IndexedDB` |
/// | `driver=localstorage` | `localStorage`, with keys `NAME/KEY`, or `NAME/STORE/KEY` if the store is not `keyvaluepairs` |
/// | `timeout=10s` | how long an operation waits, opening the database included |
///
/// A page may have localForage, or the npm package on it, open at the same time on the same data. The database is opened in the version that
/// it has; a missing object store is added in the next one, and with the first one
/// `local-forage-detect-blob-support`, as localForage does. When others want another version, or the database deleted, this store closes it at once and
/// opens it again on its next use. If others do not do the same, adding an object store fails with
/// [`Timeout`](crate::ErrorKind::Timeout).
///
/// **Values** are objects `{expires: milliseconds since 1970 or null, value: …}`. JavaScript's numbers are doubles: where they would change a value's JSON
/// (integers beyond 2⁵³, `-0`, `1.0`), its exact text is kept beside it, as `json`. The npm package does not look at that, and the
/// text counts only as long as it says what `value` is. Objects come back with keys that are whole numbers first. Dates of others
/// read as text. What is no such object, and a value that JSON does not have (a `Blob`, a `Map`, a `BigInt`), is
/// [`Corrupt`](crate::ErrorKind::Corrupt) in `get`, left out of listings with a warning, and left alone by `clear`; so are keys
/// that are not strings of UTF-8. Inside of a value, what JSON does not have reads as `JSON.stringify` writes it.
///
/// **Operations that wait share transactions**, and none is delayed for that. A write returns when its
/// transaction is complete: it then survives the end of the page. What survives power loss is the browser's default; most
/// leave the rest to the operating system. `insert`, `replace`, `touch`, `evict` and `prune` are atomic against other pages and workers too. `set_many` and `del_many` are done
/// as a whole or not at all up to 1,024 entries and 4 MiB of values, and in parts of that beyond.
///
/// **Listings** read a range of keys a page at a time, up to 512 entries or about a megabyte of values, each as of its own moment. They come in the order of
/// UTF-16, so a limit reads the whole prefix. `keys()` reads values too, to leave out what has expired, but does not make text of
/// them. Expired entries go when they are met, and by `prune`.
///
/// **Errors**: [`Full`](crate::ErrorKind::Full) when the browser's quota is used up, and then nothing of that write is kept; [`Denied`](crate::ErrorKind::Denied)
/// where the browser gives the page no storage, as in some private windows;
/// [`Unreachable`](crate::ErrorKind::Unreachable) when it cannot open the database.
pub mod local_forage {}

/// A `worker::kv::KvStore` (feature `worker-0_8`) — a namespace of Cloudflare KV, inside a Worker, by its binding.
///
/// ```ignore
/// #[event(fetch)]
/// async fn main(request: Request, env: Env, _: Context) -> worker::Result<Response> {
///     let store = polystore_kv::kv(env.kv("LINKS")?).map_err(|error| error.to_string())?;
///     // …
/// }
/// ```
///
/// Make the store **in each request**, which costs nothing: what a Worker waits for belongs to the request that asked, so
/// one in a `static` would have requests wait for each other's. `examples/worker` is a whole Worker.
///
/// It keeps the bytes of [the store by the REST API](super::cloudflare), and everything that stands there of consistency, expiry,
/// limits and what is no JSON holds here too: both may share a namespace, and so may the npm package in a Worker. There is no
/// `insert`, `replace`, `touch` or `prune`. Of an entry that others wrote, only a listing has Cloudflare's own expiry: `ttl` and
/// `entry` ask for one there, and a plain `get` does not.
///
/// **Operations**, of which Cloudflare gives a Worker 1,000 for each request, are shared: of many reads at once up to 100
/// keys go in one. Each write and removal is one, six at a time, those of one key in their order. When the 1,000 or a
/// day's free limit are used up, the error is [`Full`](crate::ErrorKind::Full). One key can be written once a second:
/// what is written more often is tried again, for up to the 10 seconds that an operation waits.
///
/// **Listings** read 1,000 keys at a time. A value is in memory twice while it is read or written, and a Worker has 128 MB.
pub mod workers {}
