//! Exactly one verdict for each test, and the right one.

use std::collections::BTreeSet;

use seagull_domain::{
    AttemptId, Evidence, ExecutorId, InfraCause, NotExecuted, Outcome, Role, RunEvent, TestCause, TestIndex,
    Verdict,
};

use super::{Story, Told, ensure};
use crate::physical::{Ended, Execution};
use crate::scenario::{Discovery, Does};

/// How many losses a test is forgiven, if its run does not say.
const BUDGET: usize = 3;
/// So many attempts in a row with nothing done end the run.
const NOTHING_STARTED: usize = 10;

pub fn check(story: &Story) -> Result<(), String> {
    let confirmed = story.events().any(|event| matches!(event, RunEvent::ManifestConfirmed { .. }));
    if !confirmed {
        was_not_discovered(story)?;
    }
    let tests = if confirmed { story.plan.tests.len() as u32 } else { 0 };
    let mut verdicts = vec![None; tests as usize];
    for (place, event) in story.events().enumerate() {
        let RunEvent::Verdict { test, verdict } = event else { continue };
        let before =
            verdicts.get_mut(test.0 as usize).ok_or(format!("a verdict for test {test} of {tests}"))?;
        ensure(before.is_none(), || format!("test {test} has two verdicts"))?;
        *before = Some((place, *verdict));
    }
    let told: Vec<_> = story.finished().collect();
    for told in &told {
        is_true(story, told, &verdicts)?;
    }
    for (test, verdict) in (0..).map(TestIndex).zip(&verdicts) {
        let (place, verdict) = verdict.ok_or(format!("test {test} has no verdict"))?;
        let of_test: Vec<_> = told.iter().filter(|told| told.result.test == test).collect();
        follows(story, test, place, verdict, &of_test)
            .map_err(|error| format!("test {test}, {verdict:?}: {error}"))?;
        ensure(!runs_at(story, test, story.told[place].1), || {
            format!("test {test}, {verdict:?}: decided while it still runs")
        })?;
        fits_script(story, test, verdict)?;
    }
    Ok(())
}

/// A run whose tests never became known was stopped, or could not be discovered or planned, or lost so many discoveries.
fn was_not_discovered(story: &Story) -> Result<(), String> {
    let place = story.first(|event| matches!(event, RunEvent::DiscoveryFailed { .. }));
    let Some(place) = place else {
        return ensure(stopped_before(story, story.told.len()).is_some(), || {
            "it ends without a manifest, and nobody says why".into()
        });
    };
    let discoveries = story.events().filter_map(|event| match event {
        RunEvent::AttemptAssigned { attempt, discovery: true, .. } => Some(*attempt),
        _ => None,
    });
    let discoveries: BTreeSet<_> = discoveries.collect();
    let lost = story.told[..place].iter().filter(|(_, _, event)| match event {
        RunEvent::AttemptLost { attempt, cause, .. } => discoveries.contains(attempt) && is_charged(*cause),
        _ => false,
    });
    let lost = lost.count();
    let fails = story.plan.discovery != Discovery::Succeeds || story.plan.plan_fails;
    ensure(fails || lost >= budget(story).min(budget_of_run(story)), || {
        format!("its discovery is given up after {lost} losses")
    })
}

/// Whether a test was being executed for its result at a time, on an executor that was not given up.
fn runs_at(story: &Story, test: TestIndex, time: u64) -> bool {
    let is_under_way =
        |execution: &Execution| execution.start < time && execution.end.is_none_or(|end| end > time);
    let counts = |execution: &Execution| execution.role == Role::Run && !story.was_lost_by(execution, time);
    story.of_test(test).any(|execution| is_under_way(execution) && counts(execution))
}

