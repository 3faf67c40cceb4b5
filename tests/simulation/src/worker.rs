//! Scripted workers: what stands in for a framework's process. What they do is recorded as it physically happens.

use std::collections::{BTreeSet, VecDeque};

use seagull_domain::{
    AttemptId, Digest, Discovery as Discovered, Outcome, Role, SlotIndex, SuiteError, TestIndex, TestResult,
};
use seagull_executor_core::{Exit, Start, WorkerEvent, WorkerId};

use crate::physical::{Ended, Execution, WorkerLife};
use crate::scenario::{Discovery, Does};
use crate::world::{Action, World};

/// Tests of one file.
const FILE: u32 = 10;

#[derive(Debug, Clone)]
pub enum Order {
    Feed { attempt: AttemptId, tests: Vec<TestIndex> },
    Finish,
    Interrupt,
    Kill,
}

pub struct Worker {
    pub id: WorkerId,
    /// Its place in the physical record.
    life: usize,
    run: usize,
    whole: bool,
    discovers: bool,
    stage: Stage,
    queue: VecDeque<(AttemptId, TestIndex)>,
    collected: BTreeSet<u32>,
    /// Nothing more will come.
    finishing: bool,
    interrupted: bool,
    /// The execution that ended its session.
    exited_by: Option<usize>,
    /// Of the timer that counts; earlier ones are void.
    token: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting {
        dies: bool,
    },
    Discovering,
    Idle,
    /// Collecting the file of a test; the execution that this will end, if it does.
    Collecting(AttemptId, TestIndex, Option<usize>),
    /// In the call phase of an execution.
    Calling(usize),
    /// The call phase is over, but not what comes next is known.
    Waiting(usize),
    TearingDown(usize),
    /// Its session ends, or it hangs in that.
    Finishing(Finish),
    /// The process is gone.
    Dead(Death),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    Clean,
    WithError,
    Dies,
    Hangs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// Of itself, with nothing to do.
    Idle,
    /// Of a test's execution.
    Of(usize),
    Other,
}

/// Which worker: agent and slot; its number guards against an earlier one of the slot.
type Place = (usize, SlotIndex);

impl World {
    pub fn start_worker(&mut self, agent: usize, start: &Start) {
        let (slot, id) = (start.slot, start.worker);
        if self.random.chance(4) {
            self.census.count("fault: worker not started");
            let event = WorkerEvent::NotStarted("no room for a sandbox".into());
            return self.after(20, Action::Says { agent, slot, worker: id, event });
        }
        if start.whole && !start.discover {
            self.census.count("met: worker for a whole collection");
        }
        let run = self.run_index(&start.run);
        self.physical.workers.push(WorkerLife {
            run,
            agent,
            slot,
            number: start.number,
            attempt: start.attempt,
            start: self.now,
            end: None,
            broke: false,
            suite_errors: 0,
            discovery_told: false,
        });
        let life = self.physical.workers.len() - 1;
        let dies = self.random.chance(5);
        let worker = Worker {
            id,
            life,
            run,
            whole: start.whole,
            discovers: start.discover,
            stage: Stage::Starting { dies },
            queue: VecDeque::new(),
            collected: BTreeSet::new(),
            finishing: false,
            interrupted: false,
            exited_by: None,
            token: 0,
        };
        self.log(|| format!("    agent {agent} slot {slot} starts worker {life}: {start:?}"));
        let before = self.agents[agent].workers.insert(slot, worker);
        assert!(before.is_none(), "a worker was started in a slot that has one");
        if self.random.chance(7) {
            self.census.count("fault: worker stuck at start");
        } else {
            let delay = self.random.within(50..=500);
            self.worker_timer((agent, slot), delay);
        }
    }

    fn at(&mut self, place: Place) -> &mut Worker {
        self.agents[place.0].workers.get_mut(&place.1).expect("a worker that acts is there")
    }

    fn life(&mut self, place: Place) -> &mut WorkerLife {
        let life = self.at(place).life;
        &mut self.physical.workers[life]
    }

    fn worker_timer(&mut self, place: Place, delay: u64) {
        let worker = self.at(place);
        worker.token += 1;
        let (token, id) = (worker.token, worker.id);
        self.after(delay, Action::Worker { agent: place.0, slot: place.1, worker: id, token });
    }

