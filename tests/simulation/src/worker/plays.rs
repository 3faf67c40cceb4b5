//! What a worker does by itself, by its script.

use seagull_domain::{
    AttemptId, Discovery as Discovered, Outcome, Role, Sickness, SuiteError, TestIndex, TestResult,
};
use seagull_executor_core::{Exit, Over, Renewal, WorkerEvent};

use super::{Death, FILE, Finish, Place, Stage};
use crate::physical::{Ended, Execution, WorkerLife};
use crate::planner::{self, DISCOVERED};
use crate::scenario::{Discovery, Does, Script, TEST_KIB};
use crate::world::{Action, World};

impl World {
    pub(super) fn is_ready(&mut self, place: Place) {
        let run = self.at(place).run;
        let spec = &self.scenario.runs[run].spec;
        let resets = self.scenario.runs[run].resets();
        let renewal = Renewal {
            isolation: spec.isolation,
            memory_kib: spec.worker_memory_kib,
            resets,
            ..Renewal::default()
        };
        let (grace_ms, fails_fast) = (spec.grace_ms, spec.fail_fast.is_some());
        self.say(place, WorkerEvent::Renews(renewal));
        if fails_fast {
            self.say(place, WorkerEvent::FailsFast);
        }
        self.say(place, WorkerEvent::Ready { grace_ms });
        if self.at(place).discovers {
            let delay = self.random.within(50..=2000);
            self.enter(place, Stage::Discovering, Some(delay));
        } else {
            let (dies, delay) = (self.mishap(7), self.random.within(1..=20));
            self.enter(place, Stage::Opening { dies }, Some(delay));
        }
    }

    pub(super) fn has_discovered(&mut self, place: Place) {
        let run = self.at(place).run;
        self.life(place).discovery_told = true;
        match self.scenario.runs[run].discovery {
            Discovery::Succeeds => {
                let tests = self.scenario.runs[run].tests.len() as u32;
                self.say(place, WorkerEvent::Discovered(Discovered { manifest: DISCOVERED, tests }));
                self.goes_on(place);
            }
            Discovery::Fails => {
                let message = "conftest.py: no module named x".into();
                self.say(place, WorkerEvent::DiscoveryFailed(message));
                self.finishes(place);
            }
            Discovery::Dies => {
                // The first such death of a discovery is forgiven.
                let (agent, attempt) = (self.life(place).agent, self.life(place).attempt);
                let of = |life: &&WorkerLife| (life.agent, life.attempt) == (agent, attempt);
                let told = self.physical.workers.iter().filter(of).filter(|life| life.discovery_told);
                let again = told.count() > 1;
                self.life(place).suite_errors += u32::from(again);
                self.dies(place, Death::Other);
            }
        }
    }

    /// To the next test that it finds, or to rest.
    pub(super) fn goes_on(&mut self, place: Place) {
        while let Some((attempt, test)) = self.at(place).queue.pop_front() {
            let meant = self.meant(place, attempt, test);
            if self.finds(place, meant) {
                return self.collects(place, attempt, test);
            }
            self.census.count("fault: test missing");
            self.say(place, WorkerEvent::Missing { test, reason: "not collected".into() });
        }
        if self.at(place).finishing {
            return self.finishes(place);
        }
        let peak_kib = self.at(place).ran * TEST_KIB;
        self.say(place, WorkerEvent::Next { failed: false, peak_kib });
        let dies_in = self.random.chance(15).then_some(300);
        self.enter(place, Stage::Idle, dies_in);
    }

    /// Which test an attempt's index means.
    fn meant(&mut self, place: Place, attempt: AttemptId, test: TestIndex) -> TestIndex {
        let run = self.at(place).run;
        let manifest = self.agents[place.0].manifests[&attempt];
        planner::meant(&self.scenario.runs[run], manifest, test)
    }

    pub(super) fn script(&self, run: usize, test: TestIndex) -> &Script {
        self.scenario.runs[run].script(test)
    }