/// What is told of an execution happened, once, and is evidence only for a reason.
fn is_true(story: &Story, told: &Told, verdicts: &[Option<(usize, Verdict)>]) -> Result<(), String> {
    let test = told.result.test;
    if told.result.cause == Some(TestCause::Poison) {
        return killed_its_machines(story, test);
    }
    let mut real = story.of_test(test).filter(|execution| {
        let agent = &story.physical.agents[execution.agent];
        let worker = &story.physical.workers[execution.worker];
        execution.attempt == told.attempt
            && agent.executor == told.executor
            && worker.number.0 == told.slot
            && execution.ended == Ended::With(told.result.outcome)
    });
    let what = || format!("attempt {} of test {test}: {:?}", told.attempt, told.result.outcome);
    let execution = real.next().ok_or_else(|| format!("told but never happened: {}", what()))?;
    ensure(real.next().is_none(), || format!("happened twice: {}", what()))?;
    // What it is condemned by is told of its last attempt, beside what that came to late.
    let is_again = |other: &Told| {
        (other.attempt, other.result.test) == (told.attempt, test)
            && other.result.cause != Some(TestCause::Poison)
    };
    let again = story.finished().filter(is_again).count();
    ensure(again == 1, || format!("told twice: {}", what()))?;
    let decided = verdicts[test.0 as usize].is_some_and(|(place, _)| place < told.place);
    let expected = match execution.role {
        Role::Predecessor => Some(Evidence::Predecessor),
        Role::Run if decided => Some(Evidence::AfterDecision),
        Role::Run if had_more_to_have(story, execution, told) => Some(Evidence::FirstMemoryKill),
        Role::Run => None,
    };
    let is_first = told.evidence == Some(Evidence::FirstMemoryKill);
    if is_first || expected == Some(Evidence::FirstMemoryKill) {
        return first_memory_kill(story, execution, told);
    }
    ensure(told.evidence == expected, || format!("{:?} where it is {expected:?}: {}", told.evidence, what()))
}

/// Whether it was over its memory, and might have had more.
fn had_more_to_have(story: &Story, execution: &Execution, told: &Told) -> bool {
    let was_larger = story.physical.workers[execution.worker].larger;
    told.result.cause == Some(TestCause::OverMemory) && !was_larger
}

/// It is no result where there is a larger slot, which is not known here of executors that are not there, or of which the
/// run thinks badly.
fn first_memory_kill(story: &Story, execution: &Execution, told: &Told) -> Result<(), String> {
    let what = |error: &str| Err(format!("test {}: {error}, of {:?}", told.result.test, told.evidence));
    if !had_more_to_have(story, execution, told) {
        return what("no first kill for want of memory");
    }
    match told.evidence {
        Some(_) if story.larger.is_empty() => what("there is no larger slot"),
        None if story.is_undisturbed() && story.larger.contains(&told.executor) => {
            what("there is a larger slot")
        }
        _ => Ok(()),
    }
}

/// A test is blamed only for machines that were lost with it, of which at least two had nothing else. What an attempt had
/// that was lost before its agent knew is not known here.
fn killed_its_machines(story: &Story, test: TestIndex) -> Result<(), String> {
    let alone = story.lost.keys().filter(|attempt| may_have_had_only(story, attempt, test)).count();
    let lost = story.of_test(test).filter(|e| story.lost.contains_key(&e.attempt)).count();
    ensure(alone >= 2 && lost >= 1, || {
        format!("test {test} is blamed for {lost} losses, given alone to {alone}")
    })
}

fn may_have_had_only(story: &Story, attempt: &AttemptId, test: TestIndex) -> bool {
    story.physical.given.get(attempt).is_none_or(|given| given[..] == [test])
}

