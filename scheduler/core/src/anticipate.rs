//! Anticipation: while a discovery is under way, the plan of what it is expected to find runs already. Nothing of that is
//! shown or counts until the discovery has found just that, or what has been planned instead says where its tests are.

use seagull_domain::{AttemptId, Digest, Generation, Record, RunId, TestIndex};

use crate::fact::What;
use crate::run::{Attempt, Phase, Run};
use crate::step::Step;
use crate::{Effect, Plan};

/// So many tests whose results do not count are named at a time.
const MOST_NAMED: usize = 1000;

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
        let may = |run: &Run| run.spec.early_start && is_first(run);
        self.unfinished() == 1 && self.state.runs.get(run).is_some_and(may)
    }

    pub fn anticipated(&mut self, run: &RunId, discovered: Digest, plan: Box<Plan>) {
        if self.may_anticipate(run) && self.state.runs[run].is_being_discovered() {
            self.record(run, What::Anticipated { discovered, plan });
        }
    }

    /// A run waits for its plan: the anticipated one, if that is of what was discovered. Else another is asked for, and
    /// what is under way goes on until it comes.
    pub fn discovered(&mut self, run: &RunId) {
        let state = &self.state.runs[run];
        let Phase::Planning { generation, discovered } = state.phase else { return };
        if state.anticipated == Some(discovered) {
            return self.confirm(run);
        }
        let (slots, anticipated) = (self.state.slots(), state.anticipated.and(state.manifest));
        self.effect(Effect::Plan { run: run.clone(), generation, discovered, slots, anticipated });
    }

    /// What was anticipated counts from here on.
    fn confirm(&mut self, run: &RunId) {
        let state = &self.state.runs[run];
        let (Some(manifest), Some(summary)) = (state.manifest, state.anticipated_summary.clone()) else {
            unreachable!("an anticipated run has a manifest and a plan")
        };
        let (generation, tests) = (state.manifest_generation, state.tests.len() as u32);
        self.and_what_was_kept(run, What::Confirmed { generation, manifest, tests, summary });
    }

    /// The plan of what was discovered. Of what was anticipated instead, what is in both counts and goes on.
    pub fn take_plan(&mut self, run: &RunId, generation: Generation, mut plan: Box<Plan>) {
        plan.moved = plan.moved.filter(|_| self.state.runs[run].anticipated.is_some());
        if plan.moved.is_some() {
            return self.and_what_was_kept(run, What::Planned { generation, plan });
        }
        self.withdraw(run);
        self.record(run, What::Planned { generation, plan });
    }

    /// Records a fact from which on what was kept counts, and then that, as if it came just now.
    fn and_what_was_kept(&mut self, run: &RunId, what: What) {
        let buffered = self.state.runs[run].buffered.clone();
        self.record(run, what);
        for (attempt, batch, records) in buffered {
            self.record_batch(run, attempt, batch, records);
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
        let state = &self.state.runs[run];
        if let Some(manifest) = state.manifest.filter(|_| state.anticipated.is_some()) {
            let discarded = state.buffered.iter().flat_map(|(.., records)| results(records)).collect();
            self.discard(run, manifest, discarded);
            self.record(run, What::Withdrawn);
            self.dirty.extend(self.state.runs[run].workers.keys().cloned());
        }
    }

    /// Tells of results that do not count, of tests of a manifest that is not the run's.
    pub fn discard(&mut self, run: &RunId, manifest: Digest, mut tests: Vec<TestIndex>) {
        if !tests.is_empty() {
            let count = tests.len() as u32;
            tests.truncate(MOST_NAMED);
            self.record(run, What::Discarded { manifest, tests, count });
        }
    }
}

/// The tests that were executed.
fn results(records: &[Record]) -> impl Iterator<Item = TestIndex> {
    records.iter().filter_map(|record| match record {
        Record::Result(result) if result.last => Some(result.test),
        _ => None,
    })
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
