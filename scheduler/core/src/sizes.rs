//! Sizes: what something of a run needs of an executor's memory and cores. An executor is given no more than it has: what
//! does not fit beside the rest waits, and goes nowhere where it is more than all. A test that was over its memory or
//! disk limit gets one more try in a larger slot, where there is an executor that has the memory.

use std::collections::BTreeMap;

use seagull_domain::{
    EnvironmentNumber, Evidence, ExecutorId, Outcome, Resources, RunId, Size, SlotIndex, TestCause,
    TestIndex, TestResult,
};

use crate::State;
use crate::held_back::HeldBack;
use crate::run::{Attempt, Bundle, Run};
use crate::state::{Executor, Place};

/// What an executor has to have for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub environment: EnvironmentNumber,
    pub larger: bool,
    /// Of a worker by itself, and what all of its run and environment share.
    pub needs: Resources,
    pub shared: Resources,
}

impl Wanted {
    /// Whether it takes whatever there is.
    pub fn is_nothing(&self) -> bool {
        self.needs.and(self.shared) == Resources::default()
    }

    /// Whether the executor has so much, whatever else it runs now.
    pub fn fits(&self, executor: &Executor) -> bool {
        executor.capacity.hold(self.needs.and(self.shared))
    }
}

/// What is going to be on executors that they do not report yet.
pub(crate) type Promised<'a> = BTreeMap<&'a ExecutorId, Vec<(SlotIndex, &'a RunId, Wanted)>>;

/// What an executor's slots take.
#[derive(Default)]
pub(crate) struct Used<'a> {
    slots: BTreeMap<SlotIndex, Resources>,
    /// What workers of a run and an environment share is there once.
    shared: BTreeMap<(&'a RunId, EnvironmentNumber), Resources>,
}

impl<'a> Used<'a> {
    fn add(&mut self, slot: SlotIndex, run: &'a RunId, wanted: Wanted) {
        let of_slot = self.slots.entry(slot).or_default();
        *of_slot = of_slot.or(wanted.needs);
        self.shared.insert((run, wanted.environment), wanted.shared);
    }

    fn all(&self) -> impl Iterator<Item = Resources> {
        self.slots.values().chain(self.shared.values()).copied()
    }
}

/// What a result is of a test that was over a limit, if it gets more.
pub(crate) fn evidence_of_limit(result: &TestResult) -> Option<Evidence> {
    match result.cause {
        Some(TestCause::OverMemory) => Some(Evidence::FirstMemoryKill),
        Some(TestCause::OverDisk) => Some(Evidence::FirstDiskKill),
        _ => None,
    }
}

impl Run {
    pub(crate) fn size(&self, environment: EnvironmentNumber) -> Size {
        self.sizes.get(usize::from(environment.0)).copied().unwrap_or_default()
    }

    /// Of an environment, with the memory that is written.
    pub(crate) fn ordinary(&self, environment: EnvironmentNumber) -> Wanted {
        self.sized(environment, false)
    }

    /// With twice the memory and disk for its tests, if it is to be larger.
    pub(crate) fn sized(&self, environment: EnvironmentNumber, larger: bool) -> Wanted {
        let size = self.size(environment);
        let needs = size.larger.filter(|_| larger).unwrap_or(size.ordinary);
        Wanted { environment, larger, needs, shared: size.shared }
    }

    /// Whether what ran there could have run with more.
    pub(crate) fn lacks_larger(&self, attempt: &Attempt) -> bool {
        !attempt.larger && self.size(attempt.environment).larger.is_some()
    }
}

impl State {
    pub(crate) fn wanted_by(&self, run: &Run, bundle: &Bundle) -> Wanted {
        self.wanted(run, bundle.entries.iter().map(|(test, _)| *test))
    }

    /// What tests of one environment want. A larger slot is wanted only where there is one.
    pub(crate) fn wanted(&self, run: &Run, mut tests: impl Iterator<Item = TestIndex> + Clone) -> Wanted {
        let environment =
            tests.clone().next().map_or_else(Default::default, |test| run.test(test).environment);
        if run.sizes.is_empty() {
            return run.ordinary(environment);
        }
        let larger = tests.any(|test| run.test(test).larger);
        let larger = larger.then(|| self.larger(run, environment)).flatten();
        larger.unwrap_or_else(|| run.ordinary(environment))
    }

    /// A larger slot for an environment, if there is an executor that can have one.
    fn larger(&self, run: &Run, environment: EnvironmentNumber) -> Option<Wanted> {
        run.size(environment).larger?;
        let larger = run.sized(environment, true);
        let held_back = HeldBack::of(self, run);
        let has_one = |(id, executor): (&ExecutorId, &Executor)| {
            executor.boot.is_some() && held_back.leaves_any(id, executor, &larger)
        };
        self.executors.iter().any(has_one).then_some(larger)
    }

    /// What a result is that is only the first of a test that is over a limit, where there is a larger slot for it.
    pub(crate) fn first_kill(&self, run: &Run, attempt: &Attempt, result: &TestResult) -> Option<Evidence> {
        let is_first = result.outcome == Outcome::Failed && result.last && !attempt.larger;
        let kill = evidence_of_limit(result).filter(|_| is_first)?;
        self.larger(run, attempt.environment).map(|_| kill)
    }

    /// Whether a place has what a run wants beside what its executor has in other slots.
    pub(crate) fn has_room(&self, place: &Place, run: &RunId, wanted: &Wanted, promised: &Promised) -> bool {
        if wanted.is_nothing() {
            return true;
        }
        let Some(executor) = self.executors.get(place.0) else { return false };
        let mut used = self.used(place.0);
        for (slot, run, wanted) in promised.get(place.0).into_iter().flatten() {
            used.add(*slot, run, *wanted);
        }
        used.add(place.1, run, *wanted);
        executor.capacity.hold_all(used.all())
    }

    /// What an executor needs for what it has.
    pub(crate) fn used(&self, id: &ExecutorId) -> Used<'_> {
        let done = self.executors.get(id).map(|executor| &executor.done);
        let mut used = Used::default();
        for (attempt, id) in self.placed.get(id).into_iter().flatten() {
            let run = &self.runs[id];
            if run.sizes.is_empty() || done.is_some_and(|done| done.contains(attempt)) {
                continue;
            }
            let attempt = &run.attempts[attempt];
            used.add(attempt.slot, id, run.sized(attempt.environment, attempt.larger));
        }
        used
    }
}
