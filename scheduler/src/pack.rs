//! Packing: a manifest as the packer's problem, and what its plan comes to.
#![expect(clippy::disallowed_methods, reason = "a shell: a plan has a time limit")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use seagull_binpacker::{
    Budget, Item, Plan as Packed, Problem, RelationItems, STEPS, ScopeSet, Scopes, steps_within,
};
use seagull_domain::{Algorithm, Framework, Isolation, Manifest, PlanSummary, Relation, RunSpec};
use seagull_results::Prediction;

/// A file's collection and fixtures, where nothing better is known.
const SETUP_MICROS: u64 = 20_000;
/// A bundle's fixed cost: workers are warm.
pub(crate) const FIXED_MS: u64 = 10;
/// What a new worker costs each slot, bundle or test that does not find one.
pub(crate) const START_MS: u64 = 500;
/// Packs what goes first apart from the rest, and says how many of the bundles that makes.
pub(crate) fn pack_in_turn(
    manifest: &Manifest,
    prediction: &Prediction,
    spec: &RunSpec,
    slots: u32,
    first: &[bool],
) -> Result<(Packed, u32), String> {
    let mut all = problem(manifest, prediction, &Costs::of(spec), spec.cap_ms);
    let items = std::mem::take(&mut all.items);
    let (front, rest): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| first[item.test as usize]);
    all.slots = (slots > 0).then_some(slots);
    let (began, limit) = (Instant::now(), spec.planning.limit_ms.map(Duration::from_millis));
    let time_left = || limit.map(|limit| limit.saturating_sub(began.elapsed()));
    let late = || time_left().is_some_and(|left| left.is_zero());
    let (algorithm, steps) = (algorithm(spec.planning.algorithm), steps_within(limit, STEPS));
    let budget = Budget { algorithm, steps, cancelled: &late, time_left: &time_left, ..Budget::default() };
    // Items that are packed apart have their relations with them.
    let pack = |items| {
        let problem = Problem { items, ..all.clone() };
        seagull_binpacker::pack_within(&problem, &budget).map_err(|error| error.to_string())
    };
    if front.is_empty() || rest.is_empty() {
        let all = if front.is_empty() { rest } else { front };
        return Ok((pack(all)?, 0));
    }
    let front = pack(front)?;
    let bundles = front.bundles.len() as u32;
    Ok((front.followed_by(pack(rest)?), bundles))
}

/// What the packer calls it.
pub fn algorithm(algorithm: Algorithm) -> seagull_binpacker::Algorithm {
    match algorithm {
        Algorithm::Greedy => seagull_binpacker::Algorithm::Greedy,
        Algorithm::Ilp => seagull_binpacker::Algorithm::Ilp,
        Algorithm::Auto => seagull_binpacker::Algorithm::Auto,
    }
}

/// What is paid apart from tests.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// By a bundle, for each file that it has tests of.
    pub file_micros: u64,
    /// By a bundle, for a worker to run in.
    pub bundle_ms: u64,
    /// By each test.
    pub test_ms: u64,
    /// By a slot, once, for the worker that runs all its bundles.
    pub slot_ms: u64,
}

impl Costs {
    pub fn of(spec: &RunSpec) -> Self {
        let warm = Self { file_micros: SETUP_MICROS, bundle_ms: FIXED_MS, test_ms: 0, slot_ms: 0 };
        match (&spec.environment.framework, spec.isolation) {
            (Framework::Pytest, Isolation::Slot) => Self { slot_ms: START_MS, ..warm },
            (Framework::Pytest, Isolation::Bundle) => Self { bundle_ms: START_MS, ..warm },
            (Framework::Pytest, Isolation::Test) => Self { test_ms: START_MS, ..warm },
            _ => warm,
        }
    }
}

/// What a manifest's tests are to the packer.
pub fn problem(manifest: &Manifest, prediction: &Prediction, costs: &Costs, cap_ms: u64) -> Problem {
    let mut scopes = Scopes::default();
    let mut files: BTreeMap<&str, ScopeSet> = BTreeMap::new();
    for file in &manifest.files {
        files.entry(&file.path).or_insert_with(|| scopes.add_alone(costs.file_micros));
    }
    let item = |(test, (path, _)): (u32, (&str, &str))| Item {
        test,
        micros: prediction.micros[test as usize].saturating_add(costs.test_ms.saturating_mul(1000)),
        scopes: files[path],
        ..Item::default()
    };
    let related = |relation: &Relation| RelationItems {
        ordered: relation.ordered,
        tests: relation.tests.iter().map(|test| test.0).collect(),
    };
    Problem {
        relations: manifest.relations.iter().map(related).collect(),
        scopes,
        fixed_ms: costs.bundle_ms,
        uncertain: prediction.no_history,
        ..Problem::new((0..).zip(manifest.tests()).map(item).collect(), cap_ms)
    }
}

pub(crate) fn summary(plan: &Packed, prediction: &Prediction, costs: &Costs, slots: u32) -> PlanSummary {
    let longest = plan.longest.as_ref().map_or(0, |longest| longest.micros);
    // One slot has the worker that discovered the tests.
    let start_ms = if slots.min(plan.bundles.len() as u32) > 1 { costs.slot_ms } else { 0 };
    PlanSummary {
        bundles: plan.bundles.len() as u32,
        slots,
        cap_ms: plan.cap_micros / 1000,
        total_ms: prediction.micros.iter().sum::<u64>() / 1000,
        longest_ms: longest / 1000,
        makespan_ms: (plan.makespan_micros(slots) / 1000).saturating_add(start_ms),
        lower_bound: plan.lower_bound,
        bound: plan.bound.to_string(),
        unknown: (prediction.micros.len() - prediction.known) as u32,
        oversize: plan.oversize.len() as u32,
        planning_ms: 0,
    }
}
