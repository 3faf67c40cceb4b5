//! How long a slot whose workers do not start one after the other waits before it says so: who asks may ask again at once.
#![expect(clippy::disallowed_methods, reason = "a shell: workers of all slots count")]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seagull_domain::SlotIndex;

/// After the second failed start in a row; twice as long after each other one, up to the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Of each slot, how many starts in a row failed.
#[derive(Debug, Default)]
pub(super) struct FailedStarts(Mutex<HashMap<SlotIndex, u32>>);

impl FailedStarts {
    pub fn succeeded(&self, slot: SlotIndex) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
    }

    /// How long it waits now.
    pub fn failed(&self, slot: SlotIndex) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.entry(slot).or_default();
        let pause = before.checked_sub(1).map_or(Duration::ZERO, |more| FIRST * (1 << more.min(10)));
        *before = before.saturating_add(1);
        pause.min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_waits_longer_each_time_until_a_start_succeeds() {
        let starts = FailedStarts::default();
        let waits =
            |count| -> Vec<_> { (0..count).map(|_| starts.failed(SlotIndex(1)).as_millis()).collect() };
        assert_eq!(waits(9), [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(waits(100).last(), Some(&5000));
        assert_eq!(starts.failed(SlotIndex(2)), Duration::ZERO);
        starts.succeeded(SlotIndex(1));
        assert_eq!(waits(2), [0, 100]);
    }
}
