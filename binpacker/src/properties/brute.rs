//! Against brute force, up to a dozen units.

use std::collections::HashSet;

use super::{Random, checked, problem};
use crate::*;

/// The fewest bundles, by trying each unit in each bundle and in a new one.
struct BruteForce<'p> {
    problem: &'p Problem,
    parts: Vec<Vec<Item>>,
    best: usize,
}

impl BruteForce<'_> {
    fn fits(&self, bundle: &[usize]) -> bool {
        let items = || bundle.iter().flat_map(|&part| &self.parts[part]);
        let scopes = &self.problem.scopes;
        let used: HashSet<u32> = items().flat_map(|item| scopes.of(item.scopes)).copied().collect();
        let setup: u64 = used.iter().map(|&scope| scopes.micros(scope)).sum();
        let load = items().map(|item| item.micros).sum::<u64>() + setup + self.problem.fixed_ms * 1000;
        let environments: HashSet<u32> = items().map(|item| item.environment).collect();
        let variance: f64 = items().map(|item| (item.sd_micros as f64).powi(2)).sum();
        let Risk { z_milli, common_permille } = self.problem.risk;
        let common = load as f64 * f64::from(common_permille) / 1000.0;
        let margin = (variance + common * common).sqrt() * f64::from(z_milli) / 1000.0;
        // Rounded as the crate does it, but for what floating point may miss.
        let needed = load as f64 + (margin - 1e-6).ceil();
        needed <= (self.problem.cap_ms * 1000) as f64
            && items().count() <= self.problem.max_tests_per_bundle as usize
            && environments.len() == 1
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
pub fn parts(problem: &Problem) -> Vec<Vec<Item>> {
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
        // Now and then as many as can be tried.
        let n = if seed % 25 == 0 { 12 } else { 1 + random.below(9) };
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
