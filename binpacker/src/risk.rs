//! How likely a bundle may exceed the cap, in whole numbers: `mean + z * sqrt(variance + (s * mean)^2)` is at most the cap.
//!
//! The normal quantile z of the sum, never the sum of quantiles, which would only be right if all tests were slow
//! together. What they do have in common, such as a slow machine, is the factor s, which does not average out (Cohen et al.
//! 2019; Shylo et al. 2013 for the form of the constraint).

/// The greatest quantile and factor that make sense.
const MOST_Z_MILLI: u32 = 6_000;
const MOST_COMMON_PERMILLE: u32 = 1_000;
/// Under the root everything is in thousandths.
const SCALE: u128 = 1_000;

/// The default is that of exact durations: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Risk {
    /// The normal quantile that a bundle must keep, in thousandths.
    pub z_milli: u32,
    /// The standard deviation of what all durations of a bundle have in common, in thousandths of their sum.
    pub common_permille: u32,
}

impl Risk {
    /// A bundle exceeds the cap with a probability of at most `overrun`; `common` is the standard deviation of the factor
    /// that all durations of a bundle have in common.
    pub fn of(overrun: f64, common: f64) -> Self {
        let common = (common.max(0.0) * 1000.0).ceil().min(f64::from(MOST_COMMON_PERMILLE));
        let most = f64::from(MOST_Z_MILLI);
        let (mut low, mut high) = (0, MOST_Z_MILLI);
        // The least quantile that is enough; NaN asks for nothing.
        while low < high {
            let middle = low.midpoint(high);
            if above(f64::from(middle) / 1000.0) <= overrun || overrun.is_nan() {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        debug_assert!(f64::from(low) <= most);
        Self { z_milli: low, common_permille: common as u32 }
    }

    /// What must fit under the cap for a bundle of this mean and variance, in microseconds, rounded up; the greatest number
    /// where it is beyond counting. Monotone in both, and no more for a sum than for its parts together.
    pub(crate) fn quantile(self, mean: u64, variance: u128) -> u64 {
        if self.z_milli == 0 || (variance == 0 && self.common_permille == 0) {
            return mean;
        }
        let common = u128::from(mean) * u128::from(self.common_permille);
        let square = || variance.checked_mul(SCALE * SCALE)?.checked_add(common.checked_mul(common)?);
        let Some(square) = square() else { return u64::MAX };
        let root = square.isqrt();
        let root = if root * root < square { root + 1 } else { root };
        let margin = (root * u128::from(self.z_milli)).div_ceil(SCALE * SCALE);
        u64::try_from(margin).map_or(u64::MAX, |margin| mean.saturating_add(margin))
    }

    /// The standard deviation of a bundle of this mean and variance.
    pub(crate) fn deviation(self, mean: u64, variance: u128) -> f64 {
        let common = mean as f64 * f64::from(self.common_permille) / 1000.0;
        (variance as f64 + common * common).sqrt()
    }

    /// How likely a bundle of this mean and variance exceeds the cap, in millionths.
    pub(crate) fn overrun_ppm(self, mean: u64, variance: u128, cap: u64) -> u32 {
        let deviation = self.deviation(mean, variance);
        let over = mean as f64 - cap as f64;
        let probability = match over {
            _ if deviation > 0.0 => above(-over / deviation),
            over if over > 0.0 => 1.0,
            _ => 0.0,
        };
        (probability * 1e6).round() as u32
    }
}

/// How likely a standard normal variable is above `z` (Abramowitz and Stegun 26.2.17, within 7.5e-8).
pub fn above(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - above(-z);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let polynomial = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    polynomial * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let z = |overrun| Risk::of(overrun, 0.0).z_milli;
        assert_eq!([z(0.5), z(0.1), z(0.01), z(0.0)], [0, 1_282, 2_327, 6_000]);
        assert_eq!((z(0.9), z(f64::NAN), z(-1.0)), (0, 0, 6_000));
        assert_eq!(Risk::of(0.1, 0.1).common_permille, 100);
        assert_eq!(Risk::of(0.1, f64::NAN).common_permille, 0);
    }

    #[test]
    fn a_bundle_needs_its_mean_and_the_root_of_the_sum_of_squares() {
        let risk = Risk { z_milli: 2_000, common_permille: 0 };
        assert_eq!(risk.quantile(1_000, 0), 1_000);
        assert_eq!(risk.quantile(1_000, 9 + 16), 1_010);
        assert_eq!(Risk { common_permille: 30, ..risk }.quantile(1_000, 1_600), 1_100);
        assert_eq!(risk.quantile(u64::MAX - 1, 1 << 70), u64::MAX);
        assert_eq!(Risk { common_permille: 1, ..risk }.quantile(u64::MAX, 0), u64::MAX);
        assert_eq!(Risk::default().quantile(7, 1 << 90), 7, "whoever asks for nothing pays nothing");
    }

    #[test]
    fn a_bundle_at_its_quantile_exceeds_the_cap_as_often_as_said() {
        let risk = Risk::of(0.1, 0.1);
        let cap = risk.quantile(500_000_000, 1 << 50);
        let ppm = risk.overrun_ppm(500_000_000, 1 << 50, cap);
        assert!((99_000..=100_000).contains(&ppm), "{ppm}");
        assert_eq!(Risk::default().overrun_ppm(5, 0, 5), 0);
        assert_eq!(Risk::default().overrun_ppm(6, 0, 5), 1_000_000);
    }
}