/// A verdict is what the results before it come to, and none was owed.
fn follows(
    story: &Story,
    test: TestIndex,
    place: usize,
    verdict: Verdict,
    told: &[&Told],
) -> Result<(), String> {
    let results: Vec<_> =
        told.iter().filter(|told| told.evidence.is_none()).map(|told| told.result.outcome).collect();
    let (passed, failed) = (results.contains(&Outcome::Passed), results.contains(&Outcome::Failed));
    let expected = match verdict {
        Verdict::Flaky => passed && failed,
        Verdict::Failed => failed && !passed,
        Verdict::Passed => passed && !failed,
        Verdict::Skipped => !passed && !failed && !results.is_empty(),
        Verdict::NotExecuted(cause) => {
            ensure(results.is_empty(), || "it has results".into())?;
            return explained(story, test, place, cause);
        }
        Verdict::Quarantined => false,
    };
    ensure(expected, || format!("its results are {results:?}"))?;
    let stopped = stopped_before(story, place);
    let executions = 1 + story.plan.spec.retries as usize;
    let losses = losses(story, test);
    let condemned = told.iter().any(|told| told.result.cause == Some(TestCause::Poison));
    let owed = verdict == Verdict::Failed
        && results.len() < executions
        && stopped.is_none()
        && losses < budget(story)
        && !condemned;
    let missing =
        story.events().any(|event| matches!(event, RunEvent::TestMissing { test: t, .. } if *t == test));
    ensure(!owed || missing, || {
        format!("a retry was owed after {} of {executions} executions", results.len())
    })?;
    let unasked = results.len() > executions + story.copies_of(test) && story.lost.is_empty();
    ensure(!unasked, || format!("{} results of {executions} executions", results.len()))
}

fn stopped_before(story: &Story, place: usize) -> Option<NotExecuted> {
    story.told[..place].iter().find_map(|(_, _, event)| match event {
        RunEvent::Stopping { reason } => Some(*reason),
        _ => None,
    })
}

/// How many losses a test of the run is forgiven.
fn budget(story: &Story) -> usize {
    story.plan.spec.test_losses.map_or(BUDGET, |losses| losses as usize)
}

/// What is paid from the run's budget: each executor, and each attempt that came back.
pub fn is_loss(event: &RunEvent) -> bool {
    match event {
        RunEvent::AttemptLost { cause, free: false, .. } => {
            !matches!(cause, InfraCause::Drained | InfraCause::SpotNotice | InfraCause::ExecutorLost)
        }
        RunEvent::ExecutorLost { cause, .. } => cause.is_charged(),
        _ => false,
    }
}

/// Whether so many attempts in a row came back, with no test begun, that it was no use to go on.
pub fn nothing_started(story: &Story) -> bool {
    let rows = story.events().scan(0, |row, event| {
        match event {
            RunEvent::TestFinished { .. } => *row = 0,
            event if is_loss(event) && matches!(event, RunEvent::AttemptLost { .. }) => *row += 1,
            _ => {}
        }
        Some(*row)
    });
    rows.max().unwrap_or(0) >= NOTHING_STARTED
}

/// How many losses end the run.
pub fn budget_of_run(story: &Story) -> usize {
    let by_tests = (story.plan.tests.len() / 20).max(100);
    story.plan.spec.run_losses.map_or(by_tests, |losses| losses as usize)
}

/// What may have been paid from the test's budget.
fn losses(story: &Story, test: TestIndex) -> usize {
    let paid = |event: &&RunEvent| match event {
        event if is_broken_off(event) => false, // Counted below, by what happened.
        RunEvent::AttemptLost { attempt, cause, .. } => may_have_paid(story, *attempt, *cause, test),
        _ => false,
    };
    story.events().filter(paid).count() + unreachable_tests(story, test) + broken_off(story, test)
}

/// Whether a test may have paid for a lost attempt: it was in it, and what came back with nothing done had nothing else
/// that it could be cut from.
fn may_have_paid(story: &Story, attempt: AttemptId, cause: InfraCause, test: TestIndex) -> bool {
    let Some(given) = story.physical.given.get(&attempt) else { return is_charged(cause) };
    let told = |of: &&TestIndex| {
        let mut finished = story.finished();
        !finished.any(|told| (told.attempt, told.result.test) == (attempt, **of))
    };
    let left: Vec<_> = given.iter().filter(told).collect();
    let ordered = story.plan.relations.iter().find(|r| r.ordered && r.tests.contains(&test));
    // What was taken back is not told by name: it may have been all but the test.
    let retaken = story
        .events()
        .any(|event| matches!(event, RunEvent::TakenBack { attempt: of, tests: 1.., .. } if *of == attempt));
    let is_one =
        retaken || left.iter().all(|of| **of == test || ordered.is_some_and(|r| r.tests.contains(of)));
    is_charged(cause) && given.contains(&test) && (is_one || cause == InfraCause::ExecutorLost)
}

