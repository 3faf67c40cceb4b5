//! What a seed stands for: executors, runs with their scripts, and the faults that will happen to them.

use seagull_domain::{Digest, Environment, Isolation, Outcome, Relation, RunSpec, TestIndex, Workspace};

use crate::machines::{ExecutorPlan, executor, sick};
use crate::random::Random;
use crate::trouble;

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
        if r.chance(300) {
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
        let mut scenario = Scenario { executors, runs, faults, message_bytes, crash_after, calm_at: 0 };
        trouble::add(r, &mut scenario);
        scenario.runs.iter_mut().for_each(|run| run.judge = r.chance(800).then(|| judge(r)));
        scenario.runs.iter_mut().for_each(|run| cut_short(r, run));
        scenario
    }

    /// When all would be done if nothing went wrong.
    pub fn expected_end(&self) -> u64 {
        expected_end(&self.executors, &self.runs)
    }
}

fn expected_end(executors: &[ExecutorPlan], runs: &[RunPlan]) -> u64 {
    let work: u64 = runs.iter().flat_map(|run| &run.tests).map(|test| test.duration_ms).sum();
    let slots: u64 = executors.iter().map(|executor| u64::from(executor.slots)).sum();
    work / slots + 6000
}

/// Long enough for what is sick to be found, and tried again; in bundles that are many.
fn lengthen(r: &mut Random, run: &mut RunPlan) {
    let times = r.within(4..=10);
    for test in &mut run.tests {
        test.duration_ms *= times;
        test.predicted_us *= times;
        test.limit_ms = if test.does == Does::Hangs { 4000 } else { test.duration_ms * 3 + 5000 };
    }
    run.chunk = r.within(1..=3) as usize;
}

fn run(r: &mut Random, seed: u64, index: usize, executors: usize) -> RunPlan {
    let tests = r.within(200..=260) as usize;
    let mut scripts: Vec<_> = (0..tests).map(|_| script(r, executors)).collect();
    let relations = relations(r, &mut scripts);
    RunPlan {
        spec: spec(r, &format!("r{seed}-{index}")),
        submitted_at: r.within(0..=1000),
        discovery: Discovery::Succeeds,
        anticipation: None,
        plan_fails: false,
        chunk: r.within(5..=40) as usize,
        tests: scripts,
        gone: Vec::new(),
        relations,
        cancelled_at: None,
        cancelled_in_planning: false,
        lost_at: None,
        controlled: false,
        judge: None,
    }
}

impl RunPlan {
    /// What a test of it does, or, numbered after those, one that is only expected.
    pub fn script(&self, test: TestIndex) -> &Script {
        let index = test.0 as usize;
        self.tests.get(index).unwrap_or_else(|| &self.gone[index - self.tests.len()])
    }
}

/// A run beside the first: another like it, or one that never gets tests.
fn second_run(r: &mut Random, seed: u64, executors: usize) -> RunPlan {
    let mut plan = run(r, seed, 1, executors);
    plan.submitted_at = r.within(0..=20_000);
    plan.spec.priority = r.within(0..=1) as i32;
    match r.within(0..=7) {
        0 => plan.discovery = Discovery::Fails,
        1 | 2 => plan.discovery = Discovery::Dies,
        3 => plan.plan_fails = true,
        4 => {
            plan.tests.clear();
            plan.relations.clear();
        }
        _ => plan.cancelled_at = r.chance(300).then(|| r.within(0..=40_000)),
    }
    plan
}

/// Now and then a run is over before it has begun.
fn cut_short(r: &mut Random, run: &mut RunPlan) {
    run.plan_fails |= r.chance(20);
    run.cancelled_in_planning = r.chance(if run.plan_fails { 500 } else { 60 });
    if run.cancelled_at.is_some() && r.chance(300) {
        run.cancelled_at = Some(run.submitted_at + r.within(0..=2500));
    }
}

/// A test or two kill their machine.
fn poison(r: &mut Random, run: &mut RunPlan) {
    for _ in 0..r.within(1..=2) {
        let test = r.index(run.tests.len());
        run.tests[test].does = Does::KillsExecutor;
    }
}

