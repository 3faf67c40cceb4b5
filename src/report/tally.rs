//! The model behind every report: what the events of a run have come to so far. Pure; owns all state that reporters
//! share, and is told the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::{
    AttemptId, Counts, ExecutorId, Framework, Generation, Hold, Instant, Leftover, Manifest, NotExecuted,
    PlanSummary, RunEvent, RunId, RunSpec, RunVerdict, Seq, SlotNumber, Standing, StreamItem, SuiteError,
    TestIndex, TestResult, Verdict,
};

use super::Live;
use super::losses::Losses;
use super::measured::Measured;
use super::names::Names;
use super::record::{Attached, Execution, TestRecord};
use super::text::millis;

/// The share of tests that says something of the pace.
const ENOUGH: f64 = 0.05;

/// What the events of a run have come to.
pub struct Tally {
    pub run: RunId,
    pub seq: Seq,
    pub clock: Clock,
    pub spec: Option<Box<RunSpec>>,
    pub names: Names,
    /// Of what was expected to be found, where some of it was not.
    pub expected: Names,
    /// By index in the manifest.
    pub tests: Vec<TestRecord>,
    pub counts: Counts,
    pub plan: Option<PlanSummary>,
    pub slots: BTreeMap<SlotNumber, SlotState>,
    /// The discovery under way, and its slot.
    pub discovering: Option<(AttemptId, SlotNumber)>,
    pub work: Work,
    pub losses: Losses,
    measured: Measured,
    /// When attempts were given out before the plan.
    early: BTreeMap<AttemptId, Instant>,
    pub suite_errors: Vec<SuiteError>,
    /// What was left by nobody knows which test.
    pub attached: Vec<Attached>,
    /// Sandboxes that stay for a while, each with the test that it is of.
    pub held: Vec<(Option<TestIndex>, Hold, ExecutorId)>,
    /// Processes that had to be killed when a session had ended.
    pub left: Vec<(Option<TestIndex>, Leftover)>,
    pub discovery_failures: Vec<String>,
    pub stopping: Option<NotExecuted>,
    /// Tests that ran when it stopped, or when another attempt had their result, and for how many milliseconds.
    cut_off: BTreeMap<TestIndex, u64>,
    /// Whether it waits, or has waited, for its client's word.
    pub judged: bool,
    /// How many tests were lost too often; not those of a run that stopped.
    pub given_up: u32,
    /// The run's own verdict, once it ended.
    pub end: Option<RunVerdict>,
    pub exit_code: Option<u8>,
    /// Whether its process is gone before its end; the stream does not tell.
    pub broken_off: bool,
    /// Slots that are there now, of a run under way elsewhere; nor does it tell that.
    pub slots_there: Option<u32>,
    /// What it waits for, if its scheduler could be asked.
    pub standing: Option<Standing>,
}

/// When things happened, by the clock of the process that reports.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub now: Instant,
    pub started: Instant,
    /// When the first tests were given to a slot. That may be before the plan: what is anticipated counts once it is
    /// confirmed.
    pub working: Option<Instant>,
    /// When every test had its verdict.
    pub decided: Option<Instant>,
    pub ended: Option<Instant>,
    /// Whether events arrive as they happen; a replayed stream says nothing about durations.
    pub live: bool,
}

/// What became of a suite's coverage.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Covered {
    /// Whether somebody was to say what is wrong with it.
    pub judged: bool,
    /// The tests whose data are gone.
    pub lost: Vec<String>,
}

/// What a slot does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotState {
    pub executor: ExecutorId,
    pub test: Option<TestIndex>,
    pub since: Instant,
}

/// What was executed, in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Work {
    pub total_us: u64,
    pub longest_us: u64,
    /// When the first of it began and the last ended, by the executors' clocks, in microseconds since 1970. A stream that
    /// is read again later tells it as well.
    pub span: Option<(u64, u64)>,
    /// Whether something was executed of which nobody knows when.
    pub is_partly_untimed: bool,
    /// Slots that executed something.
    pub slots: BTreeSet<SlotNumber>,
    /// After how many tests a worker had more memory than it may have, and so made room for a new one.
    pub over_memory: u32,
    /// How many tests had a second copy.
    pub copies: u32,
    /// The most of it in KiB, with the test.
    pub most_memory: Option<(u64, TestIndex)>,
}

