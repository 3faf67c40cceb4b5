//! The places that a run does without: slots where its worker does not start, a missing database of theirs for instance,
//! all slots of executors that cannot discover its suite, and executors that are cordoned ([`crate::sick`]). They get
//! nothing of the run while another place may do better, or they would spend the budgets of tests that could run there. A
//! cordoned executor whose trial is due gets one attempt, the shortest that never ran if there is one; so does one whose
//! last attempts were all red.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{ExecutorId, SlotIndex};

use crate::run::Run;
use crate::state::{Executor, Place, State};

/// So many attempts of a run that a slot could not start, one after the other, show that it is the slot's fault. Where
/// something began there, only those count of which nothing had come back before.
pub(crate) const FAILED_STARTS: u32 = 2;

#[derive(Debug, Default)]
pub(crate) struct HeldBack<'a> {
    slots: BTreeSet<Place<'a>>,
    /// Executors that get one attempt at a time, with whether that may be now.
    tried: BTreeMap<&'a ExecutorId, bool>,
}

impl<'a> HeldBack<'a> {
    /// Nothing, where nothing else would be left.
    pub fn of(state: &'a State, run: &'a Run) -> HeldBack<'a> {
        let held_back = HeldBack::all(state, run);
        let is_empty = held_back.slots.is_empty() && held_back.tried.is_empty();
        let others = || state.executors.iter().any(|(id, executor)| held_back.leaves_any(id, executor));
        if is_empty || others() { held_back } else { HeldBack::default() }
    }

    fn all(state: &'a State, run: &'a Run) -> HeldBack<'a> {
        let counts =
            run.sick.iter().flat_map(|(id, signs)| signs.failed_starts.iter().map(move |of| (id, of)));
        let broken =
            counts.filter(|(_, (_, count))| **count >= FAILED_STARTS).map(|(id, (slot, _))| (id, *slot));
        let doubted = run.doubted.keys().filter_map(|id| Some((id, state.executors.get(id)?.slots)));
        let doubted = doubted.flat_map(|(id, slots)| (0..slots).map(move |slot| (id, SlotIndex(slot))));
        let cordoned = run.sick.iter().filter(|(_, signs)| signs.cordon.is_some());
        let is_paced = run.sick.keys().any(|id| run.is_red_on(id)) && has_no_red(state, run);
        let red = run.sick.keys().filter(|id| is_paced && run.is_red_on(id));
        let tried = cordoned.map(|(id, _)| id).chain(red).map(|id| (id, state.is_to_be_tried(run, id)));
        HeldBack { slots: broken.chain(doubted).collect(), tried: tried.collect() }
    }

    pub fn contains(&self, place: &Place) -> bool {
        match self.tried.get(place.0) {
            Some(is_to_be_tried) => !is_to_be_tried,
            None => self.slots.contains(place),
        }
    }

    /// Whether it gets nothing of the run but a trial.
    pub fn is_no_help(&self, place: &Place) -> bool {
        self.is_tried(place.0) || self.slots.contains(place)
    }

    pub fn is_tried(&self, executor: &ExecutorId) -> bool {
        self.tried.contains_key(executor)
    }

    pub fn has_trials(&self) -> bool {
        self.tried.values().any(|is_to_be_tried| *is_to_be_tried)
    }

    /// Whether the place is one of an executor that gets an attempt now, and no more.
    pub fn is_on_trial(&self, place: &Place) -> bool {
        self.tried.get(place.0).is_some_and(|is_to_be_tried| *is_to_be_tried)
    }

    /// The executor is given something.
    pub fn given(&mut self, executor: &ExecutorId) {
        if let Some(is_to_be_tried) = self.tried.get_mut(executor) {
            *is_to_be_tried = false;
        }
    }

    /// Whether the executor has, or may turn out to have, a slot that takes something of the run.
    pub fn leaves_any(&self, id: &ExecutorId, executor: &Executor) -> bool {
        let is_sound = |slot| !self.slots.contains(&(id, SlotIndex(slot)));
        let sound = || self.slots.is_empty() || (0..executor.slots).any(is_sound);
        executor.may_take()
            && match self.tried.get(id) {
                Some(is_to_be_tried) => *is_to_be_tried,
                None => executor.boot.is_none() || sound(),
            }
    }
}

/// Whether there is an executor that takes attempts and of which the last were not all red.
fn has_no_red(state: &State, run: &Run) -> bool {
    let is_sound = |id| !run.is_red_on(id) && !run.is_cordoned(id) && run.in_vain_on(id) == 0;
    state
        .executors
        .iter()
        .any(|(id, executor)| executor.boot.is_some() && executor.may_take() && is_sound(id))
}

impl State {
    /// Whether there is an executor beside the given one that takes what the run has.
    pub(crate) fn has_other(&self, run: &Run, than: &ExecutorId) -> bool {
        self.has_one(run, |id| id != than)
    }

    /// Whether there is one beside the given ones from which nothing came back.
    pub(crate) fn has_untried(&self, run: &Run, beside: &BTreeSet<ExecutorId>) -> bool {
        self.has_one(run, |id| run.in_vain_on(id) == 0 && !beside.contains(id))
    }

    /// Whether there is another slot where all starts, as far as is known.
    pub(crate) fn has_untried_slot(&self, run: &Run, than: Place) -> bool {
        let held_back = HeldBack::all(self, run);
        self.executors.iter().filter(|(id, executor)| executor.may_take() && !held_back.is_tried(id)).any(
            |(id, executor)| {
                let places = (0..executor.slots).map(|slot| (id, SlotIndex(slot)));
                let runs =
                    |place: &Place| executor.running.get(&place.1).is_some_and(|at| at.run == run.spec.id);
                let starts = |place: &Place| run.failed_starts(*place) == 0 || runs(place);
                places
                    .filter(|place| *place != than && !held_back.contains(place))
                    .any(|place| starts(&place))
            },
        )
    }

    /// Whether one of these executors is there, takes what the run has, and not just one attempt at a time.
    fn has_one(&self, run: &Run, of: impl Fn(&ExecutorId) -> bool) -> bool {
        let held_back = HeldBack::all(self, run);
        let takes = |id, executor: &Executor| executor.boot.is_some() && held_back.leaves_any(id, executor);
        self.executors.iter().any(|(id, executor)| of(id) && !held_back.is_tried(id) && takes(id, executor))
    }
}
