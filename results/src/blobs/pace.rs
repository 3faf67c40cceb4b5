//! How fast objects go up: after an outage there are many, and a store has others to serve. Pure.

use std::time::Duration;

/// Objects that begin to go up in a second, and bytes of them, at most.
const OBJECTS: u32 = 200;
const BYTES: u64 = 64 << 20;

/// What objects pass, one after the other, before they go up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Gate {
    /// When it opens for the next, as `now` is counted.
    opens: Duration,
}

impl Gate {
    /// How long an object of so many bytes has to wait now. Behind it the gate is closed for as long as such an object takes.
    pub fn pass(&mut self, now: Duration, bytes: u64) -> Duration {
        let begins = self.opens.max(now);
        let takes = Duration::from_secs_f64(bytes as f64 / BYTES as f64);
        self.opens = begins + takes.max(Duration::from_secs(1) / OBJECTS);
        begins - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn in_no_second_begin_more_than_may_and_all_in_order() {
        let size = |n: u64| [1, 100_000, 1 << 20, 8 << 20][n as usize % 4] * (n % 3);
        let mut gate = Gate::default();
        let now = SECOND * 7;
        let objects: Vec<_> = (0..3000).map(size).map(|bytes| (now + gate.pass(now, bytes), bytes)).collect();
        assert!(objects.is_sorted_by_key(|(begins, _)| *begins) && objects[0].0 == now);
        for (at, _) in &objects {
            let within = objects.iter().filter(|(begins, _)| (*at..*at + SECOND).contains(begins));
            let bytes: Vec<u64> = within.map(|(_, bytes)| *bytes).collect();
            // The last of them takes longer than is left of the second.
            let (_, others) = bytes.split_last().unwrap();
            assert!(bytes.len() <= OBJECTS as usize + 1 && others.iter().sum::<u64>() <= BYTES, "{bytes:?}");
        }
    }

    #[test]
    fn what_comes_now_and_then_does_not_wait() {
        let mut gate = Gate::default();
        assert_eq!(gate.pass(Duration::ZERO, BYTES), Duration::ZERO);
        assert_eq!(gate.pass(SECOND / 4, 1), SECOND * 3 / 4);
        assert_eq!(gate.pass(SECOND * 9, u64::MAX), Duration::ZERO);
    }
}