    /// Enters a stage, and leaves it after `delay` unless something else comes first.
    fn enter(&mut self, place: Place, stage: Stage, delay: Option<u64>) {
        let worker = self.at(place);
        worker.stage = stage;
        worker.token += 1;
        if let Some(delay) = delay {
            self.worker_timer(place, delay);
        }
    }

    fn say(&mut self, place: Place, event: WorkerEvent) {
        let worker = self.at(place).id;
        self.after(0, Action::Says { agent: place.0, slot: place.1, worker, event });
    }

    pub fn worker_says(&mut self, agent: usize, slot: SlotIndex, worker: WorkerId, event: WorkerEvent) {
        if matches!(event, WorkerEvent::Exited(_))
            && self.agents[agent].workers.get(&slot).is_some_and(|of| of.id == worker)
        {
            self.agents[agent].workers.remove(&slot);
        }
        self.log(|| format!("    agent {agent} slot {slot} hears {:.120}", format!("{event:?}")));
        self.agent_step(agent, seagull_executor_core::Event::Worker { slot, worker, event });
    }

    pub fn worker_goes_on(&mut self, agent: usize, slot: SlotIndex, id: WorkerId, token: u64) {
        let place = (agent, slot);
        let current = self.agents[agent].workers.get(&slot).filter(|w| w.id == id && w.token == token);
        let Some(worker) = current else { return };
        match worker.stage {
            Stage::Starting { dies: true } => {
                self.census.count("fault: worker died before it was ready");
                self.dies(place, Death::Other);
            }
            Stage::Starting { dies: false } => self.is_ready(place),
            Stage::Discovering => self.has_discovered(place),
            Stage::Idle => {
                self.census.count("fault: worker died idle");
                self.life(place).suite_errors += 1;
                self.dies(place, Death::Idle);
            }
            Stage::Collecting(_, _, Some(execution)) => {
                self.census.count("fault: worker crashed collecting");
                self.crashes(place, execution);
            }
            Stage::Collecting(attempt, test, None) => self.begins(place, attempt, test),
            Stage::Calling(execution) => self.has_called(place, execution),
            Stage::Waiting(execution) => self.enter(place, Stage::TearingDown(execution), Some(1)),
            Stage::TearingDown(execution) => self.has_torn_down(place, execution),
            Stage::Finishing(finish) => self.has_finished(place, finish),
            Stage::Dead(_) => {}
        }
    }

    fn is_ready(&mut self, place: Place) {
        let run = self.at(place).run;
        let grace_ms = self.scenario.runs[run].spec.grace_ms;
        self.say(place, WorkerEvent::Ready { grace_ms });
        if self.at(place).discovers {
            let delay = self.random.within(50..=2000);
            self.enter(place, Stage::Discovering, Some(delay));
        } else {
            self.goes_on(place);
        }
    }

    fn has_discovered(&mut self, place: Place) {
        let run = self.at(place).run;
        self.life(place).discovery_told = true;
        match self.scenario.runs[run].discovery {
            Discovery::Succeeds => {
                let tests = self.scenario.runs[run].tests.len() as u32;
                self.say(place, WorkerEvent::Discovered(Discovered { manifest: Digest([2; 32]), tests }));
                self.goes_on(place);
            }
            Discovery::Fails => {
                self.say(place, WorkerEvent::DiscoveryFailed("conftest.py: no module named x".into()));
                self.finishes(place);
            }
            Discovery::Dies => {
                self.life(place).suite_errors += 1;
                self.dies(place, Death::Other);
            }
        }
    }

    /// To the next test that it finds, or to rest.
    fn goes_on(&mut self, place: Place) {
        while let Some((attempt, test)) = self.at(place).queue.pop_front() {
            if self.finds(place, test) {
                return self.collects(place, attempt, test);
            }
            self.census.count("fault: test missing");
            self.say(place, WorkerEvent::Missing { test, reason: "not collected".into() });
        }
        if self.at(place).finishing {
            return self.finishes(place);
        }
        self.say(place, WorkerEvent::Next);
        let dies_in = self.random.chance(8).then_some(300);
        self.enter(place, Stage::Idle, dies_in);
    }

