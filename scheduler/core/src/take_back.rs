//! Taking unstarted tests back from busy slots for idle ones, so that a run does not end on one slot.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seagull_domain::{
    AttemptId, EnvironmentNumber, ExecutorId, Instant, Recall, RunId, SlotIndex, TestIndex,
};

use crate::State;
use crate::fact::What;
use crate::held_back::HeldBack;
use crate::run::{Attempt, Phase, Run};
use crate::sizes::Promised;
use crate::state::Place;
use crate::step::Step;

/// What moving tests costs at least: another worker collects their file and sets up their fixtures.
const COST_US: u64 = 500_000;
/// All that is under way is looked through, so in a large fleet that is not done for every report: so many attempts in
/// a millisecond.
const LOOKED_THROUGH_IN_A_MS: usize = 200;

/// Unstarted tests to ask back of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TakeBack {
    pub run: RunId,
    pub attempt: AttemptId,
    pub tests: Vec<TestIndex>,
}

/// For whom something is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Slots for which there is something else. Only what waits behind a test that is late, and would end after all else:
    /// at the end, when slots are idle, it would be too late.
    Busy,
    /// Slots that have no other hope.
    Idle,
}

/// What to take back, one move for each idle slot: of the slots with most left to do, a tail worth half of what would be
/// saved.
pub(crate) fn best_take_backs(state: &State, now: Instant, of: For) -> Vec<TakeBack> {
    let mut victims = victims(state, now);
    let rest_us = state.rest_us();
    let is_late = |victim: &Victim| {
        let cost_us = cost_us(state, victim.run_id);
        victim.overdue_us > cost_us && victim.left_us.saturating_sub(rest_us) > cost_us
    };
    victims.retain(|victim| of == For::Idle || is_late(victim));
    let runs: BTreeMap<_, _> = victims.iter().map(|victim| (victim.run_id, victim.run)).collect();
    let held_back: BTreeMap<_, _> = runs.iter().map(|(id, run)| (*id, HeldBack::of(state, run))).collect();
    let of = |victim: &Victim| {
        let Attempt { environment, larger, .. } = *victim.attempt;
        (RunId::clone(victim.run_id), environment, larger)
    };
    let promised = Promised::new();
    let helps = |place: &Place, (run, environment, larger): &(RunId, EnvironmentNumber, bool)| {
        let wanted = state.runs[run].sized(*environment, *larger);
        !held_back[run].is_no_help(place, *environment) && state.has_room(place, run, &wanted, &promised)
    };
    let mut helped: BTreeSet<_> = victims.iter().map(of).collect();
    helped.retain(|of| idle_slots(state).any(|place| helps(&place, of)));
    victims.retain(|victim| helped.contains(&of(victim)));
    // What must not go where there is room would come back to its slot, and be taken back again.
    let may_go =
        |victim: &Victim, place: Place| !victim.attempt.avoid.contains(place.0) && helps(&place, &of(victim));
    victims.retain(|victim| {
        victim.attempt.avoid.is_empty() || idle_slots(state).any(|place| may_go(victim, place))
    });
    if victims.is_empty() {
        return Vec::new();
    }
    // In a large fleet most slots may be idle: no more are looked at than there can be moves for.
    let outstanding = outstanding(state);
    let is_useful = |place: &Place| helped.iter().any(|of| helps(place, of));
    let useful = idle_slots(state).filter(is_useful).take(victims.len() + outstanding);
    let moves = useful.count().saturating_sub(outstanding);
    victims.sort_by_key(|victim| Reverse((victim.left_us, victim.id)));
    let take_back = |Victim { run_id, run, id, attempt, is_current, left_us, .. }| {
        let tests = tail(run, attempt, is_current, (left_us - cost_us(state, run_id)) / 2);
        (!tests.is_empty()).then(|| TakeBack { run: RunId::clone(run_id), attempt: id, tests })
    };
    victims.into_iter().filter_map(take_back).take(moves).collect()
}

/// An attempt that something may be taken of.
pub(crate) struct Victim<'a> {
    run_id: &'a RunId,
    run: &'a Run,
    id: AttemptId,
    pub attempt: &'a Attempt,
    /// Whether it is its slot's current one.
    is_current: bool,
    /// What its slot has to do up to the attempt's end.
    left_us: u64,
    /// How much longer than predicted its slot is at its test already.
    overdue_us: u64,
}

pub(crate) fn victims(state: &State, now: Instant) -> Vec<Victim<'_>> {
    let mut victims = Vec::new();
    for (executor, placed) in &state.placed {
        let mut slots: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        let known = state.executors.get(executor).is_some_and(|e| e.slots > 0);
        for (&id, run_id) in placed.iter().filter(|_| known) {
            let run = &state.runs[run_id];
            let attempt = &run.attempts[&id];
            if !attempt.is_open() || attempt.superseded {
                continue;
            }
            let is_current = !slots.contains_key(&attempt.slot);
            let slot = slots.entry(attempt.slot);
            let (done_us, overdue_us) =
                if is_current { progress_us(state, executor, attempt.slot, now) } else { (0, 0) };
            let (left_us, overdue_us) = slot.or_insert((overdue_us, overdue_us));
            *left_us += attempt.left_us.saturating_sub(done_us);
            // Less is not worth a move. Hardly more is: what a move costs is paid by a slot that is idle else.
            if *left_us > cost_us(state, run_id) / 4 * 5 && run.phase == Phase::Running {
                let (left_us, overdue_us) = (*left_us, *overdue_us);
                victims.push(Victim { run_id, run, id, attempt, is_current, left_us, overdue_us });
            }
        }
    }
    victims
}

