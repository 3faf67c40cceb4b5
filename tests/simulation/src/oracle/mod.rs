//! The oracle: says in its own words what must be true of a history, and compares what was told of each run with what
//! physically happened. It shares no code with the cores.

mod controllers;
mod copies;
mod executions;
mod judgement;
mod placement;
mod poison;
mod run;
mod sick;
mod silence;
mod suspects;
mod verdicts;

use std::collections::BTreeMap;

use seagull_domain::{
    AttemptId, Evidence, ExecutorId, RunEvent, SecondCopy, Seq, SuiteError, TestIndex, TestResult,
};

pub use poison::Innocents;

use crate::machines::ExecutorPlan;
use crate::physical::{Execution, Physical};
use crate::scenario::{MEMORY_KIB, RunPlan};
use crate::world::World;

/// Of a larger run only its stream, its end and its counts are judged: the rest compares every test with every other.
const MOST_TESTS: usize = 10_000;

/// What was told of a run, beside what happened.
struct Story<'a> {
    plan: &'a RunPlan,
    /// In order, with the time from which each could be read.
    told: &'a [(Seq, u64, RunEvent)],
    physical: &'a Physical,
    /// Executors that were given up, and when that was told of whichever run.
    executors_lost: Vec<(u64, &'a str)>,
    /// All but those of attempts that were withdrawn, which never count, and of tests that its manifest does not have.
    executions: Vec<&'a Execution>,
    withdrawn_executions: Vec<&'a Execution>,
    run: usize,
    cancel_asked: bool,
    /// When its client was told that its cancellation is heard.
    cancel_heard: Option<u64>,
    /// What its client said of the suite as a whole.
    words: &'a [Vec<SuiteError>],
    /// Since when nobody watches it: its client is gone.
    unwatched_since: Option<u64>,
    /// Each time from which on its client could not watch it.
    unwatched: &'a [u64],
    /// The scheduler crashed or stood still in this history.
    has_scheduler_faults: bool,
    /// Attempts that were given up because their executor was not heard from: when that was told.
    lost: BTreeMap<AttemptId, u64>,
    /// Attempts of a plan that was anticipated in vain: when they were withdrawn.
    withdrawn: BTreeMap<AttemptId, u64>,
    /// Where in the stream each attempt was given out.
    assigned: BTreeMap<AttemptId, usize>,
    /// What attempts run though another one still runs it.
    copies: BTreeMap<AttemptId, SecondCopy>,
    /// The machines that have a larger slot.
    larger: Vec<&'a str>,
    /// When each attempt ended or was lost: the number of that fact, and when it could be read.
    ended: BTreeMap<AttemptId, (Seq, u64)>,
}

/// A finished execution as it was told, with its place in the stream.
struct Told<'a> {
    place: usize,
    attempt: AttemptId,
    executor: &'a str,
    slot: u32,
    result: &'a TestResult,
    evidence: Option<Evidence>,
}

pub fn judge(world: &World) -> Result<Innocents, String> {
    silence::check(&world.physical)?;
    let mut innocents = Innocents::default();
    let runs = world.scenario.runs.iter().enumerate();
    let stories: Vec<_> = runs.map(|(run, plan)| Story::new(world, run, plan)).collect();
    for story in &stories {
        let plan = story.plan;
        let of_run = |error: String| format!("run {}: {error}", plan.spec.id);
        let journal = world.journal.stream(&plan.spec.id, Seq(0));
        ensure(journal == story.told, || "a watcher saw another stream than the journal has".into())
            .map_err(of_run)?;
        if plan.tests.len() > MOST_TESTS {
            run::check(story).map_err(of_run)?;
            continue;
        }
        verdicts::check(story).map_err(of_run)?;
        run::check(story).map_err(of_run)?;
        judgement::check(story).map_err(of_run)?;
        executions::check(story).map_err(of_run)?;
        copies::check(story).map_err(of_run)?;
        placement::check(story).map_err(of_run)?;
        controllers::check(story).map_err(of_run)?;
        suspects::check(story).map_err(of_run)?;
        sick::check(story).map_err(of_run)?;
        poison::check(story, &stories).map_err(of_run)?;
        innocents.add(Innocents::of(story));
    }
    Ok(innocents)
}

fn lost_at((_, at, event): &(Seq, u64, RunEvent)) -> Option<(u64, &str)> {
    match event {
        RunEvent::ExecutorLost { executor, .. } => Some((*at, executor.as_str())),
        _ => None,
    }
}

/// Those that have what the tests of an environment need with twice the memory, beside their services.
fn larger_machines(world: &World) -> Vec<&str> {
    let larger = |of: &&ExecutorPlan| of.capacity.memory_kib >= MEMORY_KIB / 2 * 3;
    world.scenario.executors.iter().filter(larger).map(|of| of.name.as_str()).collect()
}