    fn finds(&mut self, place: Place, test: TestIndex) -> bool {
        let (run, whole) = (self.at(place).run, self.at(place).whole);
        match self.script(run, test).does {
            Does::IsNowhere => false,
            Does::IsMissingOn(executor) => {
                self.scenario.executors[executor].name != self.physical.agents[place.0].executor
            }
            Does::NeedsWholeCollection => whole,
            _ => true,
        }
    }

    fn collects(&mut self, place: Place, attempt: AttemptId, test: TestIndex) {
        let meant = self.meant(place, attempt, test);
        let (file, run) = (meant.0 / FILE, self.at(place).run);
        let crashes = self.script(run, meant).does == Does::CrashesCollection;
        if self.at(place).collected.insert(file) || crashes {
            let execution = crashes.then(|| self.begin_execution(place, attempt, test));
            let delay = self.random.within(1..=40);
            self.say(place, WorkerEvent::Collecting);
            self.enter(place, Stage::Collecting(attempt, test, execution), Some(delay));
        } else {
            self.begins(place, attempt, test);
        }
    }

    pub(super) fn begins(&mut self, place: Place, attempt: AttemptId, test: TestIndex) {
        let execution = self.begin_execution(place, attempt, test);
        self.say(place, WorkerEvent::Started(test));
        let Execution { run, test, nth, .. } = self.physical.executions[execution];
        let script = self.script(run, test);
        let at_once = self.sick(place.0, Sickness::TestsFail).is_some_and(|sick| sick.at_once);
        let takes_ms = script.slow_ms.filter(|_| nth == 1).unwrap_or(script.duration_ms);
        let takes_ms = if at_once && script.does == Does::Always(Outcome::Passed) { 1 } else { takes_ms };
        let delay = (script.does != Does::Hangs).then_some(takes_ms);
        self.enter(place, Stage::Calling(execution), delay);
    }

    pub(super) fn begin_execution(&mut self, place: Place, attempt: AttemptId, called: TestIndex) -> usize {
        let (run, worker) = (self.at(place).run, self.at(place).life);
        let role = self.agents[place.0].roles.get(&(attempt, called)).copied().unwrap_or(Role::Run);
        let test = self.meant(place, attempt, called);
        let nth = self.begun.entry((run, test.0)).or_default();
        *nth += 1;
        let nth = *nth;
        let (agent, start) = (place.0, self.now);
        let execution = Execution {
            run,
            test,
            called,
            role,
            attempt,
            agent,
            worker,
            nth,
            start,
            end: None,
            ended: Ended::Not,
        };
        self.log(|| {
            format!("    agent {agent} worker {worker} begins {test} ({role:?}) of attempt {attempt}")
        });
        self.physical.executions.push(execution);
        self.physical.executions.len() - 1
    }

    pub(super) fn end_execution(&mut self, execution: usize, ended: Ended) {
        let execution = &mut self.physical.executions[execution];
        (execution.end, execution.ended) = (Some(self.now), ended);
    }

    pub(super) fn has_called(&mut self, place: Place, execution: usize) {
        let Execution { run, test, called, .. } = self.physical.executions[execution];
        let nothing_next = self.at(place).queue.is_empty() && !self.at(place).finishing;
        let is_larger = self.life(place).larger;
        match self.script(run, test).does {
            Does::CrashesWorker => {
                self.census.count("fault: worker crashed by a test");
                self.crashes(place, execution);
            }
            Does::TakesMemory { always } if always || !is_larger => {
                self.census.count("fault: worker killed for want of memory");
                self.at(place).over_memory = true;
                self.crashes(place, execution);
            }
            Does::KillsExecutor => {
                self.census.count("fault: executor killed by a test");
                let executor = self.executor_of(place.0);
                let back_after = self.random.within(50..=3000);
                self.executor_dies(executor, Some(back_after));
            }
            Does::ExitsSession => {
                self.census.count("fault: session ended by a test");
                self.ends_by_itself(place, execution);
                self.at(place).exited_by = Some(execution);
                self.life(place).broke = true;
                self.say(
                    place,
                    WorkerEvent::Interrupted { test: Some(called), failure: "exit".to_owned().into() },
                );
                self.finishes(place);
            }
            _ if nothing_next => {
                let peak_kib = (self.at(place).ran + 1) * TEST_KIB;
                let failed = self.script(run, test).does == Does::Always(Outcome::Failed);
                self.say(place, WorkerEvent::Next { failed, peak_kib });
                self.enter(place, Stage::Waiting(execution), Some(1000));
            }
            _ => self.enter(place, Stage::TearingDown(execution), Some(1)),
        }
    }