/// What moving tests of a run costs: what it takes of late from giving an attempt to a worker that waits to its first test.
fn cost_us(state: &State, run: &RunId) -> u64 {
    state.starts_us.get(run).copied().unwrap_or(0).max(COST_US)
}

/// How much of its test's prediction a slot has behind it, and how much longer than predicted it is at it already. It may
/// well take as long again: what waits behind a test that hangs is not to wait for its end.
fn progress_us(state: &State, executor: &ExecutorId, slot: SlotIndex, now: Instant) -> (u64, u64) {
    let running = state.executors.get(executor).and_then(|executor| executor.running.get(&slot));
    let Some((running, run)) = running.and_then(|at| Some((at, state.runs.get(&at.run)?))) else {
        return (0, 0);
    };
    let predicted_us = run.tests.get(running.test.0 as usize).map_or(0, |test| test.predicted_us);
    let taken_us = u64::try_from((now - running.since).as_micros()).unwrap_or(u64::MAX);
    (taken_us.min(predicted_us), taken_us.saturating_sub(predicted_us))
}

pub(crate) fn idle_slots(state: &State) -> impl Iterator<Item = Place<'_>> {
    // What waits for a suspect takes nothing else.
    let may_take = |id: &&ExecutorId| !state.reserved.executors.contains_key(*id);
    let with_room = state.fleet.with_room.iter().filter(may_take).map(|id| (id, &state.executors[id]));
    let rooms = with_room.flat_map(|(id, e)| e.room.iter().map(move |(slot, run)| ((id, *slot), run)));
    rooms.filter(|(_, run)| run.is_none()).map(|(place, _)| place)
}

/// Moves under way: asked for and not answered, or answered and waiting for a slot.
pub(crate) fn outstanding(state: &State) -> usize {
    let attempts = state.placed.values().flatten().map(|(attempt, run)| &state.runs[run].attempts[attempt]);
    attempts.filter(|attempt| !attempt.asked.is_empty()).count()
}

/// Unstarted tests from the end of an attempt, worth about `worth_us`, relations whole. The first of what is left may
/// have started, and a slot that has started nothing keeps its first test, or two slots could take one test from each
/// other for ever.
fn tail(run: &Run, attempt: &Attempt, is_current: bool, worth_us: u64) -> Vec<TestIndex> {
    if !attempt.asked.is_empty() || attempt.bundle.is_none() {
        return Vec::new();
    }
    let kept = usize::from(is_current);
    let first = attempt.left.values().take(kept).map(|(test, _)| test);
    let stays: BTreeSet<_> = first.chain(&attempt.stays).map(|test| run.test(*test).relation).collect();
    let mut taken = Vec::new();
    let mut relations = BTreeSet::new();
    let mut worth = 0;
    let may_go = attempt.left.values().skip(kept).filter(|(test, _)| !attempt.stays.contains(test));
    for (test, _) in may_go.rev() {
        let known = run.test(*test);
        let whole = known.relation == 0 || relations.contains(&known.relation);
        if !whole
            && (worth >= worth_us
                || stays.contains(&known.relation)
                || has_started(run, attempt, known.relation))
        {
            continue;
        }
        if whole && known.relation == 0 && worth + known.predicted_us / 2 > worth_us {
            continue;
        }
        if known.relation != 0 {
            relations.insert(known.relation);
        }
        worth += known.predicted_us;
        taken.push(*test);
    }
    taken.reverse();
    taken
}

/// Whether some of a relation's tests have been reported on by the attempt.
fn has_started(run: &Run, attempt: &Attempt, relation: u32) -> bool {
    let of_relation = &run.relations[relation as usize - 1].tests;
    of_relation.iter().any(|test| !attempt.place.contains_key(test))
}

impl State {
    /// In how long the slots that there are have done what there is to do, by predictions.
    pub(crate) fn rest_us(&self) -> u64 {
        let running = self.runs.values().filter(|run| run.phase == Phase::Running);
        let left = running.map(|run| run.pace.slowed(run.predicted_us.saturating_sub(run.pace.predicted_us)));
        left.fold(0, u64::saturating_add) / u64::from(self.slots().max(1))
    }
}

impl Step<'_> {
    /// Whether it is time to look for what may be taken back, and there is somebody to take it.
    pub fn looks_back(&mut self) -> bool {
        let under_way: usize = self.state.fleet.shares.values().sum();
        let every = Duration::from_millis((under_way / LOOKED_THROUGH_IN_A_MS) as u64);
        let looks = !self.state.fleet.with_room.is_empty() && self.now - self.state.looked_back >= every;
        if looks {
            self.state.looked_back = self.now;
        }
        looks
    }

    pub fn take_back(&mut self, of: For) {
        if of == For::Busy && self.state.runs.values().all(|run| run.pending.is_empty()) {
            return;
        }
        for TakeBack { run, attempt, tests } in best_take_backs(self.state, self.now, of) {
            let state = &self.state.runs[&run].attempts[&attempt];
            let (generation, executor) = (state.generation.next(), state.executor.clone());
            self.dirty.insert(executor);
            let why = Recall::Idle;
            self.record(&run, What::TakeBack { attempt, generation, tests, why });
        }
    }
}
