//! The JUnit report: one testcase for each test of the manifest, retries as the Jenkins plugin and surefire know them
//! (`flakyFailure`, `rerunFailure`), suite errors as testcases of their own. Control characters that XML cannot hold
//! are dropped from texts by quick-junit.

use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};
use seagull_domain::{Manifest, Outcome, TestCause, TestIndex, Verdict};

use super::Texts;
use super::measured::partial;
use super::record::{Execution, TestRecord};
use super::tally::Tally;

/// The report as XML. What quick-junit leaves of the characters that XML 1.0 forbids goes too.
pub fn render(tally: &Tally, texts: Texts, _: &Path) -> anyhow::Result<String> {
    let mut text = report(tally, texts).to_string()?;
    text.retain(|character| !matches!(character, '\u{fffe}' | '\u{ffff}'));
    Ok(text)
}

fn report(tally: &Tally, texts: Texts) -> Report {
    let project = tally.spec.as_ref().map_or("seagull", |spec| spec.project.as_str());
    let mut report = Report::new(project);
    if let Some(elapsed) = tally.elapsed() {
        report.set_time(elapsed);
    }
    let mut records = tally.records();
    for file in &tally.names.manifest.files {
        let mut suite = TestSuite::new(attribute(&file.path));
        let mut total = Duration::ZERO;
        for (suffix, (test, record)) in file.suffixes.iter().zip(&mut records) {
            let case = test_case(&file.path, suffix, status(tally, test, record, texts), record);
            total += case.time.unwrap_or_default();
            suite.add_test_case(case);
        }
        suite.set_time(total);
        report.add_test_suite(suite);
    }
    let mut errors = suite_errors(tally, texts);
    if let Some(partial) = tally.coverage().and_then(|covered| partial(&covered.lost)) {
        errors.add_property(("coverage".to_owned(), partial));
    }
    if !errors.test_cases.is_empty() || !errors.properties.is_empty() {
        report.add_test_suite(errors);
    }
    report
}

fn test_case(path: &str, suffix: &str, status: TestCaseStatus, record: &TestRecord) -> TestCase {
    let module = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
    let class = Manifest::class_of(suffix);
    let name = suffix[class.len()..].trim_start_matches("::");
    // A file that cannot be collected is named by itself.
    let name = if name.is_empty() { path.rsplit('/').next().unwrap_or(path) } else { name };
    let time = main_run(record, &status).map(|run| Duration::from_micros(run.micros()));
    let mut case = TestCase::new(attribute(name), status);
    case.set_classname(attribute(&format!("{module}{}", class.replace("::", "."))));
    case.time = time;
    case
}

/// Readers of XML turn a line end in an attribute into a space, so it is escaped, and so that no two names become one. Ids
/// that pytest makes have none; the `\n` that it writes instead stays. What XML cannot hold is written as pytest's report does.
fn attribute(name: &str) -> String {
    let escapes = ["\\x5c", "\\x0a", "\\x0d", "\\x09"];
    let escaped = |name: String, escape: &&str| name.replace(escape, &escape.replace('\\', "\\x5c"));
    let name = escapes.iter().fold(name.to_owned(), escaped);
    let name = name.replace('\n', "\\x0a").replace('\r', "\\x0d").replace('\t', "\\x09");
    let forbidden = |character: char| character < ' ' || matches!(character, '\u{fffe}' | '\u{ffff}');
    if !name.contains(forbidden) {
        return name;
    }
    let written = |character| match character {
        _ if forbidden(character) => format!("#x{:02X}", u32::from(character)),
        _ => character.to_string(),
    };
    name.chars().map(written).collect()
}

/// The execution that a testcase stands for: the first of the outcome that it reports.
fn main_run<'a>(record: &'a TestRecord, status: &TestCaseStatus) -> Option<&'a Execution> {
    let outcome = match status {
        TestCaseStatus::Success { .. } => Some(Outcome::Passed),
        TestCaseStatus::NonSuccess { .. } => Some(Outcome::Failed),
        TestCaseStatus::Skipped { .. } => None,
    };
    record.runs.iter().find(|run| outcome.is_none_or(|outcome| run.outcome == outcome))
}

