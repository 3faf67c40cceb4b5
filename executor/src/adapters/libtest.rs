//! What test binaries of Rust say: lists of tests, and what became of one.

use std::os::unix::process::ExitStatusExt;

use seagull_domain::{Outcome, TestCause};

use super::processes::Ran;

/// What libtest ends a failed run with.
const FAILED: i32 = 101;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub outcome: Outcome,
    pub cause: Option<TestCause>,
    pub message: String,
    pub location: String,
    pub text: String,
}

/// The names that `--list` lists; None if that is no list of libtest's.
pub(super) fn listed(said: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut is_list = false;
    for line in said.lines().filter(|line| !line.is_empty()) {
        match line.rsplit_once(": ") {
            Some((name, "test" | "benchmark" | "bench")) => names.push(name),
            None if line.ends_with(" benchmarks") || line.ends_with(" benchmark") => {}
            _ => return None,
        }
        is_list = true;
    }
    is_list.then_some(names)
}

/// What became of the one test that a binary was asked for; None if it has no such test. An end that libtest does not
/// sum up is a crash, whatever the exit status.
pub(super) fn one(ran: &Ran, name: &str, said: String) -> Option<Judged> {
    let how = ran.how();
    let code = ran.status.code();
    let result =
        said.rsplit_once("test result: ").map(|(_, result)| result.lines().next().unwrap_or_default());
    match result {
        Some(result) if code == Some(0) && counts(result, "1 passed") => Some(passed(name, said)),
        Some(result) if code == Some(0) && counts(result, "1 ignored") => Some(ignored(name, &said)),
        Some(result) if code == Some(0) && counts(result, "0 passed") => None,
        Some(result) if code == Some(FAILED) && counts(result, "1 failed") => Some(failed(name, said)),
        _ => Some(crashed(name, format!("crashed: the process ended with {how} before its test did"), said)),
    }
}

/// What became of a whole binary, or of a crate's documentation.
pub(super) fn whole(ran: &Ran, said: String) -> Judged {
    if ran.status.success() {
        return Judged { text: said, ..judged(Outcome::Passed) };
    }
    if ran.status.signal().is_some() {
        return crashed("", format!("crashed: the process ended with {}", ran.how()), said);
    }
    let result = said.lines().rev().find(|line| line.starts_with("test result: "));
    let message = result.map_or_else(|| ran.how(), str::to_owned);
    Judged { cause: Some(TestCause::Error), message, text: said, ..judged(Outcome::Failed) }
}

fn judged(outcome: Outcome) -> Judged {
    let [message, location, text] = [const { String::new() }; 3];
    Judged { outcome, cause: None, message, location, text }
}

/// `ok. 1 passed; 0 failed; ...`
fn counts(result: &str, count: &str) -> bool {
    result.split(['.', ';']).any(|part| part.trim() == count)
}

fn passed(name: &str, said: String) -> Judged {
    Judged { text: own_words(name, &said), ..judged(Outcome::Passed) }
}

fn ignored(name: &str, said: &str) -> Judged {
    let line = said.lines().find_map(|line| line.strip_prefix("test ")?.strip_prefix(name));
    let reason = line.and_then(|line| line.split_once("ignored, "));
    Judged { message: reason.map_or("", |(_, reason)| reason).to_owned(), ..judged(Outcome::Skipped) }
}

fn failed(name: &str, said: String) -> Judged {
    let (message, location) = panicked(name, &said).unwrap_or_else(|| (complaint(&said), String::new()));
    let cause = if message.starts_with("assertion") { TestCause::Assertion } else { TestCause::Error };
    let text = own_words(name, &said);
    Judged { cause: Some(cause), message, location, text, ..judged(Outcome::Failed) }
}

fn crashed(name: &str, message: String, said: String) -> Judged {
    let location = panicked(name, &said).map(|(_, location)| location).unwrap_or_default();
    let text = own_words(name, &said);
    Judged { cause: Some(TestCause::Crashed), message, location, text, ..judged(Outcome::Failed) }
}

/// The message and the place of the test's own panic, else of the first.
fn panicked(name: &str, said: &str) -> Option<(String, String)> {
    let mut panics = said.lines().enumerate().filter_map(|(number, line)| {
        let (thread, place) = line.strip_prefix("thread '")?.split_once(" panicked at ")?;
        Some((number, thread.starts_with(name), place))
    });
    let first = panics.next()?;
    let (number, _, place) = if first.1 { first } else { panics.find(|panic| panic.1).unwrap_or(first) };
    let message = said.lines().nth(number + 1).unwrap_or_default();
    let location = place.trim_end_matches(':');
    let location = location.rsplit_once(':').map_or(location, |(line, _column)| line);
    Some((message.trim().to_owned(), location.to_owned()))
}

/// What a test that failed without a panic of its own says: that none came, or the error it returned.
fn complaint(said: &str) -> String {
    let line = said
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("Error: ") || line.starts_with("note: test "));
    line.map_or_else(|| "failed".to_owned(), |line| line.trim_start_matches("note: ").to_owned())
}