impl Work {
    fn extend(&mut self, result: &TestResult) {
        // Not every framework says when.
        let Some(began) = result.started_at.checked_mul(1000).filter(|began| *began > 0) else {
            self.is_partly_untimed |= result.micros() > 0;
            return;
        };
        let ended = began.saturating_add(result.micros());
        let (first, last) = self.span.unwrap_or((began, ended));
        self.span = Some((first.min(began), last.max(ended)));
    }
}

impl Tally {
    pub fn new(run: RunId, now: Instant, live: bool) -> Self {
        Self {
            run,
            seq: Seq(0),
            clock: Clock { now, started: now, working: None, decided: None, ended: None, live },
            spec: None,
            names: Names::default(),
            expected: Names::default(),
            tests: Vec::new(),
            counts: Counts::default(),
            plan: None,
            slots: BTreeMap::new(),
            discovering: None,
            work: Work::default(),
            losses: Losses::default(),
            measured: Measured::default(),
            early: BTreeMap::new(),
            suite_errors: Vec::new(),
            attached: Vec::new(),
            held: Vec::new(),
            left: Vec::new(),
            discovery_failures: Vec::new(),
            stopping: None,
            cut_off: BTreeMap::new(),
            judged: false,
            given_up: 0,
            end: None,
            exit_code: None,
            broken_off: false,
            slots_there: None,
            standing: None,
        }
    }

    /// The tests of the run; their records begin anew.
    pub fn manifest(&mut self, manifest: Arc<Manifest>) {
        self.names = Names::new(manifest);
        self.tests = vec![TestRecord::default(); self.names.len()];
        self.counts =
            Counts { total: u32::try_from(self.tests.len()).unwrap_or(u32::MAX), ..Counts::default() };
    }

    pub fn apply(&mut self, item: &StreamItem) {
        self.seq = self.seq.max(item.seq);
        self.losses.apply(&item.event);
        if self.names.manifest.asked.coverage.is_some() {
            self.measured.apply(&item.event);
        }
        match &item.event {
            RunEvent::RunStarted(spec) => self.spec = Some(spec.clone()),
            RunEvent::ManifestConfirmed { generation, .. } => self.confirmed(*generation),
            RunEvent::Plan(plan) => self.plan = Some(plan.clone()),
            RunEvent::AttemptAssigned { attempt, executor, slot, discovery, copy, .. } => {
                self.assign(executor, *slot);
                self.work.copies += u32::from(copy.is_some());
                if *discovery {
                    self.discovering = Some((*attempt, *slot));
                } else {
                    self.early.extend(self.plan.is_none().then_some((*attempt, self.clock.now)));
                    self.clock.working.get_or_insert(self.clock.now);
                }
            }
            RunEvent::TestFinished { result, attempt, executor, slot, evidence } => {
                let given = self.early.get(attempt).copied();
                self.clock.working = given.into_iter().chain(self.clock.working).min();
                self.finished(result, executor, *slot, evidence.is_none());
            }
            RunEvent::Verdict { test, verdict } => self.decide(*test, *verdict),
            RunEvent::TestMissing { test, reason, .. } => {
                if let Some(record) = self.tests.get_mut(test.0 as usize) {
                    record.missing = Some(reason.as_str().into());
                }
            }
            RunEvent::SuiteError { error, .. } => self.suite_errors.push(error.clone()),
            RunEvent::AttemptLost { attempt, .. } => {
                self.discovering = self.discovering.filter(|(discovery, _)| discovery != attempt);
            }
            RunEvent::ExecutorLost { executor, .. } => {
                self.slots.retain(|_, slot| slot.executor != *executor);
            }
            RunEvent::DiscoveryFailed { message } => {
                self.discovering = None;
                self.discovery_failures.push(message.clone());
            }
            RunEvent::Stopping { reason } => self.stopping = Some(*reason),
            RunEvent::TestCutOff { test, ran_ms, cause: None, .. } => {
                self.cut_off.insert(*test, *ran_ms);
            }
            RunEvent::JudgementAwaited { .. } => self.judged = true,
            RunEvent::RunFinished { verdict, counts, exit_code } => {
                self.counts = *counts;
                self.clock.ended = Some(self.clock.now);
                self.end = Some(*verdict);
                self.exit_code = Some(*exit_code);
            }
            RunEvent::Attached { test, file, attempt, .. } => {
                let attached = Attached { attempt: *attempt, file: file.clone() };
                match test.and_then(|test| self.tests.get_mut(test.0 as usize)) {
                    Some(record) => record.attached.push(attached),
                    None => self.attached.push(attached),
                }
            }
            RunEvent::Held { test, hold, executor, .. } => {
                self.held.push((*test, hold.clone(), executor.clone()));
            }
            RunEvent::Left { test, left, .. } => self.left.push((*test, left.clone())),
            RunEvent::TakenBack { .. }
            | RunEvent::TestCutOff { .. }
            | RunEvent::Coverage { .. }
            | RunEvent::Images { .. }
            | RunEvent::Used { .. }
            | RunEvent::ExecutorDrained { .. }
            | RunEvent::ExecutorCordoned { .. }
            | RunEvent::ExecutorBack { .. }
            | RunEvent::ResultsDiscarded { .. } => {}
        }
    }

