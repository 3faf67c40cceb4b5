//! The scheduler's shell: a process that lives from a start to a crash, around the scheduler core.

use std::collections::{BTreeMap, VecDeque};

use seagull_domain::{Digest, Epoch, Generation, Instant, RunId, RunSpec, Seq, TestIndex};
use seagull_scheduler_core::{Call, Effect, Event, Fact, State, What, is_kept_waiting};

use crate::census::{effect_kind, fact_kind, met};
use crate::network::{ToAgent, ToScheduler};
use crate::pairs;
use crate::physical::Sign;
use crate::planner;
use crate::plant::{self, Plant};
use crate::scenario::{Fault, Milestone};
use crate::world::{Action, World};

/// Silence for so long loses an executor.
const LEASE_MS: u64 = 15_000;
/// A commit takes no longer, but for a disk that stalls. What comes meanwhile goes with the next: nothing waits for more
/// than two.
const COMMIT_MS: u64 = 1500;

/// One life of the scheduler's process.
pub struct Life {
    pub state: State,
    origin: u64,
    /// Handed to the journal and not durable yet.
    undurable: VecDeque<Vec<(Seq, Fact)>>,
    /// When the journal is done with all it was given.
    commits_until: u64,
    /// Effects with the fact they wait for, and since when.
    waiting: VecDeque<(Seq, u64, Vec<Effect>)>,
    /// Whom a held call is to be answered to.
    calls: BTreeMap<Call, (usize, u64)>,
    submissions: BTreeMap<Call, usize>,
    cancellations: BTreeMap<Call, usize>,
    next_call: Call,
    timer: Option<u64>,
    /// When its loop last did something.
    turned: u64,
    pub paused_until: u64,
}

impl Life {
    pub fn is_durable(&self) -> bool {
        self.undurable.is_empty()
    }

    fn call(&mut self) -> Call {
        self.next_call = Call(self.next_call.0 + 1);
        self.next_call
    }
}

impl World {
    pub fn scheduler_starts(&mut self) {
        if self.life.is_some() {
            return;
        }
        self.epoch += 1;
        if self.epoch > 1 && self.journal.has_snapshot() {
            self.census.count("fault: recovered from a snapshot");
        }
        let forgets = self.plant == Some(Plant::FactNotReplayed);
        let unread = self.journal.last_results().filter(|_| forgets);
        let state = self.journal.recover(Epoch(self.epoch), unread);
        state.sanity_check();
        self.physical.signs.push((self.now, Sign::SchedulerStarted));
        self.log(|| format!("scheduler starts, epoch {}, fact {}", self.epoch, state.seq));
        self.life = Some(Life {
            state,
            origin: self.now,
            undurable: VecDeque::new(),
            commits_until: self.now,
            waiting: VecDeque::new(),
            calls: BTreeMap::new(),
            submissions: BTreeMap::new(),
            cancellations: BTreeMap::new(),
            next_call: Call(0),
            timer: None,
            turned: self.now,
            paused_until: 0,
        });
        self.step(Event::Recovered);
    }

    pub fn scheduler_crashes(&mut self, down_ms: u64) {
        let Some(mut life) = self.life.take() else { return };
        self.census.count("fault: scheduler crashed");
        self.check_recovery(&life);
        self.tears(&mut life);
        for (agent, transport) in life.calls.into_values() {
            if self.random.chance(800) && !self.is_cut_off(agent) {
                self.after(3, Action::ToAgent { agent, message: ToAgent::Failed { transport } });
            }
        }
        self.epoch += 1; // What the dead process had under way is recognised by its epoch.
        self.after(down_ms, Action::SchedulerStarts);
    }

    /// Of what was on its way to the disk, the first may have become durable, though nobody was told. What a step came
    /// to is there as a whole or not at all: it is one transaction.
    fn tears(&mut self, life: &mut Life) {
        let kept = if self.random.chance(500) { self.random.index(life.undurable.len() + 1) } else { 0 };
        for facts in life.undurable.drain(..kept).collect::<Vec<_>>() {
            self.census.count("fault: facts durable and not acknowledged");
            self.becomes_durable(facts);
        }
        if !life.undurable.is_empty() {
            self.census.count("fault: facts lost in a crash");
        }
    }

