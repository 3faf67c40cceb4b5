//! The executor's shell: one boot of an executor's process around the executor core, with its one call to the
//! scheduler.

use std::collections::BTreeMap;
use std::time::Duration;

use seagull_domain::{
    AttemptId, BundleContents, Desired, Digest, Generation, Instant, Role, RunId, SlotIndex, TestIndex,
};
use seagull_executor_core::{Effect, Event, Notice, Settings, State};

use crate::controller::Controllers;
use crate::network::{ToAgent, ToScheduler};
use crate::physical::AgentLife;
use crate::planner;
use crate::plant::Plant;
use crate::scenario::Fault;
use crate::worker::{Order, Worker};
use crate::world::{Action, World};

/// Results are reported at most this often.
const RESULTS_MS: u64 = 50;
/// A call that is not answered for so long is given up; the scheduler answers within a third of its lease.
const CALL_MS: u64 = 7000;
const FETCH_MS: u64 = 1000;
/// How long an operator waits before the wish is repeated.
const OPERATOR_MS: u64 = 500;
/// Silence for so long loses an executor.
const LEASE_MS: u64 = 15_000;

pub struct Agent {
    pub core: State,
    origin: u64,
    /// How many milliseconds its clock counts in a second.
    rate: u64,
    pub alive: bool,
    pub paused_until: u64,
    pub machine_paused_until: u64,
    /// It stood still, and has done nothing since.
    stood_still: bool,
    call: Option<Call>,
    /// The state changed: report at once.
    urgent: bool,
    /// There are results to report.
    results: bool,
    last: Option<u64>,
    failures: u32,
    /// Not before this, after a failure.
    retry_at: u64,
    timer: Option<u64>,
    fetches: BTreeMap<AttemptId, (RunId, Generation)>,
    /// The role of each test, by what was fetched.
    pub roles: BTreeMap<(AttemptId, TestIndex), Role>,
    /// What the indices of an attempt's tests mean.
    pub manifests: BTreeMap<AttemptId, Digest>,
    pub workers: BTreeMap<SlotIndex, Worker>,
    pub controllers: Controllers,
}

struct Call {
    transport: u64,
    sequence: u64,
    /// It delivers results, so it is not given up before it is answered.
    delivers: bool,
}

impl Agent {
    /// When a report is due.
    fn due(&self, now: u64) -> Option<u64> {
        let spaced = self.last.map_or(now, |last| last + RESULTS_MS);
        let wanted = match (self.urgent, self.results, &self.call) {
            (.., Some(call)) if call.delivers => None,
            (true, ..) => Some(now),
            (false, true, _) => Some(spaced),
            (false, false, None) => Some(now),
            (false, false, Some(_)) => None,
        };
        wanted.map(|at| at.max(self.retry_at))
    }

    /// What its clock shows.
    fn clock(&self, now: u64) -> Instant {
        Instant((now - self.origin) * self.rate / 1000)
    }

    /// When its clock will show that.
    fn when(&self, at: Instant) -> u64 {
        self.origin + at.0.saturating_mul(1000).div_ceil(self.rate)
    }

    pub fn left_over(&self) -> Option<String> {
        let core = &self.core;
        let holds = !core.attempts.is_empty()
            || core.slots.iter().any(|slot| slot.worker.is_some() || !slot.gone.is_empty())
            || !self.workers.is_empty();
        let holds = holds || !core.controllers.is_empty() || !self.controllers.is_empty();
        (self.alive && (holds || core.leaving.is_some()))
            .then(|| format!("{} {} {:?} {:?}", core.executor, core.boot, core.attempts, core.slots))
    }
}

impl World {
    pub fn boot(&mut self, executor: usize) {
        let plan = &self.scenario.executors[executor];
        let rate = plan.clock;
        let id = self.agents.len();
        let boot = format!("b{id}").parse().expect("a safe id");
        let settings = Settings { start_limit: Duration::from_secs(20), ..Settings::default() };
        let mut core = State::new(plan.name.parse().expect("a safe id"), boot, plan.slots, settings);
        core.capacity = plan.capacity;
        self.log(|| format!("{} boots as agent {id} with {} slots", plan.name, plan.slots));
        match rate {
            ..1000 => self.census.count("fault: clock too slow"),
            1000 => {}
            1001.. => self.census.count("fault: clock too fast"),
        }
        self.physical.agents.push(AgentLife {
            executor: plan.name.clone(),
            sick: plan.sick.is_some(),
            rate,
            stood_still: 0,
            died: None,
            leaves: None,
            last: None,
            left: None,
        });
        self.agents.push(Agent {
            core,
            origin: self.now,
            rate,
            alive: true,
            paused_until: 0,
            machine_paused_until: 0,
            stood_still: false,
            call: None,
            urgent: true,
            results: false,
            last: None,
            failures: 0,
            retry_at: 0,
            timer: None,
            fetches: BTreeMap::new(),
            roles: BTreeMap::new(),
            manifests: BTreeMap::new(),
            workers: BTreeMap::new(),
            controllers: BTreeMap::new(),
        });
        self.boots[executor] = Some(id);
        self.arm_agent(id);
    }

