//! Anticipation step by step: what runs during a discovery counts once that has found its tests, or never.

mod fixture;

use std::collections::BTreeMap;
use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Batch, Desired, Digest, Discovery, EndCause, Epoch, Generation,
    InfraCause, Instant, NotExecuted, Outcome, PlanSummary, Record, Report, RunEvent, RunId, RunSpec,
    RunVerdict, SlotIndex, TestIndex, TestResult, Verdict, WorkerReport,
};
use seagull_scheduler_core::{
    Call, Effect, Event, Fact, Phase, Plan, PlanFailure, Settings, State, What, project,
};

use fixture::spec;

const DISCOVERY: u64 = 1;
const FOUND: Digest = Digest([7; 32]);
const MANIFEST: Digest = Digest([8; 32]);
const FOUND_INSTEAD: Digest = Digest([10; 32]);

/// A scheduler with executors of one slot each, which say what they are told to.
struct World {
    state: State,
    now: Instant,
    executors: BTreeMap<&'static str, Executor>,
    calls: u64,
    /// All that was journalled.
    journal: Vec<Fact>,
}

#[derive(Default)]
struct Executor {
    sequence: u64,
    known: (Epoch, u64),
    attempts: Vec<(u64, AttemptState)>,
    worker: bool,
    held: Option<Call>,
}

fn run() -> RunId {
    "r".parse().unwrap()
}

/// Four tests of ten seconds in two bundles.
fn plan() -> Box<Plan> {
    Box::new(Plan {
        manifest: MANIFEST,
        bundles: vec![vec![TestIndex(0), TestIndex(1)], vec![TestIndex(2), TestIndex(3)]],
        predicted_us: vec![10_000_000; 4],
        limits_ms: vec![300_000; 4],
        relations: Vec::new(),
        summary: PlanSummary { bundles: 2, ..PlanSummary::default() },
        empty_by_definition: false,
        first: 0,
        fail_fast: None,
        moved: None,
    })
}