    fn finds(&mut self, place: Place, test: TestIndex) -> bool {
        let (run, whole) = (self.at(place).run, self.at(place).whole);
        match self.scenario.runs[run].tests[test.0 as usize].does {
            Does::IsNowhere => false,
            Does::IsMissingOn(executor) => {
                self.scenario.executors[executor].name != self.physical.agents[place.0].executor
            }
            Does::NeedsWholeCollection => whole,
            _ => true,
        }
    }

    fn collects(&mut self, place: Place, attempt: AttemptId, test: TestIndex) {
        let file = test.0 / FILE;
        let run = self.at(place).run;
        let crashes = self.scenario.runs[run].tests[test.0 as usize].does == Does::CrashesCollection;
        if self.at(place).collected.insert(file) || crashes {
            let execution = crashes.then(|| self.begin_execution(place, attempt, test));
            let delay = self.random.within(1..=40);
            self.enter(place, Stage::Collecting(attempt, test, execution), Some(delay));
        } else {
            self.begins(place, attempt, test);
        }
    }

    fn begins(&mut self, place: Place, attempt: AttemptId, test: TestIndex) {
        let execution = self.begin_execution(place, attempt, test);
        self.say(place, WorkerEvent::Started(test));
        let script = &self.scenario.runs[self.physical.executions[execution].run].tests[test.0 as usize];
        let delay = (script.does != Does::Hangs).then_some(script.duration_ms);
        self.enter(place, Stage::Calling(execution), delay);
    }

    fn begin_execution(&mut self, place: Place, attempt: AttemptId, test: TestIndex) -> usize {
        let (run, worker) = (self.at(place).run, self.at(place).life);
        let role = self.agents[place.0].roles.get(&(attempt, test)).copied().unwrap_or(Role::Run);
        *self.begun.entry((run, test.0)).or_default() += 1;
        let (agent, start) = (place.0, self.now);
        let execution =
            Execution { run, test, role, attempt, agent, worker, start, end: None, ended: Ended::Not };
        self.log(|| {
            format!("    agent {agent} worker {worker} begins {test} ({role:?}) of attempt {attempt}")
        });
        self.physical.executions.push(execution);
        self.physical.executions.len() - 1
    }

    fn end_execution(&mut self, execution: usize, ended: Ended) {
        let execution = &mut self.physical.executions[execution];
        (execution.end, execution.ended) = (Some(self.now), ended);
    }

    fn has_called(&mut self, place: Place, execution: usize) {
        let Execution { run, test, .. } = self.physical.executions[execution];
        let nothing_next = self.at(place).queue.is_empty() && !self.at(place).finishing;
        match self.scenario.runs[run].tests[test.0 as usize].does {
            Does::CrashesWorker => {
                self.census.count("fault: worker crashed by a test");
                self.crashes(place, execution);
            }
            Does::ExitsSession => {
                self.census.count("fault: session ended by a test");
                self.ends_by_itself(place, execution);
                self.at(place).exited_by = Some(execution);
                self.life(place).broke = true;
                self.say(place, WorkerEvent::Interrupted { test: Some(test), message: "exit".into() });
                self.finishes(place);
            }
            _ if nothing_next => {
                self.say(place, WorkerEvent::Next);
                self.enter(place, Stage::Waiting(execution), Some(1000));
            }
            _ => self.enter(place, Stage::TearingDown(execution), Some(1)),
        }
    }

    fn crashes(&mut self, place: Place, execution: usize) {
        if self.ends_by_itself(place, execution) {
            self.life(place).suite_errors += 1;
        }
        self.dies(place, Death::Of(execution));
    }

    /// Says whether an interrupt is on its way, which takes the blame.
    fn ends_by_itself(&mut self, place: Place, execution: usize) -> bool {
        let interrupted = self.at(place).interrupted;
        let ended = if interrupted { Ended::Interrupted } else { Ended::With(Outcome::Failed) };
        self.end_execution(execution, ended);
        interrupted
    }

