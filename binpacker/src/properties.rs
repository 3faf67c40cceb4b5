//! Properties of plans over seeded problems, against the independent check and against brute force.

use std::collections::{HashMap, HashSet};

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

/// Test numbers are spread out and shuffled, so that nothing passes by taking them for positions.
fn items(random: &mut Random, n: u64, scopes: u64, longest: u64) -> Vec<Item> {
    let offset = random.below(1000) as u32;
    let mut tests: Vec<u32> = (0..n as u32).map(|i| offset + i * 3).collect();
    for i in (1..tests.len()).rev() {
        tests.swap(i, random.below(i as u64 + 1) as usize);
    }
    let mut scope = 0;
    let item = |test| {
        scope = if random.one_in(3) { random.below(scopes) as u32 } else { scope };
        Item { test, micros: random.below(longest + 1), scope }
    };
    tests.into_iter().map(item).collect()
}

/// Ordered relations follow one secret order, so that they never contradict each other.
fn relations(random: &mut Random, items: &[Item], n: u64) -> Vec<RelationItems> {
    let secret: HashMap<u32, u64> = items.iter().map(|item| (item.test, random.below(1 << 30))).collect();
    let mut relation = || {
        let size = 1 + random.below(4);
        let member = |_| items[random.below(items.len() as u64) as usize].test;
        let mut tests: Vec<u32> = (0..size).map(member).collect();
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
    let scopes = 1 + random.below(n.div_ceil(2));
    let items = items(random, n, scopes, longest);
    let relation_count = if random.one_in(2) { random.below(1 + n / 8) } else { 0 };
    let by_scope = (0..random.below(4)).map(|_| random.below(5_000)).collect();
    Problem {
        relations: relations(random, &items, relation_count),
        slots: random.one_in(2).then(|| random.below(9) as u32),
        setup: SetupCosts { default_micros: [0, 100, 4_000][random.below(3) as usize], by_scope },
        fixed_ms: random.below(4),
        max_tests_per_bundle: if random.one_in(4) { 1 + random.below(8) as u32 } else { 50_000 },
        uncertain: random.one_in(5),
        ..Problem::new(items, 1 + random.below(60))
    }
}

fn checked(problem: &Problem) -> Plan {
    let plan = pack(problem).unwrap();
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
        assert_eq!(Ok(&plan), pack(&problem).as_ref(), "seed {seed}: another plan");
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

/// The fewest bundles, by trying each unit in each bundle and in a new one.
struct BruteForce<'p> {
    problem: &'p Problem,
    parts: Vec<Vec<Item>>,
    best: usize,
}

impl BruteForce<'_> {
    fn fits(&self, bundle: &[usize]) -> bool {
        let items = || bundle.iter().flat_map(|&part| &self.parts[part]);
        let scopes: HashSet<u32> = items().map(|item| item.scope).collect();
        let setup: u64 = scopes.iter().map(|&scope| self.problem.setup.of(scope)).sum();
        let load = items().map(|item| item.micros).sum::<u64>() + setup + self.problem.fixed_ms * 1000;
        load <= self.problem.cap_ms * 1000 && items().count() <= self.problem.max_tests_per_bundle as usize
    }

    fn place(&mut self, part: usize, bundles: &mut Vec<Vec<usize>>) {
        if bundles.len() >= self.best {
            return;
        }
        if part == self.parts.len() {
            self.best = bundles.len();
            return;
        }
        for i in 0..bundles.len() {
            bundles[i].push(part);
            if self.fits(&bundles[i]) {
                self.place(part + 1, bundles);
            }
            bundles[i].pop();
        }
        bundles.push(vec![part]);
        self.place(part + 1, bundles);
        bundles.pop();
    }
}

