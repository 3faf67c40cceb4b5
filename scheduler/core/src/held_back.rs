//! The places that a run does without: slots where its worker of an environment does not start, a missing database of theirs
//! for instance, for that environment; all slots of executors that cannot discover its suite, and executors that are cordoned ([`crate::sick`]). They get
//! nothing of the run while another place may do better, or they would spend the budgets of tests that could run there. A
//! cordoned executor whose trial is due gets one attempt, the shortest that never ran if there is one; so does one whose
//! last attempts were all red.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{EnvironmentNumber, ExecutorId, SlotIndex};

use crate::run::Run;
use crate::sizes::Wanted;
use crate::state::{Executor, Place, State};

/// So many attempts of an environment of a run that a slot could not start, one after the other, show that it is the slot's
/// fault. Where something of that began there, only those count of which nothing had come back before.
pub(crate) const FAILED_STARTS: u32 = 2;

#[derive(Debug, Default)]
pub(crate) struct HeldBack<'a> {
    /// For an environment, or for all.
    slots: BTreeSet<(Place<'a>, Option<EnvironmentNumber>)>,
    /// Executors that get one attempt at a time, with whether that may be now.
    tried: BTreeMap<&'a ExecutorId, bool>,
}

impl<'a> HeldBack<'a> {
    /// Nothing, where nothing else would be left; for an environment, where nothing would be left for that.
    pub fn of(state: &'a State, run: &'a Run) -> HeldBack<'a> {
        let mut held_back = HeldBack::all(state, run);
        if !held_back.has_any() {
            return held_back;
        }
        let lacks = |environment: &EnvironmentNumber| {
            let wanted = run.ordinary(*environment);
            !state.executors.iter().any(|(id, executor)| held_back.leaves_any(id, executor, &wanted))
        };
        let lacking: BTreeSet<_> = run.spec.suite.numbers().filter(lacks).collect();
        if lacking.len() == run.spec.suite.numbers().count() {
            return HeldBack::default();
        }
        held_back.slots.retain(|(_, of)| of.is_none_or(|environment| !lacking.contains(&environment)));
        held_back
    }

    fn all(state: &'a State, run: &'a Run) -> HeldBack<'a> {
        let counts = run.sick.iter().flat_map(|(id, signs)| signs.failed_starts().map(move |of| (id, of)));
        let broken = counts
            .filter(|(_, (_, _, count))| *count >= FAILED_STARTS)
            .map(|(id, (slot, of, _))| ((id, slot), Some(of)));
        let doubted = run.doubted.keys().filter_map(|id| Some((id, state.executors.get(id)?.slots)));
        let doubted =
            doubted.flat_map(|(id, slots)| (0..slots).map(move |slot| ((id, SlotIndex(slot)), None)));
        let cordoned = run.sick.iter().filter(|(_, signs)| signs.cordon.is_some());
        let is_paced = run.sick.keys().any(|id| run.is_red_on(id)) && has_no_red(state, run);
        let red = run.sick.keys().filter(|id| is_paced && run.is_red_on(id));
        let tried = cordoned.map(|(id, _)| id).chain(red).map(|id| (id, state.is_to_be_tried(run, id)));
        HeldBack { slots: broken.chain(doubted).collect(), tried: tried.collect() }
    }

    pub fn has_any(&self) -> bool {
        !self.slots.is_empty() || !self.tried.is_empty()
    }

    /// Whether a place gets nothing of an environment.
    pub fn contains(&self, place: &Place, environment: EnvironmentNumber) -> bool {
        match self.tried.get(place.0) {
            Some(is_to_be_tried) => !is_to_be_tried,
            None => self.is_broken(place, environment),
        }
    }

    /// Whether it gets nothing of an environment but a trial.
    pub fn is_no_help(&self, place: &Place, environment: EnvironmentNumber) -> bool {
        self.is_tried(place.0) || self.is_broken(place, environment)
    }

    fn is_broken(&self, place: &Place, environment: EnvironmentNumber) -> bool {
        let is_for = |of| !self.slots.is_empty() && self.slots.contains(&(*place, of));
        is_for(None) || is_for(Some(environment))
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

    /// Whether the executor has, or may turn out to have, a slot that takes what is wanted.
    pub fn leaves_any(&self, id: &ExecutorId, executor: &Executor, wanted: &Wanted) -> bool {
        let is_sound = |slot| !self.is_broken(&(id, SlotIndex(slot)), wanted.environment);
        let sound = || self.slots.is_empty() || (0..executor.slots).any(is_sound);
        executor.may_take()
            && wanted.fits(executor)
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

    /// Whether there is another slot where all of an environment starts, as far as is known.
    pub(crate) fn has_untried_slot(&self, run: &Run, than: Place, environment: EnvironmentNumber) -> bool {
        let held_back = HeldBack::all(self, run);
        let wanted = run.ordinary(environment);
        let takes = |(id, executor): &(&ExecutorId, &Executor)| {
            executor.may_take() && wanted.fits(executor) && !held_back.is_tried(id)
        };
        self.executors.iter().filter(takes).any(|(id, executor)| {
            let places = (0..executor.slots).map(|slot| (id, SlotIndex(slot)));
            let runs = |place: &Place| {
                let is_at_it = executor.running.get(&place.1).is_some_and(|at| at.run == run.spec.id);
                is_at_it && run.has_worker_of(environment, place)
            };
            let starts = |place: &Place| run.failed_starts(*place, environment) == 0 || runs(place);
            places
                .filter(|place| *place != than && !held_back.contains(place, environment))
                .any(|place| starts(&place))
        })
    }

    /// Whether one of these executors is there, takes something of what the run has, and not just one attempt at a time.
    fn has_one(&self, run: &Run, of: impl Fn(&ExecutorId) -> bool) -> bool {
        let held_back = HeldBack::all(self, run);
        let environments: Vec<_> = run.spec.suite.numbers().map(|number| run.ordinary(number)).collect();
        let takes = |id, executor: &Executor| {
            let leaves = |of: &Wanted| held_back.leaves_any(id, executor, of);
            executor.boot.is_some() && environments.iter().any(leaves)
        };
        self.executors.iter().any(|(id, executor)| of(id) && !held_back.is_tried(id) && takes(id, executor))
    }
}