    pub fn agent_step(&mut self, id: usize, event: Event) {
        let agent = &mut self.agents[id];
        if !agent.alive {
            return;
        }
        let now = agent.clock(self.now);
        // Its shell steps often enough to notice.
        let pause = std::mem::take(&mut agent.stood_still).then(|| agent.core.stood_still(now)).flatten();
        let pause = pause.filter(|_| self.plant != Some(Plant::StandstillUnnoticed));
        let mut effects = pause.map_or_else(Vec::new, |pause| agent.core.step(now, Event::Paused(pause)));
        effects.extend(agent.core.step(now, event));
        if let Some(leaving) = &agent.core.leaving {
            let life = &mut self.physical.agents[id];
            life.leaves.get_or_insert(self.now);
            life.last = Some(agent.when(leaving.last));
        }
        if self.census.takes_a_close_look() {
            agent.core.sanity_check();
        }
        for effect in effects {
            self.perform_for(id, effect);
        }
        self.arm_agent(id);
    }

    /// Has the agent woken when its core or its next report is due.
    fn arm_agent(&mut self, id: usize) {
        let agent = &mut self.agents[id];
        let core = agent.core.next_deadline().map(|at| agent.when(at));
        let due = agent.due(self.now);
        let Some(at) = core.into_iter().chain(due).min().map(|at| at.max(self.now)) else { return };
        let is_late = |timer| timer > at && self.plant != Some(Plant::WakeUpLost);
        if agent.alive && agent.timer.is_none_or(is_late) {
            agent.timer = Some(at);
            self.after(at - self.now, Action::AgentTimer { agent: id });
        }
    }

    pub fn agent_timer(&mut self, id: usize) {
        let agent = &mut self.agents[id];
        agent.timer = None;
        if agent.core.next_deadline().is_some_and(|at| at <= agent.clock(self.now)) {
            self.agent_step(id, Event::Tick);
        }
        if self.agents[id].alive && self.agents[id].due(self.now).is_some_and(|at| at <= self.now) {
            self.send_report(id);
        }
        self.arm_agent(id);
    }

    fn send_report(&mut self, id: usize) {
        self.next_transport += 1;
        let transport = self.next_transport;
        let agent = &mut self.agents[id];
        // Their text goes first, and may take its time.
        let late = agent.results && self.random.chance(20);
        agent.core.close_batches();
        let report = if late { agent.core.report_without_results() } else { agent.core.next_report() };
        let call = Call { transport, sequence: report.sequence, delivers: !report.batches.is_empty() };
        let given_up = agent.call.replace(call);
        (agent.urgent, agent.results, agent.last) = (false, late, Some(self.now));
        if late {
            self.census.count("fault: text late");
        }
        if let Some(call) = given_up {
            self.closed(id, call.sequence);
        }
        self.log(|| {
            let states: Vec<_> =
                report.attempts.iter().map(|a| (a.attempt, a.generation, &a.state)).collect();
            let batches: Vec<_> = report.batches.iter().map(|b| (b.attempt, b.number)).collect();
            format!(
                "    agent {id} reports {transport} {:?} {states:?} {batches:?} {:?}",
                report.known, report.workers
            )
        });
        self.after(CALL_MS, Action::CallTimeout { agent: id, transport });
        self.send_to_scheduler(&ToScheduler::Report { agent: id, transport, report: Box::new(report) });
    }

    /// The scheduler may learn that a call is over.
    fn closed(&mut self, id: usize, sequence: u64) {
        let core = &self.agents[id].core;
        let (executor, boot) = (core.executor.clone(), core.boot.clone());
        self.send_to_scheduler(&ToScheduler::Closed { executor, boot, sequence });
    }

    pub fn agent_receives(&mut self, id: usize, message: ToAgent) {
        if !self.agents[id].alive {
            return;
        }
        match message {
            ToAgent::Answer { transport, desired } => self.answered(id, transport, *desired),
            ToAgent::Failed { transport } => self.call_failed(id, transport),
            ToAgent::Contents { attempt, generation, contents } => {
                self.fetched(id, attempt, generation, contents)
            }
            ToAgent::Unavailable { attempt } => {
                self.agent_step(id, Event::NoContents { attempt, message: "no such manifest".into() });
            }
        }
    }

