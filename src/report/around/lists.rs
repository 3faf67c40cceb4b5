//! Lists: the runs there are, and the runs of a test.

use std::io::{self, Write};

use seagull_domain::{Counts, PastRun, RunOverview, RunState, TestHistory, Verdict};
use serde::Serialize;

use super::{Form, line, seconds, timestamp};
use crate::report::text::{count, duration, micros, one_line, parts};

const NAME_WIDTH: usize = 100;

#[derive(Serialize)]
struct Run<'a> {
    run: &'a str,
    project: &'a str,
    owner: &'a str,
    rev: &'a str,
    submitted_at: String,
    state: &'static str,
    verdict: Option<&'static str>,
    exit_code: Option<u8>,
    seconds: Option<f64>,
    counts: Counts,
    suite_errors: u32,
    rerun_of: Option<&'a str>,
}

pub fn runs(out: &mut impl Write, form: Form, runs: &[RunOverview], projects: bool) -> io::Result<()> {
    if form.json {
        return runs.iter().try_for_each(|run| line(out, &as_object(run)));
    }
    let rows: Vec<_> = runs.iter().map(|run| row(form, run, projects)).collect();
    table(out, &["run", "begun", "verdict", "took", "tests"], &rows, |column, cell| match column {
        2 => form.paint.verdict(cell),
        _ => cell.to_owned(),
    })
}

fn as_object(run: &RunOverview) -> Run<'_> {
    let (state, verdict, exit_code) = match run.state {
        RunState::UnderWay => ("under_way", None, None),
        RunState::BrokenOff => ("broken_off", None, None),
        RunState::Ended { verdict, exit_code, .. } => ("ended", Some(verdict.word()), Some(exit_code)),
    };
    Run {
        run: run.run.as_str(),
        project: &run.project,
        owner: &run.owner,
        rev: &run.rev,
        submitted_at: timestamp(run.submitted_at),
        state,
        verdict,
        exit_code,
        seconds: took(run).map(|took| took.as_secs_f64()),
        counts: run.counts,
        suite_errors: run.suite_errors,
        rerun_of: run.rerun_of.as_ref().map(|of| of.as_str()),
    }
}

/// None where the clocks of client and scheduler disagree, too.
fn took(run: &RunOverview) -> Option<std::time::Duration> {
    let RunState::Ended { at, .. } = run.state else { return None };
    at.checked_sub(run.submitted_at).map(std::time::Duration::from_millis)
}

fn row(form: Form, run: &RunOverview, projects: bool) -> Vec<String> {
    let state = match run.state {
        RunState::UnderWay => "under way".to_owned(),
        RunState::BrokenOff => "broken off".to_owned(),
        RunState::Ended { verdict, .. } => verdict.to_string(),
    };
    let mut what = counts(&run.counts);
    if run.suite_errors > 0 {
        what += &format!("; {}", count(run.suite_errors, "suite error"));
    }
    if let Some(of) = &run.rerun_of {
        what += &format!("; rerun of {of}");
    }
    if projects {
        what += &format!("; {}", one_line(&run.project, NAME_WIDTH));
    }
    let took = took(run).map_or("-".to_owned(), duration);
    vec![run.run.to_string(), form.when(run.submitted_at), state, took, what]
}

/// `9: 3 passed, 2 failed`
fn counts(counts: &Counts) -> String {
    let parts = parts(counts, "open");
    if parts.is_empty() { counts.total.to_string() } else { format!("{}: {parts}", counts.total) }
}

