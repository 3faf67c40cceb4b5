//! What these tests share: a scheduler with executors of one slot each, which say what they are told to.

use std::collections::BTreeMap;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Batch, Desired, Digest, Discovery, Drain, EndCause, Environment,
    Epoch, Generation, InfraCause, Instant, Outcome, PlanSummary, Record, Relation, Report, Resources, Role,
    RunId, RunSpec, SlotIndex, TestIndex, Verdict, WorkerReport,
};
use seagull_scheduler_core::{Call, Effect, Event, Plan, Settings, State, What};

use crate::fixture::{self, spec};

/// A scheduler with executors, of one slot each where nothing else is said, which say what they are told to.
pub struct World {
    pub state: State,
    pub now: Instant,
    pub executors: BTreeMap<&'static str, Executor>,
    pub calls: u64,
}

#[derive(Clone, Default)]
pub struct Executor {
    pub boot: u32,
    pub more_slots: u16,
    /// Without bound where nothing is said.
    pub memory_kib: Option<u64>,
    pub sequence: u64,
    pub known: (Epoch, u64),
    pub draining: Option<InfraCause>,
    pub attempts: Vec<AttemptReport>,
}

pub fn run() -> RunId {
    "r".parse().unwrap()
}

pub fn tests(indices: impl IntoIterator<Item = u32>) -> Vec<TestIndex> {
    indices.into_iter().map(TestIndex).collect()
}

pub fn result(test: u32, outcome: Outcome) -> Record {
    Record::Result(fixture::result(test, outcome))
}

/// Nothing of an attempt started.
pub fn came_back() -> AttemptState {
    AttemptState::Ended(EndCause::GaveBack(InfraCause::SandboxFailed, "no such database".into()))
}

/// Bundles of ten-second tests.
pub fn plan(bundles: Vec<Vec<TestIndex>>, relations: Vec<Relation>, first: u32) -> Plan {
    let count = bundles.iter().map(Vec::len).sum::<usize>();
    Plan {
        environments: Vec::new(),
        manifest: Digest([8; 32]),
        bundles,
        predicted_us: vec![10_000_000; count],
        limits_ms: vec![300_000; count],
        relations,
        unknown: Vec::new(),
        summary: PlanSummary::default(),
        empty_by_definition: false,
        first,
        fail_fast: None,
        to_judge: true,
        moved: None,
    }
}

impl World {
    /// A run of one bundle of ten-second tests, on the executor `a`.
    pub fn running(retries: u32, count: u32, relations: Vec<Relation>) -> World {
        World::running_bundles(retries, vec![tests(0..count)], relations)
    }

    /// The same of several bundles, of which `a` has the first.
    pub fn running_bundles(retries: u32, bundles: Vec<Vec<TestIndex>>, relations: Vec<Relation>) -> World {
        World::running_in_turn(retries, bundles, relations, 0)
    }

    /// The same, of which some go before the others.
    pub fn running_in_turn(
        retries: u32,
        bundles: Vec<Vec<TestIndex>>,
        relations: Vec<Relation>,
        first: u32,
    ) -> World {
        World::running_plan(retries, plan(bundles, relations, first))
    }

    pub fn running_plan(retries: u32, plan: Plan) -> World {
        let mut world = World::of(retries);
        world.report("a", &[]);
        let tests = plan.predicted_us.len() as u32;
        let discovered = EndCause::Discovered(Discovery { manifest: Digest([7; 32]), tests });
        world.says("a", 1, AttemptState::Ended(discovered));
        world.report("a", &[]);
        world.plans(plan);
        world.says("a", 2, AttemptState::Running(None));
        world.report("a", &[]);
        world
    }

