//! Sizes, times and tables for people.

use std::io::{self, Write};
use std::time::Duration;

/// `1.5 GiB`.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// `3 d 4 h`, `5 min 6 s`, `7 s`: the two largest units.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (first, second) = match seconds {
        0..60 => return format!("{seconds} s"),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    if second.0 == 0 {
        format!("{} {}", first.0, first.1)
    } else {
        format!("{} {} {} {}", first.0, first.1, second.0, second.1)
    }
}

/// A time that may be short, given in seconds: `0.4 s`, `12 s`, `5 min 6 s`.
pub fn seconds(time: f64) -> String {
    match Duration::try_from_secs_f64(time) {
        Ok(time) if time < Duration::from_millis(9950) => format!("{:.1} s", time.as_secs_f64()),
        // Rounded as the tenths are, so that 9.9 s is not followed by 9 s.
        Ok(time) => duration(time.saturating_add(Duration::from_millis(500))),
        Err(_) => "-".to_owned(),
    }
}

/// Bytes a second: `1.5 MiB/s`.
pub fn rate(bytes_a_second: f64) -> String {
    // A rate that is no number becomes zero, and none is as large as the largest count.
    format!("{}/s", bytes(bytes_a_second as u64))
}

/// Rounded down, so that `100%` is all.
pub fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100).checked_div(u128::from(whole)) {
        Some(percent) => format!("{percent}%"),
        None => "100%".to_owned(),
    }
}

/// Writes rows in columns as wide as their widest cell, two spaces apart. The first column is
/// aligned to the left, the others as `right` says (for all of them).
///
/// # Errors
/// Those of `out`.
pub fn table(out: &mut impl Write, rows: &[Vec<String>], right: bool) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            if right && column > 0 {
                line.push_str(&format!("{cell:>width$}"));
            } else {
                line.push_str(&format!("{cell:<width$}"));
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3725, "1 h 2 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn short_times_show_tenths() {
        for (time, text) in [
            (0.04, "0.0 s"),
            (0.44, "0.4 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (61.0, "1 min 1 s"),
            (-1.0, "-"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(seconds(time), text, "{time}");
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".into(), "10".into()],
            vec!["bcd".into(), "5".into()],
        ];
        let mut out = Vec::new();
        table(&mut out, &rows, true).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a    10\nbcd   5\n");
    }
}
