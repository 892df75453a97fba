//! When something is done by itself: a cron expression, in UTC.

use chrono::{DateTime, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

/// The times that a cron expression of five fields means: minute, hour, day of the month, month, day of the week.
#[derive(Clone, Debug)]
pub struct Schedule(Cron);

impl Schedule {
    /// Reads an expression; the message says what is wrong with it.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|error| error.to_string())?;
        let schedule = Schedule(cron);
        match schedule.after(0) {
            Some(_) => Ok(schedule),
            None => Err("there is no such day".into()),
        }
    }

    /// The first time after this one, both in milliseconds since 1970. None: the calendar ends before.
    pub fn after(&self, time_ms: u64) -> Option<u64> {
        let time: DateTime<Utc> = DateTime::from_timestamp_millis(time_ms.try_into().ok()?)?;
        let next = self.0.find_next_occurrence(&time, false).ok()?;
        next.timestamp_millis().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T14:00:00Z, a Monday.
    const NOW_MS: u64 = 1_795_442_400_000;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn the_next_time_is_after_the_one_asked_for_and_in_utc() {
        for (text, ms) in [
            ("* * * * *", NOW_MS + 60_000),
            ("0 * * * *", NOW_MS + HOUR_MS),
            ("30 14 * * *", NOW_MS + HOUR_MS / 2),
            ("0 14 * * *", NOW_MS + 24 * HOUR_MS),
            ("0 3 * * TUE", NOW_MS + 13 * HOUR_MS),
            ("0 0 1 * *", NOW_MS + (7 * 24 + 10) * HOUR_MS),
            ("@daily", NOW_MS + 10 * HOUR_MS),
        ] {
            let schedule = Schedule::parse(text).unwrap();
            assert_eq!(schedule.after(NOW_MS), Some(ms), "{text}");
            assert_eq!(schedule.after(ms - 1), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_means_no_time_is_refused() {
        for text in [
            "",
            "daily",
            "0 25 * * *",
            "0 3 * *",
            "0 0 3 * * *",
            "0 0 30 2 *",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text:?}");
        }
    }
}