    /// Applying the facts leads where the steps that made them led.
    fn check_recovery(&self, life: &Life) {
        let mut again = self.journal.recover(Epoch(0), None);
        for (_, fact) in life.undurable.iter().flatten() {
            again.apply(fact);
        }
        let durable = |state: &State| serde_json::to_string(state).expect("the state has only text keys");
        assert_eq!(durable(&again), durable(&life.state), "recovery arrives at another state");
    }

    pub fn scheduler_pauses(&mut self, for_ms: u64) {
        let Some(life) = self.life.as_mut() else { return };
        life.paused_until = life.paused_until.max(self.now + for_ms);
        self.census.count("fault: scheduler paused");
        if for_ms > LEASE_MS {
            self.census.count("fault: scheduler paused past all leases");
        }
    }

    /// The loop does something: first of all it sees whether it stood still.
    pub fn scheduler_turns(&mut self) {
        let Some(life) = self.life.as_mut() else { return };
        let (last, now) = (Instant(life.turned - life.origin), Instant(self.now - life.origin));
        life.turned = self.now;
        let pause = life.state.stood_still(last, now).filter(|_| self.plant != Some(Plant::PauseUnnoticed));
        if let Some(pause) = pause {
            self.physical.signs.push((self.now, Sign::SchedulerStoodStill(pause.as_millis() as u64)));
            self.step(Event::Paused(pause));
        }
    }

    /// A report is there, and the scheduler stands still.
    pub fn arrives_in_vain(&mut self, message: &ToScheduler) {
        if let ToScheduler::Report { report, .. } = message {
            let (executor, boot) = (report.executor.clone(), report.boot.clone());
            self.physical.signs.push((self.now, Sign::Waits { executor, boot, sequence: report.sequence }));
        }
    }

    /// The process at the other end is gone, which who waits for an answer sees.
    pub fn connection_broke(&mut self, message: &ToScheduler) {
        if let ToScheduler::Report { agent, transport, .. } = *message {
            self.after(1, Action::ToAgent { agent, message: ToAgent::Failed { transport } });
        }
    }

    pub fn scheduler_receives(&mut self, message: ToScheduler) {
        let Some(life) = self.life.as_mut() else { return };
        match message {
            ToScheduler::Report { agent, transport, mut report } => {
                if self.plant == Some(Plant::RetakenBeforeReportedGone) {
                    plant::claim_given_back(&life.state, &mut report);
                }
                if self.plant == Some(Plant::DecidedByTheFirstCopy) {
                    plant::claim_gone(&life.state, &mut report);
                }
                if self.plant == Some(Plant::OvertakenCountedTwice) {
                    plant::overtake(&life.state, &mut report);
                }
                if self.plant == Some(Plant::BatchCountedTwice) {
                    plant::renumber(&life.state, &mut report);
                }
                let (executor, boot, sequence) =
                    (report.executor.clone(), report.boot.clone(), report.sequence);
                self.physical.signs.push((self.now, Sign::Reported { executor, boot, sequence }));
                let call = life.call();
                life.calls.insert(call, (agent, transport));
                self.step(Event::Report { call, report });
            }
            ToScheduler::Closed { executor, boot, sequence } => {
                let sign = Sign::Closed { executor: executor.clone(), boot: boot.clone(), sequence };
                self.physical.signs.push((self.now, sign));
                self.step(Event::Disconnected { executor, boot, sequence });
            }
            ToScheduler::Fetch { agent, run, attempt, generation } => {
                let run = life.state.runs.get(&run);
                let contents = run.and_then(|run| run.contents(attempt, generation));
                self.send_to_agent(agent, &ToAgent::Contents { attempt, generation, contents });
            }
            // An ended run that is in the results already is attached to there.
            ToScheduler::Submit { run } if self.clients[run].in_results => self.clients[run].submitted = true,
            ToScheduler::Submit { run } => {
                let request = life.call();
                life.submissions.insert(request, run);
                let plan = &self.scenario.runs[run];
                let judges = plan.judge.is_some_and(|judge| !judge.comes_late || self.clients[run].submitted);
                let spec = Box::new(RunSpec { awaits_judgement: judges, ..plan.spec.clone() });
                self.step(Event::Submit { request, spec });
            }
            ToScheduler::Judge { run, word } => {
                let (request, run) = (life.call(), self.scenario.runs[run].spec.id.clone());
                self.step(Event::Judge { request, run, word });
            }
            ToScheduler::Cancel { run } => {
                let request = life.call();
                life.cancellations.insert(request, run);
                if self.plant == Some(Plant::CancellationHeardAtOnce) {
                    self.clients[run].cancel_heard.get_or_insert(self.now);
                }
                let run = self.scenario.runs[run].spec.id.clone();
                self.step(Event::Cancel { request, run });
            }
            ToScheduler::Drain { executor, limit_ms } => {
                self.step(Event::Drain { executors: vec![executor], limit_ms });
            }
            ToScheduler::Watch { run, begins } => {
                let run = self.scenario.runs[run].spec.id.clone();
                self.step(if begins { Event::Watched { run } } else { Event::Unwatched { run } });
            }
        }
    }

