//! Virtual time, and the scheduler's shell in it: what it is told arrives after a millisecond, and is durable at once.

use std::collections::BTreeMap;
use std::time::Duration;

use seagull_domain::{
    AttemptId, BundleContents, Desired, Digest, Discovery, Epoch, Generation, Instant, PlanSummary, Report,
    RunId, RunSpec, Workspace,
};
use seagull_executor_core::{WorkerEvent, WorkerId};
use seagull_scheduler_core::{Call, Effect, Event, Plan, Settings, State, What};

use crate::day::{Day, SLOTS};
use crate::machine::Machine;

const LATENCY_MS: u64 = 1;
/// A machine that is gone is lost so much later. Its connection closes, so that the lease itself can be long: with that
/// reports of what goes on as before are rare, and this takes less time.
const LOST_AFTER: Duration = Duration::from_secs(15);
const LEASE: Duration = Duration::from_secs(90);
/// Far above what any test takes.
const LIMIT_MS: u64 = 24 * 3600 * 1000;

pub const DISCOVERED: Discovery = Discovery { manifest: Digest([1; 32]), tests: 0 };

/// Something that happens at its time.
pub enum Action {
    Report {
        machine: usize,
        report: Box<Report>,
    },
    Answer {
        machine: usize,
        sequence: u64,
        desired: Box<Desired>,
    },
    Contents {
        machine: usize,
        attempt: AttemptId,
        contents: Option<BundleContents>,
    },
    Planned {
        generation: Generation,
    },
    /// A machine's worker tells its executor something.
    Says {
        machine: usize,
        worker: WorkerId,
        event: WorkerEvent,
    },
    /// A machine's worker goes on, if that is still what it is at.
    Worker {
        machine: usize,
        worker: WorkerId,
        token: u64,
    },
    Wake {
        machine: usize,
    },
    Tick,
    Dies {
        machine: usize,
    },
}

pub struct Fleet {
    pub now: u64,
    queue: BTreeMap<(u64, u64), Action>,
    next_tie: u64,
    pub day: Day,
    pub scheduler: State,
    /// Who waits for an answer, to which of its reports.
    calls: BTreeMap<Call, (usize, u64)>,
    next_call: u64,
    tick: Option<u64>,
    pub machines: Vec<Machine>,
    /// When there were tests to run.
    planned: u64,
    happened: Happened,
}

#[derive(Default)]
pub struct Happened {
    pub makespan_ms: u64,
    pub bound_ms: u64,
    pub attempts: u32,
    /// Attempts that something was taken back of.
    pub moves: u32,
    pub copies: u32,
}

pub fn run() -> RunId {
    "r".parse().expect("a safe id")
}

impl Fleet {
    pub fn new(day: Day) -> Fleet {
        let settings = Settings { lease: LEASE, lease_closed: LOST_AFTER, ..Settings::default() };
        let machines = (0..SLOTS).map(Machine::new).collect();
        let happened = Happened { bound_ms: day.bound_ms(), ..Happened::default() };
        Fleet {
            now: 0,
            queue: BTreeMap::new(),
            next_tie: 0,
            day,
            scheduler: State::new(Epoch(1), settings),
            calls: BTreeMap::new(),
            next_call: 0,
            tick: None,
            machines,
            planned: 0,
            happened,
        }
    }

    pub fn play(mut self) -> Happened {
        self.step(Event::Submit { request: Call(0), spec: Box::new(spec()) });
        (0..SLOTS).for_each(|machine| self.wake_at(machine, 0));
        while let Some(((at, _), action)) = self.queue.pop_first() {
            self.now = at;
            self.act(action);
            if self.scheduler.runs[&run()].all_decided() && self.planned > 0 {
                self.happened.makespan_ms = self.now - self.planned;
                return self.happened;
            }
        }
        panic!("the run never ends");
    }

