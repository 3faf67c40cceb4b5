//! Applying facts: the only place where durable state changes. It decides nothing, so that recovery ends where the
//! steps that made the facts did.

use std::collections::BTreeSet;

use seagull_domain::{
    AttemptId, Counts, Digest, EndCause, Evidence, ExecutorId, Generation, InfraCause, Recall, Record, Role,
    RunId, SlotIndex, TestIndex, TestResult, Verdict,
};

use crate::fact::{Fact, What};
use crate::run::{Attempt, Bundle, Phase, Run, Status, Test, Worker};
use crate::sick::Cordon;
use crate::{Pending, Plan, State};

impl State {
    /// Applies a fact, which becomes number `seq + 1`.
    pub fn apply(&mut self, fact: &Fact) {
        self.seq = self.seq.next();
        let run = &fact.run;
        match &fact.what {
            What::Submitted(spec) => {
                self.runs.insert(run.clone(), Run::new((**spec).clone()));
            }
            What::Archived => {
                // It may have ended elsewhere, while here some are under way.
                let live = self.runs.get(run).into_iter().flat_map(Run::live_attempts);
                let live: Vec<_> = live.map(|(attempt, _)| attempt).collect();
                live.into_iter().for_each(|attempt| self.unplace(run, attempt));
                self.runs.remove(run);
            }
            What::Assigned { attempt, executor, .. } => {
                self.next_attempt = self.next_attempt.max(attempt.next());
                self.placed.entry(executor.clone()).or_default().insert(*attempt, run.clone());
                self.fleet.placed(run);
                self.run_mut(run).assign(&fact.what);
            }
            What::AttemptEnded { attempt, cause, free, charged, .. } => {
                self.run_mut(run).end(*attempt, cause, *free, charged);
                self.unplace(run, *attempt);
            }
            What::AttemptLost { attempt, .. } => {
                let current = self.is_current(run, *attempt);
                self.run_mut(run).lose(&fact.what, current);
                self.unplace(run, *attempt);
            }
            what => self.run_mut(run).apply(what),
        }
    }

    fn unplace(&mut self, run: &RunId, attempt: AttemptId) {
        let executor = self.runs[run].attempts[&attempt].executor.clone();
        if let Some(placed) = self.placed.get_mut(&executor) {
            placed.remove(&attempt);
            self.fleet.unplaced(run);
            if placed.is_empty() {
                self.placed.remove(&executor);
            }
        }
    }
}

impl Run {
    fn apply(&mut self, what: &What) {
        match what {
            What::Planned { generation, plan } => {
                self.take_plan(plan);
                self.manifest_generation = *generation;
                self.phase = Phase::Running;
            }
            What::Anticipated { discovered, plan } => self.anticipate(*discovered, plan),
            What::Provisional { attempt, batch, records } => {
                self.attempt_mut(*attempt).batch = *batch;
                self.buffered.push((*attempt, *batch, records.clone()));
            }
            What::Confirmed { .. } => self.take_anticipated(),
            What::Withdrawn => self.drop_anticipated(),
            What::Discarded { .. } => {}
            What::DiscoveryFailed { .. } => self.phase = Phase::Running,
            What::Bundled { bundle, entries, avoid, alone, in_vain, follows } => {
                let made = Bundle::of(entries.clone(), avoid.iter().cloned().collect());
                let (alone, in_vain, follows) = (*alone, *in_vain, *follows);
                self.bundle(*bundle, Bundle { alone, in_vain, follows, ..made });
            }
            What::Recorded { attempt, batch, records, .. } => self.record_batch(*attempt, *batch, records),
            What::TakeBack { attempt, generation, tests, why } => {
                self.ask_back(*attempt, *generation, tests);
                self.attempt_mut(*attempt).recall = *why;
            }
            What::TakenBack { attempt, kept, .. } => self.give_back(*attempt, kept),
            What::Condemned { result, .. } => {
                let test = self.test_mut(result.test);
                test.seen.add(result.outcome);
                test.executions += 1;
                test.poison = true;
                self.drop_followers(result.test);
            }
            What::GivenUp { test, cause } => {
                self.test_mut(*test).given_up = Some(*cause);
                self.drop_followers(*test);
            }
            What::WorkerEnded { executor, slot } => self.forget_worker(executor, *slot),
            What::ExecutorLost { executor, cause } => {
                if cause.is_charged() && !self.is_cordoned(executor) {
                    self.charge_run(*cause);
                }
                self.workers.remove(executor);
                self.sick.remove(executor);
                self.drained.remove(executor);
            }
            What::ExecutorDrained { executor, boot, .. } => {
                self.drained.insert(executor.clone(), boot.clone());
            }
            What::Cordoned { executor, sickness, first, .. } => {
                let cordon = Cordon { sickness: *sickness, first: *first, failed_trials: 0 };
                self.sick.entry(executor.clone()).or_default().cordon = Some(cordon);
            }
            What::Back { executor } => {
                self.sick.remove(executor);
            }
            What::Decided { verdicts } => verdicts.iter().for_each(|(test, of)| self.decide(*test, *of)),
            What::Stopping { reason } => self.stop(*reason),
            What::JudgeFound => self.has_judge = true,
            What::JudgementAwaited { .. } => self.phase = Phase::Judging,
            What::Judged { errors } => self.take_judgement(errors),
            What::Ended { verdict, exit_code, .. } => {
                self.sick.clear();
                self.phase = Phase::Ended { verdict: *verdict, exit_code: *exit_code };
            }
            What::Submitted(_)
            | What::Archived
            | What::Assigned { .. }
            | What::AttemptEnded { .. }
            | What::AttemptLost { .. } => unreachable!("these touch more than their run"),
        }
    }

