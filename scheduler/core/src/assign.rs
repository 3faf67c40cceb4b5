//! Matching: which slot gets which work. One pure function over all runs and executors.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter::Peekable;

use seagull_domain::{
    AttemptId, BootId, BundleId, EnvironmentNumber, ExecutorId, RunId, SecondCopy, SlotIndex, SlotNumber,
};

use crate::State;
use crate::environments::Shares;
use crate::fact::What;
use crate::held_back::HeldBack;
use crate::rooms::{Rooms, Warm, is_short};
use crate::run::{Attempt, Bundle, Run, Test};
use crate::sizes::Wanted;
use crate::state::{Executor, Place};
use crate::step::Step;
use crate::suspects::is_early;
use crate::take_back::For;

/// An executor goes on reporting what it has done before it counts; so much of that is enough.
const MOST_DONE: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub run: RunId,
    /// None for a discovery, and for a second copy.
    pub bundle: Option<BundleId>,
    pub copy: Option<SecondCopy>,
    pub executor: ExecutorId,
    pub slot: SlotIndex,
}

/// Gives out work until no slot or no work is left: idle slots before those that would hold it as next; runs by
/// priority, then by the share of slots they have; in a run the discovery, then what goes first, then the longest bundle.
pub(crate) fn best_matching(state: &State) -> Vec<Match> {
    let mut matches = Vec::new();
    if state.fleet.with_room.is_empty() {
        return matches;
    }
    let rest_us = state.rest_us();
    let ranked = state.runs.iter().filter(|(_, run)| has_work(run)).map(|(id, run)| {
        let rank = (Reverse(run.spec.priority), state.fleet.shares.get(id).copied().unwrap_or(0), id);
        (rank, Work::new(state, id, run, rest_us))
    });
    let mut queue: BTreeMap<_, _> = ranked.collect();
    let mut rooms = None;
    while let Some(((priority, share, id), mut work)) = queue.pop_first() {
        if let Some(matched) = work.next_match(state, &mut rooms) {
            matches.push(matched);
            queue.insert((priority, share + 1, id), work);
        }
    }
    matches
}

/// Whether there is an executor for what is wanted beside those that are to be avoided.
pub(crate) fn may_go_elsewhere(
    state: &State,
    avoid: &BTreeSet<ExecutorId>,
    held_back: &HeldBack,
    wanted: &Wanted,
) -> bool {
    let takes = |(id, executor)| held_back.leaves_any(id, executor, wanted);
    state.executors.iter().any(|one| !avoid.contains(one.0) && takes(one))
}

/// Whether a bundle, with what it wants, may go to an executor: not where it should not, unless there is nowhere else.
pub(crate) fn may_go(
    state: &State,
    (bundle, wanted): (&Bundle, &Wanted),
    held_back: &HeldBack,
    id: &ExecutorId,
    executor: &Executor,
) -> bool {
    held_back.leaves_any(id, executor, wanted)
        && (!bundle.avoid.contains(id) || !may_go_elsewhere(state, &bundle.avoid, held_back, wanted))
}

/// Whether nothing of a bundle was seen to run anywhere, nor was lost or missing on the executor.
fn is_untried(run: &Run, bundle: &Bundle, on: &ExecutorId) -> bool {
    let is_untried = |test: &Test| {
        let is_lost_there = test.deaths.iter().any(|death| death.executor == *on);
        test.executions == 0 && !is_lost_there && !test.missing_on.contains(on)
    };
    !bundle.alone && bundle.entries.iter().all(|(test, _)| is_untried(run.test(*test)))
}

fn has_work(run: &Run) -> bool {
    run.wants_discovery() || (run.dispatches() && run.withdrawn == 0 && !run.pending.is_empty())
}

