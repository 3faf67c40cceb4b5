//! Where a test without a verdict is: what a person asks who waits for it. Decides nothing.

use seagull_domain::{AttemptId, BundleId, Instant, RunId, TestIndex, Whereabouts};

use crate::State;
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
        let wanted = self.wanted_by(state, &state.pending[&bundle]);
        let takes = self.executors.iter().filter(|(id, known)| held_back.leaves_any(id, known, &wanted));
        let slots = takes.map(|(_, known)| u32::from(known.slots)).sum();
        let runs = self.fleet.shares.keys().filter(|other| *other != run).count() as u32;
        Whereabouts::Queued { behind, slots, runs }
    }
}