    /// Answers to calls that were given up are taken too: to the core they are messages out of order.
    fn answered(&mut self, id: usize, transport: u64, mut desired: Desired) {
        let agent = &mut self.agents[id];
        if agent.call.as_ref().is_some_and(|call| call.transport == transport) {
            agent.call = None;
            (agent.failures, agent.retry_at) = (0, 0);
        }
        if self.plant == Some(Plant::StaleDesiredApplied) {
            (desired.epoch, desired.version) = agent.core.known.max((desired.epoch, desired.version));
        }
        self.log(|| format!("    agent {id} is answered {transport} {desired:?}"));
        self.agent_step(id, Event::Desired(Box::new(desired)));
    }

    fn call_failed(&mut self, id: usize, transport: u64) {
        let agent = &mut self.agents[id];
        if agent.call.as_ref().is_some_and(|call| call.transport == transport) {
            agent.call = None;
            agent.failures += 1;
            agent.retry_at = self.now + (50 << agent.failures.min(5));
            agent.urgent = true;
            self.arm_agent(id);
        }
    }

    pub fn call_timeout(&mut self, id: usize, transport: u64) {
        let waits = self.agents[id].call.as_ref().is_some_and(|call| call.transport == transport);
        if waits && self.agents[id].alive {
            self.census.count("fault: call timed out");
            self.call_failed(id, transport);
        }
    }

    fn perform_for(&mut self, id: usize, effect: Effect) {
        let agent = &mut self.agents[id];
        match effect {
            Effect::Report { results_only: true } => agent.results = true,
            Effect::Report { results_only: false } => agent.urgent = true,
            Effect::Fetch { run, attempt, generation } => {
                agent.fetches.insert(attempt, (run, generation));
                self.fetch_again(id, attempt, generation);
            }
            Effect::Start(start) if start.controller => self.start_controller(id, &start),
            Effect::Start(start) => self.start_worker(id, &start),
            Effect::Feed { slot, worker, attempt, tests } => {
                self.will_be_fed((id, slot), worker);
                self.after(
                    0,
                    Action::Order { agent: id, slot, worker, order: Order::Feed { attempt, tests } },
                );
            }
            Effect::Reset { slot, worker } => {
                self.census.count("services made clean");
                let delay = self.random.within(1..=500);
                self.after(delay, Action::Order { agent: id, slot, worker, order: Order::Reset });
            }
            Effect::Finish { slot, worker } => {
                self.after(0, Action::Order { agent: id, slot, worker, order: Order::Finish });
            }
            Effect::Interrupt { slot, worker } => {
                self.will_be_interrupted((id, slot), worker);
                self.after(0, Action::Order { agent: id, slot, worker, order: Order::Interrupt });
            }
            Effect::Kill { slot, worker, .. } => {
                self.will_be_killed((id, slot), worker);
                let delay = self.random.within(0..=600);
                self.after(delay, Action::Order { agent: id, slot, worker, order: Order::Kill });
            }
            Effect::Node { worker, order } => {
                let slot = agent.workers.iter().find(|(_, of)| of.id == worker).map(|(slot, _)| *slot);
                let slot = slot.unwrap_or(SlotIndex(0));
                self.after(0, Action::Order { agent: id, slot, worker, order: Order::Node(order) });
            }
            Effect::Left => {
                agent.alive = false;
                self.physical.agents[id].left = Some(self.now);
                self.census.count("fault: executor left");
                self.log(|| format!("agent {id} has left"));
                self.closed_last(id);
            }
        }
    }

    /// Asks until there is an answer, as long as the contents are wanted.
    pub fn fetch_again(&mut self, id: usize, attempt: AttemptId, generation: Generation) {
        let agent = &self.agents[id];
        let wanted =
            agent.fetches.get(&attempt).filter(|(_, of)| *of == generation).map(|(run, _)| run.clone());
        let Some(run) = wanted.filter(|_| agent.alive) else { return };
        if self.mishap(6) {
            self.census.count("fault: contents unavailable");
            self.agents[id].fetches.remove(&attempt);
            return self.after(1, Action::ToAgent { agent: id, message: ToAgent::Unavailable { attempt } });
        }
        self.send_to_scheduler(&ToScheduler::Fetch { agent: id, run, attempt, generation });
        self.after(FETCH_MS, Action::FetchTimeout { agent: id, attempt, generation });
    }

