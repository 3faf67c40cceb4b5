//! The desired state of an executor, derived from the whole.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{Desired, DesiredAttempt, ExecutorId, Kind, RunId, Surroundings};

use crate::run::{Phase, Run};
use crate::step::Step;
use crate::{Effect, State};

/// What is desired of an executor, as long as nothing changes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What it is to run.
    attempts: Vec<DesiredAttempt>,
    /// The runs whose workers it may keep.
    runs: BTreeSet<RunId>,
    /// Of the others, those that are cancelled.
    cancelled: BTreeSet<RunId>,
}

fn wanted(state: &State, executor: &ExecutorId) -> Wanted {
    let placed = state.placed.get(executor).into_iter().flatten();
    let mut attempts: Vec<_> = placed.map(|(id, run)| (&state.runs[run], *id, run)).collect();
    attempts.sort_by_key(|(run, id, _)| (run.attempts[id].slot, *id));
    let attempts = attempts.into_iter().map(|(run, id, run_id)| {
        let attempt = &run.attempts[&id];
        let sized = run.sized(attempt.environment, attempt.larger);
        DesiredAttempt {
            attempt: id,
            run: run_id.clone(),
            kind: if attempt.bundle.is_some() { Kind::Run } else { Kind::Discover },
            slot: attempt.slot,
            number: attempt.number,
            slots: attempt.slots,
            surroundings: Surroundings {
                environment: attempt.environment,
                larger: attempt.larger,
                needs: sized.needs,
                shared: sized.shared,
            },
            generation: attempt.generation,
            cancel: run.is_cancelling() || attempt.withdrawn || attempt.superseded,
            superseded: attempt.superseded,
        }
    });
    // Where a run does without an executor, the next worker there is a new one.
    let placed = state.placed.get(executor).into_iter().flat_map(BTreeMap::values);
    let placed: BTreeSet<_> = placed.collect();
    let is_wanted = |id: &RunId, run: &Run| {
        let has_worker = run.workers.contains_key(executor) && !run.is_cancelling();
        has_worker && (placed.contains(id) || !run.is_cordoned(executor))
    };
    let wanted = state.runs.iter().filter(|(id, run)| is_wanted(id, run)).map(|(id, _)| id.clone());
    let is_cancelled =
        |run: &Run| matches!(run.phase, Phase::Stopping(_)) && run.workers.contains_key(executor);
    let cancelled = state.runs.iter().filter(|(_, run)| is_cancelled(run)).map(|(id, _)| id.clone());
    Wanted { attempts: attempts.collect(), runs: wanted.collect(), cancelled: cancelled.collect() }
}

impl Step<'_> {
    /// Answers every held call whose executor has news, has delivered results, or has waited long enough.
    pub fn answer_executors(&mut self) {
        let reported = std::mem::take(&mut self.acknowledged);
        for executor in std::mem::take(&mut self.dirty) {
            self.answer(&executor, &reported);
            self.state.expect(&executor);
        }
    }

    fn answer(&mut self, executor: &ExecutorId, reported: &[(seagull_domain::AttemptId, u32)]) {
        let (epoch, now, lease) = (self.state.epoch, self.now, self.state.settings.lease);
        let (wanted, drain_ms) = (wanted(self.state, executor), self.state.asked_to_leave(executor));
        let Some(state) = self.state.executors.get_mut(executor) else { return };
        if state.desired != wanted || state.told_to_leave != drain_ms || state.version == 0 {
            (state.desired, state.told_to_leave) = (wanted, drain_ms);
            self.state.last_version += 1;
            state.version = self.state.last_version;
            if let Some(held) = &mut state.held {
                held.until = now;
            }
        }
        let acknowledged =
            if self.reporter.as_ref() == Some(executor) { reported.to_vec() } else { Vec::new() };
        let Some(held) = state.held.filter(|held| held.until <= now || !acknowledged.is_empty()) else {
            return;
        };
        state.held = None;
        let desired = Desired {
            epoch,
            version: state.version,
            attempts: state.desired.attempts.clone(),
            runs: state.desired.runs.iter().cloned().collect(),
            cancelled: state.desired.cancelled.iter().cloned().collect(),
            acknowledged,
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            drain_ms: state.told_to_leave,
        };
        self.effect(Effect::Answer { call: held.call, desired: Box::new(desired) });
    }
}
