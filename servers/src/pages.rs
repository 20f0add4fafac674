//! Files that a browser is to get from a server.

#![allow(
    clippy::missing_panics_doc,
    reason = "what goes wrong here is a test that fails"
)]

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::runtime::Builder;

/// Folders and pages on a port of 127.0.0.1, until the process ends.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    folders: Vec<(String, PathBuf)>,
    pages: HashMap<String, String>,
}

impl Pages {
    /// With nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The files of `folder`, at paths that begin with `path`, such as `/npm`; at `path` itself, `index.html`.
    #[must_use]
    pub fn folder(mut self, path: &str, folder: impl Into<PathBuf>) -> Self {
        self.folders.push((path.to_owned(), folder.into()));
        self
    }

    /// A page of HTML at `path`.
    #[must_use]
    pub fn page(mut self, path: &str, html: &str) -> Self {
        self.pages.insert(path.to_owned(), html.to_owned());
        self
    }

    /// Serves them: the origin, such as `http://127.0.0.1:12345`.
    #[must_use]
    pub fn serve(self) -> String {
        self.serve_at(0).expect("a port is free")
    }

    /// Serves them at this port, or at a free one if it is 0.
    ///
    /// # Errors
    /// Somebody else's port.
    pub fn serve_at(self, port: u16) -> io::Result<String> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let pages = Arc::new(self);
            let serving = async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let router =
                    Router::new().fallback(move |uri: Uri| async move { pages.answer(&uri) });
                axum::serve(listener, router).await
            };
            let served = runtime.and_then(|runtime| runtime.block_on(serving));
            served.expect("pages can be served");
        });
        Ok(format!("http://{address}"))
    }

    fn answer(&self, uri: &Uri) -> Response {
        let path = uri.path();
        if let Some(html) = self.pages.get(path) {
            return (
                [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
                html.clone(),
            )
                .into_response();
        }
        let found = self.folders.iter().find_map(|(at, folder)| {
            let rest = match path.strip_prefix(at)?.trim_start_matches('/') {
                "" => "index.html",
                rest => rest,
            };
            let rest = Path::new(rest);
            let is_inside = rest
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            let file = folder.join(rest);
            is_inside.then(|| Some((std::fs::read(&file).ok()?, file)))?
        });
        let Some((bytes, file)) = found else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let form = match file.extension().and_then(|extension| extension.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("js" | "mjs") => "text/javascript",
            Some("css") => "text/css",
            Some("wasm") => "application/wasm",
            _ => "application/octet-stream",
        };
        ([(header::CONTENT_TYPE, form)], bytes).into_response()
    }
}
