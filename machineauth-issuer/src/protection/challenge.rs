//! The challenge of a 401, where a page is what is refused.
//!
//! A browser that reads `Basic` there asks its user for a name and a password, and the page waits until somebody answers
//! (Fetch Standard, HTTP-network-or-cache fetch): every page that calls the API before its login, with a token that has
//! ended, or with a wrong client secret. Of `Bearer` a browser knows nothing, so the page gets its answer.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, ORIGIN, REFERER, WWW_AUTHENTICATE};

use crate::basic;
use crate::error::challenges;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a script in a page asks, and not with Basic: then RFC 6749 §5.2 would have the same scheme in the answer.
pub fn is_of_page(headers: &HeaderMap) -> bool {
    is_of_script(headers) && !headers.get(AUTHORIZATION).is_some_and(basic::is_basic)
}

/// A browser says so itself (Fetch Metadata §2.2), but only to `https` and to its own machine. Elsewhere the other two tell,
/// which clients that are no browsers do not send. Node has a mode as well, but no site.
fn is_of_script(headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_MODE) {
        Some(mode) if headers.contains_key(SEC_FETCH_SITE) => mode != "navigate",
        _ => headers.contains_key(ORIGIN) || headers.contains_key(REFERER),
    }
}

/// Asks a page for a bearer token, where others are asked for Basic.
pub fn for_page(headers: &mut HeaderMap) {
    if headers.get(WWW_AUTHENTICATE).is_some_and(basic::is_basic) {
        headers.insert(WWW_AUTHENTICATE, challenges::BEARER);
    }
}