    /// What a slot runs now; says whether that is news.
    pub fn live(&mut self, live: &Live) -> bool {
        let news = self
            .slots
            .get(&live.slot)
            .is_none_or(|slot| slot.test != live.test || slot.executor != live.executor);
        if news {
            let since = self.clock.now;
            let state = SlotState { executor: live.executor.clone(), test: live.test, since };
            self.slots.insert(live.slot, state);
        }
        news
    }

    /// Where other tests were expected, what ran before may not count: then nothing is heard of it.
    fn confirmed(&mut self, generation: Generation) {
        self.discovering = None;
        if generation > Generation(1) {
            self.clock.working = None;
        }
    }

    fn assign(&mut self, executor: &ExecutorId, slot: SlotNumber) {
        let since = self.clock.now;
        let idle = SlotState { executor: executor.clone(), test: None, since };
        let state = self.slots.entry(slot).or_insert_with(|| idle.clone());
        if state.executor != *executor {
            *state = idle;
        }
    }

    fn finished(&mut self, result: &TestResult, executor: &ExecutorId, slot: SlotNumber, counts: bool) {
        if let Some(state) = self.slots.get_mut(&slot).filter(|state| state.test == Some(result.test)) {
            state.test = None;
            state.since = self.clock.now;
        }
        self.work.total_us = self.work.total_us.saturating_add(result.micros());
        self.work.longest_us = self.work.longest_us.max(result.micros());
        self.work.extend(result);
        self.work.slots.insert(slot);
        self.weigh(result);
        if let Some(record) = self.tests.get_mut(result.test.0 as usize).filter(|_| counts) {
            record.runs.push(Execution::of(result, executor));
        }
    }

    fn weigh(&mut self, result: &TestResult) {
        let spec = self.spec.as_ref().filter(|spec| spec.suite.framework == Framework::Pytest);
        let limit = spec.and_then(|spec| spec.worker_memory_kib).filter(|_| result.last);
        if limit.is_some_and(|limit| result.peak_kib > limit) {
            self.work.over_memory += 1;
            self.work.most_memory = self.work.most_memory.max(Some((result.peak_kib, result.test)));
        }
    }

    fn decide(&mut self, test: TestIndex, verdict: Verdict) {
        if let Some(record) = self.tests.get_mut(test.0 as usize)
            && record.verdict.is_none()
        {
            record.verdict = Some(verdict);
            self.counts.add(verdict);
            let is_by_itself =
                self.stopping.is_none() && matches!(verdict, Verdict::NotExecuted(NotExecuted::Infra(_)));
            self.given_up += u32::from(is_by_itself);
            if self.counts.decided() == self.counts.total {
                self.clock.decided.get_or_insert(self.clock.now);
            }
        }
    }

    /// For how long nothing but the ends of sessions has been waited for, in a run that nobody stopped.
    pub fn ends_since(&self) -> Option<Duration> {
        let waits = self.clock.live && self.end.is_none() && self.stopping.is_none() && !self.judged;
        self.clock.decided.filter(|_| waits).map(|decided| self.clock.now - decided)
    }

    /// Of a whole run that had tests and ended, and whose suite measures its coverage.
    pub fn coverage(&self) -> Option<Covered> {
        let whole = self.spec.as_ref().is_some_and(|spec| spec.rerun_of().is_none());
        let ended = self.end.is_some_and(|verdict| verdict != RunVerdict::Cancelled);
        let is_known =
            ended && whole && self.counts.total > 0 && self.names.manifest.asked.coverage.is_some();
        let lost = || self.measured.lost().map(|test| self.names.id(test)).collect();
        is_known.then(|| Covered { judged: self.judged, lost: lost() })
    }

