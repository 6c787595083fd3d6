//! Dates and times of day, in UTC.

use std::time::{Duration, SystemTime};

/// How long ago 1970 began.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `HH:MM:SS.mmm` of a time since 1970.
pub fn time_of_day(time: Duration) -> String {
    let seconds = time.as_secs() % 86400;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, time.subsec_millis())
}

/// `YYYY-MM-DD` of a time since 1970, in the calendar of Gregory (days by H. Hinnant's algorithm, with years from March).
pub fn date(time: Duration) -> String {
    let days = time.as_secs() / 86400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let time = Duration::from_millis(1_709_210_096_007);
        assert_eq!((date(time).as_str(), time_of_day(time).as_str()), ("2024-02-29", "12:34:56.007"));
        assert_eq!(date(Duration::ZERO), "1970-01-01");
        assert_eq!(date(Duration::from_secs(946_684_799)), "1999-12-31");
    }
}
