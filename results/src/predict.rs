//! Predicting durations: a test's own history, else what is known of the tests around it. Pure.

use seagull_domain::Manifest;

use crate::setups::Setups;
use crate::shrinkage::Shrinkage;
use crate::timing::{LogNormal, Timing, Timings};

/// What a test is assumed to take where there is no history at all: 50 ms, and nothing is said of how that varies.
const UNKNOWN: LogNormal = LogNormal { location: 10.819_778_284_410_283, variance: 0.0 };

const LIMIT_MS: u64 = 5 * 60 * 1000;
const LIMIT_UNKNOWN_MS: u64 = 60 * 60 * 1000;

#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Mean microseconds of each test, for packing.
    pub micros: Vec<u64>,
    /// The standard deviation of each, in microseconds.
    pub sd_micros: Vec<u64>,
    /// Microseconds that half of its runs stay below, for those with a history of their own.
    pub robust_micros: Vec<Option<u64>>,
    /// How many have one.
    pub known: usize,
    /// What scopes take to set up beside that.
    pub setups: Setups,
    /// Microseconds of what may be set up before each test.
    pub setup_micros: Vec<u64>,
    /// The standard deviation of what durations of a bundle have in common, as a share of them.
    pub common: f64,
    pub no_history: bool,
}

impl Prediction {
    /// Milliseconds after which a test is killed.
    pub fn limit_ms(&self, test: usize) -> u64 {
        let setup = self.setup_micros.get(test).copied().unwrap_or_default();
        let own = self.robust_micros.get(test).copied().flatten();
        limit_ms(own.map(|micros| micros.saturating_add(setup)))
    }
}

/// Ten times the prediction, at least five minutes; an hour without history.
pub fn limit_ms(robust_micros: Option<u64>) -> u64 {
    robust_micros.map_or(LIMIT_UNKNOWN_MS, |micros| LIMIT_MS.max(micros.div_ceil(100)))
}

/// Predicts every test of a manifest.
pub fn predict(manifest: &Manifest, timings: &Timings) -> Prediction {
    let common = timings.calibration.common();
    let setups = timings.setups.clone();
    let setup_micros = manifest.tests().map(|(path, suffix)| setups.of_test(path, suffix)).collect();
    let timings = of_tests(manifest, timings);
    let own: Vec<_> = timings.iter().map(|of| of.filter(|timing| timing.runs > 0)).collect();
    let known = own.iter().flatten().count();
    let robust_micros = own.iter().map(|own| own.map(|timing| timing.robust_micros())).collect();
    let durations = durations(manifest, &own);
    let raised = durations.into_iter().zip(timings).map(|(expected, timing)| at_least(expected, timing));
    let (micros, sd_micros) = raised.map(|of| (of.mean_micros(), of.sd_micros())).unzip();
    let no_history = known == 0;
    Prediction { micros, sd_micros, robust_micros, known, setups, setup_micros, common, no_history }
}

/// What is expected of a test, but no less than what its failures have taken.
fn at_least(expected: LogNormal, timing: Option<Timing>) -> LogNormal {
    let bound = timing.filter(|timing| timing.runs == 0).map(|timing| timing.duration());
    bound.filter(|bound| bound.location > expected.log_mean()).unwrap_or(expected)
}

/// The timing of each test, where it has one.
fn of_tests(manifest: &Manifest, timings: &Timings) -> Vec<Option<Timing>> {
    let mut id = String::new();
    let timing = |(path, suffix): (&str, &str)| {
        id.clear();
        id.push_str(path);
        id.push_str(suffix);
        timings.get(&id)
    };
    manifest.tests().map(timing).collect()
}

/// The duration of each test, with the unknown ones from what is known around them.
fn durations(manifest: &Manifest, own: &[Option<Timing>]) -> Vec<LogNormal> {
    let known: Vec<Option<LogNormal>> = own.iter().map(|own| own.map(|timing| timing.duration())).collect();
    let is_any = known.iter().any(Option::is_some);
    let logs = || known.iter().map(|known| known.map(LogNormal::log_mean)).collect::<Vec<_>>();
    let around = (is_any && known.contains(&None)).then(|| Shrinkage::learn(manifest, &logs()));
    let unknown = |test| around.as_ref().map_or(UNKNOWN, |around| around.duration(test));
    (0..).zip(&known).map(|(test, known)| known.unwrap_or_else(|| unknown(test))).collect()
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
            assert!(prediction.micros.iter().all(|micros| (49_999..=50_000).contains(micros)));
            assert!(prediction.no_history);
            assert_eq!(prediction.limit_ms(0), 3_600_000);
        }
        assert!(predict(&Manifest::default(), &Timings::new()).micros.is_empty());
    }

    #[test]
    fn a_test_that_only_failed_is_unknown_but_takes_at_least_as_long() {
        let mut timings = timings(&[("slow/x.py::a", 60_000_000), ("fast/y.py::a", 1000)]);
        timings.insert("slow/x.py::b", Timing::learn(None, 10, true));
        timings.insert("fast/y.py::b", Timing::learn(None, 9_000_000, true));
        let prediction = predict(&manifest(), &timings);
        assert_eq!(
            (prediction.known, prediction.limit_ms(1), prediction.limit_ms(3)),
            (2, 3_600_000, 3_600_000)
        );
        assert!(prediction.micros[1] > 1_000_000, "that it failed at once says nothing: {prediction:?}");
        assert!(prediction.micros[3] >= 9_000_000, "{prediction:?}");
    }

    #[test]
    fn what_is_not_known_varies_more_than_what_is() {
        let known = [("slow/x.py::a", 2_000_000), ("slow/x.py::b", 4_000_000), ("fast/y.py::a", 1000)];
        let mut timings = timings(&known);
        let varies = |prediction: &Prediction, test: usize| {
            prediction.sd_micros[test] as f64 / prediction.micros[test] as f64
        };
        let first = predict(&manifest(), &timings);
        assert!((0.3..0.35).contains(&varies(&first, 0)), "of one run: {}", varies(&first, 0));
        assert!(varies(&first, 3) > varies(&first, 0), "{first:?}");
        let same = |known, _| Some(Timing::learn(known, 2_000_000, false));
        timings.insert(known[0].0, (0..20).fold(None, same).unwrap());
        assert!(varies(&predict(&manifest(), &timings), 0) < 0.1, "that always took as long");
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
