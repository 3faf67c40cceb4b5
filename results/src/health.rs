//! What is to be known of a project's history before it hurts: whether there is enough of it, whether it is of today, and
//! whether it comes true. Pure.

use crate::calibration::{Calibration, WITHIN};
use crate::predict::Prediction;

/// Fewer tests or bundles show nothing.
const ENOUGH: u32 = 20;
/// Where more of the tests than this are priced by others, or more of the durations are old or alike, plans are guesses.
const MOST_UNKNOWN: f64 = 0.2;
const MOST_STALE: f64 = 0.5;
const MOST_ALIKE: f64 = 0.5;
/// A test that no run had for so long is stale.
pub const STALE_DAYS: u64 = 30;
/// Where all together took so many times what was predicted, or less than one over that, something has changed.
const MOST_OFF: f64 = 1.5;

/// What a project's history says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Health {
    /// Tests whose durations are known.
    pub known: u32,
    /// Those of them that no run had for long.
    pub stale: u32,
    /// Those that are said to take just as long as each other: the most there are.
    pub alike: u32,
    /// Of the last runs.
    pub calibration: Calibration,
}

impl Health {
    /// What there is to warn of, a sentence each, for plans that are made of a prediction.
    pub fn warnings(&self, prediction: &Prediction) -> Vec<String> {
        let (tests, unknown) = (prediction.micros.len(), prediction.micros.len() - prediction.known);
        // Without any history there is nothing that could be wrong with it.
        let guessed =
            !prediction.no_history && unknown as u32 >= ENOUGH && share(unknown, tests) > MOST_UNKNOWN;
        let most = |part: u32, most| part >= ENOUGH && share(part as usize, self.known as usize) > most;
        let of = [
            guessed.then(|| {
                format!("{unknown} of {tests} tests have no history of their own: they are priced by others")
            }),
            most(self.stale, MOST_STALE).then(|| {
                format!("no run had {} of {} known tests for {STALE_DAYS} days", self.stale, self.known)
            }),
            most(self.alike, MOST_ALIKE).then(|| {
                format!(
                    "{} of {} known tests are said to take just as long: is that measured?",
                    self.alike, self.known
                )
            }),
            self.calibration.warning(),
        ];
        of.into_iter().flatten().collect()
    }
}

impl Calibration {
    /// What is to be said of predictions that do not come true.
    pub fn warning(&self) -> Option<String> {
        if self.bundles < ENOUGH {
            return None;
        }
        let Calibration { bundles, within, .. } = self;
        let ratio = self.ratio().unwrap_or(1.0);
        if !(1.0 / MOST_OFF..=MOST_OFF).contains(&ratio) {
            return Some(format!(
                "the last {bundles} bundles took {ratio:.1} times what was predicted of them"
            ));
        }
        // Two deviations below what is promised.
        let least = WITHIN - 2.0 * (WITHIN * (1.0 - WITHIN) / f64::from(*bundles)).sqrt();
        let is_off = share(*within as usize, *bundles as usize) < least;
        is_off
            .then(|| format!("{within} of the last {bundles} bundles took no longer than nine in ten should"))
    }
}

fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(tests: usize, known: usize) -> Prediction {
        let of_none = crate::predict(&seagull_domain::Manifest::default(), &crate::Timings::new());
        Prediction {
            micros: vec![1; tests],
            sd_micros: vec![0; tests],
            robust_micros: vec![None; tests],
            known,
            no_history: known == 0,
            ..of_none
        }
    }

    #[test]
    fn a_history_is_warned_of_before_it_hurts() {
        let calibration = |within, ratio| Calibration {
            bundles: 100,
            within,
            predicted: 100.0,
            took: 100.0 * ratio,
            ..Calibration::default()
        };
        let good = Health { known: 100, stale: 50, alike: 50, calibration: calibration(85, 1.5) };
        let table = [
            (good, prediction(100, 80), ""),
            (good, prediction(100, 0), ""),
            (Health::default(), prediction(0, 0), ""),
            (good, prediction(100, 79), "21 of 100 tests have no history"),
            (good, prediction(20, 1), ""),
            (Health { stale: 51, ..good }, prediction(100, 100), "no run had 51 of 100"),
            (
                Health { alike: 51, ..good },
                prediction(100, 100),
                "51 of 100 known tests are said to take just as long",
            ),
            (Health { known: 19, stale: 19, alike: 19, ..good }, prediction(19, 19), ""),
            (
                Health { calibration: calibration(83, 1.0), ..good },
                prediction(100, 100),
                "83 of the last 100 bundles",
            ),
            (
                Health { calibration: calibration(100, 1.6), ..good },
                prediction(100, 100),
                "bundles took 1.6 times",
            ),
            (
                Health { calibration: calibration(100, 0.6), ..good },
                prediction(100, 100),
                "bundles took 0.6 times",
            ),
            (
                Health { calibration: Calibration { bundles: 19, ..calibration(0, 9.0) }, ..good },
                prediction(100, 100),
                "",
            ),
        ];
        for (health, prediction, expected) in table {
            let warnings = health.warnings(&prediction);
            assert_eq!(warnings.len(), usize::from(!expected.is_empty()), "{warnings:?}, not {expected:?}");
            assert!(warnings.iter().all(|warning| warning.contains(expected)), "{warnings:?}");
        }
    }
}
