//! The run as a whole: the shape of its stream, its stops, its verdict and exit code.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{NotExecuted, Recall, RunEvent, RunVerdict, Verdict};

use super::verdicts::{budget_of_run, is_loss, nothing_started};
use super::{Story, ensure};
use crate::physical::{AgentLife, WorkerLife};
use crate::scenario::Discovery;

/// See [`taken_back`].
const MOVES: usize = 2;
const UNDER_WAY: usize = 20;

pub fn check(story: &Story) -> Result<(), String> {
    shape(story)?;
    stops(story)?;
    cancellation_holds(story)?;
    suite_errors(story)?;
    taken_back(story)?;
    ends(story)
}

/// What is taken back for an idle slot runs there: for each test that ran or attempt that was lost there are no more such
/// moves than [`MOVES`], but for some under way.
fn taken_back(story: &Story) -> Result<(), String> {
    let count = |of: fn(&RunEvent) -> bool| story.events().filter(|event| of(event)).count();
    let moves = count(|event| matches!(event, RunEvent::TakenBack { why: Recall::Idle, .. }));
    let ran = count(|event| matches!(event, RunEvent::TestFinished { .. } | RunEvent::AttemptLost { .. }));
    let most = MOVES * (ran + UNDER_WAY);
    ensure(moves <= most, || {
        format!("{moves} times unstarted tests were taken back for idle slots, and {ran} ran or were lost")
    })
}

fn shape(story: &Story) -> Result<(), String> {
    let is_start = |event: &RunEvent| matches!(event, RunEvent::RunStarted(_));
    let is_end = |event: &RunEvent| matches!(event, RunEvent::RunFinished { .. });
    let last = story.told.len() - 1;
    ensure(story.first(is_start) == Some(0), || "the stream does not begin with the run".into())?;
    ensure(story.first(is_end) == Some(last), || "the stream does not end with the run's end".into())?;
    let confirmed = story.first(|event| matches!(event, RunEvent::ManifestConfirmed { .. }));
    let of_test = story.first(|event| {
        use RunEvent::{TestFinished, TestMissing, Verdict};
        matches!(event, Verdict { .. } | TestFinished { .. } | TestMissing { .. })
    });
    let known = of_test.is_none() || confirmed.is_some_and(|confirmed| Some(confirmed) < of_test);
    ensure(known, || "something of a test before the manifest".into())?;
    let manifests = story.events().filter(|event| matches!(event, RunEvent::ManifestConfirmed { .. }));
    ensure(manifests.count() <= 1, || "it has two manifests".into())?;
    let assigned = story.assigned.len();
    let all = story.events().filter(|event| matches!(event, RunEvent::AttemptAssigned { .. })).count();
    ensure(assigned == all, || "an attempt was given out twice".into())?;
    let seqs = story.told.windows(2).all(|pair| pair[0].0 <= pair[1].0);
    ensure(seqs, || "the stream goes backwards".into())
}

/// What comes back from a sick machine is paid for so often, with what its neighbours may have given back before.
const PAID: usize = 10;

/// Of a cancellation that was acknowledged the run knows by then.
fn cancellation_holds(story: &Story) -> Result<(), String> {
    let Some(heard) = story.cancel_heard else { return Ok(()) };
    let stops = |(_, at, event): &(_, u64, RunEvent)| {
        *at <= heard && matches!(event, RunEvent::Stopping { .. } | RunEvent::RunFinished { .. })
    };
    ensure(story.told.iter().any(stops), || "its cancellation was acknowledged before it was durable".into())
}

