//! What the workers of a run executed, in their order: what scopes take to set up is learned from that, and what it takes to
//! start a worker. Pure.

use std::collections::BTreeMap;

use seagull_domain::{
    AttemptId, EnvironmentNumber, ExecutorId, Isolation, Manifest, Outcome, SlotNumber, TestIndex, TestResult,
};
use seagull_results::{Excess, Execution, excesses};

/// Of each slot what was executed in it.
#[derive(Default)]
pub(crate) struct Executed {
    isolation: Isolation,
    slots: BTreeMap<(ExecutorId, SlotNumber), Vec<One>>,
}

/// An execution of a test.
#[derive(Debug, Clone, Copy)]
struct One {
    attempt: AttemptId,
    test: TestIndex,
    /// Unix milliseconds; 0 where unknown.
    started_at: u64,
    micros: u64,
    setup_micros: u64,
    /// Its first, which did not fail: what failed may not have been set up.
    counts: bool,
}

impl Executed {
    pub fn new(isolation: Isolation) -> Self {
        Self { isolation, ..Self::default() }
    }

    pub fn add(
        &mut self,
        (executor, slot): (&ExecutorId, SlotNumber),
        attempt: AttemptId,
        result: &TestResult,
    ) {
        self.slots.entry((executor.clone(), slot)).or_default().push(One {
            attempt,
            test: result.test,
            started_at: result.started_at,
            micros: result.micros(),
            setup_micros: result.phases[0],
            counts: result.outcome != Outcome::Failed && result.ordinal == 0,
        });
    }

    /// What began with which test, and in which attempt.
    pub fn excesses(
        &self,
        manifest: &Manifest,
        environments: &[EnvironmentNumber],
    ) -> Vec<(AttemptId, TestIndex, Excess)> {
        // A worker that lives for a test shares nothing.
        if self.isolation == Isolation::Test {
            return Vec::new();
        }
        let tests: Vec<(&str, &str)> = manifest.tests().collect();
        let execution = |one: &&One| {
            let (path, suffix) = tests[one.test.0 as usize];
            Execution { path, class: Manifest::class_of(suffix), setup_micros: one.setup_micros }
        };
        let of_worker = |executed: &[One]| {
            let executed: Vec<&One> = executed.iter().filter(|one| one.counts).collect();
            let executions: Vec<Execution> = executed.iter().map(execution).collect();
            let found = excesses(&executions).into_iter();
            let with = |excess: Excess| {
                let one = executed[excess.place];
                (one.attempt, one.test, excess)
            };
            found.map(with).collect::<Vec<_>>()
        };
        self.slots.values().flat_map(|slot| self.workers(slot, environments).flat_map(of_worker)).collect()
    }

    /// Microseconds that passed in a slot between two workers, by the environment of the second: the middle of all.
    pub fn starts(&self, environments: &[EnvironmentNumber]) -> BTreeMap<EnvironmentNumber, u64> {
        let mut starts: BTreeMap<EnvironmentNumber, Vec<u64>> = BTreeMap::new();
        for slot in self.slots.values() {
            let workers: Vec<&[One]> = self.workers(slot, environments).collect();
            for pair in workers.windows(2) {
                let ([.., last], [first, ..]) = (pair[0], pair[1]) else { continue };
                let ended = last.started_at.saturating_mul(1000).saturating_add(last.micros);
                let began = first.started_at.saturating_mul(1000);
                if let (true, Some(start)) = (last.started_at > 0, began.checked_sub(ended)) {
                    starts.entry(environment(environments, first)).or_default().push(start);
                }
            }
        }
        let middle = |(environment, mut starts): (_, Vec<u64>)| {
            starts.sort_unstable();
            (environment, starts[starts.len() / 2])
        };
        starts.into_iter().map(middle).collect()
    }

    /// What each worker of a slot executed, as far as the results tell them apart.
    fn workers<'e>(
        &self,
        slot: &'e [One],
        environments: &[EnvironmentNumber],
    ) -> impl Iterator<Item = &'e [One]> {
        let is_same = move |one: &One, next: &One| {
            let lives_on = match self.isolation {
                Isolation::Slot => true,
                Isolation::Bundle => one.attempt == next.attempt,
                Isolation::Test => false,
            };
            lives_on && environment(environments, one) == environment(environments, next)
        };
        slot.chunk_by(is_same)
    }
}

