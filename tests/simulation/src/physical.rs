//! What really happened on the machines, whatever any protocol says about it.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{
    AttemptId, BootId, EnvironmentNumber, ExecutorId, Outcome, Role, SlotIndex, SlotNumber, TestIndex,
};

/// The runs, agents and workers of a history are known by their place in its lists.
#[derive(Default)]
pub struct Physical {
    pub agents: Vec<AgentLife>,
    pub workers: Vec<WorkerLife>,
    pub executions: Vec<Execution>,
    pub controllers: Vec<ControllerLife>,
    /// In the order of time.
    pub signs: Vec<(u64, Sign)>,
    /// Executors that an operator asked to leave.
    pub asked_to_leave: BTreeSet<String>,
    /// Tests that failed for something else that nobody could tell from their own doing: their machine is sick.
    pub unlucky: BTreeSet<(usize, TestIndex)>,
    /// What each attempt had to do, where its agent learned of all of it: some may have been asked back before.
    pub given: BTreeMap<AttemptId, Vec<TestIndex>>,
}

impl Physical {
    /// When the scheduler that lived at a time had started.
    pub fn life_at(&self, time: u64) -> u64 {
        let started = |(at, sign): &&(u64, Sign)| matches!(sign, Sign::SchedulerStarted) && *at <= time;
        self.signs.iter().rfind(started).map_or(0, |(at, _)| *at)
    }

    /// Whether the executor leaves at some time, or was asked to.
    pub fn may_leave(&self, executor: &ExecutorId) -> bool {
        let of_executor = |agent: &&AgentLife| agent.executor == executor.as_str();
        self.asked_to_leave.contains(executor.as_str())
            || self.agents.iter().filter(of_executor).any(|agent| agent.leaves.is_some())
    }
}

/// What the scheduler has to go by when it judges whether an executor is there.
#[derive(Debug)]
pub enum Sign {
    SchedulerStarted,
    SchedulerStoodStill(u64),
    Reported {
        executor: ExecutorId,
        boot: BootId,
        sequence: u64,
    },
    /// This report is there, and the scheduler, which stands still, does not take it.
    Waits {
        executor: ExecutorId,
        boot: BootId,
        sequence: u64,
    },
    /// It has no answer yet, which waits for the disk.
    Unanswered(ExecutorId),
    /// The call of this report ended.
    Closed {
        executor: ExecutorId,
        boot: BootId,
        sequence: u64,
    },
    /// The scheduler gave it up.
    GivenUp(ExecutorId),
}

/// One boot of an executor.
pub struct AgentLife {
    pub executor: String,
    /// Its machine is sick for some time.
    pub sick: bool,
    /// How many milliseconds its clock counts in a second.
    pub rate: u64,
    /// For how many milliseconds its process has stood still.
    pub stood_still: u64,
    pub died: Option<u64>,
    pub leaves: Option<u64>,
    /// When it kills what runs, because it leaves.
    pub last: Option<u64>,
    pub left: Option<u64>,
}

pub struct WorkerLife {
    pub run: usize,
    pub agent: usize,
    pub slot: SlotIndex,
    pub number: SlotNumber,
    /// Of its sandbox.
    pub environment: EnvironmentNumber,
    /// Whether that has twice the memory that is written.
    pub larger: bool,
    /// The attempt it was started for.
    pub attempt: AttemptId,
    pub start: u64,
    pub end: Option<u64>,
    /// Ended in any way but an orderly end of its session.
    pub broke: bool,
    /// Errors outside of any test that it caused.
    pub suite_errors: u32,
    /// It told of an outcome of discovery, or ended instead.
    pub discovery_told: bool,
    /// When it had what its controller had for it.
    pub configured: Option<u64>,
    /// When its services were made clean.
    pub cleaned: Vec<u64>,
}

pub struct ControllerLife {
    pub run: usize,
    pub agent: usize,
    pub start: u64,
    pub end: Option<u64>,
    /// Ended in any way but an orderly end of its session.
    pub broke: bool,
}

pub struct Execution {
    pub run: usize,
    pub test: TestIndex,
    /// What its executor calls the test.
    pub called: TestIndex,
    pub role: Role,
    pub attempt: AttemptId,
    pub agent: usize,
    pub worker: usize,
    /// Which of its test's executions it is, from 1.
    pub nth: u32,
    pub start: u64,
    pub end: Option<u64>,
    pub ended: Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It never ended, as far as this history tells.
    Not,
    With(Outcome),
    /// Stopped half way, on request.
    Interrupted,
    /// Gone with its machine.
    Gone,
}
