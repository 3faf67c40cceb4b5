//! Single steps of the core: events in, facts and effects compared as data.

mod fixture;

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Batch, Digest, Discovery, EndCause, Epoch, Generation,
    InfraCause, Instant, NotExecuted, Outcome, PlanSummary, Record, Report, RunSpec, RunVerdict, Seq,
    SlotIndex, SlotNumber, TestIndex, Verdict, WorkerReport,
};
use seagull_scheduler_core::{Call, Effect, Event, Fact, Phase, Plan, Refusal, Settings, State, What};

use fixture::{result, spec};

/// A scheduler with one executor of one slot, which says what it is told to.
struct World {
    state: State,
    now: Instant,
    sequence: u64,
    known: (Epoch, u64),
    attempts: Vec<AttemptReport>,
    workers: Vec<WorkerReport>,
    journal: Vec<Fact>,
}

impl World {
    fn new() -> World {
        World {
            state: State::new(Epoch(1), Settings::default()),
            now: Instant(0),
            sequence: 0,
            known: (Epoch(0), 0),
            attempts: Vec::new(),
            workers: Vec::new(),
            journal: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) -> (Vec<What>, Vec<Effect>) {
        let outcome = self.state.step(self.now, event);
        self.state.sanity_check();
        for effect in &outcome.effects {
            if let Effect::Answer { desired, .. } = effect {
                self.known = (desired.epoch, desired.version);
            }
        }
        let facts: Vec<Fact> = outcome.facts.into_iter().map(|(_, fact)| fact).collect();
        self.journal.extend(facts.iter().cloned());
        (facts.into_iter().map(|fact| fact.what).collect(), outcome.effects)
    }

    fn report(&mut self, batches: Vec<Batch>) -> (Vec<What>, Vec<Effect>) {
        self.sequence += 1;
        let report = Report {
            capacity: seagull_domain::Resources::UNBOUNDED,
            executor: "e".parse().unwrap(),
            boot: "b1".parse().unwrap(),
            sequence: self.sequence,
            known: self.known,
            slots: 1,
            labels: Default::default(),
            draining: None,
            attempts: self.attempts.clone(),
            workers: self.workers.clone(),
            batches,
        };
        self.step(Event::Report { call: Call(self.sequence), report: Box::new(report) })
    }

    fn attempt(&mut self, attempt: u64, state: AttemptState) {
        let run = "r".parse().unwrap();
        let (attempt, generation, kept) = (AttemptId(attempt), Generation(1), Vec::new());
        self.attempts = vec![AttemptReport { attempt, run, generation, kept, state }];
        self.workers =
            vec![WorkerReport { run: "r".parse().unwrap(), slot: SlotIndex(0), number: SlotNumber(0) }];
    }

    /// Up to a slot that runs the only bundle, of three tests.
    fn running(spec: RunSpec) -> World {
        World::running_suite(spec, None)
    }

    /// As [`World::running`], of a suite with a fail-fast of its own.
    fn running_suite(spec: RunSpec, fail_fast: Option<u32>) -> World {
        let mut world = World::new();
        world.step(Event::Submit { request: Call(100), spec: Box::new(spec) });
        world.report(Vec::new());
        let discovery = Discovery { manifest: Digest([7; 32]), tests: 3 };
        world.attempt(1, AttemptState::Ended(EndCause::Discovered(discovery)));
        let (_, effects) = world.report(Vec::new());
        assert!(effects.iter().any(|e| matches!(e, Effect::Plan { slots: 1, .. })), "{effects:?}");
        let plan = Plan {
            environments: Vec::new(),
            manifest: Digest([8; 32]),
            bundles: vec![(0..3).map(TestIndex).collect()],
            predicted_us: vec![1000; 3],
            limits_ms: vec![300_000; 3],
            relations: Vec::new(),
            unknown: Vec::new(),
            summary: PlanSummary::default(),
            empty_by_definition: false,
            first: 0,
            fail_fast,
            to_judge: false,
            moved: None,
        };
        let (run, generation) = ("r".parse().unwrap(), Generation(1));
        world.step(Event::Planned { run, generation, outcome: Ok(Box::new(plan)) });
        world.attempt(2, AttemptState::Running(None));
        world.report(Vec::new());
        // Its executor knows the desired state, so this call is held.
        let (_, effects) = world.report(Vec::new());
        assert!(answered(&effects).is_none());
        world
    }

    /// Time passes, and the executor reports.
    fn pass(&mut self, minutes: u64) -> Vec<What> {
        self.now = self.now + Duration::from_secs(60 * minutes);
        self.report(Vec::new());
        self.step(Event::Tick).0
    }

    /// A scheduler that starts from this one's durable state, at another time of its own clock.
    fn restarted(mut self) -> World {
        self.state = State::new(Epoch(2), Settings::default());
        self.journal.iter().for_each(|fact| self.state.apply(fact));
        self.now = Instant(7);
        assert_eq!(self.step(Event::Recovered).0, []);
        self
    }

    fn finish(&mut self, number: u32, results: &[(u32, Outcome)]) -> (Vec<What>, Vec<Effect>) {
        let records = results.iter().map(|(test, outcome)| Record::Result(result(*test, *outcome))).collect();
        let (run, attempt) = ("r".parse().unwrap(), AttemptId(2));
        self.report(vec![Batch { run, attempt, number, records }])
    }
}

fn verdicts(facts: &[What]) -> Vec<(TestIndex, Verdict)> {
    let decided = facts.iter().filter_map(|what| match what {
        What::Decided { verdicts } => Some(verdicts.clone()),
        _ => None,
    });
    decided.flatten().collect()
}

fn answered(effects: &[Effect]) -> Option<&seagull_domain::Desired> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { desired, .. } => Some(&**desired),
        _ => None,
    })
}