    pub(crate) fn attempt_mut(&mut self, attempt: AttemptId) -> &mut Attempt {
        self.attempts.get_mut(&attempt).expect("an attempt that facts name was assigned")
    }

    fn take_plan(&mut self, plan: &Plan) {
        let tests = plan.predicted_us.iter().zip(&plan.limits_ms);
        self.tests = tests
            .map(|(&predicted_us, &limit_ms)| Test { predicted_us, limit_ms, ..Test::default() })
            .collect();
        self.predicted_us = plan.predicted_us.iter().sum();
        self.relations.clone_from(&plan.relations);
        for (test, environment) in self.tests.iter_mut().zip(&plan.environments) {
            test.environment = *environment;
        }
        plan.unknown.iter().for_each(|test| self.test_mut(*test).unknown = true);
        for (number, relation) in (1..).zip(&plan.relations) {
            for test in &relation.tests {
                self.test_mut(*test).relation = number;
            }
        }
        let before = self.manifest.replace(plan.manifest);
        if let (Some(before), Some(moved)) = (before, &plan.moved) {
            self.carry_over(before, moved);
        }
        self.empty_by_definition = plan.empty_by_definition;
        self.fail_fast = plan.fail_fast;
        self.to_judge = plan.to_judge;
        self.counts = Counts { total: plan.predicted_us.len() as u32, ..Counts::default() };
        let first = plan.bundles.iter().take(plan.first as usize).flatten();
        first.for_each(|test| self.test_mut(*test).first = true);
        for tests in &plan.bundles {
            let free = tests.iter().filter(|test| self.test(**test).held == 0);
            let entries: Vec<_> = free.map(|test| (*test, Role::Run)).collect();
            if !entries.is_empty() {
                self.bundle(self.next_bundle, Bundle::of(entries, BTreeSet::new()));
            }
        }
    }

    /// What is under way of an anticipated plan goes on in this one.
    fn carry_over(&mut self, manifest: Digest, moved: &[Option<TestIndex>]) {
        self.take_anticipated();
        self.pending = Pending::default();
        self.relations_held.clear();
        let mut attempts = std::mem::take(&mut self.attempts);
        let under_way = |attempt: &&mut Attempt| attempt.bundle.is_some() && attempt.status == Status::Live;
        for attempt in attempts.values_mut().filter(under_way) {
            attempt.move_to(manifest, moved, &self.tests);
            attempt.left.values().for_each(|(test, role)| self.hold(*test, *role));
        }
        self.attempts = attempts;
    }

    fn anticipate(&mut self, discovered: Digest, plan: &Plan) {
        self.manifest_generation = self.manifest_generation.next();
        self.take_plan(plan);
        self.anticipated = Some(discovered);
        self.anticipated_summary = Some(plan.summary.clone());
    }

    fn take_anticipated(&mut self) {
        self.phase = Phase::Running;
        self.anticipated = None;
        self.anticipated_summary = None;
        self.buffered.clear();
    }

    fn drop_anticipated(&mut self) {
        for attempt in self.attempts.values_mut().filter(|attempt| attempt.bundle.is_some()) {
            self.withdrawn += u32::from(attempt.status == Status::Live && !attempt.withdrawn);
            attempt.withdrawn = true;
            attempt.left.clear();
            attempt.place.clear();
            attempt.left_us = 0;
        }
        self.anticipated = None;
        self.anticipated_summary = None;
        self.buffered.clear();
        self.manifest = None;
        self.empty_by_definition = false;
        self.fail_fast = None;
        self.to_judge = false;
        self.tests.clear();
        self.relations.clear();
        self.relations_held.clear();
        self.pending = Pending::default();
        self.counts = Counts::default();
    }

