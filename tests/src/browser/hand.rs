//! What a person does on the page that is shown: by labels, names of buttons and links, and keys.

use thirtyfour::Key;
use thirtyfour::prelude::*;

use super::Browser;

impl Browser {
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
}

/// A text in an XPath, which knows no escapes.
fn quoted(text: &str) -> String {
    match text.contains('\'') {
        false => format!("'{text}'"),
        true => format!("\"{text}\""),
    }
}
