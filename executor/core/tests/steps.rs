//! Single steps of the core: events in, effects and reports compared as data.

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, BundleContents, Desired, DesiredAttempt, Digest, Discovery,
    EndCause, Entry, Epoch, Generation, InfraCause, Instant, Kind, Outcome, Record, Role, RunId, SlotIndex,
    SlotNumber, TestCause, TestIndex, TestResult,
};
use seagull_executor_core::{Effect, Event, Exit, Settings, State, WorkerEvent, WorkerId};

const SLOT: SlotIndex = SlotIndex(0);

/// An executor of one slot, and what its scheduler wants of it.
struct World {
    state: State,
    now: Instant,
    epoch: Epoch,
    version: u64,
    desired: Vec<DesiredAttempt>,
    runs: Vec<RunId>,
}

fn run() -> RunId {
    "r".parse().unwrap()
}

fn wanted(attempt: u64, kind: Kind, number: u32) -> DesiredAttempt {
    DesiredAttempt {
        attempt: AttemptId(attempt),
        run: run(),
        kind,
        slot: SLOT,
        number: SlotNumber(number),
        slots: number + 1,
        generation: Generation(1),
        cancel: false,
    }
}

fn entry(test: u32, relation: u32) -> Entry {
    Entry { test: TestIndex(test), role: Role::Run, predicted_us: 1_000_000, limit_ms: 10_000, relation }
}

fn passed(test: u32) -> WorkerEvent {
    WorkerEvent::Finished(TestResult {
        test: TestIndex(test),
        ordinal: 0,
        last: true,
        outcome: Outcome::Passed,
        detail: String::new(),
        cause: None,
        phases: [0, 1, 0],
        peak_kib: 0,
        message: String::new(),
        location: String::new(),
        text: None,
    })
}

fn gave_back(message: &str) -> AttemptState {
    AttemptState::Ended(EndCause::GaveBack(InfraCause::SandboxFailed, message.into()))
}

fn exited() -> WorkerEvent {
    WorkerEvent::Exited(Exit { how: "signal 11".into(), text: None })
}