fn result(test: u32) -> Record {
    Record::Result(TestResult {
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

fn discovered(manifest: Digest) -> AttemptState {
    AttemptState::Ended(EndCause::Discovered(Discovery { manifest, tests: 4 }))
}

impl World {
    /// The executor `a` discovers; `b` and `c` have a bundle each of the two that are anticipated.
    fn anticipating() -> World {
        let mut world = World::discovering(&["a", "b", "c"]);
        let (facts, _) = world.anticipate();
        assert_eq!(assigned(&facts), [("b", 2), ("c", 3)]);
        world.says("b", &[(2, AttemptState::Running(Some(TestIndex(0))))]);
        world.says("c", &[(3, AttemptState::Running(Some(TestIndex(2))))]);
        for executor in ["a", "b", "c"] {
            world.report(executor, &[]);
        }
        world
    }

    fn new() -> World {
        World {
            state: State::new(Epoch(1), Settings::default()),
            now: Instant(0),
            executors: BTreeMap::new(),
            calls: 0,
            journal: Vec::new(),
        }
    }

    /// The executor `a` discovers.
    fn discovering(executors: &[&'static str]) -> World {
        let mut world = World::new();
        for executor in executors {
            world.report(executor, &[]);
        }
        let (_, effects) = world.step(Event::Submit { request: Call(1000), spec: Box::new(spec("r")) });
        let slots = executors.len() as u32;
        assert!(effects.contains(&Effect::Anticipate { run: run(), slots }), "{effects:?}");
        world.says("a", &[(DISCOVERY, AttemptState::Running(None))]);
        world
    }

    fn anticipate(&mut self) -> (Vec<What>, Vec<Effect>) {
        self.step(Event::Anticipated { run: run(), discovered: FOUND, plan: plan() })
    }

    fn step(&mut self, event: Event) -> (Vec<What>, Vec<Effect>) {
        let outcome = self.state.step(self.now, event);
        self.state.sanity_check();
        for effect in &outcome.effects {
            if let Effect::Answer { call, desired } = effect
                && let Some(executor) = self.executors.values_mut().find(|e| e.held == Some(*call))
            {
                executor.held = None;
                executor.known = (desired.epoch, desired.version);
            }
        }
        let facts: Vec<_> = outcome.facts.into_iter().map(|(_, fact)| fact).collect();
        self.journal.extend(facts.iter().cloned());
        (facts.into_iter().map(|fact| fact.what).collect(), outcome.effects)
    }

    /// From now on the executor reports of these attempts.
    fn says(&mut self, executor: &'static str, attempts: &[(u64, AttemptState)]) {
        let state = self.executors.get_mut(executor).unwrap();
        state.attempts = attempts.to_vec();
        state.worker = true;
    }

    fn report(&mut self, executor: &'static str, batches: &[(u64, u32, Record)]) -> (Vec<What>, Vec<Effect>) {
        self.calls += 1;
        let call = Call(self.calls);
        let state = self.executors.entry(executor).or_default();
        state.sequence += 1;
        state.held = Some(call);
        let attempt = |(attempt, state): &(u64, AttemptState)| {
            let (attempt, generation, kept) = (AttemptId(*attempt), Generation(1), Vec::new());
            AttemptReport { attempt, run: run(), generation, kept, state: state.clone() }
        };
        let batch = |(attempt, number, record): &(u64, u32, Record)| {
            let (attempt, records) = (AttemptId(*attempt), vec![record.clone()]);
            Batch { run: run(), attempt, number: *number, records }
        };
        let runs = self.state.runs.get(&run());
        let worker = runs.and_then(|run| run.worker(&executor.parse().unwrap(), SlotIndex(0)));
        let worker = worker.filter(|_| state.worker).map(|worker| worker.number);
        let report = Report {
            executor: executor.parse().unwrap(),
            boot: "b1".parse().unwrap(),
            sequence: state.sequence,
            known: state.known,
            slots: 1,
            labels: Default::default(),
            draining: false,
            attempts: state.attempts.iter().map(attempt).collect(),
            workers: worker
                .map(|number| WorkerReport { run: run(), slot: SlotIndex(0), number })
                .into_iter()
                .collect(),
            batches: batches.iter().map(batch).collect(),
        };
        self.step(Event::Report { call, report: Box::new(report) })
    }

    /// What readers were told of so far.
    fn told(&self) -> Vec<RunEvent> {
        self.journal.iter().flat_map(project).collect()
    }

    fn phase(&self) -> Phase {
        self.state.runs[&run()].phase
    }

    /// Nothing of the anticipated plan is left but what is to be interrupted.
    fn is_withdrawn(&self) {
        let state = &self.state.runs[&run()];
        assert!(state.anticipated.is_none() && state.manifest.is_none());
        assert!(state.buffered.is_empty() && state.tests.is_empty() && state.pending.is_empty());
        assert!(state.attempts.values().all(|attempt| attempt.withdrawn == attempt.bundle.is_some()));
        let of_tests = |e: &RunEvent| matches!(e, RunEvent::TestFinished { .. } | RunEvent::Verdict { .. });
        assert!(!self.told().iter().any(of_tests));
    }

    /// The anticipated attempts are interrupted, end, and cost nothing.
    fn interrupted_attempts_end(&mut self, executors: &[(&'static str, u64)]) {
        for (executor, attempt) in executors {
            self.says(executor, &[(*attempt, AttemptState::Ended(EndCause::Cancelled))]);
            let late = (*attempt, 2, result(0));
            let (facts, effects) = self.report(executor, &[late]);
            assert!(!facts.iter().any(|what| matches!(what, What::Recorded { .. })), "{facts:?}");
            assert_eq!(desired(&effects, self.calls).unwrap().acknowledged, [(AttemptId(*attempt), 2)]);
            let ended = facts.iter().find_map(|what| match what {
                What::AttemptEnded { attempt, cause, left, .. } => Some((attempt.0, cause.clone(), *left)),
                _ => None,
            });
            assert_eq!(ended, Some((*attempt, EndCause::Cancelled, 0)));
            self.says(executor, &[]);
        }
        let losses: u32 = self.state.runs[&run()].tests.iter().map(|test| test.losses).sum();
        assert_eq!(losses, 0);
    }

    /// Its plan comes, all tests pass, and the run ends green.
    fn ends_as_if_nothing_had_been_anticipated(&mut self, generation: u32) {
        let generation = Generation(generation);
        assert_eq!(self.phase(), Phase::Planning { generation, discovered: Digest([9; 32]) });
        self.step(Event::Planned { run: run(), generation, outcome: Ok(plan()) });
        let manifest = MANIFEST;
        let confirmed = RunEvent::ManifestConfirmed { generation, manifest, tests: 4 };
        assert!(self.told().contains(&confirmed));
        self.ends_green();
    }

    fn ends_green(&mut self) {
        while !self.state.runs[&run()].all_decided() {
            let live: Vec<_> =
                self.state.runs[&run()].live_attempts().map(|(id, a)| (id, a.clone())).collect();
            for (id, attempt) in live.into_iter().filter(|(_, attempt)| !attempt.withdrawn) {
                let executor = *self.executors.keys().find(|e| **e == attempt.executor.as_str()).unwrap();
                self.says(executor, &[(id.0, AttemptState::Ended(EndCause::Completed))]);
                let left = (attempt.batch + 1..).zip(attempt.left.values());
                let batches: Vec<_> =
                    left.map(|(number, (test, _))| (id.0, number, result(test.0))).collect();
                self.report(executor, &batches);
            }
        }
        let executors: Vec<_> = self.executors.keys().copied().collect();
        for executor in executors {
            let state = self.executors.get_mut(executor).unwrap();
            state.attempts.clear();
            state.worker = false;
            self.report(executor, &[]);
        }
        assert!(matches!(self.phase(), Phase::Ended { verdict: RunVerdict::Passed, exit_code: 0 }));
    }
}

fn desired(effects: &[Effect], to: u64) -> Option<&Desired> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { call, desired } if *call == Call(to) => Some(&**desired),
        _ => None,
    })
}

/// Who was given what.
fn assigned(facts: &[What]) -> Vec<(&str, u64)> {
    let assigned = facts.iter().filter_map(|what| match what {
        What::Assigned { executor, attempt, .. } => Some((executor.as_str(), attempt.0)),
        _ => None,
    });
    assigned.collect()
}

fn verdicts(facts: &[What]) -> Vec<(u32, Verdict)> {
    let decided = facts.iter().filter_map(|what| match what {
        What::Decided { verdicts } => Some(verdicts.iter().map(|(test, verdict)| (test.0, *verdict))),
        _ => None,
    });
    decided.flatten().collect()
}

#[test]
fn a_slot_that_is_done_with_a_bundle_gets_the_next_one_though_neither_counts_yet() {
    let mut world = World::discovering(&["a", "b"]);
    assert_eq!(assigned(&world.anticipate().0), [("b", 2)]);
    let ended = (2, AttemptState::Ended(EndCause::Completed));
    world.says("b", std::slice::from_ref(&ended));
    let (facts, _) = world.report("b", &[(2, 1, result(0)), (2, 2, result(1))]);
    assert_eq!((assigned(&facts), verdicts(&facts)), (vec![("b", 3)], vec![]));
    world.says("b", &[ended, (3, AttemptState::Running(Some(TestIndex(2))))]);
    assert_eq!(assigned(&world.report("b", &[]).0), []);

    world.says("a", &[(DISCOVERY, discovered(FOUND))]);
    let (facts, _) = world.report("a", &[]);
    assert_eq!(verdicts(&facts), [(0, Verdict::Passed), (1, Verdict::Passed)]);
    world.says("a", &[]);
    world.report("a", &[]);
    let (facts, _) = world.report("b", &[]);
    let end = |what: &What| matches!(what, What::AttemptEnded { attempt: AttemptId(2), left: 0, .. });
    assert!(facts.iter().any(end), "{facts:?}");
    world.ends_green();
}

#[test]
fn what_was_anticipated_counts_once_it_is_discovered() {
    let mut world = World::anticipating();
    let (facts, effects) = world.report("b", &[(2, 1, result(0))]);
    let kept = What::Provisional { attempt: AttemptId(2), batch: 1, records: vec![result(0)] };
    assert_eq!(facts, [kept]);
    assert_eq!(desired(&effects, world.calls).unwrap().acknowledged, [(AttemptId(2), 1)]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Live { .. })), "{effects:?}");
    assert!(world.report("b", &[(2, 1, result(0))]).0.is_empty(), "a batch is kept once");

    world.says("a", &[(DISCOVERY, discovered(FOUND))]);
    let (facts, effects) = world.report("a", &[]);
    assert_eq!(verdicts(&facts), [(0, Verdict::Passed)]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Plan { .. })), "{effects:?}");
    let told = world.told();
    let manifest = RunEvent::ManifestConfirmed { generation: Generation(1), manifest: MANIFEST, tests: 4 };
    let place = told.iter().position(|event| *event == manifest).expect("it is told of");
    assert!(matches!(told[place + 1], RunEvent::Plan(PlanSummary { bundles: 2, .. })));
    assert!(matches!(told[place + 2], RunEvent::TestFinished { attempt: AttemptId(2), .. }));
    assert_eq!(world.state.runs[&run()].manifest_generation, Generation(1));
    world.ends_green();
}

