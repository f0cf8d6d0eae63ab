//! The console in a real Chromium: what people do with it, who cannot be harmed through it, and who is not shut out.
//!
//! Pictures of what was seen are kept below `target/tmp/console`, by test.

mod accessibility;
mod journeys;
mod keyboard;
mod people;
mod security;
mod stored_markup;

use std::path::Path;

use machineauth_tests::browser::Browser;
use machineauth_tests::issuer::{ADMIN, Builder, Issuer};

/// An issuer, and a browser before its console.
struct Desk {
    issuer: Issuer,
    browser: Browser,
}

impl Desk {
    /// For the test that is called `test`.
    async fn set(test: &str) -> Self {
        Self::with(Issuer::builder(), test).await
    }

    async fn with(builder: Builder, test: &str) -> Self {
        let issuer = builder.start().await;
        let browser = browser(&issuer, test).await;
        Self { issuer, browser }
    }

    /// As [`Desk::set`], signed in as the configured administrator.
    async fn signed_in(test: &str) -> Self {
        let desk = Self::set(test).await;
        sign_in(&desk.browser, ADMIN).await;
        desk
    }

    async fn close(self) {
        self.browser.close().await;
        self.issuer.stop().await;
    }
}

async fn browser(issuer: &Issuer, test: &str) -> Browser {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    Browser::start(&issuer.base, pictures.join(test)).await
}

async fn sign_in(browser: &Browser, (email, password): (&str, &str)) {
    browser.open("/admin").await;
    browser.fill("E-mail address", email).await;
    browser.fill("Password", password).await;
    browser.press("Sign in").await;
    browser.sees("Sign out").await;
}
