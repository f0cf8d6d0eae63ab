//! A real Chromium without a window, driven over WebDriver, as a person uses it: by labels, buttons, links and keys.
//!
//! Names lead nowhere but to loopback, so a page that asked somebody else for anything would show it here.

mod accessibility;
mod hand;
mod page;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
pub use thirtyfour::Key;
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;
use tokio::time::Instant;

pub use self::accessibility::Finding;
pub use self::settings::Scheme;
use crate::process::{Process, free_port};

/// How long a page may take until it shows what it is to show.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a page is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(30);
/// What a browser needs in a container, and what keeps it from talking to others.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// A browser, with one window.
#[derive(Debug)]
pub struct Browser {
    driver: WebDriver,
    base: String,
    pictures: PathBuf,
    taken: AtomicUsize,
    // After the driver, which still asks it to close the window.
    _chromedriver: Process,
    _home: TempDir,
}

impl Browser {
    /// A browser for the pages at `base`, whose pictures are kept in the directory `pictures`.
    ///
    /// # Panics
    /// When Chromium or its driver is not there or does not start.
    pub async fn start(base: &str, pictures: PathBuf) -> Self {
        let _ = fs::remove_dir_all(&pictures);
        fs::create_dir_all(&pictures).expect("there is room for pictures");
        let home = tempfile::tempdir().expect("there is room for a browser's files");
        let port = free_port();
        let chromedriver = Process::start(
            Path::new("chromedriver"),
            home.path(),
            port,
            &[
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("HOME", &home.path().to_string_lossy()),
            ],
            &[&format!("--port={port}"), "--log-level=WARNING"],
        )
        .await;
        let mut capabilities = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            let added = capabilities.add_arg(argument);
            added.expect("an argument is a text");
        }
        let logging = capabilities.set_browser_log_level(LoggingPrefsLogLevel::All);
        logging.expect("a level is a text");
        let driver = WebDriver::new(&chromedriver.base, capabilities).await;
        let browser = Self {
            driver: driver.expect("Chromium starts"),
            base: base.to_owned(),
            pictures,
            taken: AtomicUsize::new(0),
            _chromedriver: chromedriver,
            _home: home,
        };
        browser.resize(1280, 900).await;
        browser
    }

    /// Closes the browser.
    ///
    /// # Panics
    /// When it does not close.
    pub async fn close(self) {
        self.driver.quit().await.expect("the browser closes");
    }

    /// Opens the page at `path`.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn open(&self, path: &str) {
        let opened = self.driver.goto(format!("{}{path}", self.base)).await;
        opened.expect("the page is there");
    }

    /// The path of the page that is shown, with its query.
    ///
    /// # Panics
    /// When no page is shown.
    pub async fn path(&self) -> String {
        let url = self.driver.current_url().await.expect("a page is shown");
        url.as_str()
            .strip_prefix(&self.base)
            .unwrap_or(url.as_str())
            .to_owned()
    }

    /// Runs a script on the page: what it returns.
    ///
    /// # Panics
    /// When it fails.
    pub async fn script(&self, script: &str, arguments: &[Value]) -> Value {
        let returned = self.driver.execute(script, arguments.to_vec()).await;
        let returned = returned.unwrap_or_else(|error| panic!("{script}: {error}"));
        returned.json().clone()
    }

    /// Runs a script that hands its result to the function `arguments[0]`.
    ///
    /// # Panics
    /// When it fails.
    pub async fn script_async(&self, script: &str) -> Value {
        let returned = self.driver.execute_async(script, Vec::new()).await;
        let returned = returned.unwrap_or_else(|error| panic!("{script}: {error}"));
        returned.json().clone()
    }

    async fn devtools(&self, method: &str, parameters: Value) {
        let sent = self.driver.cdp().send_raw(method, parameters).await;
        sent.unwrap_or_else(|error| panic!("{method}: {error}"));
    }

    /// Keeps a picture of the page under a name, numbered in the order of taking.
    ///
    /// # Panics
    /// When there is no page or no room.
    pub async fn picture(&self, name: &str) {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let path = self.pictures.join(format!("{number:02}-{name}.png"));
        let taken = self.driver.screenshot(&path).await;
        taken.expect("there is room for a picture");
    }

    /// What the page has complained about since this was asked last: scripts and styles that its policy forbids, what could
    /// not be loaded, errors of scripts.
    ///
    /// # Panics
    /// When the browser keeps no log.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self
            .driver
            .browser_log()
            .await
            .expect("the browser keeps a log");
        log.into_iter().map(|entry| format!("{entry:?}")).collect()
    }

    async fn found(&self, by: By, what: &str) -> WebElement {
        let found = self
            .until(async || self.driver.find(by.clone()).await.ok())
            .await;
        match found {
            Some(element) => element,
            None => {
                self.give_up(&format!("there is no {what:?} on the page"))
                    .await
            }
        }
    }

    /// What `glance` sees, once it sees something. Pages tell nobody when they are ready, so they are looked at again.
    async fn until<T>(&self, glance: impl AsyncFn() -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = glance().await {
                return Some(seen);
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn give_up(&self, why: &str) -> ! {
        self.picture("failed").await;
        panic!("{why}, at {}:\n{}", self.path().await, self.text().await);
    }
}
