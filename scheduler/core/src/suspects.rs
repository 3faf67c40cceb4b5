//! Suspects: tests that were running when their executor was lost, nobody knows why. Each runs again alone on an
//! executor, when its run has nothing else to give out (a long one in time for the run's end), so that an innocent
//! neighbour is never blamed. Two executors lost
//! with it alone condemn it, unless executors are lost so often that this may be chance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seagull_domain::{
    Alone, AttemptId, BundleId, Epoch, ExecutorId, InfraCause, Instant, NotExecuted, Outcome, Role, RunId,
    TestCause, TestIndex, TestResult,
};
use serde::{Deserialize, Serialize};

use crate::State;
use crate::fact::What;
use crate::run::{Attempt, Bundle, Run, Test};
use crate::step::{Origin, Step};

/// A suspect that takes so long
const LONG_US: u64 = 20_000_000;
/// does not wait until its run has nothing else to give out, but until all there is takes no more than so many times as
/// long: else the end of the run would have to wait for it.
const TIMES: u64 = 3;

/// An executor that was lost while it ran a suspect alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    pub executor: ExecutorId,
    /// For how long it may have run it, in milliseconds; None where the scheduler does not know.
    pub alone_ms: Option<u64>,
    /// The life of the scheduler that saw it.
    pub epoch: Epoch,
}

/// How tests run of which one is, or was, a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    AsEver,
    Alone,
    Following,
}

/// How often executors are lost. Volatile: a scheduler that has just recovered blames nobody for what it has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// For causes that nobody knows.
    pub count: u32,
    /// How long all executors that are gone had been there together.
    pub lived: Duration,
}

impl Test {
    /// Whether its executor was lost with it and it has had no result since.
    fn is_suspect(&self) -> bool {
        self.suspect && self.verdict.is_none()
    }
}

impl Attempt {
    /// Whether whatever its executor is lost by now, it is lost with this test alone.
    pub(crate) fn is_at_suspect_alone(&self) -> bool {
        self.alone && self.left.len() == 1
    }
}

/// Whether a bundle runs alone before the others do, when slots have so much left to do.
pub(crate) fn is_early(bundle: &Bundle, rest_us: u64) -> bool {
    bundle.alone && bundle.predicted_us >= LONG_US && rest_us <= TIMES * bundle.predicted_us
}

impl Run {
    /// What waits for a slot, what goes first first, when slots have so much left to do.
    pub(crate) fn in_turn(&self, rest_us: u64) -> impl Iterator<Item = (BundleId, &Bundle)> {
        let is_early = move |(_, bundle): &(BundleId, &Bundle)| is_early(bundle, rest_us);
        let early = self.pending.alone().filter(is_early);
        early.chain(self.pending.in_order().filter(move |of| !is_early(of)))
    }

    /// Whether the test does not run as ever: it is a suspect, or a suspect comes before it in its *ordered* relation.
    pub(crate) fn is_apart(&self, test: TestIndex) -> bool {
        self.test(test).is_suspect() || self.is_behind_suspect(test)
    }

    fn is_behind_suspect(&self, test: TestIndex) -> bool {
        self.needed_before(test).any(Test::is_suspect)
    }

    /// What has to run before a test in its *ordered* relation.
    fn needed_before(&self, test: TestIndex) -> impl Iterator<Item = &Test> {
        let relation = self.relation_of(test).filter(|relation| relation.ordered);
        let tests = relation.into_iter().flat_map(|relation| &relation.tests);
        tests.take_while(move |of| **of != test).map(|before| self.test(*before))
    }

    /// Whether a test that kills executors, or may, and is not tried again, must run before it.
    pub(crate) fn follows_poison(&self, test: TestIndex) -> bool {
        let never_runs = |before: &Test| before.poison || (before.suspect && before.given_up.is_some());
        self.needed_before(test).any(never_runs)
    }

    /// The attempt's executor was lost with this test in flight, or another that is left of it, the results before which
    /// were lost too: then nobody knows which it was.
    pub(crate) fn suspect(
        &mut self,
        attempt: AttemptId,
        test: TestIndex,
        alone_ms: Option<u64>,
        epoch: Epoch,
    ) {
        let attempt = &self.attempts[&attempt];
        let death = attempt.is_at_suspect_alone().then(|| Death {
            executor: attempt.executor.clone(),
            alone_ms,
            epoch,
        });
        let test = self.test_mut(test);
        test.suspect = true;
        test.deaths.extend(death);
    }

    /// Whether a suspect has to show first that it is none.
    pub(crate) fn has_to_wait(&self, bundle: &Bundle) -> bool {
        let mut to_run = bundle.entries.iter().filter(|(_, role)| *role == Role::Run);
        bundle.follows && to_run.next().is_some_and(|(test, _)| self.is_behind_suspect(*test))
    }

    /// Tests that come after a suspect in its *ordered* relation and are in a bundle that waits.
    pub(crate) fn followers(&self, test: TestIndex) -> Vec<TestIndex> {
        let is_suspect = self.test(test).suspect;
        let relation = self.relation_of(test).filter(|relation| relation.ordered && is_suspect);
        let tests = relation.into_iter().flat_map(|relation| &relation.tests).copied();
        let later = tests.skip_while(|of| *of != test).skip(1);
        later.filter(|of| self.test(*of).pending.is_some()).collect()
    }

