//! What is told around a run, as data on standard output: lists, results, histories, and why.

mod attachments;
mod explain;
mod found;
mod lists;
mod printing;
mod results;
mod story;
mod waits;

use std::io::{self, IsTerminal, Write};

use seagull_domain::{Span, TestResult};
use serde::Serialize;

use super::choice::{Color, Output};
use super::text::Paint;

pub use attachments::{Left, attachment, left, named};
pub use explain::{explain_run, explain_test};
pub use found::{failures, ranked};
pub use lists::{history, runs};
pub use printing::Printing;
pub use results::{Part, ended, log, printed, results};
pub use story::{Execution, Story, Teller, find};
pub use waits::holder;

/// In which form data is written.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    json: bool,
    paint: Paint,
    /// Unix milliseconds now, where times are told as how long ago they were.
    now: Option<u64>,
}

impl Form {
    pub fn on_stdout(output: Output, color: Color, now: u64) -> Form {
        let human = output == Output::Human;
        let on = output != Output::Json && color.on(output.has_colors(io::stdout().is_terminal()));
        Form { json: output == Output::Json, paint: Paint { on }, now: human.then_some(now) }
    }

    #[cfg(test)]
    pub const HUMAN: Form = Form { json: false, paint: Paint::PLAIN, now: Some(1_764_115_200_000) };
    #[cfg(test)]
    pub const PLAIN: Form = Form { now: None, ..Form::HUMAN };
    #[cfg(test)]
    pub const JSON: Form = Form { json: true, ..Form::HUMAN };

    fn when(self, millis: u64) -> String {
        match self.now {
            Some(now) => format!("{} ago", Span(now.saturating_sub(millis) / 1000)),
            None => timestamp(millis),
        }
    }
}

/// An object on a line of its own.
fn line(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// RFC 3339, in UTC.
fn timestamp(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// None where it is not known.
pub fn cpu_seconds(result: &TestResult) -> Option<f64> {
    Some(seconds(result.cpu_us)).filter(|cpu| *cpu > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_one_unit_or_in_full() {
        let now = Form::HUMAN.now.unwrap_or_default();
        assert_eq!(Form::HUMAN.when(now - 61_000), "1 min ago");
        assert_eq!(Form::PLAIN.when(now - 61_000), timestamp(now - 61_000));
        assert_eq!(timestamp(1_764_115_199_999), "2025-11-25T23:59:59Z");
        assert_eq!(timestamp(u64::MAX), timestamp(u64::MAX - 1));
    }
}
