//! `Synchronize`: what an executor reports and what it is told. Both are whole states, never changes, so that every
//! message may be lost, repeated or reordered without harm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Attachment, AttemptId, BootId, Digest, EnvironmentNumber, Epoch, ExecutorId, Generation, Hold, ImageUsed,
    InfraCause, Leftover, Resources, RunId, SlotIndex, SlotNumber, SuiteError, TestIndex, TestResult,
    TextRef, Used,
};

/// The state of an executor. An older report (by boot, then sequence) changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub executor: ExecutorId,
    pub boot: BootId,
    /// Rises with every report of a boot.
    pub sequence: u64,
    /// The newest desired state the executor acts on.
    pub known: (Epoch, u64),
    pub slots: u16,
    /// What its slots share.
    pub capacity: Resources,
    pub labels: BTreeMap<String, String>,
    /// Set where it takes nothing new and is about to leave.
    pub draining: Option<Drain>,
    pub attempts: Vec<AttemptReport>,
    /// Workers alive, or ended with something unacknowledged.
    pub workers: Vec<WorkerReport>,
    /// Results not yet acknowledged, oldest first, as many as one message may hold.
    pub batches: Vec<Batch>,
}

/// Why an executor leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// One that was announced: a drain or a spot notice.
    pub cause: InfraCause,
    /// Who or what announced it, in a few words.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    pub attempt: AttemptId,
    pub run: RunId,
    /// The generation of the bundle's contents it works by.
    pub generation: Generation,
    /// Tests that this generation takes back but that had started (or belong to a relation that had): they stay.
    pub kept: Vec<TestIndex>,
    pub state: AttemptState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    /// Held as *next*, or its worker is starting.
    Waiting,
    /// The test that runs, if one does.
    Running(Option<TestIndex>),
    Ended(EndCause),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Nothing more is to do here: every entry was reported on, but for those of a relation whose worker ended half
    /// way, which have to run elsewhere, after what must run before them, and those of a manifest that was only expected
    /// that were not found.
    Completed,
    Discovered(Discovery),
    /// The framework could not say which tests there are; its words.
    DiscoveryFailed(String),
    /// As desired.
    Cancelled,
    /// What has no result was not executed, for this cause; with a sentence that says more.
    GaveBack(InfraCause, String),
}

/// The outcome of a discovery: a manifest, stored as a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    pub manifest: Digest,
    pub tests: u32,
}

/// A worker that lives in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerReport {
    pub run: RunId,
    pub slot: SlotIndex,
    pub number: SlotNumber,
}

/// Records of one attempt, numbered from 1 without a gap. Repeats change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub run: RunId,
    pub attempt: AttemptId,
    pub number: u32,
    pub records: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Result(TestResult),
    /// The worker cannot collect the test, and a whole-suite collection did not find it either.
    Missing {
        test: TestIndex,
        reason: String,
    },
    SuiteError(SuiteError),
    /// What a worker measured of the suite's coverage, as its adapter tells it.
    Coverage(TextRef),
    /// A file that was left by a test, or by nobody knows which of the attempt's.
    Attached {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<TestIndex>,
        file: Attachment,
    },
    /// What the sandbox was made of that is executed in from here on.
    Images(Vec<ImageUsed>),
    /// A sandbox stays for a while, as a test has left it that failed.
    Held {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<TestIndex>,
        hold: Hold,
    },
    /// Processes outlived their worker's session, by a test's doing or by nobody knows whose.
    Left {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<TestIndex>,
        left: Leftover,
    },
    /// Said when the attempt ends.
    Used(Used),
}

/// What the scheduler wants of an executor. One with an older (epoch, version) than the last is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub epoch: Epoch,
    pub version: u64,
    /// By slot, then in the order to run in: at most one current and one next each.
    pub attempts: Vec<DesiredAttempt>,
    /// Runs whose workers may live on; a worker of any other run finishes.
    pub runs: Vec<RunId>,
    /// Of the others, those that stop before their time: their sessions have only the grace to end.
    pub cancelled: Vec<RunId>,
    /// For each attempt with batches in the report: the last batch that is durable (or discarded).
    pub acknowledged: Vec<(AttemptId, u32)>,
    /// The lease, in milliseconds.
    pub lease_ms: u64,
    /// Set where an operator wants it to leave: within so many milliseconds of the first time it hears so.
    pub drain_ms: Option<u64>,
}

/// How far an executor has come that was asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainState {
    /// It is not here.
    Absent,
    /// It has not reported since the scheduler's start, which is not long ago.
    Unheard,
    /// It is to be told.
    Asked,
    /// It reports that it drains.
    Draining,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredAttempt {
    pub attempt: AttemptId,
    pub run: RunId,
    pub kind: Kind,
    pub slot: SlotIndex,
    pub number: SlotNumber,
    /// How many slots the run knew of when the attempt was assigned; at least `number + 1`.
    pub slots: u32,
    pub surroundings: Surroundings,
    /// Contents of an older generation are to be replaced.
    pub generation: Generation,
    pub cancel: bool,
    /// Why it is cancelled: another attempt has the result of the test that it is at. What it has said counts.
    pub superseded: bool,
}

/// What a worker is made for: what runs in it needs all of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    pub environment: EnvironmentNumber,
    /// Whether its tests have twice the memory that is written.
    pub larger: bool,
    /// What it takes of its executor by itself.
    pub needs: Resources,
    /// What workers of its run and environment there share takes, all together.
    pub shared: Resources,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Discover,
    Run,
}

/// The tests of an attempt in one generation, fetched once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleContents {
    pub generation: Generation,
    /// What the indices of its tests mean.
    pub manifest: Digest,
    /// Whether that is only expected: not to be executed but in the environment that it was found in, and not to be looked
    /// for.
    pub anticipated: bool,
    pub entries: Vec<Entry>,
}

/// A test in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub test: TestIndex,
    pub role: Role,
    /// Predicted microseconds.
    pub predicted_us: u64,
    /// Milliseconds after which it is killed.
    pub limit_ms: u64,
    /// The relation it belongs to, by a number unique in the run from 1; 0 for none.
    pub relation: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To be executed for its result.
    Run,
    /// Executed again only because tests after it need it; its outcome is evidence.
    Predecessor,
}
