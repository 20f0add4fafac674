//! How the page looks: on a phone, in the dark, and while something happens.

use serde_json::json;

use crate::world::World;
use polystore_servers::browser::Browser;

/// A store as somebody might have it.
async fn furnish(world: &World) {
    let all = [
        (
            "cart:7f3a",
            json!({"items": [{"sku": "A-113", "n": 2}], "total": 41.9}),
            "25m",
        ),
        ("config:theme", json!("dark"), "never"),
        ("flag:new-checkout", json!(true), "never"),
        ("lock:report", json!({"holder": "worker-3"}), "40s"),
        ("rate:203.0.113.9", json!(17), "55s"),
        (
            "session:Zk2vQ0",
            json!({"user": 1, "roles": ["admin"], "csrf": "b1946ac9"}),
            "29m",
        ),
        ("session:x81LmP", json!({"user": 2, "roles": []}), "3h"),
        (
            "user:1",
            json!({"name": "Ada Lovelace", "email": "ada@example.org", "born": 1815, "notes": ["first programmer", "mathematician"], "active": true, "manager": null}),
            "30d",
        ),
        (
            "user:2",
            json!({"name": "Grace Hopper", "born": 1906}),
            "30d",
        ),
        (
            "user:3",
            json!({"name": "Annie Easley", "born": 1933}),
            "30d",
        ),
        ("visits", json!(48_213), "never"),
    ];
    for (key, value, expires) in all {
        world.store.set(key, &value).expires(expires).await.unwrap();
    }
}

async fn background(browser: &Browser) -> String {
    let colour = browser
        .js("return getComputedStyle(document.documentElement).backgroundColor")
        .await;
    colour.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn activity_is_charted_from_the_metrics() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    furnish(&world).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::new();
    let url = format!("{}/kv/visits", world.origin);
    let load = tokio::spawn(async move {
        let mut beat = tokio::time::interval(std::time::Duration::from_millis(10));
        loop {
            beat.tick().await;
            http.get(&url).send().await.unwrap();
        }
    });
    browser.go(&world.page()).await;
    browser
        .until("Number(document.querySelector('[data-now=rate]').textContent) > 5")
        .await;
    browser
        .until("/^[0-9.]+ (µs|ms|s)$/.test(document.querySelector('[data-now=p95]').textContent)")
        .await;
    browser
        .until("document.querySelector('[data-line=rate]').getAttribute('d').split('L').length > 5")
        .await;
    browser
        .until("document.querySelector('[data-line=p50]').getAttribute('d').includes('L')")
        .await;
    browser.click("[role=option]:nth-child(8)").await;
    browser.says("#key", "user:1").await;
    browser.screenshot("light").await;
    browser.prefer("dark").await;
    browser.screenshot("dark").await;
    browser.click("#about").await;
    browser.says("#store", "Only if nothing is there").await;
    browser.screenshot("store").await;
    load.abort();
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn it_follows_the_system_until_a_person_chooses_which_is_remembered() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    browser.prefer("dark").await;
    browser.go(&world.page()).await;
    browser
        .until("document.querySelector('#theme').ariaPressed === 'true'")
        .await;
    let dark = background(&browser).await;
    browser.click("#theme").await;
    let light = background(&browser).await;
    assert_ne!(dark, light);
    browser.reload().await;
    browser
        .until("document.querySelector('#theme').ariaPressed === 'false'")
        .await;
    assert_eq!(background(&browser).await, light);
    browser.click("#theme").await;
    browser.prefer("light").await;
    assert_eq!(background(&browser).await, dark);
    browser.close(&world.origin).await;
}

const NO_SCROLLING: &str = "document.documentElement.scrollWidth <= 360 && innerWidth === 360";

#[tokio::test]
async fn it_fits_a_phone() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    browser.resize(360, 740).await;
    browser.go(&world.page()).await;
    browser.says("#empty", "Nothing here yet").await;
    browser.until(NO_SCROLLING).await;
    browser.screenshot("phone-empty").await;
    furnish(&world).await;
    world
        .store
        .set(&"k".repeat(1000), &"v".repeat(1000))
        .await
        .unwrap();
    browser.click("#refresh").await;
    browser.says("#range", "1–12 of 12").await;
    browser.until(NO_SCROLLING).await;
    browser.screenshot("phone").await;
    for number in [5, 10] {
        browser
            .click(&format!("[role=option]:nth-child({number})"))
            .await;
        browser.until("document.querySelector('#back').checkVisibility() && !document.querySelector('#list').checkVisibility()").await;
        browser.until(NO_SCROLLING).await;
        browser.screenshot(&format!("phone-entry-{number}")).await;
        browser.click("#edit").await;
        browser.until(NO_SCROLLING).await;
        browser.screenshot("phone-dialog").await;
        browser.click("#editor [value=cancel]").await;
        browser.click("#back").await;
        browser
            .until("document.querySelector('#list').checkVisibility()")
            .await;
    }
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn everything_that_can_be_used_has_a_name() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    furnish(&world).await;
    browser.go(&world.page()).await;
    browser.click("[role=option]").await;
    browser.says("#key", "cart").await;
    browser.click("#edit").await;
    let tree = browser.cdp("Accessibility.getFullAXTree", json!({})).await;
    let mut count = 0;
    for node in tree["nodes"].as_array().unwrap() {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        if node["ignored"] == true
            || ![
                "button",
                "textbox",
                "searchbox",
                "checkbox",
                "radio",
                "dialog",
                "listbox",
                "option",
                "region",
            ]
            .contains(&role)
        {
            continue;
        }
        count += 1;
        assert_ne!(
            node["name"]["value"].as_str().unwrap_or_default(),
            "",
            "{node}"
        );
    }
    assert!(count > 8, "{count}");
    browser.close(&world.origin).await;
}
