//! The files of the console, in the binary: a style sheet, two scripts, a picture.
//!
//! Their names change with what is in them, so that a browser may keep them for good.

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use machineauth_core::crypto::sha256;

use super::address::Path;
use super::failure::Failure;
use crate::error::ApiError;
use crate::paths;

const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The style sheet.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_bytes!("../../assets/console.css");
    Asset::new("console", "css", "text/css; charset=utf-8", text)
});
/// Our script.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_bytes!("../../assets/console.js");
    Asset::new("console", "js", JAVASCRIPT, text)
});
/// htmx 4.0.1 (<https://htmx.org>), under the licence beside it.
pub static HTMX: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_bytes!("../../assets/htmx-4.0.1.min.js");
    Asset::new("htmx-4.0.1", "js", JAVASCRIPT, text)
});
/// The picture in the tab of a browser.
pub static MARK: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_bytes!("../../assets/mark.svg");
    Asset::new("mark", "svg", "image/svg+xml", text)
});

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the console.
#[derive(Debug)]
pub struct Asset {
    path: String,
    content_type: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let digest: String = sha256(bytes)[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            path: format!("{}/{name}.{digest}.{extension}", paths::ADMIN_ASSETS),
            content_type,
            bytes,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// A file, by its name.
pub async fn file(Path(name): Path<String>) -> Result<Response, Failure> {
    let path = format!("{}/{name}", paths::ADMIN_ASSETS);
    let mut all = [&STYLE, &SCRIPT, &HTMX, &MARK].into_iter();
    let found = all.find(|asset| asset.path == path);
    let asset = found.ok_or(ApiError::NO_SUCH_PATH)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (CACHE_CONTROL, FOR_GOOD),
    ];
    Ok((headers, asset.bytes).into_response())
}
