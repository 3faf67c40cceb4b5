//! A slot and the worker that lives in it.
//!
//! ```text
//! Starting ─▶ Ready ─▶ Finishing ─▶ (gone)
//!     └─────────┴─────────▶ Dying ─────┘
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use seagull_domain::{
    AttemptId, Entry, ImageUsed, InfraCause, Instant, Isolation, RunId, SlotNumber, Surroundings, TestIndex,
    Used,
};

use crate::controller::Node;
use crate::{Attempt, Renewal, WorkerId};

#[derive(Debug, Clone, Default)]
pub struct Slot {
    pub worker: Option<Worker>,
    /// Workers that are gone, with the attempt that delivers their last words.
    pub gone: Vec<(RunId, SlotNumber, AttemptId)>,
}

#[derive(Debug, Clone)]
pub struct Worker {
    pub id: WorkerId,
    pub run: RunId,
    pub number: SlotNumber,
    pub surroundings: Surroundings,
    pub phase: Phase,
    /// Whether its process ever said anything.
    pub connected: bool,
    /// Whether the framework ever said that it runs.
    pub ready: bool,
    /// Whether it has finished a test.
    pub worked: bool,
    /// Why it will not run any test, in the framework's words.
    pub broken: Option<String>,
    /// What of its sandbox has ended under it, or why it was at an end.
    pub sandbox_broke: Option<(InfraCause, String)>,
    /// Whether nothing more is to run in it: it has run what does not count, or all that it lives for.
    pub retired: bool,
    /// Whether it knows that what it has is the last.
    pub has_last: bool,
    /// Whether it is not what anticipated attempts are to run in.
    pub differs: bool,
    pub renewal: Renewal,
    /// What its sandbox was made of.
    pub images: Vec<ImageUsed>,
    pub cleaning: Cleaning,
    /// Its highest resident memory, as far as it has told.
    pub peak_kib: u64,
    /// What all its processes have taken so far, where that is counted, and how much of it attempts have been told.
    pub used: Option<Used>,
    pub told_cpu_us: u64,
    /// Whether it has said which tests there are, though the scheduler may not know yet.
    pub collected: bool,
    /// Whether it has collected the whole suite, so that what it does not find does not exist.
    pub whole: bool,
    /// What it has and has not reported on, in order, with the attempt of each.
    pub fed: VecDeque<(AttemptId, Entry)>,
    /// Relations of which it was fed something, by attempt.
    pub relations: BTreeSet<(AttemptId, u32)>,
    /// The test that runs, since when.
    pub running: Option<(TestIndex, Instant)>,
    /// How many milliseconds that may take; see [`Worker::limit`].
    pub limit_ms: u64,
    /// Whether the file of the next test is being collected.
    pub collecting: bool,
    /// It waits for a successor.
    pub wants: bool,
    /// How many microseconds of work it runs in one go; None if it runs test by test.
    pub batch_us: Option<u64>,
    /// A failure may be what ends its run.
    pub fails_fast: bool,
    /// When it last went on: the limit of starting, discovering and collecting counts from here.
    pub active: Instant,
    /// The attempt whose log and batches take what belongs to no test.
    pub attempt: AttemptId,
    /// How long it may take to start, to discover, and to collect a file.
    pub start_limit: Duration,
    pub grace_ms: u64,
    /// Whether the framework said that its session is over.
    pub ended: bool,
    /// The exit code that it ends with, by its own word.
    pub exit: Option<i32>,
    pub node: Node,
    /// What it left for its controller.
    pub output: Option<String>,
    /// Predicted and actual microseconds of late, to correct predictions by.
    pub predicted_us: u64,
    pub actual_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Ready,
    /// Told to finish, or interrupted; killed at the deadline, for this.
    Finishing {
        deadline: Instant,
        death: Death,
        interrupted: bool,
    },
    /// Killed; waits for its end.
    Dying(Death),
}

/// What becomes of what an attempt has left in a worker's services, where there is a way to make them clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cleaning {
    /// It stays, for it is only the same attempt's.
    #[default]
    Undone,
    UnderWay,
    Done,
}

/// Why a worker was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The test that ran was past its limit of so many milliseconds.
    TimedOut(TestIndex, u64),
    /// Its run was cancelled, or what it was at, and it did not stop within the grace.
    Grace,
    /// Nobody cancelled anything, and its session did not end within the limit.
    Unended,
    /// It had not stopped when its executor had no more time.
    HandedBack,
    /// Something of its sandbox has ended, which no test is to blame for.
    SandboxBroke,
    /// It did not collect the file of the test within its limit; or, without one, not start or discover, or come to a
    /// test.
    Stuck(Option<TestIndex>),
}

impl Death {
    /// Whether where it stood is worth knowing.
    pub(crate) fn is_a_hang(self) -> bool {
        matches!(self, Death::TimedOut(..) | Death::Stuck(_) | Death::Grace | Death::Unended)
    }
}

impl Phase {
    /// Whether what it is at was stopped, and is not to blame for its end.
    pub fn is_interrupted(self) -> bool {
        matches!(
            self,
            Phase::Finishing { interrupted: true, .. }
                | Phase::Dying(Death::Grace | Death::Unended | Death::HandedBack | Death::SandboxBroke)
        )
    }
}