#[test]
fn a_run_goes_from_submission_to_its_end() {
    let mut world = World::running(spec("r"));
    let (facts, effects) = world.finish(1, &[(0, Outcome::Passed), (1, Outcome::Skipped)]);
    let expected = [(TestIndex(0), Verdict::Passed), (TestIndex(1), Verdict::Skipped)];
    assert_eq!(verdicts(&facts), expected);
    assert_eq!(answered(&effects).unwrap().acknowledged, [(AttemptId(2), 1)]);

    world.attempt(2, AttemptState::Ended(EndCause::Completed));
    let (facts, effects) = world.finish(2, &[(2, Outcome::Passed)]);
    assert_eq!(verdicts(&facts), [(TestIndex(2), Verdict::Passed)]);
    let desired = answered(&effects).unwrap();
    assert!(desired.attempts.is_empty() && desired.runs.is_empty(), "the worker is to finish: {desired:?}");

    world.attempts.clear();
    world.workers.clear();
    let (facts, effects) = world.report(Vec::new());
    let ended =
        facts.iter().any(|f| matches!(f, What::Ended { verdict: RunVerdict::Passed, exit_code: 0, .. }));
    assert!(ended, "{facts:?}");
    assert!(effects.contains(&Effect::Archive { run: "r".parse().unwrap() }));
}

#[test]
fn a_discovery_that_never_succeeds_says_why() {
    let mut world = World::new();
    world.step(Event::Submit { request: Call(100), spec: Box::new(spec("r")) });
    world.report(Vec::new());
    let mut facts = Vec::new();
    let causes = [EndCause::GaveBack(InfraCause::ArtifactUnavailable, "gone".into()), EndCause::Cancelled];
    let last = EndCause::GaveBack(InfraCause::SandboxFailed, "no interpreter".into());
    for (attempt, cause) in (1..).zip(causes.into_iter().chain([last])) {
        world.attempt(attempt, AttemptState::Ended(cause));
        facts = world.report(Vec::new()).0;
    }
    let message = "no discovery succeeded in 3 attempts; the last: sandbox failed: no interpreter";
    assert!(facts.contains(&What::DiscoveryFailed { message: message.into() }), "{facts:?}");
}

#[test]
fn repeated_and_older_messages_change_nothing() {
    let mut world = World::running(spec("r"));
    world.finish(1, &[(0, Outcome::Passed)]);
    let (facts, effects) = world.finish(1, &[(0, Outcome::Failed)]);
    assert!(facts.is_empty(), "{facts:?}");
    assert_eq!(answered(&effects).unwrap().acknowledged, [(AttemptId(2), 1)]);
    world.sequence -= 1;
    let (facts, effects) = world.report(Vec::new());
    assert!(facts.is_empty());
    assert_eq!(effects, [Effect::Drop { call: Call(world.sequence) }]);
}