    /// Suspects, with what needs them before it: each by itself, for that is how its losses can be told from another's.
    /// What comes after one in its *ordered* relation waits in a bundle of its own until it has a result.
    pub(crate) fn apart(&self, tests: Vec<TestIndex>) -> Vec<(Vec<TestIndex>, Way)> {
        let (suspects, others): (Vec<_>, Vec<_>) =
            tests.into_iter().partition(|test| self.test(*test).is_suspect());
        let alone = suspects.into_iter().map(|test| (vec![test], Way::Alone));
        let mut following: BTreeMap<u32, Vec<TestIndex>> = BTreeMap::new();
        for test in others {
            following.entry(self.test(test).relation).or_default().push(test);
        }
        alone.chain(following.into_values().map(|tests| (tests, Way::Following))).collect()
    }
}

impl State {
    /// How often executors were lost before this life of the scheduler is not known any more.
    fn deaths<'a>(&self, test: &'a Test) -> impl Iterator<Item = &'a Death> + use<'a> {
        let epoch = self.epoch;
        test.deaths.iter().filter(move |death| death.epoch == epoch)
    }

    /// How many executors were lost with a suspect: first with others in flight, then alone.
    fn losses_with(&self, test: &Test) -> u32 {
        1 + self.deaths(test).count() as u32
    }

    /// How likely it is, in thousandths, that executors were lost so soon, each that ran a test alone, at the rate at which
    /// others are lost: one more than was seen, for few losses say little of how many are to come.
    fn chance<'d>(&self, deaths: impl Iterator<Item = &'d Death>, now: Instant) -> u32 {
        let deaths: Vec<_> = deaths.collect();
        let others = f64::from(self.losses.count) - 1.0 - deaths.len() as f64;
        let there: Duration = self.executors.values().map(|executor| now - executor.since).sum();
        let lived_ms = (self.losses.lived + there).as_millis().max(1) as f64;
        let rate = (others.max(0.0) + 1.0) / lived_ms;
        let of = |death: &&Death| death.alone_ms.map_or(1.0, |ms| (rate * ms.max(1) as f64).min(1.0));
        let product = deaths.iter().map(of).product();
        (of_product(product, deaths.len()) * 1e3) as u32
    }

    /// The same of one more death.
    pub(crate) fn chance_with(&self, test: &Test, death: &Death, now: Instant) -> u32 {
        self.chance(self.deaths(test).chain([death]), now)
    }
}

/// How likely it is that so many independent chances come to a product or less, which is more than the product: that of
/// two is below 1 % in one case of eighteen (Fisher 1932).
fn of_product(product: f64, chances: usize) -> f64 {
    let terms = (1..chances).scan(1.0, |term, nth| {
        *term *= -product.ln() / nth as f64;
        Some(*term)
    });
    product * (1.0 + terms.sum::<f64>())
}

impl Step<'_> {
    /// Fails a test that its last attempt shows to kill executors.
    pub(crate) fn condemn(&mut self, run: &RunId, test: TestIndex, attempt: AttemptId) {
        let state = &self.state.runs[run];
        let known = state.test(test);
        let Some(last) =
            state.attempts.get(&attempt).filter(|_| self.state.deaths(known).count() >= Alone::LOSSES)
        else {
            return;
        };
        let is_chance = self.state.chance(self.state.deaths(known), self.now) >= Alone::CHANCE;
        if !known.suspect || !state.owes(test) || is_chance {
            return;
        }
        let (executor, slot) = (last.executor.clone(), last.number);
        let explained = self.state.losses_with(known);
        let result = Box::new(evidence(test, &known.deaths));
        // Why these were lost is known now.
        let count = &mut self.state.losses.count;
        *count = count.saturating_sub(explained);
        self.record_for_good(run, test, What::Condemned { attempt, executor, slot, result });
    }

    /// Records that a test will not run any more, which decides what has to run after it, too.
    pub(crate) fn record_for_good(&mut self, run: &RunId, test: TestIndex, what: What) {
        let origin = Origin { attempt: AttemptId(0), avoid: BTreeSet::new(), in_vain: 0 };
        let followers = self.state.runs[run].followers(test).into_iter();
        self.open.extend(followers.map(|follower| (run.clone(), follower, origin.clone())));
        self.record(run, what);
    }
}

/// A failure, with what shows it.
fn evidence(test: TestIndex, deaths: &[Death]) -> TestResult {
    let lost = deaths.iter().map(|death| match death.alone_ms {
        Some(ms) => format!("{} within {}.{} s", death.executor, ms / 1000, ms % 1000 / 100),
        None => death.executor.to_string(),
    });
    let lost = lost.collect::<Vec<_>>().join(", ");
    TestResult {
        cpu_us: 0,
        test,
        ordinal: 0,
        last: true,
        outcome: Outcome::Failed,
        detail: String::new(),
        cause: Some(TestCause::Poison),
        phases: [0; 3],
        peak_kib: 0,
        started_at: 0,
        message: format!("each executor that ran it alone was lost: {lost}"),
        location: String::new(),
        text: None,
    }
}

/// What follows a test that kills executors can never run.
pub(crate) const UNREACHABLE: NotExecuted = NotExecuted::Infra(InfraCause::ExecutorLost);
