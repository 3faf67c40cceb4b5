//! Leases: how long silence is forgiven. They run on the monotonic clock and are volatile, so they begin anew after
//! recovery, and a pause of the scheduler itself extends them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seagull_domain::{BootId, EndCause, ExecutorId, InfraCause, Instant, Resources, RunId};

use crate::Effect;
use crate::fact::What;
use crate::run::{Phase, Run, Status};
use crate::state::{Executor, State};
use crate::step::{Origin, Step};
use crate::suspects::Death;

impl Executor {
    /// An executor that is known only from the journal.
    pub(crate) fn unseen(since: Instant, lease_until: Instant) -> Executor {
        Executor {
            boot: None,
            since,
            alone_since: None,
            answered: false,
            sequence: 0,
            lease_until,
            closed: None,
            due: None,
            slots: 0,
            capacity: Resources::UNBOUNDED,
            labels: BTreeMap::new(),
            draining: false,
            drains_for: None,
            held: None,
            version: 0,
            desired: Default::default(),
            told_to_leave: None,
            has: BTreeSet::new(),
            has_strays: false,
            running: BTreeMap::new(),
            late_from: None,
            given: BTreeMap::new(),
            begun: BTreeMap::new(),
            past_cap: None,
            done: BTreeSet::new(),
            room: BTreeMap::new(),
        }
    }
}

/// A shell that is late by more than this stood still, or has more to do than it can.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Whether an answer waits for its facts to be durable, since `since`, for longer than a disk takes.
pub fn is_kept_waiting(since: Instant, now: Instant) -> bool {
    now - since > STANDSTILL
}

impl State {
    /// For how long the scheduler may have stood still, if it did: it was due to wake and did not. Nobody knows since
    /// when, so it counts from `last` on, when its shell last did something. To be asked before anything else is done:
    /// what executors sent meanwhile may still be waiting.
    pub fn stood_still(&self, last: Instant, now: Instant) -> Option<Duration> {
        let late = self.next_deadline().is_some_and(|due| now - due > STANDSTILL);
        late.then(|| now - last)
    }
}

