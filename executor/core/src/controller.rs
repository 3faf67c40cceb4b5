//! Controllers: of each run at most one process that is no worker and runs no test, but is told of those that do.
//!
//! ```text
//! Starting ─▶ Ready ─▶ Finishing ─▶ (gone)
//!     └─────────┴─▶ Dying ─▶ Failed ─▶ (gone)
//! ```
//!
//! A worker that wants one waits for what it has for it, its *input*. So a controller starts when the first worker of
//! its run asks, and ends when the last one is gone and the run is over here. While it lives the run has not ended: it is
//! reported as a worker in the slot of the one that asked first. Where it has failed, workers go on without.

use std::time::Duration;

use seagull_domain::{AttemptId, Instant, Record, RunId, SlotIndex, SlotNumber, SuiteError, Surroundings};

use crate::message::{NodeOrder, Start};
use crate::slot::{Death, Worker, past_start_limit};
use crate::state::State;
use crate::{Effect, Exit, WorkerEvent, WorkerId};

/// So many of its errors are kept, for an attempt that counts.
const KEPT: usize = 16;

#[derive(Debug, Clone)]
pub struct Controller {
    pub id: WorkerId,
    pub slot: SlotIndex,
    pub number: SlotNumber,
    pub phase: Phase,
    /// The attempt whose log and batches take what it says.
    pub attempt: AttemptId,
    /// When it last went on: its limit counts from here.
    pub active: Instant,
    /// How long it may take to start, and to answer.
    pub start_limit: Duration,
    pub grace_ms: u64,
    /// Whether that attempt is known not to count.
    pub withdrawn: bool,
    /// Whether a worker has had anything of it.
    pub opened: bool,
    /// Of workers that were gone before it had answered what they are to have. It answers in order.
    pub unanswered: Vec<SlotNumber>,
    /// Whether the framework said that its session is over.
    pub ended: bool,
    /// What went wrong in it.
    pub errors: Vec<SuiteError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Ready,
    /// Told to end; killed at the deadline, for this.
    Finishing {
        deadline: Instant,
        death: Death,
    },
    /// Killed; waits for its end.
    Dying(Death),
    /// Gone before its time. The run gets no other here.
    Failed,
}

/// What a worker is to the controller of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Node {
    /// Nothing: it has not asked, or goes on without.
    #[default]
    Unknown,
    /// It waits for its input.
    Waiting,
    /// It waits, and the controller knows.
    Told,
    /// It has its input.
    Up,
}

impl Node {
    pub fn waits(self) -> bool {
        matches!(self, Node::Waiting | Node::Told)
    }
}

impl Controller {
    pub fn is_alive(&self) -> bool {
        self.phase != Phase::Failed
    }

    pub(crate) fn paused(&mut self, pause: Duration) {
        self.active = self.active + pause;
        if let Phase::Finishing { deadline, .. } = &mut self.phase {
            *deadline = *deadline + pause;
        }
    }

    /// Of what its session may take to end, only the grace is left: for it is over, or its run is cancelled.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let Phase::Finishing { deadline, death: death @ Death::Unended } = &mut self.phase {
            (*deadline, *death) = (now + Duration::from_millis(self.grace_ms), Death::Grace);
        }
    }
}

impl State {
    /// Does what controllers, and workers that wait for them, need next.
    pub(crate) fn pump_controllers(&mut self) {
        for slot in (0..self.slots.len() as u16).map(SlotIndex) {
            self.serve_node(slot);
        }
        let runs: Vec<_> = self.controllers.keys().cloned().collect();
        for run in runs {
            self.speak_for_what_counts(&run);
            if self.is_over(&run) {
                self.end_controller(&run);
            }
        }
    }

    fn serve_node(&mut self, slot: SlotIndex) {
        let worker = self.slots[usize::from(slot.0)].worker.as_ref().filter(|worker| worker.node.waits());
        let Some(worker) = worker else { return };
        let waits = worker.node == Node::Waiting;
        match self.controllers.get(&worker.run).map(|controller| controller.phase) {
            None if worker.phase == crate::Phase::Starting => self.start_controller(slot),
            Some(Phase::Ready) if waits => self.tell_of_node(slot),
            Some(Phase::Dying(_) | Phase::Failed) => self.give_input(slot, None),
            _ => {}
        }
    }