/// A few tests take far longer than predicted where they run first, or wherever they run.
fn slow_down(r: &mut Random, run: &mut RunPlan) {
    for _ in 0..r.within(0..=4) {
        let Some(test) = (!run.tests.is_empty()).then(|| r.index(run.tests.len())) else { return };
        let (hangs, slow_ms) = (r.chance(200), r.within(11_000..=40_000));
        let is_related = run.relations.iter().any(|of| of.tests.contains(&TestIndex(test as u32)));
        let script = &mut run.tests[test];
        if is_related || !matches!(script.does, Does::Always(_) | Does::FailsFirst(_)) {
            continue;
        }
        if hangs {
            (script.does, script.limit_ms) = (Does::Hangs, slow_ms);
        } else {
            (script.slow_ms, script.limit_ms) = (Some(slow_ms), slow_ms * 3);
        }
    }
}

/// A client that is there comes back to its scheduler sooner than the run is given up.
fn may_be_orphaned(r: &mut Random, run: &mut RunPlan) {
    run.spec.orphan_ms = Some(r.within(5000..=10_000));
    run.lost_at = r.chance(800).then(|| r.within(0..=10_000));
}

/// Now and then it takes longer than a client is waited for that is not heard of.
fn judge(r: &mut Random) -> Judge {
    let takes_ms = if r.chance(900) { r.within(0..=5000) } else { r.within(100_000..=300_000) };
    let does = match r.within(0..=9) {
        0..=2 => Judges::Never,
        3..=4 => Judges::Cancels,
        5..=6 => Judges::Twice,
        _ => Judges::Once,
    };
    Judge { takes_ms, errors: r.within(0..=2) as u32, comes_late: r.chance(300), does }
}

fn anticipate(r: &mut Random, run: &mut RunPlan) {
    run.anticipation = match r.within(0..=99) {
        0..=29 => Some(Anticipation::Right),
        30..=84 if !run.tests.is_empty() => Some(Anticipation::Other(earlier(r, run))),
        _ => None,
    };
}

/// The suite as it was before it got some tests, lost some, and others changed their places.
fn earlier(r: &mut Random, run: &mut RunPlan) -> Vec<TestIndex> {
    let mut tests: Vec<_> = (0..run.tests.len() as u32).map(TestIndex).collect();
    for _ in 0..r.within(0..=4) {
        tests.remove(r.index(tests.len()));
    }
    for _ in 0..r.within(0..=5) {
        let does = if r.chance(500) { Does::IsNowhere } else { Does::Always(Outcome::Passed) };
        tests.insert(r.index(tests.len()), TestIndex((run.tests.len() + run.gone.len()) as u32));
        let duration_ms = r.within(0..=400);
        run.gone.push(Script { does, duration_ms, predicted_us: 100_000, limit_ms: 9000, slow_ms: None });
    }
    for _ in 0..r.within(0..=3) {
        let (a, b) = (r.index(tests.len()), r.index(tests.len()));
        tests.swap(a, b);
    }
    tests
}

fn spec(r: &mut Random, id: &str) -> RunSpec {
    RunSpec {
        id: id.parse().expect("a safe id"),
        owner: "simulation".into(),
        project: "simulation".into(),
        priority: 0,
        rev: String::new(),
        labels: Default::default(),
        deadline: None,
        submitted_at: 0,
        workspace: Workspace::Artifact { digest: Digest([1; 32]), directory: String::new() },
        environment: Environment::default(),
        arguments: Vec::new(),
        select: Vec::new(),
        cap_ms: 600_000,
        test_limit_ms: None,
        start_limit_ms: None,
        retries: r.within(0..=2) as u32,
        test_losses: r.chance(200).then(|| r.within(1..=5) as u32),
        run_losses: r.chance(300).then(|| r.within(1..=6) as u32),
        fail_fast: None,
        flaky_fails: r.chance(200),
        early_start: true,
        second_copy: r.chance(900),
        grace_ms: r.within(1000..=5000),
        seed: 1,
        orphan_ms: None,
        planning: Default::default(),
        isolation: isolation(r),
        worker_memory_kib: r.chance(100).then(|| r.within(1..=5) * TEST_KIB),
        first: Vec::new(),
        awaits_judgement: false,
    }
}

fn isolation(r: &mut Random) -> Isolation {
    match r.within(0..=9) {
        0 => Isolation::Bundle,
        1 => Isolation::Test,
        _ => Isolation::Slot,
    }
}

