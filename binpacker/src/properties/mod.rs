//! Properties of plans over seeded problems, against the independent check and against brute force.

mod brute;
mod families;
mod textbook;

use std::collections::HashMap;

use crate::*;

/// A small generator (xorshift64*), so that a seed names a problem.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Scopes of every kind: files, with classes in them, and profiles and fixtures across; a set for each test.
struct Shared {
    scopes: Scopes,
    sets: Vec<ScopeSet>,
}

impl Shared {
    fn new(random: &mut Random, n: u64) -> Self {
        let mut scopes = Scopes::default();
        let costs = [[0, 0], [100, 0], [4_000, 2_000]][random.below(3) as usize];
        let files: Vec<u32> = (0..1 + random.below(n.div_ceil(2))).map(|_| scopes.add(costs[0])).collect();
        let across: Vec<u32> =
            (0..random.below(3)).map(|_| scopes.add(costs[1] + random.below(3_000))).collect();
        let mut sets = vec![ScopeSet::default()];
        for file in files {
            sets.push(scopes.set(&[file]));
            if !across.is_empty() && random.one_in(2) {
                let class = scopes.add(random.below(1_000));
                let other = across[random.below(across.len() as u64) as usize];
                sets.push(scopes.set(&[file, class]));
                sets.push(scopes.set(&[file, other]));
            }
        }
        Self { scopes, sets }
    }
}

/// Test numbers are spread out and shuffled, so that nothing passes by taking them for positions.
fn items(random: &mut Random, n: u64, sets: &[ScopeSet], longest: u64) -> Vec<Item> {
    let offset = random.below(1000) as u32;
    let mut tests: Vec<u32> = (0..n as u32).map(|i| offset + i * 3).collect();
    for i in (1..tests.len()).rev() {
        tests.swap(i, random.below(i as u64 + 1) as usize);
    }
    let (mut at, first) = (0, random.below(sets.len() as u64));
    let varies = random.one_in(3);
    let item = |test| {
        at = if random.one_in(3) { random.below(sets.len() as u64) } else { at.max(first) };
        let micros = random.below(longest + 1);
        let sd_micros = if varies { random.below(micros / 2 + 2) } else { 0 };
        Item { test, micros, sd_micros, scopes: sets[at as usize], environment: 0 }
    };
    tests.into_iter().map(item).collect()
}

/// Ordered relations follow one secret order, so that they never contradict each other, and are of one environment.
fn relations(random: &mut Random, items: &[Item], n: u64) -> Vec<RelationItems> {
    let secret: HashMap<u32, u64> = items.iter().map(|item| (item.test, random.below(1 << 30))).collect();
    let environment: HashMap<u32, u32> = items.iter().map(|item| (item.test, item.environment)).collect();
    let mut relation = || {
        let size = 1 + random.below(4);
        let member = |_| items[random.below(items.len() as u64) as usize].test;
        let mut tests: Vec<u32> = (0..size).map(member).collect();
        let of = environment[&tests[0]];
        tests.retain(|test| environment[test] == of);
        let ordered = random.one_in(2);
        if ordered {
            tests.sort_by_key(|test| (secret[test], *test));
            tests.dedup();
        }
        if random.one_in(5) {
            // No item: it has run already.
            tests.push(1_000_000);
        }
        RelationItems { ordered, tests }
    };
    (0..n).map(|_| relation()).collect()
}

fn problem(random: &mut Random, n: u64) -> Problem {
    let longest = [5, 2_000, 40_000][random.below(3) as usize];
    let Shared { scopes, sets } = Shared::new(random, n);
    let mut items = items(random, n, &sets, longest);
    let environments = if random.one_in(4) { 1 + random.below(3) } else { 1 };
    items.iter_mut().for_each(|item| item.environment = random.below(environments) as u32);
    let relation_count = if random.one_in(2) { random.below(1 + n / 8) } else { 0 };
    let overrun = [0.5, 0.1, 0.01][random.below(3) as usize];
    Problem {
        relations: relations(random, &items, relation_count),
        slots: random.one_in(2).then(|| random.below(9) as u32),
        scopes,
        fixed_ms: random.below(4),
        max_tests_per_bundle: if random.one_in(4) { 1 + random.below(8) as u32 } else { 50_000 },
        risk: Risk::of(overrun, random.below(3) as f64 / 20.0),
        uncertain: random.one_in(5),
        ..Problem::new(items, 1 + random.below(60))
    }
}