#[test]
fn an_end_that_is_reported_before_the_confirmation_is_heard_after_it() {
    let mut world = World::anticipating();
    world.says("b", &[(2, AttemptState::Ended(EndCause::Completed))]);
    world.report("b", &[(2, 1, result(0)), (2, 2, result(1))]);
    assert_eq!(world.report("b", &[]).0, [], "it has not ended yet");
    let held = world.calls;

    world.says("a", &[(DISCOVERY, discovered(FOUND))]);
    let (_, effects) = world.report("a", &[]);
    assert!(desired(&effects, held).is_some(), "its executor is to report again");
    let (facts, _) = world.report("b", &[]);
    assert!(matches!(facts[0], What::AttemptEnded { attempt: AttemptId(2), left: 0, .. }), "{facts:?}");
    world.says("b", &[]);
    world.ends_green();
}

/// The plan of another manifest than the anticipated one: without its second test, with a new one, and in another order.
fn corrected() -> Box<Plan> {
    let moved = [Some(3), None, Some(0), Some(1)].map(|place| place.map(TestIndex));
    let bundles = vec![vec![TestIndex(0), TestIndex(1)], vec![TestIndex(2), TestIndex(3)]];
    Box::new(Plan { manifest: FOUND_INSTEAD, bundles, moved: Some(moved.to_vec()), ..*plan() })
}

