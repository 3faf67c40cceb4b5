//! What the core is told, and what it asks of its shell.

use std::time::Duration;

use seagull_domain::{
    Attachment, AttemptId, BundleContents, Desired, Discovery, Generation, Hold, ImageUsed, InfraCause,
    Isolation, Leftover, RunId, SlotIndex, SlotNumber, SuiteError, Surroundings, TestIndex, TestResult,
    TextRef, Used,
};

use crate::Notice;

/// The number of a worker in this boot; events of an earlier worker of the slot are told by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

#[derive(Debug, Clone)]
pub enum Event {
    /// The scheduler's answer.
    Desired(Box<Desired>),
    /// The answer to [`Effect::Fetch`].
    Contents {
        attempt: AttemptId,
        contents: BundleContents,
    },
    /// It could not be fetched, for a reason that does not pass.
    NoContents {
        attempt: AttemptId,
        message: String,
    },
    Worker {
        slot: SlotIndex,
        worker: WorkerId,
        event: WorkerEvent,
    },
    /// Take nothing new, give back what has not started, let what runs end if there is time, and leave.
    Leave(Notice),
    /// The executor itself stood still for so long; see [`crate::State::stood_still`].
    Paused(Duration),
    Tick,
}

#[derive(Debug, Clone, PartialEq)]
pub enum WorkerEvent {
    /// The process has begun, and what speaks for the framework in it: what ends it from now on may be the suite.
    Connected,
    /// The framework has started; `grace_ms` is the run's time to tear down.
    Ready {
        grace_ms: u64,
    },
    /// How long the run lets a worker start, discover and collect a file; said as soon as it is known.
    StartLimit(Duration),
    /// When the worker is to be renewed, if not only with its slot's run; before it is ready.
    Renews(Renewal),
    /// What its sandbox was made of; before it is ready.
    Images(Vec<ImageUsed>),
    /// A failure may be what ends its run: nothing more begins in it before the scheduler has heard of one.
    FailsFast,
    /// It is not what the attempt it was started for is to run in; said before it is ready.
    EnvironmentDiffers,
    /// The framework runs what it has in one go: it gets tests worth so many microseconds when it has none, and
    /// nothing before it is done with them.
    Batches {
        micros: u64,
    },
    /// The file of the next test is being collected.
    Collecting,
    /// That is done, well or not.
    FileCollected,
    /// All is collected; the outcome is being stored.
    Collected,
    Discovered(Discovery),
    /// The discovery is complete, but its manifest could not be stored, with a sentence that says why.
    NotStored(String),
    /// The framework gave up before its collection was done, in a worker that discovers or in any other: a line, and
    /// what else there is to say.
    DiscoveryFailed(String),
    Started(TestIndex),
    Finished(TestResult),
    /// The test cannot be collected.
    Missing {
        test: TestIndex,
        reason: String,
    },
    /// A worker's configuration waits for what the run's controller has for it.
    NodeWaits,
    /// The controller has this for the worker of the number. The text is the adapter's, as are all of nodes.
    NodeInput {
        number: SlotNumber,
        input: String,
    },
    /// The session of a worker that has it has started.
    NodeReady,
    /// What a worker leaves for the controller.
    NodeOutput(String),
    /// The call phase of the current test is over, or there is none, and the worker has no successor.
    Next {
        /// Whether that test has failed, by what is known of it.
        failed: bool,
        /// Its highest resident memory so far; 0 where unknown.
        peak_kib: u64,
    },
    /// A test was interrupted, or the session between tests: by us, or by itself (`pytest.exit`).
    Interrupted {
        test: Option<TestIndex>,
        failure: Failure,
    },
    SuiteError(SuiteError),
    /// Where what it measured of the suite's coverage lies.
    Coverage(TextRef),
    /// A file was left, by a test if that is known; it is on its way.
    Attached {
        test: Option<TestIndex>,
        file: Attachment,
    },
    /// Its sandbox stays for a while as a test has left it that failed: nothing more is to run there.
    Held {
        test: Option<TestIndex>,
        hold: Hold,
    },
    /// Its session has ended in order, its process too, and this was still there: by the doing of a test, if that is known.
    Left {
        test: Option<TestIndex>,
        left: Leftover,
    },
    /// What all its processes have taken since it began, where somebody counts; said before the end of a test.
    Used(Used),
    /// The framework is done with its session; the process is about to end, with that exit code if it knows.
    Ended {
        exit: Option<i32>,
    },
    /// The process and all its descendants are gone.
    Exited(Exit),
    /// Something that its tests need has ended, or its machine had no memory left for them, with a sentence that says what.
    SandboxBroke(InfraCause, String),
    /// What [`Effect::Reset`] asked for is done, well or not.
    Reset {
        clean: bool,
    },
    /// The worker could not be started, with a sentence that says why.
    NotStarted(InfraCause, String),
}

