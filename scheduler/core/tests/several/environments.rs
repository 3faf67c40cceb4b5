//! Environments: whose slot gets which bundle, and what executors are told of it.

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, EndCause, EnvironmentNumber, Generation, InfraCause, Outcome,
    SlotIndex, TestIndex,
};
use seagull_scheduler_core::Signs;

use crate::world::{World, bundles, plan, result, run, tests};

const A: EnvironmentNumber = EnvironmentNumber(1);
const B: EnvironmentNumber = EnvironmentNumber(2);

/// A run of bundles of one test each, of these environments, on the executors `a` and `b`.
fn running(environments: &[EnvironmentNumber]) -> World {
    let of_one = (0..environments.len() as u32).map(|test| tests([test])).collect();
    let mut plan = plan(of_one, Vec::new(), 0);
    plan.environments = environments.to_vec();
    World::running_in_environments(&["a", "b"], plan)
}

fn environment(world: &World, attempt: AttemptId) -> EnvironmentNumber {
    world.state.runs[&run()].attempts[&attempt].environment
}

/// Plays all to its end; which executors ran what.
fn play(world: &mut World) -> Vec<(&'static str, EnvironmentNumber)> {
    let mut ran = Vec::new();
    for _ in 0..12 {
        for executor in ["a", "b"] {
            let known = &world.state.runs[&run()];
            let own = |attempt: &&(AttemptId, String)| attempt.1 == executor;
            let live: Vec<_> =
                known.live_attempts().map(|(id, attempt)| (id, attempt.executor.to_string())).collect();
            let Some((attempt, _)) = live.iter().find(own).cloned() else { continue };
            let test = known.attempts[&attempt].left.values().next().map(|(test, _)| test.0);
            ran.push((executor, environment(world, attempt)));
            world.says(executor, attempt.0, AttemptState::Running(None));
            let records: Vec<_> = test.into_iter().map(|test| (1, result(test, Outcome::Passed))).collect();
            world.report(executor, &records);
            world.says(executor, attempt.0, AttemptState::Ended(EndCause::Completed));
            world.report(executor, &[]);
        }
    }
    ran
}

fn on(executor: &str, ran: &[(&str, EnvironmentNumber)]) -> Vec<EnvironmentNumber> {
    ran.iter().filter(|(of, _)| *of == executor).map(|(_, environment)| *environment).collect()
}

#[test]
fn a_slot_stays_with_its_environment_while_there_is_something_of_it() {
    let ran = play(&mut running(&[A, B, A, B, A, B]));
    let [a, b] = ["a", "b"].map(|executor| on(executor, &ran));
    assert_eq!(a.len() + b.len(), 6, "{ran:?}");
    let changes = |of: &[EnvironmentNumber]| of.windows(2).filter(|two| two[0] != two[1]).count();
    assert_eq!((changes(&a), changes(&b)), (0, 0), "{ran:?}");
}

#[test]
fn a_slot_where_an_environment_does_not_start_is_held_back_for_that_alone() {
    let mut world = running(&[B, B, A, A, B]);
    let not_started = [(SlotIndex(0), [(B, 2)].into())].into();
    let signs = Signs { not_started, ..Signs::default() };
    world.state.runs.get_mut(&run()).unwrap().sick = [("a".parse().unwrap(), signs)].into();
    let ran = play(&mut world);
    assert_eq!((on("a", &ran), on("b", &ran)), (vec![A, A], vec![B, B, B]), "{ran:?}");
}

#[test]
fn what_comes_back_goes_out_again_in_its_environment() {
    let mut world = running(&[A, B]);
    let live: Vec<_> = world.state.runs[&run()].live_attempts().map(|(id, _)| id).collect();
    let (attempt, executor) = {
        let known = &world.state.runs[&run()].attempts;
        let of_b = live.iter().copied().find(|id| known[id].environment == B).expect("it was given out");
        (of_b, if known[&of_b].executor.as_str() == "a" { "a" } else { "b" })
    };
    world.says(executor, attempt.0, crate::world::came_back());
    let facts = world.report(executor, &[]);
    assert_eq!(bundles(&facts).len(), 1, "{facts:?}");
    let known = &world.state.runs[&run()];
    let again = known.pending.values().next().expect("it waits for another executor, which is busy");
    assert_eq!(known.environment_of(again), B);
}

#[test]
fn a_test_for_which_a_machine_has_no_memory_time_and_again_is_given_up() {
    let mut plan = plan((0..3).map(|test| tests([test])).collect(), Vec::new(), 0);
    plan.environments = vec![A; 3];
    let mut world = World::running_in_environments(&["a"], plan);
    world.executors.get_mut("a").unwrap().more_slots = 1;
    let mut came_back = 0;
    while !world.state.runs[&run()].all_decided() {
        world.report("a", &[]);
        let known = &world.state.runs[&run()];
        let live = known.live_attempts().map(|(id, of)| (id, of.left.values().next().map(|(test, _)| *test)));
        let live: Vec<_> = live.filter(|(_, test)| test.is_some()).collect();
        // The first goes on while the other comes back.
        let hungry = live.iter().find(|(_, test)| *test == Some(TestIndex(0)));
        let Some((attempt, test)) = hungry.or(live.first()).copied() else { continue };
        let cause = match test {
            Some(TestIndex(0)) => EndCause::GaveBack(InfraCause::MachineOutOfMemory, "none left".into()),
            _ => EndCause::Completed,
        };
        came_back += u32::from(cause != EndCause::Completed);
        assert!(came_back < 20, "it goes on for ever");
        let report = |id, state| AttemptReport {
            attempt: id,
            run: run(),
            generation: Generation(1),
            kept: Vec::new(),
            state,
        };
        let others = live.iter().filter(|(id, _)| *id != attempt);
        let others = others.map(|(id, _)| report(*id, AttemptState::Running(None)));
        let reports =
            [report(attempt, AttemptState::Ended(cause.clone()))].into_iter().chain(others).collect();
        world.executors.get_mut("a").unwrap().attempts = reports;
        let passed =
            test.filter(|_| cause == EndCause::Completed).map(|test| result(test.0, Outcome::Passed));
        world.report("a", &passed.map(|record| (1, record)).into_iter().collect::<Vec<_>>());
    }
    assert_eq!(came_back, 3);
}
