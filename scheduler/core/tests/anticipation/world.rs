//! What anticipation is tested with: a scheduler with executors of one slot each, which say what they are told to.

use std::collections::BTreeMap;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Batch, Desired, Digest, Discovery, EndCause, Epoch, Generation,
    Instant, Outcome, PlanSummary, Record, Report, RunEvent, RunId, RunVerdict, SlotIndex, TestIndex,
    Verdict, WorkerReport,
};
use seagull_scheduler_core::{Call, Effect, Event, Fact, Phase, Plan, Settings, State, What, project};

use crate::fixture::{self, spec};

pub const DISCOVERY: u64 = 1;
pub const FOUND: Digest = Digest([7; 32]);
pub const MANIFEST: Digest = Digest([8; 32]);
pub const FOUND_INSTEAD: Digest = Digest([10; 32]);

/// A scheduler with executors of one slot each, which say what they are told to.
pub struct World {
    pub state: State,
    pub now: Instant,
    pub executors: BTreeMap<&'static str, Executor>,
    pub calls: u64,
    /// All that was journalled.
    pub journal: Vec<Fact>,
}

#[derive(Default)]
pub struct Executor {
    pub sequence: u64,
    pub known: (Epoch, u64),
    pub attempts: Vec<(u64, AttemptState)>,
    pub worker: bool,
    pub held: Option<Call>,
}

pub fn run() -> RunId {
    "r".parse().unwrap()
}

/// Four tests of ten seconds in two bundles.
pub fn plan() -> Box<Plan> {
    Box::new(Plan {
        environments: Vec::new(),
        manifest: MANIFEST,
        bundles: vec![vec![TestIndex(0), TestIndex(1)], vec![TestIndex(2), TestIndex(3)]],
        predicted_us: vec![10_000_000; 4],
        limits_ms: vec![300_000; 4],
        relations: Vec::new(),
        unknown: Vec::new(),
        summary: PlanSummary { bundles: 2, ..PlanSummary::default() },
        empty_by_definition: false,
        first: 0,
        fail_fast: None,
        to_judge: false,
        moved: None,
    })
}

pub fn result(test: u32) -> Record {
    Record::Result(fixture::result(test, Outcome::Passed))
}

pub fn discovered(manifest: Digest) -> AttemptState {
    AttemptState::Ended(EndCause::Discovered(Discovery { manifest, tests: 4 }))
}

impl World {
    /// The executor `a` discovers; `b` and `c` have a bundle each of the two that are anticipated.
    pub fn anticipating() -> World {
        let mut world = World::discovering(&["a", "b", "c"]);
        let (facts, _) = world.anticipate();
        assert_eq!(assigned(&facts), [("b", 2), ("c", 3)]);
        world.says("b", &[(2, AttemptState::Running(Some(TestIndex(0))))]);
        world.says("c", &[(3, AttemptState::Running(Some(TestIndex(2))))]);
        for executor in ["a", "b", "c"] {
            world.report(executor, &[]);
        }
        world
    }

    pub fn new() -> World {
        World {
            state: State::new(Epoch(1), Settings::default()),
            now: Instant(0),
            executors: BTreeMap::new(),
            calls: 0,
            journal: Vec::new(),
        }
    }

