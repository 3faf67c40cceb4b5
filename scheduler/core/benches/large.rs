//! Ten thousand executors and four million tests in one scheduler's core: what a step costs in each situation of a
//! fleet's day, and how much memory all of it takes. Prints what `benches/large.py` records.
//!
//! `cargo bench --profile dev --workspace --bench large [-- EXECUTORS]`
#![expect(clippy::disallowed_methods, reason = "what steps take is measured")]

mod fleet;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fleet::{Fleet, RUNS, SLOTS, TESTS_IN_BUNDLE, resident_mb};
use seagull_scheduler_core::Event;

/// Tests of a run for each executor of the fleet.
const TESTS_FOR_EACH: u32 = 10;
/// Of a large fleet only so many report in some situations.
const SAMPLE: u32 = 2000;
/// What takes longer than this is not waited for to its end.
const ROUNDS: usize = 60;

/// What steps of each kind took.
#[derive(Default)]
struct Took(Vec<(&'static str, Vec<Duration>)>);

impl Took {
    fn add(&mut self, what: &'static str, took: Duration) {
        match self.0.iter_mut().find(|(of, _)| *of == what) {
            Some((_, all)) => all.push(took),
            None => self.0.push((what, vec![took])),
        }
    }

    /// In microseconds.
    fn mean(&self, what: &str) -> f64 {
        let took = self.0.iter().find(|(of, _)| *of == what).map_or(&[][..], |(_, took)| took.as_slice());
        took.iter().sum::<Duration>().as_secs_f64() * 1e6 / took.len().max(1) as f64
    }

    fn print(&mut self) {
        println!("\n| step | median µs | 99 % µs | longest µs | of |\n|---|---|---|---|---|");
        for (what, took) in &mut self.0 {
            took.sort_unstable();
            let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
            println!("| {what} | {:.1} | {:.1} | {:.0} | {} |", at(0.5), at(0.99), at(1.0), took.len());
        }
    }
}

fn main() {
    let executors = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(10_000);
    let took = Rc::new(RefCell::new(Took::default()));
    let clock = Rc::clone(&took);
    let mut fleet = Fleet::new(executors, executors * TESTS_FOR_EACH, move |state, now, what, event| {
        let begun = std::time::Instant::now();
        std::hint::black_box(state.step(now, event));
        std::hint::black_box(state.next_deadline());
        clock.borrow_mut().add(what, begun.elapsed());
    });
    let (_, empty) = resident_mb();
    (0..executors).for_each(|index| fleet.report("an executor joins", index, 0));
    let (_, joined) = resident_mb();
    fleet.submit_all();
    fleet.plan_all();
    let (_, planned) = resident_mb();
    let tests = f64::from(RUNS * fleet.tests);
    println!(
        "{executors} executors of {SLOTS} slots, {RUNS} runs, {tests} tests in bundles of {TESTS_IN_BUNDLE}\n"
    );
    println!("An executor takes {:.1} KB.", (joined - empty) * 1024.0 / f64::from(executors));
    println!("A test takes {:.0} bytes.", (planned - joined) * 1024.0 * 1024.0 / tests);
    day(&mut fleet);
    println!("At most {:.0} MB were resident, {:.0} MB at the end.", resident_mb().0, resident_mb().1);
    let mean = |what| took.borrow().mean(what) * f64::from(executors) / 1e4;
    println!(
        "All executors, when each reports once a second, take {:.1} % of a core with nothing new, and {:.1} % with a result \
         of each slot.",
        mean("nothing new"),
        mean("a result of each slot")
    );
    took.borrow_mut().print();
}

fn day(fleet: &mut Fleet) {
    let all = TESTS_IN_BUNDLE as usize;
    let sample = |fleet: &Fleet| fleet.executors.min(SAMPLE);
    (0..fleet.executors).for_each(|index| fleet.report("nothing new", index, 0));
    (0..sample(fleet)).for_each(|index| fleet.report("a result of each slot", index, 1));
    (0..sample(fleet)).for_each(|index| fleet.report("four bundles done, four given out", index, all));
    lose_a_tenth(fleet);
    (0..sample(fleet)).for_each(|index| fleet.report("after that: a result of each slot", index, 1));
    (0..sample(fleet)).for_each(|index| fleet.report("after that: four bundles done", index, all));
    let mut rounds = 0;
    while idle(fleet) < 0.5 && rounds < ROUNDS {
        (0..fleet.executors).for_each(|index| fleet.report("to the end: bundles done", index, all));
        rounds += 1;
    }
    println!("After {rounds} rounds {:.0} % of the slots were idle.", idle(fleet) * 100.0);
    (0..sample(fleet)).for_each(|index| fleet.report("at the end: nothing new", index, 0));
    (0..sample(fleet)).for_each(|index| fleet.report("at the end: a result of each slot", index, 1));
}

/// The last tenth of the fleet falls silent, the others do not.
fn lose_a_tenth(fleet: &mut Fleet) {
    let left = fleet.executors - fleet.executors / 10;
    fleet.now += 10_000;
    (0..left).for_each(|index| fleet.report("nothing new", index, 0));
    fleet.now += 6_000;
    fleet.step("a tenth of the fleet is lost", Event::Tick);
    fleet.executors = left;
}

/// The share of slots that have nothing to do.
fn idle(fleet: &Fleet) -> f64 {
    let rooms = fleet.state.executors.values().flat_map(|executor| executor.room.values());
    rooms.filter(|run| run.is_none()).count() as f64 / f64::from(fleet.state.slots().max(1))
}
