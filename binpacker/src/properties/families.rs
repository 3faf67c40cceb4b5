//! Hard families whose optimum is known by construction: triplets, perfect packings, pairs that a bound must see.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Random, checked, in_files};
use crate::*;

/// Sizes of so many bins that are full, each cut into so many pieces, shuffled.
fn perfect(random: &mut Random, bins: u64, pieces: u64, capacity: u64) -> Vec<u64> {
    let mut sizes = Vec::new();
    for _ in 0..bins {
        let mut cuts: Vec<u64> = (1..pieces).map(|_| 1 + random.below(capacity - 1)).collect();
        cuts.extend([0, capacity]);
        cuts.sort_unstable();
        sizes.extend(cuts.windows(2).map(|pair| pair[1] - pair[0]).filter(|&size| size > 0));
    }
    shuffled(random, sizes)
}

/// Three to a bin, each over a quarter and under half, so that no bin holds more or fewer (Falkenauer 1996).
fn triplets(random: &mut Random, bins: u64, capacity: u64) -> Vec<u64> {
    let mut sizes = Vec::new();
    for _ in 0..bins {
        let first = capacity * 38 / 100 + random.below(capacity / 10);
        let rest = capacity - first;
        let second = rest / 2 - random.below(rest / 2 - capacity / 4);
        sizes.extend([first, second, rest - second]);
    }
    shuffled(random, sizes)
}

fn shuffled(random: &mut Random, mut sizes: Vec<u64>) -> Vec<u64> {
    for i in (1..sizes.len()).rev() {
        sizes.swap(i, random.below(i as u64 + 1) as usize);
    }
    sizes
}

fn of_sizes(sizes: &[u64], capacity_ms: u64) -> Problem {
    let items = (0u32..).zip(sizes).map(|(test, &micros)| Item { test, micros, ..Item::default() });
    Problem::new(items.collect(), capacity_ms)
}

#[test]
fn no_bound_is_above_a_known_optimum_and_plans_are_near_it() {
    let (mut over, mut proven, mut all) = (0, 0, 0);
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let bins = 10 + random.below(30);
        let sizes = match seed % 3 {
            0 => triplets(&mut random, bins, 1_000_000),
            1 => perfect(&mut random, bins, 3, 1_000_000),
            _ => perfect(&mut random, bins, 8, 1_000_000),
        };
        let plan = checked(&of_sizes(&sizes, 1_000));
        assert_eq!(u64::from(plan.lower_bound), bins, "seed {seed}: all bins are full, which L1 sees");
        over += plan.gap();
        proven += u32::from(plan.is_proven());
        all += 1;
    }
    // Perfect packings of a few large pieces need the solver; these must not get worse unnoticed.
    assert!(over <= 60, "{over} bundles too many");
    assert!(proven * 3 >= all, "{proven} of {all} proven");
}

#[test]
fn bounds_see_what_totals_do_not() {
    // Four of a little over a quarter do not fit: seven need three bundles though two would hold their sum.
    let plan = checked(&of_sizes(&[250_001; 7], 1_000));
    assert_eq!((plan.bundles.len(), plan.lower_bound), (3, 3));
    assert!(matches!(plan.bound, Bound::Fekete { .. }), "{:?}", plan.bound);
    // Files of 390 ms whose setup is 200 ms: no two of them fit, though the sum of four would in three.
    let plan = checked(&in_files(&[(1, 390_000); 4], 200_000, 1_000));
    assert_eq!((plan.bundles.len(), plan.lower_bound), (4, 4));
}

#[test]
fn a_plan_is_the_same_on_any_number_of_threads() {
    let mut random = Random::new(3);
    let sizes = perfect(&mut random, 40, 4, 1_000_000);
    let mut problem = of_sizes(&sizes, 1_000);
    problem.items.iter_mut().for_each(|item| item.environment = item.test % 3);
    for (algorithm, steps) in
        [(Algorithm::Greedy, 200_000), (Algorithm::Auto, 200_000), (Algorithm::Ilp, 4_000_000)]
    {
        let budget = Budget { algorithm, seed: 5, steps, ..Budget::default() };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| pack_within(&problem, &budget).unwrap())
        };
        let one = on(1);
        assert!(one.repeatable);
        for threads in [2, 4] {
            assert_eq!(one, on(threads), "{algorithm:?}");
        }
    }
}

#[test]
fn whoever_is_told_to_stop_has_a_plan() {
    let sizes = triplets(&mut Random::new(9), 20, 1_000_000);
    let problem = of_sizes(&sizes, 1_000);
    let plan = pack_within(&problem, &Budget { cancelled: &|| true, ..Budget::default() }).unwrap();
    assert_eq!(verify(&problem, &plan), Ok(()));
    assert!(!plan.is_proven() && !plan.repeatable && plan.stage == Stage::Blocks);
    // Wherever the solver is when it is told, there is a plan.
    for asked in [1, 10, 100, 1_000] {
        let asked = AtomicU64::new(asked);
        let cancelled = || asked.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err();
        let budget = Budget { algorithm: Algorithm::Ilp, cancelled: &cancelled, ..Budget::default() };
        let plan = pack_within(&problem, &budget).unwrap();
        assert_eq!(verify(&problem, &plan), Ok(()));
        assert!(plan.is_proven() || !plan.repeatable || asked.into_inner() > 0);
    }
    // Few steps end a search too, but always in the same place.
    let few = Budget { steps: 10, ..Budget::default() };
    let plan = pack_within(&problem, &few).unwrap();
    assert!(plan.repeatable && plan == pack_within(&problem, &few).unwrap());
}

