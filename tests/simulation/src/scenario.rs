//! What a seed stands for: executors, runs with their scripts, and the faults that will happen to them.

mod faults;
mod runs;

use seagull_domain::{EnvironmentNumber, Outcome, Relation, RunSpec, TestIndex};

use crate::machines::{ExecutorPlan, capacity, executor, sick};
use crate::random::Random;
use crate::trouble;
use faults::faults;
pub use runs::MEMORY_KIB;
use runs::{
    anticipate, cut_short, judge, lengthen, limit, may_be_orphaned, poison, run, second_run, slow_down,
    surround,
};

/// How much memory each test leaves behind in its worker.
pub const TEST_KIB: u64 = 1000;

pub struct Scenario {
    pub executors: Vec<ExecutorPlan>,
    pub runs: Vec<RunPlan>,
    pub faults: Vec<(u64, Fault)>,
    /// Bytes of each result's message; where there are many, a report does not hold all that is undelivered.
    pub message_bytes: usize,
    /// The scheduler also crashes shortly after it has first come this far.
    pub crash_after: Option<Milestone>,
    /// From then on nothing goes wrong by itself.
    pub calm_at: u64,
}

pub struct RunPlan {
    pub spec: RunSpec,
    pub submitted_at: u64,
    pub discovery: Discovery,
    pub anticipation: Option<Anticipation>,
    /// Selecting or packing fails.
    pub plan_fails: bool,
    /// Tests in a bundle.
    pub chunk: usize,
    pub tests: Vec<Script>,
    /// Tests that are expected and are not in its manifest, though a worker may find them.
    pub gone: Vec<Script>,
    pub relations: Vec<Relation>,
    /// What each test needs, also those that are only expected; nothing where all need the same.
    pub environments: Vec<EnvironmentNumber>,
    pub cancelled_at: Option<u64>,
    /// It is cancelled as soon as its plan is asked for.
    pub cancelled_in_planning: bool,
    /// Its client is gone from then on.
    pub lost_at: Option<u64>,
    /// Its workers want a controller.
    pub controlled: bool,
    /// Its client judges.
    pub judge: Option<Judge>,
}

/// A client that judges its run's suite as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Judge {
    pub takes_ms: u64,
    /// How many suite errors it finds.
    pub errors: u32,
    /// It says that it judges only when it attaches.
    pub comes_late: bool,
    pub does: Judges,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judges {
    Once,
    /// Another client of the run says something else.
    Twice,
    /// It is gone when it is asked.
    Never,
    /// It cancels the run instead.
    Cancels,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    Succeeds,
    Fails,
    Dies,
}

/// What is expected of the discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anticipation {
    /// What it finds.
    Right,
    /// Another manifest, of these tests.
    Other(Vec<TestIndex>),
}

/// What a test does wherever it is executed.
#[derive(Debug, Clone)]
pub struct Script {
    pub does: Does,
    pub duration_ms: u64,
    pub predicted_us: u64,
    pub limit_ms: u64,
    /// How long its first execution takes, if that is another time.
    pub slow_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    Always(Outcome),
    /// Its first executions fail.
    FailsFirst(u32),
    CrashesWorker,
    /// Its machine dies.
    KillsExecutor,
    /// The worker dies while the test's file is collected.
    CrashesCollection,
    Hangs,
    /// Its worker is killed, with all of its sandbox, for want of memory: always, or unless that has twice what is written.
    TakesMemory {
        always: bool,
    },
    /// Ends the session, as `pytest.exit` does.
    ExitsSession,
    /// No worker finds it.
    IsNowhere,
    /// The workers of one executor do not find it.
    IsMissingOn(usize),
    /// Found only by a worker that has collected everything.
    NeedsWholeCollection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    PlanAsked,
    ArchiveAsked,
    TakenBack,
}

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The executor and all its workers die; a new boot of it starts so many milliseconds later.
    Die {
        executor: usize,
        back_after: Option<u64>,
    },
    /// The executor stands still for so long; its workers too, or not.
    Pause {
        executor: usize,
        for_ms: u64,
        whole_machine: bool,
    },
    /// The executor has so long to leave, because somebody on its machine says so.
    Leave {
        executor: usize,
        within_ms: u64,
        spot: bool,
    },
    /// An operator asks the scheduler to have it leave.
    Drain {
        executor: usize,
        limit_ms: u64,
    },
    /// Every call of the executor breaks off.
    Cut {
        executor: usize,
    },
    CrashScheduler {
        down_ms: u64,
    },
    PauseScheduler {
        for_ms: u64,
    },
    /// The next commit fails, and the scheduler ends.
    FailDisk {
        down_ms: u64,
    },
    /// The next commit takes so much longer.
    StallDisk {
        for_ms: u64,
    },
    /// Nothing passes between the executor and the scheduler, and nobody is told.
    Partition {
        executor: usize,
        for_ms: u64,
    },
    /// Nothing passes between the clients and the scheduler.
    PartitionClients {
        for_ms: u64,
    },
}

