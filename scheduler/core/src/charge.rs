//! What it costs that an attempt came to nothing or was lost: a run, a test and a discovery each have a budget of losses.

use seagull_domain::{AttemptId, InfraCause, TestIndex};

use crate::run::Run;

impl Run {
    /// Nothing of what is left could run: the run pays, and these tests; see [`crate::split`].
    pub(crate) fn charge(
        &mut self,
        attempt: AttemptId,
        cause: InfraCause,
        message: &str,
        tests: &[TestIndex],
    ) {
        let state = &self.attempts[&attempt];
        if state.bundle.is_none() {
            if cause == InfraCause::EnvironmentDiffers {
                self.doubt(attempt, message);
            }
            return self.charge_discovery(cause, message);
        }
        self.in_vain += u32::from(!state.started);
        self.charge_run(cause);
        for test in tests {
            self.charge_test(*test, cause);
        }
    }

    pub(crate) fn charge_run(&mut self, cause: InfraCause) {
        self.losses += 1;
        self.lost_to = Some(cause);
    }

    /// The framework cannot discover the suite there, which need not be so elsewhere.
    fn doubt(&mut self, attempt: AttemptId, message: &str) {
        let executor = self.attempts[&attempt].executor.clone();
        self.doubted.insert(executor, message.to_owned());
    }

    pub(crate) fn charge_discovery(&mut self, cause: InfraCause, message: &str) {
        self.discovery_losses += 1;
        let separator = if message.is_empty() { "" } else { ": " };
        self.discovery_lost_to = format!("{cause}{separator}{message}");
    }

    /// The test that pays for a lost attempt, and the one that is a suspect by it, if the attempt was its slot's current one
    /// and its executor had it: the first that it owed, for which whatever ran before it ran; and the same if nothing ran
    /// before it.
    pub(crate) fn blamed(
        &self,
        attempt: AttemptId,
        cause: InfraCause,
        is_current: bool,
        had: bool,
    ) -> (Option<TestIndex>, Option<TestIndex>) {
        let in_flight = is_current && had;
        let (owed, first) = if in_flight { self.attempts[&attempt].in_flight() } else { (None, None) };
        let pays = |test: &TestIndex| cause.is_charged() && self.pays(*test);
        (owed.filter(pays), first.filter(|_| cause == InfraCause::ExecutorLost))
    }

    pub(crate) fn charge_test(&mut self, test: TestIndex, cause: InfraCause) {
        if self.pays(test) {
            let test = self.test_mut(test);
            test.losses += 1;
            test.lost_to = Some(cause);
        }
    }

    /// Where another attempt runs the test too, nothing of it is lost.
    pub(crate) fn pays(&self, test: TestIndex) -> bool {
        self.test(test).held <= 1
    }

    /// What is left of an *ordered* relation whose worker ended runs again with all that comes before it. That may end
    /// the worker again, so it is paid for, or it would go on for ever.
    pub(crate) fn broken_relations(&self, attempt: AttemptId) -> Vec<TestIndex> {
        let left = self.attempts[&attempt].left.values().map(|(test, _)| *test);
        let is_ordered = |test: &TestIndex| self.relation_of(*test).is_some_and(|relation| relation.ordered);
        left.filter(|test| is_ordered(test) && self.pays(*test)).collect()
    }
}