#[test]
fn an_expired_lease_returns_what_has_no_verdict() {
    let mut world = World::running(spec("r"));
    world.finish(1, &[(0, Outcome::Passed)]);
    world.now = world.now + Duration::from_secs(60);
    let (facts, _) = world.step(Event::Tick);
    let returned = facts.iter().filter_map(|what| match what {
        What::Bundled { entries, alone, .. } => {
            Some((entries.iter().map(|(test, _)| test.0).collect::<Vec<_>>(), *alone))
        }
        _ => None,
    });
    // What was in flight may be what killed the executor.
    assert_eq!(returned.collect::<Vec<_>>(), [(vec![1], true), (vec![2], false)]);
    assert!(verdicts(&facts).is_empty());
}

#[test]
fn a_cancel_reaches_the_executor_at_once() {
    let mut world = World::running(spec("r"));
    let (facts, effects) = world.step(Event::Cancel { request: Call(9), run: "r".parse().unwrap() });
    assert_eq!(facts, [What::Stopping { reason: NotExecuted::Cancelled }]);
    assert!(answered(&effects).expect("the held call is answered").attempts[0].cancel);
    assert!(effects.contains(&Effect::Heard { request: Call(9) }));
    world.attempt(2, AttemptState::Ended(EndCause::Cancelled));
    let (facts, _) = world.report(Vec::new());
    let cancelled = Verdict::NotExecuted(NotExecuted::Cancelled);
    assert_eq!(verdicts(&facts), [0, 1, 2].map(|test| (TestIndex(test), cancelled)));
}

#[test]
fn fail_fast_stops_and_the_rest_is_not_executed() {
    let mut world = World::running(RunSpec { fail_fast: Some(1), ..spec("r") });
    let (facts, effects) = world.finish(1, &[(0, Outcome::Failed)]);
    assert_eq!(verdicts(&facts), [(TestIndex(0), Verdict::Failed)]);
    assert!(facts.contains(&What::Stopping { reason: NotExecuted::FailFast }));
    assert!(answered(&effects).unwrap().attempts[0].cancel);
}

#[test]
fn the_suites_own_fail_fast_stops_unless_the_run_has_one() {
    for (runs, suites, stops) in [(None, Some(1), true), (Some(2), Some(1), false), (None, None, false)] {
        let mut world = World::running_suite(RunSpec { fail_fast: runs, ..spec("r") }, suites);
        let (facts, _) = world.finish(1, &[(0, Outcome::Failed)]);
        let stopping = facts.contains(&What::Stopping { reason: NotExecuted::FailFast });
        assert_eq!(stopping, stops, "{runs:?} {suites:?}");
    }
}

#[test]
fn a_failed_test_is_retried_and_flaky_if_it_passes() {
    let mut world = World::running(RunSpec { retries: 1, ..spec("r") });
    let (facts, _) = world.finish(1, &[(0, Outcome::Failed)]);
    assert!(verdicts(&facts).is_empty());
    assert!(facts.iter().any(|what| matches!(what, What::Bundled { entries, .. } if entries.len() == 1)));
    world.attempt(2, AttemptState::Ended(EndCause::Completed));
    world.finish(2, &[(1, Outcome::Passed), (2, Outcome::Passed)]);
    let (attempt, _) = world.state.runs[&"r".parse().unwrap()].live_attempts().next().expect("the retry");
    world.attempt(attempt.0, AttemptState::Ended(EndCause::Completed));
    let records = vec![Record::Result(result(0, Outcome::Passed))];
    let (facts, _) = world.report(vec![Batch { run: "r".parse().unwrap(), attempt, number: 1, records }]);
    assert_eq!(verdicts(&facts), [(TestIndex(0), Verdict::Flaky)]);
}

#[test]
fn the_same_submission_attaches_and_another_is_refused() {
    let mut world = World::running(spec("r"));
    let submit = |spec| Event::Submit { request: Call(9), spec: Box::new(spec) };
    let (facts, effects) = world.step(submit(spec("r")));
    assert!(facts.is_empty());
    assert_eq!(effects, [Effect::Submitted { request: Call(9), run: "r".parse().unwrap(), attached: true }]);
    let (_, effects) = world.step(submit(RunSpec { retries: 5, ..spec("r") }));
    assert_eq!(effects, [Effect::Refused { request: Call(9), refusal: Refusal::Differs("retries") }]);
}