    pub fn scheduler_timer(&mut self) {
        let Some(life) = self.life.as_mut() else { return };
        life.timer = None;
        let due = life.state.next_deadline().is_some_and(|at| life.origin + at.0 <= self.now);
        if due {
            self.excuse();
            self.step(Event::Tick);
        } else {
            self.arm_scheduler();
        }
    }

    /// Nobody is silent who waits for an answer that waits for the disk.
    fn excuse(&mut self) {
        let Some(life) = self.life.as_ref() else { return };
        let late = life
            .waiting
            .iter()
            .take_while(|(_, since, _)| is_kept_waiting(Instant(*since), Instant(self.now)));
        let calls = late.flat_map(|(.., effects)| effects).filter_map(|effect| match effect {
            Effect::Answer { call, .. } => life.calls.get(call),
            _ => None,
        });
        let executor = |(agent, _): &(usize, u64)| self.agents[*agent].core.executor.clone();
        let held: Vec<_> = calls.map(executor).collect();
        if held.is_empty() {
            return;
        }
        let signs = held.iter().map(|executor| (self.now, Sign::Unanswered(executor.clone())));
        self.physical.signs.extend(signs);
        self.census.count("met: answer kept waiting");
        if self.plant != Some(Plant::UnansweredTakenForSilent) {
            self.step(Event::Unanswered(held));
        }
    }

    fn arm_scheduler(&mut self) {
        let Some(life) = self.life.as_mut() else { return };
        let Some(at) = life.state.next_deadline().map(|at| (life.origin + at.0).max(self.now)) else {
            return;
        };
        if life.timer.is_none_or(|timer| timer > at) {
            life.timer = Some(at);
            self.after(at - self.now, Action::SchedulerTimer { epoch: self.epoch });
        }
    }

    fn step(&mut self, event: Event) {
        let is_tick = matches!(event, Event::Tick);
        let is_recovery = matches!(event, Event::Recovered);
        let Some(life) = self.life.as_mut() else { return };
        let now = Instant(self.now - life.origin);
        if self.census.check_every <= 1 {
            self.census.meet(pairs::met(&life.state, now, &event));
        }
        let mut outcome = life.state.step(now, event);
        if self.census.takes_a_close_look() {
            life.state.sanity_check();
        }
        if let Some(plant) = self.plant {
            plant::spoil(plant, &mut life.state);
        }
        if self.plant == Some(Plant::EffectLostAtRecovery) && is_recovery && !outcome.effects.is_empty() {
            outcome.effects.remove(0);
        }
        if self.plant == Some(Plant::VerdictDroppedAtLeaseExpiry) && is_tick {
            let decided = outcome.facts.iter().filter(|(_, fact)| matches!(fact.what, What::Decided { .. }));
            self.journal.swallowed.extend(decided.map(|(seq, _)| *seq));
        }
        if self.plant == Some(Plant::BufferedDroppedAtConfirmation) {
            self.journal.swallowed.extend(recorded_at_confirmation(&outcome.facts));
        }
        let given_up = outcome.facts.iter().filter_map(|(_, fact)| match &fact.what {
            What::ExecutorLost { executor, .. } => Some((self.now, Sign::GivenUp(executor.clone()))),
            _ => None,
        });
        self.physical.signs.extend(given_up);
        let seq = life.state.seq;
        let awaiting = outcome.facts.iter().find(|(_, f)| matches!(f.what, What::JudgementAwaited { .. }));
        let awaiting = awaiting.map(|(_, fact)| fact.run.clone());
        if !outcome.effects.is_empty() {
            life.waiting.push_back((seq, self.now, outcome.effects));
        }
        if !outcome.facts.is_empty() {
            let takes = if self.random.chance(950) {
                self.random.within(0..=6)
            } else {
                self.random.within(20..=COMMIT_MS)
            };
            let stalls_ms = std::mem::take(&mut self.journal.stalls_ms);
            if stalls_ms > 0 {
                self.census.count("fault: journal stalled");
            }
            let until = (life.commits_until.max(self.now) + takes).min(self.now + 2 * COMMIT_MS);
            life.commits_until = life.commits_until.max(until) + stalls_ms;
            life.undurable.push_back(outcome.facts);
            let delay = life.commits_until - self.now;
            self.after(delay, Action::Committed { epoch: self.epoch, seq });
        }
        self.perform_durable();
        self.arm_scheduler();
        if let (Some(Plant::SilenceTakenForConsent), Some(run)) = (self.plant, awaiting) {
            self.step(Event::Judge { request: Call(0), run, word: Some(Vec::new()) });
        }
    }

