//! Another manifest is found than was anticipated: what is in both counts and goes on.

use seagull_domain::{
    AttemptId, AttemptState, Digest, EndCause, Epoch, Generation, Instant, Record, RunEvent, TestIndex,
};
use seagull_scheduler_core::{Effect, Event, Plan, Settings, State, What};

use crate::world::*;

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
