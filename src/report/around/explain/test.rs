//! Why a test has its verdict.

use std::collections::BTreeSet;
use std::io::{self, Write};

use seagull_domain::{
    AttemptId, Evidence, ExecutorId, Framework, InfraCause, NotExecuted, Outcome, Used, Verdict,
};
use serde::Serialize;

use super::WIDTH;
use crate::again::quoted;
use crate::memory::kib;
use crate::report::around::attachments::{FileObject, named};
use crate::report::around::lists::cause;
use crate::report::around::story::{Behind, Copied, CutOff, Execution, Loss, Story};
use crate::report::around::waits::{PlaceObject, SilentObject, place_object, waits};
use crate::report::around::{Form, cpu_seconds, line, seconds};
use crate::report::json::{ImageObject, UsedObject};
use crate::report::left::{self, LeftObject};
use crate::report::losses::Death;
use crate::report::text::{count, message, micros, millis, number, one_line, times};

#[derive(Serialize)]
struct TestObject<'a> {
    run: &'a str,
    test: &'a str,
    verdict: Option<&'static str>,
    cause: Option<String>,
    because: String,
    executions: Vec<ExecutionObject<'a>>,
    attachments: Vec<FileObject<'a>>,
    left: Vec<LeftObject<'a>>,
    second_copy: Option<SecondCopyObject<'a>>,
    missing_on: Vec<&'a str>,
    losses: Vec<LossObject<'a>>,
    cut_off: Vec<CutOffObject<'a>>,
    lost_with: Vec<DeathObject<'a>>,
    /// What it needs before it, if that keeps it from running.
    behind: Option<&'a str>,
    suspect: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<PlaceObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent: Option<SilentObject<'a>>,
}

/// An attempt that was lost at its cost.
#[derive(Serialize)]
struct LossObject<'a> {
    attempt: u64,
    executor: &'a str,
    cause: &'static str,
    message: &'a str,
}

/// An attempt that ended while it was at the test.
#[derive(Serialize)]
struct CutOffObject<'a> {
    attempt: u64,
    executor: &'a str,
    seconds: f64,
    why: &'a str,
    message: &'a str,
}

/// An executor that was lost with the test in flight.
#[derive(Serialize)]
struct DeathObject<'a> {
    executor: &'a str,
    alone: bool,
    /// How long it may have run it alone.
    seconds: Option<f64>,
    /// How likely it is that all those that ran it alone were lost by chance.
    chance: Option<f64>,
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
    peak_memory_kib: Option<u64>,
    cpu_seconds: Option<f64>,
    message: &'a str,
    location: &'a str,
    /// How many tests its worker had executed before it.
    before: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImageObject<'a>>,
    /// What all of its attempt took; null while that goes on.
    attempt_used: Option<UsedObject>,
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
    let attempts: BTreeSet<_> = story.executions.iter().map(|execution| execution.attempt).collect();
    for (attempt, used) in story.used.iter().filter(|(attempt, _)| attempts.contains(attempt)) {
        writeln!(out, "{}", form.paint.dim(took(*attempt, *used)))?;
    }
    if let Some(copy) = &story.copy {
        second_copy(out, story, copy)?;
    }
    let paid_for = |of: &CutOff| story.paid.iter().any(|loss| loss.attempt == of.attempt);
    for cut_off in story.cut_off.iter().filter(|of| !paid_for(of)) {
        let CutOff { attempt, executor, ran_ms, why, message } = cut_off;
        writeln!(out, "cut off after {}, attempt {attempt} on {executor}: {why}", millis(*ran_ms))?;
        words(out, message)?;
    }
    for (executor, reason) in &story.missing {
        writeln!(out, "not found on {executor}: {}", message(reason, WIDTH))?;
    }
    for attached in &story.attached {
        writeln!(out, "attached in attempt {}: {}", attached.attempt, named(attached))?;
    }
    for (attempt, left) in &story.left {
        writeln!(out, "left running at the end of attempt {attempt}: {}", left::what(left))?;
    }
    let retries = story.spec.retries;
    let results = story.executions.iter().filter(|execution| execution.evidence.is_none()).count();
    if results > 1 || retries > 0 {
        let results = count(number(results), "result");
        writeln!(out, "{results}; --retries was {retries}")?;
    }
    paid(out, story)?;
    deaths(out, story)?;
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
        if !story.attached.is_empty() {
            writeln!(out, "what it left:     {}", command("attachments"))?;
        }
        writeln!(out, "run it so again:  {}", command("repro"))?;
    }
    Ok(())
}

/// What all of an attempt took.
fn took(attempt: AttemptId, Used { cpu_us, peak_kib, whole }: Used) -> String {
    let memory = Some(peak_kib).filter(|kib| *kib > 0).map(|peak| format!(" and {} of memory", kib(peak)));
    let with = if whole { ", with all that its tests started" } else { "" };
    format!("attempt {attempt} took {} of the processor{}{with}", micros(cpu_us), memory.unwrap_or_default())
}

