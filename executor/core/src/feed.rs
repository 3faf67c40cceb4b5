//! Keeping workers busy: which worker a slot needs, and how much work it gets ahead.

use std::collections::BTreeSet;

use seagull_domain::{AttemptId, Entry, Isolation, RunId, SlotIndex, Surroundings, TestIndex};

use crate::message::Start;
use crate::slot::{Cleaning, Phase, Worker};
use crate::state::State;
use crate::{Attempt, Effect, Renewal, WorkerId};

/// Ahead of its corrected predictions a worker gets no more tests than this.
const MOST_AHEAD: usize = 256;
/// Nor to run in one go.
const MOST_IN_BATCH: usize = 4096;

impl State {
    /// Does what a slot needs next.
    pub(crate) fn pump(&mut self, slot: SlotIndex) {
        self.retire_if_spent(slot);
        let needed = self.needed(slot);
        let worker = self.slots[usize::from(slot.0)].worker.as_ref();
        match (worker, needed) {
            (None, Some((attempt, whole))) => {
                let next = &self.attempts[&attempt];
                if self.has_room(slot, &next.run, next.surroundings) {
                    self.start(slot, attempt, whole);
                } else {
                    self.make_room(slot);
                }
            }
            (Some(worker), needed) if worker.takes_tests() || worker.phase == Phase::Starting => {
                let serves = |(attempt, whole): (AttemptId, bool)| {
                    worker.can_serve(&self.attempts[&attempt]) && (worker.whole || !whole)
                };
                let wanted = self.bound(worker).is_some()
                    || needed.map_or(self.runs.contains(&worker.run) && !worker.retired, serves);
                if self.is_stopping(worker) || (!wanted && self.starts_for_nothing(worker)) {
                    self.interrupt(slot);
                } else if worker.takes_tests()
                    && !wanted
                    && worker.fed.is_empty()
                    && !self.is_discovering(worker)
                {
                    self.finish(slot);
                } else if worker.takes_tests() {
                    self.feed(slot);
                    self.retire_if_spent(slot);
                }
            }
            _ => {}
        }
    }

    /// The first attempt of a slot that needs a worker, and whether only a whole collection will do.
    fn needed(&self, slot: SlotIndex) -> Option<(AttemptId, bool)> {
        let open = self.queue(slot).find(|(_, a)| a.ended.is_none() && a.fed == 0 && a.stopping.is_none())?;
        let (id, attempt) = open;
        let whole = attempt.queue.is_empty() && !attempt.unfound.is_empty();
        let needs = attempt.discover || !attempt.queue.is_empty() || whole;
        (attempt.is_ready() && needs).then_some((id, whole))
    }

    /// What a slot is going to start a worker for when its present one is gone, where that is known by now, and there is
    /// room for it beside that.
    pub fn needs_next(&self, slot: SlotIndex) -> Option<(RunId, Surroundings)> {
        self.wants_next(slot).filter(|(run, of)| self.has_room_ahead(slot, run, *of))
    }

    pub(crate) fn wants_next(&self, slot: SlotIndex) -> Option<(RunId, Surroundings)> {
        let worker = self.slots[usize::from(slot.0)].worker.as_ref()?;
        let has_tests =
            |attempt: &Attempt| attempt.is_open() && !attempt.discover && attempt.next(true).is_some();
        let again = worker.lives_for() == Isolation::Test;
        let is_next = |id: AttemptId| if again { id >= worker.attempt } else { id > worker.attempt };
        let (_, next) = self.queue(slot).find(|(id, attempt)| is_next(*id) && has_tests(attempt))?;
        let goes_on = worker.can_serve(next) && !worker.is_isolated();
        (!goes_on && self.runs.contains(&next.run)).then(|| (next.run.clone(), next.surroundings))
    }

    /// Whether its slot has nothing for it, and it has nothing.
    pub(crate) fn has_nothing_to_do(&self, slot: SlotIndex, worker: &Worker) -> bool {
        let is_idle = worker.takes_tests() && worker.fed.is_empty() && !self.is_discovering(worker);
        is_idle && self.needed(slot).is_none() && self.bound(worker).is_none()
    }

    /// The attempt that the worker is at, if tests of a relation that has started there are still to run: they go before
    /// what others need, such as a worker that collects the whole suite.
    fn bound(&self, worker: &Worker) -> Option<(AttemptId, &Attempt)> {
        let attempt = self.attempts.get(&worker.attempt)?;
        (attempt.is_open() && attempt.is_bound(worker)).then_some((worker.attempt, attempt))
    }