    /// For the worker of a slot, which is the first to ask.
    fn start_controller(&mut self, slot: SlotIndex) {
        let worker = self.slots[usize::from(slot.0)].worker.as_ref().expect("it asked");
        let (run, number, start_limit) = (worker.run.clone(), worker.number, worker.start_limit);
        let discovery = self.attempts.iter().find(|(_, attempt)| attempt.run == run && attempt.discover);
        let attempt = discovery.map_or(worker.attempt, |(id, _)| *id);
        let Some(slots) = self.attempts.get(&attempt).map(|attempt| attempt.slots) else { return };
        let id = self.new_worker();
        let controller = Controller {
            id,
            slot,
            number,
            phase: Phase::Starting,
            attempt,
            active: self.now,
            start_limit,
            grace_ms: 10_000,
            withdrawn: false,
            opened: false,
            unanswered: Vec::new(),
            ended: false,
            errors: Vec::new(),
        };
        self.controllers.insert(run.clone(), controller);
        self.effects.push(Effect::Start(Start {
            slot,
            worker: id,
            run,
            attempt,
            number,
            slots,
            surroundings: Surroundings::default(),
            discover: false,
            died: None,
            whole: false,
            controller: true,
        }));
    }

    fn tell_of_node(&mut self, slot: SlotIndex) {
        let now = self.now;
        let worker = self.slots[usize::from(slot.0)].worker.as_mut().expect("it asked");
        let controller = self.controllers.get_mut(&worker.run).expect("it is ready");
        worker.node = Node::Told;
        controller.active = now;
        let order = NodeOrder::Configure { number: worker.number };
        self.effects.push(Effect::Node { worker: controller.id, order });
    }

    /// The worker goes on. Its own time begins anew: it was not to blame for the wait.
    fn give_input(&mut self, slot: SlotIndex, input: Option<String>) {
        let now = self.now;
        let worker = self.slots[usize::from(slot.0)].worker.as_mut().expect("it waits");
        worker.node = if input.is_some() { Node::Up } else { Node::Unknown };
        worker.active = now;
        self.effects.push(Effect::Node { worker: worker.id, order: NodeOrder::Input(input) });
    }

    /// The session of a slot's worker has started.
    pub(crate) fn node_ready(&mut self, slot: SlotIndex) {
        let worker = self.slots[usize::from(slot.0)].worker.as_ref().filter(|w| w.node == Node::Up);
        if let Some(worker) = worker {
            self.tell_controller(&worker.run.clone(), NodeOrder::Ready { number: worker.number });
        }
    }

    /// A worker that its controller knows is gone.
    pub(crate) fn node_down(&mut self, worker: &Worker, how: &str) {
        if matches!(worker.node, Node::Told | Node::Up) {
            let error = (!worker.ended).then(|| how.to_owned());
            let output = worker.output.clone();
            if let Some(controller) =
                self.controllers.get_mut(&worker.run).filter(|_| worker.node == Node::Told)
            {
                controller.unanswered.push(worker.number);
            }
            self.tell_controller(&worker.run, NodeOrder::Down { number: worker.number, error, output });
        }
    }

    fn tell_controller(&mut self, run: &RunId, order: NodeOrder) {
        let controller = self.controllers.get(run).filter(|controller| controller.phase == Phase::Ready);
        if let Some(worker) = controller.map(|controller| controller.id) {
            self.effects.push(Effect::Node { worker, order });
        }
    }

    pub(crate) fn controls(&self, id: WorkerId) -> Option<RunId> {
        let controllers = &mut self.controllers.iter();
        controllers.find(|(_, controller)| controller.id == id).map(|(run, _)| run.clone())
    }