/// What readers were told of results, verdicts and what is discarded.
fn outcomes(told: &[RunEvent]) -> Vec<String> {
    let outcome = |event: &RunEvent| match event {
        RunEvent::TestFinished { result, attempt, .. } => Some(format!("{} in {attempt}", result.test)),
        RunEvent::Verdict { test, verdict } => Some(format!("{test}: {verdict:?}")),
        RunEvent::ResultsDiscarded { manifest: MANIFEST, tests, count } => {
            Some(format!("{count} discarded: {tests:?}"))
        }
        _ => None,
    };
    told.iter().filter_map(outcome).collect()
}

impl World {
    /// Another manifest is found than was anticipated, of which `b` and `c` have run a test each, and its plan comes.
    fn corrected() -> World {
        let mut world = World::anticipating();
        world.report("b", &[(2, 1, result(0))]);
        world.says("a", &[(DISCOVERY, discovered(Digest([9; 32])))]);
        let (facts, effects) = world.report("a", &[]);
        assert!(matches!(facts[..], [What::AttemptEnded { .. }]), "what runs goes on: {facts:?}");
        let (slots, generation, discovered) = (3, Generation(2), Digest([9; 32]));
        let plan = Effect::Plan { run: run(), generation, discovered, slots, anticipated: Some(MANIFEST) };
        assert!(effects.contains(&plan), "{effects:?}");
        world.says("a", &[]);
        world.report("a", &[]);
        assert!(matches!(world.report("c", &[(3, 1, result(2))]).0[..], [What::Provisional { .. }]));
        assert_eq!(outcomes(&world.told()), [""; 0]);
        let (facts, _) = world.step(Event::Planned { run: run(), generation, outcome: Ok(corrected()) });
        assert_eq!(assigned(&facts), [("a", 4)], "the new test is all that nobody has");
        world
    }
}

