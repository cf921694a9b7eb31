//! Times of listings: RFC 3339 in UTC, whole seconds, years 0000 to 9999.

/// Seconds in a day.
const DAY: i64 = 86_400;
/// 0000-01-01 and the end of 9999, in seconds since 1970.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

/// `seconds` since 1970 as `2024-05-01T12:34:56Z`. What lies beyond the years that RFC 3339 can
/// write becomes the first or the last second of them.
pub(super) fn write(seconds: i64) -> String {
    let seconds = nearest(seconds);
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let clock = seconds.rem_euclid(DAY);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

/// The nearest time that [`write`] can write.
pub(super) fn nearest(seconds: i64) -> i64 {
    seconds.clamp(FIRST, LAST)
}

/// What [`write`] has written, and nothing else.
pub(super) fn read(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        if all_digits {
            digits.parse().ok()
        } else {
            None
        }
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let possible = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !possible || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    // The 31st of a shorter month, and any other punctuation, come out differently.
    (write(seconds) == text).then_some(seconds)
}

// The two below count years from March, so that the leap day is the last of its year, and in eras
// of 400 years, which are 146,097 days (Howard Hinnant, "chrono-compatible low-level date
// algorithms"). 719,468 days lie between 0000-03-01 and 1970-01-01.

/// The days between 1970-01-01 and a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The year, month and day that [`days`] gives `days` for.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_714_566_896, "2024-05-01T12:34:56Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (FIRST, "0000-01-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(write(seconds), text);
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        assert_eq!(write(i64::MIN), write(FIRST));
        assert_eq!(write(i64::MAX), write(LAST));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2024-05-01T12:34:56",
            "2024-05-01T12:34:56+00:00",
            "2024-05-01 12:34:56Z",
            "2024-05-01T12:34:56.5Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-05-01T24:00:00Z",
            "+024-05-01T12:34:56Z",
            "2024-05-01T12:34:56Zx",
            "é024-05-01T12:34:5Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in FIRST..=LAST) {
            prop_assert_eq!(read(&write(seconds)), Some(seconds));
        }
    }
}