/// What a run has to give out.
struct Work<'a> {
    id: &'a RunId,
    run: &'a Run,
    discovers: bool,
    /// What slots have left to do.
    rest_us: u64,
    /// Those that were not looked at yet, what goes first first.
    bundles: Peekable<Box<dyn Iterator<Item = (BundleId, &'a Bundle)> + 'a>>,
    given: BTreeSet<BundleId>,
    /// Those that would take a slot from another environment, and may when all else has one.
    deferred: VecDeque<(BundleId, &'a Bundle)>,
    shares: Shares,
    /// Relations that bundles given out so far have tests of.
    taken: BTreeSet<u32>,
    held_back: HeldBack<'a>,
    /// What no place has room for.
    full: BTreeSet<Wanted>,
    /// What goes to no place that is left, wherever it was before.
    nowhere: BTreeSet<Wanted>,
    warm: BTreeMap<EnvironmentNumber, Warm<'a>>,
}

impl<'a> Work<'a> {
    fn new(state: &'a State, id: &'a RunId, run: &'a Run, rest_us: u64) -> Work<'a> {
        let bundles: Box<dyn Iterator<Item = _>> = Box::new(run.in_turn(rest_us));
        let bundles = bundles.peekable();
        let (discovers, held_back) = (run.wants_discovery(), HeldBack::of(state, run));
        let (given, taken, deferred, full, nowhere, warm) = Default::default();
        let shares = Shares::of(run);
        Work {
            id,
            run,
            discovers,
            rest_us,
            bundles,
            given,
            deferred,
            shares,
            taken,
            held_back,
            full,
            nowhere,
            warm,
        }
    }

    /// What finds no slot now finds none later: a slot that may hold something as next was idle before.
    fn next_match(&mut self, state: &'a State, rooms: &mut Option<Rooms<'a>>) -> Option<Match> {
        if std::mem::take(&mut self.discovers) {
            // It does not go where something came back before, but waits for another executor.
            let rooms = rooms.get_or_insert_with(|| Rooms::of(state));
            let default = EnvironmentNumber::default();
            let wanted = self.run.ordinary(default);
            let takes = |place: &&Place| {
                !self.held_back.contains(place, default)
                    && state.has_room(place, self.id, &wanted, &rooms.promised)
            };
            let mut free = rooms.idle.iter().filter(takes).copied();
            let any = free.clone().next().filter(|_| !state.has_untried(self.run, &BTreeSet::new()));
            let place = free.find(|place| self.run.in_vain_on(place.0) == 0).or(any)?;
            rooms.take_idle(&place);
            rooms.promise(place, self.id, &wanted);
            return Some(self.matched(None, place));
        }
        while let Some((id, bundle, may_move)) = self.next_bundle() {
            let wanted = state.wanted_by(self.run, bundle);
            if self.full.contains(&wanted) || self.has_busy_relation(bundle) || self.run.has_to_wait(bundle) {
                continue;
            }
            let rooms = rooms.get_or_insert_with(|| Rooms::of(state));
            if !rooms.has_any(self.id, bundle) {
                if is_early(bundle, self.rest_us) {
                    continue;
                }
                if may_move || self.deferred.is_empty() {
                    break;
                }
                // What goes last waits for a whole executor, which what was put off does not.
                self.bundles.by_ref().for_each(drop);
                continue;
            }
            let place = if bundle.alone {
                self.place_alone(state, (id, bundle), &wanted, rooms)
            } else {
                self.best_place(state, bundle, &wanted, rooms)
            };
            match place {
                Some(place) if !may_move && !bundle.alone && self.would_move(bundle, place) => {
                    self.deferred.push_back((id, bundle));
                }
                Some(place) => return Some(self.give((id, bundle), &wanted, place, rooms)),
                None => {}
            }
        }
        let has_trials = self.held_back.has_trials();
        has_trials.then(|| self.next_trial(state, rooms.get_or_insert_with(|| Rooms::of(state)))).flatten()
    }

    /// The next to look at, and whether it may take a slot from another environment. What goes alone goes after all else.
    fn next_bundle(&mut self) -> Option<(BundleId, &'a Bundle, bool)> {
        let is_turn = |(_, bundle): &(BundleId, &Bundle)| !bundle.alone || self.deferred.is_empty();
        let next = self.bundles.next_if(is_turn).map(|(id, bundle)| (id, bundle, false));
        next.or_else(|| self.deferred.pop_front().map(|(id, bundle)| (id, bundle, true)))
    }

    /// Whether the place would go over to another environment, which has its share.
    fn would_move(&self, bundle: &Bundle, place: Place) -> bool {
        let environment = self.run.environment_of(bundle);
        let worker = self.run.worker(place.0, place.1);
        worker.is_some_and(|worker| worker.environment != environment) && !self.shares.is_due(environment)
    }

    /// When the others have what they can take, an executor that is on trial gets the shortest bundle: what fails there has
    /// failed.
    fn next_trial(&mut self, state: &'a State, rooms: &mut Rooms<'a>) -> Option<Match> {
        let on_trial = rooms.idle.iter().filter(|place| self.held_back.is_on_trial(place));
        let places: BTreeMap<_, _> = on_trial.map(|place| (place.0, *place)).collect();
        let (bundle, place) = places.into_values().find_map(|place| {
            let is_unused = rooms.unused.contains(place.0);
            Some((self.shortest_for(state, &place, is_unused, rooms)?, place))
        })?;
        if bundle.1.alone {
            rooms.clear(state, place.0);
        }
        let wanted = state.wanted_by(self.run, bundle.1);
        Some(self.give(bundle, &wanted, place, rooms))
    }

    /// Of what was never executed, if there is any: nothing else would show how tests fare there. What came to nothing
    /// there before may have done so because the executor is sick.
    fn shortest_for(
        &self,
        state: &State,
        place: &Place,
        is_unused: bool,
        rooms: &Rooms,
    ) -> Option<(BundleId, &'a Bundle)> {
        let (run, executor) = (self.run, &state.executors[place.0]);
        let waits = |(id, bundle): &(&BundleId, &Bundle)| {
            let is_held = self.given.contains(*id) || (bundle.alone && !is_unused);
            !is_held && !self.has_busy_relation(bundle) && !run.has_to_wait(bundle)
        };
        let goes = |(_, bundle): &(&BundleId, &Bundle)| {
            let wanted = state.wanted_by(run, bundle);
            state.has_room(place, self.id, &wanted, &rooms.promised)
                && (may_go(state, (bundle, &wanted), &self.held_back, place.0, executor)
                    || (self.held_back.leaves_any(place.0, executor, &wanted)
                        && is_untried(run, bundle, place.0)))
        };
        let length = |(id, bundle): &(&BundleId, &Bundle)| {
            let is_new = bundle.entries.iter().any(|(test, _)| run.test(*test).executions == 0);
            (bundle.alone, !is_new, bundle.avoid.contains(place.0), bundle.predicted_us, **id)
        };
        let shortest = run.pending.iter().filter(waits).filter(goes).min_by_key(length);
        shortest.map(|(id, bundle)| (*id, bundle))
    }

    fn give(
        &mut self,
        (id, bundle): (BundleId, &Bundle),
        wanted: &Wanted,
        place: Place<'a>,
        rooms: &mut Rooms<'a>,
    ) -> Match {
        rooms.take(place, self.id, bundle);
        rooms.promise(place, self.id, wanted);
        let before = self.run.worker(place.0, place.1).map(|worker| worker.environment);
        self.shares.moved(before, self.run.environment_of(bundle), bundle);
        self.given.insert(id);
        self.taken.extend(self.run.relations_in(bundle));
        self.matched(Some(id), place)
    }

    fn matched(&mut self, bundle: Option<BundleId>, (executor, slot): Place) -> Match {
        self.held_back.given(executor);
        Match { run: self.id.clone(), bundle, copy: None, executor: executor.clone(), slot }
    }

    /// Whether a live attempt holds anything of a relation that the bundle has tests of.
    fn has_busy_relation(&self, bundle: &Bundle) -> bool {
        let held = &self.run.relations_held;
        let is_busy = |relation| held.contains_key(&relation) || self.taken.contains(&relation);
        !(held.is_empty() && self.taken.is_empty()) && self.run.relations_in(bundle).any(is_busy)
    }

    /// Where nothing else runs: on the executor that was emptied for it, or on one that happens to have nothing.
    fn place_alone(
        &self,
        state: &'a State,
        (id, bundle): (BundleId, &Bundle),
        wanted: &Wanted,
        rooms: &mut Rooms<'a>,
    ) -> Option<Place<'a>> {
        let environment = wanted.environment;
        let goes =
            |id: &ExecutorId| may_go(state, (bundle, wanted), &self.held_back, id, &state.executors[id]);
        let kept = rooms.take_kept(self.id, id, goes);
        let mut unused = rooms.unused.iter().copied().filter(|id| !self.held_back.is_tried(id));
        let executor = kept.or_else(|| unused.find(|id| goes(id)))?;
        let slots = (0..state.executors[executor].slots).map(|slot| (executor, SlotIndex(slot)));
        let free = slots.filter(|place| !self.held_back.contains(place, environment));
        let place = free.max_by_key(|place| (self.run.has_worker_of(environment, place), Reverse(*place)));
        rooms.clear(state, executor);
        place
    }

    /// Where the run has a worker of its environment already, if there is such a slot; a retry where it did not fail; never
    /// where the bundle should not go, unless there is nowhere else.
    fn best_place(
        &mut self,
        state: &State,
        bundle: &Bundle,
        wanted: &Wanted,
        rooms: &Rooms<'a>,
    ) -> Option<Place<'a>> {
        if self.nowhere.contains(wanted) {
            return None;
        }
        let environment = wanted.environment;
        let has_room = |place: &&Place| state.has_room(place, self.id, wanted, &rooms.promised);
        let next = || rooms.next.get(self.id).into_iter().flatten();
        if !rooms.idle.iter().chain(next()).any(|place| has_room(&place)) {
            self.full.insert(*wanted);
            return None;
        }
        let has_other = may_go_elsewhere(state, &bundle.avoid, &self.held_back, wanted);
        let avoids = |place: &Place| has_other && bundle.avoid.contains(place.0);
        let allowed = |place: &Place| {
            !avoids(place) && !self.held_back.is_no_help(place, environment) && has_room(&place)
        };
        let (run, idle) = (self.run, &rooms.idle);
        let failed_at = run.failed_at(bundle);
        let untried = |place: &Place| allowed(place) && !failed_at.contains(place);
        let warm = self.warm.entry(environment).or_default();
        let has_worker = |place: &Place| run.has_worker_of(environment, place);
        // A slot without a worker goes over to no other environment.
        let is_cold = |place: &&Place| run.worker(place.0, place.1).is_none();
        let mut first = |may: &dyn Fn(&Place) -> bool| {
            let warm = warm.first(idle, has_worker, may);
            let cold = || idle.iter().filter(is_cold).find(|place| may(place)).copied();
            warm.or_else(cold).or_else(|| idle.iter().find(|place| may(place)).copied())
        };
        let place = first(&untried).or_else(|| first(&allowed));
        let place = place.or_else(|| next().find(|place| allowed(place)).copied());
        if place.is_none() && (!has_other || bundle.avoid.is_empty()) {
            self.nowhere.insert(*wanted);
        }
        place
    }
}

