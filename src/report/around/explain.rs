//! Why a run or a test has its verdict.

use std::collections::BTreeSet;
use std::io::{self, Write};

use seagull_domain::{
    AttemptId, Counts, Evidence, ExecutorId, Framework, InfraCause, NotExecuted, Outcome, RunVerdict,
    TestIndex, Verdict,
};
use serde::Serialize;

use super::lists::cause;
use super::story::{Copied, Execution, Loss, Story};
use super::waits::{PlaceObject, are, place_object, waits};
use super::{Form, line, seconds};
use crate::again::quoted;
use crate::duration;
use crate::report::measured::partial;
use crate::report::summary;
use crate::report::tally::{Covered, Tally, TestRecord};
use crate::report::text::{clean, count, message, number, one_line, times};

const WIDTH: usize = 500;

#[derive(Serialize)]
struct RunObject<'a> {
    run: &'a str,
    project: &'a str,
    rerun_of: Option<String>,
    verdict: Option<&'static str>,
    exit_code: Option<u8>,
    because: String,
    counts: Counts,
    failed: Vec<String>,
    retried: u32,
    second_copies: u32,
    suite_errors: Vec<&'a str>,
    coverage: Option<Covered>,
    discovery_failures: &'a [String],
    discovered_on: Vec<&'a str>,
    stopping: Option<String>,
    plan: Option<PlanObject>,
    lost: LostObject<'a>,
}

#[derive(Serialize)]
struct PlanObject {
    bundles: u32,
    slots: u32,
    makespan_seconds: f64,
    total_seconds: f64,
    happened_total_seconds: f64,
    happened_slots: usize,
    unknown: u32,
}

#[derive(Serialize)]
struct LostObject<'a> {
    executors: Vec<&'a str>,
    attempts: u32,
    tests: u32,
    taken_back: u32,
}

pub fn explain_run(out: &mut impl Write, form: Form, tally: &Tally) -> io::Result<()> {
    if form.json {
        return line(out, &run_object(tally));
    }
    let project = tally.spec.as_ref().map_or("", |spec| &spec.project);
    let verdict = form.paint.run_verdict(tally.end);
    let code = tally.exit_code.map_or(String::new(), |code| format!(", exit code {code}"));
    writeln!(out, "run {} of {}: {verdict}{code}", form.paint.bold(&tally.run), one_line(project, WIDTH))?;
    writeln!(out, "    because {}", because(tally))?;
    if tally.end.is_some() {
        writeln!(
            out,
            "    of the rules the first that applies: 130 cancelled, 100 a failure, 102 nothing started,"
        )?;
        writeln!(out, "    101 something was not executed, 0 passed")?;
    }
    if let Some(of) = tally.spec.as_ref().and_then(|spec| spec.rerun_of()) {
        writeln!(out, "    it ran a part of {of} again")?;
    }
    match (tally.stopping, tally.limit()) {
        (Some(why), Some(limit)) => {
            writeln!(out, "    it stopped, and started nothing more: {why}, and {limit}")?
        }
        (Some(why), None) => writeln!(out, "    nothing more was started after it was told to stop: {why}")?,
        (None, _) => {}
    }
    retries(out, tally)?;
    coverage(out, tally)?;
    if tally.losses.taken_back > 0 {
        let tests = count(tally.losses.taken_back, "unstarted test");
        writeln!(out, "    {tests} went from their slots to others")?;
    }
    for (executor, cause, why) in &tally.losses.drained {
        writeln!(out, "    {executor} left before the end: {cause} ({})", one_line(why, WIDTH))?;
    }
    if tally.work.copies > 0 {
        let tests = count(tally.work.copies, "test");
        writeln!(
            out,
            "    {tests} took far longer than predicted and had a second copy on another executor"
        )?;
    }
    summary::reasons(out, form.paint, tally)
}

