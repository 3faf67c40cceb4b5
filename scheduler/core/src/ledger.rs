//! The ledger: every test gets exactly one verdict, and a run ends when it has all of them.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{ExecutorId, InfraCause, Ledger, NotExecuted, Role, RunId, TestIndex, Verdict};

use crate::assign::may_go_elsewhere;
use crate::fact::What;
use crate::held_back::HeldBack;
use crate::run::{Phase, Run};
use crate::step::{Origin, Step};
use crate::suspects::{UNREACHABLE, Way};
use crate::{Effect, State};

impl Step<'_> {
    /// Brings everything that the event touched to rest.
    pub fn settle(&mut self) {
        self.settle_tests();
        let touched = std::mem::take(&mut self.touched);
        for run in &touched {
            self.fail_fast(run);
            self.give_up(run);
            self.give_up_discovery(run);
            self.look_for_sick(run);
        }
        self.settle_tests();
        for run in touched.iter().chain(&std::mem::take(&mut self.touched)) {
            self.close(run);
        }
        self.recall();
        self.dispatch();
        self.answer_executors();
    }

    fn settle_tests(&mut self) {
        while !self.open.is_empty() {
            self.settle_open_tests();
        }
    }

    /// Decides each open test, or puts it into a new bundle, one for each attempt it comes from.
    fn settle_open_tests(&mut self) {
        let mut verdicts: BTreeMap<RunId, BTreeMap<TestIndex, Verdict>> = BTreeMap::new();
        let mut again: BTreeMap<(RunId, Origin), Vec<TestIndex>> = BTreeMap::new();
        for (run, test, origin) in std::mem::take(&mut self.open) {
            let state = &self.state.runs[&run];
            let known = state.test(test);
            if known.verdict.is_some()
                || known.held > 0
                || known.pending.is_some()
                || state.manifest.is_none()
            {
                continue;
            }
            self.condemn(&run, test, origin.attempt);
            if let Some(cause) = spent(self.state, &self.state.runs[&run], test) {
                self.record_for_good(&run, test, What::GivenUp { test, cause });
            }
            let state = &self.state.runs[&run];
            if state.owes(test) {
                again.entry((run, origin)).or_default().push(test);
            } else {
                verdicts.entry(run).or_default().insert(test, verdict(state, test));
            }
        }
        for ((run, origin), tests) in again {
            self.bundle_again(&run, origin, &tests);
        }
        for (run, verdicts) in verdicts {
            self.record(&run, What::Decided { verdicts: verdicts.into_iter().collect() });
        }
    }

    /// Suspects go alone, and retries and what needs a larger slot one by one, so that one bad test does not hold up another; the rest stays together.
    fn bundle_again(&mut self, run: &RunId, origin: Origin, tests: &[TestIndex]) {
        let state = &self.state.runs[run];
        let (suspects, others): (Vec<_>, Vec<_>) = tests.iter().partition(|test| state.is_apart(**test));
        let (retries, rest): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|test: &TestIndex| state.test(*test).seen.any() || state.test(*test).larger);
        let apart = state.apart(suspects);
        let retries = retries.into_iter().map(|test| (vec![test], Way::AsEver));
        let rest = state.parts(rest, origin.in_vain).into_iter().map(|tests| (tests, Way::AsEver));
        for (tests, way) in apart.into_iter().chain(retries).chain(rest).collect::<Vec<_>>() {
            let state = &self.state.runs[run];
            // What a retry of the same step already took along as its own is not taken twice.
            let tests: Vec<_> = tests.iter().filter(|t| state.test(**t).pending.is_none()).copied().collect();
            let entries = with_predecessors(state, &tests);
            let bundle = state.next_bundle;
            let avoid = to_avoid(self.state, state, &origin, &tests).into_iter().collect();
            let (alone, follows, in_vain) = (way == Way::Alone, way != Way::AsEver, origin.in_vain);
            self.record(run, What::Bundled { bundle, entries, avoid, alone, in_vain, follows });
        }
    }

    fn fail_fast(&mut self, run: &RunId) {
        let Some(state) = self.state.runs.get(run) else { return };
        let limit = state.spec.fail_fast.or(state.fail_fast);
        let reached = limit.is_some_and(|limit| state.counts.failed >= limit.max(1));
        if reached && state.phase == Phase::Running && !state.all_decided() {
            self.stop(run, NotExecuted::FailFast);
        }
    }

    /// Ends a run that loses more than it is worth to the others.
    fn give_up(&mut self, run: &RunId) {
        let Some(state) = self.state.runs.get(run) else { return };
        let nothing_starts = || !self.state.may_be_joined(self.now) && self.state.nothing_starts(run);
        let spent = state.losses >= state.loss_budget() || nothing_starts();
        if let (true, Phase::Running, Some(cause)) =
            (spent && !state.all_decided(), state.phase, state.lost_to)
        {
            self.stop(run, NotExecuted::Infra(cause));
        }
    }

    fn give_up_discovery(&mut self, run: &RunId) {
        let Some(state) = self.state.runs.get(run) else { return };
        let (losses, cause) = (state.discovery_losses, &state.discovery_lost_to);
        // What came back from one executor says little of another.
        let told = state.sick.len().saturating_sub(1) as u32;
        let most = state.spec.test_budget();
        let has_untried =
            || self.state.may_be_joined(self.now) || self.state.has_untried(state, &BTreeSet::new());
        let spent = losses.saturating_sub(told) >= most
            || (losses >= most && !has_untried())
            || losses >= state.loss_budget();
        if state.phase == Phase::Discovering && spent {
            let message = match losses {
                1 => format!("no discovery succeeded: {cause}"),
                _ => format!("no discovery succeeded in {losses} attempts; the last: {cause}"),
            };
            self.record(run, What::DiscoveryFailed { message });
        }
    }

    /// Ends a run when every test is decided, every attempt and worker has ended or was lost, and its client, if that
    /// judges, has had its say.
    fn close(&mut self, run: &RunId) {
        let Some(state) = self.state.runs.get(run) else { return };
        if state.is_ended() || !state.all_decided() {
            return;
        }
        self.dirty.extend(state.workers.keys().cloned());
        if !state.workers.is_empty() || state.live_attempts().next().is_some() {
            return;
        }
        if self.awaits_judgement(run) {
            return;
        }
        let state = &self.state.runs[run];
        let (counts, suite_errors) = (state.counts, state.suite_errors);
        let (verdict, exit_code) = ledger(state).close();
        self.record(run, What::Ended { verdict, counts, exit_code, suite_errors });
        self.state.watches.remove(run);
        self.state.trials.retain(|(of, _), _| of != run);
        self.effect(Effect::Archive { run: run.clone() });
    }
}

