//! An executor's report: batches first, then attempts, then workers, so that what ended has delivered its results.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Batch, BootId, EndCause, Evidence, ExecutorId, InfraCause,
    Record, Report, RunId, SlotIndex, TestIndex,
};

use crate::fact::What;
use crate::run::{Attempt, Phase, Run, Status};
use crate::sick::Pays;
use crate::state::{Executor, Held, Running};
use crate::step::{Origin, Step};
use crate::weighing::Weighing;
use crate::{Call, Effect, State};

/// So many processes are remembered to have taken an executor's name.
const NAMES: usize = 10_000;

impl Step<'_> {
    pub fn report(&mut self, call: Call, mut report: Report) {
        if let Some(refusal) = self.refusal(call, &report) {
            return self.effect(refusal);
        }
        self.seen(call, &report);
        if let Some(drain) = &report.draining {
            self.tell_of_drain(&report.executor, &report.boot, drain);
        }
        let acknowledged = self.batches(&report);
        for status in &mut report.attempts {
            let run = self.state.runs.get(&status.run);
            if let Some(attempt) = run.and_then(|run| run.attempts.get(&status.attempt)) {
                attempt.renumber_report(status);
            }
        }
        for attempt in &report.attempts {
            self.attempt(&report, attempt);
        }
        self.workers(&report);
        self.show_running(&report);
        self.remember_done(&report);
        self.dirty.insert(report.executor.clone());
        self.reporter = Some(report.executor);
        self.acknowledged = acknowledged;
    }

    /// A report of the boot that has the name must have a higher number. One of an unknown boot takes the name, one that
    /// had it before does not while another has it.
    fn refusal(&self, call: Call, report: &Report) -> Option<Effect> {
        let known = self.state.executors.get(&report.executor)?;
        if known.boot.as_ref() == Some(&report.boot) {
            return (report.sequence <= known.sequence).then_some(Effect::Drop { call });
        }
        let had_it = self.state.names.contains(&(report.executor.clone(), report.boot.clone()))
            || self.state.is_replaced(&report.executor, &report.boot, known.boot.as_ref());
        let refusal = if known.answered { Effect::Displaced { call } } else { Effect::Drop { call } };
        had_it.then_some(refusal)
    }

    fn seen(&mut self, call: Call, report: &Report) {
        self.take_name(&report.executor, &report.boot);
        let asked = self.is_asked_to_leave(&report.executor, &report.boot);
        let (lease, now) = (self.state.settings.lease, self.now);
        let epoch = self.state.epoch;
        let entry = self.state.executors.entry(report.executor.clone());
        let executor = entry.or_insert_with(|| Executor::unseen(now, now + lease));
        executor.boot = Some(report.boot.clone());
        executor.sequence = report.sequence;
        (executor.lease_until, executor.closed) = (now + lease, None);
        executor.drains_for = report.draining.as_ref().map(|drain| drain.cause);
        let capacity = (report.slots, asked || report.draining.is_some());
        let changed = (executor.slots, executor.draining) != capacity;
        self.state.fleet.slots -= executor.slots_that_count();
        (executor.slots, executor.draining) = capacity;
        self.state.fleet.slots += executor.slots_that_count();
        executor.capacity = report.capacity;
        executor.labels.clone_from(&report.labels);
        let current = report.known == (epoch, executor.version);
        executor.answered |= current;
        // One that has nothing any more and is about to leave waits only to be heard.
        let parts = report.draining.is_some() && report.attempts.is_empty() && report.workers.is_empty();
        let until = if current && !parts { now + lease / 3 } else { now };
        let replaced = executor.held.replace(Held { call, until });
        if let Some(held) = replaced {
            self.effect(Effect::Drop { call: held.call });
        }
        if changed {
            self.touched.extend(self.state.runs.keys().cloned());
        }
    }

    /// Another process reports under the executor's name: what an earlier one had is lost.
    fn take_name(&mut self, executor: &ExecutorId, boot: &BootId) {
        let state = &*self.state;
        let known = state.executors.get(executor).and_then(|known| known.boot.as_ref());
        if known == Some(boot) {
            return;
        }
        let attempts = state.placed.get(executor).into_iter().flatten();
        let attempts = attempts.map(|(id, run)| &state.runs[run].attempts[id].boot);
        let workers = state.runs.values().filter_map(|run| run.workers.get(executor)).flatten();
        let workers = workers.map(|(_, worker)| &worker.boot);
        let earlier = attempts.chain(workers).chain(known).filter(|known| *known != boot);
        let earlier: BTreeSet<_> = earlier.cloned().collect();
        if !earlier.is_empty() {
            self.lose_executor(executor);
        }
        if let Some(known) = self.state.executors.get_mut(executor) {
            if known.boot.is_some() {
                self.state.losses.lived += self.now - known.since;
                (known.since, known.alone_since) = (self.now, None);
            }
            (known.answered, known.version) = (false, 0);
            known.has.clear();
            known.has_strays = false;
            known.running.clear();
            known.given.clear();
            known.done.clear();
            known.begun.clear();
        }
        self.state.look_for_late(executor);
        let names = &mut self.state.names;
        names.retain(|(of, name)| of != executor || (name != boot && !earlier.contains(name)));
        names.extend(earlier.into_iter().chain([boot.clone()]).map(|boot| (executor.clone(), boot)));
        names.drain(..names.len().saturating_sub(NAMES));
    }

    /// Records what is new; returns how far each attempt is durable.
    fn batches(&mut self, report: &Report) -> Vec<(AttemptId, u32)> {
        let mut acknowledged = BTreeMap::new();
        for batch in &report.batches {
            let last = self.batch(report, batch);
            let entry = acknowledged.entry(batch.attempt).or_insert(last);
            *entry = last.max(*entry);
        }
        acknowledged.into_iter().collect()
    }

    fn batch(&mut self, report: &Report, batch: &Batch) -> u32 {
        let run = self.state.runs.get(&batch.run).filter(|run| !run.is_ended());
        let known = run.and_then(|run| Some((run, run.attempts.get(&batch.attempt)?)));
        let Some((run, attempt)) = known.filter(|(_, a)| is_of(a, report) && !a.withdrawn) else {
            return batch.number; // Discarded.
        };
        if batch.number != attempt.batch + 1 {
            return attempt.batch;
        }
        if run.anticipates(attempt) {
            let (attempt, records) = (batch.attempt, batch.records.clone());
            self.record(&batch.run, What::Provisional { attempt, batch: batch.number, records });
        } else {
            self.record_batch(&batch.run, batch.attempt, batch.number, batch.records.clone());
        }
        batch.number
    }

    /// Records the next batch of an attempt.
    pub fn record_batch(&mut self, run: &RunId, attempt: AttemptId, batch: u32, records: Vec<Record>) {
        let known = &self.state.runs[run].attempts[&attempt];
        let (records, discarded) = known.renumbered(records);
        if let Some(manifest) = known.numbering.as_ref().map(|numbering| numbering.manifest) {
            self.discard(run, manifest, discarded);
        }
        let state = &self.state.runs[run];
        let known = &state.attempts[&attempt];
        let mut weighed = Weighing::of(self.state, state, known);
        let records: Vec<_> = records.into_iter().map(|record| weighed.weigh(record)).collect();
        let (executor, slot) = (known.executor.clone(), known.number);
        self.reopen(run, attempt, &records);
        self.record(run, What::Recorded { attempt, batch, executor, slot, records });
    }

    /// Tests that a batch reports on may be decided, or owed a retry, elsewhere where it can be.
    fn reopen(&mut self, run: &RunId, attempt: AttemptId, records: &[(Record, Option<Evidence>)]) {
        let avoid = self.state.runs[run].attempts[&attempt].was_on();
        for (record, evidence) in records {
            let test = match record {
                Record::Result(result) if result.last => result.test,
                Record::Missing { test, .. } => *test,
                _ => continue,
            };
            if evidence.is_none_or(Evidence::is_first_kill) {
                let origin = Origin { attempt, avoid: avoid.clone(), in_vain: 0 };
                self.open.push((run.clone(), test, origin));
                self.tell_copies(run, test);
            }
        }
    }

    /// One of an anticipated plan has to go on saying that it has ended until the plan counts, unless it cannot wait.
    fn attempt(&mut self, report: &Report, status: &AttemptReport) {
        let Some(run) = self.state.runs.get(&status.run) else { return };
        let Some(attempt) = run.attempts.get(&status.attempt) else { return };
        if attempt.status != Status::Live || !is_of(attempt, report) {
            return;
        }
        if run.anticipates(attempt) {
            let ended = matches!(status.state, AttemptState::Ended(_));
            let given_back = matches!(status.state, AttemptState::Ended(EndCause::GaveBack(..)));
            if !(given_back || ended && report.draining.is_some()) {
                return;
            }
            self.withdraw(&status.run);
        }
        self.taken_back(status);
        if let AttemptState::Ended(cause) = &status.state {
            self.attempt_ended(&status.run, status.attempt, cause);
        }
    }

    /// What was asked back is given back, or stays: before anything else, because an attempt of which everything was
    /// asked back ends with that.
    fn taken_back(&mut self, status: &AttemptReport) {
        let attempt = &self.state.runs[&status.run].attempts[&status.attempt];
        if !attempt.asked.is_empty() && status.generation == attempt.generation {
            let stays: BTreeSet<_> = status.kept.iter().copied().collect();
            let kept = attempt.asked.intersection(&stays).copied().collect();
            let asked = attempt.left.values().map(|(test, _)| *test).filter(|t| attempt.asked.contains(t));
            let given: Vec<_> = asked.filter(|test| !stays.contains(test)).collect();
            let (avoid, in_vain) = (attempt.avoid.clone(), attempt.in_vain());
            let origin = Origin { attempt: status.attempt, avoid, in_vain };
            self.open.extend(given.iter().map(|test| (status.run.clone(), *test, origin.clone())));
            let given = given.len() as u32;
            let (attempt, why) = (status.attempt, attempt.recall);
            self.record(&status.run, What::TakenBack { attempt, kept, given, why });
        }
    }

    fn attempt_ended(&mut self, run: &RunId, attempt: AttemptId, cause: &EndCause) {
        let state = &self.state.runs[run];
        let discovery = state.attempts[&attempt].bundle.is_none();
        let drained = matches!(cause, EndCause::GaveBack(cause, _) if !cause.is_charged());
        let cause = if state.attempts[&attempt].withdrawn {
            EndCause::Cancelled
        } else if drained && !discovery && state.attempts[&attempt].left.is_empty() {
            EndCause::Completed
        } else if fits(state, &state.attempts[&attempt], cause) {
            cause.clone()
        } else {
            let message = "its executor ended it without having done anything of it".into();
            EndCause::GaveBack(InfraCause::SandboxFailed, message)
        };
        let cause = match cause {
            EndCause::DiscoveryFailed(message) if self.may_discover_elsewhere(run, attempt) => {
                EndCause::GaveBack(InfraCause::EnvironmentDiffers, message)
            }
            EndCause::DiscoveryFailed(message) => EndCause::DiscoveryFailed(with_doubts(state, &message)),
            cause => cause,
        };
        let wanted = state.phase == Phase::Discovering;
        let executor = state.attempts[&attempt].executor.clone();
        let left = state.attempts[&attempt].left.len() as u32;
        let failed = matches!(cause, EndCause::GaveBack(..) | EndCause::Completed);
        let avoids = failed || state.attempts[&attempt].superseded;
        let in_vain = matches!(&cause, EndCause::GaveBack(cause, _) if cause.is_charged());
        self.open_what_is_left(run, attempt, avoids, in_vain);
        let cause = if wanted || !discovery { cause } else { EndCause::Cancelled };
        if discovery && !matches!(cause, EndCause::Discovered(_)) {
            self.withdraw(run);
        }
        let state = &self.state.runs[run];
        let who = match &cause {
            EndCause::GaveBack(cause, _) if cause.is_charged() => {
                Some(self.state.who_pays(state, &state.attempts[&attempt], *cause, self.now))
            }
            _ => None,
        };
        let free = who == Some(Pays::Nobody);
        let charged = match (who, &cause) {
            (Some(Pays::All), _) => state.charged(attempt),
            (None, EndCause::Completed) => state.broken_relations(attempt),
            _ => Vec::new(),
        };
        let cut_off = self.state.cut_off(self.now, run, attempt);
        let ended =
            What::AttemptEnded { attempt, cause: cause.clone(), executor, left, free, charged, cut_off };
        self.record(run, ended);
        self.judge_trial(run, attempt);
        match cause {
            EndCause::Discovered(_) => self.discovered(run),
            EndCause::DiscoveryFailed(message) => self.record(run, What::DiscoveryFailed { message }),
            _ => {}
        }
    }

    /// Whether a discovery that failed is worth another try: no second executor has said that it cannot be done.
    fn may_discover_elsewhere(&self, run: &RunId, attempt: AttemptId) -> bool {
        let state = &self.state.runs[run];
        let here = &state.attempts[&attempt].executor;
        let mut others = self.state.executors.iter().filter(|(id, _)| *id != here);
        state.phase == Phase::Discovering
            && state.doubted.is_empty()
            && others.any(|(_, executor)| executor.may_take())
    }

    /// A worker that is not reported, in a slot that has nothing of its run to do, has ended.
    fn workers(&mut self, report: &Report) {
        let alive = report.workers.iter().map(|worker| (&worker.run, worker.slot));
        let placed = self.state.placed.get(&report.executor).into_iter().flatten();
        let busy = placed.map(|(id, run)| (run, self.state.runs[run].attempts[id].slot));
        let stays: BTreeSet<_> = alive.chain(busy).collect();
        let mut ended = Vec::new();
        for (id, run) in &self.state.runs {
            let slots = run.workers.get(&report.executor).into_iter().flat_map(BTreeMap::keys);
            ended.extend(slots.filter(|slot| !stays.contains(&(id, **slot))).map(|slot| (id.clone(), *slot)));
        }
        for (run, slot) in ended {
            self.record(&run, What::WorkerEnded { executor: report.executor.clone(), slot });
        }
    }

    fn show_running(&mut self, report: &Report) {
        let mut before = std::mem::take(&mut self.seen_mut(report).running);
        let mut running = BTreeMap::new();
        for status in &report.attempts {
            let run = self.state.runs.get(&status.run);
            let attempt = run.and_then(|run| run.counting_attempt(status.attempt));
            if let (AttemptState::Running(Some(test)), Some(attempt)) = (&status.state, attempt) {
                let (slot, number, test) = (attempt.slot, attempt.number, *test);
                let (run, attempt) = (status.run.clone(), status.attempt);
                let now = Running { run, attempt, number, test, since: self.now };
                let same =
                    |known: &Running| known.run == now.run && known.number == number && known.test == test;
                match before.remove(&slot) {
                    Some(known) if same(&known) => running.insert(slot, known),
                    _ => {
                        self.show(report, &now, Some(test));
                        self.has_begun(report, slot, status);
                        running.insert(slot, now)
                    }
                };
            }
        }
        for stopped in before.values() {
            self.show(report, stopped, None);
        }
        self.seen_mut(report).running = running;
        self.state.look_for_late(&report.executor);
    }

    /// Learns what it took from giving out an attempt to its first test.
    fn has_begun(&mut self, report: &Report, slot: SlotIndex, status: &AttemptReport) {
        let now = self.now;
        let given = self.seen_mut(report).given.remove(&slot);
        if let Some((_, since)) = given.filter(|(attempt, _)| *attempt == status.attempt) {
            let took_us = u64::try_from((now - since).as_micros()).unwrap_or(u64::MAX);
            let known = self.state.starts_us.entry(status.run.clone()).or_insert(took_us);
            *known = *known / 4 * 3 + took_us / 4;
        }
    }

    /// What has ended, though that is not to be heard yet, leaves its slot free.
    fn remember_done(&mut self, report: &Report) {
        let has_ended = |status: &&AttemptReport| matches!(status.state, AttemptState::Ended(_));
        let ended = report.attempts.iter().filter(has_ended).map(|status| status.attempt);
        let placed = self.state.placed.get(&report.executor);
        let is_placed = |attempt: &AttemptId| placed.is_some_and(|placed| placed.contains_key(attempt));
        // Where a report cannot hold all that is to be delivered, an attempt that has ended waits again in the next.
        let known = self.state.executors.get(&report.executor);
        let before = known.into_iter().flat_map(|known| known.done.iter().copied());
        let done = before.chain(ended).filter(is_placed).collect();
        let is_stray = |status: &AttemptReport| !has_ended(&status) && !is_placed(&status.attempt);
        let has_strays = report.attempts.iter().any(is_stray);
        let runs = report.attempts.iter().filter(|status| matches!(status.state, AttemptState::Running(_)));
        let running: BTreeSet<_> = runs.map(|status| status.attempt).collect();
        let now = self.now;
        let executor = self.seen_mut(report);
        (executor.done, executor.has_strays) = (done, has_strays);
        executor.begun.retain(|attempt, _| running.contains(attempt));
        running.into_iter().for_each(|attempt| {
            executor.begun.entry(attempt).or_insert(now);
        });
        executor.has = report.attempts.iter().map(|status| status.attempt).collect();
    }

    fn show(&mut self, report: &Report, Running { run, number, .. }: &Running, test: Option<TestIndex>) {
        let (run, executor, slot) = (run.clone(), report.executor.clone(), *number);
        self.effect(Effect::Live { run, executor, slot, test });
    }

    fn seen_mut(&mut self, report: &Report) -> &mut Executor {
        self.state.executors.get_mut(&report.executor).expect("it was seen")
    }
}