    /// The executor `a` discovers.
    pub fn discovering(executors: &[&'static str]) -> World {
        let mut world = World::new();
        for executor in executors {
            world.report(executor, &[]);
        }
        let (_, effects) = world.step(Event::Submit { request: Call(1000), spec: Box::new(spec("r")) });
        let slots = executors.len() as u32;
        assert!(effects.contains(&Effect::Anticipate { run: run(), slots }), "{effects:?}");
        world.says("a", &[(DISCOVERY, AttemptState::Running(None))]);
        world
    }

    pub fn anticipate(&mut self) -> (Vec<What>, Vec<Effect>) {
        self.step(Event::Anticipated { run: run(), discovered: FOUND, plan: plan() })
    }

    pub fn step(&mut self, event: Event) -> (Vec<What>, Vec<Effect>) {
        let outcome = self.state.step(self.now, event);
        self.state.sanity_check();
        for effect in &outcome.effects {
            if let Effect::Answer { call, desired } = effect
                && let Some(executor) = self.executors.values_mut().find(|e| e.held == Some(*call))
            {
                executor.held = None;
                executor.known = (desired.epoch, desired.version);
            }
        }
        let facts: Vec<_> = outcome.facts.into_iter().map(|(_, fact)| fact).collect();
        self.journal.extend(facts.iter().cloned());
        (facts.into_iter().map(|fact| fact.what).collect(), outcome.effects)
    }

    /// From now on the executor reports of these attempts.
    pub fn says(&mut self, executor: &'static str, attempts: &[(u64, AttemptState)]) {
        let state = self.executors.get_mut(executor).unwrap();
        state.attempts = attempts.to_vec();
        state.worker = true;
    }

    pub fn report(
        &mut self,
        executor: &'static str,
        batches: &[(u64, u32, Record)],
    ) -> (Vec<What>, Vec<Effect>) {
        self.calls += 1;
        let call = Call(self.calls);
        let state = self.executors.entry(executor).or_default();
        state.sequence += 1;
        state.held = Some(call);
        let attempt = |(attempt, state): &(u64, AttemptState)| {
            let (attempt, generation, kept) = (AttemptId(*attempt), Generation(1), Vec::new());
            AttemptReport { attempt, run: run(), generation, kept, state: state.clone() }
        };
        let batch = |(attempt, number, record): &(u64, u32, Record)| {
            let (attempt, records) = (AttemptId(*attempt), vec![record.clone()]);
            Batch { run: run(), attempt, number: *number, records }
        };
        let runs = self.state.runs.get(&run());
        let worker = runs.and_then(|run| run.worker(&executor.parse().unwrap(), SlotIndex(0)));
        let worker = worker.filter(|_| state.worker).map(|worker| worker.number);
        let report = Report {
            capacity: seagull_domain::Resources::UNBOUNDED,
            executor: executor.parse().unwrap(),
            boot: "b1".parse().unwrap(),
            sequence: state.sequence,
            known: state.known,
            slots: 1,
            labels: Default::default(),
            draining: None,
            attempts: state.attempts.iter().map(attempt).collect(),
            workers: worker
                .map(|number| WorkerReport { run: run(), slot: SlotIndex(0), number })
                .into_iter()
                .collect(),
            batches: batches.iter().map(batch).collect(),
        };
        self.step(Event::Report { call, report: Box::new(report) })
    }

    /// What readers were told of so far.
    pub fn told(&self) -> Vec<RunEvent> {
        self.journal.iter().flat_map(project).collect()
    }

    pub fn phase(&self) -> Phase {
        self.state.runs[&run()].phase
    }

    /// Nothing of the anticipated plan is left but what is to be interrupted.
    pub fn is_withdrawn(&self) {
        let state = &self.state.runs[&run()];
        assert!(state.anticipated.is_none() && state.manifest.is_none());
        assert!(state.buffered.is_empty() && state.tests.is_empty() && state.pending.is_empty());
        assert!(state.attempts.values().all(|attempt| attempt.withdrawn == attempt.bundle.is_some()));
        let of_tests = |e: &RunEvent| matches!(e, RunEvent::TestFinished { .. } | RunEvent::Verdict { .. });
        assert!(!self.told().iter().any(of_tests));
    }

    /// The anticipated attempts are interrupted, end, and cost nothing.
    pub fn interrupted_attempts_end(&mut self, executors: &[(&'static str, u64)]) {
        for (executor, attempt) in executors {
            self.says(executor, &[(*attempt, AttemptState::Ended(EndCause::Cancelled))]);
            let late = (*attempt, 2, result(0));
            let (facts, effects) = self.report(executor, &[late]);
            assert!(!facts.iter().any(|what| matches!(what, What::Recorded { .. })), "{facts:?}");
            assert_eq!(desired(&effects, self.calls).unwrap().acknowledged, [(AttemptId(*attempt), 2)]);
            let ended = facts.iter().find_map(|what| match what {
                What::AttemptEnded { attempt, cause, left, .. } => Some((attempt.0, cause.clone(), *left)),
                _ => None,
            });
            assert_eq!(ended, Some((*attempt, EndCause::Cancelled, 0)));
            self.says(executor, &[]);
        }
        let losses: u32 = self.state.runs[&run()].tests.iter().map(|test| test.losses).sum();
        assert_eq!(losses, 0);
    }

    /// Its plan comes, all tests pass, and the run ends green.
    pub fn ends_as_if_nothing_had_been_anticipated(&mut self, generation: u32) {
        let generation = Generation(generation);
        assert_eq!(self.phase(), Phase::Planning { generation, discovered: Digest([9; 32]) });
        self.step(Event::Planned { run: run(), generation, outcome: Ok(plan()) });
        let manifest = MANIFEST;
        let confirmed = RunEvent::ManifestConfirmed { generation, manifest, tests: 4 };
        assert!(self.told().contains(&confirmed));
        self.ends_green();
    }

    pub fn ends_green(&mut self) {
        while !self.state.runs[&run()].all_decided() {
            let live: Vec<_> =
                self.state.runs[&run()].live_attempts().map(|(id, a)| (id, a.clone())).collect();
            for (id, attempt) in live.into_iter().filter(|(_, attempt)| !attempt.withdrawn) {
                let executor = *self.executors.keys().find(|e| **e == attempt.executor.as_str()).unwrap();
                self.says(executor, &[(id.0, AttemptState::Ended(EndCause::Completed))]);
                let left = (attempt.batch + 1..).zip(attempt.left.values());
                let batches: Vec<_> =
                    left.map(|(number, (test, _))| (id.0, number, result(test.0))).collect();
                self.report(executor, &batches);
            }
        }
        let executors: Vec<_> = self.executors.keys().copied().collect();
        for executor in executors {
            let state = self.executors.get_mut(executor).unwrap();
            state.attempts.clear();
            state.worker = false;
            self.report(executor, &[]);
        }
        assert!(matches!(self.phase(), Phase::Ended { verdict: RunVerdict::Passed, exit_code: 0 }));
    }
}

pub fn desired(effects: &[Effect], to: u64) -> Option<&Desired> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { call, desired } if *call == Call(to) => Some(&**desired),
        _ => None,
    })
}

/// Who was given what.
pub fn assigned(facts: &[What]) -> Vec<(&str, u64)> {
    let assigned = facts.iter().filter_map(|what| match what {
        What::Assigned { executor, attempt, .. } => Some((executor.as_str(), attempt.0)),
        _ => None,
    });
    assigned.collect()
}

pub fn verdicts(facts: &[What]) -> Vec<(u32, Verdict)> {
    let decided = facts.iter().filter_map(|what| match what {
        What::Decided { verdicts } => Some(verdicts.iter().map(|(test, verdict)| (test.0, *verdict))),
        _ => None,
    });
    decided.flatten().collect()
}
