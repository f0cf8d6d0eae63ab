//! What a person has set: the window, the colours, the time zone, the cookies that are kept.

use serde_json::json;
use thirtyfour::prelude::*;

use super::Browser;

/// What somebody has set in their system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Browser {
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
}