#[test]
fn what_another_manifest_has_too_counts_and_goes_on() {
    let mut world = World::corrected();
    let manifest =
        RunEvent::ManifestConfirmed { generation: Generation(2), manifest: FOUND_INSTEAD, tests: 4 };
    assert!(world.told().contains(&manifest));
    assert_eq!(outcomes(&world.told()), ["3 in 2", "0 in 3", "0: Passed", "3: Passed"]);
    let new = world.state.runs[&run()].contents(AttemptId(4), Generation(1)).unwrap();
    assert_eq!((new.manifest, new.entries.len(), new.entries[0].test), (FOUND_INSTEAD, 1, TestIndex(2)));

    let running = AttemptState::Running(Some(TestIndex(3)));
    world.says("c", &[(3, running)]);
    let (_, effects) = world.report("c", &[]);
    let live = |effect: &Effect| matches!(effect, Effect::Live { test: Some(TestIndex(1)), .. });
    assert!(effects.iter().any(live), "{effects:?}");
    world.says("c", &[(3, AttemptState::Ended(EndCause::Completed))]);
    world.report("c", &[(3, 2, result(3))]);
    world.says("b", &[(2, AttemptState::Ended(EndCause::Completed))]);
    world.report("b", &[]);
    world.says("a", &[(4, AttemptState::Ended(EndCause::Completed))]);
    world.report("a", &[(4, 1, result(2))]);
    let told = outcomes(&world.told());
    assert_eq!(told[4..], ["1 in 3", "1: Passed", "2 in 4", "2: Passed"]);
    world.ends_green();
}

#[test]
fn what_another_manifest_does_not_have_is_not_left_to_do() {
    let mut world = World::corrected();
    let contents = |world: &World, attempt, generation| {
        world.state.runs[&run()].contents(AttemptId(attempt), Generation(generation))
    };
    assert_eq!(contents(&world, 2, 1), None, "there is a newer one");
    let rest = contents(&world, 2, 2).unwrap();
    assert_eq!((rest.manifest, rest.entries.len(), rest.anticipated), (MANIFEST, 0, false));
    let whole = contents(&world, 3, 1).unwrap();
    assert_eq!((whole.manifest, whole.entries.len(), whole.entries[0].test), (MANIFEST, 1, TestIndex(3)));

    world.says("b", &[(2, AttemptState::Running(Some(TestIndex(1))))]);
    let (facts, effects) = world.report("b", &[(2, 2, result(1))]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Live { .. })), "{effects:?}");
    assert_eq!(desired(&effects, world.calls).unwrap().acknowledged, [(AttemptId(2), 2)]);
    let discarded = What::Discarded { manifest: MANIFEST, tests: vec![TestIndex(1)], count: 1 };
    assert_eq!(facts[0], discarded);
    assert_eq!(outcomes(&world.told()).last().unwrap(), "1 discarded: [TestIndex(1)]");
    let missing = Record::Missing { test: TestIndex(1), reason: String::new() };
    let (facts, _) = world.report("b", &[(2, 3, missing)]);
    assert!(matches!(&facts[..], [What::Recorded { records, .. }] if records.is_empty()), "{facts:?}");
}

#[test]
fn recovery_before_and_after_another_manifest_is_planned() {
    let world = World::corrected();
    let planned = world.journal.iter().position(|fact| matches!(fact.what, What::Planned { .. })).unwrap();
    let recovered = |facts: usize| {
        let mut state = State::new(Epoch(2), Settings::default());
        world.journal[..facts].iter().for_each(|fact| state.apply(fact));
        let outcome = state.step(Instant(0), Event::Recovered);
        state.sanity_check();
        (state, outcome.effects)
    };
    let (mut state, effects) = recovered(planned);
    assert!(matches!(effects[..], [Effect::Plan { anticipated: Some(MANIFEST), .. }]), "{effects:?}");
    state
        .step(Instant(0), Event::Planned { run: run(), generation: Generation(2), outcome: Ok(corrected()) });
    let decided = |state: &State| {
        state.runs[&run()].tests.iter().map(|test| (test.seen, test.verdict)).collect::<Vec<_>>()
    };
    assert_eq!(decided(&state), decided(&world.state));
    let (state, effects) = recovered(world.journal.len());
    assert_eq!((state.runs, effects), (world.state.runs, vec![]));
}

