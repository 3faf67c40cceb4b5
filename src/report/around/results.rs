//! What each test of a run came to, and what one printed.

use std::io::{self, IsTerminal, Write};

use seagull_domain::{Evidence, RunId, SuiteError, TestIndex, Verdict};
use seagull_proto::convert::Printed;
use serde::Serialize;

use super::attachments::{FileObject, named};
use super::lists::cause;
use super::story::Execution;
use super::{Form, line, seconds};
use crate::report::names::Names;
use crate::report::record::{self, TestRecord};
use crate::report::tally::Tally;
use crate::report::text::{clean, count, message, micros, number, one_line};

const MESSAGE_WIDTH: usize = 500;

/// Which tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    Failed,
    /// Failed, not executed, or without a verdict.
    NotPassed,
}

impl Part {
    pub fn has(self, record: &TestRecord) -> bool {
        match self {
            Part::All => true,
            Part::Failed => record.is_failure(),
            Part::NotPassed => {
                !matches!(record.verdict, Some(Verdict::Passed | Verdict::Skipped | Verdict::Flaky))
            }
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    run: &'a str,
    test: String,
    verdict: Option<&'static str>,
    cause: Option<String>,
    seconds: Option<f64>,
    results: Vec<ResultObject<'a>>,
    attachments: Vec<FileObject<'a>>,
}

#[derive(Serialize)]
struct ResultObject<'a> {
    outcome: &'static str,
    detail: &'a str,
    cause: Option<&'static str>,
    seconds: f64,
    message: &'a str,
    location: &'a str,
}

/// In the manifest's order, or the slowest first.
pub fn results(
    out: &mut impl Write,
    form: Form,
    tally: &Tally,
    part: Part,
    slowest: Option<usize>,
) -> io::Result<()> {
    let mut tests: Vec<_> = tally.records().filter(|(_, record)| part.has(record)).collect();
    if form.json && slowest.is_none() {
        let of_run = |error| ErrorObject::of(&tally.run, error);
        tally.suite_errors.iter().try_for_each(|error| line(out, &of_run(error)))?;
    }
    if let Some(limit) = slowest {
        tests.retain(|(_, record)| !record.runs.is_empty());
        tests.sort_by_key(|(test, record)| (std::cmp::Reverse(took(record)), *test));
        tests.truncate(limit);
    }
    for (test, record) in tests {
        if form.json {
            line(out, &object(tally, test, record))?;
        } else {
            row(out, form, &tally.names, (test, record))?;
        }
    }
    Ok(())
}

/// What belongs to no test; not among the slowest.
#[derive(Serialize)]
struct ErrorObject<'a> {
    run: &'a str,
    suite_error: &'a str,
    message: &'a str,
}

impl<'a> ErrorObject<'a> {
    fn of(run: &'a RunId, error: &'a SuiteError) -> Self {
        Self { run: run.as_str(), suite_error: &error.title, message: &error.message }
    }
}

/// Microseconds of the longest result.
fn took(record: &TestRecord) -> Option<u64> {
    record.longest().map(record::Execution::micros)
}

fn object<'a>(tally: &'a Tally, test: TestIndex, record: &'a TestRecord) -> Object<'a> {
    let results = record.runs.iter().map(|run| {
        let note = run.note.as_deref();
        ResultObject {
            outcome: run.outcome.word(),
            detail: note.map_or("", |note| &note.detail),
            cause: note.and_then(|note| note.cause).map(|cause| cause.word()),
            seconds: seconds(run.micros()),
            message: note.map_or("", |note| &note.message),
            location: note.map_or("", |note| &note.location),
        }
    });
    Object {
        run: tally.run.as_str(),
        test: tally.names.id(test),
        verdict: record.verdict.map(Verdict::word),
        cause: record.verdict.and_then(cause),
        seconds: took(record).map(seconds),
        results: results.collect(),
        attachments: record.attached.iter().map(FileObject::of).collect(),
    }
}

