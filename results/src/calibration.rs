//! How what was predicted of bundles compares with what they took, and what their tests have in common by that. Pure.

use crate::timing::Timing;

/// The standard deviation of what the durations of a bundle have in common, such as a slow machine, as a share of them: what
/// is assumed of so many bundles that nobody saw.
const COMMON: f64 = 0.1;
const ASSUMED: f64 = 20.0;
const MOST_COMMON: f64 = 0.5;
/// A bundle counts as if it took at most so many times what was predicted: a laptop that slept says nothing.
const MOST_TIMES: f64 = 2.0;
/// Shorter ones, in seconds, say nothing of those that may reach a cap.
const LEAST: f64 = 1.0;
/// The normal quantile that nine in ten are within.
const Z: f64 = 1.282;
pub(crate) const WITHIN: f64 = 0.9;
/// With fewer runs a test's own duration is not known well enough to tell it from what it has in common.
const SETTLED: u32 = 3;

/// What bundles came to, as they were executed, of tests whose durations were known. The sums of several are those of all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Calibration {
    pub bundles: u32,
    /// Those that took no longer than nine in ten should.
    pub within: u32,
    /// Seconds.
    pub predicted: f64,
    pub took: f64,
    /// Of the squared distances from the means, less the variances of their tests.
    pub excess: f64,
    /// Of the squared means.
    pub squares: f64,
}

impl Calibration {
    /// Adds a bundle: what was known of each of its tests, and the microseconds that it took.
    pub(crate) fn add(&mut self, tests: impl Iterator<Item = (Timing, u64)>, common: f64) {
        let (mut mean, mut variance, mut took) = (0.0, 0.0, 0.0);
        for (timing, micros) in tests.filter(|(timing, _)| timing.runs >= SETTLED) {
            let duration = timing.duration();
            mean += duration.mean_micros() as f64 / 1e6;
            variance += (duration.sd_micros() as f64 / 1e6).powi(2);
            took += micros as f64 / 1e6;
        }
        if mean < LEAST {
            return;
        }
        let took = took.min(mean * MOST_TIMES);
        self.bundles += 1;
        self.within += u32::from(took <= mean + Z * (variance + (common * mean).powi(2)).sqrt());
        self.predicted += mean;
        self.took += took;
        self.excess += (took - mean).powi(2) - variance;
        self.squares += mean * mean;
    }

    /// What tests of a bundle have in common: by these, and by what is assumed as long as they are few.
    pub fn common(&self) -> f64 {
        if self.squares <= 0.0 {
            return COMMON;
        }
        let (seen, bundles) = ((self.excess / self.squares).max(0.0), f64::from(self.bundles));
        ((seen * bundles + COMMON * COMMON * ASSUMED) / (bundles + ASSUMED)).sqrt().min(MOST_COMMON)
    }

    /// What all took over what was predicted; None where there is nothing to say it by.
    pub fn ratio(&self) -> Option<f64> {
        (self.predicted > 0.0).then(|| self.took / self.predicted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of ten tests that took a second each time, and take so many microseconds more.
    fn bundle(calibration: &mut Calibration, more: u64) {
        let timing = (0..30).fold(None, |known, _| Some(Timing::learn(known, 1_000_000, false))).unwrap();
        let common = calibration.common();
        calibration.add((0..10).map(|_| (timing, 1_000_000 + more)), common);
    }

    #[test]
    fn what_bundles_have_in_common_is_learned_from_many() {
        let mut calibration = Calibration::default();
        assert_eq!((calibration.common(), calibration.ratio()), (COMMON, None));
        bundle(&mut calibration, 300_000);
        assert!((COMMON..0.13).contains(&calibration.common()), "one says little: {calibration:?}");
        for _ in 0..200 {
            bundle(&mut calibration, 300_000);
        }
        assert!((0.27..0.31).contains(&calibration.common()), "{}", calibration.common());
        assert!((1.29..1.31).contains(&calibration.ratio().unwrap()));
        assert!(calibration.within > 150 && calibration.within < calibration.bundles, "{calibration:?}");
        let mut exact = Calibration::default();
        (0..200).for_each(|_| bundle(&mut exact, 0));
        assert!(exact.common() < 0.04 && exact.within == 200, "{exact:?}");
    }

    #[test]
    fn what_is_short_or_hardly_known_says_nothing_and_nonsense_little() {
        let mut calibration = Calibration::default();
        let new = Timing::learn(None, 60_000_000, false);
        let short = (0..9).fold(None, |known, _| Some(Timing::learn(known, 10, false))).unwrap();
        calibration.add([(new, 1), (short, 900_000_000)].into_iter(), COMMON);
        assert_eq!(calibration, Calibration::default());
        bundle(&mut calibration, u64::MAX / 2);
        assert!(calibration.common() <= MOST_COMMON && calibration.ratio() == Some(MOST_TIMES));
    }
}