    pub fn committed(&mut self, seq: Seq) {
        let Some(life) = self.life.as_mut() else { return };
        let Some(facts) = life.undurable.pop_front() else { return };
        debug_assert_eq!(facts.last().map(|(last, _)| *last), Some(seq), "commits come in order");
        if let Some(down_ms) = self.journal.fails.take() {
            self.census.count("fault: journal failed");
            life.undurable.push_front(facts);
            return self.scheduler_crashes(down_ms);
        }
        let all = life.undurable.is_empty();
        self.excuse();
        self.becomes_durable(facts);
        let worth = self.census.steps >= self.snapshot_at + self.census.check_every;
        if all && self.random.chance(10) && worth {
            self.snapshot_at = self.census.steps;
            let life = self.life.as_ref().expect("it is alive");
            let body = serde_json::to_string(&life.state).expect("the state has only text keys");
            self.journal.snapshot(life.state.seq, body);
        }
        self.watchers_read();
        self.perform_durable();
    }

    fn becomes_durable(&mut self, facts: Vec<(Seq, Fact)>) {
        for (seq, fact) in &facts {
            self.log(|| format!("  fact {seq} {:.300}", format!("{} {:?}", fact.run, fact.what)));
            self.census.count(fact_kind(&fact.what));
            if let Some(kind) = met(&fact.what) {
                self.census.count(kind);
            }
            if self.journal.is_late_result(&fact.what) {
                self.census.count("met: late result taken");
            }
        }
        let archived: Vec<_> =
            facts.iter().filter(|(_, f)| f.what == What::Archived).map(|(_, f)| f.run.clone()).collect();
        self.journal.append(self.now, facts);
        for run in archived {
            let run = self.run_index(&run);
            self.clients[run].archived = true;
        }
    }

    /// Performs the effects whose facts are durable, in order.
    fn perform_durable(&mut self) {
        let hasty = self.plant == Some(Plant::AcknowledgedBeforeDurable);
        let durable = self.journal.last();
        while let Some(life) = self.life.as_mut()
            && let Some((.., effects)) = life.waiting.pop_front_if(|(seq, ..)| hasty || *seq <= durable)
        {
            effects.into_iter().for_each(|effect| self.perform(effect));
        }
    }

