//! What a run lost, and who lost it: counted alike for its summary, and for why it or a test has its verdict. Pure.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{Alone, ExecutorId, InfraCause, NotExecuted, RunEvent, RunSpec, Sickness, TestIndex};

use super::text::millis;

#[derive(Debug, Clone, Default)]
pub struct Losses {
    pub executors: Vec<(ExecutorId, InfraCause)>,
    /// Those that were to leave, and who or what wanted that.
    pub drained: Vec<(ExecutorId, InfraCause, String)>,
    /// Executors that were cordoned, and whether they still are.
    pub cordoned: BTreeMap<ExecutorId, (Sickness, bool)>,
    /// The attempts that each of them did not bring to an end, by what for.
    pub attempts: BTreeMap<(ExecutorId, InfraCause), Lost>,
    /// What each suspect was lost with.
    deaths: BTreeMap<TestIndex, Vec<Death>>,
    /// Tests that went elsewhere because their attempt was lost; one that went twice is counted twice.
    pub tests: u32,
    pub taken_back: u32,
    /// Who was to discover, each time.
    pub discoveries: Vec<ExecutorId>,
    /// How many losses the run has paid for, and how many when it was stopped.
    paid: u32,
    stopped_at: Option<u32>,
}

/// Attempts that were lost alike.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    pub attempts: u32,
    /// What was said of the last of which something was.
    pub said: String,
}

/// An executor was lost while a test was in flight there, nobody knows why.
#[derive(Debug, Clone)]
pub struct Death {
    pub executor: ExecutorId,
    /// Set where it ran there alone, as a suspect does.
    pub alone: Option<Alone>,
}

impl Losses {
    pub fn apply(&mut self, event: &RunEvent) {
        match event {
            RunEvent::AttemptAssigned { discovery: true, executor, .. } => {
                self.discoveries.push(executor.clone());
            }
            RunEvent::TakenBack { tests, .. } => self.taken_back += tests,
            RunEvent::AttemptLost { executor, cause, tests, free, message, suspect, alone, .. } => {
                let lost = self.attempts.entry((executor.clone(), *cause)).or_default();
                lost.attempts += 1;
                if !message.is_empty() {
                    lost.said.clone_from(message);
                }
                if let Some(test) = suspect {
                    let death = Death { executor: executor.clone(), alone: *alone };
                    self.deaths.entry(*test).or_default().push(death);
                }
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
        self.attempts.iter().filter(|((_, cause), _)| cause.is_charged()).map(|(_, lost)| lost.attempts).sum()
    }

    /// What was said of an attempt that an executor lost for a cause that is paid for.
    pub fn said_of(&self, executor: &ExecutorId) -> Option<&str> {
        let lost = self.attempts.iter().filter(|((of, cause), _)| of == executor && cause.is_charged());
        lost.map(|(_, lost)| lost.said.as_str()).rfind(|said| !said.is_empty())
    }

    pub fn deaths(&self, test: TestIndex) -> &[Death] {
        self.deaths.get(&test).map_or(&[], Vec::as_slice)
    }

    /// With which executors a test was lost, if it was: what speaks for its having killed them.
    pub fn lost_with(&self, test: TestIndex) -> Option<String> {
        let deaths = self.deaths(test);
        let each = deaths.iter().map(|Death { executor, alone }| match alone {
            None => format!("{executor} (not alone)"),
            Some(Alone { ms: None, .. }) => format!("{executor} (alone)"),
            Some(Alone { ms: Some(ms), .. }) => format!("{executor} (alone, within {})", millis(*ms)),
        });
        let each = each.collect::<Vec<_>>().join(", ");
        (!deaths.is_empty()).then(|| format!("in flight when these were lost: {each}"))
    }

    /// The same of one that was given up, with why it is not called poison.
    pub fn not_poison(&self, test: TestIndex) -> Option<String> {
        let lost_with = self.lost_with(test)?;
        let alone: Vec<_> = self.deaths(test).iter().filter_map(|death| death.alone).collect();
        let why = match alone.last() {
            Some(last) if alone.len() >= Alone::LOSSES && last.chance >= 1000 => {
                "the scheduler had not been there for long enough to tell how often executors are lost"
                    .to_owned()
            }
            Some(last) if alone.len() >= Alone::LOSSES => {
                let (often, most) = (percent(last.chance), percent(Alone::CHANCE));
                format!(
                    "so many losses so soon may be chance, as often as executors are lost here ({often}; it takes less than {most})"
                )
            }
            _ => format!("it takes {} losses while it runs alone", Alone::LOSSES),
        };
        Some(format!("{lost_with}; not called poison: {why}"))
    }

    /// By which limit a run of so many tests was stopped, if it was for what it lost.
    pub fn limit(&self, spec: Option<&RunSpec>, tests: u32, stopping: NotExecuted) -> Option<String> {
        if !matches!(stopping, NotExecuted::Infra(_)) {
            return None;
        }
        let budget = spec?.loss_budget(tests);
        let is_spent = self.stopped_at.unwrap_or(self.paid) >= budget;
        Some(match is_spent {
            true if budget == 1 => "it had 1 loss, as many as --run-losses allows".to_owned(),
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

/// Of thousandths.
fn percent(of: u32) -> String {
    format!("{}.{} %", of / 10, of % 10)
}
