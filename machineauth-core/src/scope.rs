//! Scopes (RFC 6749 §3.3).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{ClaimName, Error, ErrorKind};

/// Enough for any agent, and small enough that comparing each scope with each other costs nothing.
const MAX_SCOPES: usize = 256;

/// One scope-token: visible ASCII without `"` and `\` (RFC 6749 §3.3). Case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Scope {
    type Error = Error;

    /// # Errors
    /// [`ErrorKind::InvalidClaim`] for `scope` when the text is empty or has a character that RFC 6749 §3.3 forbids.
    fn try_from(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(invalid(
                "a scope is one or more visible ASCII characters without space, `\"` and `\\`",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::try_from(text)
    }
}

impl AsRef<str> for Scope {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::try_from(text.as_ref()).map_err(de::Error::custom)
    }
}

/// A set of scopes that remembers the order in which they were given. Order does not matter for equality.
///
/// Prints space-joined, as RFC 6749 §3.3 writes it. Serializes as an array of strings; deserializes from that or from
/// the space-delimited string of RFC 9068 §2.2.3.
#[derive(Clone, Default)]
pub struct ScopeSet(Vec<Scope>);

impl ScopeSet {
    /// A set without any scope.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reads the space-delimited form. Repeated scopes count once; more than one space between scopes is harmless.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidClaim`] for `scope` when a scope has a forbidden character or there are more than 256.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::from_tokens(text.split(' '))
    }

    /// Like [`ScopeSet::parse`], but commas separate as well: some clients write `scope=a,b` in token requests.
    ///
    /// # Errors
    /// As [`ScopeSet::parse`].
    pub fn parse_lenient_separators(text: &str) -> Result<Self, Error> {
        Self::from_tokens(text.split([' ', ',']))
    }

    fn from_tokens<'a>(tokens: impl Iterator<Item = &'a str>) -> Result<Self, Error> {
        let mut set = Self::new();
        for token in tokens.filter(|token| !token.is_empty()) {
            set.insert_new(token)?;
        }
        Ok(set)
    }

    fn insert_new(&mut self, token: &str) -> Result<(), Error> {
        if self.contains(token) {
            return Ok(());
        }
        if self.0.len() == MAX_SCOPES {
            return Err(invalid("more than 256 scopes"));
        }
        self.0.push(Scope::try_from(token)?);
        Ok(())
    }

    /// Whether `scope` is in the set.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|own| own.as_str() == scope)
    }

    /// Whether every scope of `other` is in this set.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|scope| self.contains(scope.as_str()))
    }

    /// The scopes of this set that `other` has too, in this set's order.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|scope| other.contains(scope.as_str()))
                .cloned()
                .collect(),
        )
    }

    /// Whether there is no scope in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many scopes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The scopes, in the order given.
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.0.iter()
    }
}

impl FromStr for ScopeSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut set = Self::new();
        for scope in scopes {
            if !set.contains(scope.as_str()) {
                set.0.push(scope);
            }
        }
        set
    }
}

impl<'a> IntoIterator for &'a ScopeSet {
    type Item = &'a Scope;
    type IntoIter = std::slice::Iter<'a, Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for ScopeSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.contains_all(other)
    }
}

impl Eq for ScopeSet {}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopeSet({self})")
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScopeSetVisitor)
    }
}

struct ScopeSetVisitor;

impl<'de> Visitor<'de> for ScopeSetVisitor {
    type Value = ScopeSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scopes as an array of strings or one space-delimited string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ScopeSet, E> {
        ScopeSet::parse(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ScopeSet, A::Error> {
        let mut set = ScopeSet::new();
        while let Some(ScopeToken(token)) = items.next_element()? {
            set.insert_new(&token).map_err(de::Error::custom)?;
        }
        Ok(set)
    }
}

/// A string of the array, borrowed where the input allows it: only scopes that are new to the set are copied.
#[derive(Deserialize)]
struct ScopeToken<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

const fn invalid(detail: &'static str) -> Error {
    Error::because(ErrorKind::InvalidClaim(ClaimName::Scope), detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scopes_keep_their_order_and_count_once() {
        let set: ScopeSet = "write read write admin".parse().unwrap();
        assert_eq!(set.to_string(), "write read admin");
        assert_eq!(set.len(), 3);
        assert_eq!(set, "admin read write".parse().unwrap());
        assert_ne!(set, "admin read".parse().unwrap());
    }

    #[test]
    fn the_request_form_takes_commas_and_the_claim_form_keeps_them_inside_a_scope() {
        assert_eq!(
            ScopeSet::parse_lenient_separators("a, b,,c ")
                .unwrap()
                .to_string(),
            "a b c"
        );
        assert_eq!(ScopeSet::parse("a,b").unwrap().len(), 1);
    }

    #[test]
    fn characters_outside_the_grammar_are_refused() {
        for text in [
            "", "a b", "a\"b", "a\\b", "a\u{7f}", "tab\t", "ü", "nul\0", "line\n",
        ] {
            assert!(Scope::try_from(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_intersection_is_what_was_asked_for_and_is_allowed() {
        let asked: ScopeSet = "write read root".parse().unwrap();
        let allowed: ScopeSet = "read write".parse().unwrap();
        assert_eq!(asked.intersection(&allowed).to_string(), "write read");
        assert!(asked.contains_all(&allowed));
        assert!(!allowed.contains_all(&asked));
    }

    #[test]
    fn a_flood_of_scopes_is_refused() {
        let many: Vec<String> = (0..300).map(|n| format!("s{n}")).collect();
        assert!(ScopeSet::parse(&many.join(" ")).is_err());
        assert!(serde_json::from_value::<ScopeSet>(serde_json::json!(many)).is_err());
    }

    #[test]
    fn the_wire_form_is_an_array_and_a_string_is_understood() {
        let set: ScopeSet = "a b".parse().unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["a","b"]"#);
        for text in [r#"["a","b"]"#, r#""a b""#, r#"["\u0061","b","a"]"#] {
            assert_eq!(
                serde_json::from_str::<ScopeSet>(text).unwrap(),
                set,
                "{text}"
            );
        }
        for text in [
            "1",
            "null",
            "[1]",
            r#"["a b"]"#,
            r#"[""]"#,
            r#"[["a"]]"#,
            "{}",
        ] {
            assert!(serde_json::from_str::<ScopeSet>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_either_fails_or_survives_a_round_trip(text in "\\PC*") {
            if let Ok(set) = ScopeSet::parse(&text) {
                prop_assert_eq!(ScopeSet::parse(&set.to_string()).unwrap(), set.clone());
                prop_assert!(set.iter().all(|scope| set.contains(scope.as_str())));
                let json = serde_json::to_string(&set).unwrap();
                prop_assert_eq!(serde_json::from_str::<ScopeSet>(&json).unwrap(), set);
            }
        }

        #[test]
        fn an_intersection_is_within_both(a in "[a-e ]{0,12}", b in "[a-e ]{0,12}") {
            let (a, b) = (ScopeSet::parse(&a).unwrap(), ScopeSet::parse(&b).unwrap());
            let both = a.intersection(&b);
            prop_assert!(a.contains_all(&both) && b.contains_all(&both));
        }
    }
}
