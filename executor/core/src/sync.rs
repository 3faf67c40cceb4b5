//! Taking the desired state and the contents of bundles.

use std::collections::BTreeSet;
use std::time::Duration;

use seagull_domain::{
    AttemptId, BundleContents, Desired, DesiredAttempt, EndCause, InfraCause, SlotIndex, TestIndex,
};

use crate::attempt::Attempt;
use crate::state::State;
use crate::{Effect, Notice};

impl State {
    /// An answer that is older than the last one taken is ignored.
    pub(crate) fn desired(&mut self, desired: Desired) {
        if (desired.epoch, desired.version) < self.known {
            return;
        }
        if desired.epoch > self.known.0 {
            self.ask_anew();
        }
        self.known = (desired.epoch, desired.version);
        if let Some(farewell) = &mut self.farewell {
            farewell.heard = farewell.said;
        }
        self.acknowledge(&desired);
        if let Some(limit) = desired.drain_ms {
            self.leave(Notice::drain("an operator", Duration::from_millis(limit)));
        }
        let slots = self.slots.len();
        let wanted: BTreeSet<_> = desired.attempts.iter().map(|attempt| attempt.attempt).collect();
        for attempt in desired.attempts.iter().filter(|a| usize::from(a.slot.0) < slots) {
            self.want(attempt);
            if attempt.cancel && !attempt.superseded && desired.runs.contains(&attempt.run) {
                self.retire_worker(attempt);
                self.unsay(attempt.attempt);
            }
        }
        for (id, attempt) in &mut self.attempts {
            if !wanted.contains(id) {
                attempt.desired = false;
                attempt.stop(EndCause::Cancelled);
                attempt.end_if_done();
            }
        }
        if self.leaving.is_none() {
            self.runs = desired.runs.into_iter().collect();
        }
        self.cancelled = desired.cancelled.into_iter().collect();
        self.hurry();
    }

    fn acknowledge(&mut self, desired: &Desired) {
        for (id, last) in &desired.acknowledged {
            if let Some(attempt) = self.attempts.get_mut(id) {
                attempt.outbox.retain(|batch| batch.number > *last);
                if !attempt.outbox.is_empty() {
                    self.effects.push(Effect::Report { results_only: true });
                }
            }
        }
    }

    /// The scheduler has restarted. Contents that did not come may have been refused for a newer generation that was
    /// forgotten in the restart, so they are asked for again.
    fn ask_anew(&mut self) {
        for attempt in self.attempts.values_mut() {
            attempt.fetching = attempt.generation;
        }
    }

    /// The attempt does not count, but its run goes on: its tests are run anew, in a process where they have not run.
    fn retire_worker(&mut self, attempt: &DesiredAttempt) {
        let Some(worker) = self.slot_mut(attempt.slot).and_then(|slot| slot.worker.as_mut()) else { return };
        let serves = (&worker.run, worker.number) == (&attempt.run, attempt.number);
        worker.retired |= serves && (worker.worked || !worker.fed.is_empty());
    }

    fn want(&mut self, desired: &DesiredAttempt) {
        let (drained, fed) = (self.drained(), self.fed_of(desired.slot, desired.attempt));
        let attempt = self.attempts.entry(desired.attempt).or_insert_with(|| Attempt::new(desired));
        attempt.desired = true;
        attempt.superseded |= desired.superseded;
        if desired.cancel {
            attempt.stop(EndCause::Cancelled);
        } else if let Some(cause) = drained {
            attempt.stop(cause);
        }
        let (generation, had_ended) = (attempt.generation, attempt.ended.is_some());
        attempt.keep_all(desired.generation, &fed);
        attempt.end_if_done();
        if (attempt.generation, attempt.ended.is_some()) != (generation, had_ended) {
            self.effects.push(Effect::Report { results_only: false });
        }
        if attempt.is_open() && !attempt.discover && desired.generation > attempt.fetching {
            attempt.fetching = desired.generation;
            let (run, attempt, generation) = (desired.run.clone(), desired.attempt, desired.generation);
            self.effects.push(Effect::Fetch { run, attempt, generation });
        }
    }

    /// Without any contents an attempt is given back. One that has some goes on by those: a take-back that cannot be
    /// learned of is not worth a test that runs.
    pub(crate) fn no_contents(&mut self, id: AttemptId, message: String) {
        if self.attempts.get(&id).is_some_and(|attempt| !attempt.is_ready()) {
            self.give_back(id, InfraCause::ArtifactUnavailable, message);
        }
    }

    pub(crate) fn contents(&mut self, id: AttemptId, contents: BundleContents) {
        let Some(slot) = self.attempts.get(&id).map(|attempt| attempt.slot) else { return };
        let fed = self.fed_of(slot, id);
        let attempt = self.attempts.get_mut(&id).expect("it is there");
        let first = attempt.generation.0 == 0;
        attempt.take(contents, &fed);
        attempt.end_if_done();
        if !first || attempt.ended.is_some() {
            self.report(false);
        }
        self.decline(slot);
    }

    /// The tests of an attempt that its slot's worker has.
    pub(crate) fn fed_of(&self, slot: SlotIndex, id: AttemptId) -> BTreeSet<TestIndex> {
        let worker = self.slots.get(usize::from(slot.0)).and_then(|slot| slot.worker.as_ref());
        let fed = worker.into_iter().flat_map(|w| &w.fed).filter(|(of, _)| *of == id);
        fed.map(|(_, entry)| entry.test).collect()
    }

    /// What is only expected to be there is to run in what it was expected in: it goes back before anything of it runs.
    pub(crate) fn decline(&mut self, slot: SlotIndex) {
        let worker = self.slots.get(usize::from(slot.0)).and_then(|slot| slot.worker.as_ref());
        let Some(worker) = worker.filter(|worker| worker.differs) else { return };
        let expected =
            |attempt: &Attempt| attempt.anticipated && attempt.is_open() && attempt.run == worker.run;
        let declined: Vec<_> = self.queue(slot).filter(|(_, a)| expected(a)).map(|(id, _)| id).collect();
        for attempt in declined {
            self.give_back(attempt, InfraCause::EnvironmentDiffers, String::new());
        }
    }
}