impl Run {
    pub(crate) fn has_worker_of(&self, environment: EnvironmentNumber, place: &Place) -> bool {
        self.worker(place.0, place.1).is_some_and(|worker| worker.environment == environment)
    }

    /// Where a test that is to be retried failed: its workers may be why.
    fn failed_at(&self, bundle: &Bundle) -> Vec<Place<'_>> {
        let test = bundle.entries.last().map(|(test, _)| self.test(*test));
        let attempts = test.iter().flat_map(|test| &test.failed_in).map(|attempt| &self.attempts[attempt]);
        attempts.map(|attempt| (&attempt.executor, attempt.slot)).collect()
    }
}

impl Attempt {
    /// Whether there is anything left of it to report on.
    pub(crate) fn is_open(&self) -> bool {
        self.bundle.is_none() || !self.left.is_empty()
    }

    fn is_nearly_done(&self) -> bool {
        self.bundle.is_some() && is_short(self.left_us)
    }
}

impl State {
    /// The slots of an executor with room; see [`crate::Executor::room`].
    pub(crate) fn room(&self, executor: &ExecutorId) -> BTreeMap<SlotIndex, Option<RunId>> {
        let takes = |executor: &&Executor| !executor.draining && executor.done.len() < MOST_DONE;
        let known = self.executors.get(executor).filter(takes);
        let slots = 0..known.map_or(0, |executor| executor.slots);
        let mut room: BTreeMap<_, _> = slots.map(|slot| (SlotIndex(slot), None)).collect();
        let done = known.map(|executor| &executor.done);
        let is_done = |attempt: &AttemptId| done.is_some_and(|done| done.contains(attempt));
        let placed = self.placed.get(executor).into_iter().flatten();
        for (attempt, run) in placed.filter(|(attempt, _)| !is_done(attempt)) {
            let attempt = &self.runs[run].attempts[attempt];
            if attempt.alone {
                return BTreeMap::new();
            }
            if room.remove(&attempt.slot) == Some(None) && attempt.is_nearly_done() {
                room.insert(attempt.slot, Some(run.clone()));
            }
        }
        room
    }

