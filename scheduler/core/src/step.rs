//! One step: an event comes in, facts and effects come out.

use std::collections::BTreeSet;

use seagull_domain::{
    AttemptId, ExecutorId, Generation, Instant, NotExecuted, RunId, RunSpec, Seq, TestIndex,
};

use crate::event::{Plan, PlanFailure};
use crate::fact::{Fact, What};
use crate::run::{Phase, Run};
use crate::{Call, Effect, Event, Refusal, State};

/// What a step comes to: facts to journal (already applied), and effects to perform once those are durable.
#[derive(Debug, Default)]
pub struct Outcome {
    pub facts: Vec<(Seq, Fact)>,
    pub effects: Vec<Effect>,
}

/// A step under way.
pub(crate) struct Step<'a> {
    pub state: &'a mut State,
    pub now: Instant,
    pub outcome: Outcome,
    /// Runs that may be able to go on.
    pub touched: BTreeSet<RunId>,
    /// Tests whose situation changed, with where they were last, in the order they should run in.
    pub open: Vec<(RunId, TestIndex, Origin)>,
    /// Executors whose desired state or room may have changed.
    pub dirty: BTreeSet<ExecutorId>,
    /// Whose report is at hand, and how far its batches are recorded.
    pub reporter: Option<ExecutorId>,
    pub acknowledged: Vec<(AttemptId, u32)>,
}

/// Where a test that may be run again was before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub attempt: AttemptId,
    /// Where it should not go if it can go elsewhere: wherever it was.
    pub avoid: BTreeSet<ExecutorId>,
    /// How many attempts it was in, with just what it is in now or more, that came to nothing.
    pub in_vain: u32,
}

impl State {
    pub fn step(&mut self, now: Instant, event: Event) -> Outcome {
        let mut step = Step {
            state: self,
            now,
            outcome: Outcome::default(),
            touched: BTreeSet::new(),
            open: Vec::new(),
            dirty: BTreeSet::new(),
            reporter: None,
            acknowledged: Vec::new(),
        };
        step.handle(event);
        step.settle();
        step.outcome
    }
}

impl Step<'_> {
    fn handle(&mut self, event: Event) {
        match event {
            Event::Submit { request, spec } => self.submit(request, *spec),
            Event::Cancel { request, run } => self.cancel(request, &run),
            Event::Judge { request, run, word } => self.judge(request, run, word),
            Event::Watched { run } => self.watched(&run),
            Event::Unwatched { run } => self.unwatched(&run),
            Event::Report { call, report } => self.report(call, *report),
            Event::Drain { executors, limit_ms } => self.drain(executors, limit_ms),
            Event::Disconnected { executor, boot, sequence } => self.disconnected(&executor, &boot, sequence),
            Event::Planned { run, generation, outcome } => self.planned(&run, generation, outcome),
            Event::Anticipated { run, discovered, plan } => self.anticipated(&run, discovered, plan),
            Event::Archived { run } => self.archived(run),
            Event::Tick => self.tick(),
            Event::Unanswered(executors) => self.unanswered(&executors),
            Event::Paused(pause) => self.paused(pause),
            Event::Recovered => self.recovered(),
        }
    }

    /// Journals a fact and applies it.
    pub fn record(&mut self, run: &RunId, what: What) {
        let fact = Fact { run: run.clone(), what };
        self.state.apply(&fact);
        self.outcome.facts.push((self.state.seq, fact));
        self.touched.insert(run.clone());
    }

    pub fn effect(&mut self, effect: Effect) {
        self.outcome.effects.push(effect);
    }

    fn submit(&mut self, request: Call, spec: RunSpec) {
        let run = spec.id.clone();
        let refusal = match self.state.runs.get(&run) {
            Some(existing) => spec.difference(&existing.spec).map(Refusal::Differs),
            None if self.unfinished() >= self.state.settings.max_runs => Some(Refusal::TooManyRuns),
            None => None,
        };
        if let Some(refusal) = refusal {
            return self.effect(Effect::Refused { request, refusal });
        }
        let attached = self.state.runs.contains_key(&run);
        if attached {
            self.asked_again(&run);
            if spec.awaits_judgement {
                self.take_judge(&run);
            }
        } else {
            self.withdraw_all();
            self.record(&run, What::Submitted(Box::new(spec)));
            self.expect_watchers(&run);
        }
        self.effect(Effect::Submitted { request, run, attached });
    }

    pub fn unfinished(&self) -> usize {
        self.state.runs.values().filter(|run| !run.is_ended()).count()
    }

    /// What does not go on needs no stop.
    fn cancel(&mut self, request: Call, run: &RunId) {
        if self.state.runs.get(run).is_some_and(Run::goes_on) {
            self.stop(run, NotExecuted::Cancelled);
        }
        self.effect(Effect::Heard { request });
    }

    /// Stops dispatch; tests that nobody holds are decided at once, the others when their attempts have ended.
    pub fn stop(&mut self, run: &RunId, reason: NotExecuted) {
        self.withdraw(run);
        self.record(run, What::Stopping { reason });
        self.state.watches.remove(run);
        self.state.judgements.remove(run);
        let state = &self.state.runs[run];
        self.dirty.extend(state.workers.keys().cloned());
        let origin = Origin { attempt: AttemptId(0), avoid: BTreeSet::new(), in_vain: 0 };
        let open = (0..).map(TestIndex).zip(&state.tests).filter(|(_, t)| t.verdict.is_none() && t.held == 0);
        self.open.extend(open.map(|(test, _)| (run.clone(), test, origin.clone())));
    }

    fn planned(&mut self, run: &RunId, generation: Generation, outcome: Result<Box<Plan>, PlanFailure>) {
        let phase = self.state.runs.get(run).map(|run| run.phase);
        if !matches!(phase, Some(Phase::Planning { generation: waiting, .. }) if waiting == generation) {
            return;
        }
        match outcome {
            Ok(plan) => self.take_plan(run, generation, plan),
            Err(PlanFailure(message)) => {
                self.withdraw(run);
                self.record(run, What::DiscoveryFailed { message });
            }
        }
    }

    fn archived(&mut self, run: RunId) {
        if self.state.runs.get(&run).is_some_and(Run::is_ended) {
            self.record(&run, What::Archived);
            self.state.starts_us.remove(&run);
        }
    }
}
