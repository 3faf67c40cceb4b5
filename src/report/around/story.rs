//! What the stream of a run says of one test, and of the worker it ran in.

use std::collections::BTreeMap;
use std::sync::Arc;

use seagull_domain::{
    AttemptId, Evidence, ExecutorId, InfraCause, Manifest, RunEvent, RunId, RunSpec, RunVerdict, SlotNumber,
    StreamItem, TestCause, TestIndex, TestResult, Verdict,
};
use seagull_results::{Finder, Found};

use crate::report::names::Names;
use crate::report::text::{micros, one_line};

/// So many ids are named where several are meant.
const CANDIDATES: usize = 20;

/// One test in one run.
#[derive(Debug)]
pub struct Story {
    pub run: RunId,
    pub id: String,
    pub spec: Box<RunSpec>,
    /// Everything that executed it, in order.
    pub executions: Vec<Execution>,
    /// Where it was not found, and why.
    pub missing: Vec<(ExecutorId, String)>,
    pub verdict: Option<Verdict>,
    /// Losses in the run: a test that was under way in one of them went elsewhere.
    pub lost: Vec<(ExecutorId, InfraCause)>,
    pub end: Option<RunVerdict>,
    /// One more than the highest slot that executed something.
    pub slots: u32,
    names: Names,
}

/// One execution of the test.
#[derive(Debug)]
pub struct Execution {
    pub result: TestResult,
    pub attempt: AttemptId,
    pub executor: ExecutorId,
    pub slot: SlotNumber,
    pub evidence: Option<Evidence>,
    /// What the worker had executed before it, in order.
    pub before: Vec<TestIndex>,
}

impl Execution {
    /// `failed (assertion) in 0.03 s, attempt 5 on local, slot 0`
    pub fn facts(&self) -> String {
        let TestResult { outcome, cause, detail, .. } = &self.result;
        let mut why: Vec<String> = cause.iter().map(ToString::to_string).collect();
        why.extend(Some(one_line(detail, 100)).filter(|detail| !detail.is_empty()));
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
        let took = micros(self.result.micros());
        format!("{outcome}{why} in {took}, attempt {} on {}, slot {}", self.attempt, self.executor, self.slot)
    }
}

impl Story {
    /// A test's path and the rest of its id.
    pub fn parts(&self, test: TestIndex) -> Option<(&str, &str)> {
        self.names.parts(test)
    }

    /// The execution that says most: the last that failed, else the last.
    pub fn telling(&self) -> Option<&Execution> {
        let failed = |execution: &&Execution| execution.result.outcome == seagull_domain::Outcome::Failed;
        let results = || self.executions.iter().filter(|execution| execution.evidence.is_none());
        results().rfind(failed).or_else(|| results().next_back()).or_else(|| self.executions.last())
    }
}

/// Reads a stream for one test.
pub struct Teller<'t> {
    text: &'t str,
    run: RunId,
    spec: Option<Box<RunSpec>>,
    names: Names,
    test: Option<Result<TestIndex, Found>>,
    executions: Vec<Execution>,
    missing: Vec<(ExecutorId, String)>,
    verdict: Option<Verdict>,
    lost: Vec<(ExecutorId, InfraCause)>,
    end: Option<RunVerdict>,
    /// What the worker of each slot has executed so far.
    workers: BTreeMap<SlotNumber, (ExecutorId, Vec<TestIndex>)>,
    /// The slot of each attempt.
    attempts: BTreeMap<AttemptId, SlotNumber>,
    slots: u32,
}

impl<'t> Teller<'t> {
    pub fn new(run: RunId, text: &'t str) -> Teller<'t> {
        Teller {
            text,
            run,
            spec: None,
            names: Names::default(),
            test: None,
            executions: Vec::new(),
            missing: Vec::new(),
            verdict: None,
            lost: Vec::new(),
            end: None,
            workers: BTreeMap::new(),
            attempts: BTreeMap::new(),
            slots: 0,
        }
    }

    pub fn manifest(&mut self, manifest: &Arc<Manifest>) {
        self.names = Names::new(manifest.clone());
        let mut finder = Finder::new(self.text, CANDIDATES);
        manifest.ids().for_each(|id| finder.look_at(&id));
        let found = finder.found();
        let only = found.ids.first().filter(|_| found.matching == 1);
        let place = only.and_then(|only| manifest.ids().position(|id| id == *only));
        let test = place.and_then(|place| u32::try_from(place).ok()).map(TestIndex);
        self.test = Some(test.ok_or(found));
    }

    pub fn item(&mut self, item: StreamItem) {
        match item.event {
            RunEvent::RunStarted(spec) => self.spec = Some(spec),
            RunEvent::AttemptAssigned { attempt, slot, .. } => {
                self.attempts.insert(attempt, slot);
            }
            RunEvent::TestFinished { result, attempt, executor, slot, evidence } => {
                let before = self.executed(slot, &executor, &result);
                if self.is_meant(result.test) {
                    let execution = Execution { result, attempt, executor, slot, evidence, before };
                    self.executions.push(execution);
                }
            }
            RunEvent::TestMissing { test, executor, reason, .. } if self.is_meant(test) => {
                self.missing.push((executor, reason));
            }
            RunEvent::Verdict { test, verdict } if self.is_meant(test) => self.verdict = Some(verdict),
            RunEvent::AttemptLost { attempt, executor, cause, .. } => {
                self.attempts.get(&attempt).and_then(|slot| self.workers.remove(slot));
                self.lost.push((executor, cause));
            }
            RunEvent::ExecutorLost { executor, cause } => {
                self.workers.retain(|_, (of, _)| *of != executor);
                self.lost.push((executor, cause));
            }
            RunEvent::RunFinished { verdict, .. } => self.end = Some(verdict),
            _ => {}
        }
    }

    fn is_meant(&self, test: TestIndex) -> bool {
        self.test == Some(Ok(test))
    }

    /// Counts an execution to its worker; what that had executed before, if the test is the one that is meant.
    fn executed(&mut self, slot: SlotNumber, executor: &ExecutorId, result: &TestResult) -> Vec<TestIndex> {
        let meant = self.is_meant(result.test);
        let worker = self.workers.entry(slot).or_insert_with(|| (executor.clone(), Vec::new()));
        if worker.0 != *executor {
            *worker = (executor.clone(), Vec::new());
        }
        // A framework runs a test that is named twice once: at its first place.
        let before = worker.1.iter().filter(|test| **test != result.test).copied();
        let before = if meant { before.collect() } else { Vec::new() };
        worker.1.push(result.test);
        let dies = [TestCause::Crashed, TestCause::TimedOut, TestCause::OverMemory, TestCause::Poison];
        if result.cause.is_some_and(|cause| dies.contains(&cause)) {
            self.workers.remove(&slot);
        }
        self.slots = self.slots.max(slot.0.saturating_add(1));
        before
    }

    /// The error is what the text means instead of one test; None if the tests are not known.
    pub fn close(self) -> Result<Story, Option<Found>> {
        let test = self.test.ok_or(None)?.map_err(Some)?;
        Ok(Story {
            run: self.run,
            id: self.names.id(test),
            spec: self.spec.ok_or(None)?,
            executions: self.executions,
            missing: self.missing,
            verdict: self.verdict,
            lost: self.lost,
            end: self.end,
            slots: self.slots,
            names: self.names,
        })
    }
}