/// Columns as wide as their widest cell, the last one as it is.
pub fn table(
    out: &mut impl Write,
    heads: &[&str],
    rows: &[Vec<String>],
    paint: impl Fn(usize, &str) -> String,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let wide = |cell: &str| cell.chars().count();
    let width = |column: usize| rows.iter().map(|row| wide(&row[column])).max().unwrap_or(0);
    let widths: Vec<_> =
        heads.iter().enumerate().map(|(column, head)| width(column).max(wide(head))).collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for (number, row) in std::iter::once(&heads).chain(rows).enumerate() {
        let cell = |(column, cell): (usize, &String)| {
            let last = column + 1 == row.len();
            let cell = if last { cell.clone() } else { format!("{cell:<width$}", width = widths[column]) };
            if number == 0 { cell } else { paint(column, &cell) }
        };
        let cells: Vec<_> = row.iter().enumerate().map(cell).collect();
        writeln!(out, "{}", cells.join("  "))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Past<'a> {
    test: &'a str,
    run: &'a str,
    submitted_at: String,
    verdict: &'static str,
    cause: Option<String>,
    seconds: Option<f64>,
    results: u32,
    failed: u32,
    executor: Option<&'a str>,
}

/// What is kept of one test.
pub fn history(out: &mut impl Write, form: Form, history: &TestHistory) -> io::Result<()> {
    let test = history.tests.first().map_or("", String::as_str);
    if form.json {
        return history.runs.iter().try_for_each(|past| line(out, &past_object(test, past)));
    }
    writeln!(out, "{}", form.paint.bold(one_line(test, 500)))?;
    match history.typical_us {
        Some(typical) => {
            let learned = count(history.learned_from, "run");
            writeln!(out, "takes about {}, as {learned} taught", micros(typical))?;
        }
        // Of what an index elsewhere tells, nothing may have been learned here.
        None if history.runs.iter().any(|past| past.verdict == Verdict::Passed) => {
            writeln!(out, "nothing is known here of what it takes")?;
        }
        None => writeln!(out, "nothing is known of what it takes: no run of it was good")?,
    }
    let rows: Vec<_> = history.runs.iter().map(|past| past_row(form, past)).collect();
    table(out, &["run", "begun", "verdict", "took", "how"], &rows, |column, cell| match column {
        2 => form.paint.verdict(cell),
        _ => cell.to_owned(),
    })?;
    let had = history.runs.len();
    let searched = count(history.searched, "ended run");
    writeln!(out, "{had} of {searched} had it; of runs that are no longer kept only durations are known")?;
    match history.behind {
        0 => Ok(()),
        1 => writeln!(out, "1 run has ended that is not indexed yet"),
        behind => writeln!(out, "{behind} runs have ended that are not indexed yet"),
    }
}

fn past_object<'a>(test: &'a str, past: &'a PastRun) -> Past<'a> {
    Past {
        test,
        run: past.run.as_str(),
        submitted_at: timestamp(past.submitted_at),
        verdict: past.verdict.word(),
        cause: cause(past.verdict),
        seconds: past.micros.map(seconds),
        results: past.results,
        failed: past.failed,
        executor: past.executor.as_ref().map(|executor| executor.as_str()),
    }
}

fn past_row(form: Form, past: &PastRun) -> Vec<String> {
    let mut how = past.executor.as_ref().map_or(String::new(), |executor| format!("on {executor}"));
    if past.results > 1 {
        how += &format!(", {} of {} results failed", past.failed, past.results);
    }
    how += &cause(past.verdict).unwrap_or_default();
    let took = past.micros.map_or("-".to_owned(), micros);
    let verdict = past.verdict.word().replace('_', " ");
    vec![past.run.to_string(), form.when(past.submitted_at), verdict, took, how]
}

pub fn cause(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::NotExecuted(why) => Some(why.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{NotExecuted, RunVerdict};

    use super::*;
    use crate::golden;

    const DAY: u64 = 86_400_000;
    const NOON: u64 = 1_764_115_200_000 - DAY / 2;

    fn overview(run: &str, submitted_at: u64, state: RunState) -> RunOverview {
        RunOverview {
            run: run.parse().unwrap(),
            owner: "ada".into(),
            project: "algebra".into(),
            rev: "4f2a".into(),
            submitted_at,
            rerun_of: None,
            counts: Counts::default(),
            suite_errors: 0,
            state,
        }
    }

    fn all() -> Vec<RunOverview> {
        let ended = |verdict, exit_code, at| RunState::Ended { verdict, exit_code, at };
        let some = Counts { total: 120, passed: 117, failed: 2, skipped: 1, ..Counts::default() };
        let part = Counts { total: 2, passed: 1, not_executed: 1, ..Counts::default() };
        let open = Counts { total: 9, passed: 3, ..Counts::default() };
        vec![
            RunOverview { counts: open, ..overview("r-12", NOON + 2 * 3_600_000, RunState::UnderWay) },
            overview("r-11", NOON + 3_600_000, RunState::BrokenOff),
            RunOverview {
                counts: part,
                rerun_of: Some("r-9".parse().unwrap()),
                ..overview("r-10", NOON - DAY, ended(RunVerdict::Incomplete, 101, NOON - DAY + 900))
            },
            RunOverview {
                counts: some,
                suite_errors: 1,
                ..overview("r-9", NOON - 3 * DAY, ended(RunVerdict::Failed, 100, NOON - 3 * DAY + 61_000))
            },
            overview("r-8", NOON - 4 * DAY, ended(RunVerdict::Passed, 0, NOON - 5 * DAY)),
        ]
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn runs_are_listed_as_approved() {
        golden::check("runs-human.txt", &written(|out| runs(out, Form::HUMAN, &all(), false)));
        golden::check("runs-plain.txt", &written(|out| runs(out, Form::PLAIN, &all(), true)));
        golden::check("runs.jsonl", &written(|out| runs(out, Form::JSON, &all(), false)));
        assert_eq!(written(|out| runs(out, Form::HUMAN, &[], false)), "");
    }

    #[test]
    fn a_history_is_told_as_approved() {
        let past = |run: &str, verdict, results, failed| PastRun {
            run: run.parse().unwrap(),
            submitted_at: NOON - DAY,
            verdict,
            results,
            failed,
            micros: (results > 0).then_some(31_000),
            executor: (results > 0).then(|| "local".parse().unwrap()),
        };
        let told = TestHistory {
            tests: vec!["tests/a.py::test_x".into()],
            matching: 1,
            typical_us: Some(30_000),
            learned_from: 12,
            runs: vec![
                past("r-9", Verdict::Flaky, 2, 1),
                past("r-8", Verdict::NotExecuted(NotExecuted::FailFast), 0, 0),
                past("r-7", Verdict::Passed, 1, 0),
            ],
            searched: 4,
            behind: 1,
        };
        golden::check("history-human.txt", &written(|out| history(out, Form::HUMAN, &told)));
        golden::check("history.jsonl", &written(|out| history(out, Form::JSON, &told)));
    }
}
