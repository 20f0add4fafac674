//! The page for people at `/_/`: files that are part of the program, and ask nobody else for anything.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// One file of the page. It holds nothing of the store, so that it needs no token.
#[derive(Debug)]
pub(crate) struct File {
    /// What comes after `/_/`; the page itself has the empty name.
    name: &'static str,
    form: &'static str,
    text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [File; 8] = [
    file(
        "",
        "text/html; charset=utf-8",
        include_str!("page/page.html"),
    ),
    file(
        "page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    file("page.js", SCRIPT, include_str!("page/page.js")),
    file("theme.js", SCRIPT, include_str!("page/theme.js")),
    file("server.js", SCRIPT, include_str!("page/server.js")),
    file("text.js", SCRIPT, include_str!("page/text.js")),
    file("dialogs.js", SCRIPT, include_str!("page/dialogs.js")),
    file("activity.js", SCRIPT, include_str!("page/activity.js")),
];

const fn file(name: &'static str, form: &'static str, text: &'static str) -> File {
    File { name, form, text }
}

const HEADERS: [(HeaderName, &str); 4] = [
    // Whatever a value may hold, nothing but these files runs, and nothing leaves for elsewhere.
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // A token in the path must not be told to anybody.
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-cache"),
];

/// The file of the page that `/_/NAME` is.
pub(crate) fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

impl File {
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = format!("\"{:016x}\"", fingerprint(self.text));
        let known = headers.get_all(IF_NONE_MATCH).into_iter();
        let is_known = known
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|known| known.trim().trim_start_matches("W/") == tag);
        let mut response = match is_known {
            true => Response::new(Body::empty()),
            false => Response::new(Body::from(self.text)),
        };
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.form));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// FNV-1a: the same in every build with the same file, and another one when it changes.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
