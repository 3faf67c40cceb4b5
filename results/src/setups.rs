//! What scopes take to set up: files, classes, and the worker itself, learned from the tests that come first in one. Pure.
//!
//! The first test of a file pays for the file's fixtures, and so does that of a class, so its setup is longer than those
//! of the tests that follow. What it is longer by is due to all scopes that begin with it: a regression, one run after the
//! other, in which no scope takes less than nothing.

use std::collections::{BTreeMap, HashMap};

use seagull_domain::Manifest;

/// The scope of a worker: what lives for all its tests.
pub const WORKER: &str = "";
/// The start of a worker, before any test, is a scope of its environment: this and its name. No file's path begins so.
const START: &str = "/";
/// The weight of the newest sample.
const WEIGHT: f64 = 0.2;
/// A scope that nothing is known of is not kept for less, in microseconds.
const LEAST: f64 = 1000.0;
/// One sample counts as at most so many microseconds more than is known: an hour.
const MOST: f64 = 3.6e9;

/// A test that was executed, in the order of its worker.
#[derive(Debug, Clone, Copy)]
pub struct Execution<'m> {
    pub path: &'m str,
    /// `""` outside classes.
    pub class: &'m str,
    pub setup_micros: u64,
}

/// By how much the setup of a test, by its place, was longer than those of others of its file, and what began with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    pub place: usize,
    pub scopes: Vec<String>,
    pub micros: u64,
}

impl Excess {
    /// That it took so long to start a worker of an environment.
    pub fn start(environment: &str, micros: u64) -> Self {
        Self { place: 0, scopes: vec![format!("{START}{environment}")], micros }
    }
}

/// Of all tests that a worker executed. Where each test of a file begins something, nothing is known of the file.
pub fn excesses(executions: &[Execution]) -> Vec<Excess> {
    let mut excesses = Vec::new();
    let mut first = 0;
    for of_file in executions.chunk_by(|a, b| a.path == b.path) {
        let begins = |place: usize| {
            let Execution { class, .. } = of_file[place];
            place == 0 || (!class.is_empty() && class != of_file[place - 1].class)
        };
        let places = 0..of_file.len();
        let (beginning, others): (Vec<_>, Vec<_>) = places.partition(|place| begins(*place));
        let mut usual: Vec<u64> = others.iter().map(|place| of_file[*place].setup_micros).collect();
        usual.sort_unstable();
        if let Some(usual) = usual.get(usual.len() / 2) {
            excesses.extend(beginning.into_iter().map(|place| {
                let Execution { path, class, setup_micros } = of_file[place];
                let worker = (first + place == 0).then(|| WORKER.to_owned());
                let file = (place == 0).then(|| path.to_owned());
                let class = (!class.is_empty()).then(|| format!("{path}{class}"));
                let scopes = worker.into_iter().chain(file).chain(class).collect();
                Excess { place: first + place, scopes, micros: setup_micros.saturating_sub(*usual) }
            }));
        }
        first += of_file.len();
    }
    excesses
}

/// What is known of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Setup {
    pub micros: f64,
    /// How many samples that is by.
    pub samples: u32,
}

/// What is known of the scopes of a project, by their ids: a file's path, with the class behind it, [`WORKER`],
/// or an environment's with what stands before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Setups(pub HashMap<String, Setup>);

impl Setups {
    /// Microseconds; 0 for what is not known.
    pub fn micros(&self, scope: &str) -> u64 {
        self.0.get(scope).map_or(0, |setup| setup.micros as u64)
    }

    /// Of a worker of an environment until it may set up its first test, if that is known.
    pub fn of_start(&self, environment: &str) -> Option<u64> {
        self.0.get(&format!("{START}{environment}")).map(|setup| setup.micros as u64)
    }

    /// Of a class of a file.
    pub fn of_class(&self, path: &str, class: &str) -> u64 {
        if class.is_empty() || self.0.is_empty() { 0 } else { self.micros(&format!("{path}{class}")) }
    }

    /// Of all that may begin with a test.
    pub(crate) fn of_test(&self, path: &str, suffix: &str) -> u64 {
        let class = self.of_class(path, Manifest::class_of(suffix));
        let scopes = [self.micros(WORKER), self.micros(path), class];
        scopes.into_iter().fold(0, u64::saturating_add)
    }