    pub(super) fn crashes(&mut self, place: Place, execution: usize) {
        if self.ends_by_itself(place, execution) {
            self.is_told_of(place);
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

    pub(super) fn has_torn_down(&mut self, place: Place, execution: usize) {
        let Execution { run, test, called, nth, .. } = self.physical.executions[execution];
        let worker = self.at(place);
        (worker.worked, worker.ran) = (true, worker.ran + 1);
        let ran = worker.ran;
        let script = self.script(run, test);
        let duration_us = script.duration_ms * 1000;
        let outcome = match script.does {
            Does::Always(outcome) => outcome,
            Does::FailsFirst(times) if nth <= times => Outcome::Failed,
            _ => Outcome::Passed,
        };
        let outcome = self.suffered(place, execution, outcome);
        let result = TestResult {
            cpu_us: 0,
            test: called,
            ordinal: 0,
            last: true,
            outcome,
            detail: String::new(),
            cause: (outcome == Outcome::Failed).then_some(seagull_domain::TestCause::Assertion),
            phases: [0, duration_us, 0],
            peak_kib: ran * TEST_KIB,
            started_at: 0,
            message: "x".repeat(self.scenario.message_bytes),
            location: String::new(),
            text: None,
        };
        self.end_execution(execution, Ended::With(outcome));
        self.say(place, WorkerEvent::Finished(result));
        self.goes_on(place);
    }

    /// What a test comes to on its machine.
    fn suffered(&mut self, place: Place, execution: usize, outcome: Outcome) -> Outcome {
        if outcome != Outcome::Passed || self.sick(place.0, Sickness::TestsFail).is_none() {
            return outcome;
        }
        self.census.count("fault: test failed on a sick machine");
        let Execution { run, test, .. } = self.physical.executions[execution];
        self.physical.unlucky.insert((run, test));
        Outcome::Failed
    }

    pub(super) fn finishes(&mut self, place: Place) {
        let finish = match self.random.within(0..=99) {
            _ if self.now >= self.scenario.calm_at => Finish::Clean,
            0 | 1 => Finish::Hangs,
            2 => Finish::WithError,
            3 => Finish::Dies,
            _ => Finish::Clean,
        };
        let delay = self.random.within(1..=100);
        self.enter(place, Stage::Finishing(finish), (finish != Finish::Hangs).then_some(delay));
    }

    pub(super) fn has_finished(&mut self, place: Place, finish: Finish) {
        match finish {
            Finish::Dies => {
                self.census.count("fault: worker died finishing");
                self.is_told_of(place);
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
        self.say(place, WorkerEvent::Ended { exit: None });
        self.is_gone(place, 0);
    }

    /// The process ends in a way that nothing announced.
    pub(super) fn dies(&mut self, place: Place, death: Death) {
        self.life(place).broke = true;
        self.enter(place, Stage::Dead(death), None);
        self.is_gone(place, 0);
    }

    /// The whole tree is gone after `delay`, and its agent hears of it a little later.
    pub(super) fn is_gone(&mut self, place: Place, delay: u64) {
        if !matches!(self.at(place).stage, Stage::Dead(_)) {
            self.enter(place, Stage::Dead(Death::Other), None);
        }
        self.life(place).end = Some(self.now + delay);
        let worker = self.at(place).id;
        let over_memory = self.at(place).over_memory;
        let event = WorkerEvent::Exited(Exit {
            over: over_memory.then_some(Over::Memory(TEST_KIB)),
            ..Exit::of("some way")
        });
        self.after(delay + 1, Action::Says { agent: place.0, slot: place.1, worker, event });
    }
}
