//! Whose request it is that came through proxies.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::HeaderName;

/// Each proxy adds whom it got the request from.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client of a request that came over a connection from `peer`: of everybody who had it, the last that is no trusted
/// proxy. What stands before that in [`X_FORWARDED_FOR`] anybody may have made up.
///
/// IPv4 addresses are shown as such, also where they were written as IPv6.
///
/// ```
/// use http::HeaderMap;
/// use machineauth_core::forwarded::client_address;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-forwarded-for", "192.0.2.1, 198.51.100.7:4711".parse()?);
/// let is_trusted = |address: std::net::IpAddr| address.is_loopback();
/// let client = client_address("127.0.0.1".parse()?, &headers, is_trusted);
/// assert_eq!(client.to_string(), "198.51.100.7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    let mut client = peer.to_canonical();
    while is_trusted(client) {
        let Some(hop) = hops.next().and_then(hop_address) else {
            break;
        };
        client = hop;
    }
    client
}

/// Some proxies add the port, and put an IPv6 address in brackets.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop.trim_ascii()).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse();
    let address = address.or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        let is_trusted = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address.is_unique_local(),
        };
        client_address(peer.parse().unwrap(), &headers, is_trusted).to_string()
    }

    /// I7
    #[test]
    fn the_client_is_the_last_that_is_no_trusted_proxy() {
        for (peer, lines, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
            // What the client made up stands to the left of what our proxies saw.
            (
                "10.0.0.1",
                &["1.2.3.4, 203.0.113.9, 10.0.0.2"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &["1.2.3.4", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.2.3.4, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.2.3.4", "\u{fc}"], "10.0.0.1"),
            ("10.0.0.1", &["nonsense"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    /// I7
    #[test]
    fn a_hop_may_have_a_port() {
        for (hop, expected) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("203.0.113.9:", "10.0.0.1"),
            ("203.0.113.9:99999", "10.0.0.1"),
            ("[203.0.113.9", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[hop]), expected, "{hop}");
        }
    }

    proptest! {
        /// I22, V23
        #[test]
        fn no_hop_is_too_odd(hop: Vec<u8>) {
            let _ = hop_address(&hop);
        }
    }
}
