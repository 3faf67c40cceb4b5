//! What a run lost, and who lost it: counted alike for its summary, and for why it or a test has its verdict. Pure.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{ExecutorId, InfraCause, NotExecuted, RunEvent, RunSpec, Sickness};

#[derive(Debug, Clone, Default)]
pub struct Losses {
    pub executors: Vec<(ExecutorId, InfraCause)>,
    /// Those that were to leave, and who or what wanted that.
    pub drained: Vec<(ExecutorId, InfraCause, String)>,
    /// Executors that were cordoned, and whether they still are.
    pub cordoned: BTreeMap<ExecutorId, (Sickness, bool)>,
    /// How many attempts each of them did not bring to an end, and for what.
    pub attempts: BTreeMap<(ExecutorId, InfraCause), u32>,
    /// Tests that went elsewhere because their attempt was lost; one that went twice is counted twice.
    pub tests: u32,
    pub taken_back: u32,
    /// Who was to discover, each time.
    pub discoveries: Vec<ExecutorId>,
    /// How many losses the run has paid for, and how many when it was stopped.
    paid: u32,
    stopped_at: Option<u32>,
}

impl Losses {
    pub fn apply(&mut self, event: &RunEvent) {
        match event {
            RunEvent::AttemptAssigned { discovery: true, executor, .. } => {
                self.discoveries.push(executor.clone());
            }
            RunEvent::TakenBack { tests, .. } => self.taken_back += tests,
            RunEvent::AttemptLost { executor, cause, tests, free, .. } => {
                *self.attempts.entry((executor.clone(), *cause)).or_default() += 1;
                if cause.is_charged() {
                    self.tests = self.tests.saturating_add(*tests);
                }
                // What is lost with its executor is paid with that. A discovery has no tests.
                let is_own = *cause != InfraCause::ExecutorLost && *tests > 0;
                self.paid += u32::from(is_own && cause.is_charged() && !free);
            }
            RunEvent::ExecutorLost { executor, cause } => {
                self.executors.push((executor.clone(), *cause));
                let is_cordoned = self.cordoned.get(executor).is_some_and(|(_, is_cordoned)| *is_cordoned);
                self.paid += u32::from(cause.is_charged() && !is_cordoned);
            }
            RunEvent::ExecutorDrained { executor, cause, why } => {
                self.drained.push((executor.clone(), *cause, why.clone()));
            }
            RunEvent::ExecutorCordoned { executor, sickness, .. } => {
                self.cordoned.insert(executor.clone(), (*sickness, true));
            }
            RunEvent::ExecutorBack { executor } => {
                if let Some((_, is_cordoned)) = self.cordoned.get_mut(executor) {
                    *is_cordoned = false;
                }
            }
            RunEvent::Stopping { .. } => self.stopped_at = Some(self.paid),
            _ => {}
        }
    }

    pub fn is_empty(&self) -> bool {
        self.executors.is_empty() && self.cordoned.is_empty() && self.attempts.is_empty()
    }

    /// Attempts that came to nothing for a cause that is paid for: what a drain gives back is not lost.
    pub fn lost_attempts(&self) -> u32 {
        self.attempts.iter().filter(|((_, cause), _)| cause.is_charged()).map(|(_, count)| count).sum()
    }

    /// By which limit a run of so many tests was stopped, if it was for what it lost.
    pub fn limit(&self, spec: Option<&RunSpec>, tests: u32, stopping: NotExecuted) -> Option<String> {
        if !matches!(stopping, NotExecuted::Infra(_)) {
            return None;
        }
        let budget = spec?.loss_budget(tests);
        let is_spent = self.stopped_at.unwrap_or(self.paid) >= budget;
        Some(match is_spent {
            true => format!("it had {budget} losses, as many as --run-losses allows"),
            false => "nothing of it started any more".to_owned(),
        })
    }

    /// The sick executors among these, if they all were: tests fail there that do not fail elsewhere.
    pub fn sick<'e>(
        &self,
        executors: impl IntoIterator<Item = &'e ExecutorId>,
    ) -> Option<BTreeSet<&'e ExecutorId>> {
        let is_sick = |executor: &&ExecutorId| {
            self.cordoned.get(*executor).is_some_and(|(sickness, _)| *sickness == Sickness::TestsFail)
        };
        let mut sick = BTreeSet::new();
        for executor in executors {
            sick.insert(Some(executor).filter(is_sick)?);
        }
        Some(sick).filter(|sick| !sick.is_empty())
    }
}
