//! Pricing tests without history: empirical Bayes over class, file, directory and suite, in logarithms. Pure.
//!
//! At each level a scope's own mean is weighed against what the scope around it predicts, by how much tests differ
//! within scopes of this level and how much such scopes differ from each other. Within a scope tests are log-normal, so
//! their mean is above their median by half the variance within.

use std::collections::HashMap;
use std::hash::Hash;

use seagull_domain::Manifest;

use crate::timing::LogNormal;

/// The variance of a suite's logarithms where it cannot be estimated.
const DEFAULT_VARIANCE: f64 = 1.0;
/// The part of the variance around them that tests of a scope keep, where it cannot be estimated.
const PART_WITHIN: f64 = 0.5;
const LEAST_VARIANCE: f64 = 0.01;
/// Where the mean is dearer than this it is dear by an estimate of the tail that a few tests do not support.
const MOST_PRICED: f64 = 4.0;

/// A price for every test of a manifest from the known ones.
pub(crate) struct Shrinkage {
    /// From the suite down to the class.
    levels: Vec<Level>,
}

struct Level {
    /// The scope of each test.
    scope_of: Vec<u32>,
    /// By scope: the logarithm that its tests are expected at, and the variance around it.
    expected: Vec<(f64, f64)>,
}

impl Shrinkage {
    /// `logs` has the logarithm of each test's mean duration, where it is known.
    pub fn learn(manifest: &Manifest, logs: &[Option<f64>]) -> Shrinkage {
        let scopes = [
            vec![0; logs.len()],
            numbered(manifest.tests().map(|(path, _)| directory(path))),
            numbered(manifest.tests().map(|(path, _)| path)),
            numbered(manifest.tests().map(|(path, suffix)| (path, Manifest::class_of(suffix)))),
        ];
        let mut levels: Vec<Level> = Vec::with_capacity(scopes.len());
        let mut around = DEFAULT_VARIANCE / PART_WITHIN;
        for scope_of in scopes {
            let sums = Sums::of(&scope_of, logs);
            let within = sums.within().unwrap_or(around * PART_WITHIN).max(LEAST_VARIANCE);
            let between = (around - within).max(LEAST_VARIANCE);
            let expected = sums.expected(&scope_of, levels.last(), within, between);
            levels.push(Level { scope_of, expected });
            around = within;
        }
        Shrinkage { levels }
    }

    /// The duration of a test that is not known.
    pub fn duration(&self, test: usize) -> LogNormal {
        let level = &self.levels[self.levels.len() - 1];
        let (location, variance) = level.expected[level.scope_of[test] as usize];
        LogNormal { location, variance: variance.min(MOST_PRICED) }
    }
}

/// What is known of the scopes of a level, by scope.
struct Sums(Vec<Sum>);

#[derive(Clone, Copy, Default)]
struct Sum {
    count: f64,
    mean: f64,
    /// Of squared distances from the mean.
    squares: f64,
}

impl Sums {
    fn of(scope_of: &[u32], logs: &[Option<f64>]) -> Sums {
        let scopes = scope_of.iter().max().map_or(0, |&last| last as usize + 1);
        let mut sums = vec![Sum::default(); scopes];
        for (&scope, log) in scope_of.iter().zip(logs) {
            let Some(log) = log else { continue };
            let sum = &mut sums[scope as usize];
            let distance = log - sum.mean;
            sum.count += 1.0;
            sum.mean += distance / sum.count;
            sum.squares += distance * (log - sum.mean);
        }
        Sums(sums)
    }

    /// The variance within scopes, over all of them; None if no scope has two known tests.
    fn within(&self) -> Option<f64> {
        let squares: f64 = self.0.iter().map(|sum| sum.squares).sum();
        let free: f64 = self.0.iter().map(|sum| (sum.count - 1.0).max(0.0)).sum();
        (free > 0.0).then(|| squares / free)
    }

    fn expected(
        &self,
        scope_of: &[u32],
        around: Option<&Level>,
        within: f64,
        between: f64,
    ) -> Vec<(f64, f64)> {
        let mut expected = vec![None; self.0.len()];
        for (test, &scope) in scope_of.iter().enumerate() {
            // A scope lies in one scope of the level above, so any of its tests tells which.
            expected[scope as usize].get_or_insert_with(|| {
                let sum = self.0[scope as usize];
                let own = (sum.mean, within);
                let Some(above) = around else { return own };
                let (prior, variance) = above.expected[above.scope_of[test] as usize];
                if sum.count == 0.0 {
                    return (prior, variance);
                }
                let (weight, prior_weight) = (sum.count / within, 1.0 / between);
                ((sum.mean * weight + prior * prior_weight) / (weight + prior_weight), within)
            });
        }
        expected.into_iter().map(Option::unwrap_or_default).collect()
    }
}