fn status(tally: &Tally, test: TestIndex, record: &TestRecord, texts: Texts) -> TestCaseStatus {
    let flaky_fails = tally.spec.as_ref().is_some_and(|spec| spec.flaky_fails);
    match record.verdict {
        Some(Verdict::Passed) => TestCaseStatus::success(),
        Some(Verdict::Flaky) if !flaky_fails => {
            let mut status = TestCaseStatus::success();
            status.add_reruns(record.failures().map(|run| rerun(run, texts)));
            status
        }
        Some(Verdict::Failed | Verdict::Flaky) => failed(record, texts),
        Some(Verdict::Skipped) => {
            let note = record.runs.first().and_then(|run| run.note.as_deref());
            let reason = note.map_or("", |note| {
                if note.message.is_empty() { note.detail.as_str() } else { note.message.as_str() }
            });
            skipped(reason)
        }
        Some(Verdict::Quarantined) => {
            let note = record.failures().next().and_then(|run| run.note.as_deref());
            skipped(&format!("quarantined: {}", note.map_or("", |note| note.message.as_str())))
        }
        None if record.is_failure() => failed(record, texts),
        Some(Verdict::NotExecuted(_)) | None => not_executed(&tally.why_none(test).unwrap_or_default()),
    }
}

fn skipped(reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    if !reason.is_empty() {
        status.set_message(reason);
    }
    status
}

fn not_executed(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("not executed").set_message(why);
    status
}

/// The first failure is the testcase's own; later ones are its reruns.
fn failed(record: &TestRecord, texts: Texts) -> TestCaseStatus {
    let mut failures = record.failures();
    let mut status = TestCaseStatus::non_success(failures.next().map_or(NonSuccessKind::Failure, kind));
    if let Some(first) = record.failures().next() {
        let (message, word) = words(first);
        status.set_message(message).set_type(word);
        status.set_description(description(first, texts));
    }
    status.add_reruns(failures.map(|run| rerun(run, texts)));
    status
}

fn rerun(run: &Execution, texts: Texts) -> TestRerun {
    let (message, word) = words(run);
    // Jenkins reads `flakyFailure` and `rerunFailure`, but not their siblings for errors; the type still says which.
    let mut rerun = TestRerun::new(NonSuccessKind::Failure);
    rerun.set_message(message).set_type(word);
    rerun.set_time(Duration::from_micros(run.micros()));
    rerun.set_stack_trace(description(run, texts));
    rerun
}

/// What the test got wrong is a failure; what went wrong under it is an error.
fn kind(run: &Execution) -> NonSuccessKind {
    match run.note.as_ref().and_then(|note| note.cause) {
        Some(TestCause::Assertion) | None => NonSuccessKind::Failure,
        Some(_) => NonSuccessKind::Error,
    }
}

fn words(run: &Execution) -> (&str, &'static str) {
    let note = run.note.as_deref();
    let word = note.and_then(|note| note.cause).map_or("failed", |cause| cause.word());
    (note.map_or("", |note| note.message.as_str()), word)
}

fn description(run: &Execution, texts: Texts) -> String {
    let Some(note) = run.note.as_deref() else { return String::new() };
    let mut text = note.text.and_then(texts).unwrap_or_else(|| note.message.clone());
    if !note.location.is_empty() {
        text = format!("{}\n\n{}", text.trim_end(), note.location);
    }
    format!("{text}\non {}", note.executor)
}

fn suite_errors(tally: &Tally, texts: Texts) -> TestSuite {
    let mut suite = TestSuite::new("seagull");
    for error in &tally.suite_errors {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("suite error").set_message(&error.message);
        if let Some(text) = error.text.and_then(texts) {
            status.set_description(text);
        }
        let mut case = TestCase::new(&error.title, status);
        case.set_classname("seagull");
        suite.add_test_case(case);
    }
    for message in &tally.discovery_failures {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("discovery failed").set_description(message);
        let mut case = TestCase::new("discovery", status);
        case.set_classname("seagull");
        suite.add_test_case(case);
    }
    suite
}