impl World {
    fn new() -> World {
        let (executor, boot) = ("e".parse().unwrap(), "b".parse().unwrap());
        World {
            state: State::new(executor, boot, 1, Settings::default()),
            now: Instant(0),
            epoch: Epoch(1),
            version: 0,
            desired: Vec::new(),
            runs: vec![run()],
        }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.state.step(self.now, event);
        self.state.sanity_check();
        effects.into_iter().filter(|effect| !matches!(effect, Effect::Report { .. })).collect()
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Tells it what is desired.
    fn answer(&mut self, acknowledged: Vec<(AttemptId, u32)>) -> Vec<Effect> {
        self.version += 1;
        let desired = Desired {
            epoch: self.epoch,
            version: self.version,
            attempts: self.desired.clone(),
            runs: self.runs.clone(),
            acknowledged,
            lease_ms: 15_000,
        };
        self.step(Event::Desired(Box::new(desired)))
    }

    fn contents(&mut self, attempt: u64, generation: u32, entries: &[Entry]) -> Vec<Effect> {
        let contents = BundleContents {
            generation: Generation(generation),
            manifest: Digest([1; 32]),
            entries: entries.to_vec(),
        };
        self.step(Event::Contents { attempt: AttemptId(attempt), contents })
    }

    fn worker(&mut self, worker: u64, event: WorkerEvent) -> Vec<Effect> {
        self.step(Event::Worker { slot: SLOT, worker: WorkerId(worker), event })
    }

    /// Up to a worker that has said it is ready, and has been fed.
    fn running(entries: &[Entry]) -> World {
        let mut world = World::new();
        world.desired = vec![wanted(1, Kind::Run, 0)];
        assert!(matches!(world.answer(Vec::new())[..], [Effect::Fetch { generation: Generation(1), .. }]));
        assert!(matches!(&world.contents(1, 1, entries)[..], [Effect::Start(start)] if !start.whole));
        let effects = world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
        assert_eq!(effects, [feed(1, 1, &[entries[0].test.0])]);
        world
    }

    fn starts(&mut self, test: u32) {
        assert_eq!(self.worker(1, WorkerEvent::Started(TestIndex(test))), []);
    }

    fn report(&mut self, attempt: u64) -> AttemptReport {
        let attempts = self.state.next_report().attempts;
        attempts.into_iter().find(|report| report.attempt == AttemptId(attempt)).expect("it is reported")
    }

    fn records(&mut self) -> Vec<Record> {
        self.state.next_report().batches.into_iter().flat_map(|batch| batch.records).collect()
    }

    /// The causes of failed results, by test.
    fn failures(&mut self) -> Vec<(u32, Option<TestCause>)> {
        let failed = self.records().into_iter().filter_map(|record| match record {
            Record::Result(result) if result.outcome == Outcome::Failed => {
                Some((result.test.0, result.cause))
            }
            _ => None,
        });
        failed.collect()
    }

    /// The messages of suite errors.
    fn suite_errors(&mut self) -> Vec<String> {
        let errors = self.records().into_iter().filter_map(|record| match record {
            Record::SuiteError(error) => Some(error.message),
            _ => None,
        });
        errors.collect()
    }
}

fn feed(worker: u64, attempt: u64, tests: &[u32]) -> Effect {
    let tests = tests.iter().copied().map(TestIndex).collect();
    Effect::Feed { slot: SLOT, worker: WorkerId(worker), attempt: AttemptId(attempt), tests }
}

fn finish(worker: u64) -> Effect {
    Effect::Finish { slot: SLOT, worker: WorkerId(worker) }
}

fn interrupt(worker: u64) -> Effect {
    Effect::Interrupt { slot: SLOT, worker: WorkerId(worker) }
}

fn kill(worker: u64) -> Effect {
    Effect::Kill { slot: SLOT, worker: WorkerId(worker), dump_stacks: true }
}

#[test]
fn an_attempt_goes_from_its_contents_to_its_end() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    assert_eq!(world.worker(1, WorkerEvent::Next), [feed(1, 1, &[1])]);
    world.worker(1, passed(0));
    world.starts(1);
    world.worker(1, passed(1));
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
    world.desired.clear();
    world.answer(vec![(AttemptId(1), 1)]);
    assert!(
        world.state.attempts.contains_key(&AttemptId(1)),
        "its worker's last words would have nowhere to go"
    );
}

#[test]
fn a_crash_fails_the_test_that_ran_and_the_rest_goes_on_in_a_new_worker() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.worker == WorkerId(2)), "{effects:?}");
    assert_eq!(world.failures(), [(0, Some(TestCause::Crashed))]);
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 1, &[1])]);
}

#[test]
fn what_is_left_of_a_relation_does_not_go_on_in_another_worker() {
    let mut world = World::running(&[entry(0, 7), entry(1, 7)]);
    world.starts(0);
    assert_eq!(world.worker(1, exited()), [], "its second test needs the first in the same worker");
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
    assert_eq!(world.failures(), [(0, Some(TestCause::Crashed))]);
}

#[test]
fn a_relation_that_was_only_fed_ahead_goes_on_in_another_worker() {
    let mut world = World::running(&[entry(0, 0), entry(1, 7), entry(2, 7)]);
    world.starts(0);
    world.worker(1, WorkerEvent::Next);
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(_)]), "{effects:?}");
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 1, &[1])]);
}

#[test]
fn only_the_test_that_was_past_its_limit_timed_out() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    world.worker(1, WorkerEvent::Next);
    world.wait(Duration::from_millis(10_001));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    // It ended after all, and the next one had begun, before the kill arrived.
    world.worker(1, passed(0));
    world.starts(1);
    world.worker(1, exited());
    assert_eq!(world.failures(), []);
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 1, &[1])]);
}

#[test]
fn a_test_that_hangs_is_killed_but_not_for_a_standstill_of_the_executor() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.wait(Duration::from_secs(60));
    assert_eq!(world.step(Event::Tick), [], "the executor stood still, and the test perhaps too");
    world.wait(Duration::from_secs(10));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    assert_eq!(world.failures(), [(0, Some(TestCause::TimedOut))]);
}