/// The parts that cannot be split, by joining lists until none overlap.
fn parts(problem: &Problem) -> Vec<Vec<Item>> {
    let mut parts: Vec<Vec<Item>> = problem.items.iter().map(|&item| vec![item]).collect();
    for relation in &problem.relations {
        let (mut joined, rest): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| part.iter().any(|item| relation.tests.contains(&item.test)));
        parts = rest;
        if !joined.is_empty() {
            parts.push(joined.drain(..).flatten().collect());
        }
    }
    parts
}

#[test]
fn bounds_are_below_the_optimum_and_plans_are_near_it() {
    let (mut proven, mut optimal, mut l2) = (0, 0, 0);
    const SEEDS: u64 = 1_500;
    for seed in 0..SEEDS {
        let mut random = Random::new(seed + 1_000_000);
        let n = 1 + random.below(9);
        let problem = Problem { slots: None, uncertain: false, ..problem(&mut random, n) };
        let plan = checked(&problem);
        let mut brute = BruteForce { problem: &problem, parts: parts(&problem), best: usize::MAX };
        brute.place(0, &mut Vec::new());
        let best = brute.best;
        assert!(plan.lower_bound as usize <= best, "seed {seed}: bound {} over {best}", plan.lower_bound);
        assert!(plan.bundles.len() >= best, "seed {seed}: below the optimum, so something is not counted");
        proven += u64::from(plan.lower_bound as usize == plan.bundles.len());
        optimal += u64::from(plan.bundles.len() == best);
        l2 += u64::from(plan.bound == Bound::L2);
    }
    // The greedy stage is no more than greedy, but these must not get worse unnoticed.
    assert!(optimal * 100 > SEEDS * 90, "{optimal} of {SEEDS} optimal");
    assert!(proven * 100 > SEEDS * 70, "{proven} of {SEEDS} proven");
    assert!(l2 > 10, "no case needs L2");
}

fn in_scope(scope: u32, tests: std::ops::Range<u32>, micros: u64) -> Vec<Item> {
    tests.map(|test| Item { test, micros, scope }).collect()
}

#[test]
fn files_stay_whole_where_they_fit_and_are_dispatched_longest_first() {
    let items = [in_scope(0, 0..4, 50_000), in_scope(1, 4..8, 200_000), in_scope(2, 8..10, 100_000)].concat();
    let plan = checked(&Problem::new(items, 1_000));
    let tests: Vec<_> = plan.bundles.iter().map(|b| b.tests.clone()).collect();
    assert_eq!(tests, [vec![0, 1, 2, 3, 4, 5, 6, 7], vec![8, 9]]);
    assert_eq!((plan.lower_bound, plan.bound), (2, Bound::L1));
}

#[test]
fn a_short_suite_still_fills_every_slot() {
    let items = in_scope(0, 0..1_000, 1_000);
    let problem =
        Problem { slots: Some(2), setup: SetupCosts::constant(1_000), ..Problem::new(items, 600_000) };
    let plan = checked(&problem);
    assert_eq!(plan.cap_micros, 125_125);
    assert_eq!(plan.bundles.len(), 9);
    assert!(plan.makespan_micros(2) < 700_000);
    // The longest test is the least that the cap can be.
    let items = [in_scope(0, 0..100, 1_000), in_scope(1, 100..101, 900_000)].concat();
    let plan = checked(&Problem { items, ..problem });
    assert_eq!(plan.cap_micros, 901_000);
    assert_eq!(plan.longest, Some(Longest { part: Part::Test(100), micros: 900_000 }));
}

#[test]
fn a_piece_is_worth_its_setup() {
    // By slots alone the cap would be 31 ms and each piece 1 ms of tests beside 30 ms of setup.
    let items = in_scope(0, 0..1_000, 1_000);
    let problem =
        Problem { slots: Some(8), setup: SetupCosts::constant(30_000), ..Problem::new(items, 600_000) };
    let plan = checked(&problem);
    let least = plan.bundles.iter().map(|bundle| bundle.micros).min();
    assert!(least >= Some(150_000), "{least:?}");
    assert!(plan.bundles.len() >= 5, "{}", plan.bundles.len());
}

