//! A run as a stream: the projection of its durable facts that every reader sees. Tests are named by index; whoever
//! shows them to people has the manifest.

use serde::{Deserialize, Serialize};

use crate::{
    Attachment, AttemptId, Counts, Digest, ExecutorId, Generation, Hold, ImageUsed, InfraCause, Leftover,
    NotExecuted, RunSpec, RunVerdict, Seq, Sickness, SlotNumber, SuiteError, TestIndex, TestResult, TextRef,
    Used, Verdict,
};

/// An event with the number of the fact it projects. Several events may share one number; a reader resumes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamItem {
    pub seq: Seq,
    pub event: RunEvent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    RunStarted(Box<RunSpec>),
    /// Discovery ended; from here on a test is its index in this manifest.
    ManifestConfirmed {
        generation: Generation,
        manifest: Digest,
        tests: u32,
    },
    Plan(PlanSummary),
    /// An attempt was given to a slot.
    AttemptAssigned {
        attempt: AttemptId,
        executor: ExecutorId,
        slot: SlotNumber,
        discovery: bool,
        tests: u32,
        /// Set where it is a second copy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy: Option<SecondCopy>,
    },
    /// Unstarted tests were taken back from a busy slot.
    TakenBack {
        attempt: AttemptId,
        tests: u32,
        #[serde(default)]
        why: Recall,
    },
    /// One execution of a test.
    TestFinished {
        result: TestResult,
        attempt: AttemptId,
        executor: ExecutorId,
        slot: SlotNumber,
        /// Set where the execution is no result.
        evidence: Option<Evidence>,
    },
    /// Exactly one for each test.
    Verdict {
        test: TestIndex,
        verdict: Verdict,
    },
    /// A test was not found where it should have run.
    TestMissing {
        test: TestIndex,
        attempt: AttemptId,
        executor: ExecutorId,
        reason: String,
    },
    SuiteError {
        error: SuiteError,
        executor: Option<ExecutorId>,
    },
    /// A worker has told what it measured of the suite's coverage.
    Coverage {
        data: TextRef,
        executor: ExecutorId,
        slot: SlotNumber,
    },
    /// A file was left by a test, or by nobody knows which of the attempt's.
    Attached {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<TestIndex>,
        file: Attachment,
        attempt: AttemptId,
        executor: ExecutorId,
        slot: SlotNumber,
    },
    /// What the sandbox was made of that an attempt is executed in from here on.
    Images {
        images: Vec<ImageUsed>,
        attempt: AttemptId,
        executor: ExecutorId,
        slot: SlotNumber,
    },
    /// A sandbox stays for a while, as a test has left it that failed.
    Held {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<TestIndex>,
        hold: Hold,
        attempt: AttemptId,
        executor: ExecutorId,
        slot: SlotNumber,
    },
    /// Processes outlived their worker's session, by a test's doing or by nobody knows whose, and were killed. The attempt is
    /// the worker's last.
    Left {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<TestIndex>,
        left: Leftover,
        attempt: AttemptId,
        executor: ExecutorId,
        slot: SlotNumber,
    },
    /// What an attempt took that has ended on its executor.
    Used {
        used: Used,
        attempt: AttemptId,
        executor: ExecutorId,
        slot: SlotNumber,
    },
    /// An attempt ended for an infrastructure cause; its tests without a result go elsewhere.
    AttemptLost {
        attempt: AttemptId,
        executor: ExecutorId,
        cause: InfraCause,
        message: String,
        tests: u32,
        /// Those of them that pay for it from their budgets.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        charged: Vec<TestIndex>,
        /// The one that may have been what its executor was lost by: until it has a result, it runs alone and last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suspect: Option<TestIndex>,
        /// Set where that ran alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alone: Option<Alone>,
        /// The run does not pay for it: its executor is sick, or its worker ended in an ordered relation.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        free: bool,
    },
    /// A test was running when its attempt ended without a result of it.
    TestCutOff {
        test: TestIndex,
        attempt: AttemptId,
        executor: ExecutorId,
        /// For how many milliseconds it was heard to run, and its executor not to be gone.
        ran_ms: u64,
        /// None where the attempt was cancelled: its run stops, or another attempt has the result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<InfraCause>,
    },
    ExecutorLost {
        executor: ExecutorId,
        cause: InfraCause,
    },
    /// An executor takes nothing more, because it is to leave; what it has not started goes elsewhere.
    ExecutorDrained {
        executor: ExecutorId,
        cause: InfraCause,
        /// Who or what wanted it, in a few words.
        why: String,
    },
    /// An executor is sick: the run gives it nothing more, and tries it again later. So many attempts in a row show it,
    /// and so many that did better elsewhere meanwhile.
    ExecutorCordoned {
        executor: ExecutorId,
        sickness: Sickness,
        attempts: u32,
        elsewhere: u32,
    },
    /// It was tried again, and that went well.
    ExecutorBack {
        executor: ExecutorId,
    },
    DiscoveryFailed {
        message: String,
    },
    /// So many results of what was executed before the manifest was confirmed, as far as they were reported, do not count;
    /// the first of their tests, by the manifest that was expected.
    ResultsDiscarded {
        manifest: Digest,
        tests: Vec<TestIndex>,
        count: u32,
    },
    /// No more is dispatched; what runs is interrupted.
    Stopping {
        reason: NotExecuted,
    },
    /// All is decided; the run comes to this unless its client, who judges the suite as a whole, says otherwise.
    JudgementAwaited {
        verdict: RunVerdict,
    },
    RunFinished {
        verdict: RunVerdict,
        counts: Counts,
        exit_code: u8,
    },
}

