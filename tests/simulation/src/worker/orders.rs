//! What a worker does on orders of its agent, and when its machine dies.

use seagull_domain::{AttemptId, Outcome, SlotIndex, TestIndex};
use seagull_executor_core::{Death as CoreDeath, Phase, WorkerEvent, WorkerId};

use super::{Death, Order, Place, Stage, Worker};
use crate::physical::{Ended, Execution};
use crate::scenario::Does;
use crate::world::World;

impl World {
    pub fn order_arrives(&mut self, agent: usize, slot: SlotIndex, id: WorkerId, order: Order) {
        self.controller_is_told(agent, id, &order);
        if self.agents[agent].workers.get(&slot).is_none_or(|w| w.id != id) {
            return;
        }
        let place = (agent, slot);
        let stage = self.at(place).stage;
        match order {
            Order::Feed { attempt, tests } => self.is_fed(place, attempt, &tests),
            Order::Node(_) if stage == Stage::Unconfigured => {
                self.life(place).configured = Some(self.now);
                self.is_ready(place);
            }
            Order::Node(_) => {}
            Order::Finish => {
                self.at(place).finishing = true;
                match stage {
                    Stage::Idle => self.finishes(place),
                    Stage::Waiting(execution) => self.enter(place, Stage::TearingDown(execution), Some(1)),
                    _ => {}
                }
            }
            Order::Reset => {
                let (clean, now) = (!self.mishap(100), self.now);
                self.life(place).cleaned.extend(clean.then_some(now));
                self.say(place, WorkerEvent::Reset { clean });
            }
            Order::Interrupt => self.is_interrupted(place),
            Order::Kill => self.is_killed(place),
        }
    }

    fn is_fed(&mut self, place: Place, attempt: AttemptId, tests: &[TestIndex]) {
        self.at(place).queue.extend(tests.iter().map(|test| (attempt, *test)));
        match self.at(place).stage {
            Stage::Idle => self.goes_on(place),
            Stage::Waiting(execution) => self.enter(place, Stage::TearingDown(execution), Some(1)),
            _ => {}
        }
    }

    /// An interrupt is on its way. If the worker has just died of a test, or will before it hears, nobody can tell
    /// which of the two it was.
    pub fn will_be_interrupted(&mut self, place: Place, id: WorkerId) {
        let Some(worker) = self.worker_of(place, id) else { return };
        worker.interrupted = true;
        let (stage, exited_by) = (worker.stage, worker.exited_by);
        if let Stage::Dead(Death::Of(execution)) = stage {
            self.end_execution(execution, Ended::Interrupted);
        }
        self.life(place).suite_errors +=
            u32::from(matches!(stage, Stage::Dead(Death::Of(_) | Death::Unused)));
        if let Some(execution) = exited_by {
            self.end_execution(execution, Ended::Interrupted);
        }
    }

    /// A kill is on its way, for a test that was past its limit. If that has just ended, and the worker has died with
    /// nothing to do, or will before it is killed, it counts as killed.
    pub fn will_be_killed(&mut self, place: Place, id: WorkerId) {
        let Some(worker) = self.worker_of(place, id) else { return };
        worker.doomed = true;
        if worker.stage == Stage::Dead(Death::Idle) {
            self.life(place).suite_errors -= 1;
        }
    }

    /// Tests are on their way. A worker that has died with nothing to do comes to none of them: one that never came to
    /// any could not work.
    pub fn will_be_fed(&mut self, place: Place, id: WorkerId) {
        let Some(worker) = self.worker_of(place, id) else { return };
        worker.fed = true;
        if worker.stage == Stage::Dead(Death::Idle) && !worker.worked {
            worker.stage = Stage::Dead(Death::Unused);
            self.life(place).suite_errors -= 1;
        }
    }

    /// The worker, and not its controller.
    fn worker_of(&mut self, place: Place, id: WorkerId) -> Option<&mut Worker> {
        self.agents[place.0].workers.get_mut(&place.1).filter(|worker| worker.id == id)
    }

    /// Whether what the worker is at has a result of another copy.
    fn is_superseded(&self, place: Place) -> bool {
        let core = &self.agents[place.0].core;
        let worker = core.slots[usize::from(place.1.0)].worker.as_ref();
        let front = worker.and_then(|worker| core.attempts.get(&worker.fed.front()?.0));
        front.is_some_and(|attempt| attempt.superseded)
    }

    fn is_interrupted(&mut self, place: Place) {
        if self.is_superseded(place) {
            self.census.count("met: slower copy cancelled");
        }
        let execution = match self.at(place).stage {
            Stage::Starting { .. } | Stage::Unconfigured => return self.dies(place, Death::Other),
            Stage::Discovering | Stage::Opening { .. } | Stage::Idle => None,
            Stage::Collecting(_, _, execution) => execution,
            Stage::Calling(execution) | Stage::Waiting(execution) | Stage::TearingDown(execution) => {
                Some(execution)
            }
            Stage::Finishing(_) | Stage::Dead(_) => return,
        };
        if let Some(execution) = execution {
            let Execution { run, test, .. } = self.physical.executions[execution];
            if self.script(run, test).does == Does::Hangs {
                return; // It does not listen.
            }
            self.census.count("fault: test interrupted");
            self.end_execution(execution, Ended::Interrupted);
        }
        self.life(place).broke = true;
        let test = execution.map(|execution| self.physical.executions[execution].called);
        self.say(place, WorkerEvent::Interrupted { test, failure: "interrupted".to_owned().into() });
        self.finishes(place);
    }

    fn is_killed(&mut self, place: Place) {
        let interrupted = self.at(place).interrupted;
        match self.at(place).stage {
            Stage::Dead(_) => return,
            Stage::Calling(execution) | Stage::Waiting(execution) | Stage::TearingDown(execution)
                if !interrupted =>
            {
                self.census.count("fault: worker killed at a limit");
                self.end_execution(execution, Ended::With(Outcome::Failed));
            }
            Stage::Calling(execution) => {
                self.end_execution(execution, Ended::Interrupted);
                self.killed_at_grace(place);
            }
            Stage::Finishing(_) => self.killed_at_grace(place),
            _ => {}
        }
        self.life(place).broke = true;
        let delay = self.random.within(0..=600);
        self.is_gone(place, delay);
    }

    /// Of a copy that is not needed nobody minds that.
    fn killed_at_grace(&mut self, place: Place) {
        self.census.count("fault: worker killed at the grace");
        if !self.is_superseded(place) {
            self.is_told_of(place);
        }
    }

    /// An error outside of any test is told of, unless the worker was killed because its executor had no more time.
    pub(super) fn is_told_of(&mut self, place: Place) {
        let worker = self.agents[place.0].core.slots[usize::from(place.1.0)].worker.as_ref();
        let handed_back = worker.is_some_and(|w| w.phase == Phase::Dying(CoreDeath::HandedBack));
        self.life(place).suite_errors += u32::from(!handed_back);
    }

    /// A machine takes its workers along, within a second.
    pub fn workers_die_with(&mut self, agent: usize) {
        for (_, worker) in std::mem::take(&mut self.agents[agent].workers) {
            let end = self.now + self.random.within(0..=800);
            let life = &mut self.physical.workers[worker.life];
            life.end = life.end.or(Some(end));
            life.broke = true;
            if let Stage::Calling(execution)
            | Stage::Waiting(execution)
            | Stage::TearingDown(execution)
            | Stage::Collecting(_, _, Some(execution)) = worker.stage
            {
                let execution = &mut self.physical.executions[execution];
                (execution.end, execution.ended) = (Some(end), Ended::Gone);
            }
        }
    }
}