pub fn is_charged(cause: InfraCause) -> bool {
    !matches!(cause, InfraCause::Drained | InfraCause::SpotNotice)
}

/// Attempts that came to nothing for a cause that is paid for from the budget.
fn charged_losses(story: &Story) -> usize {
    let charged = |event: &&RunEvent| match event {
        RunEvent::AttemptLost { cause, .. } => is_charged(*cause),
        _ => false,
    };
    story.events().filter(charged).count()
}

/// Why a test has no result.
fn explained(story: &Story, test: TestIndex, place: usize, cause: NotExecuted) -> Result<(), String> {
    let missing_on = missing_on(story, test, place);
    let holds = match cause {
        NotExecuted::Cancelled | NotExecuted::Orphaned | NotExecuted::FailFast => {
            stopped_before(story, place) == Some(cause)
        }
        NotExecuted::UnstableId => !missing_on.is_empty(),
        NotExecuted::Infra(InfraCause::EnvironmentDiffers) => {
            missing_on.len() > 1
                && story.discovered_on().is_some_and(|executor| !missing_on.contains(executor))
        }
        NotExecuted::Infra(_) if stopped_before(story, place) == Some(cause) => {
            story.events().filter(|event| is_loss(event)).count() >= budget_of_run(story)
                || nothing_started(story)
        }
        NotExecuted::Infra(_) => losses(story, test) >= budget(story) || follows_what_never_runs(story, test),
    };
    ensure(holds, || format!("nothing explains it; missing on {missing_on:?}"))
}

/// The executors that could not collect a test, as told up to a place. What lost attempts say late does not count.
pub fn missing_on<'a>(story: &'a Story, test: TestIndex, place: usize) -> BTreeSet<&'a ExecutorId> {
    let (mut lost, mut missing_on) = (BTreeSet::new(), BTreeSet::new());
    for (_, _, event) in &story.told[..place] {
        match event {
            RunEvent::AttemptLost { attempt, .. } => {
                lost.insert(attempt);
            }
            RunEvent::TestMissing { test: of, executor, attempt, .. } if *of == test => {
                missing_on.extend((!lost.contains(attempt)).then_some(executor));
            }
            _ => {}
        }
    }
    missing_on
}

/// In an *ordered* relation nothing can run behind a test that is given up, or kills machines.
fn follows_what_never_runs(story: &Story, test: TestIndex) -> bool {
    let ordered = story.plan.relations.iter().filter(|r| r.ordered && r.tests.contains(&test));
    let before: Vec<_> = ordered.flat_map(|r| r.tests.iter().take_while(|of| **of != test)).collect();
    story.events().any(|event| match event {
        RunEvent::Verdict { test, verdict: Verdict::NotExecuted(NotExecuted::Infra(_)) } => {
            before.contains(&test)
        }
        RunEvent::TestFinished { result, .. } => {
            result.cause == Some(TestCause::Poison) && before.contains(&&result.test)
        }
        _ => false,
    })
}

/// In an *ordered* relation a test behind one that ends its worker can never run.
fn unreachable_tests(story: &Story, test: TestIndex) -> usize {
    let ordered = story.plan.relations.iter().filter(|relation| relation.ordered);
    let before =
        ordered.flat_map(|relation| relation.tests.iter().take_while(|_| relation.tests.contains(&test)));
    let ends_worker = |of: &TestIndex| {
        let does = story.plan.tests[of.0 as usize].does;
        matches!(
            does,
            Does::CrashesWorker
                | Does::KillsExecutor
                | Does::CrashesCollection
                | Does::Hangs
                | Does::ExitsSession
                | Does::TakesMemory { .. }
        )
    };
    if before.take_while(|of| **of < test).any(ends_worker) { budget(story) } else { 0 }
}

