//! The places that a run does without: slots where its worker does not start, a missing database of theirs for instance,
//! all slots of executors that cannot discover its suite, and executors that are cordoned ([`crate::sick`]). They get
//! nothing of the run while another place may do better, or they would spend the budgets of tests that could run there. A
//! cordoned executor whose trial is due gets one attempt; so does one whose last attempts were all red.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{ExecutorId, SlotIndex};

use crate::run::Run;
use crate::state::{Executor, Place, State};

/// So many attempts of a run that a slot could not start, one after the other, show that it is the slot's fault.
pub(crate) const FAILED_STARTS: u32 = 2;

#[derive(Debug, Default)]
pub(crate) struct HeldBack<'a> {
    slots: BTreeSet<Place<'a>>,
    /// Executors that get one attempt at a time, with whether that may be now.
    cordoned: BTreeMap<&'a ExecutorId, bool>,
}

impl<'a> HeldBack<'a> {
    /// Nothing, where nothing else would be left.
    pub fn of(state: &'a State, run: &'a Run) -> HeldBack<'a> {
        let held_back = HeldBack::all(state, run);
        let is_empty = held_back.slots.is_empty() && held_back.cordoned.is_empty();
        let others = || state.executors.iter().any(|(id, executor)| held_back.leaves_any(id, executor));
        if is_empty || others() { held_back } else { HeldBack::default() }
    }

    pub(crate) fn all(state: &'a State, run: &'a Run) -> HeldBack<'a> {
        let counts =
            run.sick.iter().flat_map(|(id, signs)| signs.failed_starts.iter().map(move |of| (id, of)));
        let broken =
            counts.filter(|(_, (_, count))| **count >= FAILED_STARTS).map(|(id, (slot, _))| (id, *slot));
        let doubted = run.doubted.keys().filter_map(|id| Some((id, state.executors.get(id)?.slots)));
        let doubted = doubted.flat_map(|(id, slots)| (0..slots).map(move |slot| (id, SlotIndex(slot))));
        let cordoned = run.sick.iter().filter(|(_, signs)| signs.cordon.is_some());
        let red = run.sick.keys().filter(|id| run.is_red_on(id) && has_no_red(state, run));
        let tried = cordoned.map(|(id, _)| id).chain(red).map(|id| (id, state.is_to_be_tried(run, id)));
        HeldBack { slots: broken.chain(doubted).collect(), cordoned: tried.collect() }
    }

    pub fn contains(&self, place: &Place) -> bool {
        match self.cordoned.get(place.0) {
            Some(is_to_be_tried) => !is_to_be_tried,
            None => self.slots.contains(place),
        }
    }

    /// Whether nothing is to be taken from others for it.
    pub fn is_no_help(&self, place: &Place) -> bool {
        self.is_cordoned(place.0) || self.slots.contains(place)
    }

    pub fn is_cordoned(&self, executor: &ExecutorId) -> bool {
        self.cordoned.contains_key(executor)
    }

    /// The executor is given something.
    pub fn given(&mut self, executor: &ExecutorId) {
        if let Some(is_to_be_tried) = self.cordoned.get_mut(executor) {
            *is_to_be_tried = false;
        }
    }

    /// Whether the executor has, or may turn out to have, a slot that takes something of the run.
    pub fn leaves_any(&self, id: &ExecutorId, executor: &Executor) -> bool {
        let is_sound = |slot| !self.slots.contains(&(id, SlotIndex(slot)));
        let sound = || self.slots.is_empty() || (0..executor.slots).any(is_sound);
        executor.may_take()
            && match self.cordoned.get(id) {
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
    /// Whether an executor that is there, beside the given one, takes what the run has, and is not cordoned.
    pub(crate) fn has_other(&self, run: &Run, than: &ExecutorId) -> bool {
        let held_back = HeldBack::all(self, run);
        let is_there = |id: &ExecutorId, executor: &Executor| id != than && executor.boot.is_some();
        let takes = |id, executor| !held_back.is_cordoned(id) && held_back.leaves_any(id, executor);
        self.executors.iter().any(|(id, executor)| is_there(id, executor) && takes(id, executor))
    }
}