/// What the test wrote, without the frame that libtest puts around it.
fn own_words(name: &str, said: &str) -> String {
    let words = said.trim_start().strip_prefix("running 1 test\n").unwrap_or(said);
    let words = words.rsplit_once("\ntest result: ").map_or(words, |(words, _)| words);
    let words = words.trim_end().strip_suffix(&format!("failures:\n    {name}")).unwrap_or(words);
    let frame = format!("test {name}");
    let is_frame =
        |line: &str| line.starts_with(&frame) && (line.ends_with(" ... ok") || line.ends_with(" ... FAILED"));
    let lines = words.lines().filter(|line| !is_frame(line) && *line != "failures:");
    let text = lines.collect::<Vec<_>>().join("\n");
    text.trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    fn ran(raw: i32) -> Ran {
        Ran { status: ExitStatus::from_raw(raw), seconds: 1.0, output: "/none".into() }
    }

    const END: &str = "; 0 measured; 3 filtered out; finished in 0.00s\n\n";

    #[test]
    fn lists_are_told_from_what_else_a_binary_may_print() {
        assert_eq!(listed("a::b: test\nx: benchmark\n\n1 test, 1 benchmark\n"), Some(vec!["a::b", "x"]));
        assert_eq!(listed("src/lib.rs - f (line 3): test\n"), Some(vec!["src/lib.rs - f (line 3)"]));
        assert_eq!(listed("0 tests, 0 benchmarks\n"), Some(vec![]));
        for other in ["", "hello\n", "a: test\ndone\n"] {
            assert_eq!(listed(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_became_of_a_test_is_what_libtest_sums_up() {
        let said = format!(
            "\nrunning 1 test\nhello\ntest m::t ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored{END}"
        );
        let passed = one(&ran(0), "m::t", said.clone()).unwrap();
        assert_eq!((passed.outcome, passed.text.as_str()), (Outcome::Passed, "hello"));
        let said = format!(
            "\nrunning 1 test\n\nthread 'm::t' (12) panicked at src/lib.rs:7:9:\nassertion failed: x\nnote: run with\n\
             test m::t ... FAILED\n\nfailures:\n\nfailures:\n    m::t\n\n\
             test result: FAILED. 0 passed; 1 failed; 0 ignored{END}"
        );
        let failed = one(&ran(101 << 8), "m::t", said).unwrap();
        assert_eq!((failed.outcome, failed.cause), (Outcome::Failed, Some(TestCause::Assertion)));
        assert_eq!(
            (failed.message.as_str(), failed.location.as_str()),
            ("assertion failed: x", "src/lib.rs:7")
        );
        assert!(failed.text.contains("panicked") && !failed.text.contains("FAILED"), "{}", failed.text);
        let said = format!(
            "\nrunning 1 test\ntest m::t ... ignored, too slow\n\ntest result: ok. 0 passed; 0 failed; 1 ignored{END}"
        );
        let ignored = one(&ran(0), "m::t", said).unwrap();
        assert_eq!((ignored.outcome, ignored.message.as_str()), (Outcome::Skipped, "too slow"));
        let said = format!("\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored{END}");
        assert_eq!(one(&ran(0), "m::t", said), None);
    }

    #[test]
    fn an_end_that_libtest_does_not_sum_up_is_a_crash_whatever_its_status() {
        for (raw, how) in
            [(0, "exit status 0"), (3 << 8, "exit status 3"), (11, "signal 11"), (101 << 8, "101")]
        {
            let crashed = one(&ran(raw), "t", "\nrunning 1 test\nlast words".to_owned()).unwrap();
            assert_eq!((crashed.outcome, crashed.cause), (Outcome::Failed, Some(TestCause::Crashed)));
            assert!(crashed.message.contains(how), "{}", crashed.message);
            assert_eq!(crashed.text, "last words");
        }
    }

    #[test]
    fn a_failure_without_a_panic_says_why() {
        assert_eq!(complaint("Error: \"no\"\n"), "Error: \"no\"");
        assert_eq!(
            complaint("---- t stdout ----\nnote: test did not panic as expected\n"),
            "test did not panic as expected"
        );
        assert_eq!(complaint(""), "failed");
    }

    #[test]
    fn of_several_panics_the_tests_own_counts() {
        let said =
            "thread '<unnamed>' (3) panicked at a.rs:1:1:\nhelper\nthread 't' panicked at b.rs:2:2:\nown\n";
        assert_eq!(panicked("t", said), Some(("own".into(), "b.rs:2".into())));
        assert_eq!(panicked("other", said), Some(("helper".into(), "a.rs:1".into())));
        assert_eq!(panicked("t", "all is well"), None);
    }

    #[test]
    fn a_whole_binary_is_judged_by_its_end() {
        assert_eq!(whole(&ran(0), "done".into()).outcome, Outcome::Passed);
        let failed = whole(&ran(101 << 8), "x\ntest result: FAILED. 1 passed; 1 failed\n".into());
        assert_eq!(failed.message, "test result: FAILED. 1 passed; 1 failed");
        assert_eq!(whole(&ran(9), String::new()).cause, Some(TestCause::Crashed));
    }
}
