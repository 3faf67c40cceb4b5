//! What earlier runs say of a test's duration, and how it learns. Pure.
//!
//! A duration is kept as the location and the spread of its logarithm: single outliers move the location little, while
//! the spread carries them into the mean.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::calibration::Calibration;
use crate::setups::Setups;

/// The weight of the newest run.
const WEIGHT: f32 = 0.2;
/// A run counts as if it were at most this far from the location...
pub(crate) const CLIP: f32 = 0.4;
/// ...unless this many before it were over it to the same side: then the duration has changed.
const CLIPS: i8 = 2;
const CHANGED_WEIGHT: f32 = 0.5;
/// While a test has fewer runs than this, each counts the same and none is clipped: the first ones are often cold.
pub(crate) const SETTLED_RUNS: u32 = 3;
/// The spread (variance of the logarithm) that a test of one run is assumed to have.
const FIRST_SPREAD: f32 = 0.1;
/// One run adds no more than this squared residual to the spread.
const MOST_SQUARED: f32 = 4.0;

/// What is known of a test's duration, in logarithms of microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// A robust mean.
    pub location: f32,
    /// The variance around it.
    pub spread: f32,
    /// 0 where it never did but fail: then the location is a lower bound, and all that is known.
    pub runs: u32,
    /// How many runs in a row were clipped: above the location if positive, below it if negative.
    pub clips: i8,
}

impl Timing {
    /// What is known after a run of so many microseconds. A failure may have ended early (or at a limit), so that its
    /// duration is a lower bound: it never lowers the location.
    pub fn learn(known: Option<Timing>, micros: u64, failed: bool) -> Timing {
        let log = (micros.max(1) as f64).ln() as f32;
        let first = Timing { location: log, spread: FIRST_SPREAD, runs: u32::from(!failed), clips: 0 };
        let Some(known) = known else { return first };
        let residual = log - known.location;
        if failed && residual < 0.0 {
            return known;
        }
        if known.runs == 0 {
            return first;
        }
        let side = if residual.abs() > CLIP { residual.signum() as i8 } else { 0 };
        let clips = if side == known.clips.signum() { known.clips.saturating_add(side) } else { side };
        let weight = WEIGHT.max(1.0 / (known.runs.saturating_add(1)) as f32);
        let step = if known.runs < SETTLED_RUNS {
            weight * residual
        } else if clips.abs() > CLIPS {
            CHANGED_WEIGHT * residual
        } else {
            weight * residual.clamp(-CLIP, CLIP)
        };
        Timing {
            location: known.location + step,
            spread: known.spread + weight * ((residual * residual).min(MOST_SQUARED) - known.spread),
            runs: known.runs.saturating_add(1),
            clips,
        }
    }

    pub(crate) fn duration(&self) -> LogNormal {
        LogNormal { location: f64::from(self.location), variance: f64::from(self.spread) }
    }

    /// Microseconds that half of the runs stay below.
    pub fn robust_micros(&self) -> u64 {
        micros(f64::from(self.location))
    }
}

/// A duration whose logarithm is normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LogNormal {
    /// Where the logarithm is expected, and its variance.
    pub location: f64,
    pub variance: f64,
}

impl LogNormal {
    /// The logarithm of the mean.
    pub fn log_mean(self) -> f64 {
        self.location + self.variance / 2.0
    }

    /// Mean microseconds.
    pub fn mean_micros(self) -> u64 {
        micros(self.log_mean())
    }

    /// The standard deviation in microseconds, but no more than the mean: whoever adds deviations takes the sum for normal,
    /// and the 90 % quantile of a log-normal duration is never above 2.27 times its mean (exp(z^2 / 2)), which is what a
    /// normal one has with a deviation of its mean.
    pub fn sd_micros(self) -> u64 {
        (self.mean_micros() as f64 * self.variance.exp_m1().sqrt().min(1.0)) as u64
    }
}

/// Microseconds of a logarithm: at least one, at most about a month.
fn micros(log: f64) -> u64 {
    log.exp().clamp(1.0, 3e12) as u64
}