fn retries(out: &mut impl Write, tally: &Tally) -> io::Result<()> {
    let most = tally.spec.as_ref().map_or(0, |spec| spec.retries);
    match retried(tally) {
        0 if most == 0 => writeln!(out, "    no test was retried: --retries was 0"),
        retried => {
            let tests = count(retried, "test");
            writeln!(out, "    {tests} had more than one result; --retries was {most}")
        }
    }
}

fn coverage(out: &mut impl Write, tally: &Tally) -> io::Result<()> {
    let Some(Covered { judged, lost }) = tally.coverage() else { return Ok(()) };
    if !judged {
        let run = &tally.run;
        writeln!(
            out,
            "    nobody judged its coverage: the command that began it does, without --detach and with --run-id {run}"
        )?;
    }
    partial(&lost).map_or(Ok(()), |partial| writeln!(out, "    its {}", clean(&partial)))
}

fn retried(tally: &Tally) -> u32 {
    number(tally.tests.iter().filter(|test| test.runs.len() > 1).count())
}

/// What the verdict and the exit code follow from.
fn because(tally: &Tally) -> String {
    let counts = tally.counts;
    let flaky_fails = tally.spec.as_ref().is_some_and(|spec| spec.flaky_fails);
    match (tally.end, tally.exit_code) {
        (None, _) if tally.broken_off => {
            let run = &tally.run;
            format!(
                "it has broken off: its process is gone; the same command with --run-id {run} goes on with it"
            )
        }
        (None, _) if tally.judged => {
            "it has not ended: the coverage is combined where it was asked for".to_owned()
        }
        (None, _) => match tally.slots_there {
            Some(0) if tally.losses.discoveries.is_empty() => {
                "it has not begun: no executor is there".to_owned()
            }
            Some(0) => "it has not ended, and no executor is there any more".to_owned(),
            Some(_) if tally.losses.discoveries.is_empty() => {
                "it has not begun: no executor has taken it yet".to_owned()
            }
            Some(slots) => format!("it has not ended; {} there", are(slots, "slot")),
            None => "it has not ended".to_owned(),
        },
        (Some(RunVerdict::Cancelled), _) if tally.stopping == Some(NotExecuted::Orphaned) => {
            let patience = tally.spec.as_ref().and_then(|spec| spec.orphan_ms).unwrap_or_default();
            let patience = duration::written(patience);
            format!("it was cancelled as an orphan: nobody had watched it for {patience} (--orphan)")
        }
        (Some(RunVerdict::Cancelled), _) => "it was cancelled".to_owned(),
        (Some(RunVerdict::Failed), _) => {
            let flaky = if flaky_fails { counts.flaky } else { 0 };
            let reasons = [
                (counts.failed, "test", " failed"),
                (number(tally.suite_errors.len()), "suite error", ""),
                (flaky, "test", " passed and failed, under --flaky fail"),
            ];
            let reasons = reasons.into_iter().filter(|(n, ..)| *n > 0);
            let reasons: Vec<_> = reasons.map(|(n, thing, how)| count(n, thing) + how).collect();
            reasons.join(", and ")
        }
        (Some(RunVerdict::Incomplete), Some(102)) => {
            "nothing could start, for a cause that is not the tests'".to_owned()
        }
        (Some(RunVerdict::Incomplete), _) if counts.total == 0 => "there were no tests to run".to_owned(),
        (Some(RunVerdict::Incomplete), _) => {
            format!("{} had no result", count(counts.open() + counts.not_executed, "test"))
        }
        (Some(RunVerdict::Passed), _) if counts.total == 0 => {
            "the selection goes by the last run, which left nothing for it".to_owned()
        }
        (Some(RunVerdict::Passed), _) => {
            "every test has a verdict, each is good, and there is no suite error".to_owned()
        }
    }
}