    pub fn after(&mut self, delay: u64, action: Action) {
        self.next_tie += 1;
        self.queue.insert((self.now + delay, self.next_tie), action);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Report { machine, report } => {
                self.next_call += 1;
                let call = Call(self.next_call);
                self.calls.insert(call, (machine, report.sequence));
                self.step(Event::Report { call, report });
            }
            Action::Answer { machine, sequence, desired } => self.answered(machine, sequence, desired),
            Action::Contents { machine, attempt, contents } => self.fetched(machine, attempt, contents),
            Action::Planned { generation } => self.plans(generation),
            Action::Says { machine, worker, event } => self.hears(machine, worker, event),
            Action::Worker { machine, worker, token } => self.worker_goes_on(machine, worker, token),
            Action::Wake { machine } => self.wakes(machine),
            Action::Tick => {
                self.tick = None;
                if self.scheduler.next_deadline().is_some_and(|at| at.0 <= self.now) {
                    self.step(Event::Tick);
                }
                self.arm();
            }
            // What it has said before is heard first.
            Action::Dies { machine } if self.machines[machine].alive => {
                self.machines[machine].alive = false;
                self.after(2 * LATENCY_MS, Action::Dies { machine });
            }
            Action::Dies { machine } => {
                let event = self.machines[machine].disconnected();
                self.step(event);
            }
        }
    }

    fn step(&mut self, event: Event) {
        let outcome = self.scheduler.step(Instant(self.now), event);
        for (_, fact) in &outcome.facts {
            match &fact.what {
                What::Assigned { copy, .. } => {
                    self.happened.attempts += 1;
                    self.happened.copies += u32::from(copy.is_some());
                }
                What::TakenBack { given, .. } => self.happened.moves += u32::from(*given > 0),
                _ => {}
            }
        }
        for effect in outcome.effects {
            self.perform(effect);
        }
        self.arm();
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { call, desired } => {
                let Some((machine, sequence)) = self.calls.remove(&call) else { return };
                self.after(LATENCY_MS, Action::Answer { machine, sequence, desired });
            }
            Effect::Drop { call } => drop(self.calls.remove(&call)),
            Effect::Plan { generation, .. } => self.after(0, Action::Planned { generation }),
            _ => {}
        }
    }

    fn arm(&mut self) {
        let Some(at) = self.scheduler.next_deadline().map(|at| at.0.max(self.now)) else { return };
        if self.tick.is_none_or(|tick| tick > at) {
            self.tick = Some(at);
            self.after(at - self.now, Action::Tick);
        }
    }

    /// From here on there is work, and machines are lost.
    fn plans(&mut self, generation: Generation) {
        self.planned = self.now;
        for machine in 0..SLOTS {
            if let Some(death) = self.day.deaths[machine] {
                self.after(death, Action::Dies { machine });
            }
        }
        let plan = Plan {
            environments: Vec::new(),
            manifest: Digest([2; 32]),
            bundles: self.day.bundles(),
            predicted_us: self.day.predicted_us.clone(),
            limits_ms: vec![LIMIT_MS; self.day.predicted_us.len()],
            relations: Vec::new(),
            unknown: Vec::new(),
            summary: PlanSummary::default(),
            empty_by_definition: false,
            fail_fast: None,
            to_judge: false,
            first: 0,
            moved: None,
        };
        self.step(Event::Planned { run: run(), generation, outcome: Ok(Box::new(plan)) });
    }

    pub fn sends(&mut self, machine: usize, report: Report) {
        self.after(LATENCY_MS, Action::Report { machine, report: Box::new(report) });
    }

    pub fn fetches(&mut self, machine: usize, attempt: AttemptId, generation: Generation) {
        let contents = self.scheduler.runs[&run()].contents(attempt, generation);
        self.after(2 * LATENCY_MS, Action::Contents { machine, attempt, contents });
    }
}

fn spec() -> RunSpec {
    let workspace = Workspace::Artifact { digest: Digest([3; 32]), directory: String::new() };
    RunSpec {
        owner: "benchmark".into(),
        project: "makespan".into(),
        early_start: false,
        ..RunSpec::new(run(), workspace)
    }
}
