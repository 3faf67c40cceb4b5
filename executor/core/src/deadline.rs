//! Limits: a test that hangs, a worker that does not start, discover, collect or stop.

use std::time::Duration;

use seagull_domain::{Instant, SlotIndex};

use crate::Effect;
use crate::slot::{Death, Phase, Worker};
use crate::state::State;

/// We wake up within this of a deadline, unless we stood still.
const STANDSTILL: Duration = Duration::from_secs(1);

impl State {
    /// When [`crate::Event::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let workers = self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        let of_workers = workers.filter_map(|worker| self.deadline(worker)).map(|(at, _)| at);
        let of_controllers = self.controllers.keys().filter_map(|run| self.controller_deadline(run));
        let of_processes = of_workers.chain(of_controllers.map(|(at, _)| at));
        of_processes.chain(self.hand_back_deadline()).chain(self.farewell_deadline()).min()
    }

    fn deadline(&self, worker: &Worker) -> Option<(Instant, Death)> {
        match worker.phase {
            Phase::Finishing { deadline, .. } => Some(self.end_of_grace(deadline)),
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

    /// A deadline that is long past when we wake means that this process, or its machine, stood still. Workers are
    /// not to blame for that: what they had left to do they still have, so their time begins anew where it stopped.
    pub(crate) fn excuse(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|at| now - at <= STANDSTILL) {
            return;
        }
        let pause = now - self.now;
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
            controller.excuse(pause);
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
        let (worker, dump_stacks) = (worker.id, matches!(death, Death::TimedOut(..) | Death::Stuck(_)));
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
        let now = self.now;
        let worker = self.slot_mut(slot)?.worker.as_mut()?;
        let deadline = now + Duration::from_millis(worker.grace_ms);
        worker.phase = Phase::Finishing { deadline, interrupted };
        Some(worker.id)
    }
}
