//! Reservations: executors that get nothing more until they have nothing, each for a suspect that then runs there alone.
//! Volatile: after a recovery others are chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seagull_domain::{BundleId, ExecutorId, Instant, RunId};

use crate::State;
use crate::assign::may_go;
use crate::held_back::HeldBack;
use crate::run::{Bundle, Run};
use crate::take_back::victims;

/// Reservations are looked at again after so long, though no suspect was placed and none has ended.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reserved {
    /// For which bundle each is reserved.
    pub(crate) executors: BTreeMap<ExecutorId, (RunId, BundleId)>,
    /// What they were chosen for: of each run that waits, how much of it runs alone, and how much waits.
    waiting: Vec<(RunId, u32, usize)>,
    /// And among how many executors, and when.
    of: usize,
    at: Instant,
}

impl Run {
    /// Whether all that waits for a slot is to run alone, or after what does.
    fn waits_alone(&self, rest_us: u64) -> bool {
        let next = || self.ready(rest_us).next();
        self.dispatches() && self.withdrawn == 0 && next().is_some_and(|(_, bundle)| bundle.alone)
    }

    /// What waits for nothing but a slot, what goes first first.
    fn ready(&self, rest_us: u64) -> impl Iterator<Item = (BundleId, &Bundle)> {
        self.in_turn(rest_us).filter(|(_, bundle)| !self.has_to_wait(bundle))
    }
}

impl State {
    /// Reserves as many executors for the suspects of each run as are its share: after a mass loss there are many, and
    /// they are not to run one after the other.
    pub(crate) fn reserve(&mut self, now: Instant) {
        let rest_us = self.rest_us();
        let waiting = || self.runs.iter().filter(|(_, run)| run.waits_alone(rest_us));
        let figures = waiting().map(|(id, run)| (id, run.alone, run.pending.alone().count()));
        let before = self.reserved.waiting.iter().map(|(id, alone, pending)| (id, *alone, *pending));
        let as_before = figures.clone().eq(before) && self.reserved.of == self.executors.len();
        if as_before && (self.reserved.waiting.is_empty() || now - self.reserved.at < AGAIN) {
            return;
        }
        self.reserved = Reserved {
            executors: self.reservations(waiting().collect(), rest_us, now),
            waiting: figures.map(|(id, alone, pending)| (id.clone(), alone, pending)).collect(),
            of: self.executors.len(),
            at: now,
        };
    }

    /// The reservations for these runs: those there are, where they still serve, and more.
    fn reservations(
        &self,
        waiting: Vec<(&RunId, &Run)>,
        rest_us: u64,
        now: Instant,
    ) -> BTreeMap<ExecutorId, (RunId, BundleId)> {
        let mut reserved = BTreeMap::new();
        let runs = self.runs.values().filter(|run| run.goes_on()).count();
        let share = (self.executors.len() / runs.max(1)).max(1);
        let before =
            self.reserved.executors.iter().map(|(executor, (run, bundle))| ((run, *bundle), executor));
        let before: BTreeMap<_, _> = before.collect();
        let mut free = None;
        let uneven = if waiting.is_empty() { BTreeSet::new() } else { self.uneven(now) };
        for (id, run) in waiting {
            let held_back = HeldBack::of(self, run);
            let goes = |bundle: &BundleId, executor: &ExecutorId| {
                let known = self.executors.get(executor).filter(|known| known.slots > 0);
                let bundle = &run.pending[bundle];
                let bundle = (bundle, &self.wanted_by(run, bundle));
                known.is_some_and(|of| may_go(self, bundle, &held_back, executor, of))
                    && !uneven.contains(executor)
            };
            let wanted = share.saturating_sub(run.alone as usize);
            for (bundle, _) in run.ready(rest_us).take_while(|(_, bundle)| bundle.alone).take(wanted) {
                let still = before.get(&(id, bundle)).copied().filter(|executor| goes(&bundle, executor));
                let executor = still.or_else(|| {
                    let free: &mut Vec<_> = free.get_or_insert_with(|| self.soonest_free());
                    let place = free.iter().position(|executor| goes(&bundle, executor))?;
                    Some(free.remove(place))
                });
                let Some(executor) = executor else { break };
                reserved.insert(executor.clone(), (id.clone(), bundle));
            }
        }
        reserved
    }

    /// The executors on which an idle slot could take unstarted tests of a busy one: they are empty sooner than if it took
    /// nothing.
    fn uneven(&self, now: Instant) -> BTreeSet<&ExecutorId> {
        let is_idle = |id: &ExecutorId| self.executors[id].room.values().any(Option::is_none);
        let victims = victims(self, now).into_iter().filter(|victim| victim.attempt.left.len() > 1);
        victims.map(|victim| &victim.attempt.executor).filter(|id| is_idle(id)).collect()
    }

    /// The executors that are not reserved, those first that have least to do.
    fn soonest_free(&self) -> Vec<&ExecutorId> {
        let busy = |executor: &ExecutorId| {
            let placed = self.placed.get(executor).into_iter().flatten();
            let left = placed.map(|(attempt, run)| self.runs[run].attempts[attempt].left_us);
            left.fold((0, 0), |(most, count), us| (us.max(most), count + 1))
        };
        let free = self.executors.keys().filter(|executor| !self.reserved.executors.contains_key(*executor));
        let mut free: Vec<_> = free.map(|executor| (busy(executor), executor)).collect();
        free.sort_unstable();
        free.into_iter().map(|(_, executor)| executor).collect()
    }
}
