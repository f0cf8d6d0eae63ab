//! Bars over time, drawn here: no script has to.

use std::fmt;

use askama::filters::HtmlSafe;
use machineauth_core::clock::Timestamp;

use super::moment::{Number, utc};
use crate::date::Date;

/// In units of the drawing, which is stretched to its place.
const WIDTH: usize = 640;
const HEIGHT: usize = 100;

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

    /// When a bar began, for people: an hour in the reader's zone, a day in UTC.
    fn label(&self, at: Timestamp) -> String {
        match self.step {
            Step::Hour => format!(
                "<time datetime=\"{}\" data-as=\"hour\">{}</time>",
                Date(at),
                utc(at).format("%Y-%m-%d %H:%M UTC")
            ),
            Step::Day => utc(at).format("%d %b").to_string(),
        }
    }

    fn name(&self, at: Timestamp) -> String {
        let format = match self.step {
            Step::Hour => "%Y-%m-%d %H:%M UTC",
            Step::Day => "%Y-%m-%d",
        };
        utc(at).format(format).to_string()
    }
}

/// An `svg` element with the highest number above and the times below. Nothing in it comes from outside.
impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let highest = self.bars.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let step = match self.step {
            Step::Hour => "hour",
            Step::Day => "day",
        };
        write!(
            f,
            "<div class=\"chart\"><span aria-hidden=\"true\">{}</span>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{}: {} in all, {highest} at most in one {step}\">\
             <path class=\"grid\" d=\"M0 0H{WIDTH}M0 {HEIGHT}H{WIDTH}\" vector-effect=\"non-scaling-stroke\"/>",
            Number::of(highest),
            self.title,
            self.total(),
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
            write!(
                f,
                "<rect class=\"{tone}\" x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"{height}\"><title>{}: {}</title></rect>",
                HEIGHT - height,
                self.name(*begin),
                Number::of(*value),
            )?;
        }
        f.write_str("</svg><div class=\"axis\">")?;
        for (begin, _) in [self.bars.first(), self.bars.last()].into_iter().flatten() {
            write!(f, "<span>{}</span>", self.label(*begin))?;
        }
        f.write_str("</div></div>")
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
            bars: vec![
                (Timestamp::from_secs(0), 3),
                (Timestamp::from_secs(3600), 5),
            ],
        };
        let svg = chart.to_string();
        assert!(
            svg.contains("Issued: 8 in all, 5 at most in one hour"),
            "{svg}"
        );
        assert!(svg.contains("1970-01-01 01:00 UTC: 5"), "{svg}");
    }
}