/// A run stops for its client, for failures in so many tests, or for so many losses, and then gives nothing more out.
fn stops(story: &Story) -> Result<(), String> {
    let mut failed = BTreeSet::new();
    let mut losses = 0;
    let mut stopped = None;
    let mut awaited = false;
    for (place, (_, at, event)) in story.told.iter().enumerate() {
        match event {
            RunEvent::Verdict { test, verdict: Verdict::Failed } => {
                failed.insert(*test);
            }
            event if is_loss(event) => losses += 1,
            RunEvent::Stopping { reason } => {
                let limit = story.plan.spec.fail_fast.map_or(usize::MAX, |limit| limit as usize);
                let right = match reason {
                    NotExecuted::Cancelled => story.cancel_asked,
                    NotExecuted::Orphaned => story.may_be_orphaned(*at),
                    NotExecuted::FailFast => failed.len() >= limit,
                    NotExecuted::Infra(_) => {
                        let spent = |losses| losses >= budget_of_run(story);
                        if story.has_sound(place) {
                            spent(losses - story.lost_on_sick(place))
                        } else {
                            spent(losses) || nothing_started(story)
                        }
                    }
                    _ => false,
                };
                // What waits for its client's word may have stopped before.
                ensure(right && (stopped.is_none() || awaited), || {
                    format!("stops for {reason:?} after {} failures", failed.len())
                })?;
                stopped = Some(*reason);
            }
            RunEvent::JudgementAwaited { .. } => awaited = true,
            RunEvent::AttemptAssigned { attempt, .. } => {
                ensure(stopped.is_none(), || format!("attempt {attempt} was given out after the stop"))?;
                // What was under way when its client was lost may still be seen as a sign of life.
                let late = story.orphaned_at().is_some_and(|orphaned| *at > orphaned + 25_000);
                ensure(!late || story.has_scheduler_faults, || format!("attempt {attempt} is of an orphan"))?;
                let limit = story.plan.spec.fail_fast.unwrap_or(u32::MAX) as usize;
                ensure(failed.len() < limit, || format!("goes on after {} failures", failed.len()))?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Story<'_> {
    /// Whether there is an executor that the run had, on a machine that is never sick, and of which nothing was lost.
    fn has_sound(&self, place: usize) -> bool {
        let mut given: BTreeMap<_, bool> = BTreeMap::new();
        for (_, _, event) in &self.told[..place] {
            let (executor, sound) = match event {
                RunEvent::AttemptAssigned { executor, .. } => (executor, true),
                RunEvent::AttemptLost { executor, .. }
                | RunEvent::ExecutorLost { executor, .. }
                | RunEvent::ExecutorDrained { executor, .. } => (executor, false),
                _ => continue,
            };
            *given.entry(executor.as_str()).or_insert(true) &= sound;
        }
        let goes = |life: &&AgentLife| life.sick || life.died.is_some() || life.leaves.is_some();
        let gone = self.physical.agents.iter().filter(goes).map(|life| life.executor.as_str());
        // What it had of other runs is told of those alone.
        let lost = self.executors_lost.iter().filter(|(at, _)| *at <= self.told[place].1);
        let gone: BTreeSet<_> = gone.chain(lost.map(|(_, executor)| *executor)).collect();
        given.into_iter().any(|(executor, sound)| sound && !gone.contains(executor))
    }

    /// How many attempts came back from sick machines that are not to be paid for: beyond so many for each.
    fn lost_on_sick(&self, place: usize) -> usize {
        let mut lost: BTreeMap<_, usize> = BTreeMap::new();
        for (_, _, event) in &self.told[..place] {
            if let RunEvent::AttemptLost { executor, .. } = event
                && is_loss(event)
            {
                *lost.entry(executor.as_str()).or_default() += 1;
            }
        }
        let sick = self.physical.agents.iter().filter(|life| life.sick);
        let sick: BTreeSet<_> = sick.map(|life| life.executor.as_str()).collect();
        lost.into_iter().filter(|(of, _)| sick.contains(of)).map(|(_, lost)| lost.saturating_sub(PAID)).sum()
    }

    /// When the run has been without a watcher for its time.
    fn orphaned_at(&self) -> Option<u64> {
        Some(self.unwatched_since? + self.plan.spec.orphan_ms?)
    }

    /// Whether nobody could watch it for its time before `at`.
    fn may_be_orphaned(&self, at: u64) -> bool {
        let patience = self.plan.spec.orphan_ms;
        patience.is_some_and(|ms| self.unwatched.iter().any(|since| at >= since + ms))
    }
}

/// Each is told once, and none is made up. What was lost with its executor, or withdrawn, need not be told.
fn suite_errors(story: &Story) -> Result<(), String> {
    let lost: BTreeSet<_> = story
        .events()
        .filter_map(|event| match event {
            RunEvent::ExecutorLost { executor, .. } => Some(executor.as_str()),
            _ => None,
        })
        .collect();
    let workers = || story.physical.workers.iter().filter(|worker| worker.run == story.run);
    let sound = |worker: &&WorkerLife| {
        let agent = &story.physical.agents[worker.agent];
        agent.died.is_none()
            && !lost.contains(agent.executor.as_str())
            && !story.lost.contains_key(&worker.attempt)
            && !served_withdrawn(story, worker)
    };
    let least: u32 = workers().filter(sound).map(|worker| worker.suite_errors).sum();
    let controllers = story.physical.controllers.iter().filter(|c| c.run == story.run && c.broke);
    let most: u32 = workers().map(|worker| worker.suite_errors).sum::<u32>() + controllers.count() as u32;
    // Those of no executor are its client's.
    let told = |event: &&RunEvent| matches!(event, RunEvent::SuiteError { executor: Some(_), .. });
    let told = story.events().filter(told).count() as u32;
    ensure((least..=most).contains(&told), || {
        let of = |w: &WorkerLife| format!("agent {} slot {} until {:?}", w.agent, w.slot, w.end);
        let of: Vec<_> = workers().filter(|worker| worker.suite_errors > 0).map(of).collect();
        format!("{told} suite errors are told of, {least} to {most} happened: {of:?}")
    })
}

/// Whether errors of a worker may be of an attempt that was withdrawn.
fn served_withdrawn(story: &Story, worker: &WorkerLife) -> bool {
    let executor = &story.physical.agents[worker.agent].executor;
    let had_it = |(_, at, event): &(_, u64, RunEvent)| match event {
        RunEvent::AttemptAssigned { attempt, executor: of, slot, .. } => {
            let until = story.withdrawn.get(attempt);
            let there =
                until.is_some_and(|until| worker.start <= *until) && worker.end.is_none_or(|end| *at <= end);
            there && of.as_str() == executor && *slot == worker.number
        }
        _ => false,
    };
    story.withdrawn.contains_key(&worker.attempt) || story.told.iter().any(had_it)
}

fn ends(story: &Story) -> Result<(), String> {
    let count = |wanted: fn(&RunEvent) -> bool| story.events().filter(|event| wanted(event)).count() as u32;
    let passed = count(|e| matches!(e, RunEvent::Verdict { verdict: Verdict::Passed, .. }));
    let failed = count(|e| matches!(e, RunEvent::Verdict { verdict: Verdict::Failed, .. }));
    let skipped = count(|e| matches!(e, RunEvent::Verdict { verdict: Verdict::Skipped, .. }));
    let flaky = count(|e| matches!(e, RunEvent::Verdict { verdict: Verdict::Flaky, .. }));
    let not_executed = count(|e| matches!(e, RunEvent::Verdict { verdict: Verdict::NotExecuted(_), .. }));
    let suite_errors = count(|e| matches!(e, RunEvent::SuiteError { .. }));
    let cancelled = |e: &RunEvent| match e {
        RunEvent::Stopping { reason } => matches!(reason, NotExecuted::Cancelled | NotExecuted::Orphaned),
        _ => false,
    };
    let cancelled = story.first(cancelled).is_some();
    let total = passed + failed + skipped + flaky + not_executed;
    let bad = failed > 0 || suite_errors > 0 || (flaky > 0 && story.plan.spec.flaky_fails);
    let (verdict, exit_code) = if cancelled {
        (RunVerdict::Cancelled, 130)
    } else if bad {
        (RunVerdict::Failed, 100)
    } else if total == 0 && !has_begun(story) {
        (RunVerdict::Incomplete, 102)
    } else if total == 0 || not_executed > 0 {
        (RunVerdict::Incomplete, 101)
    } else {
        (RunVerdict::Passed, 0)
    };
    let Some(RunEvent::RunFinished { verdict: told, counts, exit_code: code }) = story.events().last() else {
        return Err("it has no end".into());
    };
    ensure((*told, *code) == (verdict, exit_code), || {
        format!("{told:?} {code} instead of {verdict:?} {exit_code}")
    })?;
    let counted =
        (counts.total, counts.passed, counts.failed, counts.skipped, counts.flaky, counts.not_executed);
    let expected = (total, passed, failed, skipped, flaky, not_executed);
    ensure(counted == expected, || format!("counts {counted:?} instead of {expected:?}"))
}

/// Whether the framework ever said something that was told.
fn has_begun(story: &Story) -> bool {
    let told = |event: &RunEvent| match event {
        RunEvent::ManifestConfirmed { .. } => true,
        RunEvent::DiscoveryFailed { message } => !message.starts_with("no discovery succeeded"),
        _ => false,
    };
    story.plan.discovery != Discovery::Succeeds && story.events().any(told) || story.first(told).is_some()
}
