//! The simplest planner: chunks in the framework's order, relations whole.

use std::collections::BTreeMap;

use seagull_domain::{
    Digest, EnvironmentNumber, FileTests, Manifest, Needs, PlanSummary, Relation, TestIndex,
};
use seagull_scheduler_core::{Plan, PlanFailure};

use crate::scenario::{Anticipation, RunPlan};

/// What every discovery that succeeds finds.
pub const DISCOVERED: Digest = Digest([2; 32]);
/// The manifest of what another one would have found.
pub const EXPECTED: Digest = Digest([4; 32]);

/// The plan of what was discovered, which says where the tests are that were anticipated instead.
pub fn plan(run: &RunPlan, anticipated: Option<Digest>) -> Result<Box<Plan>, PlanFailure> {
    if run.plan_fails {
        return Err(PlanFailure("nothing was selected that could be understood".into()));
    }
    let found = found(run);
    let mut plan = packed(run, &found, Digest([3; 32]));
    if let Some(Anticipation::Other(tests)) = run.anticipation.as_ref().filter(|_| anticipated.is_some()) {
        plan.moved = manifest(run, tests).moved(&manifest(run, &found));
    }
    Ok(plan)
}

/// The plan of what is expected of the discovery, with what that would be found as.
pub fn anticipate(run: &RunPlan) -> Option<(Digest, Box<Plan>)> {
    match run.anticipation.as_ref()? {
        Anticipation::Right => Some((DISCOVERED, plan(run, None).ok()?)),
        Anticipation::Other(tests) => Some((Digest([5; 32]), packed(run, tests, EXPECTED))),
    }
}

/// The test that an index in a manifest means.
pub fn meant(run: &RunPlan, manifest: Digest, test: TestIndex) -> TestIndex {
    match &run.anticipation {
        Some(Anticipation::Other(tests)) if manifest == EXPECTED => tests[test.0 as usize],
        _ => test,
    }
}

fn found(run: &RunPlan) -> Vec<TestIndex> {
    (0..run.tests.len() as u32).map(TestIndex).collect()
}

fn packed(run: &RunPlan, tests: &[TestIndex], manifest: Digest) -> Box<Plan> {
    let relations = relations(run, tests);
    let environments: Vec<_> = tests.iter().map(|test| run.environment(*test)).collect();
    let mut bundles: Vec<Vec<TestIndex>> = Vec::new();
    let mut open: BTreeMap<EnvironmentNumber, usize> = BTreeMap::new();
    for unit in units(tests.len() as u32, &relations) {
        let environment = environments[unit[0].0 as usize];
        let place = open.get(&environment).copied().filter(|place| bundles[*place].len() < run.chunk);
        let place = place.unwrap_or_else(|| {
            bundles.push(Vec::new());
            bundles.len() - 1
        });
        open.insert(environment, place);
        bundles[place].extend(unit);
    }
    bundles.iter_mut().for_each(|bundle| bundle.sort_unstable());
    bundles.retain(|bundle| !bundle.is_empty());
    let first = bundles.len() as u32 / 3;
    Box::new(Plan {
        environments,
        manifest,
        predicted_us: tests.iter().map(|test| run.script(*test).predicted_us).collect(),
        limits_ms: tests.iter().map(|test| run.script(*test).limit_ms).collect(),
        relations,
        unknown: Vec::new(),
        summary: PlanSummary { bundles: bundles.len() as u32, ..PlanSummary::default() },
        bundles,
        empty_by_definition: false,
        first,
        fail_fast: None,
        to_judge: run.judge.is_some(),
        moved: None,
    })
}

/// The relations of these tests, by their places among them.
fn relations(run: &RunPlan, tests: &[TestIndex]) -> Vec<Relation> {
    let cut = |relation: &Relation| {
        let places = (0..).map(TestIndex).zip(tests).filter(|(_, test)| relation.tests.contains(test));
        Relation { ordered: relation.ordered, tests: places.map(|(place, _)| place).collect() }
    };
    run.relations.iter().map(cut).filter(|relation| relation.tests.len() > 1).collect()
}

fn manifest(run: &RunPlan, tests: &[TestIndex]) -> Manifest {
    let file = |test: &TestIndex| FileTests { path: "a.py".into(), suffixes: vec![format!("::{test}")] };
    let files = tests.iter().map(file).collect();
    let needs = (0..)
        .map(TestIndex)
        .zip(tests)
        .map(|(place, test)| Needs { environment: run.environment(*test).to_string(), tests: vec![place] });
    Manifest { files, relations: relations(run, tests), environments: needs.collect(), ..Manifest::default() }
}

/// Each test alone, but relations as one, where their first test stands.
fn units(tests: u32, relations: &[Relation]) -> Vec<Vec<TestIndex>> {
    let unit = |test: TestIndex| match relations.iter().find(|relation| relation.tests.contains(&test)) {
        Some(relation) if relation.tests[0] == test => Some(relation.tests.clone()),
        Some(_) => None,
        None => Some(vec![test]),
    };
    (0..tests).map(TestIndex).filter_map(unit).collect()
}
