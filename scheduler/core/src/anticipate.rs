//! Anticipation: while a discovery is under way, the plan of what it is expected to find runs already. Nothing of that is
//! shown or counts until the discovery has found just that; else it is as if it had never been.

use seagull_domain::{AttemptId, Digest, Generation, RunId};

use crate::fact::What;
use crate::run::{Attempt, Phase, Run};
use crate::step::Step;
use crate::{Effect, Plan};

impl Step<'_> {
    /// A discovery was given out. Slots that nobody else wants may meanwhile get what it will probably find: the first
    /// time only, for what was anticipated may be what a discovery was lost by.
    pub fn ask_to_anticipate(&mut self, run: &RunId, slots: u32) {
        if slots > 1 && self.may_anticipate(run) {
            self.effect(Effect::Anticipate { run: run.clone(), slots });
        }
    }

    fn may_anticipate(&self, run: &RunId) -> bool {
        let is_first = |run: &Run| run.manifest_generation == Generation(0) && run.discovery_losses == 0;
        self.unfinished() == 1 && self.state.runs.get(run).is_some_and(is_first)
    }

    pub fn anticipated(&mut self, run: &RunId, discovered: Digest, plan: Box<Plan>) {
        if self.may_anticipate(run) && self.state.runs[run].is_being_discovered() {
            self.record(run, What::Anticipated { discovered, plan });
        }
    }

    /// A run waits for its plan: the anticipated one, if that is of what was discovered.
    pub fn discovered(&mut self, run: &RunId) {
        let state = &self.state.runs[run];
        let Phase::Planning { generation, discovered } = state.phase else { return };
        if state.anticipated == Some(discovered) {
            return self.confirm(run);
        }
        self.withdraw(run);
        let slots = self.state.slots();
        self.effect(Effect::Plan { run: run.clone(), generation, discovered, slots });
    }

    /// What was anticipated counts from here on, and what was kept of it is recorded as if it came just now.
    fn confirm(&mut self, run: &RunId) {
        let state = &self.state.runs[run];
        let (Some(manifest), Some(summary)) = (state.manifest, state.anticipated_summary.clone()) else {
            unreachable!("an anticipated run has a manifest and a plan")
        };
        let (generation, tests) = (state.manifest_generation, state.tests.len() as u32);
        let buffered = state.buffered.clone();
        self.record(run, What::Confirmed { generation, manifest, tests, summary });
        for (attempt, batch, records) in buffered {
            self.record_batch(run, attempt, batch, &records);
        }
        self.hear_again(run);
    }

    /// Attempts may have ended, which was not to be heard until now: answers their executors' calls, so that they report
    /// again.
    fn hear_again(&mut self, run: &RunId) {
        for executor in self.state.runs[run].workers.keys() {
            let held = self.state.executors.get_mut(executor).and_then(|known| known.held.as_mut());
            held.into_iter().for_each(|held| held.until = self.now);
            self.dirty.insert(executor.clone());
        }
    }

    /// Another run has come: slots are not for what is only anticipated.
    pub fn withdraw_all(&mut self) {
        let runs: Vec<_> = self.state.runs.keys().cloned().collect();
        runs.iter().for_each(|run| self.withdraw(run));
    }

    /// Drops what was anticipated, if anything was, and interrupts what runs of it.
    pub fn withdraw(&mut self, run: &RunId) {
        if self.state.runs[run].anticipated.is_some() {
            self.record(run, What::Withdrawn);
            self.dirty.extend(self.state.runs[run].workers.keys().cloned());
        }
    }
}

impl Run {
    /// Whether a discovery is under way.
    pub fn is_being_discovered(&self) -> bool {
        self.phase == Phase::Discovering && self.live_attempts().any(|(_, attempt)| attempt.bundle.is_none())
    }

    /// Whether the attempt is of a plan that is only anticipated.
    pub(crate) fn anticipates(&self, attempt: &Attempt) -> bool {
        self.anticipated.is_some() && attempt.bundle.is_some() && !attempt.withdrawn
    }

    /// An attempt of which something may be shown.
    pub(crate) fn counting_attempt(&self, attempt: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&attempt).filter(|attempt| !attempt.withdrawn && !self.anticipates(attempt))
    }
}
