//! What steps ask of all executors at once, kept up to date as each of them changes: nothing that happens to one takes
//! time for all. Volatile, as executors are.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{ExecutorId, Instant, RunId};

use crate::State;
use crate::state::Executor;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    /// When to look at each executor: no later than it says by itself, but it may be sooner.
    due: BTreeSet<(Instant, ExecutorId)>,
    /// When to look at the tests that each executor runs for one that is late.
    late: BTreeSet<(Instant, ExecutorId)>,
    /// Executors that have a slot with room.
    pub(crate) with_room: BTreeSet<ExecutorId>,
    /// Of the executors that are not draining.
    pub(crate) slots: u32,
    /// How many live attempts each run has.
    pub(crate) shares: BTreeMap<RunId, usize>,
}

impl Executor {
    /// Its part in [`Fleet::slots`].
    pub(crate) fn slots_that_count(&self) -> u32 {
        if self.draining { 0 } else { u32::from(self.slots) }
    }

    /// When its lease or its held call ends, or a bundle is past twice its cap.
    fn ends(&self) -> Instant {
        let held = self.held.map(|held| held.until);
        held.into_iter().chain(self.past_cap).fold(self.lease_until, Instant::min)
    }
}

impl Fleet {
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn placed(&mut self, run: &RunId) {
        match self.shares.get_mut(run) {
            Some(share) => *share += 1,
            None => drop(self.shares.insert(run.clone(), 1)),
        }
    }

    pub(crate) fn unplaced(&mut self, run: &RunId) {
        if let Some(share) = self.shares.get_mut(run) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(run);
            }
        }
    }

    fn set_room(&mut self, id: &ExecutorId, has_room: bool) {
        if !has_room {
            self.with_room.remove(id);
        } else if !self.with_room.contains(id) {
            self.with_room.insert(id.clone());
        }
    }
}

impl State {
    /// The executor's lease or held call may end sooner than was known.
    pub(crate) fn expect(&mut self, id: &ExecutorId) {
        let Some(executor) = self.executors.get_mut(id) else { return };
        let ends = executor.ends();
        if executor.due.is_none_or(|due| due > ends) {
            if let Some(due) = executor.due.replace(ends) {
                self.fleet.due.remove(&(due, id.clone()));
            }
            self.fleet.due.insert((ends, id.clone()));
        }
    }

    /// Executors that are to be looked at by now. Whoever takes one says when it is to be looked at next.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<ExecutorId> {
        let mut taken = Vec::new();
        while let Some((at, id)) = self.fleet.due.pop_first() {
            if at > now {
                self.fleet.due.insert((at, id));
                break;
            }
            if let Some(executor) = self.executors.get_mut(&id) {
                executor.due = None;
            }
            taken.push(id);
        }
        taken
    }

    /// The executor has said what it runs.
    pub(crate) fn look_for_late(&mut self, id: &ExecutorId) {
        let Some(executor) = self.executors.get(id) else { return };
        self.look_for_late_at(id, executor.running.values().map(|running| self.late_from(running)).min());
    }

    /// Nothing that it runs is of interest before.
    pub(crate) fn look_for_late_at(&mut self, id: &ExecutorId, at: Option<Instant>) {
        let Some(executor) = self.executors.get_mut(id).filter(|executor| executor.late_from != at) else {
            return;
        };
        let known = std::mem::replace(&mut executor.late_from, at);
        known.map(|known| self.fleet.late.remove(&(known, id.clone())));
        self.fleet.late.extend(at.map(|at| (at, id.clone())));
    }

    /// Executors of which a test may be late by now.
    pub(crate) fn with_late(&self, now: Instant) -> Vec<ExecutorId> {
        self.fleet.late.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect()
    }

    pub(crate) fn look_for_room(&mut self, id: &ExecutorId) {
        let room = self.room(id);
        let Some(executor) = self.executors.get_mut(id) else { return };
        self.fleet.set_room(id, !room.is_empty());
        executor.room = room;
    }

    /// The executor is gone.
    pub(crate) fn forget(&mut self, id: &ExecutorId) -> Option<Executor> {
        let executor = self.executors.remove(id)?;
        self.fleet.slots -= executor.slots_that_count();
        self.fleet.with_room.remove(id);
        if let Some(due) = executor.due {
            self.fleet.due.remove(&(due, id.clone()));
        }
        if let Some(late_from) = executor.late_from {
            self.fleet.late.remove(&(late_from, id.clone()));
        }
        Some(executor)
    }

    /// What durable state says of the fleet, after recovery.
    pub(crate) fn count_shares(&mut self) {
        self.fleet.shares.clear();
        for run in self.placed.values().flat_map(BTreeMap::values) {
            self.fleet.placed(run);
        }
    }

    pub(crate) fn check_fleet(&self) {
        let mut fresh = Fleet::default();
        for (id, executor) in &self.executors {
            let due = executor.due.expect("each executor is due some time");
            assert!(due <= executor.ends(), "{id}: due {due:?}, which is too late");
            fresh.due.insert((due, id.clone()));
            assert_eq!(executor.late_from.is_some(), !executor.running.is_empty(), "{id}: what may be late");
            fresh.late.extend(executor.late_from.map(|at| (at, id.clone())));
            fresh.slots += executor.slots_that_count();
            fresh.set_room(id, !executor.room.is_empty());
        }
        self.placed.values().flat_map(BTreeMap::values).for_each(|run| fresh.placed(run));
        assert_eq!(self.fleet, fresh, "the fleet");
    }
}
