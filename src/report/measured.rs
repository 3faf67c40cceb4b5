//! Whose coverage was told, where the suite measures it: what a worker had not told when it was gone is lost. Pure.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{ExecutorId, RunEvent, SlotNumber, TestCause, TestIndex};

use super::text::{count, number};

/// Tests whose coverage is lost are named up to so many.
const NAMED: usize = 20;

#[derive(Debug, Default)]
pub struct Measured {
    executed: BTreeSet<TestIndex>,
    told: BTreeSet<TestIndex>,
    /// What each slot has executed since its worker told last.
    untold: BTreeMap<(ExecutorId, SlotNumber), Vec<TestIndex>>,
}

impl Measured {
    pub fn apply(&mut self, event: &RunEvent) {
        match event {
            RunEvent::TestFinished { result, executor, slot, .. } => {
                self.executed.insert(result.test);
                let place = (executor.clone(), *slot);
                let dies =
                    [TestCause::Crashed, TestCause::TimedOut, TestCause::OverMemory, TestCause::OverDisk];
                match result.cause.is_some_and(|cause| dies.contains(&cause)) {
                    true => drop(self.untold.remove(&place)),
                    false => self.untold.entry(place).or_default().push(result.test),
                }
            }
            RunEvent::Coverage { executor, slot, .. } => {
                self.told.extend(self.untold.remove(&(executor.clone(), *slot)).unwrap_or_default());
            }
            RunEvent::ExecutorLost { executor, .. } => self.untold.retain(|(of, _), _| of != executor),
            _ => {}
        }
    }

    /// The tests whose coverage nobody has told.
    pub fn lost(&self) -> impl Iterator<Item = TestIndex> {
        self.executed.difference(&self.told).copied()
    }
}

/// What is said of tests whose coverage is in no report, if there are any.
pub fn partial(lost: &[String]) -> Option<String> {
    let named = lost.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if lost.len() > NAMED { ", ..." } else { "" };
    let tests = count(number(lost.len()), "test");
    let partial =
        format!("coverage is partial: what {tests} covered is lost with their worker: {named}{more}");
    (!lost.is_empty()).then_some(partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_tests_are_named_but_not_without_end() {
        let lost: Vec<_> = (0..21).map(|n| format!("t{n}")).collect();
        assert_eq!(partial(&[]), None);
        let one = "coverage is partial: what 1 test covered is lost with their worker: t0";
        assert_eq!(partial(&lost[..1]).unwrap(), one);
        assert!(partial(&lost).unwrap().ends_with(", t19, ..."));
    }
}
