//! A machine with an executor of one slot: the shell around its core, and a worker whose tests pass.

use std::collections::VecDeque;

use seagull_domain::{
    AttemptId, BundleContents, Desired, Instant, Outcome, SlotIndex, TestIndex, TestResult,
};
use seagull_executor_core::{Effect, Event, Exit, Failure, Settings, State, WorkerEvent, WorkerId};

use crate::day::BUNDLE_MS;
use crate::fleet::{Action, DISCOVERED, Fleet};

const SLOT: SlotIndex = SlotIndex(0);
/// Results are reported at most this often.
const RESULTS_MS: u64 = 1000;

pub struct Machine {
    core: State,
    pub alive: bool,
    /// The report that waits for its answer, and whether it delivers results.
    call: Option<(u64, bool)>,
    urgent: bool,
    results: bool,
    last: Option<u64>,
    timer: Option<u64>,
    worker: Option<Worker>,
}

struct Worker {
    id: WorkerId,
    queue: VecDeque<(AttemptId, TestIndex)>,
    stage: Stage,
    /// Whose bundle it has paid for.
    attempt: Option<AttemptId>,
    finishing: bool,
    token: u64,
}

#[derive(Clone, Copy)]
enum Stage {
    Idle,
    /// What a bundle costs before its first test.
    SettingUp(TestIndex),
    Running(TestIndex, u64),
}

impl Machine {
    pub fn new(number: usize) -> Machine {
        let executor = format!("e{number:03}").parse().expect("a safe id");
        let settings = Settings::default();
        Machine {
            core: State::new(executor, "b".parse().expect("a safe id"), 1, settings),
            alive: true,
            call: None,
            urgent: true,
            results: false,
            last: None,
            timer: None,
            worker: None,
        }
    }

    /// What the scheduler hears of its end.
    pub fn disconnected(&self) -> seagull_scheduler_core::Event {
        let (executor, boot, sequence) =
            (self.core.executor.clone(), self.core.boot.clone(), self.core.sequence);
        seagull_scheduler_core::Event::Disconnected { executor, boot, sequence }
    }

    /// When a report is due.
    fn due(&self, now: u64) -> Option<u64> {
        match (self.urgent, self.results, self.call) {
            (.., Some((_, true))) => None,
            (true, ..) | (false, false, None) => Some(now),
            (false, true, _) => Some(self.last.map_or(now, |last| now.max(last + RESULTS_MS))),
            (false, false, Some(_)) => None,
        }
    }
}

impl Fleet {
    fn machine_step(&mut self, machine: usize, event: Event) {
        if !self.machines[machine].alive {
            return;
        }
        let effects = self.machines[machine].core.step(Instant(self.now), event);
        for effect in effects {
            self.perform_for(machine, effect);
        }
        self.arm_machine(machine);
    }

    fn perform_for(&mut self, machine: usize, effect: Effect) {
        let state = &mut self.machines[machine];
        match effect {
            Effect::Report { results_only: true } => state.results = true,
            Effect::Report { results_only: false } => state.urgent = true,
            Effect::Fetch { attempt, generation, .. } => self.fetches(machine, attempt, generation),
            Effect::Start(start) => {
                let (id, queue) = (start.worker, VecDeque::new());
                let stage = Stage::Idle;
                let worker = Worker { id, queue, stage, attempt: None, finishing: false, token: 0 };
                state.worker = Some(worker);
                self.says(machine, WorkerEvent::Ready { grace_ms: 10_000 });
                if start.discover {
                    self.says(machine, WorkerEvent::Discovered(DISCOVERED));
                }
            }
            Effect::Feed { attempt, tests, .. } => {
                let Some(worker) = &mut state.worker else { return };
                worker.queue.extend(tests.into_iter().map(|test| (attempt, test)));
                if matches!(worker.stage, Stage::Idle) {
                    self.goes_on(machine);
                }
            }
            Effect::Finish { .. } => {
                let Some(worker) = &mut state.worker else { return };
                worker.finishing = true;
                if matches!(worker.stage, Stage::Idle) {
                    self.ends(machine);
                }
            }
            Effect::Interrupt { .. } => {
                let test = state.worker.as_ref().and_then(|worker| match worker.stage {
                    Stage::Running(test, _) => Some(test),
                    _ => None,
                });
                self.says(machine, WorkerEvent::Interrupted { test, failure: Failure::default() });
                self.ends(machine);
            }
            Effect::Kill { .. } => self.ends(machine),
            Effect::Reset { .. } | Effect::Node { .. } | Effect::Left => {}
        }
    }

    /// What a worker says is heard once the executor is done with what it is at.
    fn says(&mut self, machine: usize, event: WorkerEvent) {
        let Some(worker) = self.machines[machine].worker.as_ref().map(|worker| worker.id) else { return };
        self.after(0, Action::Says { machine, worker, event });
    }

