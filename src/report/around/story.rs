//! What the stream of a run says of one test, and of the worker it ran in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seagull_domain::{
    AttemptId, EnvironmentNumber, Evidence, ExecutorId, ImageUsed, InfraCause, Isolation, Leftover, Manifest,
    NotExecuted, Relation, RunEvent, RunId, RunSpec, RunVerdict, Sickness, Silent, SlotNumber, StreamItem,
    TestCause, TestIndex, TestResult, Used, Verdict, Whereabouts,
};
use seagull_results::{Finder, Found};

use crate::memory::kib;
use crate::report::losses::Losses;
use crate::report::names::Names;
use crate::report::record::Attached;
use crate::report::text::{micros, one_line};

/// So many ids are named where several are meant.
const CANDIDATES: usize = 20;

/// One test in one run.
#[derive(Debug)]
pub struct Story {
    pub run: RunId,
    pub test: TestIndex,
    pub id: String,
    pub spec: Box<RunSpec>,
    /// Everything that executed it, in order.
    pub executions: Vec<Execution>,
    /// What it has left.
    pub attached: Vec<Attached>,
    /// What attempts took that executed it.
    pub used: BTreeMap<AttemptId, Used>,
    /// Processes of its doing that outlived their worker's session, each with that one's last attempt.
    pub left: Vec<(AttemptId, Leftover)>,
    pub copy: Option<Copied>,
    /// Where it was not found, and why.
    pub missing: Vec<(ExecutorId, String)>,
    pub verdict: Option<Verdict>,
    /// Losses in the run: a test that was under way in one of them went elsewhere.
    pub lost: Vec<(ExecutorId, InfraCause)>,
    /// Those that the test paid for.
    pub paid: Vec<Loss>,
    /// The executor that was lost with it last, if it has had no result since: it may have been its doing.
    pub suspect: Option<ExecutorId>,
    /// Where it ran, and its attempt ended without a result of it.
    pub cut_off: Vec<CutOff>,
    /// What it needs before it and keeps it from running.
    pub behind: Option<Behind>,
    /// Executors that the run gives nothing for now.
    pub cordoned: BTreeMap<ExecutorId, Sickness>,
    /// All that the run lost.
    pub losses: Losses,
    /// By which limit the run was stopped for its losses, if that was before the test had a verdict.
    pub stopped: Option<String>,
    pub end: Option<RunVerdict>,
    /// Whether its process is gone before its end; the stream does not tell.
    pub broken_off: bool,
    /// Its scheduler is another process on this machine, which cannot be asked.
    pub is_of_another_process: bool,
    /// Where it is now, if its scheduler could be asked.
    pub whereabouts: Option<Whereabouts>,
    /// The executor that has it, if that is not heard of.
    pub silent: Option<Silent>,
    /// One more than the highest slot that executed something.
    pub slots: u32,
    pub environment: EnvironmentNumber,
    names: Names,
}

/// Its second copy.
#[derive(Debug)]
pub struct Copied {
    pub attempt: AttemptId,
    pub executor: ExecutorId,
    /// The attempt that was at the test already, and where.
    pub beside: AttemptId,
    pub beside_on: Option<ExecutorId>,
}

/// An attempt that ended while it was at the test.
#[derive(Debug)]
pub struct CutOff {
    pub attempt: AttemptId,
    pub executor: ExecutorId,
    /// For how many milliseconds it was heard to be.
    pub ran_ms: u64,
    pub why: String,
    /// What was said of its end.
    pub message: String,
}

/// A test before it in its *ordered* relation.
#[derive(Debug, PartialEq, Eq)]
pub struct Behind {
    pub id: String,
    /// It kills its executors; else it may.
    pub poison: bool,
}

/// An attempt that was lost at the test's cost.
#[derive(Debug)]
pub struct Loss {
    pub attempt: AttemptId,
    pub executor: ExecutorId,
    pub cause: InfraCause,
    pub message: String,
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
    /// What its sandbox was made of.
    pub images: Vec<ImageUsed>,
}

impl Execution {
    /// `failed (assertion) in 0.03 s, attempt 5 on local, slot 0`
    pub fn facts(&self) -> String {
        let TestResult { outcome, cause, detail, .. } = &self.result;
        let mut why: Vec<String> = cause.iter().map(ToString::to_string).collect();
        why.extend(Some(one_line(detail, 100)).filter(|detail| !detail.is_empty()));
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
        let took = micros(self.result.micros());
        let (attempt, executor, slot) = (self.attempt, &self.executor, self.slot);
        format!(
            "{outcome}{why} in {took}{}, attempt {attempt} on {executor}, slot {slot}",
            spent(&self.result)
        )
    }
}