    /// Whether what the worker is at is to be stopped.
    fn is_stopping(&self, worker: &Worker) -> bool {
        let in_time = self.hand_back_at(worker).is_some_and(|at| self.now < at);
        let stops = |id: &AttemptId| {
            let attempt = self.attempts.get(id).filter(|a| a.stopping.is_some() && a.ended.is_none());
            attempt.is_some_and(|attempt| !(attempt.runs_out() && in_time))
        };
        let discovers = self.is_discovering(worker) && stops(&worker.attempt);
        worker.fed.front().is_some_and(|(id, _)| stops(id)) || discovers
    }

    /// Whether the attempt it starts for is over: a start that takes long would hold up the end of its run.
    fn starts_for_nothing(&self, worker: &Worker) -> bool {
        let waits = self.attempts.get(&worker.attempt).is_some_and(Attempt::is_open);
        worker.phase == Phase::Starting && !waits
    }

    pub(crate) fn is_discovering(&self, worker: &Worker) -> bool {
        self.attempts.get(&worker.attempt).is_some_and(|attempt| attempt.discover && attempt.fed > 0)
    }

    fn start(&mut self, slot: SlotIndex, attempt: AttemptId, whole: bool) {
        let id = self.new_worker();
        let state = self.attempts.get_mut(&attempt).expect("an open attempt");
        let (run, number, slots, discover) = (state.run.clone(), state.number, state.slots, state.discover);
        let surroundings = state.surroundings;
        let died = state.died.clone();
        // A discovery is under way as soon as its worker is.
        state.fed += u32::from(discover);
        let worker = Worker {
            id,
            run: run.clone(),
            number,
            surroundings,
            phase: Phase::Starting,
            connected: false,
            ready: false,
            worked: false,
            broken: None,
            sandbox_broke: None,
            retired: false,
            has_last: false,
            differs: false,
            renewal: Renewal::default(),
            images: Vec::new(),
            cleaning: Cleaning::default(),
            peak_kib: 0,
            used: None,
            told_cpu_us: 0,
            collected: false,
            whole: discover || whole,
            fed: Default::default(),
            relations: BTreeSet::new(),
            running: None,
            limit_ms: 0,
            collecting: false,
            wants: false,
            batch_us: None,
            fails_fast: false,
            active: self.now,
            attempt,
            start_limit: self.settings.start_limit,
            grace_ms: 10_000,
            ended: false,
            exit: None,
            node: Default::default(),
            output: None,
            predicted_us: 1,
            actual_us: 1,
        };
        self.slots[usize::from(slot.0)].worker = Some(worker);
        self.effects.push(Effect::Start(Start {
            slot,
            worker: id,
            run,
            attempt,
            number,
            slots,
            surroundings,
            discover,
            died,
            whole,
            controller: false,
        }));
        self.report(false);
    }

    /// Feeds the worker what it may have: one test when it has none or asks, and short ones ahead; or all that runs in
    /// one go, when the last of the batch before is done.
    fn feed(&mut self, slot: SlotIndex) {
        let worker = self.slots[usize::from(slot.0)].worker.as_ref().filter(|worker| !worker.has_batch());
        let Some(worker) = worker.filter(|worker| !self.waits_for_word(worker)) else { return };
        let waiting = worker.fed.iter().skip(usize::from(worker.running.is_some()));
        let mut waiting_us: u64 = waiting.map(|(_, entry)| worker.estimate_us(entry)).sum();
        while let Some((attempt, entry)) = self.successor(slot) {
            let suspect = self.attempts[&attempt].suspects > 0;
            let ahead = u64::try_from(self.settings.ahead.as_micros()).unwrap_or(u64::MAX);
            let worker = self.slots[usize::from(slot.0)].worker.as_mut().expect("it takes tests");
            if worker.is_to_be_clean(attempt) {
                return self.clean(slot);
            }
            let (ahead, most) = worker.batch_us.map_or((ahead, MOST_AHEAD), |batch| (batch, MOST_IN_BATCH));
            // In another manifest an index means another test.
            let clashes = |(of, fed): &(AttemptId, Entry)| *of != attempt && fed.test == entry.test;
            if worker.fed.iter().any(clashes) {
                return;
            }
            let with_it_us = waiting_us.saturating_add(worker.estimate_us(&entry));
            let fits = with_it_us <= ahead && worker.fed.len() < most && !suspect;
            let fits = fits && worker.takes_ahead(attempt);
            if !(worker.fed.is_empty() || worker.wants || fits) {
                return;
            }
            if worker.fed.is_empty() {
                worker.active = self.now;
            }
            worker.wants = false;
            (worker.attempt, worker.cleaning) = (attempt, Cleaning::Undone);
            worker.fed.push_back((attempt, entry));
            worker.relations.extend((entry.relation != 0).then_some((attempt, entry.relation)));
            waiting_us = with_it_us;
            if let Some(attempt) = self.attempts.get_mut(&attempt) {
                attempt.is_in(&worker.images);
            }
            let (worker, renewed) = (worker.id, worker.is_isolated() || worker.renewal.memory_kib.is_some());
            self.take_from_queue(attempt, entry, renewed);
            self.push_feed(slot, worker, attempt, entry.test);
            if suspect {
                return;
            }
        }
    }

