//! Where a test is that has no verdict yet.

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptState, Outcome, Silent, SlotNumber, Standing, TestIndex, Whereabouts,
};
use seagull_scheduler_core::Event;

use crate::world::*;

fn find(world: &World, test: u32) -> Option<Whereabouts> {
    world.state.whereabouts(world.now, &run(), TestIndex(test))
}

#[test]
fn a_test_is_found_where_it_runs_where_it_is_next_and_in_the_queue() {
    let mut world =
        World::running_bundles(0, vec![tests(0..2), tests(2..4), tests(4..6), tests(6..8)], vec![]);
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(5);
    let (executor, slot) = ("a".parse().unwrap(), SlotNumber(0));
    let running = Whereabouts::Running { attempt: AttemptId(2), executor, slot, millis: 5000 };
    assert_eq!(find(&world, 0), Some(running));
    let next = |attempt, behind| {
        Some(Whereabouts::Next { attempt: AttemptId(attempt), executor: "a".parse().unwrap(), slot, behind })
    };
    assert_eq!(find(&world, 1), next(2, 1));
    let queued = |behind, slots| Some(Whereabouts::Queued { behind, slots, avoided: 0, runs: 0 });
    assert_eq!([3, 5, 6].map(|test| find(&world, test)), [queued(0, 1), queued(1, 1), queued(2, 1)]);

    world.report("a", &[(1, result(0, Outcome::Passed))]);
    assert_eq!((find(&world, 0), find(&world, 8)), (None, None), "one is decided, the other is none");
    world.now = world.now + Duration::from_secs(60);
    world.step(Event::Tick);
    let Some(Whereabouts::Queued { slots, .. }) = find(&world, 7) else { panic!("{:?}", find(&world, 7)) };
    assert_eq!(slots, 0, "the only executor is lost");
}

#[test]
fn a_retry_says_what_it_avoids() {
    let mut world = World::running_bundles(1, vec![tests(0..2), tests(2..4)], vec![]);
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(3))]);
    world.says("a", 2, AttemptState::Running(Some(TestIndex(1))));
    world.report("a", &[(1, result(0, Outcome::Failed))]);
    assert_eq!(find(&world, 0), Some(Whereabouts::Queued { behind: 0, slots: 1, avoided: 1, runs: 0 }));
}

#[test]
fn a_run_under_way_says_how_many_tests_are_where_and_who_is_silent() {
    let bundles = vec![tests(0..2), tests(2..4), tests(4..6), tests(6..8)];
    let mut world = World::running_bundles(0, bundles, vec![]);
    let standing = |world: &World| world.state.standing(world.now, &run()).unwrap();
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    let now = Standing { running: 1, next: 1, queued: 6, ..Standing::default() };
    assert_eq!(standing(&world), now);

    world.now = world.now + Duration::from_secs(11);
    let silent = Silent { executor: "a".parse().unwrap(), millis: 11_000, left_ms: 4000 };
    assert_eq!(standing(&world), Standing { silent: vec![silent], ..now });
    world.now = world.now + Duration::from_secs(60);
    world.step(Event::Tick);
    assert_eq!(standing(&world), Standing { queued: 8, suspects: 1, ..Standing::default() });
    assert_eq!(world.state.standing(world.now, &"none".parse().unwrap()), None);
}

#[test]
fn a_run_whose_tests_are_discovered_says_where() {
    let mut world = World::of(0);
    world.report("a", &[]);
    let at = |world: &World| world.state.standing(world.now, &run()).unwrap().discovering.unwrap();
    assert_eq!((at(&world).executor.as_str(), at(&world).millis), ("a", None));
    world.says("a", 1, AttemptState::Running(None));
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(5);
    assert_eq!(at(&world).millis, Some(5000));
}
