//! Executors that are sick: cordoned when what was told shows it and only then, and given nothing more but trials.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{
    AttemptId, EnvironmentNumber, ExecutorId, InfraCause, NotExecuted, Outcome, RunEvent, Seq, Sickness,
    TestIndex, Verdict,
};

use super::verdicts::{is_broken_off, is_charged, missing_on};
use super::{Story, ensure};

/// So many attempts in a row show it.
const IN_A_ROW: usize = 3;
/// After so many red attempts in a row the next comes no sooner than in a second, after one more in two, and so on.
const PAUSE_MS: u64 = 1000;
const LONGEST_PAUSE_MS: u64 = 30_000;
/// That an attempt has ended may be told so much later than the scheduler knew: its commit waits for one before it.
const COMMIT_MS: u64 = 3000;
/// A trial comes after this at the earliest, as far as times of telling tell.
const TRIED_AFTER_MS: u64 = 25_000;

/// What was told of an executor since something last went well there.
#[derive(Default)]
struct Signs {
    came_back: usize,
    /// Of these, what had certainly not come back before.
    surely: usize,
    /// Executors' attempts that began since the row did.
    began_elsewhere: bool,
    cordoned: Option<Cordoned>,
}

struct Cordoned {
    since: u64,
    /// Trials, as far as it is certain that they are, and whether it was given anything.
    trials: u64,
    tried: bool,
}

/// An attempt, as far as was told.
struct Attempt<'a> {
    executor: &'a ExecutorId,
    begun: bool,
    /// The tests that it was the first to execute, and whether they failed.
    first: BTreeMap<TestIndex, bool>,
}

pub fn check(story: &Story) -> Result<(), String> {
    let mut ledger = Ledger {
        story,
        signs: BTreeMap::new(),
        anew: BTreeMap::new(),
        attempts: BTreeMap::new(),
        executed: BTreeMap::new(),
    };
    for (place, (_, at, event)) in story.told.iter().enumerate() {
        ledger.told(place, *at, event)?;
    }
    Ok(())
}

struct Ledger<'a> {
    story: &'a Story<'a>,
    signs: BTreeMap<&'a ExecutorId, Signs>,
    /// When what spoke against an executor was last forgotten.
    anew: BTreeMap<&'a ExecutorId, u64>,
    attempts: BTreeMap<AttemptId, Attempt<'a>>,
    /// Where each test was executed, with what it came to.
    executed: BTreeMap<TestIndex, Vec<(&'a ExecutorId, Outcome)>>,
}

