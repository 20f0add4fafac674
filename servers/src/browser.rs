//! A browser, by the little of W3C `WebDriver` that clicking through a page takes.
//!
//! It works on a tokio runtime.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "what goes wrong here is a test that fails"
)]

use std::fmt;
use std::time::{Duration, Instant};

use crate::Chromium;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long the page may take to do what it was asked for. Machines that run tests can be slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// Browsers at a time.
static TURNS: Semaphore = Semaphore::const_new(2);
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The key Enter.
pub const ENTER: &str = "\u{e007}";
/// The key Escape.
pub const ESCAPE: &str = "\u{e00c}";
/// The key Delete.
pub const DELETE: &str = "\u{e017}";
/// The key Tab.
pub const TAB: &str = "\u{e004}";
/// The key with the arrow down.
pub const DOWN: &str = "\u{e015}";
/// The key with the arrow to the right.
pub const RIGHT: &str = "\u{e014}";
/// The key Control, which stays down in [`Browser::press`].
pub const CONTROL: &str = "\u{e009}";

/// A browser with a window and an empty profile.
pub struct Browser {
    http: reqwest::Client,
    session: String,
    _turn: SemaphorePermit<'static>,
}

impl Browser {
    /// A new one with an empty profile; nothing where there is no Chromium.
    pub async fn open() -> Option<Self> {
        let driver = tokio::task::spawn_blocking(Chromium::shared)
            .await
            .unwrap()?;
        let _turn = TURNS.acquire().await.unwrap();
        // Another test may have done so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut browser = Self {
            http: reqwest::Client::new(),
            session: driver.url(),
            _turn,
        };
        let options = json!({"args": driver.args(), "binary": driver.browser()});
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        let session = browser.command(
            Method::POST,
            "session",
            json!({"capabilities": {"alwaysMatch": wanted}}),
        );
        let session = session.await["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/session/{session}", driver.url());
        browser.resize(1280, 800).await;
        Some(browser)
    }

    async fn try_command(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let url = format!("{}/{path}", self.session);
        let request = self.http.request(method, url.trim_end_matches('/'));
        let request = match body {
            Value::Null => request,
            body => request.body(body.to_string()),
        };
        let reply = request.send().await.unwrap();
        let is_ok = reply.status().is_success();
        let mut said: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        match is_ok {
            true => Ok(said["value"].take()),
            false => Err(format!("{path}: {}", said["value"]["message"])),
        }
    }

    async fn command(&self, method: Method, path: &str, body: Value) -> Value {
        self.try_command(method, path, body).await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.command(Method::POST, path, body).await
    }

    /// What Chromium's own protocol can do and `WebDriver` can't.
    pub async fn cdp(&self, what: &str, params: Value) -> Value {
        self.post("goog/cdp/execute", json!({"cmd": what, "params": params}))
            .await
    }

    /// Gives the page so many pixels; below 500 it is a phone's.
    pub async fn resize(&self, width: u32, height: u32) {
        let is_phone = width < 500;
        let scale = if is_phone { 2 } else { 1 };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// What the person's system prefers: `light` or `dark`.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    /// Opens the page at `url` and waits until it has loaded.
    pub async fn go(&self, url: &str) {
        self.post("url", json!({"url": url})).await;
    }

    /// Loads the page once more.
    pub async fn reload(&self) {
        self.post("refresh", json!({})).await;
    }

    /// What the body of a function, `script`, answers.
    pub async fn js(&self, script: &str) -> Value {
        self.post("execute/sync", json!({"script": script, "args": []}))
            .await
    }

    /// What the body of an asynchronous function, `script`, answers in at most `patience`; `arguments` are its
    /// `arguments`. An exception there is an error here.
    ///
    /// # Errors
    /// What the page said.
    pub async fn call(
        &self,
        script: &str,
        arguments: &[Value],
        patience: Duration,
    ) -> Result<Value, String> {
        let millis = u64::try_from(patience.as_millis()).unwrap();
        self.post("timeouts", json!({"script": millis})).await;
        let script = format!(
            "const answer = arguments[arguments.length - 1];
             const work = async (...arguments) => {{ {script} }};
             work(...[...arguments].slice(0, -1)).then(
               (ok) => answer({{ok: ok ?? null}}),
               (error) => answer({{error: String(error?.stack ?? error)}}),
             );"
        );
        let request = json!({"script": script, "args": arguments});
        let mut answer = self
            .try_command(Method::POST, "execute/async", request)
            .await?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Waits until the expression holds.
    pub async fn until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.js(&format!("return !!({expression})")).await != json!(true) {
            if Instant::now() > deadline {
                let page = self.js("return document.body.innerText").await;
                self.screenshot("failed").await;
                panic!("never: {expression}\n{}", page.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the text of `css` contains `text`.
    pub async fn says(&self, css: &str, text: &str) {
        let (css, text) = (json!(css), json!(text));
        self.until(&format!(
            "document.querySelector({css})?.innerText.includes({text})"
        ))
        .await;
    }

    /// The text of `css` as it is shown.
    pub async fn text(&self, css: &str) -> String {
        let text = self
            .js(&format!(
                "return document.querySelector({}).innerText",
                json!(css)
            ))
            .await;
        text.as_str().unwrap().to_owned()
    }

    async fn element(&self, css: &str) -> String {
        self.until(&format!(
            "document.querySelector({})?.checkVisibility()",
            json!(css)
        ))
        .await;
        let found = self
            .post("element", json!({"using": "css selector", "value": css}))
            .await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks where a person would: what is covered or not to be seen can't be clicked.
    pub async fn click(&self, css: &str) {
        self.click_what(&format!("document.querySelector({})", json!(css)))
            .await;
    }

    /// Clicks the element that the expression answers.
    pub async fn click_what(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.js(&format!("return {expression} ?? null")).await;
            let outcome = match found[ELEMENT].as_str() {
                Some(element) => {
                    let path = format!("element/{element}/click");
                    self.try_command(Method::POST, &path, json!({})).await
                }
                None => Err("it is not there".to_owned()),
            };
            // A list that is drawn anew has other elements.
            match outcome {
                Ok(_) => return,
                Err(error) => assert!(Instant::now() < deadline, "{expression}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Replaces what stands in a field by typing.
    pub async fn fill(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.post(&format!("element/{element}/clear"), json!({}))
            .await;
        if !text.is_empty() {
            self.post(&format!("element/{element}/value"), json!({"text": text}))
                .await;
        }
    }

    /// Presses keys on whatever has the focus; a modifier stays down until the end.
    pub async fn press(&self, keys: &str) {
        let mut actions: Vec<Value> = Vec::new();
        let mut held = Vec::new();
        for key in keys.chars().map(String::from) {
            actions.push(json!({"type": "keyDown", "value": key}));
            match key == CONTROL {
                true => held.push(key),
                false => actions.push(json!({"type": "keyUp", "value": key})),
            }
        }
        actions.extend(
            held.into_iter()
                .map(|key| json!({"type": "keyUp", "value": key})),
        );
        let source = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.post("actions", json!({"actions": [source]})).await;
    }

    /// Whether `css` has the focus.
    pub async fn focused(&self, css: &str) {
        self.until(&format!("document.activeElement.matches({})", json!(css)))
            .await;
    }

    /// Writes `target/screenshots/NAME.png`.
    pub async fn screenshot(&self, name: &str) {
        let picture = self.command(Method::GET, "screenshot", Value::Null).await;
        // target/debug/deps/PROGRAM
        let program = std::env::current_exe().unwrap();
        let folder = program.ancestors().nth(3).unwrap().join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = base64(picture.as_str().unwrap());
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.post("se/log", json!({"type": kind})).await;
        log.as_array().unwrap().clone()
    }

    /// Ends it. Nothing must have gone wrong in the page, and nothing have been asked of anybody but `origin`.
    pub async fn close(self, origin: &str) {
        for said in self.log("browser").await {
            // Answers such as 404 are errors to the browser, and not to the page.
            let is_answer = said["source"] == "network";
            assert!(is_answer || said["level"] == "INFO", "the console: {said}");
        }
        let mut count = 0;
        for event in self.log("performance").await {
            let event: Value = serde_json::from_str(event["message"].as_str().unwrap()).unwrap();
            if event["message"]["method"] != "Network.requestWillBeSent" {
                continue;
            }
            let url = event["message"]["params"]["request"]["url"]
                .as_str()
                .unwrap();
            // The browser's own first tab is of `chrome:`, where no page can go.
            let own = [origin, "data:", "blob:", "chrome:"];
            assert!(
                own.iter().any(|it| url.starts_with(it)),
                "asked elsewhere: {url}"
            );
            count += usize::from(url.starts_with(origin));
        }
        assert!(count >= 5, "the page and its files were asked for: {count}");
        self.end().await;
    }

    /// Ends it, whatever was said and asked.
    pub async fn end(self) {
        self.command(Method::DELETE, "", Value::Null).await;
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").finish_non_exhaustive()
    }
}

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b'=')
        .map(value)
        .collect();
    let groups = digits.chunks(4).flat_map(|group| {
        let bits = group
            .iter()
            .fold(0u32, |bits, digit| bits << 6 | u32::from(*digit));
        let bits = bits << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    groups.collect()
}
