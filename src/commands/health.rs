//! What the history of a suite says of itself, for people and programs.

use seagull_results::{Health, Prediction};
use serde::Serialize;

use crate::report::{count, number};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Those that were discovered, and those of them that are predicted by their own history.
    tests: usize,
    known: usize,
    /// Of all tests that the history knows, those that no run had for long, and those said to take just as long as each other.
    stale: u32,
    alike: u32,
    /// Of the last runs, and those of them that took no longer than nine in ten should.
    bundles: u32,
    within: u32,
    /// What they took over what was predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    /// The deviation of what all durations of a bundle have in common, as a share of them.
    common: f64,
    pub warnings: Vec<String>,
}

impl Report {
    pub fn of(health: &Health, prediction: &Prediction) -> Self {
        let Health { stale, alike, calibration, .. } = *health;
        Self {
            tests: prediction.micros.len(),
            known: prediction.known,
            stale,
            alike,
            bundles: calibration.bundles,
            within: calibration.within,
            ratio: calibration.ratio(),
            common: prediction.common,
            warnings: health.warnings(prediction),
        }
    }

    pub fn line(&self) -> String {
        let Self { tests, known, bundles, within, .. } = self;
        let known = format!("{known} of {} have one", count(number(*tests), "test"));
        match self.ratio {
            Some(ratio) => format!(
                "{known}; the last {} took {ratio:.2} times what was predicted, {within} of them no longer than nine in \
                 ten should",
                count(*bundles, "bundle")
            ),
            None => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use seagull_results::{Calibration, Timings, predict};

    use super::*;

    #[test]
    fn a_history_is_told_in_a_line() {
        let calibration =
            Calibration { bundles: 40, within: 37, predicted: 100.0, took: 104.0, ..Calibration::default() };
        let prediction = predict(&Default::default(), &Timings::new());
        let none = Report::of(&Health::default(), &prediction);
        assert_eq!(none.line(), "0 of 0 tests have one");
        let some = Report::of(&Health { calibration, ..Health::default() }, &prediction);
        assert_eq!(
            some.line(),
            "0 of 0 tests have one; the last 40 bundles took 1.04 times what was predicted, 37 of them no longer than \
             nine in ten should"
        );
    }
}