/// What is said of a limit of so long.
pub(crate) fn past_start_limit(limit: Duration) -> String {
    format!("killed after {} s, its limit; --start-limit sets it", limit.as_secs_f64())
}

impl Worker {
    /// Of what its session may take to end, only the grace is left: for it is over, or its run is cancelled.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let Phase::Finishing { deadline, death: death @ Death::Unended, .. } = &mut self.phase {
            (*deadline, *death) = (now + Duration::from_millis(self.grace_ms), Death::Grace);
        }
    }

    /// Takes what it is counted to have taken since it was asked last.
    pub(crate) fn take_used(&mut self) -> Option<Used> {
        let used = self.used?;
        let cpu_us = used.cpu_us.saturating_sub(self.told_cpu_us);
        self.told_cpu_us = self.told_cpu_us.max(used.cpu_us);
        Some(Used { cpu_us, ..used })
    }

    /// What a test will take here, by how predictions fared of late.
    pub fn estimate_us(&self, entry: &Entry) -> u64 {
        let corrected =
            u128::from(entry.predicted_us) * u128::from(self.actual_us) / u128::from(self.predicted_us);
        u64::try_from(corrected).unwrap_or(u64::MAX)
    }

    /// Since when its test runs, and when that is predicted to end; None where nobody knows which it is.
    pub fn predicted_end(&self) -> Option<(Instant, Instant)> {
        let (test, since) = self.running.filter(|_| !self.runs_several())?;
        let (_, entry) = self.fed.front().filter(|(_, entry)| entry.test == test)?;
        Some((since, since + Duration::from_micros(entry.predicted_us)))
    }

    /// Whether it is at tests that run in one go: it is as soon as it has them.
    pub fn has_batch(&self) -> bool {
        self.batch_us.is_some() && !self.fed.is_empty()
    }

    /// Whether several tests run in one go, so that nobody knows which of them runs.
    pub fn runs_several(&self) -> bool {
        self.has_batch() && self.fed.len() > 1
    }

    /// How many milliseconds what starts may take. Of tests in one go each may take its time, and the rest theirs.
    pub fn limit(&self) -> u64 {
        let limits = self.fed.iter().map(|(_, entry)| entry.limit_ms);
        match self.batch_us.filter(|_| self.runs_several()) {
            Some(batch_us) => limits.max().unwrap_or(0).saturating_add(batch_us / 1000),
            None => limits.take(1).sum(),
        }
    }

    /// Learns from a test that took `micros`.
    pub fn learn(&mut self, predicted_us: u64, micros: u64) {
        self.predicted_us += predicted_us.max(1);
        self.actual_us += micros;
        if self.predicted_us > 10_000_000 {
            self.predicted_us = self.predicted_us / 2 + 1;
            self.actual_us = self.actual_us / 2 + 1;
        }
    }

    /// Whether it can work for an attempt it was not started for. Not for one of other surroundings, which has another
    /// sandbox, nor for one of another number: that was given out anew, after the executor had been lost. And not for a
    /// discovery: only a new process collects anew.
    pub fn can_serve(&self, attempt: &Attempt) -> bool {
        let own = (&self.run, self.number, self.surroundings);
        !self.retired && !attempt.discover && own == (&attempt.run, attempt.number, attempt.surroundings)
    }

    /// What it lives for. What starts a process for each batch is isolated by that, but its sandbox is not.
    pub fn lives_for(&self) -> Isolation {
        let own = if self.batch_us.is_none() { self.renewal.isolation } else { Isolation::Slot };
        own.max(self.renewal.sandbox)
    }

    /// Whether it lives for less than what its slot runs.
    pub fn is_isolated(&self) -> bool {
        self.lives_for() != Isolation::Slot
    }

    pub fn is_over_memory(&self) -> bool {
        self.renewal.memory_kib.is_some_and(|limit| self.peak_kib > limit)
    }

    /// Whether it may get a test of the attempt before it asks for one. What would be too much for it, what it was the last
    /// of, or that it was the last of all, only shows when it does.
    pub fn takes_ahead(&self, attempt: AttemptId) -> bool {
        let apart = match self.renewal.isolation.max(self.renewal.sandbox) {
            Isolation::Slot => false,
            Isolation::Bundle => self.fed.back().is_some_and(|(of, _)| *of != attempt),
            Isolation::Test => true,
        };
        !apart && self.renewal.memory_kib.is_none() && !self.fails_fast
    }

    /// Whether its services are to be made clean before it gets tests of this attempt.
    pub fn is_to_be_clean(&self, attempt: AttemptId) -> bool {
        let used = self.worked || !self.fed.is_empty();
        self.renewal.resets && used && attempt != self.attempt && self.cleaning != Cleaning::Done
    }

    /// Whether it is at nothing that belongs to a test.
    pub fn is_between_tests(&self) -> bool {
        self.running.is_none() && !self.collecting && !self.has_batch()
    }

    /// Whether its session ended, and its process in another way than it said.
    pub fn ends_otherwise(&self, how: &str) -> bool {
        self.ended && self.exit.is_some_and(|code| how != format!("exit code {code}"))
    }

    /// Whether it has tests and has come to none: they are not to blame for its end.
    pub fn came_to_no_test(&self) -> bool {
        self.is_between_tests() && !self.worked && !self.fed.is_empty()
    }

    pub fn takes_tests(&self) -> bool {
        self.phase == Phase::Ready
    }
}
