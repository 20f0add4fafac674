//! The URL of a store that a browser cannot have says so.

use serde_json::json;

use crate::full::Page;

#[tokio::test]
async fn what_cannot_work_in_a_browser_is_a_usage_error_that_says_so() {
    let Some(page) = Page::open().await else {
        return;
    };
    for (url, said) in [
        ("file:a.json", "works only outside of browsers"),
        ("file:a/", "works only outside of browsers"),
        ("sqlite:a.db", "works only outside of browsers"),
        ("sqlite::memory:", "works only outside of browsers"),
        ("level:a", "works only outside of browsers"),
        ("redis://secret@host", "works only outside of browsers"),
        ("rediss-cluster://host", "works only outside of browsers"),
        ("postgres://secret@host/a", "works only outside of browsers"),
        ("etcd://host", "works only outside of browsers"),
        ("cloudflare://a/b", "works only outside of browsers"),
        ("https://host/?polystore.tls_ca=secret", "polystore.tls_ca"),
        (
            "https://host/?polystore.tls_key=secret",
            "polystore.tls_key",
        ),
        (
            "https://host/?polystore.token_env=secret",
            "HttpStore::token",
        ),
        ("nothing:secret", "there is no store"),
    ] {
        let (kind, words) = page.fails("new Kv(given[0])", &[json!(url)]).await;
        assert_eq!(kind, "InvalidOption", "{url}: {words}");
        assert!(words.contains(said), "{url}: {words}");
        assert!(!words.contains("secret"), "{url}: {words}");
    }
    page.browser.end().await;
}
