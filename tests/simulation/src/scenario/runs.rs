//! The runs of a seed: their tests' scripts, and what their clients do.

use seagull_domain::{
    Digest, Environment, EnvironmentNumber, Isolation, Limits, Outcome, Relation, RunSpec, Service,
    TestContainer, TestIndex, Workspace,
};

use super::{Anticipation, Discovery, Does, Judge, Judges, RunPlan, Script, TEST_KIB};
use crate::random::Random;

/// Long enough for what is sick to be found, and tried again; in bundles that are many.
pub(super) fn lengthen(r: &mut Random, run: &mut RunPlan) {
    let times = r.within(6..=12);
    for test in &mut run.tests {
        test.duration_ms *= times;
        test.predicted_us *= times;
        test.limit_ms = if test.does == Does::Hangs { 4000 } else { test.duration_ms * 3 + 5000 };
    }
    run.chunk = r.within(1..=3) as usize;
}

pub(super) fn run(r: &mut Random, seed: u64, index: usize, executors: usize) -> RunPlan {
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
        environments: Vec::new(),
        cancelled_at: None,
        cancelled_in_planning: false,
        lost_at: None,
        controlled: false,
        judge: None,
    }
}

/// A run beside the first: another like it, or one that never gets tests.
pub(super) fn second_run(r: &mut Random, seed: u64, executors: usize) -> RunPlan {
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
pub(super) fn cut_short(r: &mut Random, run: &mut RunPlan) {
    run.plan_fails |= r.chance(20);
    run.cancelled_in_planning = r.chance(if run.plan_fails { 500 } else { 60 });
    if run.cancelled_at.is_some() && r.chance(300) {
        run.cancelled_at = Some(run.submitted_at + r.within(0..=2500));
    }
}

/// A test or two kill their machine.
pub(super) fn poison(r: &mut Random, run: &mut RunPlan) {
    for _ in 0..r.within(1..=2) {
        let test = r.index(run.tests.len());
        run.tests[test].does = Does::KillsExecutor;
    }
}

/// A few tests take far longer than predicted where they run first, or wherever they run.
pub(super) fn slow_down(r: &mut Random, run: &mut RunPlan) {
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
            (script.slow_ms, script.limit_ms) = (Some(slow_ms), slow_ms.max(script.duration_ms) * 3);
        }
    }
}

/// A client that is there comes back to its scheduler sooner than the run is given up.
pub(super) fn may_be_orphaned(r: &mut Random, run: &mut RunPlan) {
    run.spec.orphan_ms = Some(r.within(5000..=10_000));
    run.lost_at = r.chance(800).then(|| r.within(0..=10_000));
}

/// Tests need two environments, or three, in stretches or at random; what is related needs the same.
pub(super) fn surround(r: &mut Random, run: &mut RunPlan) {
    let count = r.within(1..=2);
    let stretch = r.within(1..=60);
    let tests = (run.tests.len() + run.gone.len()) as u64;
    let drawn = |r: &mut Random, test: u64| match stretch {
        1..=10 => r.within(0..=count),
        _ => test / stretch % (count + 1),
    };
    run.environments = (0..tests).map(|test| EnvironmentNumber(drawn(r, test) as u16)).collect();
    for relation in &run.relations {
        let of_first = run.environments[relation.tests[0].0 as usize];
        relation.tests.iter().for_each(|test| run.environments[test.0 as usize] = of_first);
    }
    let names = (1..=count).map(|number| (format!("e{number}"), Environment::default()));
    run.spec.suite.environments = names.collect();
}

/// What an environment needs that is limited: its tests half of it.
pub const MEMORY_KIB: u64 = 1000;

/// The memory of some environments is limited, and some tests there take too much.
pub(super) fn limit(r: &mut Random, run: &mut RunPlan) {
    let mut limited = Vec::new();
    for (number, environment) in (1..).zip(run.spec.suite.environments.values_mut()) {
        if r.chance(700) {
            let half =
                Limits { memory_kib: Some(MEMORY_KIB / 2), millicpus: Some(1000), pids: 9, disk_kib: None };
            let service = Service { limits: half.clone(), ..Service::default() };
            run.spec.suite.services.insert("db".into(), service);
            environment.services.push("db".into());
            environment.container = Some(TestContainer { limits: half, ..TestContainer::default() });
            limited.push(EnvironmentNumber(number));
        }
    }
    for (test, environment) in run.tests.iter_mut().zip(&run.environments) {
        if limited.contains(environment) && test.does == Does::Always(Outcome::Passed) && r.chance(40) {
            test.does = Does::TakesMemory { always: r.chance(300) };
        }
    }
}

/// Now and then it takes longer than a client is waited for that is not heard of.
pub(super) fn judge(r: &mut Random) -> Judge {
    let takes_ms = if r.chance(900) { r.within(0..=5000) } else { r.within(100_000..=300_000) };
    let does = match r.within(0..=9) {
        0..=2 => Judges::Never,
        3..=4 => Judges::Cancels,
        5..=6 => Judges::Twice,
        _ => Judges::Once,
    };
    Judge { takes_ms, errors: r.within(0..=2) as u32, comes_late: r.chance(300), does }
}

pub(super) fn anticipate(r: &mut Random, run: &mut RunPlan) {
    run.anticipation = match r.within(0..=99) {
        0..=29 => Some(Anticipation::Right),
        30..=94 if !run.tests.is_empty() => Some(Anticipation::Other(earlier(r, run))),
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
    let workspace = Workspace::Artifact { digest: Digest([1; 32]), directory: String::new() };
    RunSpec {
        owner: "simulation".into(),
        project: "simulation".into(),
        cap_ms: if r.chance(150) { r.within(500..=4000) } else { RunSpec::CAP_MS },
        retries: r.within(0..=2) as u32,
        test_losses: r.chance(200).then(|| r.within(1..=5) as u32),
        run_losses: r.chance(300).then(|| r.within(1..=6) as u32),
        flaky_fails: r.chance(200),
        second_copy: r.chance(900),
        grace_ms: r.within(1000..=5000),
        isolation: isolation(r),
        worker_memory_kib: r.chance(100).then(|| r.within(1..=5) * TEST_KIB),
        ..RunSpec::new(id.parse().expect("a safe id"), workspace)
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