    /// Whether a worker of the run is there, with nothing to do.
    fn has_idle_worker(&self, run: &RunId, executor: &ExecutorId, slot: SlotIndex) -> bool {
        self.runs[run].worker(executor, slot).is_some() && self.queue(executor, slot).is_empty()
    }
}

impl Step<'_> {
    /// Gives out what there is to give out, then takes work back for slots that are still idle.
    pub fn dispatch(&mut self) {
        for executor in &self.dirty {
            self.state.look_for_room(executor);
        }
        self.state.reserve(self.now);
        let slots = self.state.slots();
        let looks_back = self.looks_back();
        if looks_back {
            self.take_back(For::Busy);
        }
        let mut unused = BTreeMap::new();
        for matched in best_matching(self.state) {
            let run = &self.state.runs[&matched.run];
            let number = run.worker(&matched.executor, matched.slot).map(|worker| worker.number);
            let number = number
                .or_else(|| unused.entry(matched.run.clone()).or_insert_with(|| unused_numbers(run)).next());
            self.assign(matched, number.expect("there are more numbers than workers"), slots);
        }
        if looks_back {
            self.take_back(For::Idle);
        }
        self.copy_late_test(slots);
    }

    pub fn assign(&mut self, matched: Match, number: SlotNumber, slots: u32) {
        let Match { run, bundle, copy, executor, slot } = matched;
        let state = &self.state.runs[&run];
        let pending = bundle.map(|bundle| &state.pending[&bundle]);
        let tests = pending.map_or(u32::from(copy.is_some()), |bundle| bundle.entries.len() as u32);
        let alone = pending.is_some_and(|bundle| bundle.alone);
        let entries = pending.into_iter().flat_map(|bundle| &bundle.entries).map(|(test, _)| *test);
        let all = entries.chain(copy.map(|copy| copy.test));
        let larger = self.state.wanted(state, all).larger;
        let boot = self.state.executors[&executor].boot.clone();
        let boot: BootId = boot.expect("an executor with slots has reported its boot");
        let attempt = self.state.next_attempt;
        let bundle = bundle.or(copy.map(|_| state.next_bundle));
        if bundle.is_none() {
            self.ask_to_anticipate(&run, slots);
        }
        let slots = slots.max(number.0 + 1);
        let waits = self.state.has_idle_worker(&run, &executor, slot);
        let of = executor.clone();
        self.record(
            &run,
            What::Assigned { attempt, bundle, executor, boot, slot, number, slots, tests, copy, larger },
        );
        self.state.look_for_room(&of);
        if let Some(executor) = self.state.executors.get_mut(&of) {
            if alone {
                executor.alone_since = Some(self.now);
            }
            if waits {
                executor.given.insert(slot, (attempt, self.now));
            }
        }
        self.dirty.insert(of);
    }
}

/// The numbers that no live worker of the run has, the lowest first.
pub(crate) fn unused_numbers(run: &Run) -> impl Iterator<Item = SlotNumber> + use<> {
    let used: BTreeSet<_> = run.workers.values().flat_map(BTreeMap::values).map(|w| w.number).collect();
    (0..).map(SlotNumber).filter(move |number| !used.contains(number))
}