    pub(crate) fn controller_event(&mut self, run: &RunId, event: WorkerEvent) {
        let now = self.now;
        let Some(controller) = self.controllers.get_mut(run).filter(|controller| controller.is_alive())
        else {
            return;
        };
        match event {
            WorkerEvent::Ready { grace_ms } => {
                (controller.grace_ms, controller.active) = (grace_ms, now);
                if controller.phase == Phase::Starting {
                    controller.phase = Phase::Ready;
                }
            }
            WorkerEvent::NodeInput { number, input } => {
                (controller.active, controller.opened) = (now, true);
                self.input(run, number, input);
            }
            WorkerEvent::SuiteError(error) => self.controller_error(run, error),
            WorkerEvent::DiscoveryFailed(message) => {
                let title = "it did not start".to_owned();
                self.controller_error(run, SuiteError { title, message, text: None });
            }
            WorkerEvent::Ended { .. } => {
                controller.ended = true;
                controller.hurry(now);
            }
            WorkerEvent::Exited(exit) => self.controller_exited(run, exit),
            WorkerEvent::NotStarted(_, message) => {
                self.controller_exited(run, Exit::of(message));
            }
            _ => {}
        }
    }

    fn input(&mut self, run: &RunId, number: SlotNumber, input: String) {
        let unanswered = self.controllers.get_mut(run).map(|controller| &mut controller.unanswered);
        if let Some(unanswered) = unanswered
            && let Some(place) = unanswered.iter().position(|gone| *gone == number)
        {
            unanswered.remove(place);
            return;
        }
        let told = |worker: &Worker| (&worker.run, worker.number, worker.node) == (run, number, Node::Told);
        let slot = self.slots.iter().position(|slot| slot.worker.as_ref().is_some_and(told));
        if let Some(slot) = slot {
            self.give_input(SlotIndex(slot as u16), Some(input));
        }
    }

    /// Errors name whose they are: there may be a controller of the run on each executor.
    fn controller_error(&mut self, run: &RunId, error: SuiteError) {
        let Some(controller) = self.controllers.get_mut(run) else { return };
        let title = format!("the controller on {}: {}", self.executor, error.title);
        let error = SuiteError { title, ..error };
        let attempt = controller.attempt;
        if controller.errors.len() < KEPT {
            controller.errors.push(error.clone());
        }
        self.record(attempt, Record::SuiteError(error));
    }

    /// What it said before it ended says more than that it ended.
    fn controller_exited(&mut self, run: &RunId, exit: Exit) {
        let Some(controller) = self.controllers.get(run) else { return };
        let said = !controller.errors.is_empty();
        let limit = controller.start_limit;
        let failure = match controller.phase {
            Phase::Finishing { .. } if controller.ended => None,
            Phase::Finishing { .. } | Phase::Dying(Death::Grace | Death::Unended) if !controller.opened => {
                None
            }
            Phase::Dying(Death::HandedBack) => None,
            Phase::Finishing { .. } => Some(("it died while its session finished", exit.how)),
            Phase::Dying(Death::Grace) => {
                let grace = controller.grace_ms as f64 / 1000.0;
                let message = format!("after {grace} s; --grace sets how long");
                Some(("it did not stop within the grace and was killed", message))
            }
            Phase::Dying(Death::Unended) => {
                Some(("its session did not end within its limit", past_start_limit(limit)))
            }
            Phase::Dying(_) => Some(("it hung", past_start_limit(limit))),
            _ if said => None,
            _ => Some(("it ended before the workers did", exit.how)),
        };
        let is_over = matches!(
            controller.phase,
            Phase::Finishing { .. } | Phase::Dying(Death::Grace | Death::Unended | Death::HandedBack)
        );
        let (slot, gone) = (controller.slot, (run.clone(), controller.number, controller.attempt));
        if let Some((title, message)) = failure {
            self.controller_error(run, SuiteError { title: title.to_owned(), message, text: exit.text });
        }
        if let Some(slot) = self.slot_mut(slot).filter(|slot| !slot.gone.contains(&gone)) {
            slot.gone.push(gone);
        }
        if is_over {
            self.controllers.remove(run);
        } else if let Some(controller) = self.controllers.get_mut(run) {
            controller.phase = Phase::Failed;
        }
        self.report(false);
    }