/// So many steps find nearly all that more would.
const FEW: Budget = Budget {
    algorithm: Algorithm::Auto,
    seed: 0,
    steps: 3_000_000,
    cancelled: &|| false,
    time_left: &|| None,
};

fn checked(problem: &Problem) -> Plan {
    let plan = pack_within(problem, &FEW).unwrap();
    if let Err(wrong) = verify(problem, &plan) {
        panic!("{wrong}\n{problem:#?}\n{plan:#?}");
    }
    plan
}

#[test]
fn every_plan_keeps_what_it_promises() {
    let (mut oversize, mut over_the_effective_cap, mut effective) = (0, 0, 0);
    for seed in 0..4_000 {
        let mut random = Random::new(seed);
        let n = 1 + random.below(120);
        let problem = problem(&mut random, n);
        let plan = checked(&problem);
        assert_eq!(Ok(&plan), pack_within(&problem, &FEW).as_ref(), "seed {seed}: another plan");
        oversize += plan.oversize.len();
        effective += usize::from(plan.cap_micros < problem.cap_ms * 1000);
        over_the_effective_cap += plan
            .bundles
            .iter()
            .filter(|b| b.total_micros() > plan.cap_micros && b.total_micros() <= problem.cap_ms * 1000)
            .count();
    }
    // The seeds reach what the check is lenient on.
    assert!(oversize > 100 && over_the_effective_cap > 100 && effective > 100);
}

fn items_of(tests: std::ops::Range<u32>, micros: u64) -> Vec<Item> {
    tests.map(|test| Item { test, micros, ..Item::default() }).collect()
}

/// Files of so many tests of so long, each of which costs a setup.
fn in_files(files: &[(u32, u64)], setup: u64, cap_ms: u64) -> Problem {
    let mut scopes = Scopes::default();
    let mut items = Vec::new();
    for &(tests, micros) in files {
        let scopes = scopes.add_alone(setup);
        let first = items.len() as u32;
        items.extend((first..first + tests).map(|test| Item { test, micros, scopes, ..Item::default() }));
    }
    Problem { scopes, ..Problem::new(items, cap_ms) }
}

#[test]
fn the_solver_alone_takes_what_exact_reduction_has_settled() {
    // Pairs, each of which fills a bundle, in modules that cost nothing.
    let pairs = (0..30).flat_map(|pair| [600_000_000 + pair * 1_000_000, 400_000_000 - pair * 1_000_000]);
    let items = (0..).zip(pairs).map(|(test, micros)| Item { test, micros, ..Item::default() }).collect();
    let problem = Problem::new(items, 1_000_000);
    let budget = Budget { algorithm: Algorithm::Ilp, ..Budget::default() };
    let plan = pack_within(&problem, &budget).unwrap();
    assert_eq!((plan.bundles.len(), plan.lower_bound), (30, 30));
}

#[test]
fn files_stay_whole_where_they_fit_and_are_dispatched_longest_first() {
    let plan = checked(&in_files(&[(4, 50_000), (4, 200_000), (2, 100_000)], 0, 1_000));
    let tests: Vec<_> = plan.bundles.iter().map(|b| b.tests.clone()).collect();
    assert_eq!(tests, [vec![0, 1, 2, 3, 4, 5, 6, 7], vec![8, 9]]);
    assert_eq!((plan.lower_bound, plan.bound, plan.stage), (2, Bound::L1, Stage::Blocks));
}

#[test]
fn a_short_suite_still_fills_every_slot() {
    let problem = in_files(&[(1_000, 1_000)], 1_000, 600_000);
    let problem = Problem { slots: Some(2), ..problem };
    let plan = checked(&problem);
    assert_eq!(plan.cap_micros, 166_834);
    assert_eq!(plan.bundles.len(), 7);
    assert_eq!(plan.repeated_setup_micros, 6_000);
    assert!(plan.makespan_micros(2) < 520_000);
    // The longest test is the least that the cap can be.
    let problem = Problem { slots: Some(2), ..in_files(&[(100, 1_000), (1, 900_000)], 1_000, 600_000) };
    let plan = checked(&problem);
    assert_eq!(plan.cap_micros, 901_000);
    assert_eq!(plan.longest, Some(Longest { part: Part::Test(100), micros: 900_000 }));
    assert_eq!(plan.blockers[0], Blocker { part: Part::Test(100), micros: 900_000, cap_micros: 901_000 });
}

