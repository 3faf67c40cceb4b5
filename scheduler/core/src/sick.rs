//! Executors that are sick for a run: its sandboxes do not start there, or its tests fail there, while elsewhere they do
//! and do not. Such an executor is *cordoned*: the run gives it nothing more, asks back what has not started there, and
//! pays for nothing that comes back from there; its workers there end. After a while it is tried again with one attempt,
//! in a new worker; if that goes well, it is back.
//!
//! A cordon is one run's. What makes an executor sick is often of one suite (a tool or a database that only that wants),
//! and a run that is broken, or hostile, must not take executors from the others; each run pays a few attempts to find
//! out for itself. An executor that is lost takes its signs along.
//!
//! **Nothing starts.** [`CAME_BACK`] attempts in a row came back from the executor with an infrastructure cause, of all
//! its slots and with no test executed between them, or as many as a slot is held back for in each of its slots; and
//! meanwhile an attempt began elsewhere, or there is an executor from which nothing came back. That one may well be busy:
//! a sick executor is idle, and so is asked first for everything. What had come back before does not count: that may be
//! its own doing ([`crate::split`]). One may be chance and two a slot's own fault, for which that slot alone is held
//! back, from what is of the same environment; where nothing begins elsewhere either, it is not the executor. All that an idle executor of many slots was given
//! comes back at once: no more than the first [`CAME_BACK`] of a row are paid for.
//!
//! **Tests fail.** An attempt is *red* if most of what it executed for the first time in the run failed. The core knows
//! no files, but tests of a file are packed together, so that red attempts are unrelated failures: of several files, or
//! of one so large that others have parts of it and are red as well. [`RED`] red attempts in a row make an executor sick
//! in either of two cases:
//! - Most of what failed in as many of them passed elsewhere since. That takes retries.
//! - It is no chance that they were all red: with a share q of red attempts elsewhere since the row began, n of them come
//!   in a row with probability q^n, which has to be below [`CHANCE`]. Of q no more is believed than was seen: it is taken
//!   as if three more had been red (with none among n, the true share is below 3/n, with 95 % certainty). So a suite that
//!   is red everywhere, or from some moment on, has q near 1 and cordons nobody; neither does one that has nothing to
//!   compare with. With a twentieth of red attempts elsewhere four in a row are enough, with a fifth six or seven.
//!
//! What fails may fail at once, while what passes elsewhere takes its time. So an executor whose last [`RED`] attempts
//! were red gets one at a time, with a pause that doubles after each, while there is another of which that is not so. That
//! is no cordon: it costs a sound executor little, and a sick one cannot have the suite before it is known.
//!
//! Results are results: what failed there has failed, and its verdict may have been told. It is tried elsewhere where a
//! retry is owed, as every failed test is. A second execution that nobody asked for would hide what really is flaky, and
//! would come too late for all that was decided before the executor was known to be sick.
//!
//! The last executor that could take anything of the run is never cordoned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seagull_domain::{
    AttemptId, EnvironmentNumber, ExecutorId, InfraCause, Instant, Outcome, RunId, Sickness, SlotIndex,
    TestResult,
};
use serde::{Deserialize, Serialize};

use crate::State;
use crate::fact::What;
use crate::held_back::{FAILED_STARTS, HeldBack};
use crate::run::{Attempt, Phase, Run};
use crate::state::Place;
use crate::step::Step;

/// So many attempts in a row that came back.
const CAME_BACK: u32 = 3;
/// So many red attempts in a row, at least.
const RED: usize = 3;
/// What is taken for chance: a run looks at some thousands of rows.
const CHANCE: f64 = 1e-4;
/// Longer rows need not be known.
const MOST_RED: usize = 64;
/// A cordoned executor is tried again after this, and after twice as long each time, up to the longest.
const TRIED_AFTER: Duration = Duration::from_secs(30);
const TRIED_AT_LEAST_EVERY: Duration = Duration::from_secs(600);
/// One that has had [`RED`] red attempts gets the next after this, and after twice as long each time, up to [`TRIED_AFTER`].
const NEXT_AFTER_RED: Duration = Duration::from_secs(1);

/// What speaks against an executor in a run since something last went well there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signs {
    /// Of each slot and environment, how many attempts in a row came back because their sandbox or worker did not start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_started: BTreeMap<SlotIndex, BTreeMap<EnvironmentNumber, u32>>,
    /// How many attempts in a row came back.
    #[serde(default)]
    pub in_vain: u32,
    /// How many in a row did of which nothing had come back before, and how others went when the row began.
    #[serde(default)]
    pub came_back: (u32, Went),
    /// The red attempts in a row, the same.
    #[serde(default)]
    pub red: (Vec<AttemptId>, Went),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

