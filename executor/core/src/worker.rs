//! What workers say.

use std::collections::VecDeque;

use seagull_domain::{
    Attachment, AttemptId, EndCause, Entry, InfraCause, Outcome, Record, SlotIndex, SuiteError, TestCause,
    TestIndex, TestResult, Used,
};

use crate::controller::Node;
use crate::excerpt::ends;
use crate::slot::{Cleaning, Death, Phase, Worker, past_start_limit};
use crate::state::State;
use crate::{Failure, WorkerEvent, WorkerId};

impl State {
    pub(crate) fn worker_event(&mut self, slot: SlotIndex, id: WorkerId, event: WorkerEvent) {
        let now = self.now;
        if let Some(run) = self.controls(id) {
            return self.controller_event(&run, event);
        }
        let Some(worker) = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).filter(|w| w.id == id) else {
            return;
        };
        match event {
            WorkerEvent::Connected => worker.connected = true,
            WorkerEvent::Ready { grace_ms } => {
                worker.connected = true;
                (worker.grace_ms, worker.active, worker.ready) = (grace_ms, now, true);
                if worker.phase == Phase::Starting {
                    worker.phase = Phase::Ready;
                }
            }
            WorkerEvent::NodeWaits if worker.phase == Phase::Starting => worker.node = Node::Waiting,
            WorkerEvent::NodeReady => self.node_ready(slot),
            WorkerEvent::NodeOutput(output) => worker.output = Some(output),
            // Said too late, or by what is no controller.
            WorkerEvent::NodeWaits | WorkerEvent::NodeInput { .. } => {}
            WorkerEvent::EnvironmentDiffers => {
                worker.differs = true;
                let attempt = worker.attempt;
                self.give_back(attempt, InfraCause::EnvironmentDiffers, String::new());
                self.decline(slot);
            }
            WorkerEvent::Collecting => (worker.collecting, worker.active) = (true, now),
            WorkerEvent::FileCollected => worker.collecting = false,
            WorkerEvent::Started(test) => self.started(slot, test),
            // It collects nothing file by file: what it does not find does not exist.
            WorkerEvent::Batches { micros } => (worker.batch_us, worker.whole) = (Some(micros), true),
            WorkerEvent::StartLimit(limit) => worker.start_limit = limit,
            WorkerEvent::Renews(renewal) => worker.renewal = renewal,
            WorkerEvent::Images(images) => worker.images = images,
            WorkerEvent::FailsFast => worker.fails_fast = true,
            WorkerEvent::Next { failed, peak_kib } => {
                // One that crossed with a test on its way asks for no other, which could not be taken back any more.
                let crossed = worker.running.is_none() && !worker.fed.is_empty();
                worker.wants = !(crossed || failed && worker.fails_fast);
                worker.peak_kib = worker.peak_kib.max(peak_kib);
            }
            WorkerEvent::Ended { exit } => {
                (worker.ended, worker.exit) = (true, exit);
                worker.hurry(now);
            }
            WorkerEvent::Finished(result) => self.finished(slot, result),
            WorkerEvent::Missing { test, reason } => self.missing(slot, test, reason),
            WorkerEvent::Interrupted { test, failure } => self.interrupted(slot, test, failure),
            WorkerEvent::Collected => worker.collected = true,
            WorkerEvent::Discovered(discovery) => self.discovered(slot, EndCause::Discovered(discovery)),
            WorkerEvent::NotStored(message) => {
                self.discovered(slot, EndCause::GaveBack(InfraCause::ArtifactUnavailable, message))
            }
            WorkerEvent::DiscoveryFailed(message) => {
                self.broken(slot, &message);
                self.discovered(slot, EndCause::DiscoveryFailed(message));
            }
            WorkerEvent::SuiteError(error) => self.suite_error(slot, error),
            WorkerEvent::Coverage(data) => {
                let attempt = self.worker(slot).attempt;
                self.record(attempt, Record::Coverage(data));
            }
            WorkerEvent::Attached { test, file } => self.attached(slot, test, file),
            WorkerEvent::Held { test, hold } => {
                worker.retired = true;
                let (attempt, test) = self.whose(slot, test);
                self.record(attempt, Record::Held { test, hold });
            }
            WorkerEvent::Left { test, left } => {
                let attempt = worker.attempt;
                self.record(attempt, Record::Left { test, left });
            }
            WorkerEvent::Used(used) => worker.used = Some(used),
            WorkerEvent::Reset { clean } => {
                worker.cleaning = if clean { Cleaning::Done } else { Cleaning::Undone };
                worker.retired |= !clean;
            }
            WorkerEvent::SandboxBroke(cause, message) => self.sandbox_broke(slot, (cause, message)),
            WorkerEvent::Exited(exit) => self.exited(slot, &exit),
            WorkerEvent::NotStarted(cause, message) => self.not_started(slot, cause, message),
        }
    }

    fn finished(&mut self, slot: SlotIndex, result: TestResult) {
        let now = self.now;
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it spoke");
        let front = worker.fed.front().copied().filter(|(_, entry)| entry.test == result.test);
        let Some((attempt, entry)) = front else { return };
        worker.peak_kib = worker.peak_kib.max(result.peak_kib);
        if result.last {
            worker.fed.pop_front();
            worker.running = None;
            worker.worked = true;
            worker.active = now;
            worker.learn(entry.predicted_us, result.micros());
        }
        let last = result.last;
        let known = Used { cpu_us: result.cpu_us, peak_kib: result.peak_kib, whole: false };
        let used = worker.take_used().unwrap_or(known);
        self.takes(attempt, used);
        self.result(attempt, &entry, result);
        if last {
            self.done(attempt);
        }
    }

    /// A lazily collecting worker may not see ids that exist only in a whole-suite collection.
    fn missing(&mut self, slot: SlotIndex, test: TestIndex, reason: String) {
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it spoke");
        let Some(place) = worker.fed.iter().position(|(_, entry)| entry.test == test) else { return };
        let (attempt, entry) = worker.fed.remove(place).expect("the place is in range");
        worker.running = worker.running.filter(|(running, _)| *running != test);
        if worker.whole {
            self.record(attempt, Record::Missing { test, reason });
        } else if let Some(state) = self.attempts.get_mut(&attempt).filter(|a| a.is_open() && !a.anticipated)
        {
            state.unfound.push_back(entry);
        }
        self.done(attempt);
    }

    fn interrupted(&mut self, slot: SlotIndex, test: Option<TestIndex>, failure: Failure) {
        let ours = self.worker(slot).phase.is_interrupted();
        let front = self.worker(slot).fed.front().copied();
        match (test, front) {
            _ if ours => {}
            (None, _) => self.interrupted_itself(slot, failure.message),
            (Some(test), Some((_, entry))) if entry.test == test => {
                self.fail_running(slot, entry, TestCause::Error, failure);
            }
            _ => {}
        }
        let worker = self.worker(slot);
        if !matches!(worker.phase, Phase::Finishing { .. } | Phase::Dying(_)) {
            // Nobody cancelled it.
            self.ends_within(slot, worker.start_limit, Death::Unended, true);
        }
    }

    /// Something in the worker ended the session between tests.
    fn interrupted_itself(&mut self, slot: SlotIndex, message: String) {
        let message = if message.is_empty() { "interrupted".to_owned() } else { message };
        self.broken(slot, &message);
        let title = "the session was interrupted between tests".to_owned();
        self.suite_error(slot, SuiteError { title, message, text: None });
    }

    /// A worker that has run no test will not run any. What it says first counts, but nothing that it says because it
    /// has to stop.
    fn broken(&mut self, slot: SlotIndex, message: &str) {
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it spoke");
        let fresh = worker.broken.is_none() && !worker.worked;
        if fresh && matches!(worker.phase, Phase::Starting | Phase::Ready) {
            worker.broken = Some(ends(message));
        }
    }

    pub(crate) fn worker(&self, slot: SlotIndex) -> &Worker {
        self.slots[usize::from(slot.0)].worker.as_ref().expect("it spoke")
    }

    /// A worker that has collected everything does not live for a bundle or a test alone.
    fn discovered(&mut self, slot: SlotIndex, cause: EndCause) {
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it spoke");
        worker.retired |= worker.is_isolated();
        let (attempt, interrupted) = (worker.attempt, worker.phase.is_interrupted());
        let used = worker.take_used();
        if let Some(attempt) = self.attempts.get_mut(&attempt).filter(|a| a.discover && a.fed > 0) {
            let in_time = attempt.runs_out() && !interrupted;
            let stopped = attempt.stopping.take().filter(|_| !in_time);
            attempt.fed = 0;
            attempt.ended = Some(stopped.unwrap_or(cause));
            used.into_iter().for_each(|used| attempt.takes(used));
            attempt.tell_used();
            self.report(false);
        }
    }

    fn attached(&mut self, slot: SlotIndex, test: Option<TestIndex>, file: Attachment) {
        let (attempt, test) = self.whose(slot, test);
        self.record(attempt, Record::Attached { test, file });
    }

    /// The attempt that a test is of; one that the worker has not got is nobody's.
    fn whose(&self, slot: SlotIndex, test: Option<TestIndex>) -> (AttemptId, Option<TestIndex>) {
        let worker = self.worker(slot);
        let of = worker.fed.iter().find(|(_, entry)| Some(entry.test) == test);
        of.map_or((worker.attempt, None), |(attempt, entry)| (*attempt, Some(entry.test)))
    }

    fn suite_error(&mut self, slot: SlotIndex, error: SuiteError) {
        let attempt = self.worker(slot).attempt;
        self.record(attempt, Record::SuiteError(error));
    }

    /// What runs in one go is told of in any order.
    fn started(&mut self, slot: SlotIndex, test: TestIndex) {
        let now = self.now;
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it spoke");
        if let Some(place) = worker.fed.iter().position(|(_, entry)| entry.test == test)
            && (place == 0 || worker.batch_us.is_some())
        {
            let entry = worker.fed.remove(place).expect("the place is in range");
            worker.fed.push_front(entry);
            worker.running = Some((test, now));
            worker.limit_ms = worker.limit();
            self.report(true);
        }
    }

    fn not_started(&mut self, slot: SlotIndex, cause: InfraCause, message: String) {
        let worker = self.slot_mut(slot).and_then(|s| s.worker.take()).expect("it was to start");
        if let Some(attempt) = self.attempts.get_mut(&worker.attempt) {
            attempt.fed = 0;
        }
        let message = match worker.phase {
            Phase::Dying(Death::Stuck(_)) => format!("{}: {message}", past_start_limit(worker.start_limit)),
            _ => message,
        };
        self.give_back(worker.attempt, cause, message);
    }

    /// The first of what was fed has failed for a reason of ours.
    pub(crate) fn fail_running(&mut self, slot: SlotIndex, entry: Entry, cause: TestCause, failure: Failure) {
        let now = self.now;
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it ran");
        let Some((attempt, _)) = worker.fed.pop_front() else { return };
        let ran = worker.running.take().map_or(0, |(_, since)| (now - since).as_micros());
        let result = TestResult {
            test: entry.test,
            ordinal: 0,
            last: true,
            outcome: Outcome::Failed,
            detail: String::new(),
            cause: Some(cause),
            phases: [0, u64::try_from(ran).unwrap_or(u64::MAX), 0],
            peak_kib: failure.peak_kib,
            cpu_us: 0,
            started_at: 0,
            message: failure.message,
            location: failure.location,
            text: failure.text,
        };
        self.result(attempt, &entry, result);
        self.done(attempt);
    }

    /// Gives unstarted tests back to the queues they came from.
    pub(crate) fn unfeed(&mut self, slot: SlotIndex) {
        let Some(worker) = self.slot_mut(slot).and_then(|s| s.worker.as_mut()) else { return };
        worker.running = None;
        let fed: VecDeque<_> = std::mem::take(&mut worker.fed);
        for (attempt, entry) in fed.into_iter().rev() {
            if let Some(state) = self.attempts.get_mut(&attempt) {
                state.fed -= 1;
                if state.is_open() {
                    state.queue.push_front(entry);
                }
            }
        }
        for attempt in self.attempts.values_mut().filter(|attempt| attempt.slot == slot) {
            attempt.leave_broken_relations();
            attempt.end_if_done();
        }
    }

    fn result(&mut self, attempt: AttemptId, entry: &Entry, result: TestResult) {
        let ends = [TestCause::Crashed, TestCause::TimedOut, TestCause::OverMemory, TestCause::OverDisk];
        if result.cause.is_some_and(|cause| ends.contains(&cause)) {
            self.explain(attempt);
        }
        if let Some(state) = self.attempts.get_mut(&attempt).filter(|_| entry.relation != 0) {
            state.begun_relations.insert(entry.relation);
        }
        self.record(attempt, Record::Result(result));
    }

    fn takes(&mut self, attempt: AttemptId, used: Used) {
        if let Some(attempt) = self.attempts.get_mut(&attempt).filter(|attempt| attempt.ended.is_none()) {
            attempt.takes(used);
        }
    }

    /// What is counted of a worker at its end is of what it was at.
    pub(crate) fn takes_last(&mut self, slot: SlotIndex, used: Option<Used>) {
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it spoke");
        worker.used = used.or(worker.used);
        let attempt = worker.fed.front().map_or(worker.attempt, |(attempt, _)| *attempt);
        if let Some(used) = worker.take_used() {
            self.takes(attempt, used);
        }
    }

    pub(crate) fn record(&mut self, attempt: AttemptId, record: Record) {
        if let Some(attempt) = self.attempts.get_mut(&attempt) {
            attempt.records.push(record);
            self.report(true);
        }
    }

    /// One fed test of an attempt is reported on.
    fn done(&mut self, attempt: AttemptId) {
        let Some(state) = self.attempts.get_mut(&attempt) else { return };
        state.fed -= 1;
        state.end_if_done();
        if state.ended.is_some() {
            self.report(false);
        }
    }
}
