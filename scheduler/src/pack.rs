//! Packing: a manifest as the packer's problem, and what its plan comes to.
#![expect(clippy::disallowed_methods, reason = "a shell: a plan has a time limit")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use seagull_binpacker::{
    Budget, Error, Item, Plan as Packed, Problem, RelationItems, Risk, STEPS, ScopeSet, Scopes, pack_within,
    steps_within,
};
use seagull_domain::{
    Algorithm, EnvironmentNumber, Framework, Isolation, Manifest, PlanSummary, Relation, RunSpec, TestIndex,
};
use seagull_results::{Prediction, WORKER};

/// A file's collection and fixtures, where nothing better is known.
const SETUP_MICROS: u64 = 20_000;
/// A bundle's fixed cost: workers are warm.
pub(crate) const FIXED_MS: u64 = 10;
/// What a new worker costs each slot, bundle or test that does not find one, where nothing better is known.
pub(crate) const START_MS: u64 = 500;
/// What services cost a worker beside that whose sandbox has some, until they are ready, where nothing better is known (PostgreSQL, with its `initdb`, and Redis are
/// after 1.4 s on two cores).
const SERVICES_MS: u64 = 1_500;
/// How likely a bundle may be longer than the cap.
const OVERRUN: f64 = 0.1;
/// A plan with margins has a part of the steps, one in so many: the gap that is mostly left is hardly ever made smaller by
/// more (100,000 tests in 7,693 files, of 729 bundles at least: 740 after two million steps, 732 after three or thirty).
const WITH_MARGINS: u64 = 10;

/// Packs what goes first apart from the rest, and says how many of the bundles that makes.
pub(crate) fn pack_in_turn(
    (manifest, environments): (&Manifest, &[EnvironmentNumber]),
    prediction: &Prediction,
    spec: &RunSpec,
    slots: u32,
    first: &[bool],
) -> Result<(Packed, u32), String> {
    let mut all = problem(manifest, prediction, &Costs::of(spec, prediction), environments, spec.cap_ms);
    let items = std::mem::take(&mut all.items);
    let (front, rest): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| first[item.test as usize]);
    all.slots = (slots > 0).then_some(slots);
    let (began, limit) = (Instant::now(), spec.planning.limit_ms.map(Duration::from_millis));
    let time_left = || limit.map(|limit| limit.saturating_sub(began.elapsed()));
    let late = || time_left().is_some_and(|left| left.is_zero());
    let (algorithm, steps) = (algorithm(spec.planning.algorithm), steps_within(limit, STEPS));
    let budget = Budget { algorithm, steps, cancelled: &late, time_left: &time_left, ..Budget::default() };
    // Items that are packed apart have their relations with them.
    let packed = |items| {
        let problem = Problem { items, ..all.clone() };
        pack(&problem, OVERRUN, &budget).map_err(|error| error.to_string())
    };
    if front.is_empty() || rest.is_empty() {
        let all = if front.is_empty() { rest } else { front };
        return Ok((packed(all)?, 0));
    }
    let front = packed(front)?;
    let bundles = front.bundles.len() as u32;
    Ok((front.followed_by(packed(rest)?), bundles))
}

/// A plan by which a bundle is longer than the cap with a probability of at most `overrun`, which the problem's risk is of.
///
/// Bundles that are kept short for slots hardly ever are, so margins would only make more of them: what the means alone
/// give is taken where it holds the promise.
pub fn pack(problem: &Problem, overrun: f64, budget: &Budget) -> Result<Packed, Error> {
    if problem.slots.is_some() {
        let by_means = Problem { risk: Risk { z_milli: 0, ..problem.risk }, ..problem.clone() };
        let plan = pack_within(&by_means, budget)?;
        if holds(&plan, overrun) {
            return Ok(plan);
        }
        return pack_within(problem, &Budget { steps: budget.steps / WITH_MARGINS, ..*budget });
    }
    pack_within(problem, budget)
}