#[test]
fn without_history_each_file_is_a_bundle() {
    let items = (0..50).flat_map(|file| in_scope(file, file * 10..file * 10 + 10, 50_000)).collect();
    let plan = checked(&Problem { uncertain: true, slots: Some(2), ..Problem::new(items, 600_000) });
    assert_eq!(plan.bundles.len(), 50);
    assert!(plan.bundles.iter().all(|bundle| bundle.tests.len() == 10));
}

#[test]
fn a_test_longer_than_the_cap_is_alone_and_named() {
    let mut items = in_scope(0, 0..10, 100_000);
    items[3].micros = 5_000_000;
    let plan = checked(&Problem::new(items, 1_000));
    assert_eq!(plan.oversize, [Oversize { bundle: 0, part: Part::Test(3) }]);
    assert_eq!((plan.bundles.len(), plan.lower_bound), (2, 2));
}

#[test]
fn overlapping_relations_are_one_and_an_order_moves_only_its_own() {
    let relation = |ordered, tests: &[u32]| RelationItems { ordered, tests: tests.to_vec() };
    let problem = Problem {
        relations: vec![relation(false, &[0, 5]), relation(true, &[5, 2]), relation(true, &[7, 6])],
        max_tests_per_bundle: 5,
        ..Problem::new(in_scope(0, 0..8, 10), 1)
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
    let problem = Problem { relations, ..Problem::new(in_scope(0, 0..8, 10), 1) };
    let error = pack(&problem).unwrap_err();
    assert!(matches!(&error, Error::OrderCycle(tests) if tests.len() == 3), "{error:?}");
    assert!(error.to_string().starts_with("ordered relations contradict each other: "), "{error}");
    let twice = [in_scope(0, 0..2, 10), in_scope(0, 1..2, 10)].concat();
    assert_eq!(pack(&Problem::new(twice, 1)), Err(Error::DuplicateTest(1)));
}

#[test]
fn extremes_are_planned() {
    let none = checked(&Problem::new(Vec::new(), 1));
    assert_eq!((none.bundles.len(), none.lower_bound, none.longest), (0, 0, None));
    let huge = Problem {
        setup: SetupCosts::constant(u64::MAX),
        slots: Some(u32::MAX),
        fixed_ms: u64::MAX,
        max_tests_per_bundle: 0,
        ..Problem::new(in_scope(u32::MAX, 0..5, u64::MAX), 1_000)
    };
    checked(&huge);
    checked(&Problem { fixed_ms: 0, cap_ms: u64::MAX, ..huge.clone() });
    checked(&Problem { cap_ms: 0, fixed_ms: 0, setup: SetupCosts::default(), ..huge.clone() });
    checked(&Problem { items: in_scope(0, 0..9, 0), cap_ms: 0, fixed_ms: 0, ..huge });
}

#[test]
fn a_quarter_of_a_million_tests_meet_their_bound() {
    let mut random = Random::new(7);
    let mut scope = 0;
    let items = (0..250_000).map(|test| {
        scope += u32::from(random.one_in(30));
        Item { test, micros: 1_000 + random.below(4_000_000), scope }
    });
    let items = items.collect();
    let problem = Problem { setup: SetupCosts::constant(50_000), ..Problem::new(items, 600_000) };
    let plan = checked(&problem);
    assert!(
        plan.bundles.len() as u32 <= plan.lower_bound + 1,
        "{} over {}",
        plan.bundles.len(),
        plan.lower_bound
    );
    // One file of all of them: neighbours stay together, and the number of tests is bounded.
    let items = problem.items.iter().map(|item| Item { scope: 0, micros: 100, ..*item }).collect();
    let plan = checked(&Problem { items, ..problem });
    assert_eq!((plan.bundles.len(), plan.lower_bound, plan.bound), (5, 5, Bound::TestCount));
}