impl<'a> Story<'a> {
    fn new(world: &'a World, run: usize, plan: &'a RunPlan) -> Story<'a> {
        let told = world.clients[run].seen.as_slice();
        let mut assigned = BTreeMap::new();
        let mut copies = BTreeMap::new();
        for (place, (.., event)) in told.iter().enumerate() {
            if let RunEvent::AttemptAssigned { attempt, copy, .. } = event {
                assigned.insert(*attempt, place);
                copies.extend(copy.map(|copy| (*attempt, copy)));
            }
        }
        let lost = world.journal.lost(&plan.spec.id);
        let withdrawn = world.journal.withdrawn(&plan.spec.id);
        let is_there = |test: TestIndex| (test.0 as usize) < plan.tests.len();
        let of_run = world.physical.executions.iter().filter(|e| e.run == run && is_there(e.test));
        let (withdrawn_executions, executions) =
            of_run.partition(|execution| withdrawn.contains_key(&execution.attempt));
        let client = &world.clients[run];
        let (cancel_asked, unwatched_since) = (client.cancel_asked, client.lost);
        Story {
            plan,
            told,
            physical: &world.physical,
            executors_lost: world
                .clients
                .iter()
                .flat_map(|client| &client.seen)
                .filter_map(lost_at)
                .collect(),
            executions,
            withdrawn_executions,
            run,
            cancel_asked,
            cancel_heard: client.cancel_heard,
            words: &client.words,
            unwatched_since,
            unwatched: &client.unwatched,
            has_scheduler_faults: world.census.of("fault: scheduler crashed")
                + world.census.of("fault: scheduler paused")
                + world.census.of("fault: journal stalled")
                > 0,
            lost,
            withdrawn,
            assigned,
            copies,
            larger: larger_machines(world),
            ended: world.journal.ended(&plan.spec.id),
        }
    }

    fn events(&self) -> impl Iterator<Item = &RunEvent> {
        self.told.iter().map(|(_, _, event)| event)
    }

    /// Where in the stream the first such event is.
    fn first(&self, wanted: impl Fn(&RunEvent) -> bool) -> Option<usize> {
        self.events().position(wanted)
    }

    /// The executor that found the tests there are.
    fn discovered_on(&self) -> Option<&ExecutorId> {
        let confirmed = self.first(|event| matches!(event, RunEvent::ManifestConfirmed { .. }))?;
        self.told[..confirmed].iter().rev().find_map(|(_, _, event)| match event {
            RunEvent::AttemptAssigned { discovery: true, executor, .. } => Some(executor),
            _ => None,
        })
    }

    fn finished(&self) -> impl Iterator<Item = Told<'_>> {
        self.events().enumerate().filter_map(|(place, event)| match event {
            RunEvent::TestFinished { result, attempt, executor, slot, evidence } => Some(Told {
                place,
                attempt: *attempt,
                executor: executor.as_str(),
                slot: slot.0,
                result,
                evidence: *evidence,
            }),
            _ => None,
        })
    }

    /// Whether an execution's executor was given up on, rightly or wrongly, before `time`.
    fn was_lost_by(&self, execution: &Execution, time: u64) -> bool {
        self.lost.get(&execution.attempt).is_some_and(|lost| *lost <= time)
    }

    /// Whether an execution's attempt was withdrawn before `time`.
    fn was_withdrawn_by(&self, execution: &Execution, time: u64) -> bool {
        self.withdrawn.get(&execution.attempt).is_some_and(|withdrawn| *withdrawn <= time)
    }

    /// Whether nothing kept an execution's outcome from being told.
    fn is_sound(&self, execution: &Execution) -> bool {
        !self.lost.contains_key(&execution.attempt) && self.physical.agents[execution.agent].died.is_none()
    }

    /// Whether all its executors were there, and thought well of, all the time.
    fn is_undisturbed(&self) -> bool {
        let disturbs = |event: &RunEvent| {
            matches!(
                event,
                RunEvent::ExecutorLost { .. }
                    | RunEvent::ExecutorDrained { .. }
                    | RunEvent::ExecutorCordoned { .. }
                    | RunEvent::AttemptLost { .. }
            )
        };
        !self.has_scheduler_faults && !self.events().any(disturbs)
    }

    /// How many second copies the test had.
    fn copies_of(&self, test: TestIndex) -> usize {
        self.copies.values().filter(|copy| copy.test == test).count()
    }

    fn is_related(&self, test: TestIndex) -> bool {
        self.plan.relations.iter().any(|relation| relation.tests.contains(&test))
    }

    /// Whether nothing that an attempt has was given out before, or is related to anything.
    fn is_fresh(&self, attempt: AttemptId) -> bool {
        let Some(given) = self.physical.given.get(&attempt).filter(|given| !given.is_empty()) else {
            return false;
        };
        let place = self.assigned[&attempt];
        // What an agent gave back before it knew of it was given out before, too.
        let is_retaken =
            |(_, _, event): &(Seq, u64, RunEvent)| matches!(event, RunEvent::TakenBack { tests: 1.., .. });
        if self.told[..place].iter().any(is_retaken) {
            return false;
        }
        let before = |(id, at): (&AttemptId, &usize)| {
            let had = self.physical.given.get(id).filter(|_| *at < place);
            had.is_some_and(|had| given.iter().any(|test| had.contains(test)))
        };
        !given.iter().any(|test| self.is_related(*test)) && !self.assigned.iter().any(before)
    }

    fn of_test(&self, test: TestIndex) -> impl Iterator<Item = &Execution> {
        self.executions.iter().copied().filter(move |execution| execution.test == test)
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
