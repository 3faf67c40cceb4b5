//! Environments: a worker is of one, and for another its slot needs a new one with a new sandbox. So a slot stays with its
//! environment for as long as there is something of that, unless another has fewer slots than is its share.

use std::collections::BTreeMap;

use seagull_domain::EnvironmentNumber;

use crate::run::{Bundle, Run};

/// What a run has to give out of each environment, and how many slots have a worker of each.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    left_us: BTreeMap<EnvironmentNumber, u64>,
    workers: BTreeMap<EnvironmentNumber, u64>,
}

impl Shares {
    /// Nothing, where there is one environment only.
    pub fn of(run: &Run) -> Shares {
        let mut shares = Shares::default();
        if run.spec.suite.environments.is_empty() {
            return shares;
        }
        for bundle in run.pending.values() {
            *shares.left_us.entry(run.environment_of(bundle)).or_default() += bundle.predicted_us.max(1);
        }
        for worker in run.workers.values().flat_map(BTreeMap::values) {
            *shares.workers.entry(worker.environment).or_default() += 1;
        }
        shares
    }

    /// Whether one more slot is no more than the environment's share of what is left.
    pub fn is_due(&self, environment: EnvironmentNumber) -> bool {
        let of = |map: &BTreeMap<_, u64>| u128::from(map.get(&environment).copied().unwrap_or(0));
        let all = |map: &BTreeMap<_, u64>| map.values().map(|part| u128::from(*part)).sum::<u128>();
        (of(&self.workers) + 1) * all(&self.left_us) <= all(&self.workers) * of(&self.left_us)
    }

    /// A slot goes from one environment to another, for a bundle of that.
    pub fn moved(&mut self, from: Option<EnvironmentNumber>, to: EnvironmentNumber, bundle: &Bundle) {
        if let Some(left) = self.left_us.get_mut(&to) {
            *left = left.saturating_sub(bundle.predicted_us.max(1));
        }
        if let Some(before) = from.and_then(|from| self.workers.get_mut(&from)) {
            *before = before.saturating_sub(1);
        }
        *self.workers.entry(to).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(left: &[(u16, u64)], workers: &[(u16, u64)]) -> Shares {
        let map = |of: &[(u16, u64)]| of.iter().map(|(number, n)| (EnvironmentNumber(*number), *n)).collect();
        Shares { left_us: map(left), workers: map(workers) }
    }

    #[test]
    fn a_slot_is_taken_from_another_environment_only_for_a_share_of_the_work() {
        let due = |left: &[(u16, u64)], workers: &[(u16, u64)], of| {
            shares(left, workers).is_due(EnvironmentNumber(of))
        };
        assert!(due(&[(1, 10), (2, 10)], &[(1, 2)], 2), "half of the work, and no slot of two");
        assert!(!due(&[(1, 10), (2, 10)], &[(1, 1), (2, 1)], 2));
        assert!(
            !due(&[(1, 10), (2, 10)], &[(1, 1)], 2),
            "the one slot there is does the one, then the other"
        );
        assert!(due(&[(2, 10)], &[(1, 1)], 2), "nothing else is left");
        assert!(due(&[(1, 10), (2, 90)], &[(1, 5), (2, 5)], 2));
    }
}
