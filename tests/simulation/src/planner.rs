//! The simplest planner: chunks in the framework's order, relations whole.

use seagull_domain::{Digest, PlanSummary, TestIndex};
use seagull_scheduler_core::{Plan, PlanFailure};

use crate::scenario::{Anticipation, RunPlan};

/// What every discovery that succeeds finds.
pub const DISCOVERED: Digest = Digest([2; 32]);

pub fn plan(run: &RunPlan) -> Result<Box<Plan>, PlanFailure> {
    if run.plan_fails {
        return Err(PlanFailure("nothing was selected that could be understood".into()));
    }
    let mut bundles: Vec<Vec<TestIndex>> = vec![Vec::new()];
    for unit in units(run) {
        if bundles.last().is_some_and(|last| last.len() >= run.chunk) {
            bundles.push(Vec::new());
        }
        bundles.last_mut().expect("there is one").extend(unit);
    }
    bundles.iter_mut().for_each(|bundle| bundle.sort_unstable());
    bundles.retain(|bundle| !bundle.is_empty());
    Ok(Box::new(Plan {
        manifest: Digest([3; 32]),
        predicted_us: run.tests.iter().map(|test| test.predicted_us).collect(),
        limits_ms: run.tests.iter().map(|test| test.limit_ms).collect(),
        relations: run.relations.clone(),
        summary: PlanSummary { bundles: bundles.len() as u32, ..PlanSummary::default() },
        bundles,
        empty_by_definition: false,
        first: 0,
        fail_fast: None,
    }))
}

/// The plan of what is expected of the discovery, with what that would be found as.
pub fn anticipate(run: &RunPlan) -> Option<(Digest, Box<Plan>)> {
    let anticipation = run.anticipation?;
    let mut plan = plan(run).ok()?;
    let Anticipation::Wrong(more) = anticipation else { return Some((DISCOVERED, plan)) };
    let tests = run.tests.len() as u32;
    plan.manifest = Digest([4; 32]);
    plan.bundles.push((tests..tests + more).map(TestIndex).collect());
    plan.predicted_us.extend((0..more).map(|_| 100_000));
    plan.limits_ms.extend((0..more).map(|_| 5000));
    Some((Digest([5; 32]), plan))
}

/// Each test alone, but relations as one, where their first test stands.
fn units(run: &RunPlan) -> Vec<Vec<TestIndex>> {
    let all = (0..run.tests.len() as u32).map(TestIndex);
    let unit = |test: TestIndex| match run.relations.iter().find(|relation| relation.tests.contains(&test)) {
        Some(relation) if relation.tests[0] == test => Some(relation.tests.clone()),
        Some(_) => None,
        None => Some(vec![test]),
    };
    all.filter_map(unit).collect()
}
