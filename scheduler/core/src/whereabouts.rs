//! Where a test without a verdict is, and where all those of a run are: what a person asks who waits for them. Decides
//! nothing.

use std::collections::BTreeSet;

use seagull_domain::{
    AttemptId, BundleId, Discovering, ExecutorId, Instant, Role, RunId, Silent, Standing, TestIndex,
    Whereabouts,
};

use crate::State;
use crate::assign::may_go;
use crate::fact::CutOff;
use crate::held_back::HeldBack;
use crate::run::{Attempt, Run};

impl State {
    /// None where the run has no such test that is to run: it is decided, or its manifest does not count yet.
    pub fn whereabouts(&self, now: Instant, run: &RunId, test: TestIndex) -> Option<Whereabouts> {
        let state = self.runs.get(run)?;
        let known = state.tests.get(test.0 as usize)?;
        if known.verdict.is_some() || state.anticipated.is_some() {
            return None;
        }
        let holds = |attempt: &Attempt| {
            attempt.place.get(&test).is_some_and(|place| attempt.left.contains_key(place))
        };
        match state.live_attempts().find(|(_, attempt)| holds(attempt)) {
            Some((id, attempt)) => Some(self.on_a_slot(now, run, (id, attempt), test)),
            None => known.pending.map(|bundle| self.queued(run, state, bundle)),
        }
    }

    fn on_a_slot(
        &self,
        now: Instant,
        run: &RunId,
        (id, held): (AttemptId, &Attempt),
        test: TestIndex,
    ) -> Whereabouts {
        let (attempt, executor, slot) = (id, held.executor.clone(), held.number);
        let known = self.executors.get(&executor);
        let running = known.and_then(|known| known.running.get(&held.slot));
        match running.filter(|at| at.run == *run && at.attempt == id && at.test == test) {
            Some(at) => {
                let millis = now.0.saturating_sub(at.since.0);
                Whereabouts::Running { attempt, executor, slot, millis }
            }
            None => {
                let own = held.left.range(..held.place[&test]).count();
                let behind = (own + self.before_on_slot(id, held)) as u32;
                Whereabouts::Next { attempt, executor, slot, behind }
            }
        }
    }

    /// How many tests the attempts before it on its slot have left.
    fn before_on_slot(&self, id: AttemptId, held: &Attempt) -> usize {
        let before = self.queue(&held.executor, held.slot).into_iter().take_while(|(other, _)| *other != id);
        before.map(|(other, run)| self.runs[run].attempts[&other].left.len()).sum()
    }

    fn queued(&self, run: &RunId, state: &Run, bundle: BundleId) -> Whereabouts {
        let behind = state.pending.in_order().take_while(|(id, _)| *id != bundle).count() as u32;
        let held_back = HeldBack::of(self, state);
        let bundle = &state.pending[&bundle];
        let wanted = self.wanted_by(state, bundle);
        let (mut slots, mut avoided) = (0, 0);
        for (id, known) in
            self.executors.iter().filter(|(id, known)| held_back.leaves_any(id, known, &wanted))
        {
            let may_go = may_go(self, (bundle, &wanted), &held_back, id, known);
            *(if may_go { &mut slots } else { &mut avoided }) += u32::from(known.slots);
        }
        let runs = self.fleet.shares.keys().filter(|other| *other != run).count() as u32;
        Whereabouts::Queued { behind, slots, avoided, runs }
    }

    /// The test that an attempt was last heard to be at, of those that it leaves.
    pub(crate) fn cut_off(&self, until: Instant, run: &RunId, id: AttemptId) -> Option<CutOff> {
        let state = &self.runs[run];
        let attempt = &state.attempts[&id];
        let known = self.executors.get(&attempt.executor)?;
        let at = known.running.get(&attempt.slot).filter(|at| at.run == *run && at.attempt == id)?;
        let (_, role) = attempt.left.get(attempt.place.get(&at.test)?)?;
        let counts = *role == Role::Run && !attempt.withdrawn && !state.anticipates(attempt);
        let ran_ms = until.0.saturating_sub(at.since.0);
        counts.then_some(CutOff { test: at.test, ran_ms })
    }

    /// None where the run is not under way here.
    pub fn standing(&self, now: Instant, run: &RunId) -> Option<Standing> {
        let state = self.runs.get(run).filter(|state| !state.is_ended())?;
        let mut standing = Standing { silent: self.silent(now, run), ..Standing::default() };
        let mut at = BTreeSet::new();
        for (id, attempt) in state.live_attempts() {
            if attempt.bundle.is_none() {
                standing.discovering = Some(self.discovering(now, id, attempt));
            }
            let known = self.executors.get(&attempt.executor);
            let running = known.and_then(|known| known.running.get(&attempt.slot));
            at.extend(running.filter(|at| at.run == *run && at.attempt == id).map(|at| at.test));
        }
        if state.anticipated.is_some() {
            return Some(standing);
        }
        let held_back = HeldBack::of(self, state);
        let bars = held_back.has_any();
        for (_, bundle) in state.pending.in_order() {
            let wanted = bars.then(|| self.wanted_by(state, bundle));
            let mut executors = self.executors.iter();
            let is_barred =
                wanted.is_some_and(|of| !executors.any(|(id, it)| held_back.leaves_any(id, it, &of)));
            let tests = bundle.entries.iter().filter(|(_, role)| *role == Role::Run).count() as u32;
            standing.queued += tests;
            standing.suspects += if bundle.alone { tests } else { 0 };
            standing.followers += if state.has_to_wait(bundle) { tests } else { 0 };
            standing.barred += if is_barred { tests } else { 0 };
        }
        let open = (0..).map(TestIndex).zip(&state.tests).filter(|(_, test)| test.verdict.is_none());
        for (test, known) in open {
            let is_running = known.held > 0 && at.contains(&test);
            standing.running += u32::from(is_running);
            standing.next += u32::from(known.held > 0 && !is_running);
        }
        Some(standing)
    }

    fn discovering(&self, now: Instant, id: AttemptId, attempt: &Attempt) -> Discovering {
        let executor = attempt.executor.clone();
        let since = self.executors.get(&executor).and_then(|known| known.begun.get(&id));
        Discovering { executor, millis: since.map(|since| now.0.saturating_sub(since.0)) }
    }

    /// Executors that have something of a run, as far as is known, and should have been heard of.
    fn silent(&self, now: Instant, run: &RunId) -> Vec<Silent> {
        let lease = self.settings.lease;
        let has_any = |id: &ExecutorId| {
            let placed = self.placed.get(id).into_iter().flat_map(|placed| placed.values());
            self.runs[run].workers.contains_key(id) || placed.clone().any(|of| of == run)
        };
        let of = self.executors.iter().filter(|(id, _)| has_any(id));
        let silent = of.filter_map(|(id, known)| {
            let left = known.lease_until - now;
            let silence = match known.closed {
                Some(closed) => now - closed,
                None => Some(lease.saturating_sub(left)).filter(|silence| *silence > lease * 2 / 3)?,
            };
            let (millis, left_ms) = (silence.as_millis() as u64, left.as_millis() as u64);
            Some(Silent { executor: id.clone(), millis, left_ms })
        });
        silent.collect()
    }
}