#[test]
fn a_plan_in_which_nothing_has_moved_withdraws() {
    let mut world = World::anticipating();
    world.report("b", &[(2, 1, result(0))]);
    world.says("a", &[(DISCOVERY, discovered(Digest([9; 32])))]);
    world.report("a", &[]);
    world.says("a", &[]);
    world.report("b", &[]);
    let held = world.calls;
    let planned = Event::Planned { run: run(), generation: Generation(2), outcome: Ok(plan()) };
    let (facts, effects) = world.step(planned);
    assert!(matches!(facts[..3], [What::Discarded { count: 1, .. }, What::Withdrawn, What::Planned { .. }]));
    assert!(desired(&effects, held).expect("it is told at once").attempts[0].cancel);
    assert_eq!(world.state.runs[&run()].contents(AttemptId(2), Generation(1)), None);
    world.interrupted_attempts_end(&[("b", 2), ("c", 3)]);
    world.ends_green();
}

#[test]
fn a_plan_that_fails_withdraws() {
    let mut world = World::anticipating();
    world.says("a", &[(DISCOVERY, discovered(Digest([9; 32])))]);
    world.report("a", &[]);
    let outcome = Err(PlanFailure("no such selection".into()));
    let (facts, _) = world.step(Event::Planned { run: run(), generation: Generation(2), outcome });
    assert!(matches!(facts[..2], [What::Withdrawn, What::DiscoveryFailed { .. }]), "{facts:?}");
    world.is_withdrawn();
}

#[test]
fn fail_fast_waits_for_what_counts() {
    let mut world = World::anticipating();
    world.state.runs.get_mut(&run()).unwrap().spec.fail_fast = Some(1);
    let Record::Result(passed) = result(0) else { unreachable!("it is a result") };
    let failed = Record::Result(TestResult { outcome: Outcome::Failed, ..passed });
    let stops = |facts: &[What]| facts.contains(&What::Stopping { reason: NotExecuted::FailFast });
    assert!(!stops(&world.report("b", &[(2, 1, failed)]).0));
    world.says("a", &[(DISCOVERY, discovered(FOUND))]);
    let (facts, _) = world.report("a", &[]);
    assert_eq!(verdicts(&facts)[0], (0, Verdict::Failed));
    assert!(stops(&facts));
}

#[test]
fn a_run_that_is_not_to_start_early_anticipates_nothing() {
    let mut world = World::new();
    ["a", "b"].iter().for_each(|executor| drop(world.report(executor, &[])));
    let late = RunSpec { early_start: false, ..spec("r") };
    let (_, effects) = world.step(Event::Submit { request: Call(1000), spec: Box::new(late) });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Anticipate { .. })), "{effects:?}");
    assert_eq!(world.anticipate().0, []);
}

#[test]
fn a_plan_may_come_before_what_was_withdrawn_has_ended() {
    let mut world = World::anticipating();
    world.says("a", &[(DISCOVERY, discovered(Digest([9; 32])))]);
    world.report("a", &[]);
    world.says("a", &[]);
    let planned = Event::Planned { run: run(), generation: Generation(2), outcome: Ok(plan()) };
    let (facts, _) = world.step(planned);
    assert_eq!(assigned(&facts), [], "nothing of it runs beside what is being interrupted");
    world.interrupted_attempts_end(&[("b", 2), ("c", 3)]);
    world.ends_green();
}

#[test]
fn an_attempt_that_is_given_back_or_another_run_withdraws() {
    let mut world = World::anticipating();
    let given_back = EndCause::GaveBack(InfraCause::Drained, String::new());
    world.says("b", &[(2, AttemptState::Ended(given_back))]);
    let (facts, _) = world.report("b", &[]);
    assert!(matches!(facts[..2], [What::Withdrawn, What::AttemptEnded { cause: EndCause::Cancelled, .. }]));
    world.is_withdrawn();

    let mut world = World::anticipating();
    let other = RunSpec { id: "other".parse().unwrap(), ..spec("r") };
    let (facts, _) = world.step(Event::Submit { request: Call(2000), spec: Box::new(other) });
    assert!(matches!(facts[..2], [What::Withdrawn, What::Submitted(_)]), "{facts:?}");
    world.is_withdrawn();
}

