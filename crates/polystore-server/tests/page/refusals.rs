//! What the page does where the server says no.

use serde_json::json;

use crate::world::{OWNER, READER, World, with_tokens};
use polystore_kv::kv;
use polystore_servers::browser::Browser;

#[tokio::test]
async fn a_token_is_asked_for_kept_and_forgotten() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::of(kv("memory:").unwrap(), with_tokens).await;
    world.store.set("a", &1).await.unwrap();
    browser.go(&world.page()).await;
    browser.says("#teller", "The server wants a token").await;
    browser.screenshot("token").await;
    browser.fill("#token", "wrong").await;
    browser.click("#teller .primary").await;
    browser
        .says("#teller .notice", "does not know this token")
        .await;
    browser.fill("#token", OWNER).await;
    browser.click("#teller .primary").await;
    browser
        .until("document.querySelector('[role=option]')")
        .await;
    // It is kept while the tab is open, and nowhere else.
    browser.reload().await;
    browser
        .until("document.querySelector('[role=option]')")
        .await;
    assert_eq!(
        browser
            .js("return JSON.stringify(localStorage) + document.cookie + location.href")
            .await,
        json!(format!("{{}}{}", world.page()))
    );
    browser.click("#forget").await;
    browser.says("#teller", "The server wants a token").await;
    browser
        .until("!document.querySelector('[role=option]')")
        .await;
    browser.reload().await;
    browser.says("#teller", "The server wants a token").await;
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn a_token_that_only_reads_is_told_so() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::of(kv("memory:").unwrap(), with_tokens).await;
    world.store.set("a", &1).await.unwrap();
    browser.go(&world.page()).await;
    browser.fill("#token", READER).await;
    browser.click("#teller .primary").await;
    browser.click("[role=option]").await;
    browser.says("#value", "1").await;
    let refused = "You are not allowed to do this. This token may only read.";
    browser.click("#delete").await;
    browser.click("#deleter .danger").await;
    browser.says("#deleter .notice", refused).await;
    browser.click("#deleter [value=cancel]").await;
    browser.click("#edit").await;
    browser.fill("#editor-value", "2").await;
    browser.click("#save").await;
    browser.says("#editor .notice", refused).await;
    assert_eq!(
        browser
            .js("return document.querySelector('#editor-value').value")
            .await,
        json!("2")
    );
    browser.click("#editor [value=cancel]").await;
    browser.click("#touch").await;
    browser.fill("#toucher-expires", "1h").await;
    browser.click("#toucher .primary").await;
    browser.says("#toucher .notice", refused).await;
    assert_eq!(world.json("a").await.unwrap(), "1");
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn it_works_below_a_token_in_the_path() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::of(kv("memory:").unwrap(), with_tokens).await;
    browser
        .go(&format!("{}/kv/_/t/{OWNER}/_/", world.origin))
        .await;
    // The command is there to be copied; the token would go along.
    let command = format!(
        "curl -X PUT '{}/kv/hello' -H \"authorization: Bearer $TOKEN\"",
        world.origin
    );
    browser.says("#curl", &command).await;
    let shown = browser.text("body").await;
    assert!(!shown.contains(OWNER), "{shown}");
    browser.click("#new").await;
    browser.fill("#editor-key", "a").await;
    browser.fill("#editor-value", "1").await;
    browser.click("#save").await;
    browser.says("#value", "1").await;
    assert_eq!(world.json("a").await.unwrap(), "1");
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn its_files_are_the_servers_own_and_asked_for_again_only_when_changed() {
    let world = World::of(kv("memory:").unwrap(), with_tokens).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::new();
    let mut total = 0;
    for name in [
        "",
        "page.css",
        "page.js",
        "theme.js",
        "server.js",
        "text.js",
        "dialogs.js",
        "activity.js",
    ] {
        let url = format!("{}{name}", world.page());
        let reply = http.get(&url).send().await.unwrap();
        assert_eq!(reply.status(), 200, "{name}");
        let headers = reply.headers().clone();
        let said = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert!(
            said("content-security-policy").starts_with("default-src 'none'; script-src 'self';")
        );
        assert_eq!(said("x-content-type-options"), "nosniff");
        assert_eq!(said("referrer-policy"), "no-referrer");
        assert_eq!(said("cache-control"), "no-cache");
        total += reply.bytes().await.unwrap().len();
        let again = http
            .get(&url)
            .header("if-none-match", said("etag"))
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), 304, "{name}");
        assert_eq!(again.headers()["etag"], headers["etag"]);
        assert_eq!(
            http.post(&url)
                .bearer_auth(OWNER)
                .send()
                .await
                .unwrap()
                .status(),
            405
        );
    }
    assert!(total < 70_000, "it is small: {total}");
}
