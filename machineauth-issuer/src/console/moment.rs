//! Times and amounts as pages show them.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use chrono::{DateTime, Utc};
use machineauth_core::clock::Timestamp;

use crate::date::Date;

/// A time, in UTC for whoever runs no scripts. A script shows it in the reader's zone.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    at: Option<Timestamp>,
    otherwise: &'static str,
}

impl Moment {
    /// That time.
    pub fn at(at: &Timestamp) -> Self {
        Self::or(&Some(*at), "")
    }

    /// That time, or a word where there is none.
    pub fn or(at: &Option<Timestamp>, otherwise: &'static str) -> Self {
        Self { at: *at, otherwise }
    }
}

impl HtmlSafe for Moment {}

/// A `time` element, or the word, which is ours.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(
                f,
                "<time datetime=\"{}\">{}</time>",
                Date(at),
                utc(at).format("%Y-%m-%d %H:%M:%S UTC")
            ),
            None => write!(f, "<span class=\"soft\">{}</span>", self.otherwise),
        }
    }
}

/// The time by the calendar.
pub fn utc(at: Timestamp) -> DateTime<Utc> {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A number with its thousands apart.
#[derive(Debug, Clone, Copy)]
pub struct Number(i64);

/// What can be shown as a number. Templates hand everything down by reference.
pub trait Amount {
    /// As a number, the largest where it is larger.
    fn amount(&self) -> i64;
}

impl Amount for i64 {
    fn amount(&self) -> i64 {
        *self
    }
}

impl Amount for u64 {
    fn amount(&self) -> i64 {
        i64::try_from(*self).unwrap_or(i64::MAX)
    }
}

impl Amount for usize {
    fn amount(&self) -> i64 {
        i64::try_from(*self).unwrap_or(i64::MAX)
    }
}

impl<A: Amount> Amount for &A {
    fn amount(&self) -> i64 {
        (**self).amount()
    }
}

impl Number {
    /// That number.
    pub fn of(number: impl Amount) -> Self {
        Self(number.amount())
    }
}

impl HtmlSafe for Number {}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("−")?;
        }
        let digits = self.0.unsigned_abs().to_string();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                // Narrow, and never at the end of a line.
                f.write_str("\u{202f}")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// How long something takes, in the largest unit that fits.
#[derive(Debug, Clone, Copy)]
pub struct Span(Duration);

impl Span {
    /// That long.
    pub fn of(duration: &Duration) -> Self {
        Self(*duration)
    }
}

impl HtmlSafe for Span {}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [
            (86_400, "day"),
            (3600, "hour"),
            (60, "minute"),
            (1, "second"),
        ];
        let fitting = units
            .iter()
            .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
        let (unit, name) = fitting.unwrap_or(&units[3]);
        let count = seconds / unit;
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} {name}{plural}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_for_machines_and_for_people() {
        let at = Timestamp::from_millis(1_772_366_400_999);
        assert_eq!(
            Moment::at(&at).to_string(),
            "<time datetime=\"2026-03-01T12:00:00Z\">2026-03-01 12:00:00 UTC</time>"
        );
        assert!(Moment::or(&None, "never").to_string().contains("never"));
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, shown) in [
            (0_i64, "0"),
            (999, "999"),
            (1000, "1\u{202f}000"),
            (-12_345, "−12\u{202f}345"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(Number::of(number).to_string(), shown);
        }
    }

    #[test]
    fn a_span_is_said_in_its_largest_whole_unit() {
        for (seconds, shown) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (90, "90 seconds"),
            (3600, "1 hour"),
            (172_800, "2 days"),
        ] {
            assert_eq!(Span::of(&Duration::from_secs(seconds)).to_string(), shown);
        }
    }
}
