//! The cookies of the console (RFC 6265).

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::context::Origin;

/// What a cookie of the console is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// Somebody signed in.
    Session,
    /// Somebody is about to: binds the forms that are shown before.
    Visit,
}

impl Cookie {
    /// Where the browser may keep it to this host alone, it has to (RFC 6265bis §4.1.3.2): no neighbour can set it then.
    fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Self::Session, true) => "__Host-machineauth_session",
            (Self::Session, false) => "machineauth_session",
            (Self::Visit, true) => "__Host-machineauth_visit",
            (Self::Visit, false) => "machineauth_visit",
        }
    }

    /// Its value in a request.
    pub fn read<'a>(self, headers: &'a HeaderMap, origin: &Origin) -> Option<&'a str> {
        let name = self.name(origin.is_secure);
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let mut values = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value);
        // Two of one name: one of them is somebody else's.
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The header that sets it, until the browser closes.
    pub fn set(self, value: &str, origin: &Origin) -> HeaderValue {
        self.header(value, "", origin)
    }

    /// The header that removes it.
    pub fn remove(self, origin: &Origin) -> HeaderValue {
        self.header("", "; Max-Age=0", origin)
    }

    fn header(self, value: &str, age: &str, origin: &Origin) -> HeaderValue {
        let name = self.name(origin.is_secure);
        let secure = match origin.is_secure {
            true => "; Secure",
            false => "",
        };
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
        HeaderValue::try_from(text).expect("a cookie of ours is letters and digits")
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn origin(is_secure: bool) -> Origin {
        let mut origin = Origin::of(None, &HeaderMap::new(), &[]);
        origin.address = IpAddr::from([127, 0, 0, 1]);
        origin.is_secure = is_secure;
        origin
    }

    fn read(lines: &[&'static str], is_secure: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_static(line));
        }
        let value = Cookie::Session.read(&headers, &origin(is_secure));
        value.map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        assert_eq!(
            read(&["a=1; machineauth_session=x; b=2"], false).unwrap(),
            "x"
        );
        assert_eq!(read(&["a=1", "machineauth_session=x"], false).unwrap(), "x");
        assert_eq!(read(&["xmachineauth_session=x"], false), None);
    }

    /// I19
    #[test]
    fn a_cookie_of_a_neighbour_is_not_taken() {
        let twice = "machineauth_session=x; machineauth_session=y";
        assert_eq!(read(&[twice], false), None);
        assert_eq!(read(&["machineauth_session=x"], true), None);
        assert_eq!(read(&["__Host-machineauth_session=x"], true).unwrap(), "x");
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_other_sites_and_open_wires() {
        let open = Cookie::Session.set("x", &origin(false));
        assert_eq!(
            open,
            "machineauth_session=x; Path=/; HttpOnly; SameSite=Strict"
        );
        let by_tls = Cookie::Session.set("x", &origin(true));
        assert_eq!(
            by_tls,
            "__Host-machineauth_session=x; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
