//! What must hold after every step. Tests and the simulation call it; it is too slow for production.

use std::collections::BTreeMap;

use seagull_domain::{AttemptId, Counts, Epoch, ExecutorId, Role, RunId};

use crate::State;
use crate::run::{Phase, Run, Status};

impl State {
    /// Panics, saying what, if an invariant is broken.
    pub fn sanity_check(&self) {
        for (id, run) in &self.runs {
            run.sanity_check(id);
            for (attempt, state) in &run.attempts {
                let placed =
                    self.placed.get(&state.executor).is_some_and(|placed| placed.contains_key(attempt));
                assert_eq!(placed, state.status == Status::Live, "{id}: placement of attempt {attempt}");
            }
        }
        for (id, executor) in &self.executors {
            assert_eq!(executor.room, self.room(id), "{id}: slots with room");
        }
        self.check_fleet();
        for id in self.watches.keys() {
            let run = self.runs.get(id).expect("a watch is of a run");
            assert!(run.goes_on() && run.spec.orphan_ms.is_some(), "{id}: it cannot become an orphan");
        }
        for (id, run) in &self.runs {
            let mut cordoned = run.sick.keys().filter(|executor| run.is_cordoned(executor));
            let waits = |executor: &ExecutorId| self.trials.contains_key(&(id.clone(), executor.clone()));
            // Not until a scheduler that has just recovered has begun.
            assert!(
                self.executors.is_empty() || cordoned.all(waits),
                "{id}: an executor is cordoned for ever"
            );
        }
        for (run, executor) in self.trials.keys() {
            assert!(
                self.runs[run].is_cordoned(executor) || self.runs[run].is_red_on(executor),
                "{run}: a trial of {executor}, which is sound"
            );
        }
        for id in self.judgements.keys() {
            assert_eq!(self.runs[id].phase, Phase::Judging, "{id}: waits for its client");
        }
        for (executor, placed) in &self.placed {
            for (attempt, run) in placed {
                assert!(
                    self.runs[run].attempts.contains_key(attempt),
                    "{executor}: unknown attempt {attempt}"
                );
                let slot = self.runs[run].attempts[attempt].slot;
                // What has ended, though that is not heard yet, is known once it has reported since the recovery.
                let known = self.executors.get(executor).filter(|known| known.boot.is_some());
                // Of a plan that does not count yet that may take it several reports, if it has much to deliver first.
                let may_have_ended = |id: &AttemptId| {
                    let run = &self.runs[&placed[id]];
                    self.epoch > Epoch(1) && run.anticipates(&run.attempts[id])
                };
                let is_done =
                    |id: &AttemptId| known.is_none_or(|known| known.done.contains(id)) || may_have_ended(id);
                let alone = self.runs[run].attempts[attempt].alone && !is_done(attempt);
                let others = placed.keys().filter(|id| *id != attempt && !is_done(id));
                assert!(!alone || others.count() == 0, "{executor}: something runs beside {attempt}");
                let open = self.queue(executor, slot).into_iter().filter(|(id, _)| !is_done(id));
                assert!(open.count() <= 2, "{executor}: more than one next in slot {slot}");
            }
        }
    }
}

impl Run {
    fn sanity_check(&self, id: &RunId) {
        let mut held = vec![0; self.tests.len()];
        let mut relations: BTreeMap<u32, u32> = BTreeMap::new();
        for (test, role) in self.live_attempts().flat_map(|(_, attempt)| attempt.left.values()) {
            held[test.0 as usize] += u32::from(*role == Role::Run);
            *relations.entry(self.test(*test).relation).or_default() += 1;
        }
        relations.remove(&0);
        assert_eq!(self.relations_held, relations, "{id}: held relations");
        let mut counts = Counts { total: self.tests.len() as u32, ..Counts::default() };
        for (index, test) in self.tests.iter().enumerate() {
            assert_eq!(test.held, held[index], "{id}: holders of test {index}");
            assert!(test.held <= 1 + u32::from(test.copied.is_some()), "{id}: test {index} is held twice");
            let waits = test.held > 0 || test.pending.is_some() || matches!(self.phase, Phase::Stopping(_));
            assert!(test.verdict.is_some() || waits, "{id}: nobody owes test {index} a verdict");
            assert!(
                test.verdict.is_none() || test.pending.is_none(),
                "{id}: test {index} is decided and pending"
            );
            if let Some(bundle) = test.pending {
                let entries = &self.pending[&bundle].entries;
                assert!(
                    entries.iter().any(|(t, _)| t.0 as usize == index),
                    "{id}: test {index} is not in its bundle"
                );
            }
            test.verdict.into_iter().for_each(|verdict| counts.add(verdict));
        }
        assert_eq!(self.counts, counts, "{id}: counts");
        let in_order = self.pending.in_order().count();
        assert_eq!(in_order, self.pending.len(), "{id}: bundles in order");
        for bundle in self.pending.values() {
            let environment = self.environment_of(bundle);
            let mixed = bundle.entries.iter().any(|(test, _)| self.test(*test).environment != environment);
            assert!(!mixed, "{id}: a bundle of several environments");
        }
        for attempt in self.attempts.values() {
            let mixed =
                attempt.left.values().any(|(test, _)| self.test(*test).environment != attempt.environment);
            assert!(!mixed, "{id}: an attempt of several environments");
            let left: u64 = attempt.left.values().map(|(test, _)| self.test(*test).predicted_us).sum();
            assert_eq!(attempt.left_us, left, "{id}: what is left");
            assert_eq!(attempt.left.len(), attempt.place.len(), "{id}: places");
        }
        let alone = self.live_attempts().filter(|(_, attempt)| attempt.alone).count();
        assert_eq!(self.alone as usize, alone, "{id}: attempts that run alone");
        let copied = self.tests.iter().filter(|test| test.copied.is_some()).count();
        assert_eq!(self.copies as usize, copied, "{id}: second copies");
        self.check_anticipation(id);
        assert!(!self.is_ended() || self.sick.is_empty(), "{id}: ended with executors that are sick");
        if self.is_ended() || matches!(self.phase, Phase::Judging | Phase::Judged) {
            assert!(self.all_decided() && self.workers.is_empty(), "{id}: ended with something left");
        }
    }

    fn check_anticipation(&self, id: &RunId) {
        let anticipates = self.anticipated.is_some();
        let waits = self.is_being_discovered() || matches!(self.phase, Phase::Planning { .. });
        assert!(!anticipates || waits, "{id}: anticipates what nobody discovers or plans");
        assert_eq!(anticipates, self.anticipated_summary.is_some(), "{id}: the figures of its plan");
        assert!(anticipates || self.buffered.is_empty(), "{id}: keeps what counts or was withdrawn");
        assert!(!anticipates || self.counts.decided() == 0, "{id}: decides what is only anticipated");
        let known = self.phase != Phase::Discovering && self.manifest.is_some();
        assert!(known || anticipates || self.tests.is_empty(), "{id}: has tests of no manifest");
        for (number, attempt) in &self.attempts {
            assert!(
                !attempt.withdrawn || attempt.left.is_empty(),
                "{id}: attempt {number} owes what was withdrawn"
            );
        }
    }
}