/// Whether each bundle is short enough, but for those that a single test makes too long.
fn holds(plan: &Packed, overrun: f64) -> bool {
    let mut bundles = (0..).zip(&plan.bundles);
    let named = |number| plan.oversize.iter().any(|oversize| oversize.bundle == number);
    bundles.all(|(number, bundle)| f64::from(bundle.overrun_ppm) <= overrun * 1e6 || named(number))
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
#[derive(Debug, Clone)]
pub struct Costs {
    /// By a bundle, for each file that it has tests of.
    pub file_micros: u64,
    /// By a bundle, for a worker to run in.
    pub bundle_ms: u64,
    /// By each test.
    pub test_ms: u64,
    /// By a slot, once, for the worker that runs all its bundles.
    pub slot_ms: u64,
    /// By a bundle, for the sandbox and the worker of each environment, by number.
    pub environments_ms: Vec<u64>,
}

impl Costs {
    pub fn of(spec: &RunSpec, prediction: &Prediction) -> Self {
        let suite = &spec.suite;
        let start_ms = |number| {
            let services = suite.environment(number).is_some_and(|(_, found)| !found.services.is_empty());
            let assumed = if services { START_MS + SERVICES_MS } else { START_MS };
            let learned = suite.name_of(number).and_then(|name| prediction.setups.of_start(name));
            let own = learned.map_or(assumed, |micros| micros / 1000);
            own.saturating_add(prediction.setups.micros(WORKER) / 1000)
        };
        let starts_ms: Vec<u64> = suite.numbers().map(start_ms).collect();
        let (start_ms, least_ms) = (starts_ms[0], starts_ms.iter().copied().min().unwrap_or_default());
        let of_environment = |(number, start_ms)| suite.environment(number).map_or(0, |_| start_ms);
        let environments_ms = suite.numbers().zip(starts_ms.iter().copied()).map(of_environment).collect();
        let (file_micros, bundle_ms) = (SETUP_MICROS, FIXED_MS);
        let warm = Self { file_micros, bundle_ms, test_ms: 0, slot_ms: 0, environments_ms };
        match (&spec.suite.framework, spec.isolation) {
            (Framework::Pytest, Isolation::Slot) => Self { slot_ms: start_ms, ..warm },
            (Framework::Pytest, Isolation::Bundle) => {
                let environments_ms = starts_ms.into_iter().map(|start_ms| start_ms - least_ms).collect();
                Self { bundle_ms: least_ms, environments_ms, ..warm }
            }
            (Framework::Pytest, Isolation::Test) => Self { test_ms: start_ms, ..warm },
            _ => warm,
        }
    }
}

/// What a manifest's tests are to the packer, with the environment of each, or nothing where all have the default one.
pub fn problem(
    manifest: &Manifest,
    prediction: &Prediction,
    costs: &Costs,
    environments: &[EnvironmentNumber],
    cap_ms: u64,
) -> Problem {
    let mut scopes = Scopes::default();
    let environment = |test: u32| environments.get(test as usize).copied().unwrap_or_default();
    let mut files: BTreeMap<&str, u32> = BTreeMap::new();
    for (path, _) in manifest.tests() {
        let micros = || costs.file_micros.saturating_add(prediction.setups.micros(path));
        files.entry(path).or_insert_with(|| scopes.add(micros()));
    }
    // Where nothing is known, no test is taken for too short to be worth a sandbox.
    let costly = costs.environments_ms.iter().filter(|_| !prediction.no_history);
    let of_environments: Vec<u32> = costly.map(|millis| scopes.add(millis.saturating_mul(1000))).collect();
    let mut classes: BTreeMap<(&str, &str), Option<u32>> = BTreeMap::new();
    let mut sets: BTreeMap<(&str, &str, EnvironmentNumber), ScopeSet> = BTreeMap::new();
    let mut items = Vec::with_capacity(manifest.len());
    for (test, (path, suffix)) in (0..).zip(manifest.tests()) {
        let (environment, class) = (environment(test), Manifest::class_of(suffix));
        let set = *sets.entry((path, class, environment)).or_insert_with(|| {
            let of_class = prediction.setups.of_class(path, class);
            let long = of_class >= SETUP_MICROS;
            let class = *classes.entry((path, class)).or_insert_with(|| long.then(|| scopes.add(of_class)));
            let sandbox = of_environments.get(usize::from(environment.0)).copied();
            let sandbox = sandbox.filter(|sandbox| scopes.micros(*sandbox) > 0);
            scopes.set(&[files[path]].into_iter().chain(sandbox).chain(class).collect::<Vec<_>>())
        });
        items.push(Item {
            test,
            micros: prediction.micros[test as usize].saturating_add(costs.test_ms.saturating_mul(1000)),
            sd_micros: prediction.sd_micros[test as usize],
            scopes: set,
            environment: environment.0.into(),
        });
    }
    let related = |relation: &Relation| RelationItems {
        ordered: relation.ordered,
        tests: relation.tests.iter().map(|test| test.0).collect(),
    };
    Problem {
        relations: manifest.relations.iter().map(related).collect(),
        scopes,
        fixed_ms: costs.bundle_ms,
        risk: Risk::of(OVERRUN, prediction.common),
        uncertain: prediction.no_history,
        ..Problem::new(items, cap_ms)
    }
}

/// Microseconds of each test, with what is set up before it in its bundle.
pub(crate) fn with_setups(
    manifest: &Manifest,
    prediction: &Prediction,
    bundles: &[Vec<TestIndex>],
) -> Vec<u64> {
    let mut micros = prediction.micros.clone();
    if prediction.setups.0.is_empty() {
        return micros;
    }
    let tests: Vec<(&str, &str)> = manifest.tests().collect();
    for bundle in bundles {
        let mut before = ("", "");
        for TestIndex(test) in bundle {
            let (path, suffix) = tests[*test as usize];
            let class = Manifest::class_of(suffix);
            let file = if path == before.0 { 0 } else { prediction.setups.micros(path) };
            let of_class = if (path, class) == before { 0 } else { prediction.setups.of_class(path, class) };
            let own = &mut micros[*test as usize];
            *own = own.saturating_add(file).saturating_add(of_class);
            before = (path, class);
        }
    }
    micros
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

#[cfg(test)]
mod tests {
    use super::*;

    /// So many tests of these microseconds, each with half of that as its deviation.
    fn problem(tests: u32, micros: u64, slots: u32) -> Problem {
        let item = |test| Item { test, micros, sd_micros: micros / 2, ..Item::default() };
        let risk = Risk::of(OVERRUN, 0.1);
        Problem { slots: Some(slots), risk, ..Problem::new((0..tests).map(item).collect(), 600_000) }
    }

    fn packed(problem: &Problem) -> Packed {
        pack(problem, OVERRUN, &Budget::default()).unwrap()
    }

    #[test]
    fn a_short_suite_is_packed_as_if_nothing_varied() {
        let varies = problem(1200, 100_000, 4);
        let exact = Problem { risk: Risk::default(), ..varies.clone() };
        let tests =
            |plan: &Packed| plan.bundles.iter().map(|bundle| bundle.tests.clone()).collect::<Vec<_>>();
        let plan = packed(&varies);
        assert_eq!(tests(&plan), tests(&pack_within(&exact, &Budget::default()).unwrap()));
        assert!(plan.bundles[0].sd_micros > 0 && plan.bundles[0].overrun_ppm < 1000);
        let with_margins = pack_within(&varies, &Budget::default()).unwrap();
        assert!(plan.bundles.len() < with_margins.bundles.len(), "or there would be nothing to choose");
    }

    #[test]
    fn files_and_classes_that_take_long_to_set_up_are_scopes() {
        let suffixes = ["::A::x", "::A::y", "::B::x", "::z"].map(str::to_owned).to_vec();
        let manifest = Manifest {
            files: vec![seagull_domain::FileTests { path: "a.py".into(), suffixes }],
            ..Manifest::default()
        };
        let mut prediction = seagull_results::predict(&manifest, &Default::default());
        let setup = |micros| seagull_results::Setup { micros, samples: 9 };
        let known = [("a.py", 3e6), ("a.py::A", 5e6), ("a.py::B", 1e3), (WORKER, 2e6)];
        prediction.setups.0 = known.map(|(scope, micros)| (scope.to_owned(), setup(micros))).into();
        let environments_ms = Vec::new();
        let costs = Costs { file_micros: 1_000, bundle_ms: 0, test_ms: 0, slot_ms: 0, environments_ms };
        let problem = super::problem(&manifest, &prediction, &costs, &[], 600_000);
        let paid = |test: usize| problem.scopes.sum(problem.scopes.of(problem.items[test].scopes));
        assert_eq!([0, 1, 2, 3].map(paid), [8_001_000, 8_001_000, 3_001_000, 3_001_000]);
        let tests = |tests: &[u32]| tests.iter().copied().map(TestIndex).collect::<Vec<_>>();
        let micros = with_setups(&manifest, &prediction, &[tests(&[0, 2]), tests(&[1, 3])]);
        let more: Vec<u64> = micros.iter().zip(&prediction.micros).map(|(with, own)| with - own).collect();
        assert_eq!(more, [8_000_000, 8_000_000, 1_000, 0]);
        let spec = crate::service::tests::spec("r");
        assert_eq!(Costs::of(&spec, &prediction).slot_ms, START_MS + 2_000);
    }

    #[test]
    fn a_start_takes_what_it_took_where_that_is_known() {
        let mut prediction = seagull_results::predict(&Manifest::default(), &Default::default());
        let known = [("default", 3_000_000), ("db", 9_000_000)];
        let known = known.map(|(name, micros)| seagull_results::Excess::start(name, micros));
        let known = known.map(|start| (start.scopes.concat(), start.micros as f64));
        let setups = known.into_iter().chain([(WORKER.to_owned(), 1e6)]);
        let setup = |(scope, micros)| (scope, seagull_results::Setup { micros, samples: 9 });
        prediction.setups.0 = setups.map(setup).collect();
        let mut spec = crate::service::tests::spec("r");
        let with_services = |services: &[&str]| seagull_domain::Environment {
            services: services.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let environments = [("db", &["postgres"][..]), ("web", &[]), ("z", &["redis"])];
        spec.suite.environments =
            environments.map(|(name, services)| (name.to_owned(), with_services(services))).into();
        let costs = |isolation| Costs::of(&RunSpec { isolation, ..spec.clone() }, &prediction);
        let slot = costs(Isolation::Slot);
        assert_eq!((slot.slot_ms, slot.environments_ms), (4_000, vec![0, 10_000, 1_500, 3_000]));
        let bundle = costs(Isolation::Bundle);
        assert_eq!((bundle.bundle_ms, bundle.environments_ms), (1_500, vec![2_500, 8_500, 0, 1_500]));
    }

    #[test]
    fn a_bundle_that_may_reach_the_cap_keeps_its_distance() {
        // Two slots would have 30,000 s.
        let plan = packed(&problem(6_000, 5_000_000, 2));
        assert!(plan.bundles.iter().all(|bundle| bundle.overrun_ppm <= 100_000));
        assert!((51..70).contains(&plan.bundles.len()), "{} bundles", plan.bundles.len());
        // In bundles of half the cap there is no need for it, though a test by itself may be too long.
        let mut short = problem(8, 100_000_000, 2);
        short.items.push(Item { test: 8, micros: 550_000_000, sd_micros: 200_000_000, ..Item::default() });
        let plan = packed(&short);
        assert_eq!(plan.oversize.len(), 1, "{plan:?}");
    }
}