/// Numbers for keys, in the order they appear in.
fn numbered<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> Vec<u32> {
    let mut numbers = HashMap::new();
    let number = |key| {
        let next = numbers.len() as u32;
        *numbers.entry(key).or_insert(next)
    };
    keys.map(number).collect()
}

fn directory(path: &str) -> &str {
    path.rfind('/').map_or("", |end| &path[..end])
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;

    /// Four directories of ten files of three classes of eight tests.
    fn manifest() -> Manifest {
        let suffixes = || (0..24).map(|t| format!("::C{}::t{}", t / 8, t % 8)).collect();
        let file = |n: usize| FileTests { path: format!("d{}/f{n}.py", n / 10), suffixes: suffixes() };
        Manifest { files: (0..40).map(file).collect(), ..Manifest::default() }
    }

    /// A number around 0 with about the given variance (a sum of uniforms), from a seed.
    fn noise(seed: &mut u64, variance: f64) -> f64 {
        let uniform = |_| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) as f64 / (1u64 << 31) as f64 - 0.5
        };
        (0..12).map(uniform).sum::<f64>() * variance.sqrt()
    }

    #[test]
    fn the_total_of_unknown_tests_is_right_and_better_than_the_median() {
        let (mut predicted, mut actual, mut blind) = (0.0, 0.0, 0.0);
        for seed in 0..20 {
            let mut seed = seed * 7919 + 1;
            let directories: Vec<f64> = (0..4).map(|_| noise(&mut seed, 1.0)).collect();
            let files: Vec<f64> =
                (0..40).map(|file| directories[file / 10] + noise(&mut seed, 0.5)).collect();
            let logs: Vec<f64> = (0..960).map(|test| files[test / 24] + noise(&mut seed, 0.5)).collect();
            // A file in four is new, and every third test of the others.
            let new = |test: usize| (test / 24).is_multiple_of(4) || test.is_multiple_of(3);
            let known: Vec<_> =
                logs.iter().enumerate().map(|(test, log)| (!new(test)).then_some(*log)).collect();
            let shrinkage = Shrinkage::learn(&manifest(), &known);
            let mut sorted: Vec<f64> = known.iter().flatten().copied().collect();
            sorted.sort_by(f64::total_cmp);
            for test in (0..960).filter(|&test| new(test)) {
                predicted += shrinkage.duration(test).log_mean().exp();
                actual += logs[test].exp();
                blind += sorted[sorted.len() / 2].exp();
            }
        }
        let ratio = predicted / actual;
        assert!((0.85..1.15).contains(&ratio), "predicted {ratio} of what it was");
        assert!(
            (1.0 - ratio).abs() < (1.0 - blind / actual).abs() / 2.0,
            "{ratio}, blind {}",
            blind / actual
        );
    }

    #[test]
    fn the_nearest_scope_with_history_counts_most() {
        let manifest = manifest();
        let mut logs = vec![None; manifest.len()];
        for test in 0..8 {
            logs[test] = Some(10.0 + test as f64 / 100.0);
            logs[24 + test] = Some(2.0 + test as f64 / 100.0);
        }
        logs[0] = None;
        let shrinkage = Shrinkage::learn(&manifest, &logs);
        let at = |test| shrinkage.duration(test).log_mean();
        assert!((9.8..10.2).contains(&at(0)), "of its class: {}", at(0));
        assert!(at(9) > 8.0, "another class of its file: {}", at(9));
        assert!((4.0..9.0).contains(&at(48)), "another file: {}", at(48));
    }

    #[test]
    fn one_known_test_is_enough() {
        let manifest = manifest();
        let mut logs = vec![None; manifest.len()];
        logs[500] = Some(9.0);
        let shrinkage = Shrinkage::learn(&manifest, &logs);
        assert!(
            (0..960)
                .all(|test| (9.0..=9.0 + DEFAULT_VARIANCE / 2.0)
                    .contains(&shrinkage.duration(test).log_mean()))
        );
    }
}