#[test]
fn a_worker_of_another_number_is_not_used() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    world.desired = vec![wanted(2, Kind::Run, 5)];
    world.answer(vec![(AttemptId(1), 1)]);
    assert_eq!(world.contents(2, 1, &[entry(1, 0)]), [finish(1)]);
    world.worker(1, WorkerEvent::Ended);
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.number == SlotNumber(5)), "{effects:?}");
}

#[test]
fn a_warm_worker_does_not_stand_in_the_way_of_a_discovery() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    world.desired = vec![wanted(2, Kind::Discover, 0)];
    assert_eq!(world.answer(vec![(AttemptId(1), 1)]), [finish(1)]);
    world.worker(1, WorkerEvent::Ended);
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.discover), "{effects:?}");
}

#[test]
fn a_test_taken_back_is_kept_if_it_has_started() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0), entry(2, 0)]);
    world.starts(0);
    world.desired[0].generation = Generation(2);
    assert!(matches!(world.answer(Vec::new())[..], [Effect::Fetch { generation: Generation(2), .. }]));
    world.contents(1, 2, &[entry(1, 0)]);
    let report = world.report(1);
    assert_eq!((report.generation, report.kept), (Generation(2), vec![TestIndex(0)]));
}

#[test]
fn contents_that_cannot_be_had_end_only_an_attempt_that_has_none() {
    let gone = || Event::NoContents { attempt: AttemptId(1), message: "gone".into() };
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    assert_eq!(world.step(gone()), []);
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Run, 0)];
    world.answer(Vec::new());
    world.step(gone());
    let cause = EndCause::GaveBack(InfraCause::ArtifactUnavailable, "gone".into());
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn contents_are_asked_for_again_when_the_scheduler_has_restarted() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Run, 0)];
    assert_eq!(world.answer(Vec::new()).len(), 1);
    assert_eq!(world.answer(Vec::new()), [], "they are on their way");
    (world.epoch, world.version) = (Epoch(2), 0);
    let again = Effect::Fetch { run: run(), attempt: AttemptId(1), generation: Generation(1) };
    assert_eq!(world.answer(Vec::new()), [again]);
}

#[test]
fn an_older_answer_changes_nothing() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    (world.epoch, world.version) = (Epoch(0), 100);
    world.desired.clear();
    assert_eq!(world.answer(Vec::new()), []);
    assert!(world.state.attempts[&AttemptId(1)].desired);
}

#[test]
fn a_worker_that_is_interrupted_before_it_is_ready_may_end_without_a_word() {
    for end in [exited(), WorkerEvent::NotStarted(InfraCause::ArtifactUnavailable, "stopped".into())] {
        let mut world = World::new();
        world.desired = vec![wanted(1, Kind::Discover, 0)];
        world.answer(Vec::new());
        world.desired[0].cancel = true;
        assert_eq!(world.answer(Vec::new()), [interrupt(1)]);
        world.worker(1, end);
        assert_eq!(world.suite_errors(), [""; 0]);
        assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Cancelled));
    }
}

#[test]
fn a_start_that_takes_long_holds_up_neither_a_cancelled_run_nor_an_executor_that_leaves() {
    for cancelled in [true, false] {
        let mut world = World::new();
        world.desired = vec![wanted(1, Kind::Run, 0)];
        world.answer(Vec::new());
        world.contents(1, 1, &[entry(0, 0)]);
        let effects = if cancelled {
            world.desired[0].cancel = true;
            world.runs.clear();
            world.answer(Vec::new())
        } else {
            world.step(Event::Leave)
        };
        assert_eq!(effects, [interrupt(1)]);
        world.wait(Duration::from_secs(10));
        assert!(matches!(world.step(Event::Tick)[..], [Effect::Kill { dump_stacks: false, .. }]));
        world.worker(1, exited());
        assert_eq!(world.suite_errors(), [""; 0], "there was no session that could have had one");
        assert!(world.state.next_report().workers.is_empty());
    }
}

#[test]
fn a_worker_that_starts_is_kept_while_its_run_lives_or_its_discovery_is_wanted() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Run, 0)];
    world.answer(Vec::new());
    world.contents(1, 1, &[entry(0, 0)]);
    world.desired[0].cancel = true;
    assert_eq!(world.answer(Vec::new()), [], "the next attempt of the run finds it started");
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Discover, 0), wanted(2, Kind::Run, 5)];
    world.answer(Vec::new());
    assert_eq!(world.contents(2, 1, &[entry(0, 0)]), []);
}