#[test]
fn what_costs_more_than_a_bundle_goes_first_with_its_file() {
    // Files of two tests of 10 ms, but for one of 40 ms and one of 90 ms; a bundle costs 30 ms.
    let mut problem = in_files(&[(2, 10_000); 6], 1_000, 1_000);
    (problem.items[5].micros, problem.items[8].micros) = (40_000, 90_000);
    let order =
        |problem: &Problem| checked(problem).bundles.iter().map(|b| b.tests.clone()).collect::<Vec<_>>();
    assert_eq!(order(&problem), [(0..12).collect::<Vec<_>>()]);
    let problem = Problem { slots: Some(1), fixed_ms: 30, ..problem };
    assert_eq!(order(&problem), [[8, 9, 4, 5, 0, 1, 2, 3, 6, 7, 10, 11]]);
}

#[test]
fn a_piece_is_worth_its_setup() {
    // By slots alone the cap would be 31 ms and each piece 1 ms of tests beside 30 ms of setup.
    let plan = checked(&Problem { slots: Some(8), ..in_files(&[(1_000, 1_000)], 30_000, 600_000) });
    let least = plan.bundles.iter().map(|bundle| bundle.micros).min();
    assert!(least >= Some(150_000), "{least:?}");
    assert!(plan.bundles.len() >= 5, "{}", plan.bundles.len());
}

#[test]
fn without_history_each_file_is_a_bundle() {
    let problem = in_files(&[(10, 50_000); 50], 0, 600_000);
    let plan = checked(&Problem { uncertain: true, slots: Some(2), ..problem });
    assert_eq!(plan.bundles.len(), 50);
    assert!(plan.bundles.iter().all(|bundle| bundle.tests.len() == 10));
}

#[test]
fn a_test_longer_than_the_cap_is_alone_and_named() {
    let mut items = items_of(0..10, 100_000);
    items[3].micros = 5_000_000;
    let plan = checked(&Problem::new(items, 1_000));
    assert_eq!(plan.oversize, [Oversize { bundle: 0, part: Part::Test(3) }]);
    assert_eq!((plan.bundles.len(), plan.lower_bound), (2, 2));
    assert_eq!(plan.bundles[0].overrun_ppm, 1_000_000);
}

#[test]
fn overlapping_relations_are_one_and_an_order_moves_only_its_own() {
    let relation = |ordered, tests: &[u32]| RelationItems { ordered, tests: tests.to_vec() };
    let problem = Problem {
        relations: vec![relation(false, &[0, 5]), relation(true, &[5, 2]), relation(true, &[7, 6])],
        max_tests_per_bundle: 5,
        ..in_files(&[(8, 10)], 0, 1)
    };
    let plan = checked(&problem);
    let mut tests: Vec<_> = plan.bundles.iter().map(|b| b.tests.clone()).collect();
    tests.sort();
    // 2 waits for 5 and 6 for 7; the others are where they were.
    assert_eq!(tests, [vec![0, 1, 3, 5, 2], vec![4, 7, 6]]);
}

#[test]
fn contradictions_are_named() {
    let relation = |tests: &[u32]| RelationItems { ordered: true, tests: tests.to_vec() };
    let relations = vec![relation(&[1, 2]), relation(&[2, 3]), relation(&[3, 1])];
    let problem = Problem { relations, ..Problem::new(items_of(0..8, 10), 1) };
    let error = pack(&problem).unwrap_err();
    assert!(matches!(&error, Error::OrderCycle(tests) if tests.len() == 3), "{error:?}");
    assert!(error.to_string().starts_with("ordered relations contradict each other: "), "{error}");
    let twice = [items_of(0..2, 10), items_of(1..2, 10)].concat();
    assert_eq!(pack(&Problem::new(twice, 1)), Err(Error::DuplicateTest(1)));
    let mut problem = Problem { relations: vec![relation(&[1, 2])], ..Problem::new(items_of(0..8, 10), 1) };
    problem.items[2].environment = 1;
    assert_eq!(pack(&problem), Err(Error::MixedEnvironments(1, 2)));
    let mut elsewhere = Scopes::default();
    problem.relations.clear();
    problem.items[5].scopes = elsewhere.add_alone(1);
    assert_eq!(pack(&problem), Err(Error::UnknownScopes(5)));
}

#[test]
fn a_bundle_for_each_slot_is_as_long_as_the_others() {
    // Ten times the fixed cost is the effective cap, under which best fit leaves one of nine for the third bundle.
    let problem = Problem { slots: Some(3), fixed_ms: 20, ..Problem::new(items_of(0..9, 40_000), 1_000) };
    let plan = checked(&problem);
    let loads: Vec<u64> = plan.bundles.iter().map(Bundle::total_micros).collect();
    assert_eq!((plan.cap_micros, plan.lower_bound), (200_000, 3));
    assert_eq!(loads, [140_000; 3]);
}

