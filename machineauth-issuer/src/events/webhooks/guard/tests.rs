//! Which addresses are public, and which are not.

use proptest::prelude::*;

use super::*;

fn guard(allowed: &[&str]) -> Guard {
    Guard {
        allowed: allowed
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        lookup: Arc::new(SystemLookup),
    }
}

/// I16
#[test]
fn no_address_of_ones_own_network_is_public() {
    for text in [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:0a00:0001::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "100::1",
    ] {
        assert!(!guard(&[]).admits(text.parse().unwrap()), "{text}");
    }
    for text in [
        "1.1.1.1",
        "93.184.216.34",
        "172.32.0.1",
        "100.128.0.1",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:0101:0101::1",
        "2606:4700::1111",
        "2a00:1450::1",
    ] {
        assert!(guard(&[]).admits(text.parse().unwrap()), "{text}");
    }
}

/// I16
#[test]
fn an_address_in_a_url_is_judged_however_it_is_written() {
    for text in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://2130706433/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!(guard(&[]).judge(&url), Err(Blocked), "{text}");
        assert_eq!(
            guard(&["127.0.0.0/8", "::1/128", "169.254.0.0/16"]).judge(&url),
            Ok(())
        );
    }
    let name = Url::parse("http://localhost/").unwrap();
    assert_eq!(
        guard(&[]).judge(&name),
        Ok(()),
        "names are judged when they are resolved"
    );
}

/// What the IANA registry of special-purpose IPv6 addresses does not call globally reachable, and what is no unicast.
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
const SPECIAL: [(&str, &str); 21] = [
    ("unspecified", "::/128"),
    ("loopback", "::1/128"),
    ("IPv4-compatible", "::/96"),
    ("NAT64 for local use", "64:ff9b:1::/48"),
    ("discard-only", "100::/64"),
    ("dummy prefix", "100:0:0:1::/64"),
    ("protocol assignments", "2001::/23"),
    ("Teredo", "2001::/32"),
    ("benchmarking", "2001:2::/48"),
    ("ORCHID", "2001:10::/28"),
    ("ORCHIDv2", "2001:20::/28"),
    ("documentation", "2001:db8::/32"),
    ("6to4 of loopback", "2002:7f00::/24"),
    ("6to4 of a private network", "2002:a00::/24"),
    ("6to4 of link-local addresses", "2002:a9fe::/32"),
    ("documentation", "3fff::/20"),
    ("segment routing", "5f00::/16"),
    ("unique local", "fc00::/7"),
    ("link-local", "fe80::/10"),
    ("site-local", "fec0::/10"),
    ("multicast", "ff00::/8"),
];

/// The address in `network` whose host bits are those of `bits`.
fn within(network: &str, bits: u128) -> Ipv6Addr {
    let network: ipnet::Ipv6Net = network.parse().unwrap();
    let host = u128::from(network.hostmask());
    Ipv6Addr::from(u128::from(network.network()) | bits & host)
}

proptest! {
    /// I16
    #[test]
    fn no_special_ipv6_address_is_public(bits: u128) {
        for (name, network) in SPECIAL {
            let address = within(network, bits);
            prop_assert!(!guard(&[]).admits(address.into()), "{}: {}", name, address);
        }
    }

    /// The guard blocks nothing for which there is no reason.
    #[test]
    fn every_other_global_unicast_address_is_public(bits: u128) {
        let address = within("2000::/3", bits);
        let is_special = SPECIAL.iter().any(|(_, network)| {
            network.parse::<ipnet::Ipv6Net>().unwrap().contains(&address)
        });
        let is_6to4 = address.segments()[0] == 0x2002;
        prop_assume!(!is_special && !is_6to4);
        prop_assert!(guard(&[]).admits(address.into()), "{}", address);
    }

    /// However an IPv4 address is wrapped, it is judged as itself.
    #[test]
    fn an_ipv4_address_in_disguise_is_judged_as_itself(bits: u32) {
        let v4 = Ipv4Addr::from(bits);
        let expected = guard(&[]).admits(v4.into());
        for disguise in [v4.to_ipv6_mapped(), Ipv6Addr::from(0x0064_ff9b << 96 | u128::from(bits)),
            Ipv6Addr::from(0x2002 << 112 | u128::from(bits) << 80)] {
            prop_assert_eq!(guard(&[]).admits(disguise.into()), expected, "{}", disguise);
        }
    }
}
