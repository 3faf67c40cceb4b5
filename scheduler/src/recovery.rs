//! How long a scheduler takes to be back: 40 runs of 100,000 tests, half done, in a real journal. `benches/recovery.py`
//! has it written, and starts a scheduler on it.
#![expect(clippy::disallowed_methods, reason = "what is done with a journal is measured")]

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use seagull_domain::Seq;
use seagull_scheduler_core::{Fact, Settings, State};

use crate::journal::Journal;

#[path = "../core/benches/fleet.rs"]
mod fleet;

use fleet::Fleet;

const EXECUTORS: u32 = 1000;
const TESTS: u32 = 100_000;
/// Facts of so many reports become durable together, as under load.
const GROUP: usize = 100;

/// What was written, and how long it took.
struct Writer {
    journal: Journal,
    facts: Vec<(Seq, Fact)>,
    steps: usize,
    written: usize,
    appending: Duration,
    /// How long the scheduler did nothing else but write a state down, and how large that was.
    snapshots: Vec<(Duration, usize)>,
}

impl Writer {
    fn add(&mut self, state: &State, facts: Vec<(Seq, Fact)>) {
        self.facts.extend(facts);
        self.steps += 1;
        if self.steps.is_multiple_of(GROUP) {
            self.append();
            if self.journal.wants_snapshot() {
                self.snapshot(state);
            }
        }
    }

    fn append(&mut self) {
        let begun = Instant::now();
        self.journal.append(&self.facts).expect("there is room");
        self.appending += begun.elapsed();
        self.written += self.facts.len();
        self.facts.clear();
    }

    fn snapshot(&mut self, state: &State) {
        let begun = Instant::now();
        let body = serde_json::to_string(state).expect("the state has only text keys");
        self.snapshots.push((begun.elapsed(), body.len()));
        let runs: Vec<_> = state.runs.keys().cloned().collect();
        self.journal.snapshot(state.seq, &body, &runs).expect("there is room");
    }
}

#[test]
#[ignore = "a benchmark: it writes a gigabyte"]
fn forty_large_runs_half_done() {
    let directory = PathBuf::from(std::env::var("SEAGULL_BENCH_STATE").expect("SEAGULL_BENCH_STATE is set"));
    let (journal, _) = Journal::open(&directory, Settings::default()).expect("an empty directory");
    let (facts, steps, written, appending) = (Vec::new(), 0, 0, Duration::ZERO);
    let writer = Writer { journal, facts, steps, written, appending, snapshots: Vec::new() };
    let writer = Rc::new(RefCell::new(writer));
    let journal = Rc::clone(&writer);
    let mut fleet = Fleet::new(EXECUTORS, TESTS, move |state, now, _, event| {
        let facts = state.step(now, event).facts;
        journal.borrow_mut().add(state, facts);
    });
    (0..fleet.executors).for_each(|index| fleet.report("", index, 0));
    fleet.submit_all();
    fleet.plan_all();
    let decided = |fleet: &Fleet| fleet.state.runs.values().map(|run| run.counts.decided()).sum::<u32>();
    while decided(&fleet) < fleet::RUNS * TESTS / 2 {
        (0..fleet.executors).for_each(|index| fleet.report("", index, 5));
    }
    let mut written = writer.borrow_mut();
    written.append();
    let tests = f64::from(decided(&fleet));
    let per_test = |took: Duration| took.as_secs_f64() * 1e6 / tests;
    println!("{tests} of {} tests are decided, by {} facts", fleet::RUNS * TESTS, written.written);
    println!(
        "{:.1} µs a test to make its facts durable, {GROUP} reports at a time",
        per_test(written.appending)
    );
    for (took, bytes) in &written.snapshots {
        println!("a snapshot of {} MB, written in {} ms", bytes >> 20, took.as_millis());
    }
    println!("{:.0} MB resident", fleet::resident_mb().1);
}