impl Step<'_> {
    pub fn tick(&mut self) {
        for executor in self.state.take_due(self.now) {
            if self.state.executors.get(&executor).is_some_and(|known| known.lease_until > self.now) {
                self.dirty.insert(executor); // Its call may have been held for long enough.
                continue;
            }
            self.lose_executor(&executor);
            let Some(gone) = self.state.forget(&executor) else { continue };
            self.state.losses.lived += self.now - gone.since;
            if gone.drains_for.is_some() {
                self.state.drains.remove(&executor);
            }
            if let Some(held) = gone.held {
                self.effect(Effect::Drop { call: held.call });
            }
        }
        self.trials_are_due();
        self.stop_orphans();
        self.give_up_judges();
    }

    pub fn disconnected(&mut self, executor: &ExecutorId, boot: &BootId, sequence: u64) {
        let until = self.now + self.state.settings.lease_closed;
        if let Some(state) = self.state.executors.get_mut(executor)
            && (state.boot.as_ref(), state.sequence) == (Some(boot), sequence)
        {
            state.lease_until = state.lease_until.min(until);
            state.closed = Some(self.now);
            let held = state.held.take();
            self.state.expect(executor);
            if let Some(held) = held {
                self.effect(Effect::Drop { call: held.call });
            }
        }
    }

    /// Their next report may be on its way as soon as they have the answer. Of one whose connection closed nothing is.
    pub fn unanswered(&mut self, executors: &[ExecutorId]) {
        let soon = self.now + self.state.settings.lease_closed;
        for executor in executors {
            let known = self.state.executors.get_mut(executor).filter(|known| known.closed.is_none());
            if let Some(known) = known {
                known.lease_until = known.lease_until.max(soon);
            }
        }
    }

    /// Leases are longer by the pause. Of one that had little left, the next report may be on its way.
    pub fn paused(&mut self, pause: Duration) {
        let soon = self.now + self.state.settings.lease_closed;
        for executor in self.state.executors.values_mut() {
            executor.lease_until = (executor.lease_until + pause).max(soon);
            executor.since = executor.since + pause;
            let running = executor.running.values_mut().map(|running| &mut running.since);
            let given = executor.given.values_mut().map(|(_, since)| since);
            let since = running.chain(given).chain(executor.begun.values_mut());
            let since = since.chain(&mut executor.alone_since).chain(&mut executor.closed);
            since.for_each(|since| *since = *since + pause);
        }
        self.state.trials.values_mut().flatten().for_each(|trial| *trial = *trial + pause);
        self.extend_patience(pause);
        self.extend_judgements(pause);
    }

    /// The journal was applied: waits for every executor it names, and asks again for all that was outstanding.
    pub fn recovered(&mut self) {
        let until = self.now + self.state.settings.lease;
        self.state.young_until = until;
        let with_workers = self.state.runs.values().flat_map(|run| run.workers.keys());
        let named: Vec<_> = self.state.placed.keys().chain(with_workers).cloned().collect();
        for executor in named {
            let unseen = || Executor::unseen(self.now, until);
            self.state.executors.entry(executor.clone()).or_insert_with(unseen);
            self.state.expect(&executor);
        }
        let runs: Vec<_> = self.state.runs.iter().map(|(id, run)| (id.clone(), run.phase)).collect();
        for (run, phase) in runs {
            self.expect_watchers(&run);
            self.try_all_later(&run);
            self.expect_judgement(&run);
            match phase {
                Phase::Planning { .. } => self.discovered(&run),
                Phase::Ended { .. } => self.effect(Effect::Archive { run }),
                _ => {
                    self.touched.insert(run);
                }
            }
        }
    }

    /// All that an executor has of every run is lost. Of one that drains that was to be expected.
    pub fn lose_executor(&mut self, executor: &ExecutorId) {
        let drains_for = self.state.executors.get(executor).and_then(|executor| executor.drains_for);
        let cause = drains_for.unwrap_or(InfraCause::ExecutorLost);
        let placed = self.state.placed.get(executor).cloned().unwrap_or_default();
        let leaves = self.state.executors.get(executor).is_some_and(|executor| executor.draining);
        self.state.losses.count += u32::from(cause == InfraCause::ExecutorLost && !leaves);
        for run in placed.values() {
            self.withdraw(run);
        }
        for (attempt, run) in placed.iter().rev() {
            self.lose_attempt(run, *attempt, cause);
        }
        let knows = |run: &Run| run.workers.contains_key(executor) || run.sick.contains_key(executor);
        let affected = |run: &&RunId| knows(&self.state.runs[*run]);
        let runs: Vec<_> = self.state.runs.keys().filter(affected).cloned().collect();
        for run in runs {
            self.state.trials.remove(&(run.clone(), executor.clone()));
            self.record(&run, What::ExecutorLost { executor: executor.clone(), cause });
        }
    }

    fn lose_attempt(&mut self, run: &RunId, attempt: seagull_domain::AttemptId, cause: InfraCause) {
        let state = &self.state.runs[run].attempts[&attempt];
        debug_assert_eq!(state.status, Status::Live);
        let (executor, left) = (state.executor.clone(), state.left.len() as u32);
        if state.withdrawn {
            let (cause, free, charged, cut_off) = (EndCause::Cancelled, false, Vec::new(), None);
            let ended = What::AttemptEnded { attempt, cause, executor, left, free, charged, cut_off };
            return self.record(run, ended);
        }
        let known = self.state.executors.get(&executor);
        let has = known.is_some_and(|executor| executor.has.contains(&attempt));
        // What an executor had that was not heard of since the recovery, nobody knows.
        let had = has || known.is_some_and(|executor| executor.boot.is_none());
        let since = known.and_then(|executor| executor.alone_since);
        let until = known.and_then(|executor| executor.closed).unwrap_or(self.now);
        let alone_ms = since.filter(|_| state.alone).map(|since| (until - since).as_millis() as u64);
        let epoch = self.state.epoch;
        let in_vain = has && cause.is_charged() && self.state.came_to_nothing(run, attempt);
        self.open_what_is_left(run, attempt, true, in_vain);
        let is_current = self.state.is_current(run, attempt);
        let (charged, suspect) = self.state.runs[run].blamed(attempt, cause, is_current, had);
        let state = &self.state.runs[run];
        let alone = suspect.filter(|_| state.attempts[&attempt].is_at_suspect_alone());
        let chance = alone.map(|test| {
            let death = Death { executor: executor.clone(), alone_ms, epoch };
            self.state.chance_with(state.test(test), &death, self.now)
        });
        let cut_off = self.state.cut_off(until, run, attempt);
        self.record(
            run,
            What::AttemptLost {
                attempt,
                cause,
                executor,
                left,
                had,
                alone_ms,
                epoch,
                charged,
                suspect,
                chance,
                cut_off,
            },
        );
    }

    /// What an attempt leaves without a result is looked at when the step settles; `avoids` says whether it should not go
    /// to this executor again, `in_vain` whether it was the slot's current one and nothing of it was seen to run.
    pub fn open_what_is_left(
        &mut self,
        run: &RunId,
        attempt: seagull_domain::AttemptId,
        avoids: bool,
        in_vain: bool,
    ) {
        let state = &self.state.runs[run].attempts[&attempt];
        let in_vain = state.in_vain() + u32::from(in_vain && !state.started);
        let avoid = if avoids { state.was_on() } else { state.avoid.clone() };
        let origin = Origin { attempt, avoid, in_vain };
        let left: Vec<_> =
            state.left.values().map(|(test, _)| (run.clone(), *test, origin.clone())).collect();
        self.open.extend(left);
    }
}
