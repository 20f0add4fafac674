//! `fetch`, which browsers and Workers have: connections, TLS and names are theirs.
//!
//! Source: the Fetch standard, <https://fetch.spec.whatwg.org>.

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use send_wrapper::SendWrapper;
use url::Url;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::js_sys::{self, Array, Function, Promise, Reflect, Uint8Array};
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, RequestInit, RequestRedirect,
    ResponseType,
};

use super::Request;
use crate::address::invalid;
use crate::error::{Error, ErrorKind, Result};
use crate::remote::TlsFiles;

/// What sends the requests of one store.
pub(crate) struct Clients;

impl Clients {
    #[expect(clippy::unnecessary_wraps, reason = "on servers it may fail")]
    pub(crate) fn new(_: &TlsFiles) -> Result<Self> {
        Ok(Self)
    }

    /// For `http:` only.
    #[expect(clippy::unnecessary_wraps, reason = "on servers it may fail")]
    pub(crate) fn plain() -> Result<Self> {
        Ok(Self)
    }

    /// The reply, as far as it has come. Whoever drops this, or the reply, ends the request.
    ///
    /// In Workers it may be a redirect. A page does not learn where one leads, and is not taken there:
    /// the token would go along where the browser is an old one, and a write might become a read.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`]. Nobody can say whether a write was applied: a page is told of no failure
    /// more than that there was one.
    pub(crate) async fn send(&self, request: Request) -> Result<Response> {
        SendWrapper::new(fetch(request)).await
    }
}

/// Ends a request when it is dropped; one that is over stays as it is.
struct Abort(AbortController);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn fetch(request: Request) -> Result<Response> {
    let unmade = |thrown: JsValue| failed("the request cannot be made", &thrown).retryable(false);
    let abort = Abort(AbortController::new().map_err(unmade)?);
    let init = RequestInit::new();
    init.set_method(request.method.as_str());
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(&abort.0.signal()));
    init.set_headers(&sent_headers(&request.headers).map_err(unmade)?.into());
    if let Some(body) = request.body.filter(|body| !body.is_empty()) {
        init.set_body(&Uint8Array::from(&body[..]));
    }
    let global = js_sys::global();
    let promise = Reflect::get(&global, &"fetch".into())
        .and_then(JsCast::dyn_into::<Function>)
        .and_then(|fetch| fetch.call2(&global, &request.url.as_str().into(), &init))
        .and_then(JsCast::dyn_into::<Promise>)
        .map_err(unmade)?;
    let response = JsFuture::from(promise).await;
    let response = response.and_then(JsCast::dyn_into::<web_sys::Response>);
    let response = response.map_err(|thrown| unreachable(&request.url, &thrown))?;
    if response.type_() == ResponseType::Opaqueredirect {
        return Err(Error::new(
            ErrorKind::Unreachable,
            "the server redirects, which a page cannot follow safely: use the URL that the store has now",
        ));
    }
    Response::new(&response, abort)
}

/// What a header holds is bytes, and in JavaScript a string with a character for each.
fn sent_headers(headers: &HeaderMap) -> Result<Headers, JsValue> {
    let sent = Headers::new()?;
    for (name, value) in headers {
        let value: String = value.as_bytes().iter().copied().map(char::from).collect();
        sent.append(name.as_str(), &value)?;
    }
    Ok(sent)
}

/// As far as the server lets a page of another origin see them.
fn seen_headers(headers: &Headers) -> HeaderMap {
    let pairs = headers.entries().into_iter().filter_map(|pair| {
        let pair: Array = pair.ok()?.dyn_into().ok()?;
        let name = HeaderName::from_bytes(pair.get(0).as_string()?.as_bytes()).ok()?;
        let value = pair.get(1).as_string()?;
        let bytes: Option<Vec<u8>> = value.chars().map(|it| u8::try_from(it).ok()).collect();
        Some((name, HeaderValue::from_bytes(&bytes?).ok()?))
    });
    pairs.collect()
}

/// A reply as it comes.
pub(crate) struct Response {
    status: StatusCode,
    headers: HeaderMap,
    /// Until its end. Above what ends the request: it is dropped before it.
    body: Option<SendWrapper<ReadableStreamDefaultReader>>,
    _abort: SendWrapper<Abort>,
}

impl Response {
    fn new(response: &web_sys::Response, abort: Abort) -> Result<Self> {
        let status = StatusCode::from_u16(response.status());
        let body = response.body().map(|body| body.get_reader());
        Ok(Self {
            status: status.map_err(|_| {
                Error::new(ErrorKind::Unreachable, "the reply has no status").with_maybe_applied()
            })?,
            headers: seen_headers(&response.headers()),
            body: body.map(|body| SendWrapper::new(body.unchecked_into())),
            _abort: SendWrapper::new(abort),
        })
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
}

/// Whether a reply that is cut off would be told from a whole one. A page does not learn how it is sent.
pub(crate) fn tells_its_end(_: &Response) -> bool {
    true
}

/// The next part of the body, or `None` after the last one.
///
/// # Errors
/// [`ErrorKind::Unreachable`].
pub(crate) async fn chunk(response: &mut Response) -> Result<Option<Bytes>> {
    let Some(body) = &response.body else {
        return Ok(None);
    };
    let chunk = SendWrapper::new(next(body)).await.map_err(|thrown| {
        failed("the connection to the server was lost", &thrown).with_maybe_applied()
    })?;
    if chunk.is_none() {
        response.body = None;
    }
    Ok(chunk)
}

/// There is no environment that could have a token.
pub(crate) fn token_in(_: &str, option: &str) -> Result<String> {
    Err(invalid(format!(
        "there is no environment here for {option}: give the token to HttpStore::token"
    )))
}

async fn next(body: &ReadableStreamDefaultReader) -> Result<Option<Bytes>, JsValue> {
    let read = JsFuture::from(body.read()).await?;
    if Reflect::get(&read, &"done".into())?.is_truthy() {
        return Ok(None);
    }
    let chunk: Uint8Array = Reflect::get(&read, &"value".into())?.dyn_into()?;
    Ok(Some(chunk.to_vec().into()))
}

/// All that a page learns, to which it should not know more: that there is no reply which it may read.
fn unreachable(url: &Url, thrown: &JsValue) -> Error {
    let origin = own_origin().filter(|own| *own != url.origin().ascii_serialization());
    let message = match origin {
        // What a browser shows of it in its console it does not tell us.
        Some(own) => format!(
            "the server cannot be reached, or does not let pages of {own} ask it (CORS; the console says more)"
        ),
        None => "the server cannot be reached".to_owned(),
    };
    failed(&message, thrown).with_maybe_applied()
}

/// The origin of the page. Workers, and pages that have none, say `null`.
fn own_origin() -> Option<String> {
    let origin = Reflect::get(&js_sys::global(), &"origin".into());
    origin.ok()?.as_string().filter(|own| own != "null")
}

fn failed(message: &str, thrown: &JsValue) -> Error {
    let said = thrown
        .dyn_ref::<js_sys::Error>()
        .and_then(|error| error.message().as_string())
        // A URL may hold a password or a token.
        .filter(|said| !said.contains("://"));
    let cause = said.unwrap_or_else(|| "fetch has failed".to_owned());
    Error::new(ErrorKind::Unreachable, message.to_owned())
        .retryable(true)
        .with_boxed_source(cause.into())
}