fn told(out: &mut impl Write, form: Form, number: u32, execution: &Execution) -> io::Result<()> {
    let result = &execution.result;
    writeln!(out, "{number}. {}", execution.facts())?;
    for text in [&result.message, &result.location] {
        if !text.is_empty() {
            writeln!(out, "    {}", message(text, WIDTH))?;
        }
    }
    for used in &execution.images {
        writeln!(out, "    {}", form.paint.dim(format!("with {} {}", used.image, used.id)))?;
    }
    let note = match execution.evidence {
        None => return Ok(()),
        Some(Evidence::Predecessor) => "it does not count: it ran again for a test that needs it before it",
        Some(Evidence::FirstMemoryKill) => "it does not count: it runs again with twice the memory",
        Some(Evidence::FirstDiskKill) => "it does not count: it runs again with twice the disk",
        Some(Evidence::AfterDecision) => "it does not count: the test was decided already",
    };
    writeln!(out, "    {}", form.paint.dim(note))
}

/// What came to an end is an execution: both, or the first of the two.
fn second_copy(out: &mut impl Write, story: &Story, copy: &Copied) -> io::Result<()> {
    let Copied { attempt, executor, beside, beside_on } = copy;
    let ended = |of: &AttemptId| story.executions.iter().any(|execution| execution.attempt == *of);
    let came = match (ended(beside), ended(attempt)) {
        (true, true) => "; both came to an end, and count".to_owned(),
        (true, false) => format!("; only attempt {beside} came to an end"),
        (false, true) => format!("; only attempt {attempt} came to an end"),
        (false, false) => String::new(),
    };
    let on = beside_on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
    let why = format!("attempt {beside}{on} took far longer than predicted");
    writeln!(out, "{why}: a second copy ran on {executor}, attempt {attempt}{came}")
}

/// What it lost, which came from its budget.
fn paid(out: &mut impl Write, story: &Story) -> io::Result<()> {
    let most = story.spec.test_budget();
    for (number, loss) in (1..).zip(&story.paid) {
        let (attempt, executor, cause) = (loss.attempt, &loss.executor, loss.cause);
        let ran = story.cut_off.iter().find(|cut_off| cut_off.attempt == attempt);
        let ran = ran.map(|cut_off| format!(", after {}", millis(cut_off.ran_ms))).unwrap_or_default();
        writeln!(out, "loss {number} of at most {most}: {cause}, attempt {attempt} on {executor}{ran}")?;
        words(out, &loss.message)?;
    }
    Ok(())
}

/// What was said of an end, which may be the last lines of somebody's log.
fn words(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.try_for_each(|line| writeln!(out, "    {}", one_line(line, WIDTH)))
}

/// What speaks for the test having killed its executors.
fn deaths(out: &mut impl Write, story: &Story) -> io::Result<()> {
    let is_given_up = matches!(story.verdict, Some(Verdict::NotExecuted(NotExecuted::Infra(_))));
    let said = match is_given_up && story.stopped.is_none() {
        true => story.losses.not_poison(story.test),
        false => story.losses.lost_with(story.test),
    };
    said.map_or(Ok(()), |said| writeln!(out, "{said}"))
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
            NotExecuted::UnstableId => match story.spec.suite.framework {
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
    if let (Some(Behind { id, poison }), None) = (&story.behind, &story.stopped) {
        let why = if *poison { "is poison" } else { "was lost too often" };
        return format!("it needs {} before it, which {why}; the cause: {cause}", one_line(id, WIDTH));
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
    let executions = story.executions.iter().map(|execution| execution_object(story, execution));
    TestObject {
        run: story.run.as_str(),
        test: &story.id,
        verdict: story.verdict.map(Verdict::word),
        cause: story.verdict.and_then(cause),
        because: why(story),
        executions: executions.collect(),
        attachments: story.attached.iter().map(FileObject::of).collect(),
        left: story.left.iter().map(|(_, left)| LeftObject::of(left)).collect(),
        second_copy: story.copy.as_ref().map(|copy| SecondCopyObject {
            attempt: copy.attempt.0,
            executor: copy.executor.as_str(),
            beside: copy.beside.0,
        }),
        missing_on: story.missing.iter().map(|(executor, _)| executor.as_str()).collect(),
        losses: story.paid.iter().map(loss_object).collect(),
        cut_off: story.cut_off.iter().map(cut_off_object).collect(),
        lost_with: story.losses.deaths(story.test).iter().map(death_object).collect(),
        behind: story.behind.as_ref().map(|behind| behind.id.as_str()),
        suspect: story.suspect.is_some() && story.verdict.is_none(),
        now: story.whereabouts.as_ref().map(place_object),
        silent: story.silent.as_ref().map(SilentObject::of),
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

fn cut_off_object(cut_off: &CutOff) -> CutOffObject<'_> {
    CutOffObject {
        attempt: cut_off.attempt.0,
        executor: cut_off.executor.as_str(),
        seconds: cut_off.ran_ms as f64 / 1e3,
        why: &cut_off.why,
        message: &cut_off.message,
    }
}

fn death_object(Death { executor, alone }: &Death) -> DeathObject<'_> {
    DeathObject {
        executor: executor.as_str(),
        alone: alone.is_some(),
        seconds: alone.and_then(|alone| alone.ms).map(|ms| ms as f64 / 1e3),
        chance: alone.map(|alone| f64::from(alone.chance) / 1e3),
    }
}

fn execution_object<'a>(story: &Story, execution: &'a Execution) -> ExecutionObject<'a> {
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
        peak_memory_kib: Some(result.peak_kib).filter(|kib| *kib > 0),
        cpu_seconds: cpu_seconds(result),
        message: &result.message,
        location: &result.location,
        before: execution.before.len(),
        images: execution.images.iter().map(ImageObject::of).collect(),
        attempt_used: story.used.get(&execution.attempt).copied().map(UsedObject::of),
    }
}