impl Scenario {
    pub fn new(seed: u64) -> Scenario {
        let mut random = Random::new(seed);
        let r = &mut random;
        let executors: Vec<_> = (0..r.within(2..=8)).map(|index| executor(r, index)).collect();
        let stop = r.within(0..=5);
        let mut runs = vec![run(r, seed, 0, executors.len())];
        match stop {
            0 => runs[0].cancelled_at = Some(r.within(0..=40_000)),
            1 => runs[0].spec.fail_fast = Some(r.within(1..=3) as u32),
            _ => {}
        }
        if r.chance(300) {
            runs.push(second_run(r, seed, executors.len()));
        }
        let (faults, crash_after) = faults(r, &executors, &runs);
        let message_bytes = if r.chance(60) { 60_000 } else { 0 };
        runs.iter_mut().for_each(|run| run.controlled = r.chance(300));
        if r.chance(350) {
            poison(r, &mut runs[0]);
        }
        if r.chance(200) {
            may_be_orphaned(r, &mut runs[0]);
        }
        runs.iter_mut().for_each(|run| anticipate(r, run));
        let mut executors = executors;
        if r.chance(600) {
            for _ in 0..r.within(1..=2) {
                let place = 1 + r.index(executors.len() - 1);
                executors[place].sick = Some(sick(r));
                if r.chance(300) {
                    executors[place].slots = r.within(12..=64) as u16;
                }
            }
            lengthen(r, &mut runs[0]);
        }
        runs.iter_mut().for_each(|run| slow_down(r, run));
        let mut own = Random::new(seed ^ 0xE5);
        runs.iter_mut()
            .filter(|_| own.chance(400))
            .for_each(|run| surround(&mut Random::new(seed ^ 0xE6), run));
        if own.chance(500) {
            size(&mut own, &mut executors, &mut runs);
        }
        let mut scenario = Scenario { executors, runs, faults, message_bytes, crash_after, calm_at: 0 };
        trouble::add(r, &mut scenario);
        scenario.runs.iter_mut().for_each(|run| run.judge = r.chance(900).then(|| judge(r)));
        scenario.runs.iter_mut().for_each(|run| cut_short(r, run));
        scenario
    }

    /// When all would be done if nothing went wrong.
    pub fn expected_end(&self) -> u64 {
        expected_end(&self.executors, &self.runs)
    }
}

/// Machines have so much memory, and environments need some of it.
fn size(r: &mut Random, executors: &mut [ExecutorPlan], runs: &mut [RunPlan]) {
    for (index, executor) in executors.iter_mut().enumerate() {
        executor.capacity = capacity(r, index, MEMORY_KIB);
    }
    runs.iter_mut().for_each(|run| limit(r, run));
}

fn expected_end(executors: &[ExecutorPlan], runs: &[RunPlan]) -> u64 {
    let work: u64 = runs.iter().flat_map(|run| &run.tests).map(|test| test.duration_ms).sum();
    let slots: u64 = executors.iter().map(|executor| u64::from(executor.slots)).sum();
    work / slots + 6000
}

impl RunPlan {
    /// Whether its services are made clean between two bundles.
    pub fn resets(&self) -> bool {
        self.tests.len().is_multiple_of(4)
    }

    /// What a test needs around it.
    pub fn environment(&self, test: TestIndex) -> EnvironmentNumber {
        self.environments.get(test.0 as usize).copied().unwrap_or_default()
    }

    /// What a test of it does, or, numbered after those, one that is only expected.
    pub fn script(&self, test: TestIndex) -> &Script {
        let index = test.0 as usize;
        self.tests.get(index).unwrap_or_else(|| &self.gone[index - self.tests.len()])
    }
}