fn run_object(tally: &Tally) -> RunObject<'_> {
    let spec = tally.spec.as_deref();
    let failed = |(test, record): (TestIndex, &TestRecord)| record.is_failure().then(|| tally.names.id(test));
    let plan = tally.plan.as_ref().map(|plan| PlanObject {
        bundles: plan.bundles,
        slots: plan.slots,
        makespan_seconds: plan.makespan_ms as f64 / 1e3,
        total_seconds: plan.total_ms as f64 / 1e3,
        happened_total_seconds: seconds(tally.work.total_us),
        happened_slots: tally.work.slots.len(),
        unknown: plan.unknown,
    });
    let losses = &tally.losses;
    RunObject {
        run: tally.run.as_str(),
        project: spec.map_or("", |spec| &spec.project),
        rerun_of: spec.and_then(|spec| spec.rerun_of()).map(|of| of.to_string()),
        verdict: tally.end.map(RunVerdict::word),
        exit_code: tally.exit_code,
        because: because(tally),
        counts: tally.counts,
        failed: tally.records().filter_map(failed).collect(),
        retried: retried(tally),
        second_copies: tally.work.copies,
        suite_errors: tally.suite_errors.iter().map(|error| error.title.as_str()).collect(),
        coverage: tally.coverage(),
        discovery_failures: &tally.discovery_failures,
        discovered_on: tally.losses.discoveries.iter().map(|executor| executor.as_str()).collect(),
        stopping: tally.stopping.map(|why| why.to_string()),
        plan,
        lost: LostObject {
            executors: losses.executors.iter().map(|(executor, _)| executor.as_str()).collect(),
            attempts: losses.lost_attempts(),
            tests: losses.tests,
            taken_back: losses.taken_back,
        },
    }
}

#[derive(Serialize)]
struct TestObject<'a> {
    run: &'a str,
    test: &'a str,
    verdict: Option<&'static str>,
    cause: Option<String>,
    because: String,
    executions: Vec<ExecutionObject<'a>>,
    second_copy: Option<SecondCopyObject<'a>>,
    missing_on: Vec<&'a str>,
    losses: Vec<LossObject<'a>>,
    suspect: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<PlaceObject<'a>>,
}

/// An attempt that was lost at its cost.
#[derive(Serialize)]
struct LossObject<'a> {
    attempt: u64,
    executor: &'a str,
    cause: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct SecondCopyObject<'a> {
    attempt: u64,
    executor: &'a str,
    /// The attempt that was at the test already.
    beside: u64,
}

#[derive(Serialize)]
struct ExecutionObject<'a> {
    attempt: u64,
    executor: &'a str,
    slot: u32,
    outcome: &'static str,
    detail: &'a str,
    cause: Option<&'static str>,
    evidence: Option<&'static str>,
    seconds: f64,
    setup_seconds: f64,
    call_seconds: f64,
    teardown_seconds: f64,
    message: &'a str,
    location: &'a str,
    /// How many tests its worker had executed before it.
    before: usize,
}

/// With commands for more, which have these options, too.
pub fn explain_test(out: &mut impl Write, form: Form, story: &Story, access: &[String]) -> io::Result<()> {
    if form.json {
        return line(out, &test_object(story));
    }
    let verdict = story.verdict.map_or("open".to_owned(), |verdict| verdict.word().replace('_', " "));
    let verdict = form.paint.verdict(&verdict);
    let id = form.paint.bold(one_line(&story.id, WIDTH));
    writeln!(out, "{id}: {verdict} in run {}", story.run)?;
    writeln!(out, "    because {}", why(story))?;
    for (number, execution) in (1..).zip(&story.executions) {
        told(out, form, number, execution)?;
    }
    if let Some(copy) = &story.copy {
        second_copy(out, story, copy)?;
    }
    for (executor, reason) in &story.missing {
        writeln!(out, "not found on {executor}: {}", message(reason, WIDTH))?;
    }
    let retries = story.spec.retries;
    let results = story.executions.iter().filter(|execution| execution.evidence.is_none()).count();
    if results > 1 || retries > 0 {
        let results = count(number(results), "result");
        writeln!(out, "{results}; --retries was {retries}")?;
    }
    paid(out, story)?;
    if !story.lost.is_empty() {
        lost(out, story)?;
    }
    if story.end.is_none() {
        cordoned(out, story)?;
    }
    if let Some(execution) = story.telling() {
        let before = count(number(execution.before.len()), "test");
        writeln!(out, "\n{before} ran before it in its worker")?;
        // What cannot be written on a line cannot be pasted.
        if story.id.contains(char::is_control) {
            return Ok(());
        }
        let command = |word| {
            let words = ["seagull", word, story.run.as_str(), &story.id];
            quoted(words.into_iter().chain(access.iter().map(String::as_str)))
        };
        writeln!(out, "what it printed:  {}", command("logs"))?;
        writeln!(out, "run it so again:  {}", command("repro"))?;
    }
    Ok(())
}

