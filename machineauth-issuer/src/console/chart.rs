//! Bars over time, drawn here: no script has to.

use std::fmt;

use askama::filters::HtmlSafe;
use machineauth_core::clock::Timestamp;

use super::moment::{Number, utc};

const WIDTH: usize = 640;
const HEIGHT: usize = 120;
/// Above the highest bar, for the number there.
const HEAD: usize = 16;
/// Below the bars, for the times.
const FOOT: usize = 18;

/// How bars are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// What is meant to happen.
    Accent,
    /// What may happen.
    Soft,
    /// What should not.
    Bad,
}

/// How times are written under a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// One bar an hour.
    Hour,
    /// One bar a day.
    Day,
}

/// A bar chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What is counted.
    pub title: &'static str,
    /// How it is coloured.
    pub tone: Tone,
    /// What a bar stands for.
    pub step: Step,
    /// The counts, the latest last, each with when it began.
    pub bars: Vec<(Timestamp, i64)>,
}

impl HtmlSafe for Chart {}

impl Chart {
    /// The sum over all bars.
    pub fn total(&self) -> i64 {
        self.bars.iter().map(|(_, count)| count).sum()
    }

    fn label(&self, at: Timestamp) -> String {
        let format = match self.step {
            Step::Hour => "%H:%M",
            Step::Day => "%d %b",
        };
        utc(at).format(format).to_string()
    }

    fn name(&self, at: Timestamp) -> String {
        let format = match self.step {
            Step::Hour => "%Y-%m-%d %H:%M UTC",
            Step::Day => "%Y-%m-%d",
        };
        utc(at).format(format).to_string()
    }
}

/// An `svg` element. Nothing in it comes from outside.
impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let highest = self.bars.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let bottom = HEAD + HEIGHT;
        write!(
            f,
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}: {} in all, {} at most in one {}\">",
            bottom + FOOT,
            self.title,
            self.total(),
            highest,
            match self.step {
                Step::Hour => "hour",
                Step::Day => "day",
            },
        )?;
        write!(
            f,
            "<line class=\"grid\" x1=\"0\" y1=\"{HEAD}\" x2=\"{WIDTH}\" y2=\"{HEAD}\"/>\
             <line class=\"grid\" x1=\"0\" y1=\"{bottom}\" x2=\"{WIDTH}\" y2=\"{bottom}\"/>\
             <text x=\"0\" y=\"{}\">{}</text>",
            HEAD - 4,
            Number::of(highest),
        )?;
        let count = self.bars.len().max(1);
        let tone = match self.tone {
            Tone::Accent => "bar",
            Tone::Soft => "bar soft",
            Tone::Bad => "bar bad",
        };
        for (at, (begin, value)) in self.bars.iter().enumerate() {
            let (left, right) = (at * WIDTH / count, (at + 1) * WIDTH / count);
            let width = (right - left).saturating_sub(2).max(1);
            let height = bar_height(*value, highest);
            let name = self.name(*begin);
            write!(
                f,
                "<rect class=\"{tone}\" x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"{height}\" rx=\"1\"><title>{name}: {}</title></rect>",
                bottom - height,
                Number::of(*value),
            )?;
        }
        let ends = [self.bars.first().zip(Some("start")), self.bars.last().zip(Some("end"))];
        for ((at, _), anchor) in ends.into_iter().flatten() {
            let x = if anchor == "start" { 0 } else { WIDTH };
            write!(
                f,
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 14,
                self.label(*at),
            )?;
        }
        f.write_str("</svg>")
    }
}

/// What is something is seen.
fn bar_height(value: i64, highest: i64) -> usize {
    if value <= 0 || highest <= 0 {
        return 0;
    }
    let full = i128::try_from(HEIGHT).unwrap_or(i128::MAX);
    let height = i128::from(value) * full / i128::from(highest);
    usize::try_from(height).unwrap_or(HEIGHT).clamp(2, HEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_fills_the_chart_and_the_smallest_is_seen() {
        assert_eq!(bar_height(0, 0), 0);
        assert_eq!(bar_height(0, 9), 0);
        assert_eq!(bar_height(1, 1_000_000), 2);
        assert_eq!(bar_height(i64::MAX, i64::MAX), HEIGHT);
    }

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let chart = Chart {
            title: "Issued",
            tone: Tone::Accent,
            step: Step::Hour,
            bars: vec![(Timestamp::from_secs(0), 3), (Timestamp::from_secs(3600), 5)],
        };
        let svg = chart.to_string();
        assert!(svg.contains("Issued: 8 in all, 5 at most in one hour"), "{svg}");
        assert!(svg.contains("1970-01-01 01:00 UTC: 5"), "{svg}");
    }
}
