//! Predicting durations: a test's own history, else what is known of the tests around it. Pure.

use seagull_domain::Manifest;

use crate::shrinkage::Shrinkage;
use crate::timing::{Timing, Timings, micros};

/// What a test is assumed to take where there is no history at all.
const DEFAULT_MICROS: u64 = 50_000;

const LIMIT_MS: u64 = 5 * 60 * 1000;
const LIMIT_UNKNOWN_MS: u64 = 60 * 60 * 1000;

#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Mean microseconds of each test, for packing.
    pub micros: Vec<u64>,
    /// Microseconds that half of its runs stay below, for those with a history of their own.
    pub robust_micros: Vec<Option<u64>>,
    /// How many have one.
    pub known: usize,
    pub no_history: bool,
}

impl Prediction {
    /// Milliseconds after which a test is killed.
    pub fn limit_ms(&self, test: usize) -> u64 {
        limit_ms(self.robust_micros.get(test).copied().flatten())
    }
}

/// Ten times the prediction, at least five minutes; an hour without history.
pub fn limit_ms(robust_micros: Option<u64>) -> u64 {
    robust_micros.map_or(LIMIT_UNKNOWN_MS, |micros| LIMIT_MS.max(micros.div_ceil(100)))
}

/// Predicts every test of a manifest.
pub fn predict(manifest: &Manifest, timings: &Timings) -> Prediction {
    let own = own(manifest, timings);
    let known = own.iter().flatten().count();
    let robust_micros = own.iter().map(|own| own.map(|timing| timing.robust_micros())).collect();
    let micros = if known == 0 {
        vec![DEFAULT_MICROS; own.len()]
    } else if known == own.len() {
        own.iter().flatten().map(Timing::mean_micros).collect()
    } else {
        around(manifest, &own)
    };
    Prediction { micros, robust_micros, known, no_history: known == 0 }
}

/// The timing of each test, where it has one.
fn own(manifest: &Manifest, timings: &Timings) -> Vec<Option<Timing>> {
    let mut id = String::new();
    let timing = |(path, suffix): (&str, &str)| {
        id.clear();
        id.push_str(path);
        id.push_str(suffix);
        timings.get(&id)
    };
    manifest.tests().map(timing).collect()
}

/// Means, with the unknown ones from what is known around them.
fn around(manifest: &Manifest, own: &[Option<Timing>]) -> Vec<u64> {
    let logs: Vec<Option<f64>> = own.iter().map(|own| own.map(|timing| timing.log_mean())).collect();
    let shrinkage = Shrinkage::learn(manifest, &logs);
    let mean = |(test, own): (usize, &Option<Timing>)| match own {
        Some(timing) => timing.mean_micros(),
        None => micros(shrinkage.log_mean(test)),
    };
    own.iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;

    fn manifest() -> Manifest {
        let file = |path: &str| FileTests { path: path.into(), suffixes: vec!["::a".into(), "::b".into()] };
        Manifest { files: vec![file("slow/x.py"), file("fast/y.py")], ..Manifest::default() }
    }

    fn timings(known: &[(&str, u64)]) -> Timings {
        let mut timings = Timings::new();
        for (id, micros) in known {
            timings.insert(id, Timing::learn(None, *micros, false));
        }
        timings
    }

    #[test]
    fn without_history_all_are_alike_and_may_take_an_hour() {
        // Of other tests is as good as none.
        for timings in [Timings::new(), timings(&[("gone.py::a", 5)])] {
            let prediction = predict(&manifest(), &timings);
            assert_eq!(prediction.micros, [DEFAULT_MICROS; 4]);
            assert!(prediction.no_history);
            assert_eq!(prediction.limit_ms(0), 3_600_000);
        }
        assert!(predict(&Manifest::default(), &Timings::new()).micros.is_empty());
    }

    #[test]
    fn an_unknown_test_is_like_its_neighbours() {
        let timings = timings(&[("slow/x.py::a", 60_000_000), ("fast/y.py::a", 1000)]);
        let prediction = predict(&manifest(), &timings);
        assert!(prediction.micros[1] > 20 * prediction.micros[3], "{:?}", prediction.micros);
        assert!(prediction.micros[0] >= 60_000_000);
        assert_eq!((prediction.known, prediction.no_history), (2, false));
        assert!((599_000..=600_001).contains(&prediction.limit_ms(0)), "{}", prediction.limit_ms(0));
        assert_eq!((prediction.limit_ms(1), prediction.limit_ms(2)), (3_600_000, 300_000));
    }
}
