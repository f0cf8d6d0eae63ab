//! Whether two addresses are the same, however they are written (RFC 9449 §4.3, RFC 3986 §6.2.2 and §6.2.3).

/// Where clients call a server: a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    authority: String,
}

impl Origin {
    /// Reads an origin without a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (origin, path) = Self::split(text.trim_end_matches('/'))?;
        path.is_empty().then_some(origin)
    }

    /// Whether `uri` is `path` at this origin. The query and the fragment of either do not count.
    pub(super) fn matches(&self, uri: &str, path: &str) -> bool {
        let Some((origin, named)) = Self::split(uri) else {
            return false;
        };
        origin == *self && normal_path(named) == normal_path(path)
    }

    /// The origin of a URI, and its path with what comes after.
    fn split(uri: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = uri.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        // Credentials in an address are no part of who is called, and nobody who means well writes them.
        if authority.contains('@') {
            return None;
        }
        let authority = authority.to_ascii_lowercase();
        let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
        let authority = authority.strip_suffix(':').unwrap_or(authority);
        if authority.is_empty() {
            return None;
        }
        let origin = Self {
            scheme,
            authority: authority.to_owned(),
        };
        Some((origin, path))
    }
}

/// Without query and fragment; no path is `/`; escapes in capitals, and none where none is needed. Dot segments are not
/// resolved: servers differ in what they make of them, so an address that has some is the same only to the letter.
fn normal_path(path: &str) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let path = &path[..end];
    if path.is_empty() {
        return "/".to_owned();
    }
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(next) = rest.chars().next() {
        let after = &rest[next.len_utf8()..];
        let escaped = after.get(..2).filter(|_| next == '%');
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if is_unreserved(byte) => {
                normal.push(char::from(byte));
                rest = &after[2..];
            }
            Some(byte) => {
                normal.push_str(&format!("%{byte:02X}"));
                rest = &after[2..];
            }
            None => {
                normal.push(next);
                rest = after;
            }
        }
    }
    normal
}

/// RFC 3986 §2.3
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(origin: &str, uri: &str, path: &str) -> bool {
        Origin::parse(origin).unwrap().matches(uri, path)
    }

    /// V22
    #[test]
    fn one_address_is_written_in_several_ways() {
        let origin = "https://api.example";
        for (uri, path) in [
            ("https://api.example/a", "/a"),
            ("HTTPS://API.Example/a", "/a"),
            ("https://api.example:443/a", "/a"),
            ("https://api.example:/a", "/a"),
            ("https://api.example/a?x=1", "/a?y=2"),
            ("https://api.example/a#f", "/a"),
            ("https://api.example", "/"),
            ("https://api.example?x=1", "/"),
            ("https://api.example/%61", "/a"),
            ("https://api.example/%7euser", "/~user"),
            ("https://api.example/%2f", "/%2F"),
            ("https://api.example/é", "/é"),
        ] {
            assert!(same(origin, uri, path), "{uri} {path}");
        }
        assert!(same("http://127.0.0.1:80/", "http://127.0.0.1/a", "/a"));
    }

    /// V22
    #[test]
    fn another_address_is_another() {
        let origin = "https://api.example";
        for (uri, path) in [
            ("http://api.example/a", "/a"),
            ("https://api.example:80/a", "/a"),
            ("https://api.example.evil/a", "/a"),
            ("https://user@api.example/a", "/a"),
            ("https://api.example@evil/a", "/a"),
            ("https://api.example/A", "/a"),
            ("https://api.example/a/", "/a"),
            ("https://api.example//a", "/a"),
            ("https://api.example/b/../a", "/a"),
            ("https://api.example/%2561", "/a"),
            ("https://api.example/a%2Fb", "/a/b"),
            ("https:///a", "/a"),
            ("ftp://api.example/a", "/a"),
            ("/a", "/a"),
            ("", "/"),
        ] {
            assert!(!same(origin, uri, path), "{uri} {path}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        for text in ["https://api.example/v1", "api.example", "https://", "x"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(uri in "\\PC*", path in "\\PC*") {
            let _ = same("https://api.example", &uri, &path);
        }

        #[test]
        fn a_path_is_its_own(path in "/[a-zA-Z0-9/%._~-]{0,20}") {
            let uri = format!("https://api.example{path}");
            prop_assert!(same("https://api.example", &uri, &path));
        }
    }
}
