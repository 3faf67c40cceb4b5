//! Poison: a test is blamed for its executors only where it can be no chance that they were lost so soon.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use seagull_domain::{AttemptId, RunEvent, TestCause, TestIndex};

use super::{Story, Told, ensure};
use crate::physical::{Ended, Sign};
use crate::scenario::Does;

/// What counts as chance.
const CHANCE: f64 = 0.01;

/// Tests that kill no executor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Innocents {
    /// So many were in flight when an executor was lost.
    pub suspects: u64,
    pub condemned: u64,
}

/// A loss by which a test became a suspect, or stayed one.
struct Loss {
    attempt: AttemptId,
    told_at: u64,
}

impl Innocents {
    pub fn add(&mut self, other: Innocents) {
        self.suspects += other.suspects;
        self.condemned += other.condemned;
    }

    pub(super) fn of(story: &Story) -> Innocents {
        let suspects: BTreeSet<_> = story.events().filter_map(suspect).collect();
        let suspects = suspects.into_iter().filter(|test| !kills(story, *test)).count();
        let condemned = condemned(story).filter(|told| !kills(story, told.result.test)).count();
        Innocents { suspects: suspects as u64, condemned: condemned as u64 }
    }
}

/// By the most that may have been known to the scheduler that condemned it. What other runs' tests were condemned for
/// counts for none.
pub fn check(story: &Story, all: &[Story]) -> Result<(), String> {
    for told in condemned(story) {
        let (test, at) = (told.result.test, story.told[told.place].1);
        let chance = chance(story, all, test, at);
        ensure(chance < CHANCE, || {
            format!("test {test} is condemned, which may be chance in {:.1} of 100 cases", chance * 100.0)
        })?;
    }
    Ok(())
}

fn condemned<'a>(story: &'a Story<'a>) -> impl Iterator<Item = Told<'a>> {
    story.finished().filter(|told| told.result.cause == Some(TestCause::Poison))
}

fn suspect(event: &RunEvent) -> Option<TestIndex> {
    match event {
        RunEvent::AttemptLost { suspect, .. } => *suspect,
        _ => None,
    }
}

fn kills(story: &Story, test: TestIndex) -> bool {
    story.plan.tests.get(test.0 as usize).is_some_and(|script| script.does == Does::KillsExecutor)
}

/// The least that the chance may be: of fewer losses elsewhere, in more time, and less time with the test alone than
/// there can have been.
fn chance(story: &Story, all: &[Story], test: TestIndex, at: u64) -> f64 {
    let from = story.physical.life_at(at);
    let losses = losses_with(story, test, at);
    let alone: Vec<_> = losses.iter().skip(1).filter(|loss| loss.told_at >= from).collect();
    let executors: BTreeSet<_> = story.physical.agents.iter().map(|agent| &agent.executor).collect();
    let lived = (at - from).max(1) as f64 * executors.len() as f64;
    let rate = losses_without(story, all, test, from..=at) as f64 / lived;
    let surprise = |loss: &&Loss| -(rate * alone_ms(story, loss) as f64).min(1.0).ln();
    at_least(alone.iter().map(surprise).sum(), alone.len())
}

/// How likely so many events, one after the other, are to be at least so surprising together: each surprise by itself is
/// distributed exponentially.
fn at_least(surprise: f64, events: usize) -> f64 {
    let terms = (1..events).scan(1.0, |term, nth| {
        *term *= surprise / nth as f64;
        Some(*term)
    });
    let chance = (-surprise).exp() * (1.0 + terms.sum::<f64>());
    if surprise.is_finite() { chance } else { 0.0 }
}

fn losses_with(story: &Story, test: TestIndex, until: u64) -> Vec<Loss> {
    let loss = |(_, at, event): &(_, u64, RunEvent)| match event {
        RunEvent::AttemptLost { attempt, suspect: Some(of), .. } if *of == test => {
            Some(Loss { attempt: *attempt, told_at: *at })
        }
        _ => None,
    };
    story.told.iter().filter_map(loss).filter(|loss| loss.told_at <= until).collect()
}

/// How many executors were given up that did not leave, beside those that tests are to blame for, or are blamed for.
fn losses_without(story: &Story, all: &[Story], test: TestIndex, within: RangeInclusive<u64>) -> usize {
    let physical = story.physical;
    let given_up = physical.signs.iter().filter_map(|(at, sign)| match sign {
        Sign::GivenUp(executor) if within.contains(at) && !physical.may_leave(executor) => {
            Some((*at, executor))
        }
        _ => None,
    });
    let given_up: BTreeSet<_> = given_up.collect();
    let killed = physical.executions.iter().filter(|execution| execution.ended == Ended::Gone);
    let killed = killed.filter(|execution| {
        let of = all.iter().find(|story| story.run == execution.run);
        of.is_some_and(|story| kills(story, execution.test))
    });
    let blamed = all.iter().flat_map(|story| condemned(story).map(move |told| (story, told)));
    let blamed = blamed.filter(|(of, told)| {
        (of.run, told.result.test) != (story.run, test) && within.contains(&of.told[told.place].1)
    });
    let explained = blamed.map(|(of, told)| losses_with(of, told.result.test, *within.end()).len());
    let own = losses_with(story, test, *within.end()).len();
    given_up.len().saturating_sub(own + killed.count() + explained.sum::<usize>())
}

/// For how long the executor of a lost attempt was heard of after it had got it, as the scheduler's clock counts.
fn alone_ms(story: &Story, loss: &Loss) -> u64 {
    let (_, given_at, RunEvent::AttemptAssigned { executor, .. }) =
        &story.told[story.assigned[&loss.attempt]]
    else {
        unreachable!("an attempt is listed where it was assigned")
    };
    let meanwhile = || story.physical.signs.iter().filter(|(at, _)| (*given_at..=loss.told_at).contains(at));
    let given_up = meanwhile().find(|(_, sign)| matches!(sign, Sign::GivenUp(of) if of == executor));
    let given_up = given_up.map_or(loss.told_at, |(at, _)| *at);
    // The newest report of each of its processes; others are late.
    let mut newest = BTreeMap::new();
    let mut paused = 0;
    for (at, sign) in meanwhile().filter(|(at, _)| *at < given_up) {
        match sign {
            Sign::Reported { executor: of, boot, sequence } if of == executor => {
                let known = newest.entry(boot).or_insert((*sequence, *at));
                if *sequence > known.0 {
                    *known = (*sequence, *at);
                }
            }
            Sign::SchedulerStoodStill(ms) => paused += ms,
            _ => {}
        }
    }
    let heard = newest.values().map(|(_, at)| *at).min().unwrap_or(*given_at);
    (heard - given_at).saturating_sub(paused)
}
