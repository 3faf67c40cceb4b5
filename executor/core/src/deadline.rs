//! Limits: a test that hangs, a worker that does not start, discover, collect or stop. They count the time in which this
//! process goes on: what a machine that stood still had left to do it still has.

use std::time::Duration;

use seagull_domain::{Instant, RunId, SlotIndex};

use crate::Effect;
use crate::slot::{Death, Phase, Worker};
use crate::state::State;

/// The core is told of something, if only that time has passed, at least this often.
const STEPS_EVERY: Duration = Duration::from_secs(1);
/// A shell that is late by more than this stood still, or has more to do than it can.
const STANDSTILL: Duration = Duration::from_secs(1);

impl State {
    /// When [`crate::Event::Tick`] is due at the latest, for a standstill to be noticed by the next.
    pub fn steps_by(&self) -> Instant {
        self.now + STEPS_EVERY
    }

    /// For how long the executor may have stood still, if it did: it was due to step and did not. Nobody knows since when,
    /// so it counts from its last step on. To be asked before each step.
    pub fn stood_still(&self, now: Instant) -> Option<Duration> {
        (now - self.steps_by() > STANDSTILL).then(|| now - self.now)
    }

    /// When [`crate::Event::Tick`] is due because something ends.
    pub fn next_deadline(&self) -> Option<Instant> {
        let workers = self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        let of_workers = workers.filter_map(|worker| self.deadline(worker)).map(|(at, _)| at);
        let of_controllers = self.controllers.keys().filter_map(|run| self.controller_deadline(run));
        let of_processes = of_workers.chain(of_controllers.map(|(at, _)| at));
        of_processes.chain(self.hand_back_deadline()).chain(self.farewell_deadline()).min()
    }

    fn deadline(&self, worker: &Worker) -> Option<(Instant, Death)> {
        match worker.phase {
            Phase::Finishing { deadline, death, .. } => Some(self.end_of_session(deadline, death)),
            Phase::Dying(_) => None,
            Phase::Starting if worker.node.waits() => None,
            Phase::Starting => Some((worker.active + worker.start_limit, Death::Stuck(None))),
            Phase::Ready => match (worker.running, worker.fed.front()) {
                (Some((test, since)), Some(_)) => {
                    let limit = worker.limit_ms;
                    Some((since + Duration::from_millis(limit), Death::TimedOut(test, limit)))
                }
                (None, Some((_, entry))) => {
                    let of = (!worker.is_between_tests()).then_some(entry.test);
                    Some((worker.active + worker.start_limit, Death::Stuck(of)))
                }
                (_, None) if self.is_discovering(worker) && !worker.collected => {
                    Some((worker.active + worker.start_limit, Death::Stuck(None)))
                }
                (_, None) => None,
            },
        }
    }

    /// This process, or its machine, stood still. Workers are not to blame for that: limits are longer by the pause. When
    /// its executor has to leave is said by others, whose time goes on.
    pub(crate) fn paused(&mut self, pause: Duration) {
        for worker in self.slots.iter_mut().filter_map(|slot| slot.worker.as_mut()) {
            worker.active = worker.active + pause;
            if let Some((_, since)) = &mut worker.running {
                *since = *since + pause;
            }
            if let Phase::Finishing { deadline, .. } = &mut worker.phase {
                *deadline = *deadline + pause;
            }
        }
        for controller in self.controllers.values_mut() {
            controller.paused(pause);
        }
    }

    pub(crate) fn enforce_deadlines(&mut self) {
        let now = self.now;
        for slot in (0..self.slots.len() as u16).map(SlotIndex) {
            let worker = self.slots[usize::from(slot.0)].worker.as_ref();
            let due = worker.and_then(|worker| self.deadline(worker)).filter(|(at, _)| *at <= now);
            if let Some((_, death)) = due {
                self.kill(slot, death);
            }
        }
        self.kill_controllers();
    }

    pub(crate) fn kill(&mut self, slot: SlotIndex, death: Death) {
        let Some(worker) = self.slot_mut(slot).and_then(|slot| slot.worker.as_mut()) else { return };
        worker.phase = Phase::Dying(death);
        let (worker, dump_stacks) = (worker.id, death.is_a_hang());
        self.effects.push(Effect::Kill { slot, worker, dump_stacks });
    }

    /// Lets an idle worker tear down its session and end.
    pub(crate) fn finish(&mut self, slot: SlotIndex) {
        let worker = self.slot_mut(slot).and_then(|slot| slot.worker.as_ref());
        let knows = worker.is_some_and(|worker| worker.has_last);
        if let Some(worker) = self.wind_down(slot, false).filter(|_| !knows) {
            self.effects.push(Effect::Finish { slot, worker });
        }
    }

    /// Has a busy worker stop what it does, tear down and end.
    pub(crate) fn interrupt(&mut self, slot: SlotIndex) {
        if let Some(worker) = self.wind_down(slot, true) {
            self.effects.push(Effect::Interrupt { slot, worker });
        }
    }

    fn wind_down(&mut self, slot: SlotIndex, interrupted: bool) -> Option<crate::WorkerId> {
        let worker = self.slot_mut(slot)?.worker.as_ref()?;
        let (id, run, limit) = (worker.id, worker.run.clone(), worker.start_limit);
        let grace = Duration::from_millis(worker.grace_ms);
        let (time, death) = self.time_to_end(&run, interrupted, grace, limit);
        self.ends_within(slot, time, death, interrupted);
        Some(id)
    }

    /// How long a session may take to end: what is cancelled only the grace, and what ends by itself as long as it takes
    /// to start.
    pub(crate) fn time_to_end(
        &self,
        run: &RunId,
        interrupted: bool,
        grace: Duration,
        limit: Duration,
    ) -> (Duration, Death) {
        let is_cancelled = interrupted || self.cancelled.contains(run);
        if is_cancelled { (grace, Death::Grace) } else { (limit, Death::Unended) }
    }

    pub(crate) fn ends_within(&mut self, slot: SlotIndex, time: Duration, death: Death, interrupted: bool) {
        let deadline = self.now + time;
        if let Some(worker) = self.slot_mut(slot).and_then(|slot| slot.worker.as_mut()) {
            worker.phase = Phase::Finishing { deadline, death, interrupted };
        }
    }

    /// Of a run that is cancelled while its sessions end these have only the grace from now on.
    pub(crate) fn hurry(&mut self) {
        let (now, cancelled) = (self.now, &self.cancelled);
        let workers = self.slots.iter_mut().filter_map(|slot| slot.worker.as_mut());
        workers.filter(|worker| cancelled.contains(&worker.run)).for_each(|worker| worker.hurry(now));
        for (_, controller) in self.controllers.iter_mut().filter(|(run, _)| cancelled.contains(*run)) {
            controller.hurry(now);
        }
    }
}