/// How many attempts of a run began, with a first result; and of those that ended how many went well, or were red.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Went {
    pub begun: u32,
    pub well: u32,
    pub red: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    pub sickness: Sickness,
    /// What is given out there from this attempt on is a trial.
    pub first: AttemptId,
    pub failed_trials: u32,
}

/// Who pays for an attempt that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pays {
    Nobody,
    Run,
    All,
}

/// What shows that an executor is sick: how many attempts in a row there, and how many elsewhere did better meanwhile.
pub(crate) struct Diagnosis {
    sickness: Sickness,
    attempts: u32,
    elsewhere: u32,
}

impl Attempt {
    fn is_red(&self) -> bool {
        self.failed > self.passed
    }

    /// Whether most of what failed in it passed elsewhere.
    fn is_disproved(&self) -> bool {
        self.disproved * 2 > self.failed
    }
}

impl Run {
    /// The attempt executed something.
    pub(crate) fn start_succeeded(&mut self, attempt: AttemptId) {
        let state = &self.attempts[&attempt];
        self.went.begun += u32::from(!state.started);
        if let Some(signs) = self.sick.get_mut(&state.executor) {
            signs.has_started(state.slot, state.environment);
            (signs.in_vain, signs.came_back) = Default::default();
        }
        self.forget_sound(attempt);
    }

    /// A test's first execution says something of its executor; a retry that passes, of the one where it failed.
    pub(crate) fn weigh(&mut self, attempt: AttemptId, result: &TestResult) {
        let is_first = self.test(result.test).executions == 0;
        match (is_first, result.outcome) {
            _ if !result.last => return,
            (true, Outcome::Passed) => self.attempt_mut(attempt).passed += 1,
            (true, Outcome::Failed) => self.attempt_mut(attempt).failed += 1,
            (false, Outcome::Passed) => {
                let executor = &self.attempts[&attempt].executor;
                let first = self.test(result.test).failed_in.first().copied();
                let elsewhere = first.filter(|failed| self.attempts[failed].executor != *executor);
                elsewhere.into_iter().for_each(|failed| self.attempt_mut(failed).disproved += 1);
            }
            _ => {}
        }
        if result.outcome == Outcome::Failed && self.spec.retries > 0 {
            self.test_mut(result.test).failed_in.push(attempt);
        }
    }

    /// The attempt came back with what nothing was done of. If the same came back before, it may be its own doing, but for
    /// a slot where nothing ever began.
    pub(crate) fn came_back(&mut self, attempt: AttemptId, cause: InfraCause) {
        let begun = self.has_begun_at(&self.attempts[&attempt]);
        let Attempt { executor, slot, environment, in_vain, .. } = &self.attempts[&attempt];
        let signs = self.sick.entry(executor.clone()).or_default();
        signs.count_trial(attempt);
        signs.in_vain += 1;
        if cause == InfraCause::SandboxFailed && (*in_vain == 0 || !begun) {
            *signs.not_started.entry(*slot).or_default().entry(*environment).or_default() += 1;
        }
        if *in_vain > 0 {
            return;
        }
        if signs.came_back.0 == 0 {
            signs.came_back.1 = self.went;
        }
        signs.came_back.0 += 1;
    }

    /// The attempt has ended, with what it executed.
    pub(crate) fn judge(&mut self, attempt: AttemptId) {
        let Attempt { passed, executor, .. } = &self.attempts[&attempt];
        let (passed, executor, went) = (*passed, executor.clone(), self.went);
        if !self.attempts[&attempt].is_red() {
            if passed > 0 {
                self.went.well += 1;
                self.sick.entry(executor).and_modify(|signs| signs.red = Default::default());
                self.forget_sound(attempt);
            }
            return;
        }
        let signs = self.sick.entry(executor).or_default();
        if signs.red.0.is_empty() {
            signs.red.1 = went;
        }
        if signs.red.0.len() < MOST_RED {
            signs.red.0.push(attempt);
            self.went.red += 1;
        }
        if signs.cordon.is_some_and(|cordon| cordon.sickness == Sickness::TestsFail) {
            signs.count_trial(attempt);
        }
    }

    /// Nothing speaks against the attempt's executor any more, if nothing is left that does.
    fn forget_sound(&mut self, attempt: AttemptId) {
        let executor = &self.attempts[&attempt].executor;
        if self.sick.get(executor) == Some(&Signs::default()) {
            self.sick.remove(executor);
        }
    }