/// Whether it tells that the rest of an *ordered* relation pays, because its worker ended: it is all that is charged where
/// the run pays nothing.
pub fn is_broken_off(event: &RunEvent) -> bool {
    matches!(event, RunEvent::AttemptLost { free: true, charged, .. } if !charged.is_empty())
}

/// Attempts whose worker ran some of an *ordered* relation and ended before it came to the test: each is paid for.
fn broken_off(story: &Story, test: TestIndex) -> usize {
    let mut ordered = story.plan.relations.iter().filter(|relation| relation.ordered);
    let Some(relation) = ordered.find(|relation| relation.tests.contains(&test)) else { return 0 };
    let before = story.executions.iter().filter(|e| e.test < test && relation.tests.contains(&e.test));
    let mut attempts: BTreeSet<_> = before.map(|execution| execution.attempt).collect();
    for execution in story.of_test(test) {
        attempts.remove(&execution.attempt);
    }
    attempts.len()
}

/// A script allows only some verdicts, whatever happens around it.
fn fits_script(story: &Story, test: TestIndex, verdict: Verdict) -> Result<(), String> {
    let does = story.plan.tests[test.0 as usize].does;
    // By the rule this happens to one innocent suspect in a hundred at most; see `poison`.
    let condemned = |told: Told| told.result.test == test && told.result.cause == Some(TestCause::Poison);
    if verdict == Verdict::Failed && story.finished().any(condemned) {
        return Ok(());
    }
    let fits = match (does, verdict) {
        (Does::IsNowhere, verdict) => matches!(verdict, Verdict::NotExecuted(_)),
        (_, Verdict::NotExecuted(_)) => true,
        (Does::Always(Outcome::Passed), verdict) => verdict == Verdict::Passed,
        (Does::Always(Outcome::Failed), verdict) => verdict == Verdict::Failed,
        (Does::Always(Outcome::Skipped), verdict) => verdict == Verdict::Skipped,
        (Does::IsMissingOn(_) | Does::NeedsWholeCollection, verdict) => verdict == Verdict::Passed,
        (
            Does::CrashesWorker
            | Does::KillsExecutor
            | Does::CrashesCollection
            | Does::Hangs
            | Does::ExitsSession,
            verdict,
        ) => verdict == Verdict::Failed,
        (Does::TakesMemory { always: true }, verdict) => verdict == Verdict::Failed,
        (Does::FailsFirst(_) | Does::TakesMemory { always: false }, verdict) => {
            matches!(verdict, Verdict::Passed | Verdict::Failed | Verdict::Flaky)
        }
    };
    let plain = |e: &Execution| matches!(e.ended, Ended::With(_)) && e.role == Role::Run && story.is_sound(e);
    let provisional = story.withdrawn_executions.iter().any(|execution| execution.test == test);
    let quiet = story.of_test(test).all(plain) && charged_losses(story) == 0 && !provisional;
    let quiet = quiet && story.copies_of(test) == 0;
    let retries = story.plan.spec.retries;
    let surely = match does {
        Does::FailsFirst(_) if matches!(verdict, Verdict::NotExecuted(_)) => true,
        Does::FailsFirst(times) if quiet && stopped_before(story, story.told.len()).is_none() => {
            verdict == if times <= retries { Verdict::Flaky } else { Verdict::Failed }
        }
        _ => true,
    };
    let unlucky = story.physical.unlucky.contains(&(story.run, test));
    ensure((fits && surely) || unlucky, || {
        format!("test {test} {does:?} with {retries} retries is {verdict:?}")
    })
}