    fn has_torn_down(&mut self, place: Place, execution: usize) {
        let Execution { run, test, .. } = self.physical.executions[execution];
        let script = &self.scenario.runs[run].tests[test.0 as usize];
        let outcome = match script.does {
            Does::Always(outcome) => outcome,
            Does::FailsFirst(times) if self.begun[&(run, test.0)] <= times => Outcome::Failed,
            _ => Outcome::Passed,
        };
        let result = TestResult {
            test,
            ordinal: 0,
            last: true,
            outcome,
            detail: String::new(),
            cause: (outcome == Outcome::Failed).then_some(seagull_domain::TestCause::Assertion),
            phases: [0, script.duration_ms * 1000, 0],
            peak_kib: 0,
            message: String::new(),
            location: String::new(),
            text: None,
        };
        self.end_execution(execution, Ended::With(outcome));
        self.say(place, WorkerEvent::Finished(result));
        self.goes_on(place);
    }

    fn finishes(&mut self, place: Place) {
        let finish = match self.random.within(0..=99) {
            0 | 1 => Finish::Hangs,
            2 => Finish::WithError,
            3 => Finish::Dies,
            _ => Finish::Clean,
        };
        let delay = self.random.within(1..=100);
        self.enter(place, Stage::Finishing(finish), (finish != Finish::Hangs).then_some(delay));
    }

    fn has_finished(&mut self, place: Place, finish: Finish) {
        match finish {
            Finish::Dies => {
                self.census.count("fault: worker died finishing");
                self.life(place).suite_errors += 1;
                return self.dies(place, Death::Other);
            }
            Finish::WithError => {
                self.census.count("fault: session finish failed");
                self.life(place).suite_errors += 1;
                let error = SuiteError { title: "session finish".into(), message: String::new(), text: None };
                self.say(place, WorkerEvent::SuiteError(error));
            }
            Finish::Clean | Finish::Hangs => {}
        }
        self.say(place, WorkerEvent::Ended);
        self.is_gone(place, 0);
    }

    /// The process ends in a way that nothing announced.
    fn dies(&mut self, place: Place, death: Death) {
        self.life(place).broke = true;
        self.enter(place, Stage::Dead(death), None);
        self.is_gone(place, 0);
    }

    /// The whole tree is gone after `delay`, and its agent hears of it a little later.
    fn is_gone(&mut self, place: Place, delay: u64) {
        if !matches!(self.at(place).stage, Stage::Dead(_)) {
            self.enter(place, Stage::Dead(Death::Other), None);
        }
        self.life(place).end = Some(self.now + delay);
        let worker = self.at(place).id;
        let event = WorkerEvent::Exited(Exit { how: "some way".into(), text: None });
        self.after(delay + 1, Action::Says { agent: place.0, slot: place.1, worker, event });
    }

    pub fn order_arrives(&mut self, agent: usize, slot: SlotIndex, id: WorkerId, order: Order) {
        if self.agents[agent].workers.get(&slot).is_none_or(|w| w.id != id) {
            return;
        }
        let place = (agent, slot);
        let stage = self.at(place).stage;
        match order {
            Order::Feed { attempt, tests } => self.is_fed(place, attempt, &tests),
            Order::Finish => {
                self.at(place).finishing = true;
                match stage {
                    Stage::Idle => self.finishes(place),
                    Stage::Waiting(execution) => self.enter(place, Stage::TearingDown(execution), Some(1)),
                    _ => {}
                }
            }
            Order::Interrupt => self.is_interrupted(place),
            Order::Kill => self.is_killed(place),
        }
    }

    fn is_fed(&mut self, place: Place, attempt: AttemptId, tests: &[TestIndex]) {
        self.at(place).queue.extend(tests.iter().map(|test| (attempt, *test)));
        match self.at(place).stage {
            Stage::Idle => self.goes_on(place),
            Stage::Waiting(execution) => self.enter(place, Stage::TearingDown(execution), Some(1)),
            _ => {}
        }
    }

