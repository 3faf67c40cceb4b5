//! Virtual time: the queue of what happens next, and the faults that are due.

use std::collections::BTreeMap;
use std::io::Write;

use seagull_domain::{Digest, Generation, RunId, Seq, SlotIndex};
use seagull_executor_core::{WorkerEvent, WorkerId};

use crate::agent::Agent;
use crate::census::Census;
use crate::client::Client;
use crate::journal::Journal;
use crate::network::{ToAgent, ToScheduler};
use crate::physical::Physical;
use crate::plant::Plant;
use crate::random::Random;
use crate::scenario::{Fault, Scenario};
use crate::scheduler::Life;
use crate::worker::Order;

/// A history of more than this hangs.
const MOST_ACTIONS: u64 = 2_000_000;
/// For what is left over when all has ended.
const LOOKS_EVERY_MS: u64 = 10;

/// Something that happens at its time.
pub enum Action {
    /// To the scheduler's process that had this epoch when it was sent.
    ToScheduler {
        epoch: u64,
        message: ToScheduler,
    },
    ToAgent {
        agent: usize,
        message: ToAgent,
    },
    /// A worker tells its agent something.
    Says {
        agent: usize,
        slot: SlotIndex,
        worker: WorkerId,
        event: WorkerEvent,
    },
    /// An agent tells its worker something.
    Order {
        agent: usize,
        slot: SlotIndex,
        worker: WorkerId,
        order: Order,
    },
    Worker {
        agent: usize,
        slot: SlotIndex,
        worker: WorkerId,
        token: u64,
    },
    AgentTimer {
        agent: usize,
    },
    CallTimeout {
        agent: usize,
        transport: u64,
    },
    FetchTimeout {
        agent: usize,
        attempt: seagull_domain::AttemptId,
        generation: Generation,
    },
    Boot {
        executor: usize,
    },
    Fault(Fault),
    SchedulerTimer {
        epoch: u64,
    },
    SchedulerStarts,
    Committed {
        epoch: u64,
        seq: Seq,
    },
    Planned {
        epoch: u64,
        run: RunId,
        generation: Generation,
        anticipated: Option<Digest>,
    },
    Anticipated {
        epoch: u64,
        run: RunId,
    },
    Archived {
        epoch: u64,
        run: RunId,
    },
    Client {
        run: usize,
    },
}

impl Action {
    /// Whether it makes the scheduler's loop turn.
    fn is_of_scheduler(&self) -> bool {
        matches!(
            self,
            Action::ToScheduler { .. }
                | Action::SchedulerTimer { .. }
                | Action::Planned { .. }
                | Action::Anticipated { .. }
                | Action::Archived { .. }
                | Action::Committed { .. }
        )
    }
}

pub struct World {
    pub now: u64,
    queue: BTreeMap<(u64, u64), Action>,
    next_tie: u64,
    pub random: Random,
    pub scenario: Scenario,
    pub plant: Option<Plant>,
    trace: bool,
    pub census: Census,
    pub physical: Physical,
    pub journal: Journal,
    /// None while the scheduler is down.
    pub life: Option<Life>,
    pub epoch: u64,
    pub agents: Vec<Agent>,
    /// The agent that is the executor's newest boot.
    pub boots: Vec<Option<usize>>,
    pub clients: Vec<Client>,
    /// How often each test was begun.
    pub begun: BTreeMap<(usize, u32), u32>,
    pub next_transport: u64,
    /// Until when each executor is cut off.
    pub cut_until: Vec<u64>,
    pub clients_cut_until: u64,
    /// The step at which the last snapshot was written.
    pub snapshot_at: u64,
}