/// What it took beside time, as far as that is known.
fn spent(result: &TestResult) -> String {
    let cpu = Some(result.cpu_us).filter(|us| *us > 0).map(|us| format!(", {} of a core", micros(us)));
    let peak = Some(result.peak_kib).filter(|kib| *kib > 0).map(|peak| format!(", up to {}", kib(peak)));
    cpu.into_iter().chain(peak).collect()
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
    attached: Vec<Attached>,
    used: BTreeMap<AttemptId, Used>,
    left: Vec<(AttemptId, Leftover)>,
    copy: Option<Copied>,
    missing: Vec<(ExecutorId, String)>,
    verdict: Option<Verdict>,
    lost: Vec<(ExecutorId, InfraCause)>,
    paid: Vec<Loss>,
    /// The attempt that was lost last, and what was said of that.
    lost_last: Option<(AttemptId, String)>,
    suspect: Option<ExecutorId>,
    cut_off: Vec<CutOff>,
    stopping: Option<NotExecuted>,
    /// All tests that have had no result since their executor was lost with them.
    suspects: BTreeSet<TestIndex>,
    poison: BTreeSet<TestIndex>,
    cordoned: BTreeMap<ExecutorId, Sickness>,
    losses: Losses,
    stopped: Option<String>,
    end: Option<RunVerdict>,
    /// Of each test, once they are known; nothing where all have the default one.
    environments: Option<Vec<EnvironmentNumber>>,
    /// The worker of each slot.
    workers: BTreeMap<SlotNumber, Worker>,
    /// The slot of each attempt, and its executor.
    attempts: BTreeMap<AttemptId, (SlotNumber, ExecutorId)>,
    /// What the sandbox of each was made of that told so.
    images: BTreeMap<AttemptId, Vec<ImageUsed>>,
    slots: u32,
}

/// The test that is meant; or which are, if that is not one.
pub fn find(text: &str, manifest: &Manifest) -> Result<TestIndex, Found> {
    let mut finder = Finder::new(text, CANDIDATES);
    manifest.ids().for_each(|id| finder.look_at(&id));
    let found = finder.found();
    let only = found.ids.first().filter(|_| found.matching == 1);
    let place = only.and_then(|only| manifest.ids().position(|id| id == *only));
    place.and_then(|place| u32::try_from(place).ok()).map(TestIndex).ok_or(found)
}

