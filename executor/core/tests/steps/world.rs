//! What the steps are tested with: an executor of one slot, and what its scheduler wants of it.

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, BundleContents, Desired, DesiredAttempt, Digest, EndCause, Entry,
    Epoch, Generation, InfraCause, Instant, Kind, Outcome, Record, Report, Role, RunId, SlotIndex,
    SlotNumber, Surroundings, TestCause, TestIndex, TestResult,
};
use seagull_executor_core::{Effect, Event, Exit, Notice, Settings, State, WorkerEvent, WorkerId};

pub const SLOT: SlotIndex = SlotIndex(0);

/// An executor of one slot, and what its scheduler wants of it.
#[derive(Clone)]
pub struct World {
    pub state: State,
    pub now: Instant,
    pub epoch: Epoch,
    pub version: u64,
    pub desired: Vec<DesiredAttempt>,
    pub runs: Vec<RunId>,
    pub cancelled: Vec<RunId>,
    /// An operator's wish that it leave.
    pub drain_ms: Option<u64>,
}

pub fn run() -> RunId {
    "r".parse().unwrap()
}

pub fn wanted(attempt: u64, kind: Kind, number: u32) -> DesiredAttempt {
    DesiredAttempt {
        surroundings: Surroundings::default(),
        attempt: AttemptId(attempt),
        run: run(),
        kind,
        slot: SLOT,
        number: SlotNumber(number),
        slots: number + 1,
        generation: Generation(1),
        cancel: false,
        superseded: false,
    }
}

pub fn entry(test: u32, relation: u32) -> Entry {
    Entry { test: TestIndex(test), role: Role::Run, predicted_us: 1_000_000, limit_ms: 10_000, relation }
}

pub fn contents(generation: u32, entries: &[Entry]) -> BundleContents {
    BundleContents {
        generation: Generation(generation),
        manifest: Digest([1; 32]),
        anticipated: false,
        entries: entries.to_vec(),
    }
}

pub fn passed(test: u32) -> WorkerEvent {
    WorkerEvent::Finished(TestResult {
        cpu_us: 0,
        test: TestIndex(test),
        ordinal: 0,
        last: true,
        outcome: Outcome::Passed,
        detail: String::new(),
        cause: None,
        phases: [0, 1, 0],
        peak_kib: 0,
        started_at: 0,
        message: String::new(),
        location: String::new(),
        text: None,
    })
}

pub fn gave_back(message: &str) -> AttemptState {
    AttemptState::Ended(EndCause::GaveBack(InfraCause::SandboxFailed, message.into()))
}

pub fn exited() -> WorkerEvent {
    WorkerEvent::Exited(Exit::of("signal 11"))
}

impl World {
    pub fn new() -> World {
        let (executor, boot) = ("e".parse().unwrap(), "b".parse().unwrap());
        World {
            state: State::new(executor, boot, 1, Settings::default()),
            now: Instant(0),
            epoch: Epoch(1),
            version: 0,
            desired: Vec::new(),
            runs: vec![run()],
            cancelled: Vec::new(),
            drain_ms: None,
        }
    }