    /// A run of environments, of which the executors have something each.
    pub fn running_in_environments(executors: &[&'static str], plan: Plan) -> World {
        let mut world = World::of(0);
        let named = ["x", "y"].map(|name| (name.to_owned(), Environment::default()));
        let spec = &mut world.state.runs.get_mut(&run()).unwrap().spec;
        spec.suite.environments = named.into();
        for executor in executors {
            world.report(executor, &[]);
        }
        let tests = plan.predicted_us.len() as u32;
        let discovered = EndCause::Discovered(Discovery { manifest: Digest([7; 32]), tests });
        world.says(executors[0], 1, AttemptState::Ended(discovered));
        world.report(executors[0], &[]);
        world.plans(plan);
        world
    }

    /// A run that was submitted, and no executor.
    pub fn of(retries: u32) -> World {
        World::of_spec(RunSpec { retries, ..spec("r") })
    }

    pub fn of_spec(spec: RunSpec) -> World {
        let state = State::new(Epoch(1), Settings::default());
        let mut world = World { state, now: Instant(0), executors: BTreeMap::new(), calls: 0 };
        world.step(Event::Submit { request: Call(1000), spec: Box::new(spec) });
        world
    }

    /// What was discovered is planned: bundles of ten-second tests.
    pub fn planned(
        &mut self,
        bundles: Vec<Vec<TestIndex>>,
        relations: Vec<Relation>,
        first: u32,
    ) -> Vec<What> {
        self.plans(plan(bundles, relations, first))
    }

    pub fn plans(&mut self, plan: Plan) -> Vec<What> {
        self.step(Event::Planned { run: run(), generation: Generation(1), outcome: Ok(Box::new(plan)) }).0
    }

    pub fn step(&mut self, event: Event) -> (Vec<What>, Vec<Effect>) {
        let outcome = self.state.step(self.now, event);
        self.state.sanity_check();
        (outcome.facts.into_iter().map(|(_, fact)| fact.what).collect(), outcome.effects)
    }

    /// The scheduler's next life: from what is durable.
    pub fn restart(&mut self) {
        let State { seq, next_attempt, runs, placed, epoch, settings, .. } = self.state.clone();
        let state = State { seq, next_attempt, runs, placed, ..State::new(epoch, settings) };
        self.state = state.reopened(Epoch(epoch.0 + 1), settings);
        self.step(Event::Recovered);
    }

    /// From now on the executor reports of its one attempt.
    pub fn says(&mut self, executor: &'static str, attempt: u64, state: AttemptState) {
        let (attempt, generation, kept) = (AttemptId(attempt), Generation(1), Vec::new());
        let report = AttemptReport { attempt, run: run(), generation, kept, state };
        self.executors.entry(executor).or_default().attempts = vec![report];
    }

    pub fn report(&mut self, executor: &'static str, records: &[(u32, Record)]) -> Vec<What> {
        self.send(executor, records).0
    }

    pub fn send(&mut self, executor: &'static str, records: &[(u32, Record)]) -> (Vec<What>, Vec<Effect>) {
        self.calls += 1;
        let call = Call(self.calls);
        let state = self.executors.entry(executor).or_default();
        state.sequence += 1;
        let attempt = state.attempts.first().map_or(AttemptId(0), |status| status.attempt);
        let batch = |(number, record): &(u32, Record)| Batch {
            run: run(),
            attempt,
            number: *number,
            records: vec![record.clone()],
        };
        let state_of = &self.state.runs[&run()];
        let number =
            state_of.workers.get(&executor.parse().unwrap()).map(|slots| slots[&SlotIndex(0)].number);
        let worker = number.map(|number| WorkerReport { run: run(), slot: SlotIndex(0), number });
        let report = Report {
            executor: executor.parse().unwrap(),
            boot: format!("b{}", state.boot).parse().unwrap(),
            sequence: state.sequence,
            known: state.known,
            slots: 1 + state.more_slots,
            capacity: Resources { memory_kib: state.memory_kib.unwrap_or(u64::MAX), ..Resources::UNBOUNDED },
            labels: Default::default(),
            draining: state.draining.map(|cause| Drain { cause, why: "a signal".into() }),
            attempts: state.attempts.clone(),
            workers: worker.into_iter().filter(|_| !state.attempts.is_empty()).collect(),
            batches: records.iter().map(batch).collect(),
        };
        let (facts, effects) = self.step(Event::Report { call, report: Box::new(report) });
        if let Some(desired) = answer(&effects, call) {
            self.executors.get_mut(executor).unwrap().known = (desired.epoch, desired.version);
        }
        (facts, effects)
    }
}

pub fn answer(effects: &[Effect], to: Call) -> Option<&Desired> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { call, desired } if *call == to => Some(&**desired),
        _ => None,
    })
}

pub fn bundles(facts: &[What]) -> Vec<Vec<(u32, Role)>> {
    let bundle = |what: &What| match what {
        What::Bundled { entries, .. } => Some(entries.iter().map(|(test, role)| (test.0, *role)).collect()),
        _ => None,
    };
    facts.iter().filter_map(bundle).collect()
}

/// Who was given what.
pub fn assigned(facts: &[What]) -> Vec<(&str, AttemptId)> {
    let assigned = facts.iter().filter_map(|what| match what {
        What::Assigned { executor, attempt, .. } => Some((executor.as_str(), *attempt)),
        _ => None,
    });
    assigned.collect()
}

pub fn asked_back(facts: &[What]) -> Vec<TestIndex> {
    let asked = facts.iter().filter_map(|what| match what {
        What::TakeBack { tests, .. } => Some(tests.clone()),
        _ => None,
    });
    asked.flatten().collect()
}

pub fn decided(facts: &[What]) -> Vec<(TestIndex, Verdict)> {
    let decided = facts.iter().filter_map(|what| match what {
        What::Decided { verdicts } => Some(verdicts.clone()),
        _ => None,
    });
    decided.flatten().collect()
}

pub fn ordered(indices: impl IntoIterator<Item = u32>) -> Vec<Relation> {
    vec![Relation { ordered: true, tests: tests(indices) }]
}
