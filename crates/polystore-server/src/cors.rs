//! Pages of other origins, if they are named.

use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use polystore_kv::{Error, ErrorKind, Result};

use crate::respond::empty;

/// The origins whose pages may ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<HeaderValue>);

impl Origins {
    pub(crate) fn push(&mut self, origin: &str) -> Result<()> {
        let wrong = || {
            Error::new(
                ErrorKind::InvalidOption,
                "an origin is as https://app.example or http://localhost:5173: scheme, host and port, \
                 without a path",
            )
        };
        let uri: Uri = origin.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let scheme = uri.scheme_str().ok_or_else(wrong)?;
        // As browsers write it: an origin is compared byte by byte.
        if origin != format!("{scheme}://{authority}").to_ascii_lowercase() {
            return Err(wrong());
        }
        self.0
            .push(HeaderValue::from_str(origin).map_err(|_| wrong())?);
        Ok(())
    }

    /// The origin of a request, if its pages may ask.
    pub(crate) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.0.iter().find(|it| *it == origin).cloned()
    }

    /// The reply differs by the origin that asks.
    pub(crate) fn mark(&self, response: &mut Response, allowed: Option<HeaderValue>) {
        if self.0.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(
                    "polystore-ttl, polystore-protocol, retry-after, location",
                ),
            );
        }
    }
}

/// What a browser asks before it sends the request of a page, which has no token yet.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

pub(crate) fn preflight() -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, PUT, PATCH, DELETE, POST"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, x-api-key, content-type, if-match, if-none-match, accept",
        ),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    response
}

#[cfg(test)]
mod tests {
    use super::Origins;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (origin, is_one) in [
            ("https://app.example", true),
            ("http://localhost:5173", true),
            ("https://app.example/", false),
            ("https://App.example", false),
            ("app.example", false),
            ("*", false),
            ("null", false),
            ("https://app.example/x", false),
        ] {
            assert_eq!(Origins::default().push(origin).is_ok(), is_one, "{origin}");
        }
    }
}
