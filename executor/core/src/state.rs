//! The executor's whole state, and one step of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seagull_domain::{
    AttemptId, BootId, EndCause, Epoch, ExecutorId, InfraCause, Instant, Resources, RunId, SlotIndex,
};

use crate::attempt::Attempt;
use crate::controller::Controller;
use crate::leave::{Farewell, Leaving};
use crate::slot::Slot;
use crate::{Effect, Event, WorkerId};

/// What the operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a worker may take to start, to discover, and to collect a file, if its run does not say.
    pub start_limit: Duration,
    /// How much work a worker gets ahead of the test that runs. What it has nobody can take back, so nothing goes ahead
    /// that is only guessed to be short: without a history a test is predicted to take 50 ms.
    pub ahead: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { start_limit: Duration::from_secs(600), ahead: Duration::from_millis(49) }
    }
}

#[derive(Debug, Clone)]
pub struct State {
    pub executor: ExecutorId,
    pub boot: BootId,
    pub labels: BTreeMap<String, String>,
    /// What its workers share.
    pub capacity: Resources,
    pub settings: Settings,
    pub sequence: u64,
    /// The newest desired state taken.
    pub known: (Epoch, u64),
    pub runs: BTreeSet<RunId>,
    /// Of the others, those whose sessions have only the grace to end.
    pub(crate) cancelled: BTreeSet<RunId>,
    pub attempts: BTreeMap<AttemptId, Attempt>,
    pub slots: Vec<Slot>,
    /// Of the runs that want one.
    pub controllers: BTreeMap<RunId, Controller>,
    pub leaving: Option<Leaving>,
    /// Set while it is leaving and has nothing any more.
    pub(crate) farewell: Option<Farewell>,
    pub(crate) next_worker: WorkerId,
    pub(crate) now: Instant,
    pub(crate) effects: Vec<Effect>,
}

impl State {
    pub fn new(executor: ExecutorId, boot: BootId, slots: u16, settings: Settings) -> State {
        State {
            executor,
            boot,
            labels: BTreeMap::new(),
            capacity: Resources::UNBOUNDED,
            settings,
            sequence: 0,
            known: (Epoch(0), 0),
            runs: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            attempts: BTreeMap::new(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            controllers: BTreeMap::new(),
            leaving: None,
            farewell: None,
            next_worker: WorkerId(1),
            now: Instant(0),
            effects: Vec::new(),
        }
    }

    pub fn step(&mut self, now: Instant, event: Event) -> Vec<Effect> {
        self.now = now;
        match event {
            Event::Desired(desired) => self.desired(*desired),
            Event::Contents { attempt, contents } => self.contents(attempt, contents),
            Event::NoContents { attempt, message } => self.no_contents(attempt, message),
            Event::Worker { slot, worker, event } => self.worker_event(slot, worker, event),
            Event::Leave(notice) => self.leave(notice),
            Event::Paused(pause) => self.paused(pause),
            Event::Tick => {}
        }
        self.enforce_deadlines();
        for slot in (0..self.slots.len() as u16).map(SlotIndex) {
            self.pump(slot);
        }
        self.pump_controllers();
        self.forget();
        self.part();
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn give_back(&mut self, attempt: AttemptId, cause: InfraCause, message: String) {
        if let Some(attempt) = self.attempts.get_mut(&attempt) {
            attempt.stop(EndCause::GaveBack(cause, message));
            attempt.end_if_done();
            self.report(false);
        }
    }

    /// The attempts of a slot in the order to run in.
    pub(crate) fn queue(&self, slot: SlotIndex) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        self.attempts.iter().filter(move |(_, a)| a.slot == slot).map(|(id, a)| (*id, a))
    }

    pub(crate) fn slot_mut(&mut self, slot: SlotIndex) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(slot.0))
    }

    /// Forgets attempts that nobody wants, that have delivered everything, and that no worker needs for its last words.
    fn forget(&mut self) {
        let workers = self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        let controllers = self.controllers.values().map(|controller| controller.attempt);
        let speaking: BTreeSet<_> = workers.map(|worker| worker.attempt).chain(controllers).collect();
        self.attempts.retain(|id, a| {
            let delivered = a.records.is_empty() && a.outbox.is_empty();
            a.desired || a.ended.is_none() || !delivered || speaking.contains(id)
        });
        let attempts = &self.attempts;
        for slot in &mut self.slots {
            let delivers = |attempt: &AttemptId| {
                attempts.get(attempt).is_some_and(|a| !a.records.is_empty() || !a.outbox.is_empty())
            };
            slot.gone.retain(|(_, _, attempt)| delivers(attempt));
        }
    }

    pub(crate) fn new_worker(&mut self) -> WorkerId {
        let id = self.next_worker;
        self.next_worker = WorkerId(id.0 + 1);
        id
    }

    pub(crate) fn report(&mut self, results_only: bool) {
        self.effects.push(Effect::Report { results_only });
    }
}
