//! A run as the scheduler knows it. Everything in it is durable.
//!
//! ```text
//! Discovering ─▶ Planning ─▶ Running ─────▶ Ended
//!      └──────────────┴─────▶ Stopping ───▶ Ended
//!                             └─▶ Judging ─▶ Judged ─▶ Ended
//! ```
//!
//! One that is cancelled while it is judged stops, and ends.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::verdict::Seen;
use seagull_domain::{
    AttemptId, BootId, BundleContents, BundleId, Counts, Digest, Entry, EnvironmentNumber, ExecutorId,
    Generation, InfraCause, NotExecuted, PlanSummary, Recall, Record, Relation, Role, RunSpec, RunVerdict,
    Size, SlotIndex, SlotNumber, TestIndex, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::numbering::Numbering;
use crate::pending::Pending;
use crate::second_copy::Pace;
use crate::sick::{Signs, Went};
use crate::suspects::Death;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub spec: RunSpec,
    pub phase: Phase,
    pub manifest: Option<Digest>,
    /// How many manifests there were: 0 is none, 1 the first, and there is another when one was anticipated in vain.
    #[serde(default)]
    pub manifest_generation: Generation,
    /// What the discovery under way is expected to find. While it is set, the manifest and all that follows from it are
    /// provisional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anticipated: Option<Digest>,
    /// The anticipated plan in figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anticipated_summary: Option<PlanSummary>,
    /// Live attempts of a plan that was anticipated in vain. Nothing of the run is given out before they are gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub withdrawn: u32,
    /// Batches of an anticipated plan, with their numbers, as they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buffered: Vec<(AttemptId, u32, Vec<Record>)>,
    #[serde(with = "crate::columns")]
    pub tests: Vec<Test>,
    /// Disjoint; a relation's number is its place plus one.
    pub relations: Vec<Relation>,
    /// Bundles that no slot has.
    pub pending: Pending,
    /// All attempts: a lost one's late results may still come.
    pub attempts: BTreeMap<AttemptId, Attempt>,
    pub workers: BTreeMap<ExecutorId, BTreeMap<SlotIndex, Worker>>,
    /// For each relation, how many of its entries live attempts hold.
    pub relations_held: BTreeMap<u32, u32>,
    /// How many live attempts run alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alone: u32,
    /// How its attempts went so far.
    #[serde(default)]
    pub went: Went,
    /// Executors that something speaks against.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sick: BTreeMap<ExecutorId, Signs>,
    /// The processes that it was told drain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drained: BTreeMap<ExecutorId, BootId>,
    pub next_bundle: BundleId,
    pub counts: Counts,
    /// What all its tests together are predicted to take, in microseconds.
    #[serde(default, skip_serializing_if = "is_none")]
    pub predicted_us: u64,
    /// How many tests got a second copy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copies: u32,
    #[serde(default)]
    pub pace: Pace,
    /// How often something was lost to infrastructure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub losses: u32,
    /// The cause of the last of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_to: Option<InfraCause>,
    /// How many attempts came back with nothing done since something was last executed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_vain: u32,
    pub suite_errors: u32,
    /// How many discoveries came to nothing for an infrastructure cause.
    pub discovery_losses: u32,
    /// What the last of them came to nothing for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub discovery_lost_to: String,
    /// Executors where the framework said that it cannot discover the suite, and its words, which are believed when another
    /// executor's says so too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub doubted: BTreeMap<ExecutorId, String>,
    /// Whether the framework ever did anything: discovered, or executed a test.
    pub started: bool,
    pub empty_by_definition: bool,
    /// The suite's own, of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<u32>,
    /// Whether a client of it judges.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_judge: bool,
    /// Whether there is something to judge, by the plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub to_judge: bool,
    /// What each environment needs, by its number; nothing where none needs anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Size>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Discovering,
    /// Waits for the plan of this generation.
    Planning {
        generation: Generation,
        discovered: Digest,
    },
    Running,
    /// Nothing more is dispatched.
    Stopping(NotExecuted),
    /// All is decided and no worker is left; waits for the client's word.
    Judging,
    /// It was said, or is not waited for any more.
    Judged,
    Ended {
        verdict: RunVerdict,
        exit_code: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Test {
    /// Predicted microseconds.
    #[serde(default, skip_serializing_if = "is_none")]
    pub predicted_us: u64,
    #[serde(default, skip_serializing_if = "is_none")]
    pub limit_ms: u64,
    /// The relation it belongs to; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub relation: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub environment: EnvironmentNumber,
    /// Whether it goes before tests of which that is not said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
    /// Whether its prediction is not from its own history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    #[serde(default)]
    pub seen: Seen,
    /// Terminal results so far.
    #[serde(default)]
    pub executions: u32,
    /// The attempts of those that failed, where it may be retried. Snapshots of 0.1 may have one, by the field's name.
    #[serde(default, rename = "failures", skip_serializing_if = "Vec::is_empty")]
    pub failed_in: Vec<AttemptId>,
    /// Executions lost to infrastructure causes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub losses: u32,
    /// The cause of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_to: Option<InfraCause>,
    /// Live attempts that owe a result for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<BundleId>,
    /// The attempt that was at it for far longer than predicted, and that of its second copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<[AttemptId; 2]>,
    /// Whether its executor was lost while it ran, for a cause that nobody knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspect: bool,
    /// Executors that were lost while it ran there alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deaths: Vec<Death>,
    /// Whether it was failed because it kills executors.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub poison: bool,
    /// Whether it was over its memory or disk limit, and is to have more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub larger: bool,
    /// Executors that could not collect it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing_on: BTreeSet<ExecutorId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<NotExecuted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_default(environment: &EnvironmentNumber) -> bool {
    *environment == EnvironmentNumber::default()
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    pub entries: Vec<(TestIndex, Role)>,
    pub predicted_us: u64,
    /// The longest of its tests, and of its relations, which stay together.
    #[serde(default, skip_serializing_if = "is_none")]
    pub longest_us: u64,
    /// Whether it has a test that goes first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
    /// Executors to keep it from where there is another.
    pub avoid: BTreeSet<ExecutorId>,
    /// Whether nothing else may run on its executor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// How many attempts of it, or of what it is a part of, came to nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_vain: u32,
    /// Whether a suspect in another bundle may come before it in its *ordered* relation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// None for a discovery.
    pub bundle: Option<BundleId>,
    pub executor: ExecutorId,
    pub boot: BootId,
    pub slot: SlotIndex,
    pub number: SlotNumber,
    pub slots: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub environment: EnvironmentNumber,
    /// Whether its tests have twice the memory that is written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub larger: bool,
    pub status: Status,
    pub generation: Generation,
    /// What has not been reported on, by place in the bundle.
    pub left: BTreeMap<u32, (TestIndex, Role)>,
    pub place: BTreeMap<TestIndex, u32>,
    pub left_us: u64,
    /// Whether nothing else may run on its executor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// As its bundle's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_vain: u32,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub avoid: BTreeSet<ExecutorId>,
    /// Whether any of its entries was reported on.
    pub started: bool,
    /// Of the tests that it was the first to execute, how many passed and how many failed, and how many of these passed
    /// elsewhere since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disproved: u32,
    /// Tests that the current generation takes back, until its executor says which stay.
    pub asked: BTreeSet<TestIndex>,
    /// Why they, or those before them, were asked back.
    #[serde(default)]
    pub recall: Recall,
    /// Asked back in vain: they stay to the end.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stays: BTreeSet<TestIndex>,
    /// The last batch recorded, or kept.
    pub batch: u32,
    /// Whether it is of a plan that was anticipated in vain: whatever comes of it is discarded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Whether another attempt has the result of the test that it is at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
    /// Set where it was given out by another manifest than the run has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbering: Option<Numbering>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Live,
    Ended,
    Lost,
}

/// The framework's process that a slot has, or will start, for the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    pub number: SlotNumber,
    pub boot: BootId,
    /// Of what it was given last.
    #[serde(default, skip_serializing_if = "is_default")]
    pub environment: EnvironmentNumber,
}

impl Attempt {
    /// The executors where what it has was.
    pub(crate) fn was_on(&self) -> BTreeSet<ExecutorId> {
        self.avoid.iter().chain([&self.executor]).cloned().collect()
    }

    /// Of an attempt that is its slot's current one, the first test that it owes, for which whatever runs before it runs;
    /// and the same if nothing runs before it.
    pub(crate) fn in_flight(&self) -> (Option<TestIndex>, Option<TestIndex>) {
        let mut left = self.left.values();
        let owed = left.clone().find(|(_, role)| *role == Role::Run).map(|(test, _)| *test);
        let first = left.next().filter(|(_, role)| *role == Role::Run).map(|(test, _)| *test);
        (owed, first)
    }
}

impl Bundle {
    pub(crate) fn of(entries: Vec<(TestIndex, Role)>, avoid: BTreeSet<ExecutorId>) -> Bundle {
        Bundle {
            entries,
            predicted_us: 0,
            longest_us: 0,
            first: false,
            avoid,
            alone: false,
            in_vain: 0,
            follows: false,
        }
    }
}

impl Run {
    pub fn new(spec: RunSpec) -> Run {
        Run {
            has_judge: spec.awaits_judgement,
            sizes: spec.suite.sizes(),
            spec,
            phase: Phase::Discovering,
            manifest: None,
            manifest_generation: Generation(0),
            anticipated: None,
            anticipated_summary: None,
            withdrawn: 0,
            buffered: Vec::new(),
            tests: Vec::new(),
            relations: Vec::new(),
            pending: Pending::default(),
            attempts: BTreeMap::new(),
            workers: BTreeMap::new(),
            relations_held: BTreeMap::new(),
            alone: 0,
            went: Went::default(),
            sick: BTreeMap::new(),
            drained: BTreeMap::new(),
            next_bundle: BundleId(0),
            counts: Counts::default(),
            predicted_us: 0,
            copies: 0,
            pace: Pace::default(),
            losses: 0,
            lost_to: None,
            in_vain: 0,
            suite_errors: 0,
            discovery_losses: 0,
            discovery_lost_to: String::new(),
            doubted: BTreeMap::new(),
            started: false,
            empty_by_definition: false,
            fail_fast: None,
            to_judge: false,
        }
    }

    pub fn test(&self, test: TestIndex) -> &Test {
        &self.tests[test.0 as usize]
    }

    pub(crate) fn test_mut(&mut self, test: TestIndex) -> &mut Test {
        &mut self.tests[test.0 as usize]
    }

    pub fn live_attempts(&self) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        self.attempts.iter().filter(|(_, a)| a.status == Status::Live).map(|(id, a)| (*id, a))
    }

    /// The worker that the slot has for the run, if it has one.
    pub fn worker(&self, executor: &ExecutorId, slot: SlotIndex) -> Option<&Worker> {
        self.workers.get(executor)?.get(&slot)
    }

    /// Whether a discovery is to be given out.
    pub fn wants_discovery(&self) -> bool {
        self.phase == Phase::Discovering && !self.is_being_discovered()
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether it ends only if something makes it, or its tests do.
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_ended() && !matches!(self.phase, Phase::Stopping(_))
    }

    /// Whether bundles may be dispatched.
    pub fn dispatches(&self) -> bool {
        self.phase == Phase::Running || self.anticipated.is_some()
    }

    /// Whether its manifest is confirmed and each of its tests has a verdict.
    pub fn all_decided(&self) -> bool {
        let confirmed = !matches!(self.phase, Phase::Discovering | Phase::Planning { .. });
        confirmed && self.counts.decided() == self.counts.total
    }

    /// Whether what runs now is to be interrupted: nothing of it is wanted any more.
    pub fn is_cancelling(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_)) || self.all_decided()
    }

    /// Whether the test is to be executed (again).
    pub fn owes(&self, test: TestIndex) -> bool {
        let test = self.test(test);
        let open = self.dispatches() && test.verdict.is_none() && test.given_up.is_none() && !test.poison;
        let retry = test.seen.failed && !test.seen.passed && test.executions <= self.spec.retries;
        open && (!test.seen.any() || retry)
    }

    /// How many losses end it.
    pub fn loss_budget(&self) -> u32 {
        self.spec.loss_budget(self.tests.len() as u32)
    }

    /// The relation of a test.
    pub fn relation_of(&self, test: TestIndex) -> Option<&Relation> {
        let number = self.test(test).relation as usize;
        number.checked_sub(1).map(|place| &self.relations[place])
    }

    /// The environment that all of a bundle's tests need.
    pub fn environment_of(&self, bundle: &Bundle) -> EnvironmentNumber {
        bundle.entries.first().map_or_else(Default::default, |(test, _)| self.test(*test).environment)
    }

    /// The relations that a bundle has tests of.
    pub fn relations_in(&self, bundle: &Bundle) -> impl Iterator<Item = u32> {
        let relations = bundle.entries.iter().map(|(test, _)| self.test(*test).relation);
        relations.filter(|relation| *relation != 0)
    }

    /// The executor whose discovery the manifest is from: the last that was tried.
    pub fn discovered_by(&self) -> Option<&ExecutorId> {
        let mut latest = self.attempts.values().rev();
        latest.find(|attempt| attempt.bundle.is_none()).map(|attempt| &attempt.executor)
    }

    /// An entry as executors see it.
    pub fn entry(&self, test: TestIndex, role: Role) -> Entry {
        let Test { predicted_us, limit_ms, relation, .. } = *self.test(test);
        Entry { test, role, predicted_us, limit_ms, relation }
    }

    /// The contents of a live attempt in the generation asked for. Another one is not told of: a newer one may not be
    /// durable yet.
    pub fn contents(&self, attempt: AttemptId, generation: Generation) -> Option<BundleContents> {
        let attempt = self.attempts.get(&attempt)?;
        let is_wanted = attempt.status == Status::Live && !attempt.withdrawn;
        if !is_wanted || attempt.generation != generation {
            return None;
        }
        let wanted = attempt.left.values().filter(|(test, _)| !attempt.asked.contains(test));
        let mut entries: Vec<_> = wanted.map(|(test, role)| self.entry(*test, *role)).collect();
        let mut manifest = self.manifest?;
        if let Some(numbering) = &attempt.numbering {
            let old = numbering.old();
            entries.iter_mut().for_each(|entry| entry.test = old[&entry.test]);
            manifest = numbering.manifest;
        }
        Some(BundleContents { generation, manifest, anticipated: self.anticipates(attempt), entries })
    }
}
