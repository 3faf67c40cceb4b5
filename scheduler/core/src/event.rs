//! What the core is told.

use std::time::Duration;

use seagull_domain::{
    BootId, Digest, EnvironmentNumber, ExecutorId, Generation, PlanSummary, Relation, Report, RunId, RunSpec,
    SuiteError, TestIndex,
};
use serde::{Deserialize, Serialize};

/// The shell's number for a call of an executor that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(pub u64);

#[derive(Debug, Clone)]
pub enum Event {
    /// A client asks for a run, or to attach to one.
    Submit { request: Call, spec: Box<RunSpec> },
    /// A client wants a run to stop.
    Cancel { request: Call, run: RunId },
    /// What a run's client says against its suite as a whole; None while it has not found out.
    Judge { request: Call, run: RunId, word: Option<Vec<SuiteError>> },
    /// Somebody begins to watch a run.
    Watched { run: RunId },
    /// Somebody who watched a run has left, or was lost.
    Unwatched { run: RunId },
    /// An executor's state; its call is held until the desired state changes or a third of the lease is over.
    Report { call: Call, report: Box<Report> },
    /// An operator wants executors to leave, each within so long of hearing so.
    Drain { executors: Vec<ExecutorId>, limit_ms: u64 },
    /// The call of an executor's report ended without an answer: its connection closed (its lease shortens, so that
    /// the first reconnect is in time), or it gave the call up for a newer report (and nothing changes).
    Disconnected { executor: ExecutorId, boot: BootId, sequence: u64 },
    /// The answer to [`crate::Effect::Plan`] of the same generation; an older one is dropped.
    Planned { run: RunId, generation: Generation, outcome: Result<Box<Plan>, PlanFailure> },
    /// The answer to [`crate::Effect::Anticipate`], if there is one: how the tests would be packed if `discovered` were
    /// found again. One that comes too late is dropped.
    Anticipated { run: RunId, discovered: Digest, plan: Box<Plan> },
    /// The answer to [`crate::Effect::Archive`].
    Archived { run: RunId },
    /// Time passed; see [`crate::State::next_deadline`].
    Tick,
    /// What these executors are to be told waits for the journal, and for [too long](crate::is_kept_waiting): they say
    /// nothing more until they have it. To be told before a tick, and before they have it.
    Unanswered(Vec<ExecutorId>),
    /// The scheduler itself stood still for so long: nobody is to blame for silence meanwhile.
    Paused(Duration),
    /// The journal has been applied and the listener is up.
    Recovered,
}

/// A confirmed manifest and how it is packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub manifest: Digest,
    /// In dispatch order; each in the framework's order.
    pub bundles: Vec<Vec<TestIndex>>,
    /// Predicted microseconds of each test of the manifest.
    pub predicted_us: Vec<u64>,
    /// Milliseconds after which each test is killed.
    pub limits_ms: Vec<u64>,
    /// Disjoint.
    pub relations: Vec<Relation>,
    /// The environment of each test; nothing where all have the default one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentNumber>,
    /// Tests whose prediction is not from their own history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<TestIndex>,
    pub summary: PlanSummary,
    /// What was selected is empty by definition, as `last-failed` of a green run is.
    pub empty_by_definition: bool,
    /// After how many failed tests the suite itself wants to stop, where the run's spec does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<u32>,
    /// Whether the suite measures what its client judges.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub to_judge: bool,
    /// So many of the bundles go before all others, however long these are.
    #[serde(default)]
    pub first: u32,
    /// Where it is for another manifest than was anticipated: the index that each test of that has in this one. None
    /// where nothing of the other can go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Vec<Option<TestIndex>>>,
}

/// Why there is no plan, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFailure(pub String);
