//! A thousand executors and a quarter of a million tests: who is given what, and, with `--nocapture`, what steps take.
#![expect(clippy::disallowed_methods, reason = "what is measured is only printed")]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Batch, BundleId, Digest, Discovery, EndCause, Epoch, ExecutorId,
    Generation, Instant, Outcome, PlanSummary, Record, Report, RunId, SlotNumber, TestIndex, WorkerReport,
};
use seagull_scheduler_core::{Call, Event, Plan, Settings, State, What};

use fixture::{result, spec};

const EXECUTORS: u32 = 1000;
const SLOTS: u32 = 8;
const BUNDLES: u32 = 10_000;
const TESTS_IN_BUNDLE: u32 = 25;

struct Fleet {
    state: State,
    sequence: u64,
    /// What steps of each kind took.
    took: BTreeMap<&'static str, Vec<Duration>>,
}

fn run() -> RunId {
    "r".parse().unwrap()
}

fn executor(index: u32) -> ExecutorId {
    format!("executor-{index:04}.fleet.example").parse().unwrap()
}

fn plan() -> Plan {
    let tests = BUNDLES * TESTS_IN_BUNDLE;
    let bundle = |first: u32| (first..first + TESTS_IN_BUNDLE).map(TestIndex).collect();
    Plan {
        environments: Vec::new(),
        manifest: Digest([8; 32]),
        bundles: (0..BUNDLES).map(|index| bundle(index * TESTS_IN_BUNDLE)).collect(),
        predicted_us: (0..tests).map(|test| 2_000_000 + u64::from(test / 1000)).collect(),
        limits_ms: vec![300_000; tests as usize],
        relations: Vec::new(),
        unknown: Vec::new(),
        summary: PlanSummary::default(),
        empty_by_definition: false,
        first: 0,
        fail_fast: None,
        to_judge: false,
        moved: None,
    }
}

fn passed(test: TestIndex) -> Record {
    Record::Result(result(test.0, Outcome::Passed))
}

impl Fleet {
    /// All executors are there, and the tests are known.
    fn planning() -> Fleet {
        let mut fleet = Fleet::submitted();
        fleet.discovered();
        for executor in 1..EXECUTORS {
            fleet.report("join", executor, 0);
        }
        fleet
    }

    /// The first executor is there, and discovers.
    fn submitted() -> Fleet {
        let state = State::new(Epoch(1), Settings::default());
        let mut fleet = Fleet { state, sequence: 0, took: BTreeMap::new() };
        fleet.step("submit", Event::Submit { request: Call(0), spec: Box::new(spec("r")) });
        fleet.report("join", 0, 0);
        fleet
    }

    fn discovered(&mut self) {
        let discovery = Discovery { manifest: Digest([7; 32]), tests: BUNDLES * TESTS_IN_BUNDLE };
        let state = AttemptState::Ended(EndCause::Discovered(discovery));
        let (attempt, generation, kept) = (AttemptId(1), Generation(1), Vec::new());
        let ended = AttemptReport { attempt, run: run(), generation, kept, state };
        self.send("discover", 0, vec![ended], Vec::new());
    }

    fn step(&mut self, what: &'static str, event: Event) -> Vec<What> {
        let begun = std::time::Instant::now();
        let outcome = self.state.step(Instant(50 * self.sequence), event);
        self.took.entry(what).or_default().push(begun.elapsed());
        outcome.facts.into_iter().map(|(_, fact)| fact.what).collect()
    }

    fn send(
        &mut self,
        what: &'static str,
        index: u32,
        attempts: Vec<AttemptReport>,
        batches: Vec<Batch>,
    ) -> Vec<What> {
        self.sequence += 1;
        let workers = self.state.runs[&run()].workers.get(&executor(index)).into_iter().flatten();
        let workers = workers.map(|(slot, w)| WorkerReport { run: run(), slot: *slot, number: w.number });
        let report = Report {
            capacity: seagull_domain::Resources::UNBOUNDED,
            executor: executor(index),
            boot: "b".parse().unwrap(),
            sequence: self.sequence,
            known: (Epoch(1), self.state.last_version),
            slots: SLOTS as u16,
            labels: Default::default(),
            draining: None,
            attempts,
            workers: workers.collect(),
            batches,
        };
        self.step(what, Event::Report { call: Call(self.sequence), report: Box::new(report) })
    }

