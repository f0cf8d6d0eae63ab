//! All paths of a policy in one tree, a level per segment.

use std::cmp::Ordering;

use http::Method;

use super::path::{PathFault, RequestPath, decoded, split_first};
use super::template::Part;

/// Finds the most specific path that a request matches. Nothing is allocated on the way, and no node is visited twice.
#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
    spelling: Spelling,
}

/// Whether `/Admin` is `/admin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Spelling {
    #[default]
    Exact,
    AnyCase,
}

#[derive(Debug, Default)]
struct Node {
    /// In the order of [`Spelling::compare`].
    literals: Vec<(Box<str>, Node)>,
    parameter: Option<Box<Node>>,
    catch_all: Option<Leaf>,
    /// For a path that ends here.
    leaf: Option<Leaf>,
}

/// The rules for one path, by method. The numbers are the rules'.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    methods: Vec<(Method, usize)>,
    others: Option<usize>,
}

impl Trie {
    pub(super) fn new(spelling: Spelling) -> Self {
        Self {
            root: Node::default(),
            spelling,
        }
    }

    /// Puts a rule at its path; `None` stands for every method that has no rule of its own there.
    ///
    /// # Errors
    /// The number of the rule that is there already.
    pub(super) fn insert(
        &mut self,
        parts: &[Part],
        method: Option<Method>,
        rule: usize,
    ) -> Result<(), usize> {
        let spelling = self.spelling;
        let mut node = &mut self.root;
        for part in parts {
            node = match part {
                Part::Literal(text) => node.literal_mut(text, spelling),
                Part::Parameter(_) => node.parameter.get_or_insert_default(),
                Part::CatchAll(_) => {
                    return node.catch_all.get_or_insert_default().insert(method, rule);
                }
            };
        }
        node.leaf.get_or_insert_default().insert(method, rule)
    }

    /// The rules for the most specific path that matches.
    ///
    /// # Errors
    /// [`PathFault::DisguisedLiteral`]
    pub(super) fn find(&self, path: RequestPath<'_>) -> Result<Option<&Leaf>, PathFault> {
        self.root.find(Some(path.segments()), self.spelling)
    }

    /// A rule that no request can come to.
    pub(super) fn unreachable(&self) -> Option<usize> {
        self.root.unreachable()
    }
}

impl Node {
    fn literal_mut(&mut self, text: &str, spelling: Spelling) -> &mut Self {
        let place = self.place_of(text, spelling);
        let at = place.unwrap_or_else(|at| {
            self.literals.insert(at, (text.into(), Self::default()));
            at
        });
        &mut self.literals[at].1
    }

    fn place_of(&self, text: &str, spelling: Spelling) -> Result<usize, usize> {
        self.literals
            .binary_search_by(|(own, _)| spelling.compare(own.bytes(), text.bytes()))
    }

    fn find(&self, rest: Option<&str>, spelling: Spelling) -> Result<Option<&Leaf>, PathFault> {
        let Some(rest) = rest else {
            return Ok(self.leaf.as_ref());
        };
        let (segment, rest) = split_first(rest);
        if let Some(node) = self.literal(segment, spelling)?
            && let Some(leaf) = node.find(rest, spelling)?
        {
            return Ok(Some(leaf));
        }
        if let Some(node) = &self.parameter
            && !segment.is_empty()
            && let Some(leaf) = node.find(rest, spelling)?
        {
            return Ok(Some(leaf));
        }
        Ok(self.catch_all.as_ref())
    }

    fn literal(&self, segment: &str, spelling: Spelling) -> Result<Option<&Self>, PathFault> {
        if segment.contains('%') {
            // One server takes it for the literal, another for a parameter.
            let same = |own: &str| spelling.compare(own.bytes(), decoded(segment)).is_eq();
            return match self.literals.iter().any(|(own, _)| same(own)) {
                true => Err(PathFault::DisguisedLiteral),
                false => Ok(None),
            };
        }
        let place = self.place_of(segment, spelling).ok();
        Ok(place.map(|at| &self.literals[at].1))
    }

    fn unreachable(&self) -> Option<usize> {
        let shadowed = self
            .catch_all
            .as_ref()
            .filter(|_| self.takes_all_by_itself());
        let below = self.literals.iter().map(|(_, node)| node);
        shadowed.and_then(Leaf::any_rule).or_else(|| {
            below
                .chain(self.parameter.as_deref())
                .find_map(Self::unreachable)
        })
    }

    /// Whether every path from here on finds something more specific than the catch-all.
    fn takes_all_by_itself(&self) -> bool {
        let trailing_slash = self.literals.iter().find(|(text, _)| text.is_empty());
        let one_more = self.parameter.as_deref();
        trailing_slash.is_some_and(|(_, node)| node.leaf.is_some())
            && one_more.is_some_and(|node| {
                node.leaf.is_some() && (node.catch_all.is_some() || node.takes_all_by_itself())
            })
    }
}

impl Leaf {
    fn insert(&mut self, method: Option<Method>, rule: usize) -> Result<(), usize> {
        let known = match &method {
            Some(method) => self.named(method),
            None => self.others,
        };
        match (known, method) {
            (Some(known), _) => return Err(known),
            (None, Some(method)) => self.methods.push((method, rule)),
            (None, None) => self.others = Some(rule),
        }
        Ok(())
    }

    pub(super) fn rule_for(&self, method: &Method) -> Option<usize> {
        self.named(method)
            // RFC 9110 §9.3.2: the same answer as to GET but for the content.
            .or_else(|| self.named(&Method::GET).filter(|_| method == Method::HEAD))
            .or(self.others)
    }

    fn named(&self, method: &Method) -> Option<usize> {
        let mut methods = self.methods.iter();
        methods.find_map(|(own, rule)| (own == method).then_some(*rule))
    }

    fn any_rule(&self) -> Option<usize> {
        self.others.or(self.methods.first().map(|(_, rule)| *rule))
    }
}

impl Spelling {
    fn compare(self, one: impl Iterator<Item = u8>, other: impl Iterator<Item = u8>) -> Ordering {
        match self {
            Self::Exact => one.cmp(other),
            Self::AnyCase => {
                let lower = |byte: u8| byte.to_ascii_lowercase();
                one.map(lower).cmp(other.map(lower))
            }
        }
    }
}