/// A worker as far as the stream tells of it.
struct Worker {
    executor: ExecutorId,
    /// What it ran last.
    attempt: AttemptId,
    /// What it has executed so far.
    executed: Vec<TestIndex>,
    /// Whether it was over its memory.
    full: bool,
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
            attached: Vec::new(),
            used: BTreeMap::new(),
            left: Vec::new(),
            copy: None,
            missing: Vec::new(),
            verdict: None,
            lost: Vec::new(),
            paid: Vec::new(),
            lost_last: None,
            suspect: None,
            cut_off: Vec::new(),
            stopping: None,
            suspects: BTreeSet::new(),
            poison: BTreeSet::new(),
            cordoned: BTreeMap::new(),
            losses: Losses::default(),
            stopped: None,
            end: None,
            environments: None,
            workers: BTreeMap::new(),
            attempts: BTreeMap::new(),
            images: BTreeMap::new(),
            slots: 0,
        }
    }

    pub fn manifest(&mut self, manifest: &Arc<Manifest>) {
        self.names = Names::new(manifest.clone());
        self.environments = None;
        self.test = Some(find(self.text, manifest));
    }

    pub fn item(&mut self, item: StreamItem) {
        self.losses.apply(&item.event);
        match item.event {
            RunEvent::RunStarted(spec) => self.spec = Some(spec),
            RunEvent::AttemptAssigned { attempt, slot, executor, copy, .. } => {
                self.attempts.insert(attempt, (slot, executor.clone()));
                let of_it = copy.filter(|copy| self.is_meant(copy.test)).map(|copy| copy.beside);
                let copied = of_it.map(|beside| {
                    let beside_on = self.attempts.get(&beside).map(|(_, executor)| executor.clone());
                    Copied { attempt, executor, beside, beside_on }
                });
                self.copy = copied.or(self.copy.take());
            }
            RunEvent::TestFinished { result, attempt, executor, slot, evidence } => {
                let before = self.executed(slot, &executor, attempt, &result);
                if evidence.is_none() {
                    self.suspects.remove(&result.test);
                    self.poison.extend((result.cause == Some(TestCause::Poison)).then_some(result.test));
                }
                if self.is_meant(result.test) {
                    self.suspect = self.suspect.take().filter(|_| evidence.is_some());
                    let images = self.images.get(&attempt).cloned().unwrap_or_default();
                    let execution = Execution { result, attempt, executor, slot, evidence, before, images };
                    self.executions.push(execution);
                }
            }
            RunEvent::Images { images, attempt, .. } => {
                self.images.insert(attempt, images);
            }
            RunEvent::Used { used, attempt, .. } => drop(self.used.insert(attempt, used)),
            RunEvent::Attached { test: Some(test), file, attempt, .. } if self.is_meant(test) => {
                self.attached.push(Attached { attempt, file });
            }
            RunEvent::Left { test: Some(test), left, attempt, .. } if self.is_meant(test) => {
                self.left.push((attempt, left));
            }
            RunEvent::TestMissing { test, executor, reason, .. } if self.is_meant(test) => {
                self.missing.push((executor, reason));
            }
            RunEvent::Verdict { test, verdict } if self.is_meant(test) => self.verdict = Some(verdict),
            RunEvent::AttemptLost { attempt, executor, cause, message, charged, suspect, .. } => {
                self.attempts.get(&attempt).and_then(|(slot, _)| self.workers.remove(slot));
                self.suspects.extend(suspect);
                if suspect.is_some_and(|test| self.is_meant(test)) {
                    self.suspect = Some(executor.clone());
                }
                self.lost_last = Some((attempt, message.clone()));
                if charged.iter().any(|test| self.is_meant(*test)) {
                    self.paid.push(Loss { attempt, executor: executor.clone(), cause, message });
                }
                if cause.is_charged() {
                    self.lost.push((executor, cause));
                }
            }
            RunEvent::ExecutorCordoned { executor, sickness, .. } => {
                self.cordoned.insert(executor, sickness);
            }
            RunEvent::ExecutorBack { executor } => {
                self.cordoned.remove(&executor);
            }
            RunEvent::ExecutorLost { executor, cause } => {
                self.workers.retain(|_, worker| worker.executor != executor);
                self.cordoned.remove(&executor);
                self.lost.push((executor, cause));
            }
            RunEvent::TestCutOff { test, attempt, executor, ran_ms, cause } if self.is_meant(test) => {
                let why = self.why_cut_off(&executor, cause);
                let of_it = self.lost_last.take().filter(|(lost, _)| *lost == attempt);
                let message = of_it.map(|(_, message)| message).unwrap_or_default();
                self.cut_off.push(CutOff { attempt, executor, ran_ms, why, message });
            }
            RunEvent::Stopping { reason } => {
                self.stopping = Some(reason);
                if self.verdict.is_none() {
                    let tests = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                    self.stopped = self.losses.limit(self.spec.as_deref(), tests, reason);
                }
            }
            RunEvent::RunFinished { verdict, .. } => self.end = Some(verdict),
            _ => {}
        }
    }

    fn is_meant(&self, test: TestIndex) -> bool {
        self.test == Some(Ok(test))
    }

    fn why_cut_off(&self, executor: &ExecutorId, cause: Option<InfraCause>) -> String {
        match (cause, self.stopping) {
            (Some(cause), _) => {
                let mut drained = self.losses.drained.iter();
                let who = drained.rfind(|(of, why, _)| of == executor && *why == cause);
                let who = who.map(|(.., who)| format!(" ({})", one_line(who, 100))).unwrap_or_default();
                format!("{cause}{who}")
            }
            (None, Some(reason)) => format!("the run stopped: {reason}"),
            (None, None) => "another attempt had its result".to_owned(),
        }
    }

    /// The first of those before the test in its *ordered* relation that has to show that it is none, or is one.
    fn behind(&self, test: TestIndex) -> Option<Behind> {
        let relations = &self.names.manifest.relations;
        let relation =
            relations.iter().find(|relation| relation.ordered && relation.tests.contains(&test))?;
        let mut before = relation.tests.iter().take_while(|of| **of != test);
        let of = before.find(|of| self.suspects.contains(of) || self.poison.contains(of))?;
        Some(Behind { id: self.names.id(*of), poison: self.poison.contains(of) })
    }

    /// Counts an execution to its worker; what that had executed before, if the test is the one that is meant.
    fn executed(
        &mut self,
        slot: SlotNumber,
        executor: &ExecutorId,
        attempt: AttemptId,
        result: &TestResult,
    ) -> Vec<TestIndex> {
        let meant = self.is_meant(result.test);
        self.look_up_environments();
        let known = self.workers.remove(&slot).filter(|worker| worker.executor == *executor);
        let known = known.filter(|worker| self.serves(worker, attempt, result.test));
        let new = || Worker { executor: executor.clone(), attempt, executed: Vec::new(), full: false };
        let mut worker = known.unwrap_or_else(new);
        // A framework runs a test that is named twice once: at its first place.
        let before = worker.executed.iter().filter(|test| **test != result.test).copied();
        let before = if meant { before.collect() } else { Vec::new() };
        worker.executed.push(result.test);
        worker.attempt = attempt;
        let limit = self.spec.as_ref().and_then(|spec| spec.worker_memory_kib);
        worker.full |= limit.is_some_and(|limit| result.peak_kib > limit);
        let dies = [
            TestCause::Crashed,
            TestCause::TimedOut,
            TestCause::OverMemory,
            TestCause::OverDisk,
            TestCause::Poison,
        ];
        if !result.cause.is_some_and(|cause| dies.contains(&cause)) {
            self.workers.insert(slot, worker);
        }
        self.slots = self.slots.max(slot.0.saturating_add(1));
        before
    }

    /// Whether a worker was not renewed before a test of an attempt.
    fn serves(&self, worker: &Worker, attempt: AttemptId, test: TestIndex) -> bool {
        let last = worker.executed.last();
        let related = |relation: &Relation| {
            relation.tests.contains(&test) && last.is_some_and(|last| relation.tests.contains(last))
        };
        let environment = self.environment(test);
        if last.is_some_and(|last| self.environment(*last) != environment) {
            return false;
        }
        let lives = match self.isolation(environment) {
            Isolation::Slot => !worker.full,
            Isolation::Bundle => !worker.full && worker.attempt == attempt,
            Isolation::Test => false,
        };
        // A plugin may run a test several times in a row.
        let again = last == Some(&test);
        let stays = || again || self.names.manifest.relations.iter().any(related);
        lives || (worker.attempt == attempt && stays())
    }

    fn look_up_environments(&mut self) {
        if let Some(spec) = self.spec.as_ref().filter(|_| self.environments.is_none()) {
            let found = seagull_results::environments(&self.names.manifest, &spec.suite);
            self.environments = Some(found.unwrap_or_default());
        }
    }

    fn environment(&self, test: TestIndex) -> EnvironmentNumber {
        let known = self.environments.as_deref().unwrap_or_default();
        known.get(test.0 as usize).copied().unwrap_or_default()
    }

    /// What a worker of an environment lives for.
    fn isolation(&self, environment: EnvironmentNumber) -> Isolation {
        let Some(spec) = &self.spec else { return Isolation::default() };
        let sandbox = spec.suite.definition(environment).ok().flatten();
        spec.isolation.max(sandbox.map_or(Isolation::Slot, |sandbox| sandbox.isolation()))
    }

    /// The error is what the text means instead of one test; None if no tests are known.
    pub fn close(mut self) -> Result<Story, Option<Found>> {
        self.look_up_environments();
        let test = self.test.take().filter(|_| self.names.len() > 0).ok_or(None)?.map_err(Some)?;
        Ok(Story {
            environment: self.environment(test),
            behind: self.behind(test),
            run: self.run,
            test,
            id: self.names.id(test),
            spec: self.spec.ok_or(None)?,
            executions: self.executions,
            attached: self.attached,
            used: self.used,
            left: self.left,
            copy: self.copy,
            missing: self.missing,
            verdict: self.verdict,
            lost: self.lost,
            paid: self.paid,
            suspect: self.suspect,
            cut_off: self.cut_off,
            cordoned: self.cordoned,
            losses: self.losses,
            stopped: self.stopped,
            end: self.end,
            broken_off: false,
            is_of_another_process: false,
            whereabouts: None,
            silent: None,
            slots: self.slots,
            names: self.names,
        })
    }
}
