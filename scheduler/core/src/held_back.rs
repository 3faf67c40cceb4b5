//! Slots where a run's worker does not start, a missing database of theirs for instance, and all slots of executors that
//! cannot discover the run's suite: they get nothing more of the run while another slot may do better, or they would
//! spend the budgets of tests that could run there.

use std::collections::BTreeSet;

use seagull_domain::{AttemptId, ExecutorId, SlotIndex};

use crate::run::Run;
use crate::state::{Executor, Place, State};

/// So many attempts of a run that a slot could not start, one after the other, show that it is the slot's fault.
const FAILED_STARTS: u32 = 2;

/// The slots that a run does without.
#[derive(Debug)]
pub(crate) struct HeldBack<'a>(BTreeSet<Place<'a>>);

impl<'a> HeldBack<'a> {
    pub fn of(state: &'a State, run: &'a Run) -> HeldBack<'a> {
        let of_executors = run.failed_starts.iter();
        let counts =
            of_executors.flat_map(|(id, slots)| slots.iter().map(move |(slot, count)| (id, *slot, *count)));
        let broken = counts.filter(|(.., count)| *count >= FAILED_STARTS).map(|(id, slot, _)| (id, slot));
        let doubted = run.doubted.keys().filter_map(|id| Some((id, state.executors.get(id)?.slots)));
        let doubted = doubted.flat_map(|(id, slots)| (0..slots).map(move |slot| (id, SlotIndex(slot))));
        let broken = HeldBack(broken.chain(doubted).collect());
        let others = || state.executors.iter().any(|(id, executor)| broken.leaves_any(id, executor));
        if broken.0.is_empty() || others() { broken } else { HeldBack(BTreeSet::new()) }
    }

    pub fn contains(&self, place: &Place) -> bool {
        self.0.contains(place)
    }

    /// Whether the executor has, or may turn out to have, a slot that takes something of the run.
    pub fn leaves_any(&self, id: &ExecutorId, executor: &Executor) -> bool {
        let mut slots = (0..executor.slots).map(SlotIndex);
        executor.may_take()
            && (self.0.is_empty() || executor.boot.is_none() || slots.any(|slot| !self.contains(&(id, slot))))
    }
}

impl Run {
    /// The attempt came back because its sandbox or its worker did not start.
    pub(crate) fn start_failed(&mut self, attempt: AttemptId) {
        let attempt = &self.attempts[&attempt];
        let slots = self.failed_starts.entry(attempt.executor.clone()).or_default();
        *slots.entry(attempt.slot).or_default() += 1;
    }

    /// The attempt's slot executed something.
    pub(crate) fn start_succeeded(&mut self, attempt: AttemptId) {
        let attempt = &self.attempts[&attempt];
        if let Some(slots) = self.failed_starts.get_mut(&attempt.executor) {
            slots.remove(&attempt.slot);
            if slots.is_empty() {
                self.failed_starts.remove(&attempt.executor);
            }
        }
    }
}