    pub fn hears(&mut self, machine: usize, worker: WorkerId, event: WorkerEvent) {
        self.machine_step(machine, Event::Worker { slot: SLOT, worker, event });
    }

    fn ends(&mut self, machine: usize) {
        self.says(machine, WorkerEvent::Ended { exit: None });
        self.says(machine, WorkerEvent::Exited(Exit::of("exit code 0")));
        self.machines[machine].worker = None;
    }

    /// To the next test, or to rest.
    fn goes_on(&mut self, machine: usize) {
        let Some(worker) = &mut self.machines[machine].worker else { return };
        let Some((attempt, test)) = worker.queue.pop_front() else {
            worker.stage = Stage::Idle;
            let finishing = worker.finishing;
            return if finishing {
                self.ends(machine)
            } else {
                self.says(machine, WorkerEvent::Next { failed: false, peak_kib: 0 })
            };
        };
        if worker.attempt.replace(attempt) == Some(attempt) {
            return self.begins(machine, test);
        }
        worker.stage = Stage::SettingUp(test);
        self.says(machine, WorkerEvent::Collecting);
        self.worker_in(machine, BUNDLE_MS);
    }

    fn begins(&mut self, machine: usize, test: TestIndex) {
        let takes_ms = (self.day.actual_ms[test.0 as usize] / self.day.speeds[machine]).round() as u64;
        if let Some(worker) = &mut self.machines[machine].worker {
            worker.stage = Stage::Running(test, takes_ms);
        }
        self.says(machine, WorkerEvent::Started(test));
        self.worker_in(machine, takes_ms);
    }

    fn worker_in(&mut self, machine: usize, delay: u64) {
        let Some(state) = &mut self.machines[machine].worker else { return };
        state.token += 1;
        let (worker, token) = (state.id, state.token);
        self.after(delay, Action::Worker { machine, worker, token });
    }

    pub fn worker_goes_on(&mut self, machine: usize, id: WorkerId, token: u64) {
        let Machine { worker, alive, .. } = &self.machines[machine];
        let current = worker.as_ref().filter(|worker| *alive && (worker.id, worker.token) == (id, token));
        match current.map(|worker| worker.stage) {
            Some(Stage::SettingUp(test)) => {
                self.says(machine, WorkerEvent::FileCollected);
                self.begins(machine, test);
            }
            Some(Stage::Running(test, takes_ms)) => {
                self.says(machine, WorkerEvent::Finished(passed(test, takes_ms)));
                self.goes_on(machine);
            }
            Some(Stage::Idle) | None => {}
        }
    }

    pub fn answered(&mut self, machine: usize, sequence: u64, desired: Box<Desired>) {
        let state = &mut self.machines[machine];
        state.call = state.call.filter(|(of, _)| *of != sequence);
        self.machine_step(machine, Event::Desired(desired));
    }

    pub fn fetched(&mut self, machine: usize, attempt: AttemptId, contents: Option<BundleContents>) {
        if let Some(contents) = contents {
            self.machine_step(machine, Event::Contents { attempt, contents });
        }
    }

    pub fn wake_at(&mut self, machine: usize, at: u64) {
        let state = &mut self.machines[machine];
        if state.timer.is_none_or(|timer| timer > at) {
            state.timer = Some(at);
            self.after(at - self.now, Action::Wake { machine });
        }
    }

    /// Has the machine woken when its core or its next report is due.
    fn arm_machine(&mut self, machine: usize) {
        let state = &self.machines[machine];
        let core = state.core.next_deadline().map(|at| at.0);
        if let Some(at) = core.into_iter().chain(state.due(self.now)).min() {
            self.wake_at(machine, at.max(self.now));
        }
    }

    pub fn wakes(&mut self, machine: usize) {
        let (now, state) = (self.now, &mut self.machines[machine]);
        state.timer = None;
        if !state.alive {
            return;
        }
        if state.core.next_deadline().is_some_and(|at| at.0 <= now) {
            self.machine_step(machine, Event::Tick);
        }
        let state = &mut self.machines[machine];
        if state.due(now).is_some_and(|at| at <= now) {
            state.core.close_batches();
            let report = state.core.next_report();
            state.call = Some((report.sequence, !report.batches.is_empty()));
            (state.urgent, state.results, state.last) = (false, false, Some(now));
            self.sends(machine, report);
        }
        self.arm_machine(machine);
    }
}

fn passed(test: TestIndex, millis: u64) -> TestResult {
    TestResult {
        cpu_us: 0,
        test,
        ordinal: 0,
        last: true,
        outcome: Outcome::Passed,
        detail: String::new(),
        cause: None,
        phases: [0, millis * 1000, 0],
        peak_kib: 0,
        started_at: 0,
        message: String::new(),
        location: String::new(),
        text: None,
    }
}
