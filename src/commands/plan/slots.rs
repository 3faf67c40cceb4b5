//! What numbers of slots would take and cost, and where more do not pay.

use seagull_binpacker::Plan;
use serde::Serialize;

/// Beyond the knee, slots save less than this share of what they would if all were shared evenly.
const WORTH: f64 = 0.5;

/// A plan for so many slots, each of which takes the next bundle when it is free.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slots {
    pub slots: u32,
    pub bundles: usize,
    pub cap_seconds: f64,
    pub makespan_seconds: f64,
    /// All slots from the first start to the last end.
    pub slot_seconds: f64,
    /// The share of these that runs no test: starts, setups, and slots that wait for the last.
    pub overhead: f64,
}

impl Slots {
    pub fn of(slots: u32, plan: &Plan) -> Self {
        let makespan_seconds = plan.makespan_micros(slots) as f64 / 1e6;
        let slot_seconds = makespan_seconds * f64::from(slots);
        let tests: f64 = plan.bundles.iter().map(|bundle| bundle.micros as f64 / 1e6).sum();
        let overhead = if slot_seconds > 0.0 { 1.0 - tests / slot_seconds } else { 0.0 };
        let (bundles, cap_seconds) = (plan.bundles.len(), plan.cap_micros as f64 / 1e6);
        Self { slots, bundles, cap_seconds, makespan_seconds, slot_seconds, overhead: overhead.max(0.0) }
    }
}

/// The number of slots after which more do not pay: the next ones save less than half the time that as many would save if
/// the work were shared evenly. None if all of these pay.
pub fn knee(table: &[Slots]) -> Option<u32> {
    let mut by_number: Vec<&Slots> = table.iter().collect();
    by_number.sort_by_key(|slots| slots.slots);
    by_number.dedup_by_key(|slots| slots.slots);
    let pays = |pair: &&[&Slots]| {
        let (few, many) = (pair[0], pair[1]);
        let saved = few.makespan_seconds - many.makespan_seconds;
        let even = few.makespan_seconds * (1.0 - f64::from(few.slots) / f64::from(many.slots));
        saved > WORTH * even
    };
    let worth = by_number.windows(2).take_while(pays).count();
    by_number.get(worth).filter(|_| worth + 1 < by_number.len()).map(|slots| slots.slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_is_where_more_slots_save_little() {
        let of = |slots, makespan_seconds| Slots {
            slots,
            bundles: 9,
            cap_seconds: 1.0,
            makespan_seconds,
            slot_seconds: 0.0,
            overhead: 0.0,
        };
        assert_eq!(knee(&[of(32, 24.0), of(8, 80.0), of(16, 41.0), of(64, 23.0)]), Some(32));
        assert_eq!(knee(&[of(1, 9.0), of(2, 9.0)]), Some(1));
        assert_eq!(knee(&[of(1, 8.0), of(2, 4.0)]), None);
        assert_eq!(knee(&[]), None);
    }
}
