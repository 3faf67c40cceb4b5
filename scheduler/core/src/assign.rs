//! Matching: which slot gets which work. One pure function over all runs and executors.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{BootId, BundleId, ExecutorId, RunId, SlotIndex, SlotNumber};

use crate::State;
use crate::fact::What;
use crate::run::{Bundle, Phase, Run};
use crate::step::Step;

/// A slot gets its *next* attempt when its current one has no more than this left.
const NEXT_WHEN_LEFT_US: u64 = 1_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub run: RunId,
    /// None for a discovery.
    pub bundle: Option<BundleId>,
    pub executor: ExecutorId,
    pub slot: SlotIndex,
}

/// A slot with room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Free {
    /// Whether it would be the slot's *next*; idle slots come first.
    is_next: bool,
    executor: ExecutorId,
    slot: SlotIndex,
}

/// The best match there is, if any: idle slots before those that would hold it as next; runs by priority, then by the
/// share of slots they have; in a run the discovery, then the longest bundle.
pub(crate) fn best_match(state: &State) -> Option<Match> {
    let free = free_slots(state);
    if free.is_empty() {
        return None;
    }
    let mut runs: Vec<_> = state.runs.iter().filter(|(_, run)| has_work(run)).collect();
    runs.sort_by_cached_key(|(id, run)| (-run.spec.priority, run.live_attempts().count(), *id));
    runs.into_iter().find_map(|(id, run)| match_run(state, id, run, &free))
}

fn has_work(run: &Run) -> bool {
    let discovers = run.phase == Phase::Discovering && run.live_attempts().next().is_none();
    discovers || (run.dispatches() && !run.pending.is_empty())
}

fn match_run(state: &State, id: &RunId, run: &Run, free: &[Free]) -> Option<Match> {
    let matched = |bundle, free: &Free| Match {
        run: id.clone(),
        bundle,
        executor: free.executor.clone(),
        slot: free.slot,
    };
    if run.phase == Phase::Discovering {
        return free.iter().find(|free| !free.is_next).map(|free| matched(None, free));
    }
    let mut bundles: Vec<_> =
        run.pending.iter().filter(|(_, bundle)| !run.has_busy_relation(bundle)).collect();
    bundles.sort_by_key(|(id, bundle)| (std::cmp::Reverse(bundle.predicted_us), **id));
    bundles.into_iter().find_map(|(bundle_id, bundle)| {
        let slot = best_slot(state, run, id, bundle, free)?;
        Some(matched(Some(*bundle_id), slot))
    })
}

/// Where the run has a worker already, if there is such a slot; never where the bundle should not go, unless there is
/// nowhere else.
fn best_slot<'a>(
    state: &State,
    run: &Run,
    id: &RunId,
    bundle: &Bundle,
    free: &'a [Free],
) -> Option<&'a Free> {
    let elsewhere = state.executors.iter().any(|(id, e)| e.may_take() && !bundle.avoid.contains(id));
    let allowed = |free: &&Free| !elsewhere || !bundle.avoid.contains(&free.executor);
    let is_warm = |free: &Free| run.workers.get(&free.executor).is_some_and(|w| w.contains_key(&free.slot));
    let holds_other = |free: &Free| state.queue(&free.executor, free.slot).iter().any(|(_, of)| *of != id);
    free.iter()
        .filter(allowed)
        .filter(|free| !free.is_next || !holds_other(free))
        .min_by_key(|free| (free.is_next, !is_warm(free), (*free).clone()))
}

fn free_slots(state: &State) -> Vec<Free> {
    let mut free = Vec::new();
    for (id, executor) in state.executors.iter().filter(|(_, e)| !e.draining) {
        for slot in (0..executor.slots).map(SlotIndex) {
            let queue = state.queue(id, slot);
            let room = match queue.as_slice() {
                [] => true,
                [(attempt, run)] => {
                    let attempt = &state.runs[*run].attempts[attempt];
                    attempt.bundle.is_some()
                        && (attempt.left.len() <= 1 || attempt.left_us <= NEXT_WHEN_LEFT_US)
                }
                _ => false,
            };
            if room {
                free.push(Free { is_next: !queue.is_empty(), executor: id.clone(), slot });
            }
        }
    }
    free.sort();
    free
}

impl Step<'_> {
    /// Gives out work until no slot or no work is left, then takes work back for slots that are still idle.
    pub fn dispatch(&mut self) {
        while let Some(matched) = best_match(self.state) {
            self.assign(matched);
        }
        self.take_back();
    }

    fn assign(&mut self, Match { run, bundle, executor, slot }: Match) {
        let state = &self.state.runs[&run];
        let number = slot_number(state, &executor, slot);
        let tests = bundle.map_or(0, |bundle| state.pending[&bundle].entries.len() as u32);
        let boot = self.state.executors[&executor].boot.clone();
        let boot: BootId = boot.expect("an executor with slots has reported its boot");
        let attempt = self.state.next_attempt;
        let slots = self.state.slots().max(number.0 + 1);
        self.dirty.insert(executor.clone());
        self.record(&run, What::Assigned { attempt, bundle, executor, boot, slot, number, slots, tests });
    }
}

/// The number a slot has in the run, or the lowest that no live worker of the run has.
fn slot_number(run: &Run, executor: &ExecutorId, slot: SlotIndex) -> SlotNumber {
    if let Some(worker) = run.workers.get(executor).and_then(|workers| workers.get(&slot)) {
        return worker.number;
    }
    let used: BTreeSet<_> = run.workers.values().flat_map(BTreeMap::values).map(|w| w.number).collect();
    let free = (0..).map(SlotNumber).find(|number| !used.contains(number));
    free.expect("there are more numbers than workers")
}