    fn assign(&mut self, what: &What) {
        let What::Assigned { attempt, bundle, executor, boot, slot, number, slots, copy, larger, .. } = what
        else {
            unreachable!("called for an assignment")
        };
        let contents = bundle.and_then(|bundle| self.pending.remove(&bundle));
        let contents = contents.unwrap_or_else(|| Bundle::of(Vec::new(), BTreeSet::new()));
        let Bundle { mut entries, alone, in_vain, avoid, .. } = contents;
        entries.extend(copy.map(|copy| (copy.test, Role::Run)));
        for (test, role) in &entries {
            self.hold(*test, *role);
        }
        let left_us = entries.iter().map(|(test, _)| self.test(*test).predicted_us).sum();
        let environment =
            entries.first().map_or_else(Default::default, |(test, _)| self.test(*test).environment);
        let attempt_state = Attempt {
            bundle: *bundle,
            executor: executor.clone(),
            boot: boot.clone(),
            slot: *slot,
            number: *number,
            slots: *slots,
            environment,
            larger: *larger,
            status: Status::Live,
            generation: Generation(1),
            place: (0..).zip(&entries).map(|(place, (test, _))| (*test, place)).collect(),
            left: (0..).zip(entries).collect(),
            left_us,
            alone,
            in_vain,
            avoid,
            started: false,
            passed: 0,
            failed: 0,
            disproved: 0,
            asked: BTreeSet::new(),
            recall: Recall::Idle,
            stays: BTreeSet::new(),
            batch: 0,
            withdrawn: false,
            superseded: false,
            numbering: None,
        };
        self.alone += u32::from(alone);
        self.attempts.insert(*attempt, attempt_state);
        if let Some(copy) = copy {
            self.copy(*copy, *attempt);
        }
        let worker = Worker { number: *number, boot: boot.clone(), environment };
        self.workers.entry(executor.clone()).or_default().insert(*slot, worker);
    }

    /// A live attempt now owes the entry.
    fn hold(&mut self, test: TestIndex, role: Role) {
        let state = self.test_mut(test);
        let relation = state.relation;
        if role == Role::Run {
            state.pending = None;
            state.held += 1;
        }
        if relation != 0 {
            *self.relations_held.entry(relation).or_default() += 1;
        }
    }

    /// A live attempt no longer owes the entry.
    fn release(&mut self, test: TestIndex, role: Role) {
        let state = self.test_mut(test);
        let relation = state.relation;
        if role == Role::Run {
            state.held -= 1;
        }
        if let Some(held) = self.relations_held.get_mut(&relation) {
            *held -= 1;
            if *held == 0 {
                self.relations_held.remove(&relation);
            }
        }
    }

    fn record_batch(&mut self, attempt: AttemptId, batch: u32, records: &[(Record, Option<Evidence>)]) {
        self.attempt_mut(attempt).batch = batch;
        if records.iter().any(|(record, _)| matches!(record, Record::Result(_))) {
            self.in_vain = 0;
            self.start_succeeded(attempt);
        }
        for (record, evidence) in records {
            self.record(attempt, record, *evidence);
        }
    }

    fn record(&mut self, attempt: AttemptId, record: &Record, evidence: Option<Evidence>) {
        self.started |= matches!(record, Record::Result(_) | Record::Missing { .. } | Record::SuiteError(_));
        match record {
            Record::Result(result) => self.record_result(attempt, result, evidence),
            Record::Missing { test, .. } => {
                let executor = self.attempts[&attempt].executor.clone();
                if evidence.is_none() {
                    self.test_mut(*test).missing_on.insert(executor);
                }
                self.finish_entry(attempt, *test);
            }
            Record::SuiteError(_) => self.suite_errors += 1,
            Record::Coverage(_)
            | Record::Attached { .. }
            | Record::Images(_)
            | Record::Used(_)
            | Record::Held { .. }
            | Record::Left { .. } => {}
        }
    }

    fn record_result(&mut self, attempt: AttemptId, result: &TestResult, evidence: Option<Evidence>) {
        self.test_mut(result.test).larger |= evidence.is_some_and(Evidence::is_first_kill);
        if evidence.is_none() {
            self.weigh(attempt, result);
            let test = self.test_mut(result.test);
            test.seen.add(result.outcome);
            test.executions += u32::from(result.last);
            test.suspect = false;
            let predicted_us = if result.last { test.predicted_us } else { 0 };
            self.pace.add(predicted_us, result.micros());
        }
        if result.last {
            self.finish_entry(attempt, result.test);
        }
        if evidence.is_none() {
            self.withdraw(result.test);
            self.supersede(result);
        }
    }

