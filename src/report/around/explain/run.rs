//! Why a run has its verdict.

use std::io::{self, Write};

use seagull_domain::{Counts, Discovering, NotExecuted, RunVerdict, Standing, TestIndex};
use serde::Serialize;

use super::WIDTH;
use crate::duration;
use crate::report::around::waits::{SilentObject, are, unheard};
use crate::report::around::{Form, line, seconds};
use crate::report::measured::partial;
use crate::report::record::TestRecord;
use crate::report::summary;
use crate::report::tally::{Covered, Tally};
use crate::report::text::{clean, count, message, millis, number, one_line};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<StandingObject<'a>>,
    plan: Option<PlanObject>,
    lost: LostObject<'a>,
}

/// What it waits for: how many tests without a verdict are where.
#[derive(Serialize)]
struct StandingObject<'a> {
    running: u32,
    next: u32,
    queued: u32,
    suspects: u32,
    behind_suspects: u32,
    barred: u32,
    disk_is_full: bool,
    discovering_on: Option<&'a str>,
    silent: Vec<SilentObject<'a>>,
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
    if tally.end.is_none() {
        under_way(out, tally)?;
    }
    retries(out, tally)?;
    coverage(out, tally)?;
    if tally.losses.taken_back > 0 {
        let tests = count(tally.losses.taken_back, "unstarted test");
        let moved = if tally.losses.taken_back == 1 {
            "was moved to another slot"
        } else {
            "were moved to other slots"
        };
        writeln!(out, "    {tests} {moved}")?;
    }
    for (executor, cause, why) in &tally.losses.drained {
        writeln!(
            out,
            "    {executor} took nothing more from some time on: {cause} ({})",
            one_line(why, WIDTH)
        )?;
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

/// What it is at, who is not heard of, and who gets nothing of it for now.
fn under_way(out: &mut impl Write, tally: &Tally) -> io::Result<()> {
    let standing = tally.standing.as_ref();
    if standing.is_some_and(|of| of.disk_is_full) {
        writeln!(
            out,
            "    its scheduler stands still, for its disk is full: nothing is lost, and it goes on when there is room"
        )?;
    }
    if let Some(Discovering { executor, millis: since }) = standing.and_then(|of| of.discovering.as_ref()) {
        let since = since.map_or(", and is not heard to yet".to_owned(), |ms| format!(" for {}", millis(ms)));
        writeln!(out, "    {executor} discovers its tests{since}")?;
    } else if let Some(slot) = tally.discovering.and_then(|(_, slot)| tally.slots.get(&slot)) {
        writeln!(out, "    {} discovers its tests", slot.executor)?;
    }
    if tally.counts.total > 0 {
        let (decided, tests) = (tally.counts.decided(), count(tally.counts.total, "test"));
        let places = standing.map(places).unwrap_or_default();
        writeln!(out, "    {decided} of {tests} have their verdicts{places}")?;
    }
    for silent in standing.iter().flat_map(|of| &of.silent) {
        writeln!(out, "    {}", unheard(silent))?;
    }
    let cordoned = tally.losses.cordoned.iter().filter(|(_, (_, is_cordoned))| *is_cordoned);
    for (executor, (sickness, _)) in cordoned {
        let why = tally.losses.said_of(executor).map(|said| format!(": {}", message(said, WIDTH)));
        let why = why.unwrap_or_default();
        writeln!(out, "    {executor} gets nothing until it is tried again, for {sickness} there{why}")?;
    }
    Ok(())
}

/// `; 3 run, 5 are next on their slots, 12 wait for a slot (2 as suspects)`
fn places(standing: &Standing) -> String {
    let waits = [
        (standing.suspects, "as suspects"),
        (standing.followers, "behind suspects"),
        (standing.barred, "for an executor that is cordoned or does not start them"),
    ];
    let waits = waits.iter().filter(|(tests, _)| *tests > 0).map(|(tests, how)| format!("{tests} {how}"));
    let waits = waits.collect::<Vec<_>>().join(", ");
    let waits = if waits.is_empty() { waits } else { format!(" ({waits})") };
    let places = [
        (standing.running, "running", ""),
        (standing.next, "next on their slots", ""),
        (standing.queued, "waiting for a slot", waits.as_str()),
    ];
    let places = places.iter().filter(|(tests, ..)| *tests > 0);
    let places = places.map(|(tests, where_to, how)| format!("{tests} {where_to}{how}"));
    let places = places.collect::<Vec<_>>().join(", ");
    if places.is_empty() { places } else { format!("; {places}") }
}

fn retries(out: &mut impl Write, tally: &Tally) -> io::Result<()> {
    let most = tally.spec.as_ref().map_or(0, |spec| spec.retries);
    match retried(tally) {
        _ if tally.tests.is_empty() => Ok(()),
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
        (None, _) if tally.counts.total > 0 && tally.counts.open() == 0 => {
            "it has not ended: every test has its verdict, and sessions of it are still torn down".to_owned()
        }
        (None, _) => match tally.slots_there {
            Some(0) if tally.losses.discoveries.is_empty() => {
                "it has not begun: no executor is there".to_owned()
            }
            Some(0) if tally.standing.as_ref().is_some_and(|of| of.running + of.next > 0) => {
                "it has not ended; the executors that have its tests are not heard of".to_owned()
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
        (Some(RunVerdict::Incomplete), _) if !tally.discovery_failures.is_empty() => {
            "its tests could not be discovered".to_owned()
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

fn standing_object(standing: &Standing) -> StandingObject<'_> {
    StandingObject {
        running: standing.running,
        next: standing.next,
        queued: standing.queued,
        suspects: standing.suspects,
        behind_suspects: standing.followers,
        barred: standing.barred,
        disk_is_full: standing.disk_is_full,
        discovering_on: standing.discovering.as_ref().map(|at| at.executor.as_str()),
        silent: standing.silent.iter().map(SilentObject::of).collect(),
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
        now: tally.standing.as_ref().map(standing_object),
        plan,
        lost: LostObject {
            executors: losses.executors.iter().map(|(executor, _)| executor.as_str()).collect(),
            attempts: losses.lost_attempts(),
            tests: losses.tests,
            taken_back: losses.taken_back,
        },
    }
}
