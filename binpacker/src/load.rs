//! What tests come to together, and what a bundle holds.

use crate::risk::Risk;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// The mean.
    pub micros: u64,
    /// In square microseconds.
    pub variance: u128,
    pub tests: u32,
}

impl Load {
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            micros: self.micros.saturating_add(other.micros),
            variance: self.variance.saturating_add(other.variance),
            tests: self.tests.saturating_add(other.tests),
        }
    }

    /// How much it varies for its length: what costs least among its like.
    pub fn variance_per_mean(&self) -> f64 {
        self.variance as f64 / (self.micros as f64).max(1.0)
    }

    /// Without a part that was added.
    #[must_use]
    pub fn minus(self, part: Self) -> Self {
        Self {
            micros: self.micros.saturating_sub(part.micros),
            variance: self.variance.saturating_sub(part.variance),
            tests: self.tests.saturating_sub(part.tests),
        }
    }

    /// With setups, which vary by no more than what all have in common.
    #[must_use]
    pub fn with_setup(self, micros: u64) -> Self {
        Self { micros: self.micros.saturating_add(micros), ..self }
    }
}

/// What a bundle, or a piece of one, holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// With everything.
    pub cap: u64,
    /// What is paid before any load.
    pub fixed: u64,
    pub max_tests: u32,
    pub risk: Risk,
}

impl Capacity {
    /// What is left under the cap with this load; `None` if it does not fit. The number of tests is not looked at.
    pub fn left(&self, load: &Load) -> Option<u64> {
        self.cap.checked_sub(self.risk.quantile(self.fixed.saturating_add(load.micros), load.variance))
    }

    pub fn takes(&self, load: &Load) -> bool {
        load.tests <= self.max_tests && self.left(load).is_some()
    }

    /// Room for means, at most.
    pub fn room(&self) -> u64 {
        self.cap.saturating_sub(self.fixed)
    }

    /// The same, where so much is paid before any load.
    #[must_use]
    pub fn after(&self, micros: u64) -> Self {
        Self { fixed: self.fixed.saturating_add(micros), ..*self }
    }

    /// Left in a bundle, this surely takes the load.
    pub fn surely(&self, load: &Load) -> u64 {
        self.risk.quantile(load.micros, load.variance)
    }

    /// Whether loads are numbers: nothing varies.
    pub fn is_scalar(&self, loads: impl IntoIterator<Item = Load>) -> bool {
        let certain = self.risk.common_permille == 0 && loads.into_iter().all(|load| load.variance == 0);
        self.risk.z_milli == 0 || certain
    }
}