    /// Whether an executor of so many slots is sick, and not known to be yet; `untried` says whether there is another from
    /// which nothing came back.
    fn diagnosis(&self, signs: &Signs, slots: u16, untried: impl Fn() -> bool) -> Option<Diagnosis> {
        if signs.cordon.is_some() {
            return None;
        }
        let (came_back, then) = signs.came_back;
        let begun = self.went.begun - then.begun;
        let failed = |slot| {
            let mut of_slot = signs.not_started.get(&SlotIndex(slot)).into_iter().flatten();
            of_slot.any(|(_, count)| *count >= FAILED_STARTS)
        };
        let enough = came_back >= CAME_BACK || (came_back > 0 && (0..slots).all(failed));
        if enough && (begun > 0 || untried()) {
            return Some(Diagnosis {
                sickness: Sickness::NothingStarts,
                attempts: came_back,
                elsewhere: begun,
            });
        }
        let (attempts, then) = (&signs.red.0, signs.red.1);
        let disproved = attempts.iter().filter(|attempt| self.attempts[attempt].is_disproved()).count();
        let (own, well) = (attempts.len() as u32, self.went.well - then.well);
        let red = self.went.red - then.red - own;
        let is_sick = attempts.len() >= RED && (disproved >= RED || chance(own, red, well) < CHANCE);
        is_sick.then_some(Diagnosis { sickness: Sickness::TestsFail, attempts: own, elsewhere: well })
    }

    pub(crate) fn is_cordoned(&self, executor: &ExecutorId) -> bool {
        self.sick.get(executor).is_some_and(|signs| signs.cordon.is_some())
    }

    /// Whether anything of the attempt's environment ever began in its slot.
    fn has_begun_at(&self, attempt: &Attempt) -> bool {
        let place = |of: &Attempt| (of.executor.clone(), of.boot.clone(), of.slot, of.environment);
        let own = place(attempt);
        self.attempts.values().any(|of| of.started && place(of) == own)
    }

    /// How many attempts of an environment in a row a place could not start.
    pub(crate) fn failed_starts(&self, place: Place, environment: EnvironmentNumber) -> u32 {
        let of_slot = self.sick.get(place.0).and_then(|signs| signs.not_started.get(&place.1));
        of_slot.and_then(|of_slot| of_slot.get(&environment)).copied().unwrap_or(0)
    }

    /// Whether the executor's last attempts were all red.
    pub(crate) fn is_red_on(&self, executor: &ExecutorId) -> bool {
        self.sick.get(executor).is_some_and(|signs| signs.red.0.len() >= RED)
    }

    /// How many attempts in a row came back from the executor.
    pub(crate) fn in_vain_on(&self, executor: &ExecutorId) -> u32 {
        self.sick.get(executor).map_or(0, |signs| signs.in_vain)
    }
}

impl Signs {
    /// Of each slot and environment, how many attempts in a row it could not start.
    pub(crate) fn failed_starts(&self) -> impl Iterator<Item = (SlotIndex, EnvironmentNumber, u32)> {
        let of_slot = |(slot, counts): (&SlotIndex, &BTreeMap<EnvironmentNumber, u32>)| {
            let slot = *slot;
            counts.clone().into_iter().map(move |(environment, count)| (slot, environment, count))
        };
        self.not_started.iter().flat_map(of_slot)
    }

    fn has_started(&mut self, slot: SlotIndex, environment: EnvironmentNumber) {
        if let Some(of_slot) = self.not_started.get_mut(&slot) {
            of_slot.remove(&environment);
        }
        self.not_started.retain(|_, of_slot| !of_slot.is_empty());
    }

    fn count_trial(&mut self, attempt: AttemptId) {
        if let Some(cordon) = self.cordon.as_mut().filter(|cordon| attempt >= cordon.first) {
            cordon.failed_trials += 1;
        }
    }
}

/// How likely it is that so many attempts in a row were red if that was no worse an executor than the others.
fn chance(own: u32, red: u32, well: u32) -> f64 {
    let red = f64::from(red) + 3.0;
    (red / (red + f64::from(well))).powi(i32::try_from(own).unwrap_or(i32::MAX))
}

impl State {
    /// Whether an executor that is cordoned for the run, or whose last attempts were all red, may have one of it.
    pub(crate) fn is_to_be_tried(&self, run: &Run, executor: &ExecutorId) -> bool {
        let trial = self.trials.get(&(run.spec.id.clone(), executor.clone()));
        let is_due = !matches!(trial, Some(Some(_)));
        let mut placed = self.placed.get(executor).into_iter().flat_map(BTreeMap::values);
        is_due && placed.all(|of| *of != run.spec.id)
    }