    /// An interrupt is on its way. If the worker has just died of a test, or will before it hears, nobody can tell
    /// which of the two it was.
    pub fn will_be_interrupted(&mut self, agent: usize, slot: SlotIndex) {
        let Some(worker) = self.agents[agent].workers.get_mut(&slot) else { return };
        worker.interrupted = true;
        let (stage, exited_by) = (worker.stage, worker.exited_by);
        if let Stage::Dead(Death::Of(execution)) = stage {
            self.end_execution(execution, Ended::Interrupted);
            self.life((agent, slot)).suite_errors += 1;
        }
        if let Some(execution) = exited_by {
            self.end_execution(execution, Ended::Interrupted);
        }
    }

    /// Tests are on their way to a worker that has died with nothing to do: from outside, it died of the first.
    pub fn will_be_fed(&mut self, agent: usize, slot: SlotIndex, attempt: AttemptId, test: TestIndex) {
        let worker = self.agents[agent].workers.get(&slot);
        if worker.is_some_and(|worker| worker.stage == Stage::Dead(Death::Idle)) {
            let place = (agent, slot);
            let execution = self.begin_execution(place, attempt, test);
            self.physical.unlucky.insert((self.physical.executions[execution].run, test));
            self.end_execution(execution, Ended::With(Outcome::Failed));
            self.life(place).suite_errors -= 1;
            self.at(place).stage = Stage::Dead(Death::Of(execution));
        }
    }

    fn is_interrupted(&mut self, place: Place) {
        let execution = match self.at(place).stage {
            Stage::Starting { .. } => return self.dies(place, Death::Other),
            Stage::Discovering | Stage::Idle => None,
            Stage::Collecting(_, _, execution) => execution,
            Stage::Calling(execution) | Stage::Waiting(execution) | Stage::TearingDown(execution) => {
                Some(execution)
            }
            Stage::Finishing(_) | Stage::Dead(_) => return,
        };
        let test = execution.map(|execution| self.physical.executions[execution].test);
        if let (Some(execution), Some(test)) = (execution, test) {
            let run = self.at(place).run;
            if self.scenario.runs[run].tests[test.0 as usize].does == Does::Hangs {
                return; // It does not listen.
            }
            self.census.count("fault: test interrupted");
            self.end_execution(execution, Ended::Interrupted);
        }
        self.life(place).broke = true;
        self.say(place, WorkerEvent::Interrupted { test, message: "interrupted".into() });
        self.finishes(place);
    }

    fn is_killed(&mut self, place: Place) {
        let interrupted = self.at(place).interrupted;
        match self.at(place).stage {
            Stage::Dead(_) => return,
            Stage::Calling(execution) | Stage::Waiting(execution) | Stage::TearingDown(execution)
                if !interrupted =>
            {
                self.census.count("fault: worker killed at a limit");
                let Execution { run, test, worker, .. } = self.physical.executions[execution];
                let hangs = self.scenario.runs[run].tests[test.0 as usize].does == Does::Hangs;
                let stood_still = self.agents[place.0].paused_until > self.physical.workers[worker].start;
                if !hangs && stood_still {
                    self.physical.unlucky.insert((run, test));
                    self.end_execution(execution, Ended::Killed);
                } else {
                    self.end_execution(execution, Ended::With(Outcome::Failed));
                }
            }
            Stage::Calling(execution) => {
                self.end_execution(execution, Ended::Interrupted);
                self.killed_at_grace(place);
            }
            Stage::Finishing(_) => self.killed_at_grace(place),
            _ => {}
        }
        self.life(place).broke = true;
        let delay = self.random.within(0..=600);
        self.is_gone(place, delay);
    }

    fn killed_at_grace(&mut self, place: Place) {
        self.census.count("fault: worker killed at the grace");
        self.life(place).suite_errors += 1;
    }

    /// A machine takes its workers along, within a second.
    pub fn workers_die_with(&mut self, agent: usize) {
        for (_, worker) in std::mem::take(&mut self.agents[agent].workers) {
            let end = self.now + self.random.within(0..=800);
            let life = &mut self.physical.workers[worker.life];
            life.end = life.end.or(Some(end));
            life.broke = true;
            if let Stage::Calling(execution)
            | Stage::Waiting(execution)
            | Stage::TearingDown(execution)
            | Stage::Collecting(_, _, Some(execution)) = worker.stage
            {
                let execution = &mut self.physical.executions[execution];
                (execution.end, execution.ended) = (Some(end), Ended::Gone);
            }
        }
    }
}