    /// What is said in this attempt is nowhere.
    pub(crate) fn unsay(&mut self, attempt: AttemptId) {
        for controller in self.controllers.values_mut().filter(|c| c.attempt == attempt) {
            controller.withdrawn = true;
        }
    }

    /// What was said in an attempt that turns out not to count is said again in the next one.
    fn speak_for_what_counts(&mut self, run: &RunId) {
        // Before it has started it can be told nothing.
        let speaks = |controller: &&Controller| controller.withdrawn && controller.phase != Phase::Starting;
        if self.controllers.get(run).filter(speaks).is_none() {
            return;
        }
        let next = self.attempts.iter().find(|(_, attempt)| attempt.run == *run && attempt.is_open());
        let Some(attempt) = next.map(|(id, _)| *id) else { return };
        let controller = self.controllers.get_mut(run).expect("it speaks");
        (controller.attempt, controller.withdrawn) = (attempt, false);
        let (slot, worker, errors) = (controller.slot, controller.id, controller.errors.clone());
        if controller.is_alive() {
            self.effects.push(Effect::Feed { slot, worker, attempt, tests: Vec::new() });
        }
        for error in errors {
            self.record(attempt, Record::SuiteError(error));
        }
    }

    /// Whether nothing of the run is here, nor comes.
    fn is_over(&self, run: &RunId) -> bool {
        if self.runs.contains(run) {
            return false;
        }
        let works = self.slots.iter().any(|slot| slot.worker.as_ref().is_some_and(|w| w.run == *run));
        let open = self.attempts.values().any(|attempt| attempt.run == *run && attempt.ended.is_none());
        !(works || open)
    }

    /// What no worker has had anything of has nothing to clean up that would be worth the wait for its start.
    fn end_controller(&mut self, run: &RunId) {
        let Some(controller) = self.controllers.get(run) else { return };
        let (grace, limit) = (Duration::from_millis(controller.grace_ms), controller.start_limit);
        let (time, death) = self.time_to_end(run, !controller.opened, grace, limit);
        let deadline = self.now + time;
        let controller = self.controllers.get_mut(run).expect("it is there");
        let (slot, worker) = (controller.slot, controller.id);
        match controller.phase {
            Phase::Starting | Phase::Ready => {
                controller.phase = Phase::Finishing { deadline, death };
                let (finish, stop) = (Effect::Finish { slot, worker }, Effect::Interrupt { slot, worker });
                self.effects.push(if controller.opened { finish } else { stop });
            }
            Phase::Failed => drop(self.controllers.remove(run)),
            Phase::Finishing { .. } | Phase::Dying(_) => {}
        }
    }

    /// When it is to be killed, and why.
    pub(crate) fn controller_deadline(&self, run: &RunId) -> Option<(Instant, Death)> {
        let controller = self.controllers.get(run)?;
        let stuck = (controller.active + controller.start_limit, Death::Stuck(None));
        let workers = || self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        let awaited = || workers().any(|worker| worker.run == *run && worker.node == Node::Told);
        match controller.phase {
            Phase::Starting => Some(stuck),
            Phase::Ready => awaited().then_some(stuck),
            Phase::Finishing { deadline, death } => Some(self.end_of_session(deadline, death)),
            Phase::Dying(_) | Phase::Failed => None,
        }
    }

    pub(crate) fn kill_controllers(&mut self) {
        let now = self.now;
        let runs: Vec<_> = self.controllers.keys().cloned().collect();
        for run in runs {
            let due = self.controller_deadline(&run).filter(|(at, _)| *at <= now);
            let controller = self.controllers.get_mut(&run).expect("it is there");
            if let Some((_, death)) = due {
                controller.phase = Phase::Dying(death);
                let (slot, worker) = (controller.slot, controller.id);
                let dump_stacks = death.is_a_hang();
                self.effects.push(Effect::Kill { slot, worker, dump_stacks });
            }
        }
    }
}
