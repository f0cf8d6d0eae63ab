//! A real Chromium without a window, driven over WebDriver, as a person uses it: by labels, buttons, links and keys.
//!
//! Names lead nowhere but to loopback, so a page that asked somebody else for anything would show it here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
pub use thirtyfour::Key;
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;
use tokio::time::Instant;

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

/// What somebody has set in their system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// Something that axe-core has found on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule, by the name that <https://dequeuniversity.com/rules/axe/> has it.
    pub rule: String,
    /// `minor`, `moderate`, `serious` or `critical`.
    pub impact: String,
    /// Where: what matches these selectors.
    pub targets: Vec<String>,
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

    /// The whole text that a person sees.
    ///
    /// # Panics
    /// When no page is shown.
    pub async fn text(&self) -> String {
        self.script("return document.body.innerText", &[])
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the page shows `text`.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn sees(&self, text: &str) {
        let shown = async || self.text().await.contains(text).then_some(());
        if self.until(shown).await.is_none() {
            self.give_up(&format!("the page does not show {text:?}"))
                .await;
        }
    }

    /// Waits until the page shows `text` no more.
    ///
    /// # Panics
    /// When it still does after all.
    pub async fn misses(&self, text: &str) {
        let gone = async || (!self.text().await.contains(text)).then_some(());
        if self.until(gone).await.is_none() {
            self.give_up(&format!("the page still shows {text:?}"))
                .await;
        }
    }

    /// The first element that matches a CSS selector, once there is one.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn element(&self, selector: &str) -> WebElement {
        self.found(By::Css(selector), selector).await
    }

    /// How many elements match a CSS selector now.
    ///
    /// # Panics
    /// When no page is shown.
    pub async fn count(&self, selector: &str) -> usize {
        let all = self.driver.find_all(By::Css(selector)).await;
        all.expect("a page is shown").len()
    }

    /// Waits until so many elements match a CSS selector.
    ///
    /// # Panics
    /// When it is another number after all.
    pub async fn counts(&self, selector: &str, expected: usize) {
        let is_so = async || (self.count(selector).await == expected).then_some(());
        if self.until(is_so).await.is_none() {
            let found = self.count(selector).await;
            self.give_up(&format!("{selector}: {found} instead of {expected}"))
                .await;
        }
    }

    /// The control that the label `label` is for.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn control(&self, label: &str) -> WebElement {
        let is_it = format!(
            "normalize-space(text()) = {0} or normalize-space(.) = {0}",
            quoted(label)
        );
        let path = format!(
            "//*[@id = //label[{is_it}]/@for] | //label[{is_it}]//*[self::input or self::select or self::textarea] | //*[@aria-label = {}]",
            quoted(label)
        );
        self.found(By::XPath(path), label).await
    }

    /// Types `text` into the control with this label, instead of what is in it.
    ///
    /// # Panics
    /// When there is none, or it takes no text.
    pub async fn fill(&self, label: &str, text: &str) {
        let control = self.control(label).await;
        control.clear().await.expect("the control takes text");
        control
            .send_keys(text)
            .await
            .expect("the control takes text");
    }

    /// Chooses the option that is called `option` in the control with this label.
    ///
    /// # Panics
    /// When there is no such control or no such option.
    pub async fn choose(&self, label: &str, option: &str) {
        let control = self.control(label).await;
        let path = format!(".//option[normalize-space(.) = {}]", quoted(option));
        let option = control.find(By::XPath(path)).await;
        option
            .expect("there is such an option")
            .click()
            .await
            .expect("it can be chosen");
    }

    /// Presses the button that is called `name`.
    ///
    /// # Panics
    /// When there is none, or it cannot be pressed.
    pub async fn press(&self, name: &str) {
        let path = format!(
            "//button[normalize-space(.) = {0} or @aria-label = {0}]",
            quoted(name)
        );
        self.click(By::XPath(path), name).await;
    }

    /// Follows the link that is called `name`.
    ///
    /// # Panics
    /// When there is none, or it cannot be clicked.
    pub async fn follow(&self, name: &str) {
        let path = format!(
            "//a[normalize-space(.) = {0} or @aria-label = {0}]",
            quoted(name)
        );
        self.click(By::XPath(path), name).await;
    }

    /// Opens what is folded under the summary `name`.
    ///
    /// # Panics
    /// When there is none, or it cannot be clicked.
    pub async fn unfold(&self, name: &str) {
        let path = format!("//summary[normalize-space(.) = {}]", quoted(name));
        self.click(By::XPath(path), name).await;
    }

    /// Clicks the box with this label.
    ///
    /// # Panics
    /// When there is none, or it cannot be clicked.
    pub async fn tick(&self, label: &str) {
        let clicked = self.control(label).await.click().await;
        clicked.expect("the box can be clicked");
    }

    /// Clicks what matches, once it is there and to be seen. A page that is being replaced is looked at again.
    async fn click(&self, by: By, what: &str) {
        let clicked = async || {
            let all = self.driver.find_all(by.clone()).await.ok()?;
            for element in all {
                if element.click().await.is_ok() {
                    return Some(());
                }
            }
            None
        };
        if self.until(clicked).await.is_none() {
            self.give_up(&format!("{what:?} cannot be clicked")).await;
        }
    }

    /// Presses a key on what has the focus.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn key(&self, key: Key) {
        let pressed = self.driver.action_chain().send_keys(key).perform().await;
        pressed.expect("a key can be pressed");
    }

    /// Types `text` into what has the focus.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn types(&self, text: &str) {
        let typed = self.driver.action_chain().send_keys(text).perform().await;
        typed.expect("a text can be typed");
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

    /// All that the browser keeps for the page's site.
    ///
    /// # Panics
    /// When no page is shown.
    pub async fn cookies(&self) -> Vec<Cookie> {
        self.driver
            .get_all_cookies()
            .await
            .expect("a page is shown")
    }

    /// Keeps a cookie, as if the page's site had set it.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn keep_cookie(&self, name: &str, value: &str) {
        let kept = self.driver.add_cookie(Cookie::new(name, value)).await;
        kept.expect("the browser takes it");
    }

    /// Makes the window so many pixels of CSS wide and high.
    ///
    /// # Panics
    /// When the browser does not.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Tells pages which colours somebody likes.
    ///
    /// # Panics
    /// When the browser does not.
    pub async fn prefer(&self, scheme: Scheme) {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Tells pages in which time zone somebody lives.
    ///
    /// # Panics
    /// When the browser does not know it.
    pub async fn live_in(&self, zone: &str) {
        let zone = json!({ "timezoneId": zone });
        self.devtools("Emulation.setTimezoneOverride", zone).await;
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

    /// What axe-core has to say about the page, as it is shown now.
    ///
    /// # Panics
    /// When axe-core is not installed (`scripts/install`), or fails.
    pub async fn accessibility(&self) -> Vec<Finding> {
        let installed =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(&installed).unwrap_or_else(|error| {
            panic!("{}: {error}; run scripts/install", installed.display())
        });
        self.script(&axe, &[]).await;
        let run = "axe.run().then(arguments[0], error => arguments[0]({ failed: String(error) }))";
        let found = self.script_async(run).await;
        let violations = found["violations"].as_array();
        let violations = violations.unwrap_or_else(|| panic!("axe-core failed: {found}"));
        violations.iter().map(Finding::read).collect()
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

impl Finding {
    fn read(violation: &Value) -> Self {
        let text = |name: &str| violation[name].as_str().unwrap_or_default().to_owned();
        let nodes = violation["nodes"].as_array().into_iter().flatten();
        Self {
            rule: text("id"),
            impact: text("impact"),
            targets: nodes.map(|node| node["target"].to_string()).collect(),
        }
    }

    /// Whether it keeps somebody from using the page.
    pub fn is_serious(&self) -> bool {
        matches!(self.impact.as_str(), "serious" | "critical")
    }
}

/// A text in an XPath, which knows no escapes.
fn quoted(text: &str) -> String {
    match text.contains('\'') {
        false => format!("'{text}'"),
        true => format!("\"{text}\""),
    }
}