    /// The attempt has reported on the test.
    fn finish_entry(&mut self, attempt: AttemptId, test: TestIndex) {
        let predicted = self.tests.get(test.0 as usize).map_or(0, |t| t.predicted_us);
        let state = self.attempt_mut(attempt);
        let Some((_, role)) = state.place.remove(&test).and_then(|place| state.left.remove(&place)) else {
            return;
        };
        state.started = true;
        state.left_us -= predicted;
        if state.status == Status::Live {
            self.release(test, role);
        }
    }

    fn ask_back(&mut self, attempt: AttemptId, generation: Generation, tests: &[TestIndex]) {
        let attempt = self.attempt_mut(attempt);
        attempt.generation = generation;
        attempt.asked = tests.iter().copied().collect();
    }

    fn give_back(&mut self, attempt: AttemptId, kept: &[TestIndex]) {
        let kept: BTreeSet<_> = kept.iter().copied().collect();
        let state = self.attempt_mut(attempt);
        let asked = std::mem::take(&mut state.asked);
        state.stays.extend(&kept);
        for test in asked.difference(&kept).copied() {
            let predicted = self.test(test).predicted_us;
            let state = self.attempt_mut(attempt);
            let entry = state.place.remove(&test).and_then(|place| state.left.remove(&place));
            if let Some((_, role)) = entry {
                state.left_us -= predicted;
                self.release(test, role);
            }
        }
    }

    fn end(&mut self, attempt: AttemptId, cause: &EndCause, free: bool, charged: &[TestIndex]) {
        self.judge(attempt);
        match cause {
            EndCause::Discovered(discovery) => {
                self.started = true;
                let generation = self.manifest_generation.next();
                self.phase = Phase::Planning { generation, discovered: discovery.manifest };
            }
            EndCause::DiscoveryFailed(_) => self.started = true,
            EndCause::GaveBack(cause, message) if cause.is_charged() => {
                self.came_back(attempt, *cause);
                if !free {
                    self.charge(attempt, *cause, message, charged);
                }
            }
            EndCause::Completed => {
                let broken = self.broken_relations(attempt);
                broken.into_iter().for_each(|test| self.charge_test(test, InfraCause::SandboxFailed));
            }
            _ => {}
        }
        self.close_attempt(attempt, Status::Ended);
    }

    fn lose(&mut self, what: &What, is_current: bool) {
        let What::AttemptLost { attempt, cause, had, alone_ms, epoch, .. } = what else {
            unreachable!("called for a loss")
        };
        let (attempt, cause) = (*attempt, *cause);
        let (charged, suspect) = self.blamed(attempt, cause, is_current, *had);
        if self.attempts[&attempt].bundle.is_none() && cause.is_charged() {
            self.charge_discovery(cause, "");
        }
        if let Some(test) = charged {
            self.charge_test(test, cause);
        }
        if let Some(test) = suspect {
            self.suspect(attempt, test, *alone_ms, *epoch);
        }
        self.close_attempt(attempt, Status::Lost);
    }

    /// Entries that are left stay listed, for late results of a lost attempt; nobody is held by them.
    fn close_attempt(&mut self, attempt: AttemptId, status: Status) {
        let state = self.attempt_mut(attempt);
        state.status = status;
        state.asked.clear();
        let left: Vec<_> = state.left.values().copied().collect();
        let (withdrawn, alone) = (u32::from(state.withdrawn), u32::from(state.alone));
        self.withdrawn -= withdrawn;
        self.alone -= alone;
        for (test, role) in left {
            self.release(test, role);
        }
    }

    fn forget_worker(&mut self, executor: &ExecutorId, slot: SlotIndex) {
        if let Some(workers) = self.workers.get_mut(executor) {
            workers.remove(&slot);
            if workers.is_empty() {
                self.workers.remove(executor);
            }
        }
    }

    fn decide(&mut self, test: TestIndex, verdict: Verdict) {
        self.test_mut(test).verdict = Some(verdict);
        self.counts.add(verdict);
    }

    fn stop(&mut self, reason: seagull_domain::NotExecuted) {
        self.phase = Phase::Stopping(reason);
        let pending = std::mem::take(&mut self.pending);
        for (test, _) in pending.values().flat_map(|bundle| &bundle.entries) {
            self.test_mut(*test).pending = None;
        }
    }
}
