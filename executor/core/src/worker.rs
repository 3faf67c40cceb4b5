//! What workers say, and what their end means.

use std::collections::VecDeque;

use seagull_domain::{
    Attachment, AttemptId, EndCause, Entry, InfraCause, Outcome, Record, SlotIndex, SuiteError, TestCause,
    TestIndex, TestResult,
};

use crate::controller::Node;
use crate::excerpt::ends;
use crate::slot::{Cleaning, Death, Phase, Worker, past_start_limit};
use crate::state::State;
use crate::{Exit, Failure, WorkerEvent, WorkerId};

/// An end by SIGINT.
const INTERRUPTED: &str = "signal 2";

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

    fn worker(&self, slot: SlotIndex) -> &Worker {
        self.slots[usize::from(slot.0)].worker.as_ref().expect("it spoke")
    }

    /// A worker that has collected everything does not live for a bundle or a test alone.
    fn discovered(&mut self, slot: SlotIndex, cause: EndCause) {
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it spoke");
        worker.retired |= worker.is_isolated();
        let (attempt, interrupted) = (worker.attempt, worker.phase.is_interrupted());
        if let Some(attempt) = self.attempts.get_mut(&attempt).filter(|a| a.discover && a.fed > 0) {
            let in_time = attempt.runs_out() && !interrupted;
            let stopped = attempt.stopping.take().filter(|_| !in_time);
            attempt.fed = 0;
            attempt.ended = Some(stopped.unwrap_or(cause));
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

    /// The whole tree is gone. The test that ran has failed, unless it was stopped; what was fed goes back. A worker
    /// that could not run any test gives back the attempt, or workers would be started for ever.
    fn exited(&mut self, slot: SlotIndex, exit: &Exit) {
        let worker = self.worker(slot).clone();
        let spared = worker.phase.is_interrupted() || worker.broken.is_some();
        if worker.runs_several() && !spared {
            self.suspect(&worker, exit);
        } else if let Some((_, entry)) = worker.fed.front().copied().filter(|_| !spared) {
            self.front_of_dead(slot, &worker, entry, exit);
        }
        self.give_back_broken(&worker);
        self.unfeed(slot);
        self.never_worked(&worker, exit);
        self.last_words(&worker, exit);
        self.node_down(&worker, &exit.how);
        if let Some(slot) = self.slot_mut(slot) {
            slot.worker = None;
            let gone = (worker.run.clone(), worker.number, worker.attempt);
            // However many end while the scheduler is away, they are told of as one.
            if !slot.gone.contains(&gone) {
                slot.gone.push(gone);
            }
        }
        self.discovery_died(&worker, exit);
        self.report(false);
    }

    /// Nobody knows which of several tests killed the worker, or hung: each of them runs again, alone. If that does not
    /// show which it was, nothing but a suite error tells of the death. A hang may have been no more than much to do.
    fn suspect(&mut self, worker: &Worker, exit: &Exit) {
        for (attempt, _) in &worker.fed {
            if let Some(attempt) = self.attempts.get_mut(attempt) {
                attempt.suspects += 1;
            }
        }
        let killed = matches!(worker.phase, Phase::Dying(_));
        let last = worker.fed.iter().map(|(attempt, _)| *attempt).max().filter(|_| !killed);
        if let Some(attempt) = last.and_then(|attempt| self.attempts.get_mut(&attempt)) {
            let title = "a worker died while it ran several tests".to_owned();
            let error = SuiteError { title, message: exit.how.clone(), text: exit.text };
            attempt.unexplained.get_or_insert(error);
        }
    }

    /// A test that ends or hangs its worker by itself is to blame for the one that died with several.
    fn explain(&mut self, culprit: AttemptId) {
        let Some((slot, run)) = self.attempts.get(&culprit).map(|a| (a.slot, a.run.clone())) else { return };
        for attempt in self.attempts.values_mut().filter(|a| (a.slot, &a.run) == (slot, &run)) {
            attempt.unexplained = None;
        }
    }

    /// What became of the test a dead worker was at, or was collecting.
    fn front_of_dead(&mut self, slot: SlotIndex, worker: &Worker, entry: Entry, exit: &Exit) {
        let (cause, message) = match (worker.phase, worker.running) {
            (Phase::Dying(Death::TimedOut(test, limit)), _) if test == entry.test => (
                TestCause::TimedOut,
                format!(
                    "timed out: killed after {} s, its limit; --test-limit sets it",
                    limit as f64 / 1000.0
                ),
            ),
            (Phase::Dying(Death::Stuck(Some(test))), None) if test == entry.test => {
                let limit = worker.start_limit.as_secs_f64();
                let missed =
                    if worker.collecting { "its file was not collected" } else { "it did not begin" };
                let message = format!("timed out: {missed} within {limit} s; --start-limit sets how long");
                (TestCause::TimedOut, message)
            }
            // The test that it was killed for ended after all, just before; the next one is not to blame.
            (Phase::Dying(_), _) => return,
            _ if worker.is_between_tests() => return,
            _ if exit.over_memory.is_some() => (TestCause::OverMemory, exit.how.clone()),
            (_, running) => {
                let collects = running.is_none() && worker.collecting;
                let at = if collects { " while collecting the test's file" } else { "" };
                (TestCause::Crashed, format!("crashed: the worker ended with {}{at}", exit.how))
            }
        };
        let peak_kib = exit.over_memory.filter(|_| cause == TestCause::OverMemory).unwrap_or(0);
        self.fail_running(slot, entry, cause, Failure { text: exit.text, peak_kib, ..message.into() });
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

    /// What its tests need is gone: whatever it is at is interrupted, for what comes of it says nothing.
    fn sandbox_broke(&mut self, slot: SlotIndex, broke: (InfraCause, String)) {
        let worker = self.slot_mut(slot).and_then(|s| s.worker.as_mut()).expect("it spoke");
        if worker.ended || matches!(worker.phase, Phase::Dying(_)) {
            return;
        }
        worker.sandbox_broke = Some(broke);
        self.kill(slot, Death::SandboxBroke);
    }

    /// The attempt that it was at goes elsewhere, where its tests find what they need.
    fn give_back_broken(&mut self, worker: &Worker) {
        if let Some((cause, message)) = worker.sandbox_broke.clone() {
            let attempt = worker.fed.front().map_or(worker.attempt, |(attempt, _)| *attempt);
            self.give_back(attempt, cause, message);
        }
    }

    /// A worker that never came to a test, though it was not told to stop, is a sandbox that failed. One that was to
    /// discover may have died of the suite.
    fn never_worked(&mut self, worker: &Worker, exit: &Exit) {
        let idle = !self.was_discovering(worker) && (!worker.ready || worker.came_to_no_test());
        let why = match (&worker.broken, worker.phase) {
            (Some(words), _) => words.clone(),
            (None, Phase::Starting | Phase::Ready) if idle => ends(&exit.told(exit.how.clone())),
            (None, Phase::Dying(Death::Stuck(_))) if idle => {
                ends(&exit.told(past_start_limit(worker.start_limit)))
            }
            (None, _) => return,
        };
        let before = if worker.ready { "it ran any test" } else { "it was ready" };
        let message = format!("the worker ended before {before}: {why}");
        self.give_back(worker.attempt, InfraCause::SandboxFailed, message);
    }

    /// An end of a session that nothing explains is a suite error: it may have hidden one.
    fn last_words(&mut self, worker: &Worker, exit: &Exit) {
        let how = exit.how.clone();
        let (title, message) = match worker.phase {
            // An interrupt of ours may come when the framework does not listen any more.
            Phase::Ready | Phase::Finishing { interrupted: false, .. }
                if worker.ends_otherwise(&exit.how) && worker.broken.is_none() && how != INTERRUPTED =>
            {
                ("a worker died after its session", how)
            }
            _ if !worker.ready || worker.ended || self.is_doubted(worker) => return,
            // That it may hang is why there was a second copy.
            Phase::Dying(Death::Grace) if self.is_superseded(worker) => return,
            Phase::Dying(Death::HandedBack | Death::SandboxBroke) => return,
            Phase::Dying(Death::Grace) => {
                let grace = worker.grace_ms as f64 / 1000.0;
                let message = format!("after {grace} s; --grace sets how long");
                ("a worker did not stop within the grace and was killed", message)
            }
            Phase::Dying(Death::Unended) => {
                ("a worker's session did not end within its limit", past_start_limit(worker.start_limit))
            }
            Phase::Finishing { .. } => ("a worker died while its session finished", how),
            _ if !worker.is_between_tests() || worker.came_to_no_test() => return,
            Phase::Ready => ("a worker died without running a test", how),
            Phase::Dying(Death::Stuck(_)) if worker.worked => {
                ("a worker hung between two tests", past_start_limit(worker.start_limit))
            }
            _ => return,
        };
        let error = SuiteError { title: title.to_owned(), message, text: exit.text };
        self.record(worker.attempt, Record::SuiteError(error));
    }

    /// A death while it discovers may be the machine's doing (its memory ran out): it is believed when it comes again, here
    /// or, where this executor leaves, elsewhere.
    fn is_doubted(&self, worker: &Worker) -> bool {
        let by_itself = matches!(worker.phase, Phase::Starting | Phase::Ready);
        by_itself && self.was_discovering(worker) && self.attempts[&worker.attempt].died.is_none()
    }

    /// Whether it had begun and was not done with what it was to find out.
    fn was_discovering(&self, worker: &Worker) -> bool {
        let attempt = self.attempts.get(&worker.attempt);
        worker.connected && attempt.is_some_and(|attempt| attempt.discover && attempt.ended.is_none())
    }

    fn discovers_again(&self, worker: &Worker) -> bool {
        self.is_doubted(worker) && self.attempts[&worker.attempt].is_open()
    }

    /// Whether what it was at has a result of another attempt.
    fn is_superseded(&self, worker: &Worker) -> bool {
        let front = worker.fed.front().and_then(|(attempt, _)| self.attempts.get(attempt));
        front.is_some_and(|attempt| attempt.superseded)
    }

    fn discovery_died(&mut self, worker: &Worker, exit: &Exit) {
        let limit = worker.start_limit.as_secs_f64();
        let again = self.discovers_again(worker);
        let Some(attempt) =
            self.attempts.get_mut(&worker.attempt).filter(|a| a.discover && a.ended.is_none())
        else {
            return;
        };
        attempt.fed = 0;
        if again {
            attempt.died = Some(exit.how_and_where());
            return;
        }
        let ended = || format!("the framework ended during discovery with {}", exit.how_and_where());
        let died = match worker.phase {
            Phase::Dying(Death::Stuck(_)) => {
                let at = exit.at_file(", the last of it at ");
                exit.told(format!(
                    "discovery took longer than its limit of {limit} s{at}; --start-limit sets it"
                ))
            }
            Phase::Starting => exit.told(ended()),
            // Its words are with a suite error.
            _ => ended(),
        };
        attempt.ended = Some(attempt.stopping.take().unwrap_or(EndCause::DiscoveryFailed(died)));
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
    fn fail_running(&mut self, slot: SlotIndex, entry: Entry, cause: TestCause, failure: Failure) {
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
    fn unfeed(&mut self, slot: SlotIndex) {
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
        if matches!(result.cause, Some(TestCause::Crashed | TestCause::TimedOut | TestCause::OverMemory)) {
            self.explain(attempt);
        }
        if let Some(state) = self.attempts.get_mut(&attempt).filter(|_| entry.relation != 0) {
            state.begun_relations.insert(entry.relation);
        }
        self.record(attempt, Record::Result(result));
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