fn environment(environments: &[EnvironmentNumber], one: &One) -> EnvironmentNumber {
    environments.get(one.test.0 as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;

    /// Two bundles of one slot: the second begins with what the first had set up.
    fn executed(isolation: Isolation) -> (Executed, Manifest) {
        let suffixes = ["::A::x", "::A::y", "::z", "::failed"].map(str::to_owned).to_vec();
        let file = |path: &str| FileTests { path: path.into(), suffixes: suffixes.clone() };
        let manifest = Manifest { files: vec![file("a.py"), file("b.py")], ..Manifest::default() };
        let mut executed = Executed::new(isolation);
        let setups = [(1, 0, 900), (1, 1, 10), (2, 2, 20), (2, 3, 5_000), (2, 4, 400), (2, 5, 15)];
        for (attempt, test, setup) in setups {
            let outcome = if test == 3 { Outcome::Failed } else { Outcome::Passed };
            let result = TestResult {
                cpu_us: 0,
                test: TestIndex(test),
                ordinal: 0,
                last: true,
                outcome,
                detail: String::new(),
                cause: None,
                phases: [setup, 999 - setup.min(999), 1],
                peak_kib: 0,
                // Each of a millisecond, but for the one that failed; two between bundles, and ten before the last.
                started_at: 1_000
                    + u64::from(test)
                    + [0, 2][attempt - 1]
                    + [0, 0, 0, 0, 4, 14][test as usize],
                message: String::new(),
                location: String::new(),
                text: None,
            };
            let executor: ExecutorId = "e".parse().unwrap();
            executed.add((&executor, SlotNumber(0)), AttemptId(attempt as u64), &result);
        }
        (executed, manifest)
    }

    #[test]
    fn what_began_is_told_by_worker_and_without_failures() {
        let found = |isolation, environments: &[u16]| {
            let environments: Vec<_> = environments.iter().copied().map(EnvironmentNumber).collect();
            let (executed, manifest) = executed(isolation);
            let excesses = executed.excesses(&manifest, &environments).into_iter();
            let told =
                |(_, test, excess): (AttemptId, TestIndex, Excess)| (test.0, excess.scopes, excess.micros);
            excesses.map(told).collect::<Vec<_>>()
        };
        let scopes = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        let (a, b) = (scopes(&["", "a.py", "a.py::A"]), scopes(&["b.py", "b.py::A"]));
        assert_eq!(found(Isolation::Slot, &[]), [(0, a.clone(), 880), (4, b.clone(), 385)]);
        assert_eq!(found(Isolation::Bundle, &[]), [(0, a.clone(), 890), (4, b, 385)]);
        let of_another = scopes(&["", "b.py", "b.py::A"]);
        assert_eq!(found(Isolation::Slot, &[0, 0, 0, 0, 1, 1]), [(0, a, 880), (4, of_another, 385)]);
        assert_eq!(found(Isolation::Test, &[]), []);
    }

    #[test]
    fn a_start_is_what_passes_between_workers() {
        let starts = |isolation, environments: &[u16]| {
            let environments: Vec<_> = environments.iter().copied().map(EnvironmentNumber).collect();
            let starts = executed(isolation).0.starts(&environments);
            starts.into_iter().map(|(environment, micros)| (environment.0, micros)).collect::<Vec<_>>()
        };
        assert_eq!(starts(Isolation::Slot, &[]), [], "there is one worker");
        assert_eq!(starts(Isolation::Bundle, &[]), [(0, 2_000)]);
        // Of 0, 2,000, 0, -1 and 10,000, where what overlaps says nothing.
        assert_eq!(starts(Isolation::Test, &[]), [(0, 2_000)]);
        assert_eq!(starts(Isolation::Slot, &[0, 0, 0, 0, 0, 1]), [(1, 10_000)]);
    }
}
