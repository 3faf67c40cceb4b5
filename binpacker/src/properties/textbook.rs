//! Against the textbook's program, up to 40 tests: one binary for each test and bundle, one for each scope and bundle.

use good_lp::solvers::highs::{HighsParallelType, highs};
use good_lp::{Expression, ProblemVariables, Solution, SolutionStatus, SolverModel, constraint, variable};

use super::brute::parts;
use super::{Random, checked};
use crate::*;

/// The fewest bundles, given a plan; `None` where the program is not solved within its nodes.
fn fewest(problem: &Problem, plan: &Plan) -> Option<usize> {
    let (parts, scopes) = (parts(problem), &problem.scopes);
    let bundles = plan.bundles.len();
    let mut variables = ProblemVariables::new();
    let mut binary = || variables.add(variable().binary());
    let open: Vec<_> = (0..bundles).map(|_| binary()).collect();
    let pays: Vec<Vec<_>> = open.iter().map(|_| (0..scopes.len()).map(|_| binary()).collect()).collect();
    let has: Vec<Vec<_>> = open.iter().map(|_| parts.iter().map(|_| binary()).collect()).collect();
    let total: Expression = open.iter().sum();
    let mut model = variables
        .minimise(total)
        .using(highs)
        .set_parallel(HighsParallelType::Off)
        .set_threads(1)
        .set_option("mip_rel_gap", 0.0)
        .set_option("mip_max_nodes", 2_000);
    let ms = |micros: u64| micros as f64 / 1000.0;
    for bundle in 0..bundles {
        let mut load = problem.fixed_ms as f64 * open[bundle];
        for (scope, &pays) in (0u32..).zip(&pays[bundle]) {
            load += ms(scopes.micros(scope)) * pays;
        }
        for (part, items) in parts.iter().enumerate() {
            load += ms(items.iter().map(|item| item.micros).sum()) * has[bundle][part];
            for &scope in items.iter().flat_map(|item| scopes.of(item.scopes)) {
                model.add_constraint(constraint!(has[bundle][part] <= pays[bundle][scope as usize]));
            }
        }
        model.add_constraint(constraint!(load <= problem.cap_ms as f64 * open[bundle]));
    }
    for pair in open.windows(2) {
        model.add_constraint(constraint!(pair[0] >= pair[1]));
    }
    for (part, _) in parts.iter().enumerate() {
        // Part p is in one of the first p + 1 bundles: others are the same with other numbers.
        let somewhere: Expression = has.iter().take(part + 1).map(|has| has[part]).sum();
        model.add_constraint(constraint!(somewhere == 1));
    }
    let solution = model.solve().ok()?;
    let optimal = !matches!(solution.status(), SolutionStatus::TimeLimit);
    optimal.then(|| open.iter().filter(|&&open| solution.value(open) > 0.5).count())
}

/// Whole milliseconds, so that the program's tolerance decides nothing.
fn problem(seed: u64) -> Problem {
    let mut random = Random::new(seed + 5_000_000);
    let mut scopes = Scopes::default();
    let (setup, longest) = ([0, 40_000][seed as usize % 2], [150, 400][seed as usize / 2 % 2]);
    let files: Vec<ScopeSet> = (0..5).map(|_| scopes.add_alone(setup)).collect();
    let tests = [40, 14][seed as usize / 2 % 2];
    let item = |test: u32| Item {
        test,
        micros: (20 + random.below(longest)) * 1000,
        scopes: files[test as usize % files.len()],
        ..Item::default()
    };
    let items = (0..tests).map(item).collect();
    let together = |first: u32| RelationItems { ordered: false, tests: vec![first, first + 5] };
    let relations = (0..tests / 10).map(together).collect();
    Problem { scopes, relations, fixed_ms: 20, ..Problem::new(items, 1_000) }
}

#[test]
fn the_textbooks_program_finds_nothing_better() {
    let (mut solved, mut optimal) = (0, 0);
    for seed in 0..24 {
        let problem = problem(seed);
        let plan = checked(&problem);
        let Some(fewest) = fewest(&problem, &plan) else { continue };
        assert!(plan.lower_bound as usize <= fewest, "seed {seed}: {} over {fewest}", plan.lower_bound);
        solved += 1;
        optimal += u32::from(plan.bundles.len() == fewest);
    }
    assert!(solved >= 16, "{solved} solved");
    assert!(optimal == solved, "{optimal} of {solved} optimal");
}