#[test]
fn environments_are_packed_and_proven_each_by_itself() {
    let mut items = items_of(0..9, 300_000);
    items.iter_mut().for_each(|item| item.environment = item.test % 2);
    let plan = checked(&Problem::new(items, 1_000));
    assert_eq!((plan.bundles.len(), plan.lower_bound, plan.bound), (4, 4, Bound::Environments));
}

#[test]
fn what_crosses_is_paid_once_where_that_goes() {
    // Two profiles of 300 ms over six files of 20 ms: each profile in one bundle, not in every one.
    let mut scopes = Scopes::default();
    let profiles = [scopes.add(300_000), scopes.add(300_000)];
    let files: Vec<u32> = (0..6).map(|_| scopes.add(20_000)).collect();
    let item = |test: u32| Item {
        test,
        micros: 100_000,
        scopes: scopes.set(&[files[test as usize / 2], profiles[test as usize % 2]]),
        ..Item::default()
    };
    let items = (0..12).map(item).collect();
    let problem = Problem { scopes, ..Problem::new(items, 1_020) };
    let plan = checked(&problem);
    assert_eq!((plan.bundles.len(), plan.lower_bound), (2, 2));
    // Each file is in both.
    assert_eq!(plan.repeated_setup_micros, 6 * 20_000);
}

#[test]
fn an_uncertain_bundle_keeps_its_margin_and_no_more() {
    // A hundred of 10 s, deviation 3 s: 60 of them need 600 + 1.282 * 23.2 s, 57 do with 599.1 s; by their 90 % quantiles
    // only 43 would.
    let items =
        (0..228).map(|test| Item { test, micros: 10_000_000, sd_micros: 3_000_000, ..Item::default() });
    let problem = Problem { risk: Risk::of(0.1, 0.0), ..Problem::new(items.collect(), 600_000) };
    let plan = checked(&problem);
    assert_eq!((plan.bundles.len(), plan.lower_bound, plan.bound), (4, 4, Bound::Chance));
    assert!(plan.bundles.iter().all(|bundle| bundle.tests.len() == 57 && bundle.overrun_ppm < 100_000));
}

#[test]
fn extremes_are_planned() {
    let none = checked(&Problem::new(Vec::new(), 1));
    assert_eq!((none.bundles.len(), none.lower_bound, none.longest), (0, 0, None));
    let huge = Problem {
        slots: Some(u32::MAX),
        fixed_ms: u64::MAX,
        max_tests_per_bundle: 0,
        risk: Risk::of(0.0, 9.0),
        ..in_files(&[(5, u64::MAX)], u64::MAX, 1_000)
    };
    checked(&huge);
    checked(&Problem { fixed_ms: 0, cap_ms: u64::MAX, ..huge.clone() });
    checked(&Problem { cap_ms: 0, fixed_ms: 0, ..in_files(&[(5, u64::MAX)], 0, 0) });
    checked(&Problem { cap_ms: 0, fixed_ms: 0, ..in_files(&[(9, 0)], 0, 0) });
    let mut varies = Problem { fixed_ms: 0, ..huge };
    varies.items.iter_mut().for_each(|item| (item.micros, item.sd_micros) = (3, u64::MAX));
    checked(&varies);
}

#[test]
fn a_quarter_of_a_million_tests_meet_their_bound() {
    let mut random = Random::new(7);
    let mut scopes = Scopes::default();
    let mut file = scopes.add_alone(50_000);
    let items = (0..250_000).map(|test| {
        if random.one_in(30) {
            file = scopes.add_alone(50_000);
        }
        Item { test, micros: 1_000 + random.below(4_000_000), scopes: file, ..Item::default() }
    });
    let items = items.collect();
    let problem = Problem { scopes, ..Problem::new(items, 600_000) };
    let plan = checked(&problem);
    assert!(plan.gap() <= 1, "{} over {}", plan.bundles.len(), plan.lower_bound);
    // One file of all of them: neighbours stay together, and the number of tests is bounded.
    let items = problem.items.iter().map(|item| Item { scopes: file, micros: 100, ..*item }).collect();
    let plan = checked(&Problem { items, ..problem });
    assert_eq!((plan.bundles.len(), plan.lower_bound, plan.bound), (5, 5, Bound::TestCount));
}
