//! A large fleet as a scheduler's core sees it: executors that report what a benchmark has them report.

use std::collections::BTreeMap;

use seagull_domain::{
    AttemptReport, AttemptState, Batch, Digest, Discovery, EndCause, Epoch, ExecutorId, Generation, Instant,
    Outcome, PlanSummary, Record, Report, RunId, TestIndex, WorkerReport,
};
use seagull_scheduler_core::{Call, Event, Plan, Settings, State};

#[path = "../tests/fixture/mod.rs"]
mod fixture;

pub const RUNS: u32 = 40;
pub const SLOTS: u16 = 4;
pub const TESTS_IN_BUNDLE: u32 = 25;

/// Makes a step of an event in a situation.
type Step = dyn FnMut(&mut State, Instant, &'static str, Event);

pub struct Fleet {
    pub state: State,
    pub executors: u32,
    /// Of each run.
    pub tests: u32,
    pub now: u64,
    sequence: u64,
    step: Box<Step>,
}

pub fn run(index: u32) -> RunId {
    format!("run-{index:02}").parse().expect("a safe id")
}

fn executor(index: u32) -> ExecutorId {
    format!("executor-{index:05}.fleet.example").parse().expect("a safe id")
}

impl Fleet {
    /// `step` makes each step, of an event in a situation.
    pub fn new(
        executors: u32,
        tests: u32,
        step: impl FnMut(&mut State, Instant, &'static str, Event) + 'static,
    ) -> Fleet {
        let state = State::new(Epoch(1), Settings::default());
        Fleet { state, executors, tests, now: 0, sequence: 0, step: Box::new(step) }
    }

    fn plan(&self, of: u32) -> Plan {
        let bundles = (0..self.tests / TESTS_IN_BUNDLE).map(|bundle| bundle * TESTS_IN_BUNDLE);
        Plan {
            environments: Vec::new(),
            manifest: Digest([8; 32]),
            bundles: bundles.map(|first| (first..first + TESTS_IN_BUNDLE).map(TestIndex).collect()).collect(),
            predicted_us: (0..self.tests).map(|test| 800_000 + u64::from((test * 7 + of) % 1000)).collect(),
            limits_ms: vec![300_000; self.tests as usize],
            relations: Vec::new(),
            summary: PlanSummary::default(),
            empty_by_definition: false,
            first: 0,
            fail_fast: None,
            to_judge: false,
            moved: None,
            unknown: Vec::new(),
        }
    }

    pub fn step(&mut self, what: &'static str, event: Event) {
        (self.step)(&mut self.state, Instant(self.now), what, event);
    }

    fn send(&mut self, what: &'static str, index: u32, attempts: Vec<AttemptReport>, batches: Vec<Batch>) {
        self.sequence += 1;
        let id = executor(index);
        let workers = self.state.runs.iter().flat_map(|(run, of)| {
            let of = of.workers.get(&id).into_iter().flatten();
            of.map(|(slot, worker)| WorkerReport { run: run.clone(), slot: *slot, number: worker.number })
        });
        let report = Report {
            capacity: seagull_domain::Resources::UNBOUNDED,
            boot: "b".parse().expect("a safe id"),
            sequence: self.sequence,
            known: (Epoch(1), self.state.executors.get(&id).map_or(0, |known| known.version)),
            slots: SLOTS,
            labels: BTreeMap::new(),
            draining: None,
            attempts,
            workers: workers.collect(),
            batches,
            executor: id,
        };
        self.step(what, Event::Report { call: Call(self.sequence), report: Box::new(report) });
    }

    /// An executor reports results of so many tests of each attempt that its slots are at.
    pub fn report(&mut self, what: &'static str, index: u32, results: usize) {
        let placed = self.state.placed.get(&executor(index)).cloned().unwrap_or_default();
        let (mut attempts, mut batches, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for (attempt, run) in placed {
            let known = &self.state.runs[&run].attempts[&attempt];
            let (generation, kept) = (known.generation, Vec::new());
            let results = if slots.contains(&known.slot) { 0 } else { results };
            slots.push(known.slot);
            let done = known.left.values().take(results);
            let records: Vec<_> = done.map(|(test, _)| passed(*test)).collect();
            let ends = known.bundle.is_some() && records.len() == known.left.len();
            let at = known.left.values().nth(results).map(|(test, _)| *test);
            let state = match ends {
                true => AttemptState::Ended(EndCause::Completed),
                false => AttemptState::Running(at),
            };
            if !records.is_empty() {
                batches.push(Batch { run: run.clone(), attempt, number: known.batch + 1, records });
            }
            attempts.push(AttemptReport { attempt, run, generation, kept, state });
        }
        self.send(what, index, attempts, batches);
    }

    pub fn submit_all(&mut self) {
        for index in 0..RUNS {
            let spec = Box::new(fixture::spec(run(index).as_str()));
            self.step("submit", Event::Submit { request: Call(u64::from(index)), spec });
        }
    }

    pub fn plan_all(&mut self) {
        (0..RUNS).for_each(|index| self.discover(index));
        for index in 0..RUNS {
            let outcome = Ok(Box::new(self.plan(index)));
            let planned = Event::Planned { run: run(index), generation: Generation(1), outcome };
            self.step("a plan", planned);
        }
    }

    /// The run's discovery ends where it is.
    fn discover(&mut self, of: u32) {
        let live = self.state.runs[&run(of)].live_attempts().next();
        let (attempt, executor) =
            live.map(|(id, attempt)| (id, attempt.executor.clone())).expect("it is being discovered");
        let index = executor.as_str()[9..14].parse().expect("a number");
        let discovery = Discovery { manifest: Digest([7; 32]), tests: self.tests };
        let state = AttemptState::Ended(EndCause::Discovered(discovery));
        let (run, generation, kept) = (run(of), Generation(1), Vec::new());
        let ended = AttemptReport { attempt, run, generation, kept, state };
        self.send("a discovery's end", index, vec![ended], Vec::new());
    }
}

fn passed(test: TestIndex) -> Record {
    Record::Result(fixture::result(test.0, Outcome::Passed))
}

/// What a process had resident at most, and has now, in MB.
pub fn resident_mb() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let of = |name| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("it says so");
        let kb: f64 = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number");
        kb / 1024.0
    };
    (of("VmHWM"), of("VmRSS"))
}
