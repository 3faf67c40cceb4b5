//! What the workers of a run executed, in their order: what scopes take to set up is learned from that. Pure.

use std::collections::BTreeMap;

use seagull_domain::{
    AttemptId, ExecutorId, Isolation, Manifest, Outcome, SlotNumber, TestIndex, TestResult,
};
use seagull_results::{Excess, Execution, excesses};

/// A worker: a slot's, or where it lives for a bundle, an attempt's.
type Worker = (ExecutorId, SlotNumber, Option<AttemptId>);

#[derive(Default)]
pub(crate) struct Executed(BTreeMap<Worker, Vec<(AttemptId, TestIndex, u64)>>);

impl Executed {
    /// A worker that lives for a test shares nothing, and what failed may not have been set up.
    pub fn add(
        &mut self,
        isolation: Isolation,
        (executor, slot): (&ExecutorId, SlotNumber),
        attempt: AttemptId,
        result: &TestResult,
    ) {
        if isolation == Isolation::Test || result.outcome == Outcome::Failed || result.ordinal > 0 {
            return;
        }
        let of_bundle = (isolation == Isolation::Bundle).then_some(attempt);
        let worker = self.0.entry((executor.clone(), slot, of_bundle)).or_default();
        worker.push((attempt, result.test, result.phases[0]));
    }

    /// What began with which test, and in which attempt.
    pub fn excesses(&self, manifest: &Manifest) -> Vec<(AttemptId, TestIndex, Excess)> {
        let tests: Vec<(&str, &str)> = manifest.tests().collect();
        let execution = |&(_, test, setup_micros): &(AttemptId, TestIndex, u64)| {
            let (path, suffix) = tests[test.0 as usize];
            Execution { path, class: Manifest::class_of(suffix), setup_micros }
        };
        let of_worker = |executed: &Vec<(AttemptId, TestIndex, u64)>| {
            let executions: Vec<Execution> = executed.iter().map(execution).collect();
            let found = excesses(&executions).into_iter();
            let with = |excess: Excess| {
                let (attempt, test, _) = executed[excess.place];
                (attempt, test, excess)
            };
            found.map(with).collect::<Vec<_>>()
        };
        self.0.values().flat_map(of_worker).collect()
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;

    #[test]
    fn what_began_is_told_by_worker_and_without_failures() {
        let suffixes = ["::A::x", "::A::y", "::z", "::failed"].map(str::to_owned).to_vec();
        let file = |path: &str| FileTests { path: path.into(), suffixes: suffixes.clone() };
        let manifest = Manifest { files: vec![file("a.py"), file("b.py")], ..Manifest::default() };
        let executor: ExecutorId = "e".parse().unwrap();
        let found = |isolation| {
            let mut executed = Executed::default();
            // Two bundles of one slot: the second begins with what the first had set up.
            let setups = [(1, 0, 900), (1, 1, 10), (2, 2, 20), (2, 3, 5_000), (2, 4, 400), (2, 5, 15)];
            for (attempt, test, setup) in setups {
                let outcome = if test == 3 { Outcome::Failed } else { Outcome::Passed };
                let result = TestResult {
                    test: TestIndex(test),
                    ordinal: 0,
                    last: true,
                    outcome,
                    detail: String::new(),
                    cause: None,
                    phases: [setup, 1, 1],
                    peak_kib: 0,
                    started_at: 0,
                    message: String::new(),
                    location: String::new(),
                    text: None,
                };
                executed.add(isolation, (&executor, SlotNumber(0)), AttemptId(attempt), &result);
            }
            let excesses = executed.excesses(&manifest).into_iter();
            let told =
                |(_, test, excess): (AttemptId, TestIndex, Excess)| (test.0, excess.scopes, excess.micros);
            excesses.map(told).collect::<Vec<_>>()
        };
        let scopes = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        let b = scopes(&["b.py", "b.py::A"]);
        assert_eq!(found(Isolation::Slot), [(0, scopes(&["", "a.py", "a.py::A"]), 880), (4, b.clone(), 385)]);
        assert_eq!(found(Isolation::Bundle), [(0, scopes(&["", "a.py", "a.py::A"]), 890), (4, b, 385)]);
        assert_eq!(found(Isolation::Test), []);
    }
}