    /// Up to an attempt that it was told of: a discovery starts its worker, another fetches its contents.
    pub fn wanting(kind: Kind) -> World {
        let mut world = World::new();
        world.desired = vec![wanted(1, kind, 0)];
        world.answer(Vec::new());
        world
    }

    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.state.step(self.now, event);
        self.state.sanity_check();
        effects.into_iter().filter(|effect| !matches!(effect, Effect::Report { .. })).collect()
    }

    /// It hears that it has so many seconds to leave.
    pub fn leave(&mut self, seconds: u64) -> Vec<Effect> {
        self.step(Event::Leave(Notice::drain("a signal", Duration::from_secs(seconds))))
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Tells it what is desired.
    pub fn answer(&mut self, acknowledged: Vec<(AttemptId, u32)>) -> Vec<Effect> {
        self.version += 1;
        let desired = Desired {
            epoch: self.epoch,
            version: self.version,
            attempts: self.desired.clone(),
            runs: self.runs.clone(),
            cancelled: self.cancelled.clone(),
            acknowledged,
            lease_ms: 15_000,
            drain_ms: self.drain_ms,
        };
        self.step(Event::Desired(Box::new(desired)))
    }

    pub fn contents(&mut self, attempt: u64, generation: u32, entries: &[Entry]) -> Vec<Effect> {
        self.step(Event::Contents { attempt: AttemptId(attempt), contents: contents(generation, entries) })
    }

    /// Tests that are only expected to be there.
    pub fn expected(&mut self, attempt: u64, entries: &[Entry]) -> Vec<Effect> {
        let contents = BundleContents { anticipated: true, ..contents(1, entries) };
        self.step(Event::Contents { attempt: AttemptId(attempt), contents })
    }

    pub fn worker(&mut self, worker: u64, event: WorkerEvent) -> Vec<Effect> {
        self.step(Event::Worker { slot: SLOT, worker: WorkerId(worker), event })
    }

    /// Up to a worker that has said it is ready, and has been fed.
    pub fn running(entries: &[Entry]) -> World {
        let mut world = World::new();
        world.desired = vec![wanted(1, Kind::Run, 0)];
        assert!(matches!(world.answer(Vec::new())[..], [Effect::Fetch { generation: Generation(1), .. }]));
        assert!(matches!(&world.contents(1, 1, entries)[..], [Effect::Start(start)] if !start.whole));
        let effects = world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
        assert_eq!(effects, [feed(1, 1, &[entries[0].test.0])]);
        world
    }

    /// Up to a worker that has run a test and is to finish, because one of another number is wanted.
    pub fn finishing() -> World {
        let mut world = World::running(&[entry(0, 0)]);
        world.starts(0);
        world.worker(1, passed(0));
        world.desired = vec![wanted(2, Kind::Run, 5)];
        world.answer(vec![(AttemptId(1), 1)]);
        assert_eq!(world.contents(2, 1, &[entry(1, 0)]), [finish(1)]);
        world
    }

    pub fn starts(&mut self, test: u32) {
        assert_eq!(self.worker(1, WorkerEvent::Started(TestIndex(test))), []);
    }

    /// With all there is to deliver, if it has room.
    pub fn next_report(&mut self) -> Report {
        self.state.close_batches();
        self.state.next_report()
    }

    pub fn report(&mut self, attempt: u64) -> AttemptReport {
        let attempts = self.next_report().attempts;
        attempts.into_iter().find(|report| report.attempt == AttemptId(attempt)).expect("it is reported")
    }

    pub fn records(&mut self) -> Vec<Record> {
        self.next_report().batches.into_iter().flat_map(|batch| batch.records).collect()
    }

    /// The causes of failed results, by test.
    pub fn failures(&mut self) -> Vec<(u32, Option<TestCause>)> {
        let failed = self.records().into_iter().filter_map(|record| match record {
            Record::Result(result) if result.outcome == Outcome::Failed => {
                Some((result.test.0, result.cause))
            }
            _ => None,
        });
        failed.collect()
    }

    /// The messages of suite errors.
    pub fn suite_errors(&mut self) -> Vec<String> {
        let errors = self.records().into_iter().filter_map(|record| match record {
            Record::SuiteError(error) => Some(error.message),
            _ => None,
        });
        errors.collect()
    }
}

pub fn feed(worker: u64, attempt: u64, tests: &[u32]) -> Effect {
    let tests = tests.iter().copied().map(TestIndex).collect();
    Effect::Feed { slot: SLOT, worker: WorkerId(worker), attempt: AttemptId(attempt), tests }
}

pub fn finish(worker: u64) -> Effect {
    Effect::Finish { slot: SLOT, worker: WorkerId(worker) }
}

pub fn interrupt(worker: u64) -> Effect {
    Effect::Interrupt { slot: SLOT, worker: WorkerId(worker) }
}

pub fn kill(worker: u64) -> Effect {
    Effect::Kill { slot: SLOT, worker: WorkerId(worker), dump_stacks: true }
}
