//! Chromium, as a program drives it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::ports;
use crate::programs::program;
use crate::server::{Ends, Server, line};

const ENDS: Ends = Ends {
    graceful: "TERM",
    quick: "KILL",
};

/// What keeps a browser to itself: no window, no questions, no requests of its own.
const FLAGS: [&str; 12] = [
    "--headless",
    // Containers seldom have what the sandbox is made of, and root may not use it.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Sites with names, for what differs from 127.0.0.1.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
    // By a pipe the browser notices when its driver is gone, however that ended.
    "--remote-debugging-pipe",
];

/// A chromedriver, which starts Chromium for each session that it is asked for (W3C `WebDriver`) and ends it with the
/// session, or with itself.
#[derive(Debug)]
pub struct Chromium {
    server: Server,
    port: u16,
    browser: PathBuf,
    profiles: AtomicU32,
}

impl Chromium {
    /// One without a session. Nothing where chromium or its driver is missing.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn start() -> Option<Self> {
        let browser = program("chromium", "chromium")?;
        let driver = program("chromedriver", "chromium-driver")?;
        let server = Server::new("chromium", &ENDS, None);
        let port = server.start_on_free_ports(|| {
            let port = ports::free();
            let words = [driver.display().to_string(), format!("--port={port}")];
            let home = line([server.folder().display().to_string()]);
            let script = format!("export HOME={home}\nexec {}\n", line(words));
            let outcome = server.start(&script, move || is_ready(port));
            (port, outcome)
        });
        Some(Self {
            server,
            port,
            browser,
            profiles: AtomicU32::new(0),
        })
    }

    /// The one that this process' tests share.
    ///
    /// # Panics
    /// If it does not start, or is missing in CI.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Chromium>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Where `POST /session` opens one.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The browser's program, for `goog:chromeOptions`' `binary`.
    #[must_use]
    pub fn browser(&self) -> String {
        self.browser.display().to_string()
    }

    /// The `args` of the next session, with an empty profile of its own in the server's folder.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        let number = self.profiles.fetch_add(1, Ordering::Relaxed);
        let profile = self.server.folder().join(format!("profile-{number}"));
        let mut args: Vec<String> = FLAGS.map(str::to_owned).into();
        args.push(format!("--user-data-dir={}", profile.display()));
        args
    }
}

impl Deref for Chromium {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn is_ready(port: u16) -> bool {
    let talk = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        // It may keep the connection; what has come by then is enough.
        let _ = stream.read_to_end(&mut answer);
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    talk().is_ok_and(|answer| answer.contains("\"ready\":true"))
}