    fn perform(&mut self, effect: Effect) {
        self.census.count(effect_kind(&effect));
        let Some(life) = self.life.as_mut() else { return };
        match effect {
            Effect::Answer { call, desired } => {
                let Some((agent, transport)) = life.calls.remove(&call) else { return };
                self.send_to_agent(agent, &ToAgent::Answer { transport, desired });
            }
            Effect::Drop { call } | Effect::Displaced { call } => {
                let Some((agent, transport)) = life.calls.remove(&call) else { return };
                self.send_to_agent(agent, &ToAgent::Failed { transport });
            }
            Effect::Submitted { request, .. } => {
                if let Some(run) = life.submissions.remove(&request) {
                    self.clients[run].submitted = true;
                }
            }
            Effect::Refused { refusal, .. } => panic!("a run was refused: {refusal:?}"),
            Effect::Plan { run, generation, anticipated, .. } => {
                let delay = self.random.within(20..=800);
                let index = self.run_index(&run);
                self.after(delay, Action::Planned { epoch: self.epoch, run, generation, anticipated });
                self.milestone(Milestone::PlanAsked);
                if self.scenario.runs[index].cancelled_in_planning {
                    self.client_cancels(index);
                }
            }
            Effect::Anticipate { run, .. } => {
                let most = match self.random.within(0..=19) {
                    0 => 60_000,
                    1 | 2 => 4000,
                    _ => 500,
                };
                let delay = self.random.within(1..=most);
                self.after(delay, Action::Anticipated { epoch: self.epoch, run });
            }
            Effect::Archive { run } => {
                let index = self.run_index(&run);
                assert!(self.clients_stream_ended(index), "a run is archived before its end is durable");
                let delay = self.random.within(20..=800);
                self.after(delay, Action::Archived { epoch: self.epoch, run });
                self.milestone(Milestone::ArchiveAsked);
            }
            Effect::Heard { request } => {
                if let Some(run) = life.cancellations.remove(&request) {
                    self.clients[run].cancel_heard.get_or_insert(self.now);
                }
            }
            Effect::Live { .. } => {}
        }
        let waits = self.scenario.crash_after == Some(Milestone::TakenBack);
        if waits && self.life.as_ref().is_some_and(|life| life.state.runs.values().any(asks_back)) {
            self.milestone(Milestone::TakenBack);
        }
    }

    fn clients_stream_ended(&self, run: usize) -> bool {
        let stream = self.journal.stream(&self.scenario.runs[run].spec.id, Seq(0));
        self.plant == Some(Plant::AcknowledgedBeforeDurable)
            || stream.iter().any(|(.., event)| matches!(event, seagull_domain::RunEvent::RunFinished { .. }))
    }

    fn milestone(&mut self, milestone: Milestone) {
        if self.scenario.crash_after == Some(milestone) {
            self.scenario.crash_after = None;
            let down_ms = self.random.within(50..=3000);
            let delay = self.random.within(0..=20);
            self.after(delay, Action::Fault(Fault::CrashScheduler { down_ms }));
        }
    }

    pub fn planned(&mut self, run: RunId, generation: Generation, anticipated: Option<Digest>) {
        let mut outcome = planner::plan(&self.scenario.runs[self.run_index(&run)], anticipated);
        if let (Some(Plant::TestsNotMoved), Ok(plan)) = (self.plant, &mut outcome) {
            let places = plan.moved.iter_mut().flatten();
            places.zip((0..).map(TestIndex)).for_each(|(place, test)| *place = place.and(Some(test)));
        }
        if let (Some(Plant::RelationCut), Ok(plan)) = (self.plant, &mut outcome) {
            plant::cut_relation(plan);
        }
        self.step(Event::Planned { run, generation, outcome });
    }

    pub fn anticipated(&mut self, run: RunId) {
        if let Some((discovered, plan)) = planner::anticipate(&self.scenario.runs[self.run_index(&run)]) {
            self.step(Event::Anticipated { run, discovered, plan });
        }
    }

    pub fn archived(&mut self, run: RunId) {
        let index = self.run_index(&run);
        self.clients[index].in_results = true;
        self.step(Event::Archived { run });
    }

    pub fn run_index(&self, run: &RunId) -> usize {
        let place = self.scenario.runs.iter().position(|plan| plan.spec.id == *run);
        place.expect("only runs of the scenario are submitted")
    }
}

/// What was kept until a confirmation, and is recorded with it.
fn recorded_at_confirmation(facts: &[(Seq, Fact)]) -> impl Iterator<Item = Seq> {
    let confirms = |what: &What| match what {
        What::Confirmed { .. } => true,
        What::Planned { plan, .. } => plan.moved.is_some(),
        _ => false,
    };
    let confirmed = facts.iter().skip_while(move |(_, fact)| !confirms(&fact.what));
    confirmed.filter(|(_, fact)| matches!(fact.what, What::Recorded { .. })).map(|(seq, _)| *seq)
}

fn asks_back(run: &seagull_scheduler_core::Run) -> bool {
    run.attempts.values().any(|attempt| !attempt.asked.is_empty())
}
