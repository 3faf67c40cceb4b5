//! How the command fails: what it prints, and with which exit code.

use std::io::{self, Write};
use std::{fmt, iter};

use anyhow::anyhow;

/// Our own error.
const OURS: u8 = 1;
const USAGE: u8 = 2;
/// As a shell says it of what an interrupt ended.
pub const INTERRUPTED: u8 = 130;

/// The command was asked for something that makes no sense: nothing was done.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What a line of an error's text begins with that says what to do.
pub const HINT: &str = "hint: ";

/// A usage error; lines that begin with `hint: ` are shown last.
pub fn usage(text: impl Into<String>) -> anyhow::Error {
    anyhow!(Usage(text.into()))
}

/// Tells of an error, and says with which code the process is to exit.
pub fn tell(error: &anyhow::Error) -> u8 {
    let _ = write!(Stderr, "{}{}", describe(error), last_resort(error));
    if error.is::<Usage>() { USAGE } else { OURS }
}

/// Where no error in the chain says what to do.
fn last_resort(error: &anyhow::Error) -> &'static str {
    if error.is::<Usage>() || !parts(error).1.is_empty() {
        return "";
    }
    "hint: seagull doctor looks step by step at whether all is in place\n"
}

/// Standard error. What cannot be written there, because whoever read it has gone, is lost, and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line on standard error.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!($crate::errors::Stderr, $($text)*);
    }};
}
pub(crate) use say;

pub fn warn(text: impl fmt::Display) {
    say!("warning: {text}");
}

/// The error, its causes, then every hint that any of them gives.
fn describe(error: &anyhow::Error) -> String {
    let (said, hints) = parts(error);
    let labels = iter::once("error").chain(iter::repeat("  cause"));
    let said = labels.zip(said).map(|(label, said)| format!("{label}: {said}\n"));
    said.chain(hints.iter().map(|hint| format!("{HINT}{hint}\n"))).collect()
}

/// What the error and its causes say, each once, and the hints that any of them gives.
pub fn parts(error: &anyhow::Error) -> (Vec<String>, Vec<String>) {
    let (mut said, mut hints) = (Vec::<String>::new(), Vec::new());
    for cause in error.chain() {
        let whole = cause.to_string();
        hints.extend(whole.lines().filter_map(|line| line.strip_prefix(HINT)).map(str::to_owned));
        let saying: Vec<&str> = whole.lines().filter(|line| !line.starts_with(HINT)).collect();
        let saying = saying.join("\n");
        // Many errors say their source as well as naming it.
        if !saying.is_empty() && !said.iter().any(|told| told.contains(&saying)) {
            said.push(saying);
        }
    }
    hints.dedup();
    (said, hints)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_follow_the_error_and_hints_come_last() {
        let failed: anyhow::Result<()> = Err(anyhow!("no such file\nhint: make one"));
        let error = failed.context("cannot read the token").context("cannot start").unwrap_err();
        let text =
            "error: cannot start\n  cause: cannot read the token\n  cause: no such file\nhint: make one\n";
        assert_eq!(describe(&error), text);
    }

    #[test]
    fn a_cause_that_was_told_is_not_repeated() {
        let failed: anyhow::Result<()> = Err(anyhow!("disk full"));
        let error = failed.context("journal x: disk full").unwrap_err();
        assert_eq!(describe(&error), "error: journal x: disk full\n");
    }

    #[test]
    fn the_doctor_is_named_where_nothing_better_is() {
        assert!(last_resort(&anyhow!("disk full")).contains("seagull doctor"));
        assert_eq!(last_resort(&anyhow!("disk full\nhint: make room").context("cannot write")), "");
        assert_eq!(last_resort(&usage("bad")), "");
    }

    #[test]
    fn a_usage_error_stays_one_under_context() {
        let failed: anyhow::Result<()> = Err(usage("bad"));
        assert!(failed.context("somewhere").unwrap_err().is::<Usage>());
    }
}