    /// Learns from samples, and returns the scopes that they say something of.
    pub(crate) fn learn(&mut self, excesses: &[Excess]) -> BTreeMap<String, Setup> {
        let mut learned = BTreeMap::new();
        for Excess { scopes, micros, .. } in excesses {
            let known: Vec<Setup> =
                scopes.iter().map(|scope| self.0.get(scope).copied().unwrap_or_default()).collect();
            let predicted: f64 = known.iter().map(|setup| setup.micros).sum();
            let off = (*micros as f64 - predicted).min(MOST);
            // Who is known less is moved more.
            let weight = |setup: &Setup| WEIGHT.max(1.0 / (f64::from(setup.samples) + 1.0));
            let weights = known.iter().map(weight).sum::<f64>().max(1.0);
            for (scope, before) in scopes.iter().zip(&known) {
                let now = Setup {
                    micros: (before.micros + weight(before) / weights * off).max(0.0),
                    samples: before.samples.saturating_add(1),
                };
                if before.samples > 0 || now.micros >= LEAST {
                    self.0.insert(scope.clone(), now);
                    learned.insert(scope.clone(), now);
                }
            }
        }
        learned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executions<'m>(rows: &[(&'m str, &'m str, u64)]) -> Vec<Execution<'m>> {
        let of =
            |&(path, class, setup_micros): &(&'m str, &'m str, u64)| Execution { path, class, setup_micros };
        rows.iter().map(of).collect()
    }

    #[test]
    fn the_first_test_of_each_scope_tells_what_that_takes() {
        let executed = executions(&[
            ("a.py", "", 9_000),
            ("a.py", "", 100),
            ("a.py", "::A", 5_100),
            ("a.py", "::A", 90),
            ("a.py", "", 100),
            ("b.py", "::B", 7_000),
            ("c.py", "::C", 50),
            ("c.py", "::C", 60),
        ]);
        let excess = |place, scopes: &[&str], micros| {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            Excess { place, scopes, micros }
        };
        let expected = [
            excess(0, &["", "a.py"], 8_900),
            excess(2, &["a.py::A"], 5_000),
            excess(6, &["c.py", "c.py::C"], 0),
        ];
        assert_eq!(excesses(&executed), expected, "of b.py there is nothing to compare with");
        assert_eq!(excesses(&[]), []);
    }

    #[test]
    fn what_began_together_is_told_apart_by_what_began_alone() {
        let mut setups = Setups::default();
        let sample = |scopes: &[&str], micros| Excess {
            place: 0,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            micros,
        };
        // A worker takes 2 s, a file 1 s, and its class 5 s; another file nothing.
        for round in 0..200 {
            let (worker, noise) = (2_000_000, (round * 7919) % 100_000);
            let run = match round % 4 {
                0 => [sample(&["", "a.py"], worker + 1_000_000 + noise), sample(&["a.py::A"], 5_000_000)],
                1 => [sample(&["", "b.py"], worker + noise), sample(&["a.py", "a.py::A"], 6_000_000)],
                2 => [sample(&["", "b.py"], worker), sample(&["a.py"], 1_000_000 + noise)],
                _ => [sample(&["", "a.py", "a.py::A"], worker + 6_000_000), sample(&["b.py"], noise / 10)],
            };
            setups.learn(&run);
        }
        let near = |scope, micros: u64| setups.micros(scope).abs_diff(micros) < 200_000;
        assert!(near("", 2_000_000) && near("a.py", 1_000_000), "{setups:?}");
        assert!(near("a.py::A", 5_000_000) && near("b.py", 0), "{setups:?}");
    }

    #[test]
    fn nothing_takes_less_than_nothing_and_little_is_not_kept() {
        let mut setups = Setups::default();
        let sample = |micros| [Excess { place: 0, scopes: vec!["a.py".to_owned()], micros }];
        assert!(setups.learn(&sample(900)).is_empty());
        assert_eq!(setups.learn(&sample(5_000)).len(), 1);
        (0..50).for_each(|_| drop(setups.learn(&sample(0))));
        assert!(setups.micros("a.py") < 10);
        setups.learn(&sample(u64::MAX));
        assert!((1..=MOST as u64).contains(&setups.micros("a.py")));
    }
}
