//! How few bundles hold all loads, if these could be divided at will.

use crate::load::{Capacity, Load};

/// The least number K with which M + z sqrt(V + (s M)^2) is at most K times the cap, for the sums M of means, with K times
/// the fixed cost, and V of variances: the norms of parts come to at least the norm of their sum.
pub fn together(capacity: &Capacity, all: &Load) -> u64 {
    if all.tests == 0 {
        return 0;
    }
    let fits = |bundles: u64| {
        let cap = capacity.cap.checked_mul(bundles);
        let mean = all.micros.saturating_add(capacity.fixed.saturating_mul(bundles));
        // Rounding up in the whole is at most what it is in one bundle.
        cap.is_none_or(|cap| capacity.risk.quantile(mean, all.variance) <= cap)
    };
    let (mut low, mut high) = (1, u64::from(all.tests));
    while low < high {
        let middle = low.midpoint(high);
        if fits(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::Risk;

    #[test]
    fn variance_and_common_factor_count() {
        let risk = Risk { z_milli: 2_000, common_permille: 0 };
        let capacity = Capacity { cap: 1_000, fixed: 0, max_tests: 99, risk };
        let all = Load { micros: 900, variance: 2_500, tests: 9 };
        assert_eq!(together(&capacity, &all), 1);
        assert_eq!(together(&capacity, &Load { variance: 2_501, ..all }), 2);
        let capacity = Capacity { risk: Risk { common_permille: 50, ..risk }, ..capacity };
        assert_eq!(together(&capacity, &Load { micros: 910, variance: 0, tests: 9 }), 2);
        assert_eq!(together(&capacity, &Load::default()), 0);
    }
}