fn told(out: &mut impl Write, form: Form, number: u32, execution: &Execution) -> io::Result<()> {
    let result = &execution.result;
    writeln!(out, "{number}. {}", execution.facts())?;
    for text in [&result.message, &result.location] {
        if !text.is_empty() {
            writeln!(out, "    {}", message(text, WIDTH))?;
        }
    }
    let note = match execution.evidence {
        None => return Ok(()),
        Some(Evidence::Predecessor) => "it does not count: it ran again for a test that needs it before it",
        Some(Evidence::AfterDecision) => "it does not count: the test was decided already",
    };
    writeln!(out, "    {}", form.paint.dim(note))
}

/// What came to an end is an execution: both, or the first of the two.
fn second_copy(out: &mut impl Write, story: &Story, copy: &Copied) -> io::Result<()> {
    let Copied { attempt, executor, beside } = copy;
    let ended = |of: &AttemptId| story.executions.iter().any(|execution| execution.attempt == *of);
    let came = match (ended(beside), ended(attempt)) {
        (true, true) => "; both came to an end, and count".to_owned(),
        (true, false) => format!("; only attempt {beside} came to an end"),
        (false, true) => format!("; only attempt {attempt} came to an end"),
        (false, false) => String::new(),
    };
    let why = format!("attempt {beside} took far longer than predicted");
    writeln!(out, "{why}: a second copy ran on {executor}, attempt {attempt}{came}")
}

/// What it lost, which came from its budget.
fn paid(out: &mut impl Write, story: &Story) -> io::Result<()> {
    let most = story.spec.test_budget();
    for (number, loss) in (1..).zip(&story.paid) {
        let (attempt, executor, cause) = (loss.attempt, &loss.executor, loss.cause);
        writeln!(out, "loss {number} of at most {most}: {cause}, attempt {attempt} on {executor}")?;
        if !loss.message.is_empty() {
            writeln!(out, "    {}", message(&loss.message, WIDTH))?;
        }
    }
    Ok(())
}

fn cordoned(out: &mut impl Write, story: &Story) -> io::Result<()> {
    for (executor, sickness) in &story.cordoned {
        writeln!(out, "{executor} is cordoned ({sickness} there): it gets nothing until it is tried again")?;
    }
    Ok(())
}

fn lost(out: &mut impl Write, story: &Story) -> io::Result<()> {
    let mut causes: Vec<String> =
        story.lost.iter().map(|(executor, cause)| format!("{executor} ({cause})")).collect();
    causes.dedup();
    let more = causes.len().saturating_sub(10);
    causes.truncate(10);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let causes = causes.join(", ");
    writeln!(out, "lost in this run, which fails no test: {causes}{more}")
}