    /// By which limit the run was stopped, if that was for what it lost.
    pub fn limit(&self) -> Option<String> {
        self.losses.limit(self.spec.as_deref(), self.counts.total, self.stopping?)
    }

    /// Why there is no result of a test that counts, where that is so.
    pub fn why_none(&self, test: TestIndex) -> Option<String> {
        match self.tests[test.0 as usize].verdict {
            Some(Verdict::NotExecuted(cause)) => {
                let more = self.why_lost(test).map(|why| format!(": {why}"));
                Some(format!("{cause}{}", more.unwrap_or_default()))
            }
            None => Some("the run ended without a verdict".to_owned()),
            Some(_) => None,
        }
    }

    /// What more is known of why a test was not executed.
    pub fn why_lost(&self, test: TestIndex) -> Option<String> {
        let record = &self.tests[test.0 as usize];
        let is_lost = matches!(record.verdict, Some(Verdict::NotExecuted(NotExecuted::Infra(_))));
        // In a run that stops, it is not the test that was given up.
        let lost = || match self.stopping {
            None => self.losses.not_poison(test),
            Some(_) => self.losses.lost_with(test),
        };
        let ran = || self.cut_off.get(&test).map(|ms| format!("it had run for {}", millis(*ms)));
        let missing = record.missing.as_deref().map(str::to_owned);
        missing.or_else(|| lost().filter(|_| is_lost)).or_else(ran)
    }

    /// Tests with this word for a verdict, in the manifest's order.
    pub fn with_verdict(&self, word: &'static str) -> impl Iterator<Item = (TestIndex, &TestRecord)> {
        self.records().filter(move |(_, record)| record.verdict.is_some_and(|v| v.word() == word))
    }

    /// Every test with its record, in the manifest's order.
    pub fn records(&self) -> impl Iterator<Item = (TestIndex, &TestRecord)> {
        (0..).map(TestIndex).zip(&self.tests)
    }

    /// The longest executions, one for each test, longest first.
    pub fn slowest(&self, limit: usize) -> Vec<(TestIndex, &Execution)> {
        let mut all: Vec<_> =
            self.records().filter_map(|(test, record)| Some((test, record.longest()?))).collect();
        all.sort_by_key(|&(test, run)| (std::cmp::Reverse(run.micros()), test));
        all.truncate(limit);
        all
    }

    /// From the first event to the last. A stream that is read again says nothing of that: then from the first test's start
    /// to the last one's end, if something ran, and no less than the longest took.
    pub fn elapsed(&self) -> Option<Duration> {
        if self.clock.live {
            return Some(self.clock.ended.unwrap_or(self.clock.now) - self.clock.started);
        }
        let span = self.work.span.map(|(began, ended)| ended - began);
        let longest = Some(self.work.longest_us).filter(|_| self.work.is_partly_untimed);
        span.max(longest).map(Duration::from_micros)
    }

    /// How long the rest takes. The plan's makespan is believed until the run has taken longer, and the share of it
    /// that is left is the share of tests, or of predicted work, that is undone: the longest tests run first, so the
    /// count alone lags behind. Where most of it was guessed, the pace so far is believed as soon as there is one. Nothing
    /// is said of a run that has hardly begun and takes longer than its plan.
    pub fn remaining(&self) -> Option<Duration> {
        let plan = self.plan.as_ref()?;
        let total = self.counts.total;
        if self.counts.decided() >= total || self.end.is_some() || !self.clock.live {
            return None;
        }
        let by_count = f64::from(self.counts.decided()) / f64::from(total);
        let by_work = self.work.total_us as f64 / (plan.total_ms.max(1) as f64 * 1000.0);
        let predicted = u64::from(plan.unknown) * 2 <= u64::from(total);
        let done = if predicted { by_count.max(by_work.min(0.99)) } else { by_count };
        let taken = self.clock.now - self.clock.working?;
        let planned = Duration::from_millis(plan.makespan_ms);
        let whole = match done < ENOUGH {
            true => Some(planned).filter(|planned| taken <= *planned)?,
            false if predicted => taken.max(planned),
            false => taken.div_f64(done),
        };
        Some(whole.mul_f64((1.0 - done).clamp(0.0, 1.0)))
    }
}
