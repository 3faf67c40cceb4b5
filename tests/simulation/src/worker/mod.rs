//! Scripted workers: what stands in for a framework's process. What they do is recorded as it physically happens.

mod orders;
mod plays;

use std::collections::{BTreeSet, VecDeque};

use seagull_domain::{AttemptId, EnvironmentNumber, InfraCause, Sickness, SlotIndex, TestIndex};
use seagull_executor_core::{NodeOrder, Start, WorkerEvent, WorkerId};

use crate::machines::Sick;
use crate::physical::WorkerLife;
use crate::plant::Plant;
use crate::world::{Action, World};

/// Tests of one file.
const FILE: u32 = 10;

#[derive(Debug, Clone)]
pub enum Order {
    Feed {
        attempt: AttemptId,
        tests: Vec<TestIndex>,
    },
    Node(NodeOrder),
    /// Its services are made clean then.
    Reset,
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
    /// It has been given tests.
    fed: bool,
    /// It has finished a test.
    worked: bool,
    /// So many.
    ran: u64,
    /// Nothing more will come.
    finishing: bool,
    interrupted: bool,
    /// A kill is on its way.
    doomed: bool,
    /// Its kernel killed it for want of memory.
    over_memory: bool,
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
    /// Not ready before its controller has configured it.
    Unconfigured,
    Discovering,
    /// Ready, and its session starts.
    Opening {
        dies: bool,
    },
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
    /// Of itself, before it came to any of the tests it has.
    Unused,
    /// Of a test's execution.
    Of(usize),
    Other,
}

/// Which worker: agent and slot; its number guards against an earlier one of the slot.
pub type Place = (usize, SlotIndex);

impl World {
    /// The environment that a worker's sandbox is made for.
    fn environment_of(&self, start: &Start) -> EnvironmentNumber {
        match self.plant {
            Some(Plant::EnvironmentIgnored) => EnvironmentNumber::default(),
            _ => start.surroundings.environment,
        }
    }

    pub fn start_worker(&mut self, agent: usize, start: &Start) {
        let (slot, id) = (start.slot, start.worker);
        if self.mishap(7) {
            self.census.count("fault: worker not started");
            return self.not_started((agent, slot), id, InfraCause::SandboxFailed, "no room for a sandbox");
        }
        if let Some(sick) = self.sick(agent, Sickness::NothingStarts) {
            self.census.count("fault: worker not started on a sick machine");
            let cause =
                if sick.at_once { InfraCause::ArtifactUnavailable } else { InfraCause::SandboxFailed };
            return self.not_started((agent, slot), id, cause, "the disk is full");
        }
        if start.surroundings.environment != EnvironmentNumber::default() {
            self.census.count("met: worker of a named environment");
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
            environment: self.environment_of(start),
            larger: start.surroundings.larger,
            attempt: start.attempt,
            start: self.now,
            end: None,
            broke: false,
            suite_errors: 0,
            discovery_told: false,
            configured: None,
            cleaned: Vec::new(),
        });
        let life = self.physical.workers.len() - 1;
        let dies = self.mishap(7);
        let worker = Worker {
            id,
            life,
            run,
            whole: start.whole,
            discovers: start.discover,
            stage: Stage::Starting { dies },
            queue: VecDeque::new(),
            collected: BTreeSet::new(),
            fed: false,
            worked: false,
            ran: 0,
            finishing: false,
            interrupted: false,
            doomed: false,
            over_memory: false,
            exited_by: None,
            token: 0,
        };
        self.log(|| format!("    agent {agent} slot {slot} starts worker {life}: {start:?}"));
        let before = self.agents[agent].workers.insert(slot, worker);
        assert!(before.is_none(), "a worker was started in a slot that has one");
        if self.mishap(7) {
            self.census.count("fault: worker stuck at start");
        } else {
            let delay = self.random.within(50..=500);
            self.worker_timer((agent, slot), delay);
        }
    }

    fn not_started(&mut self, (agent, slot): Place, worker: WorkerId, cause: InfraCause, why: &str) {
        let event = WorkerEvent::NotStarted(cause, why.into());
        self.after(20, Action::Says { agent, slot, worker, event });
    }

    /// What an agent's machine has, if it has the sickness now.
    fn sick(&self, agent: usize, sickness: Sickness) -> Option<Sick> {
        let name = &self.physical.agents[agent].executor;
        let plan = self.scenario.executors.iter().find(|plan| plan.name == *name);
        let sick = plan.and_then(|plan| plan.sick).filter(|sick| sick.sickness == sickness);
        sick.filter(|sick| (sick.from..sick.until).contains(&self.now))
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
            Stage::Starting { dies: false } if self.scenario.runs[worker.run].controlled => {
                self.say(place, WorkerEvent::NodeWaits);
                self.enter(place, Stage::Unconfigured, None);
            }
            Stage::Starting { dies: false } => self.is_ready(place),
            Stage::Discovering => self.has_discovered(place),
            Stage::Opening { dies: true } => {
                self.census.count("fault: worker died in session start");
                let (fed, doomed) = (self.at(place).fed, self.at(place).doomed);
                self.life(place).suite_errors += u32::from(!fed && !doomed);
                self.dies(place, if fed { Death::Unused } else { Death::Idle });
            }
            Stage::Opening { dies: false } => self.goes_on(place),
            Stage::Idle => {
                self.census.count("fault: worker died idle");
                let doomed = self.at(place).doomed;
                self.life(place).suite_errors += u32::from(!doomed);
                self.dies(place, Death::Idle);
            }
            Stage::Collecting(_, _, Some(execution)) => {
                self.census.count("fault: worker crashed collecting");
                self.crashes(place, execution);
            }
            Stage::Collecting(attempt, test, None) => {
                self.say(place, WorkerEvent::FileCollected);
                self.begins(place, attempt, test);
            }
            Stage::Calling(execution) => self.has_called(place, execution),
            Stage::Waiting(execution) => self.enter(place, Stage::TearingDown(execution), Some(1)),
            Stage::TearingDown(execution) => self.has_torn_down(place, execution),
            Stage::Finishing(finish) => self.has_finished(place, finish),
            Stage::Unconfigured | Stage::Dead(_) => {}
        }
    }
}