impl World {
    pub fn new(seed: u64, scenario: Scenario, plant: Option<Plant>, trace: bool) -> World {
        let executors = scenario.executors.len();
        let runs = scenario.runs.len();
        let mut world = World {
            now: 0,
            queue: BTreeMap::new(),
            next_tie: 0,
            random: Random::new(!seed),
            scenario,
            plant,
            trace,
            census: Census::default(),
            physical: Physical::default(),
            journal: Journal::default(),
            life: None,
            epoch: 0,
            agents: Vec::new(),
            boots: vec![None; executors],
            clients: (0..runs).map(|_| Client::default()).collect(),
            begun: BTreeMap::new(),
            next_transport: 0,
            cut_until: vec![0; executors],
            clients_cut_until: 0,
            snapshot_at: 0,
        };
        let tests: usize = world.scenario.runs.iter().map(|run| run.tests.len()).sum();
        // A look at the whole takes as long as there are tests.
        let is_small = executors <= 50 && tests <= 5000;
        world.census.check_every = if is_small { 1 } else { (tests as u64 / 10).max(100) };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.after(0, Action::SchedulerStarts);
        for executor in 0..self.scenario.executors.len() {
            let joins_at = self.scenario.executors[executor].joins_at;
            if joins_at > 1000 {
                self.census.count("fault: executor joined late");
            }
            self.after(joins_at, Action::Boot { executor });
        }
        for run in 0..self.scenario.runs.len() {
            self.after(self.scenario.runs[run].submitted_at, Action::Client { run });
        }
        for (at, fault) in self.scenario.faults.clone() {
            self.after(at, Action::Fault(fault));
        }
        if self.scenario.runs.len() > 1 {
            self.census.count("met: two runs at a time");
        }
    }

    pub fn after(&mut self, delay: u64, action: Action) {
        self.next_tie += 1;
        self.queue.insert((self.now + delay, self.next_tie), action);
    }

    /// What a machine's processes have before them takes so much longer.
    pub fn machine_stands_still(&mut self, id: usize, for_ms: u64) {
        let is_its = |action: &Action| matches!(action, Action::Worker { agent, .. } if *agent == id);
        let later: Vec<_> = self.queue.extract_if(.., |_, action| is_its(action)).collect();
        self.queue.extend(later.into_iter().map(|((at, tie), action)| ((at + for_ms, tie), action)));
    }

    /// What goes wrong by chance in so many of a thousand cases, as long as anything does.
    pub fn mishap(&mut self, per_mille: u64) -> bool {
        self.random.chance(per_mille) && self.now < self.scenario.calm_at
    }

    pub fn log(&self, line: impl FnOnce() -> String) {
        if self.trace {
            let _ = writeln!(std::io::stderr(), "{:>8} {}", self.now, line());
        }
    }

    /// Plays until every run has ended and nothing is left over.
    pub fn play(&mut self) -> Result<(), String> {
        let over_by = self.scenario.over_by();
        let mut actions = 0;
        let (mut ended_at, mut looks_at) = (None, 0);
        while let Some(((at, tie), action)) = self.queue.pop_first() {
            debug_assert!(at >= self.now, "time goes forwards");
            self.now = at;
            self.act(tie, action);
            actions += 1;
            if (ended_at.is_none() && self.now > over_by) || actions > self.most_actions() {
                let seconds = at / 1000;
                let waits = self.waits_for();
                return Err(format!("hangs: not over after {seconds} s and {actions} actions; {waits}"));
            }
            if ended_at.is_none() && self.all_archived() {
                ended_at = Some(self.now);
                self.log(|| "all runs have ended".into());
            }
            let Some(ended_at) = ended_at.filter(|_| self.now >= looks_at) else { continue };
            looks_at = self.now + LOOKS_EVERY_MS;
            match self.left_over() {
                None => return Ok(()),
                Some(what) if self.now > ended_at + 300_000 => return Err(format!("left over: {what}")),
                Some(_) => {}
            }
        }
        Err("hangs: nothing more happens".into())
    }

    fn most_actions(&self) -> u64 {
        let tests: usize = self.scenario.runs.iter().map(|run| run.tests.len()).sum();
        MOST_ACTIONS.max(500 * tests as u64)
    }

    fn all_archived(&self) -> bool {
        self.clients.iter().all(|client| client.archived)
    }

