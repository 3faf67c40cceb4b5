//! How long something is, as a person is told.

use std::fmt;

/// So many seconds, as a person is told how old something is or how long it stays: whole ones of the largest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ 0..60 => write!(f, "{seconds} s"),
            seconds @ 60..3600 => write!(f, "{} min", seconds / 60),
            seconds @ 3600..86_400 => write!(f, "{} h", seconds / 3600),
            seconds @ 86_400..172_800 => write!(f, "{} day", seconds / 86_400),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_whole_ones_of_its_largest_unit() {
        let table = [
            (0, "0 s"),
            (10, "10 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (7200, "2 h"),
            (86_399, "23 h"),
            (100_000, "1 day"),
            (900_000, "10 days"),
        ];
        for (seconds, told) in table {
            assert_eq!(Span(seconds).to_string(), told);
        }
    }
}
