//! Taking unstarted tests back from busy slots for idle ones, so that a run does not end on one slot.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{AttemptId, ExecutorId, Instant, RunId, SlotIndex, TestIndex};

use crate::State;
use crate::fact::What;
use crate::run::{Attempt, Run};
use crate::step::Step;

/// What moving tests costs: another worker collects their file and sets up their fixtures.
const COST_US: u64 = 500_000;
/// Less than this left on a slot is not worth a move.
const WORTH_US: u64 = 1_000_000;

/// Unstarted tests to ask back of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TakeBack {
    pub run: RunId,
    pub attempt: AttemptId,
    pub tests: Vec<TestIndex>,
}

/// The next thing to take back, if an idle slot has no other hope: of the slot with most left to do, a tail worth half
/// of what would be saved.
pub(crate) fn best_take_back(state: &State, now: Instant) -> Option<TakeBack> {
    if idle_slots(state) <= outstanding(state) {
        return None;
    }
    let mut victims: Vec<(u64, AttemptId, &RunId)> = Vec::new();
    for (executor, placed) in &state.placed {
        let mut left: BTreeMap<_, u64> = BTreeMap::new();
        let known = state.executors.get(executor).is_some_and(|e| e.slots > 0);
        for (attempt, run) in placed.iter().filter(|_| known) {
            let slot = state.runs[run].attempts[attempt].slot;
            let total = left.entry(slot).or_insert_with(|| overdue_us(state, executor, slot, now));
            *total += state.runs[run].attempts[attempt].left_us;
            victims.push((*total, *attempt, run));
        }
    }
    victims.sort_by(|a, b| b.cmp(a));
    victims.into_iter().take_while(|(left, ..)| *left > WORTH_US).find_map(|(left, attempt, run)| {
        let state = state.runs.get(run).filter(|run| run.dispatches())?;
        let tests = tail(state, &state.attempts[&attempt], state.is_current(attempt), (left - COST_US) / 2);
        (!tests.is_empty()).then(|| TakeBack { run: run.clone(), attempt, tests })
    })
}

/// How much longer than predicted a slot is at its test already. It may well take as long again: what waits behind a
/// test that hangs is not to wait for its end.
fn overdue_us(state: &State, executor: &ExecutorId, slot: SlotIndex, now: Instant) -> u64 {
    let running = state.executors.get(executor).and_then(|executor| executor.running.get(&slot));
    let Some((running, run)) = running.and_then(|at| Some((at, state.runs.get(&at.run)?))) else { return 0 };
    let predicted_us = run.tests.get(running.test.0 as usize).map_or(0, |test| test.predicted_us);
    let taken_us = u64::try_from((now - running.since).as_micros()).unwrap_or(u64::MAX);
    taken_us.saturating_sub(predicted_us)
}

fn idle_slots(state: &State) -> usize {
    let idle = |(id, executor): (_, &crate::Executor)| {
        let busy: BTreeSet<_> = state
            .placed
            .get(id)
            .into_iter()
            .flatten()
            .map(|(attempt, run)| state.runs[run].attempts[attempt].slot)
            .collect();
        usize::from(executor.slots).saturating_sub(busy.len())
    };
    state.executors.iter().filter(|(_, e)| !e.draining).map(idle).sum()
}

/// Moves under way: asked for and not answered, or answered and waiting for a slot.
fn outstanding(state: &State) -> usize {
    let attempts = state.placed.values().flatten().map(|(attempt, run)| &state.runs[run].attempts[attempt]);
    attempts.filter(|attempt| !attempt.asked.is_empty()).count()
}

/// Unstarted tests from the end of an attempt, worth about `worth_us`, relations whole. The first of what is left may
/// have started, and a slot that has started nothing keeps its first test, or two slots could take one test from each
/// other for ever.
fn tail(run: &Run, attempt: &Attempt, is_current: bool, worth_us: u64) -> Vec<TestIndex> {
    if !attempt.asked.is_empty() || attempt.bundle.is_none() {
        return Vec::new();
    }
    let kept = usize::from(is_current);
    let first = attempt.left.values().take(kept).map(|(test, _)| test);
    let stays: BTreeSet<_> = first.chain(&attempt.stays).map(|test| run.test(*test).relation).collect();
    let mut taken = Vec::new();
    let mut relations = BTreeSet::new();
    let mut worth = 0;
    let may_go = attempt.left.values().skip(kept).filter(|(test, _)| !attempt.stays.contains(test));
    for (test, _) in may_go.rev() {
        let known = run.test(*test);
        let whole = known.relation == 0 || relations.contains(&known.relation);
        if !whole
            && (worth >= worth_us
                || stays.contains(&known.relation)
                || has_started(run, attempt, known.relation))
        {
            continue;
        }
        if whole && known.relation == 0 && worth + known.predicted_us / 2 > worth_us {
            continue;
        }
        if known.relation != 0 {
            relations.insert(known.relation);
        }
        worth += known.predicted_us;
        taken.push(*test);
    }
    taken.reverse();
    taken
}

/// Whether some of a relation's tests have been reported on by the attempt.
fn has_started(run: &Run, attempt: &Attempt, relation: u32) -> bool {
    let of_relation = &run.relations[relation as usize - 1].tests;
    of_relation.iter().any(|test| !attempt.place.contains_key(test))
}

impl Step<'_> {
    pub fn take_back(&mut self) {
        while let Some(TakeBack { run, attempt, tests }) = best_take_back(self.state, self.now) {
            let state = &self.state.runs[&run].attempts[&attempt];
            let (generation, executor) = (state.generation.next(), state.executor.clone());
            self.dirty.insert(executor);
            self.record(&run, What::TakeBack { attempt, generation, tests });
        }
    }
}