    /// What the scheduler still has to do.
    fn waits_for(&self) -> String {
        let Some(life) = &self.life else { return "the scheduler is down".into() };
        let of_run = |run: &seagull_scheduler_core::Run| {
            let live: Vec<_> = run.live_attempts().map(|(id, attempt)| (id, &attempt.executor)).collect();
            format!("{:?}, live {live:?}, pending {:?}, workers {:?}", run.phase, run.pending, run.workers)
        };
        life.state
            .runs
            .iter()
            .map(|(id, run)| format!("{id}: {}", of_run(run)))
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn left_over(&self) -> Option<String> {
        let Some(life) = self.life.as_ref() else { return Some("the scheduler is down".into()) };
        if let Some(run) = life.state.runs.keys().next() {
            return Some(format!("the scheduler still has run {run}"));
        }
        if !life.is_durable() {
            return Some("facts that are not durable".into());
        }
        self.agents.iter().find_map(Agent::left_over)
    }

    /// What is postponed keeps its place among what comes at the same time.
    fn act(&mut self, tie: u64, action: Action) {
        if let Action::ToScheduler { epoch, message } = &action
            && (self.life.is_none() || *epoch != self.epoch)
        {
            return self.connection_broke(message);
        }
        if let Some(until) = self.postponed(&action) {
            if let Action::ToScheduler { message, .. } = &action {
                self.arrives_in_vain(message);
            }
            self.queue.insert((until, tie), action);
            return;
        }
        if action.is_of_scheduler() {
            self.scheduler_turns();
        }
        match action {
            Action::ToScheduler { message, .. } => self.scheduler_receives(message),
            Action::ToAgent { agent, message } => self.agent_receives(agent, message),
            Action::Says { agent, slot, worker, event } => self.worker_says(agent, slot, worker, event),
            Action::Order { agent, slot, worker, order } => self.order_arrives(agent, slot, worker, order),
            Action::Worker { agent, slot, worker, token } => self.worker_goes_on(agent, slot, worker, token),
            Action::AgentTimer { agent } => self.agent_timer(agent),
            Action::CallTimeout { agent, transport } => self.call_timeout(agent, transport),
            Action::FetchTimeout { agent, attempt, generation } => {
                self.fetch_again(agent, attempt, generation)
            }
            Action::Boot { executor } => self.boot(executor),
            Action::Fault(fault) => self.fault(fault),
            Action::SchedulerStarts => self.scheduler_starts(),
            Action::Client { run } => self.client_acts(run),
            Action::SchedulerTimer { epoch } if epoch == self.epoch => self.scheduler_timer(),
            Action::Committed { epoch, seq } if epoch == self.epoch => self.committed(seq),
            Action::Planned { epoch, run, generation, anticipated } if epoch == self.epoch => {
                self.planned(run, generation, anticipated)
            }
            Action::Anticipated { epoch, run } if epoch == self.epoch => self.anticipated(run),
            Action::Archived { epoch, run } if epoch == self.epoch => self.archived(run),
            // Of a process that is gone.
            Action::SchedulerTimer { .. }
            | Action::Committed { .. }
            | Action::Planned { .. }
            | Action::Anticipated { .. }
            | Action::Archived { .. } => {}
        }
    }

    /// What happens to a process that stands still waits until it goes on.
    fn postponed(&self, action: &Action) -> Option<u64> {
        let (agent, of_worker) = match action {
            Action::ToAgent { agent, .. }
            | Action::Says { agent, .. }
            | Action::AgentTimer { agent }
            | Action::CallTimeout { agent, .. }
            | Action::FetchTimeout { agent, .. } => (*agent, false),
            Action::Order { agent, .. } | Action::Worker { agent, .. } => (*agent, true),
            action if action.is_of_scheduler() => {
                return self.life.as_ref().map(|life| life.paused_until).filter(|until| *until > self.now);
            }
            _ => return None,
        };
        let agent = &self.agents[agent];
        let until = if of_worker { agent.machine_paused_until } else { agent.paused_until };
        (until > self.now).then_some(until)
    }

    fn fault(&mut self, fault: Fault) {
        self.log(|| format!("FAULT {fault:?}"));
        match fault {
            Fault::CrashScheduler { down_ms } => self.scheduler_crashes(down_ms),
            Fault::PauseScheduler { for_ms } => self.scheduler_pauses(for_ms),
            Fault::Die { executor, back_after } => self.executor_dies(executor, back_after),
            Fault::Pause { executor, for_ms, whole_machine } => {
                self.executor_pauses(executor, for_ms, whole_machine)
            }
            Fault::Leave { executor, within_ms, spot } => self.executor_leaves(executor, within_ms, spot),
            Fault::Drain { executor, limit_ms } => self.operator_drains(executor, limit_ms),
            Fault::Cut { executor } => self.connection_cut(executor),
            Fault::FailDisk { down_ms } => self.journal.fails = Some(down_ms),
            Fault::StallDisk { for_ms } => self.journal.stalls_ms = for_ms,
            Fault::Partition { executor, for_ms } => self.executor_is_cut_off(executor, for_ms),
            Fault::PartitionClients { for_ms } => self.clients_are_cut_off(for_ms),
        }
    }
}