/// Timings of a project by test id. Ids are kept as keyed hashes: a quarter of a million of them in a few megabytes, and
/// nobody can choose two that collide.
#[derive(Debug, Clone, Default)]
pub struct Timings {
    key: RandomState,
    by_id: HashMap<u64, Timing>,
    /// How predictions came true so far.
    pub calibration: Calibration,
    /// What scopes take to set up, which is no part of their tests' durations.
    pub setups: Setups,
}

impl Timings {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn of_lineage(calibration: Calibration, setups: Setups) -> Self {
        Self { calibration, setups, ..Self::default() }
    }

    pub fn insert(&mut self, id: &str, timing: Timing) {
        self.by_id.insert(self.key.hash_one(id), timing);
    }

    pub fn get(&self, id: &str) -> Option<Timing> {
        self.by_id.get(&self.key.hash_one(id)).copied()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(runs: &[u64]) -> Timing {
        runs.iter().fold(None, |known, &micros| Some(Timing::learn(known, micros, false))).unwrap()
    }

    #[test]
    fn a_settled_location_is_not_thrown_by_one_outlier_but_the_mean_tells_of_it() {
        let settled = after(&[1000; 10]);
        let thrown = Timing::learn(Some(settled), 1_000_000_000, false);
        assert!(thrown.robust_micros() < 1100, "{thrown:?}");
        assert!(thrown.duration().mean_micros() > settled.duration().mean_micros() * 14 / 10, "{thrown:?}");
        assert_eq!(Timing::learn(Some(thrown), 1000, false).clips, 0);
    }

    #[test]
    fn a_lasting_change_is_followed() {
        let mut runs = vec![1000; 10];
        runs.extend([100_000; 8]);
        assert!(after(&runs).robust_micros() > 70_000, "{:?}", after(&runs));
        runs.extend([1000; 8]);
        assert!(after(&runs).robust_micros() < 1500, "{:?}", after(&runs));
    }

    #[test]
    fn a_cold_first_run_is_soon_forgotten() {
        assert!(after(&[50_000, 1000, 1000, 1000]).robust_micros() < 4000);
    }

    #[test]
    fn a_failure_may_only_raise() {
        let known = after(&[1_000_000; 5]);
        assert_eq!(Timing::learn(Some(known), 10, true), known);
        assert!(Timing::learn(Some(known), 60_000_000, true).location > known.location);
    }

    #[test]
    fn failures_alone_are_a_bound_until_a_run_says_what_it_takes() {
        let bound = [500, 90_000, 70].iter().fold(None, |known, &of| Some(Timing::learn(known, of, true)));
        assert_eq!(bound.map(|bound| (bound.runs, bound.robust_micros())), Some((0, 90_000)));
        assert_eq!(Timing::learn(bound, 1000, false), after(&[1000]));
    }

    #[test]
    fn deviations_are_those_of_log_normal_durations_up_to_the_mean() {
        let of = |variance| LogNormal { location: 14.0, variance };
        assert_eq!((of(0.0).mean_micros(), of(0.0).sd_micros()), (1_202_604, 0));
        // A mean of exp(14.045), and sqrt(exp(0.09) - 1) of that.
        assert!((386_000..386_100).contains(&of(0.09).sd_micros()), "{}", of(0.09).sd_micros());
        assert_eq!(of(4.0).sd_micros(), of(4.0).mean_micros());
    }

    #[test]
    fn nonsense_stays_in_bounds() {
        let mut known = None;
        for micros in [0, u64::MAX, 0, u64::MAX, u64::MAX, u64::MAX, 1] {
            known = Some(Timing::learn(known, micros, false));
        }
        let known = known.unwrap();
        assert!(known.location.is_finite() && (0.0..=MOST_SQUARED).contains(&known.spread), "{known:?}");
        assert!((1..=3_000_000_000_000).contains(&known.duration().mean_micros()));
        assert_eq!((micros(f64::NEG_INFINITY), micros(f64::INFINITY)), (1, 3_000_000_000_000));
    }
}
