//! Anticipation step by step: what runs during a discovery counts once that has found its tests, or never.

mod corrected;
#[path = "../fixture/mod.rs"]
mod fixture;
mod world;

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptState, Digest, EndCause, Epoch, Generation, InfraCause, NotExecuted, Outcome,
    PlanSummary, Record, RunEvent, RunSpec, RunVerdict, TestIndex, TestResult, Verdict,
};
use seagull_scheduler_core::{Call, Effect, Event, Phase, PlanFailure, Settings, State, What};

use fixture::spec;
use world::*;

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
    let (facts, _) = world.step(Event::Cancel { request: Call(9), run: run() });
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
