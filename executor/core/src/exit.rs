//! What the end of a worker means: for what it ran, for what it had yet to run, and for its slot.

use seagull_domain::{AttemptId, EndCause, Entry, InfraCause, Record, SlotIndex, SuiteError, TestCause};

use crate::excerpt::ends;
use crate::slot::{Death, Phase, Worker, past_start_limit};
use crate::state::State;
use crate::{Exit, Failure, Over};

/// An end by SIGINT.
const INTERRUPTED: &str = "signal 2";

impl Over {
    fn cause(self) -> TestCause {
        match self {
            Over::Memory(_) => TestCause::OverMemory,
            Over::Disk => TestCause::OverDisk,
        }
    }

    fn peak_kib(self) -> u64 {
        match self {
            Over::Memory(kib) => kib,
            Over::Disk => 0,
        }
    }
}

impl State {
    /// The whole tree is gone. The test that ran has failed, unless it was stopped; what was fed goes back. A worker
    /// that could not run any test gives back the attempt, or workers would be started for ever.
    pub(crate) fn exited(&mut self, slot: SlotIndex, exit: &Exit) {
        self.takes_last(slot, exit.used);
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
    pub(crate) fn explain(&mut self, culprit: AttemptId) {
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
            _ if let Some(over) = exit.over => (over.cause(), exit.how.clone()),
            (_, running) => {
                let collects = running.is_none() && worker.collecting;
                let at = if collects { " while collecting the test's file" } else { "" };
                (TestCause::Crashed, format!("crashed: the worker ended with {}{at}", exit.how))
            }
        };
        let peak_kib = exit.over.filter(|over| over.cause() == cause).map_or(0, Over::peak_kib);
        self.fail_running(slot, entry, cause, Failure { text: exit.text, peak_kib, ..message.into() });
    }

    /// What its tests need is gone: whatever it is at is interrupted, for what comes of it says nothing.
    pub(crate) fn sandbox_broke(&mut self, slot: SlotIndex, broke: (InfraCause, String)) {
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
}
