//! Drains: executors that an operator wants to leave, and what runs are told of those that do.
//!
//! The wish is volatile: it is told with every desired state until the executor says that it drains, which it then goes on
//! saying to whoever asks. Until it does the operator's command asks again, so that no restart loses a wish.

use seagull_domain::{BootId, Drain, DrainState, ExecutorId, RunId};

use crate::fact::What;
use crate::step::Step;
use crate::{Run, State};

/// So many executors may be known to be asked; the rest has left or is lost.
const MOST: usize = 10_000;

/// An executor was asked to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedToLeave {
    /// Another process of the name is not meant. None until one has reported since the recovery.
    boot: Option<BootId>,
    limit_ms: u64,
}

impl State {
    /// How far an executor has come. It may not have reported yet if the scheduler has been up for less than a lease.
    pub fn drain_state(&self, executor: &ExecutorId, is_young: bool) -> DrainState {
        match self.executors.get(executor) {
            None if is_young => DrainState::Unheard,
            None => DrainState::Absent,
            Some(known) if known.boot.is_none() => DrainState::Unheard,
            Some(known) if known.drains_for.is_some() => DrainState::Draining,
            Some(_) => DrainState::Asked,
        }
    }

    /// Within how many milliseconds an executor is asked to leave.
    pub(crate) fn asked_to_leave(&self, executor: &ExecutorId) -> Option<u64> {
        self.drains.get(executor).map(|asked| asked.limit_ms)
    }
}

impl Run {
    /// Whether it was told that this process drains.
    fn knows_drained(&self, executor: &ExecutorId, boot: &BootId) -> bool {
        self.drained.get(executor) == Some(boot)
    }
}

impl Step<'_> {
    /// Of several limits the shortest holds.
    pub fn drain(&mut self, executors: Vec<ExecutorId>, limit_ms: u64) {
        for executor in executors {
            let Some(known) = self.state.executors.get_mut(&executor) else { continue };
            self.state.fleet.slots -= known.slots_that_count();
            known.draining = true;
            let fresh = AskedToLeave { boot: known.boot.clone(), limit_ms };
            let asked = self.state.drains.entry(executor.clone()).or_insert(fresh);
            asked.limit_ms = asked.limit_ms.min(limit_ms);
            if self.state.drains.len() > MOST {
                let lost =
                    self.state.drains.keys().find(|id| !self.state.executors.contains_key(*id)).cloned();
                if let Some(id) = lost {
                    self.state.drains.remove(&id);
                }
            }
            self.touched.extend(self.state.runs.keys().cloned());
            self.dirty.insert(executor);
        }
    }

    /// Whether the process that has an executor's name is asked to leave: one that came after it is not meant.
    pub fn is_asked_to_leave(&mut self, executor: &ExecutorId, boot: &BootId) -> bool {
        let Some(asked) = self.state.drains.get_mut(executor) else { return false };
        if asked.boot.get_or_insert_with(|| boot.clone()) == boot {
            return true;
        }
        self.state.drains.remove(executor);
        false
    }

    /// Tells each run that has something there, once.
    pub fn tell_of_drain(&mut self, executor: &ExecutorId, boot: &BootId, drain: &Drain) {
        let concerned = |run: &Run| run.workers.contains_key(executor) && !run.knows_drained(executor, boot);
        let runs: Vec<RunId> =
            self.state.runs.iter().filter(|(_, run)| concerned(run)).map(|(id, _)| id.clone()).collect();
        for run in runs {
            let (executor, boot, cause, why) =
                (executor.clone(), boot.clone(), drain.cause, drain.why.clone());
            self.record(&run, What::ExecutorDrained { executor, boot, cause, why });
        }
    }
}
