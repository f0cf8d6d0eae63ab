//! Times as the API shows them: RFC 3339, in UTC, to the second.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use machineauth_core::clock::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// A time (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Date(pub Timestamp);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        let date = DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC);
        f.write_str(&date.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

/// The time that `text` says, or where it only names a day, that day's beginning or end (in UTC).
pub fn moment(text: &str, end_of_day: bool) -> Option<Timestamp> {
    let at = match DateTime::parse_from_rfc3339(text) {
        Ok(date) => date.timestamp_millis(),
        Err(_) => {
            let day: NaiveDate = text.parse().ok()?;
            let day = match end_of_day {
                true => day.and_hms_milli_opt(23, 59, 59, 999)?,
                false => day.and_hms_opt(0, 0, 0)?,
            };
            day.and_utc().timestamp_millis()
        }
    };
    u64::try_from(at).ok().map(Timestamp::from_millis)
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let date = DateTime::parse_from_rfc3339(&text).ok();
        let millis = date.and_then(|date| u64::try_from(date.timestamp_millis()).ok());
        // The text itself is not repeated: it may be a secret in the wrong place.
        let expected =
            || D::Error::custom("invalid value, expected a time as 2026-03-01T12:00:00Z");
        Ok(Self(Timestamp::from_millis(millis.ok_or_else(expected)?)))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_to_the_second_and_never_overflows() {
        assert_eq!(
            Date(Timestamp::from_millis(1_772_366_400_999)).to_string(),
            "2026-03-01T12:00:00Z"
        );
        assert!(
            Date(Timestamp::from_millis(u64::MAX))
                .to_string()
                .ends_with('Z')
        );
    }
}
