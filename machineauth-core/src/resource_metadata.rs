//! Protected resource metadata (RFC 9728): how a client that knows nothing but the resource learns where to get a token.

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, Uri};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind};
use crate::scope::ScopeSet;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What a protected resource says about itself (RFC 9728 §2).
///
/// ```
/// use machineauth_core::ResourceMetadata;
///
/// # fn main() -> Result<(), machineauth_core::Error> {
/// let metadata = ResourceMetadata::new("https://api.example.com/mcp")?
///     .authorization_server("https://auth.example.com")
///     .name("Artifacts");
/// assert_eq!(metadata.url(), "https://api.example.com/.well-known/oauth-protected-resource/mcp");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceMetadata {
    url: String,
    path: String,
    authorization_servers: Vec<String>,
    members: Map<String, Value>,
}

impl ResourceMetadata {
    /// Metadata of the resource with this identifier: an https URL without fragment (RFC 9728 §1.2), or http on
    /// loopback, as clients know it from outside.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] for anything else.
    pub fn new(resource: &str) -> Result<Self, Error> {
        let invalid = Error::because(
            ErrorKind::InvalidConfiguration,
            "a resource is identified by an https URL without query and fragment",
        );
        let uri: Uri = resource.parse().map_err(|_| invalid)?;
        let host = uri.host().unwrap_or_default();
        let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let scheme = uri.scheme_str().unwrap_or_default();
        let good_scheme = scheme == "https" || (scheme == "http" && is_loopback);
        let authority = uri.authority().ok_or(invalid)?;
        if !good_scheme || resource.contains(['?', '#', '@']) {
            return Err(invalid);
        }
        // RFC 9728 §3.1: a slash that ends the host is dropped, the rest of the path goes behind the well-known part.
        let path = format!("{WELL_KNOWN}{}", uri.path().trim_end_matches('/'));
        let mut members = Map::new();
        members.insert("resource".into(), json!(resource));
        members.insert("bearer_methods_supported".into(), json!(["header"]));
        Ok(Self {
            url: format!("{scheme}://{authority}{path}"),
            path,
            authorization_servers: Vec::new(),
            members,
        })
    }

    /// Names an authorization server, by its issuer identifier (RFC 8414), that issues tokens for this resource.
    #[must_use]
    pub fn authorization_server(mut self, issuer: impl Into<String>) -> Self {
        self.authorization_servers.push(issuer.into());
        self
    }

    /// Says which scopes there are to ask for.
    #[must_use]
    pub fn scopes(self, scopes: &ScopeSet) -> Self {
        let scopes: Vec<_> = scopes.iter().map(AsRef::<str>::as_ref).collect();
        let scopes = json!(scopes);
        self.member("scopes_supported", scopes)
    }

    /// Names the resource for people.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.member("resource_name", json!(name))
    }

    /// Says where developers can read about it.
    #[must_use]
    pub fn documentation(self, url: &str) -> Self {
        self.member("resource_documentation", json!(url))
    }

    /// Adds any other member (RFC 9728 §2), or replaces one.
    #[must_use]
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// Whether authorization servers were named.
    pub fn names_authorization_servers(&self) -> bool {
        !self.authorization_servers.is_empty()
    }

    /// Where clients find it: what challenges say in `resource_metadata` (RFC 9728 §5.1).
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The path of [`ResourceMetadata::url`].
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The document.
    pub fn to_json(&self) -> Bytes {
        let mut members = self.members.clone();
        members.insert(
            "authorization_servers".into(),
            json!(self.authorization_servers),
        );
        Value::Object(members).to_string().into()
    }

    /// The whole answer to a request for it. Pages of any origin may read it.
    pub fn to_response(&self) -> Response<Bytes> {
        let mut response = Response::new(self.to_json());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=3600"),
        );
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9728 §3.1
    #[test]
    fn the_well_known_part_stands_between_host_and_path() {
        let root = "https://api.example.com/.well-known/oauth-protected-resource";
        for (resource, url) in [
            ("https://api.example.com", root.to_owned()),
            ("https://api.example.com/", root.to_owned()),
            ("https://api.example.com/a/b", format!("{root}/a/b")),
            (
                "http://127.0.0.1:8080/mcp",
                "http://127.0.0.1:8080/.well-known/oauth-protected-resource/mcp".to_owned(),
            ),
        ] {
            assert_eq!(ResourceMetadata::new(resource).unwrap().url(), url);
        }
    }

    #[test]
    fn what_is_no_resource_identifier_is_refused() {
        for resource in [
            "",
            "api",
            "/mcp",
            "http://api.example.com",
            "ftp://api.example.com",
            "https://api.example.com/#x",
            "https://api.example.com/?x=1",
            "https://user@api.example.com",
            "http://127.0.0.1.example.com",
        ] {
            let error = ResourceMetadata::new(resource).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{resource}");
        }
    }

    #[test]
    fn the_document_says_what_it_was_told() {
        let metadata = ResourceMetadata::new("https://api.example.com/mcp")
            .unwrap()
            .authorization_server("https://auth.example.com")
            .scopes(&"read write".parse().unwrap())
            .name("Artifacts");
        let document: Value = serde_json::from_slice(&metadata.to_json()).unwrap();
        let expected = json!({
            "resource": "https://api.example.com/mcp",
            "authorization_servers": ["https://auth.example.com"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["read", "write"],
            "resource_name": "Artifacts",
        });
        assert_eq!(document, expected);
    }
}