    /// Who is to pay for an attempt that comes back. Nobody, if the run does without its executor, or so much came back
    /// from there in a row already. The run, but no test, if nothing ever began in its slot. In either case only as long as
    /// there may be another executor that what comes back can go to, or another slot where that is not so.
    pub(crate) fn who_pays(&self, run: &Run, attempt: &Attempt, cause: InfraCause, now: Instant) -> Pays {
        let executor = &attempt.executor;
        let does_without = || run.is_cordoned(executor) && HeldBack::of(self, run).is_tried(executor);
        // Where memory was wanting, something had begun that wanted it.
        let has_begun = run.has_begun_at(attempt) || cause == InfraCause::MachineOutOfMemory;
        let another = || self.may_be_joined(now) || self.has_untried(run, &attempt.was_on());
        let another_slot = || {
            let place = (executor, attempt.slot);
            !has_begun && self.has_untried_slot(run, place, attempt.environment)
        };
        if attempt.bundle.is_some() && does_without() {
            Pays::Nobody
        } else if attempt.bundle.is_none() || !(another() || another_slot()) {
            Pays::All
        } else if run.in_vain_on(executor) >= CAME_BACK {
            Pays::Nobody
        } else if has_begun {
            Pays::All
        } else {
            Pays::Run
        }
    }
}

impl Step<'_> {
    /// Cordons the executors that are sick for the run; [`crate::recall`] asks back what has not started there.
    pub fn look_for_sick(&mut self, run: &RunId) {
        let goes_on = |run: &&Run| run.phase == Phase::Running && !run.all_decided();
        let Some(state) = self.state.runs.get(run).filter(goes_on) else { return };
        let found = state.sick.iter().filter_map(|(id, signs)| {
            let executor = self.state.executors.get(id).filter(|executor| !executor.draining)?;
            let untried = || self.state.has_untried(state, &BTreeSet::from([id.clone()]));
            Some((id.clone(), state.diagnosis(signs, executor.slots, untried)?))
        });
        for (executor, diagnosis) in found.collect::<Vec<_>>() {
            let Diagnosis { sickness, attempts, elsewhere } = diagnosis;
            if self.state.has_other(&self.state.runs[run], &executor) {
                let first = self.state.next_attempt;
                self.try_later(run, &executor, 0);
                self.dirty.insert(executor.clone());
                self.record(run, What::Cordoned { executor, sickness, attempts, elsewhere, first });
            }
        }
    }

    /// An attempt has ended on an executor that may be on trial.
    pub fn judge_trial(&mut self, run: &RunId, attempt: AttemptId) {
        let state = &self.state.runs[run];
        let of = &state.attempts[&attempt];
        let executor = of.executor.clone();
        let signs = state.sick.get(&executor);
        let Some(cordon) = signs.and_then(|signs| signs.cordon) else {
            return self.pause_if_red(run, executor);
        };
        if attempt < cordon.first {
            return;
        }
        let went_well = match cordon.sickness {
            Sickness::NothingStarts => of.started,
            Sickness::TestsFail => of.passed > 0 && !of.is_red(),
        };
        if went_well {
            self.state.trials.remove(&(run.clone(), executor.clone()));
            self.record(run, What::Back { executor });
        } else {
            self.try_later(run, &executor, cordon.failed_trials);
        }
    }

    fn try_later(&mut self, run: &RunId, executor: &ExecutorId, failed_trials: u32) {
        let wait = TRIED_AFTER.saturating_mul(1 << failed_trials.min(16)).min(TRIED_AT_LEAST_EVERY);
        self.state.trials.insert((run.clone(), executor.clone()), Some(self.now + wait));
    }

    /// After a red attempt an executor that has had others before it waits for its next.
    fn pause_if_red(&mut self, run: &RunId, executor: ExecutorId) {
        let row = self.state.runs[run].sick.get(&executor).map_or(0, |signs| signs.red.0.len());
        let key = (run.clone(), executor);
        let Some(more) = row.checked_sub(RED) else {
            self.state.trials.remove(&key);
            return;
        };
        let wait = NEXT_AFTER_RED.saturating_mul(1 << more.min(16)).min(TRIED_AFTER);
        self.state.trials.insert(key, Some(self.now + wait));
    }

    /// After recovery nobody knows for how long an executor has been cordoned.
    pub fn try_all_later(&mut self, run: &RunId) {
        let sick = self.state.runs[run].sick.iter();
        let cordons = sick.filter_map(|(id, signs)| Some((id.clone(), signs.cordon?.failed_trials)));
        for (executor, failed_trials) in cordons.collect::<Vec<_>>() {
            self.try_later(run, &executor, failed_trials);
        }
    }

    /// Time has passed.
    pub fn trials_are_due(&mut self) {
        for trial in self.state.trials.values_mut() {
            *trial = trial.filter(|at| *at > self.now);
        }
    }
}

impl State {
    /// When a cordoned executor is to be tried next.
    pub(crate) fn next_trial(&self) -> Option<Instant> {
        self.trials.values().filter_map(|trial| *trial).min()
    }
}
