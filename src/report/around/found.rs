//! What is found in many runs: tests in a ranking, failures in groups.

use std::io::{self, Write};

use seagull_domain::{FailureGroup, Ranked, Ranking};
use serde::Serialize;

use super::lists::table;
use super::{Form, line, seconds, timestamp};
use crate::report::text::{count, micros, one_line};

const NAME_WIDTH: usize = 100;
const MESSAGE_WIDTH: usize = 200;

#[derive(Serialize)]
struct RankedLine<'a> {
    test: &'a str,
    runs: u32,
    count: Option<u32>,
    seconds: Option<f64>,
    seconds_before: Option<f64>,
}

/// Tests in a ranking.
pub fn ranked(out: &mut impl Write, form: Form, ranking: Ranking, ranked: &[Ranked]) -> io::Result<()> {
    let is_counted = matches!(ranking, Ranking::Failing | Ranking::Flaky);
    if form.json {
        let lines = ranked.iter().map(|ranked| RankedLine {
            test: &ranked.test,
            runs: ranked.runs,
            count: is_counted.then_some(ranked.count),
            seconds: ranked.micros.map(seconds),
            seconds_before: ranked.before.map(seconds),
        });
        return lines.into_iter().try_for_each(|ranked| line(out, &ranked));
    }
    let took = |took: Option<u64>| took.map_or("-".to_owned(), micros);
    let row = |ranked: &Ranked| {
        let (test, runs) = (one_line(&ranked.test, NAME_WIDTH), ranked.runs.to_string());
        match ranking {
            Ranking::Failing | Ranking::Flaky => {
                vec![ranked.count.to_string(), runs, took(ranked.micros), test]
            }
            Ranking::Slowest => vec![took(ranked.micros), runs, test],
            Ranking::Slower => vec![took(ranked.micros), took(ranked.before), runs, test],
        }
    };
    let heads: &[&str] = match ranking {
        Ranking::Failing => &["failed in", "of runs", "takes", "test"],
        Ranking::Flaky => &["flaky on", "runs", "takes", "test"],
        Ranking::Slowest => &["takes", "runs", "test"],
        Ranking::Slower => &["takes", "before", "runs", "test"],
    };
    table(out, heads, &ranked.iter().map(row).collect::<Vec<_>>(), |_, cell| cell.to_owned())
}

#[derive(Serialize)]
struct Group<'a> {
    fingerprint: &'a str,
    failures: u32,
    tests: u32,
    message: &'a str,
    location: &'a str,
    test: &'a str,
    run: &'a str,
    at: String,
}

/// Failures in groups.
pub fn failures(out: &mut impl Write, form: Form, groups: &[FailureGroup]) -> io::Result<()> {
    for group in groups {
        let FailureGroup { fingerprint, failures, tests, message, location, test, run, at } = group;
        if form.json {
            let (run, at) = (run.as_str(), timestamp(*at));
            let group =
                Group { fingerprint, failures: *failures, tests: *tests, message, location, test, run, at };
            line(out, &group)?;
            continue;
        }
        writeln!(out, "{}", form.paint.bold(one_line(message, MESSAGE_WIDTH)))?;
        let (how_often, of) = (count(*failures, "time"), count(*tests, "test"));
        let place = if location.is_empty() {
            String::new()
        } else {
            format!(", at {}", one_line(location, NAME_WIDTH))
        };
        let newest = format!("{} in {run}, {}", one_line(test, NAME_WIDTH), form.when(*at));
        writeln!(out, "  {how_often}, {of}{place}\n  last {newest}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    const NOON: u64 = 1_764_072_000_000;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rankings_are_told_as_approved() {
        let test = |test: &str, count, before| Ranked {
            test: test.to_owned(),
            runs: 12,
            count,
            micros: Some(1_500_000),
            before,
        };
        let tests = [test("tests/a.py::test_x", 7, Some(40_000)), test("tests/b.py::test_y[1]", 1, None)];
        let all = [Ranking::Failing, Ranking::Flaky, Ranking::Slowest, Ranking::Slower];
        let told = |form| all.map(|ranking| written(|out| ranked(out, form, ranking, &tests))).join("\n");
        golden::check("tests-plain.txt", &told(Form::PLAIN));
        golden::check("tests.jsonl", &told(Form::JSON));
    }

    #[test]
    fn failures_are_told_as_approved() {
        let group = |message: &str, location: &str, failures, tests| FailureGroup {
            fingerprint: "8c1d".into(),
            failures,
            tests,
            message: message.into(),
            location: location.into(),
            test: "tests/a.py::test_x".into(),
            run: "r-9".parse().unwrap(),
            at: NOON,
        };
        let groups = [
            group("TimeoutError: no answer after 30 s", "tests/a.py:12", 41, 7),
            group("E\u{1b}[31m\nsecond line", "", 1, 1),
        ];
        golden::check("search-human.txt", &written(|out| failures(out, Form::HUMAN, &groups)));
        golden::check("search.jsonl", &written(|out| failures(out, Form::JSON, &groups)));
    }
}