    fn fetched(
        &mut self,
        id: usize,
        attempt: AttemptId,
        generation: Generation,
        contents: Option<BundleContents>,
    ) {
        let agent = &mut self.agents[id];
        if agent.fetches.get(&attempt).is_some_and(|(_, of)| *of == generation) {
            agent.fetches.remove(&attempt);
        }
        let Some(contents) = contents else { return };
        agent.manifests.insert(attempt, contents.manifest);
        agent.roles.extend(contents.entries.iter().map(|entry| ((attempt, entry.test), entry.role)));
        self.is_given(id, attempt, &contents);
        self.agent_step(id, Event::Contents { attempt, contents });
    }

    fn is_given(&mut self, id: usize, attempt: AttemptId, contents: &BundleContents) {
        if contents.generation > Generation(1) {
            return;
        }
        let Some(run) = self.agents[id].core.attempts.get(&attempt).map(|known| known.run.clone()) else {
            return;
        };
        let run = &self.scenario.runs[self.run_index(&run)];
        let to_run = contents.entries.iter().filter(|entry| entry.role == Role::Run);
        let meant = to_run.map(|entry| planner::meant(run, contents.manifest, entry.test)).collect();
        self.physical.given.entry(attempt).or_insert(meant);
    }

    /// Which executor an agent is a boot of.
    pub fn executor_of(&self, agent: usize) -> usize {
        let of = self.boots.iter().position(|boot| *boot == Some(agent));
        of.expect("it is the last boot of an executor")
    }

    pub fn executor_dies(&mut self, executor: usize, back_after: Option<u64>) {
        let Some(id) = self.boots[executor].filter(|id| self.agents[*id].alive) else { return };
        self.census.count("fault: executor died");
        self.agents[id].alive = false;
        self.physical.agents[id].died = Some(self.now);
        self.workers_die_with(id);
        self.controllers_die_with(id);
        if self.random.chance(700) {
            self.closed_last(id);
        }
        if let Some(delay) = back_after {
            self.census.count("fault: executor came back");
            self.after(delay, Action::Boot { executor });
        }
    }

    fn closed_last(&mut self, id: usize) {
        if let Some(call) = self.agents[id].call.take() {
            self.closed(id, call.sequence);
        }
    }

    pub fn executor_pauses(&mut self, executor: usize, for_ms: u64, whole_machine: bool) {
        let Some(id) = self.boots[executor].filter(|id| self.agents[*id].alive) else { return };
        self.census.count("fault: executor paused");
        if for_ms > LEASE_MS {
            self.census.count("fault: executor paused past its lease");
        }
        if self.agents[id].paused_until <= self.now {
            self.agent_step(id, Event::Tick);
            self.agents[id].stood_still = true;
        }
        let until = self.now + for_ms;
        let agent = &mut self.agents[id];
        self.physical.agents[id].stood_still += until.saturating_sub(agent.paused_until.max(self.now));
        agent.paused_until = agent.paused_until.max(until);
        if whole_machine {
            let more = until.saturating_sub(agent.machine_paused_until.max(self.now));
            agent.machine_paused_until = agent.machine_paused_until.max(until);
            self.machine_stands_still(id, more);
        }
    }

    pub fn executor_leaves(&mut self, executor: usize, within_ms: u64, spot: bool) {
        let Some(id) = self.boots[executor].filter(|id| self.agents[*id].alive) else { return };
        let paused = self.agents[id].paused_until.saturating_sub(self.now);
        if paused > 0 {
            return self.after(paused, Action::Fault(Fault::Leave { executor, within_ms, spot }));
        }
        let within = Duration::from_millis(within_ms);
        let notice = if spot { Notice::spot("a notice", within) } else { Notice::drain("a signal", within) };
        self.agent_step(id, Event::Leave(notice));
    }

    /// The operator asks again until the executor leaves.
    pub fn operator_drains(&mut self, executor: usize, limit_ms: u64) {
        let agent = self.boots[executor].map(|id| &self.agents[id]).filter(|agent| agent.alive);
        let Some(agent) = agent.filter(|agent| agent.core.leaving.is_none()) else { return };
        self.census.count("fault: executor drained by an operator");
        let executor_id = agent.core.executor.clone();
        self.physical.asked_to_leave.insert(executor_id.to_string());
        self.send_to_scheduler(&ToScheduler::Drain { executor: executor_id, limit_ms });
        self.after(OPERATOR_MS, Action::Fault(Fault::Drain { executor, limit_ms }));
    }

    pub fn connection_cut(&mut self, executor: usize) {
        let Some(id) = self.boots[executor].filter(|id| self.agents[*id].alive) else { return };
        self.census.count("fault: connection cut");
        if let Some(call) = &self.agents[id].call {
            let (transport, sequence) = (call.transport, call.sequence);
            self.closed(id, sequence);
            self.call_failed(id, transport);
        }
    }
}