impl<'a> Ledger<'a> {
    fn told(&mut self, place: usize, at: u64, event: &'a RunEvent) -> Result<(), String> {
        match event {
            RunEvent::AttemptAssigned { attempt, executor, discovery, .. } => {
                if !discovery {
                    self.may_be_given(place, at, *attempt, executor)?;
                }
                self.attempts.insert(*attempt, Attempt { executor, begun: false, first: BTreeMap::new() });
            }
            RunEvent::TestFinished { result, attempt, executor, evidence, .. } => {
                let of = self.attempts.get_mut(attempt);
                let began = of.is_some_and(|of| !std::mem::replace(&mut of.begun, true));
                for (other, signs) in &mut self.signs {
                    signs.began_elsewhere |= began && *other != executor;
                }
                let signs = self.signs.entry(executor).or_default();
                (signs.came_back, signs.surely) = (0, 0);
                if evidence.is_some() {
                    return Ok(());
                }
                let known = self.executed.entry(result.test).or_default();
                if known.is_empty() && result.outcome != Outcome::Skipped {
                    let failed = result.outcome == Outcome::Failed;
                    let of = self.attempts.get_mut(attempt);
                    of.into_iter().for_each(|of| of.first.extend([(result.test, failed)]));
                }
                known.push((executor, result.outcome));
            }
            RunEvent::AttemptLost { attempt, executor, cause, .. }
                if comes_back(*cause) && !is_broken_off(event) =>
            {
                let for_the_first_time = self.never_came_back(place, *attempt);
                let signs = self.signs.entry(executor).or_default();
                signs.began_elsewhere &= signs.surely > 0;
                signs.came_back += 1;
                signs.surely += usize::from(for_the_first_time);
            }
            RunEvent::ExecutorLost { executor, .. } => {
                self.signs.remove(executor);
                self.anew.insert(executor, at);
            }
            RunEvent::ExecutorCordoned { executor, sickness, .. } => {
                let shown = match sickness {
                    // One slot less may be all that there are.
                    Sickness::NothingStarts => self.signs.get(executor).is_some_and(|of| of.came_back > 0),
                    // What ended in the same moment may have ended before or after.
                    Sickness::TestsFail => {
                        let before = self.red_before(executor, self.story.told[place].0).len();
                        before.max(self.red_row(executor, at).len()) >= IN_A_ROW
                    }
                };
                ensure(shown, || {
                    format!("{executor} is cordoned though nothing shows that {sickness} there")
                })?;
                let signs = self.signs.entry(executor).or_default();
                ensure(signs.cordoned.is_none(), || format!("{executor} is cordoned twice"))?;
                signs.cordoned = Some(Cordoned { since: at, trials: 0, tried: false });
            }
            RunEvent::ExecutorBack { executor } => {
                let cordoned = self.signs.remove(executor).and_then(|signs| signs.cordoned);
                self.anew.insert(executor, at);
                ensure(cordoned.is_some_and(|cordoned| cordoned.tried), || {
                    format!("{executor} is back without a trial")
                })?;
            }
            RunEvent::Verdict { test, verdict: Verdict::NotExecuted(NotExecuted::UnstableId) } => {
                let missing_on = missing_on(self.story, *test, place);
                let beside = &missing_on | &self.strangers_to(self.story.plan.environment(*test));
                let has_other =
                    missing_on.len() == 1 && missing_on.iter().any(|of| self.does_better(place, of, &beside));
                ensure(!has_other, || format!("test {test} was looked for on {missing_on:?} only"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Executors where nothing of an environment was executed: it may be too large for them.
    fn strangers_to(&self, environment: EnvironmentNumber) -> BTreeSet<&'a ExecutorId> {
        let of_it =
            self.executed.iter().filter(|(test, _)| self.story.plan.environment(**test) == environment);
        let there: BTreeSet<_> = of_it.flat_map(|(_, all)| all).map(|(executor, _)| *executor).collect();
        self.attempts.values().map(|of| of.executor).filter(|of| !there.contains(of)).collect()
    }

    /// Whether an executor that is none of these works, and nothing speaks against it.
    fn does_better(&self, place: usize, than: &ExecutorId, beside: &BTreeSet<&ExecutorId>) -> bool {
        let (seq, ..) = self.story.told[place];
        let all: BTreeSet<_> = self.attempts.values().map(|of| of.executor).collect();
        let red = all.into_iter().filter(|of| self.red_before(of, seq).len() >= IN_A_ROW);
        let worse = self.cordoned().into_iter().chain(red).chain(beside.iter().copied()).collect();
        self.story.works_elsewhere(place, than, &worse)
    }

    fn nothing_starts(&self, executor: &ExecutorId) -> bool {
        let signs = self.signs.get(executor);
        signs.is_some_and(|signs| signs.surely >= IN_A_ROW && signs.began_elsewhere)
    }

    /// Whether nothing of a lost attempt was in one that was lost before.
    fn never_came_back(&self, place: usize, attempt: AttemptId) -> bool {
        let given = |attempt| self.story.physical.given.get(attempt);
        let Some(own) = given(&attempt) else { return false };
        let mut lost = self.story.told[..place].iter().filter_map(|(_, _, event)| match event {
            RunEvent::AttemptLost { attempt, .. } => Some(attempt),
            _ => None,
        });
        !lost.any(|lost| given(lost).is_none_or(|had| had.iter().any(|test| own.contains(test))))
    }

    /// The last attempts of an executor that had ended by then, back to the last of which not most tests failed.
    fn red_row(&self, executor: &ExecutorId, at: u64) -> Vec<&Attempt<'a>> {
        let anew = self.anew.get(executor).copied();
        let counts = |(id, end): &(&AttemptId, &(Seq, u64))| {
            end.1 <= at && anew.is_none_or(|anew| end.1 > anew) && !self.story.lost.contains_key(id)
        };
        let mut ended: Vec<_> = self.story.ended.iter().filter(counts).collect();
        ended.sort_by_key(|(_, end)| **end);
        let of_executor = ended.iter().rev().filter_map(|(attempt, _)| self.attempts.get(attempt));
        let judged = of_executor.filter(|of| of.executor == executor && !of.first.is_empty());
        judged.take_while(|of| of.is_red()).collect()
    }

    /// Whether most of what failed in an attempt passed elsewhere.
    fn is_disproved(&self, attempt: &Attempt) -> bool {
        let failed = attempt.first.iter().filter(|(_, failed)| **failed).map(|(test, _)| test);
        let passed = |test: &&TestIndex| {
            let mut executed = self.executed[*test].iter();
            executed.any(|(executor, outcome)| *executor != attempt.executor && *outcome == Outcome::Passed)
        };
        failed.clone().filter(passed).count() * 2 > failed.count()
    }

    /// What an executor is given is due to it: nothing shows it to be sick, or it is a trial, or there is no other.
    fn may_be_given(
        &mut self,
        place: usize,
        at: u64,
        attempt: AttemptId,
        executor: &'a ExecutorId,
    ) -> Result<(), String> {
        let Some(signs) = self.signs.get(executor) else { return Ok(()) };
        let others = || self.story.works_elsewhere(place, executor, &self.cordoned());
        let Some(Cordoned { since, trials, .. }) = signs.cordoned else {
            self.goes_slowly(place, attempt, executor)?;
            let red = self.red_row(executor, at);
            let tests_fail = red.iter().filter(|attempt| self.is_disproved(attempt)).count() >= IN_A_ROW;
            return ensure(!(self.nothing_starts(executor) || tests_fail) || !others(), || {
                format!("{executor} is given attempt {attempt}, though it is sick")
            });
        };
        let had = self.attempts.iter().filter(|(_, of)| of.executor == executor).map(|(id, _)| id);
        let has_other = had.clone().any(|id| self.story.ended.get(id).is_none_or(|(_, end)| *end > at));
        let due = since + TRIED_AFTER_MS * (trials + 1);
        let in_time = at >= due || self.story.has_scheduler_faults;
        let others = others();
        ensure((in_time && !has_other) || !others, || {
            format!("cordoned {executor} is given attempt {attempt} at {at}, due at {due}")
        })?;
        if let Some(cordoned) = self.signs.get_mut(executor).and_then(|signs| signs.cordoned.as_mut()) {
            (cordoned.tried, cordoned.trials) = (true, trials + u64::from(others));
        }
        Ok(())
    }

    /// An executor whose last attempts were all red has one at a time, and less and less often, while another does better:
    /// so few are red before it is cordoned.
    fn goes_slowly(&self, place: usize, attempt: AttemptId, executor: &ExecutorId) -> Result<(), String> {
        let (seq, at, _) = self.story.told[place];
        let row = self.red_before(executor, seq);
        if row.len() < IN_A_ROW || self.story.has_scheduler_faults {
            return Ok(());
        }
        let all: BTreeSet<_> = self.attempts.values().map(|of| of.executor).collect();
        let red = all.into_iter().filter(|of| self.red_before(of, seq).len() >= IN_A_ROW);
        let worse = self.cordoned().into_iter().chain(red).collect();
        if !self.story.works_elsewhere(place, executor, &worse) {
            return Ok(());
        }
        let mut had = self.attempts.iter().filter(|(_, of)| of.executor == executor);
        let has_other = had.any(|(id, _)| self.story.ended.get(id).is_none_or(|(ended, _)| *ended > seq));
        let pause = (PAUSE_MS << (row.len() - IN_A_ROW).min(16)).min(LONGEST_PAUSE_MS);
        ensure(!has_other && at + COMMIT_MS >= row[0] + pause, || {
            format!("{executor} is given attempt {attempt} at {at}, the last {} of its were red", row.len())
        })
    }

    /// When the last attempts of an executor ended before a fact, the latest first, as long as they were red.
    fn red_before(&self, executor: &ExecutorId, seq: Seq) -> Vec<u64> {
        let anew = self.anew.get(executor).copied();
        let counts = |(id, end): &(&AttemptId, &(Seq, u64))| {
            end.0 < seq && anew.is_none_or(|anew| end.1 > anew) && !self.story.lost.contains_key(id)
        };
        let mut ended: Vec<_> = self.story.ended.iter().filter(counts).map(|(id, end)| (*end, id)).collect();
        ended.sort();
        let attempts = ended.iter().rev().filter_map(|((_, at), id)| Some((*at, self.attempts.get(*id)?)));
        let judged = attempts.filter(|(_, of)| of.executor == executor && !of.first.is_empty());
        judged.take_while(|(_, of)| of.is_red()).map(|(at, _)| at).collect()
    }

    fn cordoned(&self) -> BTreeSet<&'a ExecutorId> {
        self.signs
            .iter()
            .filter(|(_, signs)| signs.cordoned.is_some())
            .map(|(executor, _)| *executor)
            .collect()
    }
}

impl Attempt<'_> {
    fn is_red(&self) -> bool {
        self.first.values().filter(|failed| **failed).count() * 2 > self.first.len()
    }
}

/// Whether an attempt lost to the cause came back, and its executor stayed.
fn comes_back(cause: InfraCause) -> bool {
    is_charged(cause) && cause != InfraCause::ExecutorLost
}

impl Story<'_> {
    /// Whether another executor worked before this place in the stream, of which the scheduler knows since it started, and
    /// goes on with what it had.
    fn works_elsewhere(&self, place: usize, than: &ExecutorId, cordoned: &BTreeSet<&ExecutorId>) -> bool {
        let (before, after) = self.told.split_at(place);
        let mut rest = BTreeMap::new();
        for (_, _, event) in after.iter().rev() {
            match event {
                RunEvent::TestFinished { executor, attempt, .. } => {
                    rest.insert(executor, self.assigned[attempt] < place);
                }
                RunEvent::ExecutorLost { executor, .. } | RunEvent::AttemptLost { executor, .. } => {
                    rest.insert(executor, false);
                }
                _ => {}
            }
        }
        let started = after.first().map_or(0, |(_, at, _)| self.physical.life_at(*at));
        let known = before.iter().rev().take_while(|(_, at, _)| *at >= started);
        let last = |of: &ExecutorId| {
            known.clone().find_map(|(_, _, event)| match event {
                RunEvent::TestFinished { executor, .. } if executor == of => Some(true),
                RunEvent::ExecutorLost { executor, .. } | RunEvent::AttemptLost { executor, .. }
                    if executor == of =>
                {
                    Some(false)
                }
                _ => None,
            })
        };
        let stays = |of: &ExecutorId| {
            let mut lives = self.physical.agents.iter().filter(|agent| agent.executor == of.as_str());
            !self.physical.may_leave(of) && lives.all(|agent| agent.died.is_none())
        };
        rest.into_iter().any(|(of, goes_on)| {
            goes_on && of != than && !cordoned.contains(of) && last(of) == Some(true) && stays(of)
        })
    }
}