pub(crate) fn ledger(run: &Run) -> Ledger {
    Ledger {
        counts: run.counts,
        suite_errors: run.suite_errors,
        cancelled: matches!(run.phase, Phase::Stopping(NotExecuted::Cancelled | NotExecuted::Orphaned)),
        flaky_fails: run.spec.flaky_fails,
        nothing_started: !run.started,
        empty_by_definition: run.empty_by_definition,
    }
}

/// Where tests should not go again: wherever they were; if they were everywhere, not where they were last, or are missing.
fn to_avoid(state: &State, run: &Run, origin: &Origin, tests: &[TestIndex]) -> BTreeSet<ExecutorId> {
    let known = || tests.iter().map(|test| run.test(*test));
    let missing = || known().flat_map(|test| &test.missing_on);
    let deaths = known().flat_map(|test| &test.deaths).map(|death| &death.executor);
    let all: BTreeSet<_> = missing().chain(deaths).chain(&origin.avoid).cloned().collect();
    let held_back = HeldBack::of(state, run);
    let wanted = state.wanted(run, tests.iter().copied());
    if may_go_elsewhere(state, &all, &held_back, &wanted) {
        return all;
    }
    let last = run.attempts.get(&origin.attempt).map(|attempt| &attempt.executor);
    missing().chain(last).cloned().collect()
}

/// Why a test is not to be tried again although it has no result.
fn spent(state: &State, run: &Run, test: TestIndex) -> Option<NotExecuted> {
    let known = run.test(test);
    if known.given_up.is_some() || !run.owes(test) {
        return None;
    }
    if run.follows_poison(test) {
        return Some(UNREACHABLE);
    }
    if known.losses >= run.spec.test_budget() {
        return Some(NotExecuted::Infra(known.lost_to.unwrap_or(InfraCause::ExecutorLost)));
    }
    // One that is held back takes nothing of the run: to wait for it would give the test to the others for ever.
    let wanted = || state.wanted(run, std::iter::once(test));
    let untried = || may_go_elsewhere(state, &known.missing_on, &HeldBack::of(state, run), &wanted());
    let was_there = || run.discovered_by().is_some_and(|executor| known.missing_on.contains(executor));
    match known.missing_on.len() {
        0 => None,
        1 if untried() => None,
        missing if missing == 1 || was_there() => Some(NotExecuted::UnstableId),
        _ => Some(NotExecuted::Infra(InfraCause::EnvironmentDiffers)),
    }
}

fn verdict(run: &Run, test: TestIndex) -> Verdict {
    let known = run.test(test);
    let stopped = match run.phase {
        Phase::Stopping(reason) => reason,
        _ => NotExecuted::Infra(InfraCause::ExecutorLost),
    };
    Verdict::of(known.seen, known.given_up.unwrap_or(stopped))
}

/// The tests as entries of a bundle; of an *ordered* relation, all that comes before the last of them in it.
fn with_predecessors(run: &Run, tests: &[TestIndex]) -> Vec<(TestIndex, Role)> {
    let mut entries = Vec::with_capacity(tests.len());
    let wanted: BTreeSet<_> = tests.iter().collect();
    let mut relations_done = BTreeSet::new();
    for test in tests {
        match run.relation_of(*test).filter(|relation| relation.ordered) {
            None => entries.push((*test, Role::Run)),
            Some(relation) if relations_done.insert(run.test(*test).relation) => {
                let last = relation.tests.iter().rposition(|t| wanted.contains(t)).map_or(0, |at| at + 1);
                let role = |t: &TestIndex| if wanted.contains(t) { Role::Run } else { Role::Predecessor };
                entries.extend(relation.tests[..last].iter().map(|t| (*t, role(t))));
            }
            Some(_) => {}
        }
    }
    entries
}