    /// Has the services of a worker made clean when the last test before has ended, with all its fixtures but the session's.
    fn clean(&mut self, slot: SlotIndex) {
        let worker = self.slots[usize::from(slot.0)].worker.as_mut().expect("it takes tests");
        if worker.fed.is_empty() && worker.cleaning == Cleaning::Undone {
            worker.cleaning = Cleaning::UnderWay;
            let worker = worker.id;
            self.effects.push(Effect::Reset { slot, worker });
        }
    }

    /// Whether a failure here may have ended its run, and the scheduler has not said yet.
    fn waits_for_word(&self, worker: &Worker) -> bool {
        let of_run = |attempt: &&Attempt| attempt.run == worker.run;
        worker.fails_fast && self.attempts.values().filter(of_run).any(Attempt::has_unheard_failure)
    }

    /// Nothing more runs in a worker that has what it lives for, or is over its memory. While it is at a test it is told
    /// so at once, or it would wait for another.
    fn retire_if_spent(&mut self, slot: SlotIndex) {
        let worker = self.slots[usize::from(slot.0)].worker.as_ref();
        let spent = worker.is_some_and(|w| w.takes_tests() && !w.retired && self.is_spent(w));
        let worker = self.slots[usize::from(slot.0)].worker.as_mut().filter(|_| spent);
        let Some(worker) = worker else { return };
        worker.retired = true;
        if !worker.fed.is_empty() {
            worker.has_last = true;
            let worker = worker.id;
            self.effects.push(Effect::Finish { slot, worker });
        }
    }

    /// What must run in the same worker as something that has run in it still does.
    fn is_spent(&self, worker: &Worker) -> bool {
        let used = worker.worked || !worker.fed.is_empty();
        let over = worker.is_over_memory();
        if !used || !(over || worker.is_isolated()) {
            return false;
        }
        let attempt = self.attempts.get(&worker.attempt);
        let goes_on = worker.lives_for() == Isolation::Bundle
            && attempt.is_some_and(|attempt| attempt.next(worker.whole).is_some());
        (over || !goes_on) && !attempt.is_some_and(|attempt| attempt.is_bound(worker))
    }

    /// The next test of the slot's attempts, if its worker can run it.
    fn successor(&self, slot: SlotIndex) -> Option<(AttemptId, Entry)> {
        let worker = self.slots[usize::from(slot.0)].worker.as_ref()?;
        let next = || self.queue(slot).find(|(_, a)| a.is_open() && !is_drained(a, worker));
        let (id, attempt) = self.bound(worker).or_else(next)?;
        let entry = attempt.next(worker.whole).filter(|_| worker.can_serve(attempt));
        entry.map(|entry| (id, *entry))
    }

    /// What is related holds up a worker that is to be renewed: it does not wait for what stands in between.
    fn take_from_queue(&mut self, attempt: AttemptId, entry: Entry, renewed: bool) {
        let attempt = self.attempts.get_mut(&attempt).expect("it has the entry");
        if attempt.queue.pop_front().is_none() {
            attempt.unfound.pop_front();
        }
        attempt.fed += 1;
        attempt.suspects = attempt.suspects.saturating_sub(1);
        if entry.relation != 0 {
            attempt.started_relations.insert(entry.relation);
            if renewed {
                attempt.bring_forward(entry.relation);
            }
        }
    }

    /// One message for what is fed in one go.
    fn push_feed(&mut self, slot: SlotIndex, worker: WorkerId, attempt: AttemptId, test: TestIndex) {
        if let Some(Effect::Feed { worker: of, attempt: to, tests, .. }) = self.effects.last_mut()
            && (*of, *to) == (worker, attempt)
        {
            return tests.push(test);
        }
        self.effects.push(Effect::Feed { slot, worker, attempt, tests: vec![test] });
    }
}

/// Whether all of an attempt has been fed.
fn is_drained(attempt: &Attempt, worker: &Worker) -> bool {
    let unfound = attempt.unfound.is_empty() || !worker.whole && attempt.fed > 0;
    attempt.is_ready() && !attempt.discover && attempt.queue.is_empty() && unfound
}
