//! Where a test is that has no verdict yet.

use std::time::Duration;

use seagull_domain::{AttemptId, AttemptState, Outcome, SlotNumber, TestIndex, Whereabouts};
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
    let queued = |behind, slots| Some(Whereabouts::Queued { behind, slots, runs: 0 });
    assert_eq!([3, 5, 6].map(|test| find(&world, test)), [queued(0, 1), queued(1, 1), queued(2, 1)]);

    world.report("a", &[(1, result(0, Outcome::Passed))]);
    assert_eq!((find(&world, 0), find(&world, 8)), (None, None), "one is decided, the other is none");
    world.now = world.now + Duration::from_secs(60);
    world.step(Event::Tick);
    let Some(Whereabouts::Queued { slots, .. }) = find(&world, 7) else { panic!("{:?}", find(&world, 7)) };
    assert_eq!(slots, 0, "the only executor is lost");
}