/// What an attempt runs though another one still runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondCopy {
    pub test: TestIndex,
    /// The attempt that has been at it for far longer than predicted.
    pub beside: AttemptId,
}

/// An executor was lost while it ran a suspect alone, which speaks for the test having killed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alone {
    /// For how many milliseconds it may have run it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// How likely it is, in thousandths, that all executors that have run it alone were lost by chance, at the rate at
    /// which others are.
    pub chance: u32,
}

impl Alone {
    /// From so many thousandths on it may be chance.
    pub const CHANCE: u32 = 10;
    /// So many such losses show that they are the test's doing, if they are no chance.
    pub const LOSSES: usize = 2;
}

/// Why unstarted tests are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recall {
    /// Another slot is idle.
    #[default]
    Idle,
    /// Their bundle runs for twice the cap already.
    PastCap,
    /// Their executor drains.
    Drained,
    /// Their executor is cordoned.
    Cordoned,
}

impl Recall {
    /// The word for it in events.
    pub fn word(self) -> &'static str {
        match self {
            Recall::Idle => "idle",
            Recall::PastCap => "past_cap",
            Recall::Drained => "drained",
            Recall::Cordoned => "cordoned",
        }
    }
}

/// Why an execution is evidence and no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Run again for a test that needs it before it.
    Predecessor,
    /// Its test was decided already.
    AfterDecision,
    /// Its test was over its memory limit, and runs again in a larger slot, with twice the memory.
    FirstMemoryKill,
    /// The same of its disk limit.
    FirstDiskKill,
}

impl Evidence {
    /// Whether it was over a limit, and runs again with more.
    pub fn is_first_kill(self) -> bool {
        matches!(self, Evidence::FirstMemoryKill | Evidence::FirstDiskKill)
    }

    /// The word for it in events and reports.
    pub fn word(self) -> &'static str {
        match self {
            Evidence::Predecessor => "predecessor",
            Evidence::AfterDecision => "after_decision",
            Evidence::FirstMemoryKill => "first_memory_kill",
            Evidence::FirstDiskKill => "first_disk_kill",
        }
    }
}

/// A plan in figures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlanSummary {
    pub bundles: u32,
    pub slots: u32,
    /// The cap the plan was made with, in milliseconds: the one asked for, or the effective cap.
    pub cap_ms: u64,
    /// Predicted milliseconds of all tests together, and of the longest test or relation.
    pub total_ms: u64,
    pub longest_ms: u64,
    /// Predicted milliseconds from the plan to the end.
    pub makespan_ms: u64,
    /// No plan can have fewer bundles.
    pub lower_bound: u32,
    /// What proves the lower bound.
    pub bound: String,
    /// Tests whose prediction is not from their own history.
    pub unknown: u32,
    /// Bundles that are longer than the cap because one test or relation is.
    pub oversize: u32,
    /// Milliseconds that making the plan took.
    #[serde(default)]
    pub planning_ms: u64,
}
