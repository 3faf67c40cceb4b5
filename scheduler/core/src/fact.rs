//! What has been decided or learned, durably. The journal is a list of these, and the stream of a run is a projection
//! of them, so a fact says all that its readers need.

use seagull_domain::{
    AttemptId, BootId, BundleId, Counts, Digest, EndCause, Epoch, Evidence, ExecutorId, Generation,
    InfraCause, NotExecuted, PlanSummary, Recall, Record, Role, RunId, RunSpec, RunVerdict, SecondCopy,
    Sickness, SlotIndex, SlotNumber, SuiteError, TestIndex, TestResult, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::Plan;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub run: RunId,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Submitted(Box<RunSpec>),
    /// A slot was given an attempt: a discovery, a pending bundle, or a new one of a test that another attempt runs.
    Assigned {
        attempt: AttemptId,
        bundle: Option<BundleId>,
        executor: ExecutorId,
        boot: BootId,
        slot: SlotIndex,
        number: SlotNumber,
        slots: u32,
        tests: u32,
        /// Set where it is a second copy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy: Option<SecondCopy>,
        /// Whether its tests have twice the memory that is written.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        larger: bool,
    },
    /// The answer to a plan of this generation.
    Planned {
        generation: Generation,
        plan: Box<Plan>,
    },
    /// The plan of the manifest that is expected of the discovery under way. Its bundles run meanwhile.
    Anticipated {
        discovered: Digest,
        plan: Box<Plan>,
    },
    /// A batch of an attempt of an anticipated plan: kept until it counts, or dropped.
    Provisional {
        attempt: AttemptId,
        batch: u32,
        records: Vec<Record>,
    },
    /// The discovery found what was anticipated: from here on it is the plan. What was kept is recorded next, as it is
    /// after a plan that says where the tests have moved.
    Confirmed {
        generation: Generation,
        manifest: Digest,
        tests: u32,
        summary: PlanSummary,
    },
    /// What was anticipated is dropped. What was kept of it has been told as discarded.
    Withdrawn,
    /// So many results do not count, of tests of a manifest that is not the run's; the first of them.
    Discarded {
        manifest: Digest,
        tests: Vec<TestIndex>,
        count: u32,
    },
    /// Why there are no tests to run.
    DiscoveryFailed {
        message: String,
    },
    /// Tests became a pending bundle after the plan: returned, taken back or to be retried.
    Bundled {
        bundle: BundleId,
        entries: Vec<(TestIndex, Role)>,
        avoid: Vec<ExecutorId>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        alone: bool,
        /// How many attempts of it, or of what it is a part of, came to nothing.
        #[serde(default, skip_serializing_if = "crate::run::is_zero")]
        in_vain: u32,
        /// Whether it may have to wait for a suspect in another bundle.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        follows: bool,
    },
    /// A batch of an attempt, with what makes a record evidence instead of a result.
    Recorded {
        attempt: AttemptId,
        batch: u32,
        executor: ExecutorId,
        slot: SlotNumber,
        records: Vec<(Record, Option<Evidence>)>,
    },
    /// Unstarted tests are asked back; `generation` is the one without them.
    TakeBack {
        attempt: AttemptId,
        generation: Generation,
        tests: Vec<TestIndex>,
        #[serde(default)]
        why: Recall,
    },
    /// They are given back, but for those that stay.
    TakenBack {
        attempt: AttemptId,
        kept: Vec<TestIndex>,
        given: u32,
        #[serde(default)]
        why: Recall,
    },
    AttemptEnded {
        attempt: AttemptId,
        cause: EndCause,
        executor: ExecutorId,
        left: u32,
        /// Whether nobody pays; see [`crate::sick`].
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        free: bool,
        /// The tests that pay; for readers, where its worker ended in an *ordered* relation.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        charged: Vec<TestIndex>,
        /// What it was at, for readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut_off: Option<CutOff>,
    },
    AttemptLost {
        attempt: AttemptId,
        cause: InfraCause,
        executor: ExecutorId,
        left: u32,
        /// Whether its executor had it, as far as is known, so that it may be what that was lost by.
        #[serde(default)]
        had: bool,
        /// How long its executor may have run nothing else, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alone_ms: Option<u64>,
        /// The life of the scheduler that saw it.
        #[serde(default)]
        epoch: Epoch,
        /// The test that pays, for readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        charged: Option<TestIndex>,
        /// The test that is a suspect from now on, for readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suspect: Option<TestIndex>,
        /// Where it ran that one alone, how likely it is that this is chance, for readers; see [`seagull_domain::Alone`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chance: Option<u32>,
        /// What it was at, for readers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut_off: Option<CutOff>,
    },
    /// A test kills executors: it fails, with the evidence as its result in the last attempt.
    Condemned {
        attempt: AttemptId,
        executor: ExecutorId,
        slot: SlotNumber,
        result: Box<TestResult>,
    },
    /// A test will not be tried again without a result: its budget is spent, or no executor can collect it.
    GivenUp {
        test: TestIndex,
        cause: NotExecuted,
    },
    WorkerEnded {
        executor: ExecutorId,
        slot: SlotIndex,
    },
    ExecutorLost {
        executor: ExecutorId,
        cause: InfraCause,
    },
    /// A process that has something of the run takes nothing more, and is about to leave.
    ExecutorDrained {
        executor: ExecutorId,
        boot: BootId,
        cause: InfraCause,
        why: String,
    },
    /// The executor is sick: so many attempts in a row there show it, and so many that did better elsewhere meanwhile. It
    /// gets nothing more; what it is given from `first` on is a trial.
    Cordoned {
        executor: ExecutorId,
        sickness: Sickness,
        attempts: u32,
        elsewhere: u32,
        first: AttemptId,
    },
    /// A trial of a cordoned executor went well.
    Back {
        executor: ExecutorId,
    },
    Decided {
        verdicts: Vec<(TestIndex, Verdict)>,
    },
    Stopping {
        reason: NotExecuted,
    },
    /// A client that judges attached to it.
    JudgeFound,
    /// All is decided, and it comes to this unless its client, who judges, has something to say against it.
    JudgementAwaited {
        verdict: RunVerdict,
    },
    /// What the client says, or is said in its place.
    Judged {
        errors: Vec<SuiteError>,
    },
    Ended {
        verdict: RunVerdict,
        counts: Counts,
        exit_code: u8,
        #[serde(default)]
        suite_errors: u32,
    },
    Archived,
}

/// The test that a slot was last heard to be at when its attempt ended, and for how long, where that left it without a
/// result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    pub test: TestIndex,
    pub ran_ms: u64,
}