#[test]
fn what_does_not_count_is_not_followed_by_anything_in_the_same_worker() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    // It has ended here, and the scheduler wants it cancelled: it was a plan's that does not hold.
    world.desired[0].cancel = true;
    assert_eq!(world.answer(Vec::new()), [finish(1)]);
    world.desired = vec![wanted(2, Kind::Run, 0)];
    world.answer(vec![(AttemptId(1), 1)]);
    assert_eq!(world.contents(2, 1, &[entry(0, 0)]), []);
    world.worker(1, WorkerEvent::Ended);
    assert!(matches!(&world.worker(1, exited())[..], [Effect::Start(start)] if start.worker == WorkerId(2)));
}

#[test]
fn a_discovery_that_is_being_stored_has_no_limit() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Discover, 0)];
    world.answer(Vec::new());
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.worker(1, WorkerEvent::Collected);
    world.wait(Duration::from_secs(3600));
    assert_eq!(world.step(Event::Tick), [], "the scheduler may be away");
}

#[test]
fn a_worker_that_had_ended_was_not_killed_at_the_grace() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.desired[0].cancel = true;
    world.answer(Vec::new());
    world.wait(Duration::from_millis(1500));
    let [Effect::Kill { dump_stacks: false, .. }] = world.step(Event::Tick)[..] else {
        panic!("it is killed")
    };
    world.worker(1, WorkerEvent::Ended);
    world.worker(1, exited());
    assert_eq!(world.suite_errors(), [""; 0]);
}

#[test]
fn a_session_killed_at_the_grace_names_the_setting() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    world.desired = vec![wanted(2, Kind::Run, 5)];
    world.answer(vec![(AttemptId(1), 1)]);
    assert_eq!(world.contents(2, 1, &[entry(1, 0)]), [finish(1)]);
    world.wait(Duration::from_millis(1500));
    world.step(Event::Tick);
    world.worker(1, exited());
    assert_eq!(world.suite_errors(), ["after 1 s; --grace sets how long"]);
}

#[test]
fn a_test_that_was_interrupted_for_us_is_not_failed_however_late_it_says_so() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.desired[0].cancel = true;
    world.answer(Vec::new());
    world.wait(Duration::from_millis(1500));
    world.step(Event::Tick);
    world.worker(1, WorkerEvent::Interrupted { test: Some(TestIndex(0)), message: String::new() });
    world.worker(1, exited());
    assert_eq!(world.failures(), []);
}

#[test]
fn a_session_that_ends_itself_between_tests_is_a_suite_error_and_the_rest_goes_on() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0), entry(2, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    world.worker(1, WorkerEvent::Interrupted { test: None, message: "enough".into() });
    world.worker(1, WorkerEvent::Ended);
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(_)]), "{effects:?}");
    assert_eq!((world.suite_errors(), world.failures()), (vec!["enough".to_owned()], vec![]));
    // A worker that comes to no test at all would be followed by another for ever.
    world.worker(2, WorkerEvent::Ready { grace_ms: 1000 });
    world.worker(2, WorkerEvent::Interrupted { test: None, message: String::new() });
    world.worker(2, WorkerEvent::Ended);
    assert_eq!(world.worker(2, exited()), []);
    assert_eq!(world.failures(), []);
    assert_eq!(world.report(1).state, gave_back("the worker ended before it ran any test: interrupted"));
}

#[test]
fn a_worker_that_cannot_collect_gives_all_back_in_the_frameworks_words() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.worker(1, WorkerEvent::DiscoveryFailed("no module named x\nTraceback: ...".into()));
    world.worker(1, WorkerEvent::Ended);
    assert_eq!(world.worker(1, exited()), [], "another worker would not fare better");
    assert_eq!(world.records(), []);
    let state = gave_back("the worker ended before it ran any test: no module named x");
    assert_eq!(world.report(1).state, state);
}