#[test]
fn a_cancel_withdraws() {
    let mut world = World::anticipating();
    world.report("b", &[(2, 1, result(0))]);
    let (facts, _) = world.step(Event::Cancel { run: run() });
    let discarded = What::Discarded { manifest: MANIFEST, tests: vec![TestIndex(0)], count: 1 };
    assert_eq!(facts, [discarded, What::Withdrawn, What::Stopping { reason: NotExecuted::Cancelled }]);
    world.is_withdrawn();
    world.interrupted_attempts_end(&[("b", 2), ("c", 3)]);
    world.says("a", &[(DISCOVERY, AttemptState::Ended(EndCause::Cancelled))]);
    world.report("a", &[]);
    for executor in ["a", "b", "c"] {
        let state = world.executors.get_mut(executor).unwrap();
        state.attempts.clear();
        state.worker = false;
        world.report(executor, &[]);
    }
    assert!(matches!(world.phase(), Phase::Ended { verdict: RunVerdict::Cancelled, exit_code: 130 }));
}

#[test]
fn a_loss_withdraws_and_the_discovery_goes_on() {
    let mut world = World::anticipating();
    world.report("b", &[(2, 1, result(0))]);
    world.now = world.now + Duration::from_secs(10);
    world.report("a", &[]);
    world.report("b", &[]);
    world.now = world.now + Duration::from_secs(6);
    let (facts, _) = world.step(Event::Tick);
    assert_eq!(facts[1], What::Withdrawn);
    let (attempt, cause) = (AttemptId(3), EndCause::Cancelled);
    assert!(
        matches!(&facts[2], What::AttemptEnded { attempt: of, cause: as_, .. } if (*of, as_) == (attempt, &cause))
    );
    world.is_withdrawn();
    assert_eq!(world.report("c", &[(3, 1, result(2))]).0, [], "what comes late is discarded");
    world.interrupted_attempts_end(&[("b", 2)]);
    world.says("a", &[(DISCOVERY, discovered(Digest([9; 32])))]);
    world.report("a", &[]);
    world.ends_as_if_nothing_had_been_anticipated(2);
}

#[test]
fn a_discovery_that_comes_to_nothing_withdraws_and_the_next_anticipates_nothing() {
    let ends = [
        EndCause::DiscoveryFailed("no module named x".into()),
        EndCause::GaveBack(InfraCause::SandboxFailed, String::new()),
        EndCause::Cancelled,
    ];
    for end in ends {
        let mut world = World::anticipating();
        world.says("a", &[(DISCOVERY, AttemptState::Ended(end.clone()))]);
        let (facts, effects) = world.report("a", &[]);
        assert_eq!(facts[0], What::Withdrawn, "{end:?}");
        world.is_withdrawn();
        if matches!(end, EndCause::DiscoveryFailed(_)) {
            continue;
        }
        let asks = |effect: &Effect| matches!(effect, Effect::Anticipate { .. });
        assert!(!effects.iter().any(asks), "it may have been what the discovery was lost by");
        assert_eq!(world.anticipate().0, [], "a late answer is no other matter");
    }
}

#[test]
fn an_anticipation_that_comes_late_is_dropped() {
    let mut world = World::anticipating();
    world.says("a", &[(DISCOVERY, discovered(Digest([9; 32])))]);
    world.report("a", &[]);
    assert_eq!(world.anticipate().0, []);
    let (generation, outcome) = (Generation(2), Ok(plan()));
    world.step(Event::Planned { run: run(), generation, outcome });
    assert_eq!(world.anticipate().0, []);
}

#[test]
fn recovery_while_something_is_anticipated() {
    let mut world = World::anticipating();
    world.report("b", &[(2, 1, result(0))]);
    let mut again = State::new(Epoch(1), Settings::default());
    world.journal.iter().for_each(|fact| again.apply(fact));
    assert_eq!(
        (&again.runs, &again.placed, again.seq),
        (&world.state.runs, &world.state.placed, world.state.seq)
    );

    again.epoch = Epoch(2);
    world.state = again;
    let (facts, effects) = world.step(Event::Recovered);
    assert_eq!((facts, effects), (vec![], vec![]));
    world.says("a", &[(DISCOVERY, discovered(FOUND))]);
    let (facts, _) = world.report("a", &[]);
    assert_eq!(verdicts(&facts), [(0, Verdict::Passed)]);
    world.says("a", &[]);
    world.report("b", &[]);
    world.ends_green();
}