/// The plan of the solver alone.
fn by_solver(sizes: &[u64], capacity_ms: u64, steps: u64) -> Plan {
    within(&of_sizes(sizes, capacity_ms), Algorithm::Ilp, steps)
}

#[test]
fn the_solver_proves_what_greedy_leaves() {
    for seed in 0..24 {
        let mut random = Random::new(seed + 500);
        let bins = 8 + random.below(12);
        // Bins of 1,000 ticks.
        let sizes = match seed % 2 {
            0 => triplets(&mut random, bins, 1_000),
            _ => perfect(&mut random, bins, 4, 1_000),
        };
        let sizes: Vec<u64> = sizes.iter().map(|size| size * 1_000).collect();
        let plan = by_solver(&sizes, 1_000, 300_000_000);
        assert_eq!((plan.bundles.len() as u64, plan.gap(), plan.unsolved), (bins, 0, None), "seed {seed}");
    }
}

#[test]
fn what_the_reduction_settles_is_a_bound() {
    let mut reduced = 0;
    for seed in 0..400 {
        let mut random = Random::new(seed + 900);
        let sizes: Vec<u64> = (0..50).map(|_| (30 + random.below(71)) * 1_000).collect();
        reduced += u32::from(by_solver(&sizes, 120, 3_000_000).bound == Bound::Reduction);
    }
    assert!(reduced > 0, "no bound sees less");
}

#[test]
fn what_the_linear_program_does_not_round_up_to_is_proven() {
    // Fieldhouse's: each size divides the bin, their sum is less than two bins, and three are needed.
    let sizes = [[44; 2].as_slice(), &[33; 3], &[12; 6]].concat();
    let sizes: Vec<u64> = sizes.iter().map(|size| size * 1_000).collect();
    let plan = by_solver(&sizes, 132, 300_000_000);
    assert_eq!((plan.bundles.len(), plan.lower_bound), (3, 3));
}

fn within(problem: &Problem, algorithm: Algorithm, steps: u64) -> Plan {
    let plan = pack_within(problem, &Budget { algorithm, steps, ..Budget::default() }).unwrap();
    assert_eq!(verify(problem, &plan), Ok(()));
    plan
}

#[test]
fn the_solver_packs_durations_that_vary() {
    let (mut gaps, mut by_solver, mut by_columns) = (0, 0, 0);
    for seed in 0..8 {
        let mut random = Random::new(seed + 300);
        let item = |test: u32| {
            let micros = 150_000 + random.below(150_000);
            Item { test, micros, sd_micros: micros * (10 + random.below(20)) / 100, ..Item::default() }
        };
        let items = (0..60).map(item).collect();
        let risk = Risk::of(0.1, [0.0, 0.1][seed as usize % 2]);
        let problem = Problem { risk, ..Problem::new(items, 600) };
        let plan = within(&problem, Algorithm::Ilp, 60_000_000);
        gaps += plan.gap();
        by_solver += u32::from(plan.stage == Stage::Columns);
        by_columns += u32::from(plan.bound == Bound::Columns);
        assert_eq!(plan.unsolved, None);
    }
    assert!(gaps <= 4 && by_solver >= 4 && by_columns >= 2, "{gaps} too many; {by_solver}, {by_columns}");
}

#[test]
fn the_solver_packs_what_shares_setups() {
    let (mut greedy, mut solved, mut least, mut proven) = (0, 0, 0, 0);
    for seed in 0..8 {
        let mut random = Random::new(seed + 400);
        let mut scopes = Scopes::default();
        let files: Vec<ScopeSet> =
            (0..12).map(|_| scopes.add_alone(40_000 + random.below(8) * 10_000)).collect();
        let item = |test: u32| Item {
            test,
            micros: 100_000 + random.below(30) * 10_000,
            scopes: files[test as usize % files.len()],
            ..Item::default()
        };
        let problem = Problem { scopes, ..Problem::new((0..60).map(item).collect(), 1_000) };
        let plan = within(&problem, Algorithm::Auto, 60_000_000);
        greedy += within(&problem, Algorithm::Greedy, 60_000_000).bundles.len();
        solved += plan.bundles.len();
        least += plan.lower_bound as usize;
        proven += u32::from(plan.is_proven());
    }
    assert!(solved <= greedy && proven >= 4, "{greedy}, {solved}, at least {least}; {proven} proven");
}