    /// An executor reports results of so many tests of each of its attempts; one of which nothing is left has ended.
    fn report(&mut self, what: &'static str, index: u32, results: u32) -> Vec<What> {
        let placed = self.state.placed.get(&executor(index)).cloned().unwrap_or_default();
        let (mut attempts, mut batches) = (Vec::new(), Vec::new());
        for attempt in placed.into_keys() {
            let known = &self.state.runs[&run()].attempts[&attempt];
            let (run, generation, kept) = (run(), known.generation, Vec::new());
            let all = known.bundle.is_some() && known.left.len() <= results as usize;
            let state = match all {
                true => AttemptState::Ended(EndCause::Completed),
                false => AttemptState::Running(None),
            };
            let records = known.left.values().take(results as usize).map(|(test, _)| passed(*test)).collect();
            batches.push(Batch { run: run.clone(), attempt, number: known.batch + 1, records });
            attempts.push(AttemptReport { attempt, run, generation, kept, state });
        }
        self.send(what, index, attempts, batches)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for (what, took) in &self.took {
            let (count, sum) = (took.len() as u32, took.iter().sum::<Duration>());
            println!("{what}: {:?} each, of {count}", sum / count);
        }
    }
}

fn assigned(facts: &[What]) -> Vec<(Option<BundleId>, SlotNumber)> {
    let assigned = facts.iter().filter_map(|what| match what {
        What::Assigned { bundle, number, .. } => Some((*bundle, *number)),
        _ => None,
    });
    assigned.collect()
}

fn taken_back(facts: &[What]) -> u32 {
    facts.iter().filter(|what| matches!(what, What::TakeBack { .. })).count() as u32
}

#[test]
fn a_large_suite_that_has_changed_goes_on_with_what_has_begun() {
    let mut fleet = Fleet::submitted();
    for executor in 1..EXECUTORS {
        fleet.report("join", executor, 0);
    }
    let anticipated = Event::Anticipated { run: run(), discovered: Digest([6; 32]), plan: Box::new(plan()) };
    let given = assigned(&fleet.step("anticipate", anticipated)).len() as u32;
    assert_eq!(given, EXECUTORS * SLOTS - 1);
    for executor in 1..EXECUTORS {
        fleet.report("early results", executor, 10);
    }
    fleet.discovered();
    // The first test is gone, and another is in its place.
    let tests = BUNDLES * TESTS_IN_BUNDLE;
    let moved = (0..tests).map(|test| (test > 0).then_some(TestIndex(test))).collect();
    let found = Plan { moved: Some(moved), manifest: Digest([9; 32]), ..plan() };
    let planned = Event::Planned { run: run(), generation: Generation(2), outcome: Ok(Box::new(found)) };
    let facts = fleet.step("another manifest is planned", planned);
    let decided =
        facts.iter().map(|what| if let What::Decided { verdicts } = what { verdicts.len() } else { 0 });
    let early = (EXECUTORS - 1) * SLOTS * 10;
    assert_eq!(decided.sum::<usize>() as u32, early);
    let run = &fleet.state.runs[&run()];
    let pending: usize = run.pending.values().map(|bundle| bundle.entries.len()).sum();
    let held: u32 = run.tests.iter().map(|test| test.held).sum();
    assert_eq!((pending as u32 + held + early, held >= given * TESTS_IN_BUNDLE - early), (tests, true));
    fleet.state.sanity_check();
}

#[test]
fn every_slot_of_a_fleet_is_kept_busy_to_the_end() {
    let mut fleet = Fleet::planning();
    let planned = Event::Planned { run: run(), generation: Generation(1), outcome: Ok(Box::new(plan())) };
    let given = assigned(&fleet.step("first dispatch", planned));
    let numbers: BTreeSet<_> = given.iter().map(|(_, number)| number.0).collect();
    assert_eq!(numbers, (0..EXECUTORS * SLOTS).collect(), "each slot has one, with a number of its own");
    assert_eq!(given[0].0, Some(BundleId(BUNDLES - 40)), "the longest first, of those the oldest");

    for executor in 0..100 {
        assert_eq!(assigned(&fleet.report("results", executor, 1)), []);
    }
    for executor in 0..BUNDLES / SLOTS - EXECUTORS {
        let given = assigned(&fleet.report("bundles done", executor, TESTS_IN_BUNDLE));
        assert_eq!(given.len() as u32, SLOTS);
    }
    for executor in 500..510 {
        let facts = fleet.report("bundles done, nothing more to give", executor, TESTS_IN_BUNDLE);
        assert_eq!(taken_back(&facts), SLOTS, "others are relieved");
        assert_eq!(taken_back(&fleet.report("results while others idle", executor + 100, 10)), 0);
    }
    fleet.state.sanity_check();
}
