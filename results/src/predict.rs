//! Predicting durations: a test's own history, else that of its class, file, directory, suite. Pure.

use std::collections::HashMap;

use seagull_domain::Manifest;

use crate::history::{Timing, Timings};

/// What a test is assumed to take where there is no history at all.
const DEFAULT_MICROS: u64 = 50_000;
/// How many of its own known tests outweigh what is known of the scope around it.
const SHRINKAGE: f64 = 2.0;
/// The spread between tests whose mean is used for an unknown one.
const UNKNOWN_SPREAD: f64 = 1.0;

const LIMIT_MS: u64 = 5 * 60 * 1000;
const LIMIT_UNKNOWN_MS: u64 = 60 * 60 * 1000;

#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Mean microseconds of each test, for packing.
    pub micros: Vec<u64>,
    /// The median of those with a history of their own.
    robust_micros: Vec<Option<u64>>,
    /// How many have one.
    pub known: usize,
    pub no_history: bool,
}

impl Prediction {
    /// Milliseconds after which a test is killed: ten times its prediction, at least five minutes; an hour without
    /// history.
    pub fn limit_ms(&self, test: usize) -> u64 {
        let known = self.robust_micros.get(test).copied().flatten();
        known.map_or(LIMIT_UNKNOWN_MS, |micros| LIMIT_MS.max(micros / 1000 * 10))
    }
}

/// The sum of logarithms of known tests, and how many.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    sum: f64,
    count: f64,
}

impl Known {
    fn add(&mut self, location: f64) {
        self.sum += location;
        self.count += 1.0;
    }

    /// The mean of what is known, shrunk towards that of the scope around it.
    fn shrunk(self, around: f64) -> f64 {
        (self.sum + SHRINKAGE * around) / (self.count + SHRINKAGE)
    }
}

/// Predicts every test of a manifest.
pub fn predict(manifest: &Manifest, timings: &Timings) -> Prediction {
    let own: Vec<Option<Timing>> = manifest.ids().map(|id| timings.get(&id).copied()).collect();
    let scopes = Scopes::learn(manifest, &own);
    let mut micros = Vec::with_capacity(own.len());
    for ((path, suffix), own) in manifest.tests().zip(&own) {
        micros.push(match own {
            Some(timing) => mean(timing.location, timing.spread),
            None => scopes.predict(path, suffix),
        });
    }
    let robust = own.iter().map(|own| own.map(|timing| mean(timing.location, 0.0)));
    let known = own.iter().flatten().count();
    Prediction { micros, robust_micros: robust.collect(), known, no_history: known == 0 }
}

/// The mean of a log-normal duration, at least one microsecond and at most about a month.
fn mean(location: f64, spread: f64) -> u64 {
    (location + spread.min(4.0) / 2.0).exp().clamp(1.0, 3e12) as u64
}

struct Scopes<'a> {
    suite: Known,
    by_directory: HashMap<&'a str, Known>,
    by_file: HashMap<&'a str, Known>,
    by_class: HashMap<(&'a str, &'a str), Known>,
}

fn directory(path: &str) -> &str {
    path.rfind('/').map_or("", |end| &path[..end])
}

impl<'a> Scopes<'a> {
    fn learn(manifest: &'a Manifest, own: &[Option<Timing>]) -> Scopes<'a> {
        let mut scopes = Scopes {
            suite: Known::default(),
            by_directory: HashMap::new(),
            by_file: HashMap::new(),
            by_class: HashMap::new(),
        };
        for ((path, suffix), own) in manifest.tests().zip(own) {
            let Some(Timing { location, .. }) = own else { continue };
            scopes.suite.add(*location);
            scopes.by_directory.entry(directory(path)).or_default().add(*location);
            scopes.by_file.entry(path).or_default().add(*location);
            scopes.by_class.entry((path, Manifest::class_of(suffix))).or_default().add(*location);
        }
        scopes
    }

    fn predict(&self, path: &str, suffix: &str) -> u64 {
        if self.suite.count == 0.0 {
            return DEFAULT_MICROS;
        }
        let of = |known: Option<&Known>, around: f64| known.copied().unwrap_or_default().shrunk(around);
        let suite = self.suite.sum / self.suite.count;
        let directory = of(self.by_directory.get(directory(path)), suite);
        let file = of(self.by_file.get(path), directory);
        let class = of(self.by_class.get(&(path, Manifest::class_of(suffix))), file);
        mean(class, UNKNOWN_SPREAD)
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;

    fn manifest() -> Manifest {
        let file = |path: &str| FileTests { path: path.into(), suffixes: vec!["::a".into(), "::b".into()] };
        Manifest { files: vec![file("slow/x.py"), file("fast/y.py")], ..Manifest::default() }
    }

    #[test]
    fn without_history_all_are_alike_and_may_take_an_hour() {
        let prediction = predict(&manifest(), &Timings::new());
        assert_eq!(prediction.micros, [DEFAULT_MICROS; 4]);
        assert!(prediction.no_history);
        assert_eq!(prediction.limit_ms(0), 3_600_000);
    }

    #[test]
    fn an_unknown_test_is_like_its_neighbours() {
        let known = |micros| Timing::learn(None, micros);
        let timings = [("slow/x.py::a", known(60_000_000)), ("fast/y.py::a", known(1000))];
        let timings = timings.into_iter().map(|(id, timing)| (id.to_owned(), timing)).collect();
        let prediction = predict(&manifest(), &timings);
        assert!(prediction.micros[1] > 20 * prediction.micros[3], "{:?}", prediction.micros);
        assert!(prediction.micros[0] >= 60_000_000);
        assert_eq!((prediction.known, prediction.no_history), (2, false));
        assert!((599_000..=600_000).contains(&prediction.limit_ms(0)), "{}", prediction.limit_ms(0));
        assert_eq!((prediction.limit_ms(1), prediction.limit_ms(2)), (3_600_000, 300_000));
    }
}