impl WorkerEvent {
    /// Whether nothing comes of the worker after it.
    pub fn is_the_last(&self) -> bool {
        matches!(self, WorkerEvent::Exited(_) | WorkerEvent::NotStarted(..))
    }
}

/// What is said of a test that came to no report, or of a session that was interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    pub message: String,
    /// `file:line`; empty where unknown.
    pub location: String,
    pub text: Option<TextRef>,
    /// What all in its sandbox took of memory together, where that is known.
    pub peak_kib: u64,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, ..Self::default() }
    }
}

/// When a worker makes room for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Renewal {
    pub isolation: Isolation,
    /// What its sandbox lives for, whatever starts a process for its tests.
    pub sandbox: Isolation,
    /// With more resident memory than this it runs no further test.
    pub memory_kib: Option<u64>,
    /// Whether its services are to be made clean between two attempts.
    pub resets: bool,
}

/// How a worker's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// In words: `signal 11 (SIGSEGV)`, `exit code 0`.
    pub how: String,
    /// The file that a discovery was at; empty where there is none.
    pub importing: String,
    /// The end of what it wrote outside any test, and where it lies.
    pub words: String,
    pub text: Option<TextRef>,
    /// What all its processes have taken together, where somebody has counted.
    pub used: Option<Used>,
    /// Set where it was killed because its sandbox had more of something than it may have.
    pub over: Option<Over>,
}

/// What a sandbox had too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// So much memory was taken, in KiB.
    Memory(u64),
    Disk,
}

impl Exit {
    /// How it ended, where nothing else is known of it.
    pub fn of(how: impl Into<String>) -> Exit {
        let [importing, words] = [const { String::new() }; 2];
        Exit { how: how.into(), importing, words, text: None, used: None, over: None }
    }

    /// The file that it was at, after these words; nothing where there is none.
    pub(crate) fn at_file(&self, words: &str) -> String {
        if self.importing.is_empty() { String::new() } else { format!("{words}{}", self.importing) }
    }

    /// How it ended, and at which file.
    pub(crate) fn how_and_where(&self) -> String {
        format!("{}{}", self.how, self.at_file(" while it imported "))
    }

    /// A sentence about its end, and its words.
    pub(crate) fn told(&self, sentence: String) -> String {
        let words = self.words.trim_end();
        if words.is_empty() { sentence } else { format!("{sentence}\n{words}") }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Report now (or, for results alone, when 50 ms have passed since the last report).
    Report {
        results_only: bool,
    },
    /// Fetch the contents of an attempt.
    Fetch {
        run: RunId,
        attempt: AttemptId,
        generation: Generation,
    },
    Start(Start),
    /// Tests for a worker, after those it has. They belong to the log of `attempt`.
    Feed {
        slot: SlotIndex,
        worker: WorkerId,
        attempt: AttemptId,
        tests: Vec<TestIndex>,
    },
    /// For a controller, of a worker; or for a worker, of its controller.
    Node {
        worker: WorkerId,
        order: NodeOrder,
    },
    /// Make the worker's services clean for another attempt.
    Reset {
        slot: SlotIndex,
        worker: WorkerId,
    },
    /// Nothing more will come: tear down and end.
    Finish {
        slot: SlotIndex,
        worker: WorkerId,
    },
    Interrupt {
        slot: SlotIndex,
        worker: WorkerId,
    },
    /// Kill the worker's whole tree; first have it write its stacks, if asked.
    Kill {
        slot: SlotIndex,
        worker: WorkerId,
        dump_stacks: bool,
    },
    /// Nothing is left to do or to deliver, and the scheduler knows, or there is no time for that: the executor may end.
    Left,
}

/// What a controller and the workers of its run are told of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeOrder {
    /// A worker waits for its input.
    Configure { number: SlotNumber },
    /// It has started with it.
    Ready { number: SlotNumber },
    /// It is gone: how, if not by itself, and what it left.
    Down { number: SlotNumber, error: Option<String>, output: Option<String> },
    /// For a worker: what its controller has for it; none if there is no controller any more.
    Input(Option<String>),
}

/// A worker to start, or a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub slot: SlotIndex,
    pub worker: WorkerId,
    pub run: RunId,
    /// The attempt that needs it first.
    pub attempt: AttemptId,
    pub number: SlotNumber,
    pub slots: u32,
    pub surroundings: Surroundings,
    pub discover: bool,
    /// How the worker died that was to discover before it.
    pub died: Option<String>,
    /// Collect the whole suite first, to find ids that exist only then.
    pub whole: bool,
    /// It is no worker of the slot, but the run's controller here.
    pub controller: bool,
}
