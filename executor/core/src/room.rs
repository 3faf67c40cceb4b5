//! Room: workers share what their executor has. One that finds too little waits until others have ended, and those with
//! nothing to do end for it.

use std::collections::BTreeMap;

use seagull_domain::{Resources, RunId, SlotIndex, Surroundings};

use crate::slot::Worker;
use crate::state::State;

/// What workers take together: each by itself, and what those of a run and an environment share once.
pub(crate) fn together<'a>(all: impl Iterator<Item = (&'a RunId, Surroundings)>) -> Vec<Resources> {
    let mut shared = BTreeMap::new();
    let mut taken = Vec::new();
    for (run, of) in all {
        shared.insert((run, of.environment), of.shared);
        taken.push(of.needs);
    }
    taken.into_iter().chain(shared.into_values()).filter(|needs| *needs != Resources::default()).collect()
}

pub(crate) fn takes_something(of: Surroundings) -> bool {
    of.needs.and(of.shared) != Resources::default()
}

impl State {
    /// Whether a worker of a run may start in a slot. Where no other needs anything it may, whatever it needs: it would wait
    /// for nothing.
    pub(crate) fn has_room(&self, slot: SlotIndex, run: &RunId, of: Surroundings) -> bool {
        let others = || self.living().filter(|(at, _)| *at != slot).map(|(_, worker)| taken_by(worker));
        let is_free = !takes_something(of) || !others().any(|(_, of)| takes_something(of));
        is_free || self.capacity.hold_all(together(others().chain([(run, of)])).into_iter())
    }

    /// Workers that hold what a slot's needs, and have nothing to do, end.
    pub(crate) fn make_room(&mut self, slot: SlotIndex) {
        let ends = |(of, worker): &(SlotIndex, &Worker)| {
            *of != slot && takes_something(worker.surroundings) && self.has_nothing_to_do(*of, worker)
        };
        let idle: Vec<SlotIndex> = self.living().filter(ends).map(|(of, _)| of).collect();
        idle.into_iter().for_each(|slot| self.finish(slot));
    }

    /// Whether there is room beside all workers for what the slots up to this one are going to start next.
    pub(crate) fn has_room_ahead(&self, slot: SlotIndex, run: &RunId, of: Surroundings) -> bool {
        let before: Vec<_> = (0..slot.0).filter_map(|slot| self.wants_next(SlotIndex(slot))).collect();
        let before = before.iter().map(|(run, of)| (run, *of));
        let all = self.living().map(|(_, worker)| taken_by(worker)).chain(before).chain([(run, of)]);
        !takes_something(of) || self.capacity.hold_all(together(all).into_iter())
    }

    pub(crate) fn living(&self) -> impl Iterator<Item = (SlotIndex, &Worker)> {
        (0..).map(SlotIndex).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.worker.as_ref()?)))
    }
}

fn taken_by(worker: &Worker) -> (&RunId, Surroundings) {
    (&worker.run, worker.surroundings)
}