/// The rule that a verdict follows from.
fn why(story: &Story) -> String {
    let results = story.executions.iter().filter(|execution| execution.evidence.is_none());
    let of = |outcome| number(results.clone().filter(|one| one.result.outcome == outcome).count());
    match story.verdict {
        None if story.broken_off => "the run has broken off before it had a result".to_owned(),
        None if story.end.is_none() => waits(story),
        None => "the run ended without deciding it".to_owned(),
        Some(Verdict::Flaky) => format!(
            "it failed {} and passed {} in this run{}",
            times(of(Outcome::Failed)),
            times(of(Outcome::Passed)),
            sick(story)
        ),
        Some(Verdict::Failed) => {
            format!("it failed {} and never passed{}", times(of(Outcome::Failed)), sick(story))
        }
        Some(Verdict::Passed) => "it passed and never failed".to_owned(),
        Some(Verdict::Skipped) => "it was only skipped".to_owned(),
        Some(Verdict::Quarantined) => "it failed, and its failures do not count".to_owned(),
        Some(Verdict::NotExecuted(why)) => match why {
            NotExecuted::Cancelled => "the run was cancelled before it had a result".to_owned(),
            NotExecuted::Orphaned => {
                "the run was cancelled before it had a result, for nobody watched it any more (--orphan)"
                    .to_owned()
            }
            NotExecuted::FailFast => "the run stopped at --fail-fast before it had a result".to_owned(),
            NotExecuted::UnstableId => match story.spec.environment.framework {
                Framework::Command(_) => "it was discovered, and then the report did not name it".to_owned(),
                _ => "it was discovered, and then not found again: its id changes from process to process"
                    .to_owned(),
            },
            NotExecuted::Infra(cause) => lost_for_good(story, cause),
        },
    }
}

/// What speaks for its executor rather than for the test.
fn sick(story: &Story) -> String {
    let results = story.executions.iter().filter(|execution| execution.evidence.is_none());
    let failed = results.filter(|execution| execution.result.outcome == Outcome::Failed);
    let sick = story.losses.sick(failed.map(|execution| &execution.executor));
    let named = |sick: BTreeSet<&ExecutorId>| {
        let names = sick.into_iter().map(ExecutorId::as_str).collect::<Vec<_>>().join(", ");
        format!("; it failed only where an executor was cordoned, for tests failed there: {names}")
    };
    sick.map(named).unwrap_or_default()
}

/// Why it has no result, where that is nobody's wish.
fn lost_for_good(story: &Story, cause: InfraCause) -> String {
    let most = story.spec.test_budget();
    if number(story.paid.len()) >= most {
        return format!(
            "it was lost {}, as often as --test-losses allows; the last cause: {cause}",
            times(most)
        );
    }
    match (&story.stopped, story.missing.is_empty()) {
        (Some(limit), _) => {
            format!("the run stopped before it had a result, for {limit}; the cause: {cause}")
        }
        (None, false) => format!("it was not found where it was to run; the cause: {cause}"),
        (None, true) => format!("it could not run any more; the cause: {cause}"),
    }
}

fn test_object(story: &Story) -> TestObject<'_> {
    let executions = story.executions.iter().map(execution_object);
    TestObject {
        run: story.run.as_str(),
        test: &story.id,
        verdict: story.verdict.map(Verdict::word),
        cause: story.verdict.and_then(cause),
        because: why(story),
        executions: executions.collect(),
        second_copy: story.copy.as_ref().map(|copy| SecondCopyObject {
            attempt: copy.attempt.0,
            executor: copy.executor.as_str(),
            beside: copy.beside.0,
        }),
        missing_on: story.missing.iter().map(|(executor, _)| executor.as_str()).collect(),
        losses: story.paid.iter().map(loss_object).collect(),
        suspect: story.suspect.is_some() && story.verdict.is_none(),
        now: story.whereabouts.as_ref().map(place_object),
    }
}

fn loss_object(loss: &Loss) -> LossObject<'_> {
    LossObject {
        attempt: loss.attempt.0,
        executor: loss.executor.as_str(),
        cause: loss.cause.word(),
        message: &loss.message,
    }
}

fn execution_object(execution: &Execution) -> ExecutionObject<'_> {
    let result = &execution.result;
    let [setup_seconds, call_seconds, teardown_seconds] = result.phases.map(seconds);
    ExecutionObject {
        attempt: execution.attempt.0,
        executor: execution.executor.as_str(),
        slot: execution.slot.0,
        outcome: result.outcome.word(),
        detail: &result.detail,
        cause: result.cause.map(|cause| cause.word()),
        evidence: execution.evidence.map(Evidence::word),
        seconds: seconds(result.micros()),
        setup_seconds,
        call_seconds,
        teardown_seconds,
        message: &result.message,
        location: &result.location,
        before: execution.before.len(),
    }
}
