//! Paths with places for parameters, written as axum writes its routes.

use super::error::{PolicyError, PolicyErrorKind};

const MAX_SEGMENTS: usize = 64;

/// `/docks/{dock_id}/files/{*path}`, taken apart.
#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

/// One segment of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Exactly this; empty at the end of a path with a trailing slash.
    Literal(Box<str>),
    /// `{name}`: any one segment that is not empty.
    Parameter(Box<str>),
    /// `{*name}`: everything from here on, be it only a trailing slash.
    CatchAll(Box<str>),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, PolicyError> {
        let segments = text
            .strip_prefix('/')
            .ok_or(malformed("a path starts with a slash"))?;
        let mut parts = Vec::new();
        let mut segments = segments.split('/').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            parts.push(Part::parse(segment, is_last)?);
        }
        if parts.len() > MAX_SEGMENTS {
            return Err(malformed("a path has at most 64 segments"));
        }
        let mut names: Vec<_> = parts.iter().filter_map(Part::name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(malformed("two parameters have the same name"));
        }
        Ok(Self(parts))
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The segment at which the parameter `name` stands; `None` for a catch-all too, which is no one segment.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        let is_it = |part: &Part| matches!(part, Part::Parameter(own) if **own == *name);
        self.0.iter().position(is_it)
    }
}

impl Part {
    fn parse(segment: &str, is_last: bool) -> Result<Self, PolicyError> {
        if let Some(inside) = segment.strip_prefix('{') {
            let inside = inside
                .strip_suffix('}')
                .ok_or(malformed("a parameter `{name}` takes a whole segment"))?;
            return Self::parse_parameter(inside, is_last);
        }
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte);
        match segment {
            "" if !is_last => Err(malformed("a path has no two slashes in a row")),
            "." | ".." => Err(malformed("a path has no segments `.` and `..`")),
            _ if segment.starts_with([':', '*']) => Err(malformed(
                "parameters are written `{name}`, catch-alls `{*name}`",
            )),
            _ if segment.contains(['{', '}']) => {
                Err(malformed("a parameter `{name}` takes a whole segment"))
            }
            _ if !segment.bytes().all(allowed) => Err(malformed(
                "a fixed segment has only characters that need no encoding, and no semicolon",
            )),
            _ => Ok(Self::Literal(segment.into())),
        }
    }

    fn parse_parameter(inside: &str, is_last: bool) -> Result<Self, PolicyError> {
        let catch_all = inside.strip_prefix('*');
        let name = catch_all.unwrap_or(inside);
        let good = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !good {
            return Err(malformed(
                "a parameter's name has letters, digits and underscores, and starts with no digit",
            ));
        }
        match catch_all {
            None => Ok(Self::Parameter(name.into())),
            Some(_) if is_last => Ok(Self::CatchAll(name.into())),
            Some(_) => Err(malformed("a catch-all `{*name}` stands at the end")),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Parameter(name) | Self::CatchAll(name) => Some(name),
        }
    }
}

fn malformed(detail: &'static str) -> PolicyError {
    PolicyError::new(PolicyErrorKind::MalformedTemplate, detail)
}