fn script(r: &mut Random, executors: usize) -> Script {
    let does = match r.within(0..=999) {
        0..=24 => Does::Always(Outcome::Failed),
        25..=64 => Does::Always(Outcome::Skipped),
        65..=99 => Does::FailsFirst(r.within(1..=2) as u32),
        100..=106 => Does::CrashesWorker,
        107..=109 => Does::CrashesCollection,
        110..=112 => Does::Hangs,
        113..=116 => Does::ExitsSession,
        117..=119 => Does::IsNowhere,
        120..=124 => Does::IsMissingOn(r.index(executors)),
        125..=129 => Does::NeedsWholeCollection,
        _ => Does::Always(Outcome::Passed),
    };
    let duration_ms = match r.within(0..=9) {
        0..=4 => r.within(0..=30),
        5..=8 => r.within(50..=800),
        _ => r.within(1000..=6000),
    };
    let predicted_us = (duration_ms + 1) * 1000 * r.within(3..=30) / 10;
    let limit_ms = if does == Does::Hangs { 4000 } else { duration_ms * 3 + 5000 };
    Script { does, duration_ms, predicted_us, limit_ms, slow_ms: None }
}

/// A few relations of each kind. Tests of an *ordered* relation are found by every worker.
fn relations(r: &mut Random, scripts: &mut [Script]) -> Vec<Relation> {
    let mut free: Vec<u32> = (0..scripts.len() as u32).collect();
    let mut relations = Vec::new();
    for ordered in [false, true] {
        for _ in 0..r.within(2..=5) {
            let mut tests: Vec<_> =
                (0..r.within(2..=8)).map(|_| free.swap_remove(r.index(free.len()))).collect();
            tests.sort_unstable();
            relations.push(Relation { ordered, tests: tests.into_iter().map(TestIndex).collect() });
        }
    }
    for test in relations.iter().filter(|relation| relation.ordered).flat_map(|relation| &relation.tests) {
        let script = &mut scripts[test.0 as usize];
        if matches!(script.does, Does::IsNowhere | Does::IsMissingOn(_) | Does::NeedsWholeCollection) {
            script.does = Does::Always(Outcome::Passed);
        }
    }
    relations
}

fn faults(
    r: &mut Random,
    executors: &[ExecutorPlan],
    runs: &[RunPlan],
) -> (Vec<(u64, Fault)>, Option<Milestone>) {
    let end = expected_end(executors, runs);
    let mut faults = Vec::new();
    if r.chance(500) {
        faults.push((r.within(0..=end), death(r, executors.len())));
        for _ in 0..r.within(0..=2) {
            let fault = if r.chance(500) { death(r, executors.len()) } else { pause(r, executors.len()) };
            faults.push((r.within(0..=end), fault));
        }
    }
    // The first executor neither dies for good nor leaves, so that every run can end.
    if r.chance(400) {
        let executor = 1 + r.index(executors.len() - 1);
        faults.push((r.within(0..=end), farewell(r, executor)));
    }
    if r.chance(500) {
        faults.push((r.within(0..=end), Fault::Cut { executor: r.index(executors.len()) }));
    }
    if r.chance(200) {
        faults.push((r.within(0..=end), Fault::PauseScheduler { for_ms: r.within(1000..=30_000) }));
    }
    let mut crash_after = None;
    if r.chance(500) {
        let down_ms = if r.chance(800) { r.within(50..=3000) } else { r.within(3000..=30_000) };
        faults.push((r.within(0..=end), Fault::CrashScheduler { down_ms }));
        crash_after = match r.within(0..=5) {
            0 => Some(Milestone::PlanAsked),
            1 => Some(Milestone::ArchiveAsked),
            2 => Some(Milestone::TakenBack),
            _ => None,
        };
    }
    (faults, crash_after)
}

/// With no time at all, with time to end what runs, or with something in between.
fn farewell(r: &mut Random, executor: usize) -> Fault {
    let time = r.within(0..=25_000);
    match r.within(0..=2) {
        0 => Fault::Drain { executor, limit_ms: time },
        how => Fault::Leave { executor, within_ms: time, spot: how == 1 },
    }
}

fn death(r: &mut Random, executors: usize) -> Fault {
    let executor = r.index(executors);
    let for_good = executor > 0 && r.chance(500);
    let back_after = (!for_good).then(|| r.within(50..=20_000));
    Fault::Die { executor, back_after }
}

/// Shorter than a lease, or longer.
fn pause(r: &mut Random, executors: usize) -> Fault {
    let executor = r.index(executors);
    let for_ms = if r.chance(500) { r.within(100..=5000) } else { r.within(5000..=40_000) };
    Fault::Pause { executor, for_ms, whole_machine: r.chance(500) }
}