impl State {
    /// Whether a boot is known to be gone, by what was given out before this life of the scheduler, of which `names` knows
    /// nothing: the executor's name went to `by`, or nobody has it yet and another boot was given something later.
    fn is_replaced(&self, executor: &ExecutorId, boot: &BootId, by: Option<&BootId>) -> bool {
        let attempts = self.runs.values().flat_map(|run| &run.attempts);
        let of_executor = attempts.filter(|(_, attempt)| attempt.executor == *executor);
        let (mut own, mut others) = (None, None);
        for (id, attempt) in of_executor {
            if attempt.boot == *boot {
                own = own.max(Some(id));
            } else if by.is_none_or(|by| attempt.boot == *by) {
                others = others.max(Some(id));
            }
        }
        own.is_some() && (others > own || (others.is_none() && by.is_some()))
    }
}

/// Whether an attempt can have ended so. A broken executor says it of one that it did nothing of, or answers what it was
/// not asked; for nothing it would be given the same for ever.
fn fits(run: &Run, attempt: &Attempt, cause: &EndCause) -> bool {
    let discovery = attempt.bundle.is_none();
    let done = attempt.started || (!discovery && attempt.left.is_empty());
    match cause {
        EndCause::Discovered(_) | EndCause::DiscoveryFailed(_) => discovery,
        EndCause::Completed => !discovery && done,
        EndCause::Cancelled => done || run.is_cancelling() || attempt.superseded,
        EndCause::GaveBack(..) => true,
    }
}

/// What a framework said, with what it said elsewhere.
fn with_doubts(run: &Run, message: &str) -> String {
    let others = run.doubted.iter().filter(|(_, words)| *words != message);
    let told = others.map(|(executor, words)| format!("\non {executor}: {words}"));
    std::iter::once(message.to_owned()).chain(told).collect()
}

fn is_of(attempt: &Attempt, report: &Report) -> bool {
    attempt.executor == report.executor && attempt.boot == report.boot
}
