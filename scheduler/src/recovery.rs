//! How long a scheduler takes to be back: 40 runs of 100,000 tests, half done, in a real journal. `benches/recovery.py`
//! has it written, and starts a scheduler on it. And what of that is a test's share, by how much becomes durable at a time.
#![expect(clippy::disallowed_methods, reason = "what is done with a journal is measured")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
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
    /// So many reports become durable together.
    group: usize,
    facts: Vec<(Seq, Fact)>,
    steps: usize,
    commits: u32,
    written: usize,
    appending: Duration,
    /// How long the scheduler did nothing else but write a state down, and how large that was.
    snapshots: Vec<(Duration, usize)>,
}

impl Writer {
    fn add(&mut self, state: &State, facts: Vec<(Seq, Fact)>) {
        self.facts.extend(facts);
        self.steps += 1;
        if self.steps.is_multiple_of(self.group) {
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
        self.commits += 1;
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

/// The journal of a fleet that is half through its runs of so many tests each.
fn half_done(directory: &Path, group: usize, executors: u32, tests: u32) -> (Fleet, Rc<RefCell<Writer>>) {
    let (journal, _) = Journal::open(directory, Settings::default()).expect("an empty directory");
    let (facts, appending, snapshots) = (Vec::new(), Duration::ZERO, Vec::new());
    let writer = Writer { journal, group, facts, steps: 0, commits: 0, written: 0, appending, snapshots };
    let writer = Rc::new(RefCell::new(writer));
    let journal = Rc::clone(&writer);
    let mut fleet = Fleet::new(executors, tests, move |state, now, _, event| {
        let facts = state.step(now, event).facts;
        journal.borrow_mut().add(state, facts);
    });
    (0..fleet.executors).for_each(|index| fleet.report("", index, 0));
    fleet.submit_all();
    fleet.plan_all();
    while decided(&fleet) < fleet::RUNS * tests / 2 {
        (0..fleet.executors).for_each(|index| fleet.report("", index, 5));
    }
    writer.borrow_mut().append();
    (fleet, writer)
}

fn decided(fleet: &Fleet) -> u32 {
    fleet.state.runs.values().map(|run| run.counts.decided()).sum()
}

fn directory() -> PathBuf {
    PathBuf::from(std::env::var("SEAGULL_BENCH_STATE").expect("SEAGULL_BENCH_STATE is set"))
}

#[test]
#[ignore = "a benchmark: it writes a gigabyte"]
fn forty_large_runs_half_done() {
    let (fleet, written) = half_done(&directory(), GROUP, EXECUTORS, TESTS);
    let (tests, written) = (decided(&fleet), written.borrow());
    println!("{tests} of {} tests are decided, by {} facts", fleet::RUNS * TESTS, written.written);
    println!(
        "{:.1} µs a test to make its facts durable, {GROUP} reports at a time",
        written.appending.as_secs_f64() * 1e6 / f64::from(tests)
    );
    for (took, bytes) in &written.snapshots {
        println!("a snapshot of {} MB, written in {} ms", bytes >> 20, took.as_millis());
    }
    println!("{:.0} MB resident", fleet::resident_mb().1);
}

/// Each report has results of five tests of each of four slots.
#[test]
#[ignore = "a benchmark"]
fn the_share_of_a_test() {
    println!(
        "| reports in a commit | commits | ms a commit | µs a test in commits | µs a test in all | \
         tests a second |"
    );
    println!("|---|---|---|---|---|---|");
    for group in [1, 4, 16, 64, 256] {
        let begun = Instant::now();
        let (fleet, written) = half_done(&directory().join(group.to_string()), group, 100, 2500);
        let (all, tests) = (begun.elapsed().as_secs_f64(), f64::from(decided(&fleet)));
        let written = written.borrow();
        let appending = written.appending.as_secs_f64();
        println!(
            "| {group} | {} | {:.2} | {:.1} | {:.1} | {:.0} |",
            written.commits,
            appending * 1e3 / f64::from(written.commits),
            appending * 1e6 / tests,
            all * 1e6 / tests,
            tests / all
        );
    }
}