#[test]
fn a_worker_that_ends_before_it_is_ready_says_why() {
    let failed = |events: Vec<WorkerEvent>| {
        let mut world = World::new();
        world.desired = vec![wanted(1, Kind::Run, 0)];
        world.answer(Vec::new());
        world.contents(1, 1, &[entry(0, 0)]);
        for event in events {
            world.worker(1, event);
        }
        match world.report(1).state {
            AttemptState::Ended(EndCause::GaveBack(cause, message)) => (cause, message),
            state => panic!("{state:?}"),
        }
    };
    let broken = WorkerEvent::DiscoveryFailed("usage: no such option".into());
    let (cause, message) = failed(vec![broken, WorkerEvent::Ended, exited()]);
    assert_eq!(cause, InfraCause::SandboxFailed);
    assert_eq!(message, "the worker ended before it was ready: usage: no such option");
    assert_eq!(failed(vec![exited()]).1, "the worker ended before it was ready: signal 11");
    let absent = WorkerEvent::NotStarted(InfraCause::ArtifactUnavailable, "gone".into());
    assert_eq!(failed(vec![absent]), (InfraCause::ArtifactUnavailable, "gone".into()));
}

#[test]
fn a_worker_that_does_not_start_is_killed_at_a_limit_that_is_named() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Discover, 0)];
    world.answer(Vec::new());
    world.wait(Duration::from_secs(600));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    let state = gave_back("the worker ended before it was ready: killed after 600 s, its limit");
    assert_eq!(world.report(1).state, state);
}

#[test]
fn files_that_do_not_come_within_the_limit_are_given_up_with_its_name() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Discover, 0)];
    world.answer(Vec::new());
    world.wait(Duration::from_secs(600));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, WorkerEvent::NotStarted(InfraCause::ArtifactUnavailable, "no files".into()));
    let message = "no files: killed after 600 s, its limit".to_owned();
    let cause = EndCause::GaveBack(InfraCause::ArtifactUnavailable, message);
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn a_discovery_that_hangs_is_killed_at_a_limit_that_is_named() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Discover, 0)];
    world.answer(Vec::new());
    world.wait(Duration::from_secs(5));
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.wait(Duration::from_secs(600));
    assert_eq!(world.state.next_deadline(), Some(world.now));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    let cause = EndCause::DiscoveryFailed("discovery took longer than its limit of 600 s".into());
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn a_worker_that_has_discovered_may_wait_as_long_as_it_takes() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Discover, 0)];
    world.answer(Vec::new());
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    let discovery = Discovery { manifest: Digest([1; 32]), tests: 1 };
    world.worker(1, WorkerEvent::Discovered(discovery));
    assert_eq!(world.state.next_deadline(), None);
}

#[test]
fn a_discovery_that_cannot_be_stored_is_given_back() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Discover, 0)];
    world.answer(Vec::new());
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.worker(1, WorkerEvent::NotStored("disk full".into()));
    let cause = EndCause::GaveBack(InfraCause::ArtifactUnavailable, "disk full".into());
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn an_executor_leaves_when_the_scheduler_has_heard_that_it_has_nothing() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    assert_eq!(world.step(Event::Leave), [interrupt(1)]);
    world.worker(1, WorkerEvent::Interrupted { test: Some(TestIndex(0)), message: String::new() });
    world.worker(1, WorkerEvent::Ended);
    world.worker(1, exited());
    let drained = EndCause::GaveBack(InfraCause::Drained, String::new());
    assert_eq!(world.report(1).state, AttemptState::Ended(drained));
    world.desired.clear();
    assert_eq!(world.answer(Vec::new()), [], "that it has nothing any more is not told yet");
    let report = world.state.next_report();
    assert!(report.draining && report.attempts.is_empty() && report.workers.is_empty());
    assert_eq!(world.answer(Vec::new()), [Effect::Left]);
}

#[test]
fn an_executor_leaves_though_nobody_hears() {
    let mut world = World::new();
    assert_eq!(world.step(Event::Leave), []);
    world.wait(Duration::from_secs(3));
    assert_eq!(world.state.next_deadline(), Some(world.now));
    assert_eq!(world.step(Event::Tick), [Effect::Left]);
}
