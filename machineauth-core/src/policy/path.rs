//! The path of a request, as every server reads it, or not at all.

use std::fmt;

/// A deeper path is refused.
const MAX_SEGMENTS: usize = 256;

/// Why a path is refused: servers would read it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathFault {
    /// It does not start with `/`, as `*` does not (RFC 9112 §3.2).
    NotAbsolute,
    /// `//`: some servers merge slashes.
    EmptySegment,
    /// `.` or `..` (RFC 3986 §3.3): some servers remove them.
    DotSegment,
    /// `;`, plain or encoded: some servers cut off what follows in the segment.
    PathParameter,
    /// `\`, plain or encoded: a slash to some servers.
    Backslash,
    /// `%2F`: a slash to some servers.
    EncodedSlash,
    /// `%25`: who decodes twice sees something else.
    EncodedPercent,
    /// A letter, a digit, or one of `-._~`, encoded: the same to RFC 3986 §6.2.2.2, another path to many routers.
    NeedlessEncoding,
    /// `%` without two hex digits after it.
    MalformedEncoding,
    /// The decoded bytes are no UTF-8.
    NotUtf8,
    /// A control character, NUL among them, a space, a `?`, a `#`, or anything beyond ASCII that is not encoded.
    ForbiddenCharacter,
    /// It decodes to a literal of some rule and is spelt differently.
    DisguisedLiteral,
    /// More than 256 segments.
    TooDeep,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "it does not start with a slash",
            Self::EmptySegment => "it has two slashes in a row",
            Self::DotSegment => "it has a segment `.` or `..`",
            Self::PathParameter => "it has a semicolon",
            Self::Backslash => "it has a backslash",
            Self::EncodedSlash => "it has an encoded slash",
            Self::EncodedPercent => "it has an encoded percent sign",
            Self::NeedlessEncoding => {
                "it has an encoded letter, digit, hyphen, dot, underscore or tilde"
            }
            Self::MalformedEncoding => "it has a percent sign without two hex digits",
            Self::NotUtf8 => "its encoded bytes are no UTF-8",
            Self::ForbiddenCharacter => "it has a character that must be encoded, or may not occur",
            Self::DisguisedLiteral => "a fixed part of it is spelt with encoded characters",
            Self::TooDeep => "it has too many segments",
        })
    }
}

/// A path that was found unambiguous.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestPath<'a>(&'a str);

impl<'a> RequestPath<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, PathFault> {
        let segments = text.strip_prefix('/').ok_or(PathFault::NotAbsolute)?;
        let mut depth = 0;
        let mut rest = Some(segments);
        while let Some(text) = rest {
            let (segment, after) = split_first(text);
            if segment.is_empty() && after.is_some() {
                return Err(PathFault::EmptySegment);
            }
            check_segment(segment)?;
            depth += 1;
            rest = after;
        }
        if depth > MAX_SEGMENTS {
            return Err(PathFault::TooDeep);
        }
        Ok(Self(segments))
    }

    /// All segments, joined by slashes.
    pub(super) fn segments(self) -> &'a str {
        self.0
    }

    pub(super) fn segment(self, index: usize) -> Option<&'a str> {
        self.0.split('/').nth(index)
    }
}

/// The first segment, and what comes after the slash behind it.
pub(super) fn split_first(segments: &str) -> (&str, Option<&str>) {
    match segments.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (segments, None),
    }
}

/// The bytes that a segment stands for. It was checked, so every `%` has its digits.
pub(super) fn decoded(segment: &str) -> impl Iterator<Item = u8> {
    let mut bytes = segment.bytes();
    std::iter::from_fn(move || match bytes.next()? {
        b'%' => encoded_byte(&mut bytes),
        byte => Some(byte),
    })
}

fn check_segment(segment: &str) -> Result<(), PathFault> {
    if matches!(segment, "." | "..") {
        return Err(PathFault::DotSegment);
    }
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => check_encoded(&mut bytes)?,
            b';' => return Err(PathFault::PathParameter),
            b'\\' => return Err(PathFault::Backslash),
            b'?' | b'#' | ..=b' ' | 0x7f.. => return Err(PathFault::ForbiddenCharacter),
            _ => {}
        }
    }
    Ok(())
}

/// Checks one encoded character; the `%` before it has been read.
fn check_encoded(bytes: &mut std::str::Bytes<'_>) -> Result<(), PathFault> {
    let first = encoded_byte(bytes).ok_or(PathFault::MalformedEncoding)?;
    match first {
        b'/' => Err(PathFault::EncodedSlash),
        b'\\' => Err(PathFault::Backslash),
        b'%' => Err(PathFault::EncodedPercent),
        b';' => Err(PathFault::PathParameter),
        b'-' | b'.' | b'_' | b'~' => Err(PathFault::NeedlessEncoding),
        _ if first.is_ascii_alphanumeric() => Err(PathFault::NeedlessEncoding),
        ..=0x1f | 0x7f => Err(PathFault::ForbiddenCharacter),
        0x80.. => check_rest_of_character(first, bytes),
        _ => Ok(()),
    }
}

/// RFC 3629 §3: how many bytes follow says the first; all of them must be encoded too.
fn check_rest_of_character(first: u8, bytes: &mut std::str::Bytes<'_>) -> Result<(), PathFault> {
    let length = match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    let mut character = [first; 4];
    for byte in &mut character[1..length] {
        if bytes.next() != Some(b'%') {
            return Err(PathFault::NotUtf8);
        }
        *byte = encoded_byte(bytes).ok_or(PathFault::MalformedEncoding)?;
    }
    match std::str::from_utf8(&character[..length]) {
        Ok(_) => Ok(()),
        Err(_) => Err(PathFault::NotUtf8),
    }
}

fn encoded_byte(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high << 4 | low).ok()
}
