//! Second copies: where a run has nothing else to give out, an idle slot runs a test that another executor has been at
//! for far longer than predicted. The first result supersedes the other copy, which is cancelled. The test is decided
//! when no attempt holds it any more, so the results of two copies that both end count both.
//!
//! How far is far: durations scatter around their predictions by a factor of 1.3 to 1.8 (one standard deviation), so a
//! test that has taken three times as long is a matter of its machine, or hangs. What is short is not worth a copy: a
//! worker has to start for it. Where all tests of a run take longer than predicted, predictions are of that pace.
//!
//! Never on the same executor: what slows a test down there would slow its copy down as well, and two of one test on one
//! machine, in one tree, may get in each other's way.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use seagull_domain::{
    AttemptId, ExecutorId, Instant, Role, RunId, SecondCopy, SlotIndex, TestIndex, TestResult,
};
use serde::{Deserialize, Serialize};

use crate::State;
use crate::assign::{Match, unused_numbers};
use crate::held_back::HeldBack;
use crate::run::{Attempt, Phase, Run, Status};
use crate::sizes::Promised;
use crate::state::{Place, Running};
use crate::step::Step;
use crate::take_back::{idle_slots, outstanding};

/// A test is late after so many times its prediction,
const FAR: u64 = 3;
/// and not before it has run for so long.
const LEAST: Duration = Duration::from_secs(10);
/// Until an executor is looked at once more, unless it reports.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// So many tests of a run get a copy, or one in so many, if that is more: what is late by the dozen is mispredicted.
const MOST: usize = 10;
const SHARE: usize = 100;

/// What the tests of a run take, and what they were predicted to take, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pace {
    pub predicted_us: u64,
    pub taken_us: u64,
}

impl Pace {
    pub(crate) fn add(&mut self, predicted_us: u64, taken_us: u64) {
        self.predicted_us = self.predicted_us.saturating_add(predicted_us);
        self.taken_us = self.taken_us.saturating_add(taken_us);
    }

    /// What a prediction comes to at this pace, if that is more.
    pub(crate) fn slowed(self, predicted_us: u64) -> u64 {
        let product = u128::from(predicted_us) * u128::from(self.taken_us);
        let slowed = product / u128::from(self.predicted_us.max(1));
        u64::try_from(slowed).unwrap_or(u64::MAX).max(predicted_us)
    }
}

impl Run {
    /// Whether a slot may get a second copy of something: there is nothing else for it.
    fn may_copy(&self) -> bool {
        let most = MOST.max(self.tests.len() / SHARE);
        let ends = self.phase == Phase::Running && self.pending.is_empty();
        ends && self.spec.second_copy && (self.copies as usize) < most
    }

    /// Whether a test that the attempt is at may run a second time meanwhile: once, as long as nothing is known of it.
    fn may_be_copied(&self, test: TestIndex, attempt: &Attempt) -> bool {
        let known = self.test(test);
        let is_first = known.copied.is_none() && known.held == 1 && !known.seen.any();
        let is_free = known.relation == 0 && !known.suspect && !attempt.alone;
        let counts = attempt.left[&attempt.place[&test]].1 == Role::Run;
        is_first && is_free && counts && !known.unknown
    }

    /// The attempt runs a second copy from here on.
    pub(crate) fn copy(&mut self, copy: SecondCopy, attempt: AttemptId) {
        self.copies += 1;
        self.next_bundle = self.next_bundle.next();
        self.test_mut(copy.test).copied = Some([copy.beside, attempt]);
    }

    /// A test has a result: another copy of it need not end.
    pub(crate) fn supersede(&mut self, result: &TestResult) {
        let copies = self.test(result.test).copied.filter(|_| result.last);
        for id in copies.into_iter().flatten() {
            let attempt = self.attempt_mut(id);
            attempt.superseded |= attempt.status == Status::Live && attempt.place.contains_key(&result.test);
        }
    }
}

/// A test that a slot has been at for far longer than predicted.
struct Late<'a> {
    id: &'a RunId,
    run: &'a Run,
    copy: SecondCopy,
    executor: &'a ExecutorId,
    taken: Duration,
}

/// What is late on these executors, what has run for the longest first.
fn late_on<'a>(state: &'a State, now: Instant, executors: &[ExecutorId]) -> Vec<Late<'a>> {
    let known = executors.iter().filter_map(|id| state.executors.get_key_value(id));
    let running = known.flat_map(|(id, executor)| executor.running.iter().map(move |at| (id, at)));
    let mut late: Vec<_> = running.filter_map(|(id, at)| late(state, now, id, at)).collect();
    late.sort_by_key(|late| (Reverse(late.taken), late.copy.beside));
    late
}