fn row(
    out: &mut impl Write,
    form: Form,
    names: &Names,
    (test, record): (TestIndex, &TestRecord),
) -> io::Result<()> {
    let word = record.verdict.map_or("open", Verdict::word).replace('_', " ");
    let word = form.paint.verdict(&format!("{word:<12}"));
    let took = took(record).map_or("-".to_owned(), micros);
    let mut text = format!("{word}  {took:>12}  {}", one_line(&names.id(test), MESSAGE_WIDTH));
    if let Some(why) = record.verdict.and_then(cause) {
        text += &format!(" ({why})");
    }
    writeln!(out, "{text}")?;
    let notes = record.failures().last().and_then(|run| run.note.as_deref());
    let lines = notes.map_or([""; 2], |note| [&note.message, &note.location]);
    for line in lines.into_iter().chain(record.missing.as_deref()).filter(|line| !line.is_empty()) {
        writeln!(out, "    {}", form.paint.dim(message(line, MESSAGE_WIDTH)))?;
    }
    record.attached.iter().try_for_each(|file| writeln!(out, "    attached: {}", form.paint.dim(named(file))))
}

/// `run r-7: failed, 9 tests`, or where it stands.
pub fn ended(tally: &Tally) -> String {
    let tests = count(tally.counts.total, "test");
    match tally.end {
        Some(verdict) => {
            let errors = match tally.suite_errors.len() {
                0 => String::new(),
                errors => format!(", {}", count(number(errors), "suite error")),
            };
            format!("run {}: {verdict}, {tests}{errors}", tally.run)
        }
        None => {
            let open = tally.counts.open();
            let how = if tally.broken_off { "broken off" } else { "not over" };
            format!("run {}: {how}, {open} of {tests} open", tally.run)
        }
    }
}

#[derive(Serialize)]
struct Log<'a> {
    run: &'a str,
    test: &'a str,
    attempt: u64,
    executor: &'a str,
    slot: u32,
    outcome: &'static str,
    cause: Option<&'static str>,
    evidence: Option<&'static str>,
    seconds: f64,
    text: Option<&'a str>,
}

/// What an execution of a test printed.
pub fn log(
    out: &mut impl Write,
    form: Form,
    (run, id): (&RunId, &str),
    execution: &Execution,
    text: Option<&str>,
) -> io::Result<()> {
    if form.json {
        let object = Log {
            run: run.as_str(),
            test: id,
            attempt: execution.attempt.0,
            executor: execution.executor.as_str(),
            slot: execution.slot.0,
            outcome: execution.result.outcome.word(),
            cause: execution.result.cause.map(|cause| cause.word()),
            evidence: execution.evidence.map(Evidence::word),
            seconds: seconds(execution.result.micros()),
            text,
        };
        return line(out, &object);
    }
    writeln!(
        out,
        "{}",
        form.paint.bold(format!("── {}: {} ──", one_line(id, MESSAGE_WIDTH), execution.facts()))
    )?;
    match text {
        None => writeln!(out, "{}", form.paint.dim("nothing was captured")),
        // What is kept in a file is kept as it was.
        Some(text) if io::stdout().is_terminal() => writeln!(out, "{}", clean(text).trim_end()),
        Some(text) => writeln!(out, "{}", text.trim_end()),
    }
}

#[derive(Serialize)]
struct Output<'a> {
    run: &'a str,
    test: &'a str,
    attempt: u64,
    executor: &'a str,
    slot: u32,
    offset: u64,
    output: &'a str,
}

/// What a test prints while it runs. `before`: what was shown last.
pub fn printed(
    out: &mut impl Write,
    form: Form,
    run: &RunId,
    printed: &Printed,
    before: Option<&Printed>,
) -> io::Result<()> {
    let Printed { executor, slot, attempt, test, offset, text } = printed;
    if form.json {
        let (executor, run) = (executor.as_str(), run.as_str());
        let (attempt, slot, offset) = (attempt.0, slot.0, *offset);
        return line(out, &Output { run, test, attempt, executor, slot, offset, output: text });
    }
    let end = before
        .filter(|before| (before.attempt, &before.test) == (*attempt, test) && before.offset <= *offset);
    let end = end.map(|before| before.offset + before.text.len() as u64);
    if end.is_none() {
        let place = format!("running, attempt {attempt} on {executor}, slot {slot}");
        writeln!(out, "{}", form.paint.bold(format!("── {}: {place} ──", one_line(test, MESSAGE_WIDTH))))?;
    }
    if *offset > end.unwrap_or_default() {
        writeln!(out, "{}", form.paint.dim("[...]"))?;
    }
    match io::stdout().is_terminal() {
        true => writeln!(out, "{}", clean(text).trim_end()),
        false => writeln!(out, "{}", text.trim_end()),
    }
}
