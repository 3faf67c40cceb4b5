//! Bundles of which nothing ran, though other bundles may: a test in one may keep its worker from starting at all, and
//! nobody sees which. The first time a bundle comes back so it goes to another executor as it is, for that may have been
//! the first executor's fault. From the second time on it is cut in two, so that what is sound is soon apart from what
//! is not, down to the single test. An *ordered* relation is never cut; a *together* one only when nothing else is left.
//!
//! **Who pays.** The run pays for every attempt that came to nothing, unless that is known to be its executor's doing
//! ([`crate::sick`]). A test pays only where it was all that there was
//! to run: it may then be its own doing. If all tests of a bundle paid each time, a culprit among 16 would take its
//! fifteen neighbours' budgets with it: two attempts of the whole and one for each of four cuts, of which the last
//! neighbour shares five, are more than three losses. So a test that is sound pays nothing for its neighbour, and the
//! culprit is alone at the latest after 2 + log2(n) attempts and then has its own budget.
//!
//! **It ends.** Each attempt either reports on something or comes to nothing; the latter are paid by the run, or leave one
//! executor fewer that the bundle was not on, and each leaves smaller bundles or charges a test. Where nothing starts at all, no cut brings anything to light: so many
//! attempts in a row without a single test that began stop the run, long before its budget is spent.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{AttemptId, ExecutorId, Role, RunId, TestIndex};

use crate::State;
use crate::run::{Attempt, Run};

/// A bundle that has come to nothing so often is cut in two each time.
pub(crate) const SPLIT_AFTER: u32 = 2;
/// So many attempts in a row that came to nothing, and twice as many more as there are slots, show that nothing starts at
/// all: each slot may fail once for all at the same moment, and once more, and a culprit among 64 is still found
/// meanwhile, for its neighbours run.
const NOTHING_STARTS: u32 = 8;

impl Attempt {
    /// How often what it has came to nothing before.
    pub(crate) fn in_vain(&self) -> u32 {
        if self.started { 0 } else { self.in_vain }
    }
}

impl Run {
    /// The tests that pay for a start that failed: what the attempt still owes, if what is left cannot be cut. What only runs
    /// before it may owe a retry of its own, for which it has its whole budget.
    pub(crate) fn charged(&self, attempt: AttemptId) -> Vec<TestIndex> {
        let left = self.attempts[&attempt].left.values();
        let tests: Vec<_> = left.clone().map(|(test, _)| *test).collect();
        if self.halves(&tests).is_some() {
            return Vec::new();
        }
        let owed = left.filter(|(_, role)| *role == Role::Run).map(|(test, _)| *test);
        owed.filter(|test| self.pays(*test)).collect()
    }

    /// What goes on together of tests that have come to nothing so often.
    pub(crate) fn parts(&self, tests: Vec<TestIndex>, in_vain: u32) -> Vec<Vec<TestIndex>> {
        match self.halves(&tests).filter(|_| in_vain >= SPLIT_AFTER) {
            Some(halves) => halves.into(),
            None if tests.is_empty() => Vec::new(),
            None => vec![tests],
        }
    }

    /// The tests cut in two that take about as long, each in their order; None if they cannot be cut.
    fn halves(&self, tests: &[TestIndex]) -> Option<[Vec<TestIndex>; 2]> {
        let units = self.units(tests);
        let length =
            |unit: &Vec<TestIndex>| unit.iter().map(|test| self.test(*test).predicted_us).sum::<u64>();
        let total: u64 = units.iter().map(length).sum();
        let before = units.iter().scan(0, |sum, unit| {
            *sum += length(unit);
            Some(*sum)
        });
        let cuts = (1..units.len()).zip(before);
        let (cut, _) = cuts.min_by_key(|(_, before)| before.abs_diff(total - before))?;
        let before: BTreeSet<_> = units[..cut].iter().flatten().collect();
        let (first, second) = tests.iter().copied().partition(|test| before.contains(test));
        Some([first, second])
    }

    /// What is not cut: relations, and the tests that are in none; of a *together* relation by itself, its tests.
    fn units(&self, tests: &[TestIndex]) -> Vec<Vec<TestIndex>> {
        let of = |test: &TestIndex| self.test(*test).relation;
        let is_one = tests.windows(2).all(|pair| of(&pair[0]) == of(&pair[1]));
        let is_ordered = tests.first().and_then(|test| self.relation_of(*test)).is_some_and(|r| r.ordered);
        let mut units: BTreeMap<(u32, Option<TestIndex>), Vec<TestIndex>> = BTreeMap::new();
        let mut order = Vec::new();
        for test in tests {
            let is_apart = of(test) == 0 || (is_one && !is_ordered);
            let key = if is_apart { (0, Some(*test)) } else { (of(test), None) };
            let unit = units.entry(key).or_default();
            if unit.is_empty() {
                order.push(key);
            }
            unit.push(*test);
        }
        order.iter().filter_map(|key| units.remove(key)).collect()
    }
}

impl State {
    /// Whether nothing of a live attempt was seen to run though it was its slot's turn.
    pub(crate) fn came_to_nothing(&self, run: &RunId, attempt: AttemptId) -> bool {
        let state = &self.runs[run].attempts[&attempt];
        let known = self.executors.get(&state.executor);
        let running = known.and_then(|executor| executor.running.get(&state.slot));
        let runs = running.is_some_and(|at| at.run == *run && state.place.contains_key(&at.test));
        !runs && !state.started && self.is_current(run, attempt)
    }

    /// Whether so much came back, from everywhere, that no sandbox or worker of the run starts. What came back from some
    /// executors says nothing of those that are busy, and nothing where there is none.
    pub(crate) fn nothing_starts(&self, run: &RunId) -> bool {
        let state = &self.runs[run];
        if state.in_vain < NOTHING_STARTS {
            return false;
        }
        let mut takes = self.executors.iter().filter(|(_, executor)| executor.may_take());
        let slots: u32 = takes.clone().map(|(_, executor)| u32::from(executor.slots)).sum();
        let is_in_vain = |(id, _): (&ExecutorId, _)| state.in_vain_on(id) > 0;
        let something_runs = || {
            let mut running = self.executors.values().flat_map(|executor| executor.running.values());
            running.any(|running| running.run == *run)
        };
        let enough = slots > 0 && state.in_vain >= NOTHING_STARTS + 2 * slots;
        enough && takes.all(is_in_vain) && !something_runs()
    }
}