/// The second copy that an idle slot is to get, if one is to: the first that has a place.
fn best_copy(state: &State, late: &[Late]) -> Option<Match> {
    if late.is_empty() {
        return None;
    }
    let idle: Vec<_> = idle_slots(state).collect();
    let matched = late.iter().find_map(|late| {
        let (executor, slot) = place(state, late, &idle)?;
        let (run, copy) = (late.id.clone(), Some(late.copy));
        Some(Match { run, bundle: None, copy, executor: executor.clone(), slot })
    });
    // What is being taken back may be for these slots.
    matched.filter(|_| idle.len() > outstanding(state))
}

impl State {
    /// When a test may be late: no run is ahead of its predictions.
    pub(crate) fn late_from(&self, running: &Running) -> Instant {
        let run = self.runs.get(&running.run);
        let test = run.and_then(|run| run.tests.get(running.test.0 as usize));
        let far_us = test.map_or(0, |test| test.predicted_us.saturating_mul(FAR));
        running.since + LEAST.max(Duration::from_micros(far_us))
    }
}

fn late<'a>(
    state: &'a State,
    now: Instant,
    executor: &'a ExecutorId,
    (slot, running): (&SlotIndex, &Running),
) -> Option<Late<'a>> {
    let (id, run) = state.runs.get_key_value(&running.run).filter(|(_, run)| run.may_copy())?;
    let taken = now - running.since;
    if taken < LEAST {
        return None;
    }
    let test = running.test;
    let queue = state.queue(executor, *slot).into_iter().filter(|(_, of)| *of == id);
    let mut attempts = queue.map(|(beside, _)| (beside, &run.attempts[&beside]));
    let (beside, attempt) = attempts.find(|(_, attempt)| attempt.place.contains_key(&test))?;
    let far_us = run.pace.slowed(run.test(test).predicted_us).saturating_mul(FAR);
    let is_late = taken.as_micros() > u128::from(far_us) && run.may_be_copied(test, attempt);
    is_late.then_some(Late { id, run, copy: SecondCopy { test, beside }, executor, taken })
}

/// An idle slot of another executor, where the run has a worker already, if there is such a one.
fn place<'a>(state: &State, late: &Late, idle: &[Place<'a>]) -> Option<Place<'a>> {
    let held_back = HeldBack::of(state, late.run);
    let test = late.run.test(late.copy.test);
    let wanted = state.wanted(late.run, std::iter::once(late.copy.test));
    let may_go = |(id, slot): &Place| {
        let is_elsewhere = *id != late.executor && !test.missing_on.contains(*id);
        is_elsewhere
            && !held_back.is_no_help(&(*id, *slot), test.environment)
            && state.has_room(&(*id, *slot), late.id, &wanted, &Promised::new())
    };
    let free = idle.iter().copied().filter(may_go);
    free.max_by_key(|place| (late.run.worker(place.0, place.1).is_some(), Reverse(*place)))
}

impl Step<'_> {
    /// One at a time: the next step looks again. Where nothing is late, or nobody has room for it, that waits a while: a
    /// fleet that stands still as a whole must not be looked through in each step.
    pub fn copy_late_test(&mut self, slots: u32) {
        if !self.state.runs.values().any(Run::may_copy) {
            return;
        }
        let executors = self.state.with_late(self.now);
        let late = late_on(self.state, self.now, &executors);
        let matched = best_copy(self.state, &late);
        let waits = if matched.is_some() {
            late.into_iter().map(|late| late.executor).collect()
        } else {
            BTreeSet::new()
        };
        let again: Vec<_> = executors.iter().filter(|id| !waits.contains(id)).cloned().collect();
        again.iter().for_each(|id| self.state.look_for_late_at(id, Some(self.now + LOOK_AGAIN)));
        let Some(matched) = matched else { return };
        let run = &self.state.runs[&matched.run];
        let worker = run.worker(&matched.executor, matched.slot).map(|worker| worker.number);
        let number =
            worker.or_else(|| unused_numbers(run).next()).expect("there are more numbers than workers");
        self.assign(matched, number, slots);
    }

    /// The executors of a test's copies are to hear that it has a result.
    pub(crate) fn tell_copies(&mut self, run: &RunId, test: TestIndex) {
        let state = &self.state.runs[run];
        let attempts = state.test(test).copied.into_iter().flatten().map(|id| &state.attempts[&id]);
        self.dirty.extend(attempts.map(|attempt| attempt.executor.clone()));
    }
}
