//! What a person sees on the page that is shown. Whoever looks for something waits until it is there.

use thirtyfour::prelude::*;

use super::Browser;

impl Browser {
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

    /// Waits until the first element that matches a CSS selector shows `text` and nothing else.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn reads(&self, selector: &str, text: &str) {
        // One look: an element that is found first and read afterwards may have been exchanged.
        let first = "return document.querySelector(arguments[0])?.innerText ?? null";
        let shown = async || {
            let shown = self.script(first, &[selector.into()]).await;
            (shown == text).then_some(())
        };
        if self.until(shown).await.is_none() {
            self.give_up(&format!("{selector:?} does not read {text:?}"))
                .await;
        }
    }
}
