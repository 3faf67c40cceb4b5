//! How much may be tried. There is no clock: steps are counted, and whoever has one is asked whether to stop.

use std::time::Duration;

/// Steps that a plan may take unless said otherwise: about a second.
pub const STEPS: u64 = 30_000_000;
/// Steps for whoever waits so long: no more than that takes, and no fewer than these.
pub fn steps_within(limit: Option<Duration>, least: u64) -> u64 {
    let steps = limit.unwrap_or_default().as_millis() * u128::from(STEPS) / 1_000;
    u64::try_from(steps).unwrap_or(u64::MAX).max(least)
}

/// So often it is asked whether to stop.
const ASK: u64 = 4_096;

/// What looks for a plan. Each begins with the best fit of blocks, and ends when a bound proves the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// The greedy stages.
    Greedy,
    /// The solver, at once.
    Ilp,
    /// The greedy stages, and the solver with half the steps where they leave a gap.
    #[default]
    Auto,
}

/// With the same seed and steps, the same problem has the same plan, on any number of threads.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    pub algorithm: Algorithm,
    pub seed: u64,
    pub steps: u64,
    /// Whether to stop now with what there is. Then the plan is not repeatable.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// How long it may still take, where that is limited: what cannot ask whether it is cancelled is told of it.
    pub time_left: &'a (dyn Fn() -> Option<Duration> + Sync),
}

impl Default for Budget<'_> {
    fn default() -> Self {
        Self { algorithm: Algorithm::Auto, seed: 0, steps: STEPS, cancelled: &|| false, time_left: &|| None }
    }
}

impl<'a> Budget<'a> {
    /// Steps for one part of the work: so many of so many shares.
    pub(crate) fn share(&self, part: u64, whole: u64) -> Steps<'a> {
        let steps = u128::from(self.steps) * u128::from(part) / u128::from(whole.max(1));
        let left = u64::try_from(steps).unwrap_or(u64::MAX);
        Steps { time_left: self.time_left, ..Steps::new(left, self.cancelled) }
    }
}

/// What is left of the steps of one part of the work.
pub(crate) struct Steps<'a> {
    left: u64,
    until_asked: u64,
    cancelled: &'a (dyn Fn() -> bool + Sync),
    time_left: &'a (dyn Fn() -> Option<Duration> + Sync),
    pub was_cancelled: bool,
}

impl<'a> Steps<'a> {
    pub fn new(left: u64, cancelled: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { left, until_asked: 0, cancelled, time_left: &|| None, was_cancelled: false }
    }

    /// Takes steps; false when there are none any more, or it was cancelled.
    pub fn take(&mut self, steps: u64) -> bool {
        if self.until_asked < steps {
            self.until_asked = ASK;
            self.ask();
        }
        self.until_asked = self.until_asked.saturating_sub(steps);
        let enough = self.left >= steps;
        self.left = self.left.saturating_sub(steps);
        enough && !self.was_cancelled
    }

    /// Asks whether to stop.
    pub fn ask(&mut self) {
        self.was_cancelled |= (self.cancelled)();
    }

    pub fn seconds_left(&self) -> Option<f64> {
        (self.time_left)().map(|left| left.as_secs_f64())
    }

    pub fn left(&self) -> u64 {
        self.left
    }

    /// Half of what is left, which is taken from it.
    pub fn fork(&mut self) -> Steps<'a> {
        let half = self.left / 2;
        self.left -= half;
        Steps { left: half, ..self.split(1) }
    }

    /// What another has left, and whether it was cancelled.
    pub fn join(&mut self, other: Steps<'a>) {
        self.left += other.left;
        self.was_cancelled |= other.was_cancelled;
    }

    /// An equal share of what is left, for one of so many parts.
    pub fn split(&self, parts: u64) -> Steps<'a> {
        Steps { time_left: self.time_left, ..Steps::new(self.left / parts.max(1), self.cancelled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_longer_has_more_steps() {
        assert_eq!(steps_within(None, 5), 5);
        assert_eq!(steps_within(Some(Duration::from_millis(1_500)), STEPS), STEPS * 3 / 2);
        assert_eq!(steps_within(Some(Duration::from_millis(100)), STEPS), STEPS);
        assert_eq!(steps_within(Some(Duration::MAX), STEPS), u64::MAX);
    }

    #[test]
    fn steps_end_and_a_token_is_asked() {
        let mut steps = Budget { steps: 10, ..Budget::default() }.share(1, 2);
        assert!(steps.take(3) && steps.take(2) && !steps.take(1) && !steps.was_cancelled);
        let cancelled = || true;
        let mut steps = Budget { cancelled: &cancelled, ..Budget::default() }.share(1, 1);
        assert!(!steps.take(1) && steps.was_cancelled);
    }
}