/// A running run that may become an orphan within the hour.
fn orphanable() -> World {
    World::running(RunSpec { orphan_ms: Some(3_600_000), ..spec("r") })
}

const ORPHANED: [What; 1] = [What::Stopping { reason: NotExecuted::Orphaned }];

#[test]
fn a_run_that_nobody_watches_for_its_time_is_cancelled() {
    let mut world = orphanable();
    assert_eq!(world.pass(59), []);
    assert_eq!(world.pass(1), ORPHANED);
    world.attempt(2, AttemptState::Ended(EndCause::Cancelled));
    let (facts, _) = world.report(Vec::new());
    let orphaned = Verdict::NotExecuted(NotExecuted::Orphaned);
    assert_eq!(verdicts(&facts), [0, 1, 2].map(|test| (TestIndex(test), orphaned)));
    world.attempts.clear();
    world.workers.clear();
    let (facts, _) = world.report(Vec::new());
    let cancelled =
        facts.iter().any(|f| matches!(f, What::Ended { verdict: RunVerdict::Cancelled, exit_code: 130, .. }));
    assert!(cancelled, "{facts:?}");

    let mut alone = World::running(spec("r"));
    assert_eq!(alone.pass(1_000_000), []);
}

#[test]
fn the_time_of_an_orphan_begins_when_its_last_watcher_left() {
    let mut world = orphanable();
    let run = || "r".parse().unwrap();
    world.step(Event::Watched { run: run() });
    assert_eq!(world.pass(600), []);
    world.step(Event::Watched { run: run() });
    world.step(Event::Unwatched { run: run() });
    assert_eq!(world.pass(600), []);
    world.step(Event::Unwatched { run: run() });
    assert_eq!(world.pass(59), []);
    // Its client is back, and about to watch it.
    let spec = Box::new(RunSpec { orphan_ms: None, ..spec("r") });
    world.step(Event::Submit { request: Call(101), spec });
    assert_eq!(world.pass(59), []);
    // Nobody could come while the scheduler stood still.
    world.step(Event::Paused(Duration::from_secs(600)));
    assert_eq!(world.pass(10), []);
    assert_eq!(world.pass(1), ORPHANED);
}

#[test]
fn a_scheduler_that_starts_again_takes_no_run_for_an_orphan_at_once() {
    let mut world = orphanable();
    world.step(Event::Watched { run: "r".parse().unwrap() });
    let mut world = world.restarted();
    assert_eq!(world.pass(59), []);
    assert_eq!(world.pass(1), ORPHANED);
    // That is a fact.
    let mut world = world.restarted();
    assert_eq!(world.pass(1), []);
    assert!(world.state.watches.is_empty());
    let phase = world.state.runs[&"r".parse().unwrap()].phase;
    assert_eq!(phase, Phase::Stopping(NotExecuted::Orphaned));
}

#[test]
fn a_run_that_has_all_its_verdicts_is_no_orphan() {
    let mut world = orphanable();
    world.finish(1, &[0, 1, 2].map(|test| (test, Outcome::Passed)));
    assert_eq!(world.pass(61), []);
    assert!(world.state.next_deadline() > Some(world.now), "nothing is due for ever");
}

#[test]
fn a_scheduler_that_stood_still_loses_nobody_by_that() {
    let mut world = World::running(spec("r"));
    // Answered, so that the lease is all that is due; it has run out when the scheduler wakes.
    world.now = world.now + Duration::from_secs(6);
    assert!(answered(&world.step(Event::Tick).1).is_some());
    for (slept, noticed) in [(9, false), (600, true)] {
        let (mut state, slept) = (world.state.clone(), Duration::from_secs(slept));
        let now = world.now + slept;
        let pause = state.stood_still(world.now, now);
        assert_eq!(pause, noticed.then_some(slept));
        if let Some(pause) = pause {
            state.step(now, Event::Paused(pause));
        }
        let is_lost = |(_, fact): &(Seq, Fact)| matches!(fact.what, What::ExecutorLost { .. });
        assert_eq!(state.step(now, Event::Tick).facts.iter().any(is_lost), !noticed);
    }
}
