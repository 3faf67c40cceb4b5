//! Durations as people write them: `500ms`, `90s`, `10m`, `1h30m`.

use std::time::Duration;

use seagull_proto::limits;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads whole numbers, each with a unit. The error says what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let millis = parse_millis(text)?;
    if millis > limits::MILLIS {
        return Err(format!("expected at most {} days", limits::MILLIS / 86_400_000));
    }
    Ok(Duration::from_millis(millis))
}

/// An age, which may be of years.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    parse_millis(text).map(Duration::from_millis)
}

fn parse_millis(text: &str) -> Result<u64, String> {
    let expected = || "expected a duration such as 500ms, 90s, 10m or 1h30m".to_owned();
    let mut millis: u64 = 0;
    let mut rest = text;
    loop {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
        let number: u64 = number.parse().map_err(|_| expected())?;
        millis = millis.saturating_add(number.saturating_mul(factor));
        rest = after;
        if rest.is_empty() {
            return Ok(millis);
        }
    }
}

/// The same, but zero makes no sense.
pub fn parse_some(text: &str) -> Result<Duration, String> {
    let duration = parse(text)?;
    if duration.is_zero() { Err("expected more than nothing".to_owned()) } else { Ok(duration) }
}

/// The shortest text that [`parse`] reads as so many milliseconds.
pub fn written(millis: u64) -> String {
    let mut left = millis;
    let parts = UNITS.into_iter().rev().map(|(unit, factor)| {
        let number = left / factor;
        left %= factor;
        if number > 0 { format!("{number}{unit}") } else { String::new() }
    });
    let text: String = parts.collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["0s", "500ms", "90s", "10m", "1h30m", "1d2h3m4s5ms"] {
            assert_eq!(written(millis(parse(text).unwrap())), text.replace("90s", "1m30s"));
        }
    }

    #[test]
    fn durations_are_read_as_they_are_written() {
        let table = [
            ("500ms", 500),
            ("90s", 90_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("1s500ms", 1500),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Ok(Duration::from_millis(expected)), "{text}");
        }
    }

    #[test]
    fn ages_may_be_long() {
        assert!(parse("400d").is_err());
        assert_eq!(parse_age("400d"), Ok(Duration::from_secs(400 * 86_400)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for bad in
            ["", "10", "m", "1.5h", "-1s", "10 m", "10min", "s10", "10m!", "1M", "99999999999999999999s"]
        {
            assert!(parse(bad).is_err(), "{bad:?} was taken");
        }
        assert!(parse("100d").unwrap_err().contains("12 days"));
        assert!(parse("18446744073709551615d").is_err());
        assert!(parse_some("0ms").is_err());
        assert!(parse_some("1ms").is_ok());
    }
}
