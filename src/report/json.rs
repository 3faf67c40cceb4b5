//! One JSON object a line: the events of a run for programs. The shapes are a promise, written down in
//! `docs/events.schema.json`.

mod sandbox;

use std::io::{self, ErrorKind, Write};

use seagull_domain::{
    Alone, Attachment, Counts, Evidence, InfraCause, PlanSummary, RunEvent, RunSpec, SkippedModule,
    StreamItem, SuiteError, TestResult, TextRef, Verdict,
};
use seagull_proto::convert::Printed;
use serde::Serialize;

use sandbox::Told;
pub use sandbox::{ImageObject, UsedObject};

use super::tally::Tally;
use super::{Closing, Live, Reporter, around};

pub struct Json<W> {
    out: W,
    /// Whoever read it has gone.
    unread: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    seq: u64,
    run: &'a str,
    #[serde(flatten)]
    body: Body<'a>,
}

/// What each event says besides its name, number and run. Durations are seconds.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    RunStarted {
        project: &'a str,
        owner: &'a str,
        rev: &'a str,
        arguments: &'a [String],
        select: &'a [String],
        retries: u32,
        fail_fast: Option<u32>,
        cap_seconds: f64,
        test_limit_seconds: Option<f64>,
        seed: u32,
    },
    Manifest {
        tests: u32,
        generation: u32,
        manifest: String,
        skipped_modules: &'a [SkippedModule],
        warnings: &'a [String],
    },
    Plan {
        provisional: bool,
        bundles: u32,
        slots: u32,
        cap_seconds: f64,
        total_seconds: f64,
        longest_seconds: f64,
        makespan_seconds: f64,
        lower_bound: u32,
        bound: &'a str,
        unknown: u32,
        oversize: u32,
        planning_seconds: f64,
    },
    AttemptAssigned {
        attempt: u64,
        executor: &'a str,
        slot: u32,
        kind: &'static str,
        tests: u32,
        copy_of: Option<String>,
    },
    TakenBack {
        attempt: u64,
        tests: u32,
        why: &'static str,
    },
    TestStarted {
        test: String,
        executor: &'a str,
        slot: u32,
    },
    Output {
        test: &'a str,
        attempt: u64,
        executor: &'a str,
        slot: u32,
        offset: u64,
        text: &'a str,
    },
    TestFinished {
        test: String,
        outcome: &'static str,
        detail: &'a str,
        cause: Option<&'static str>,
        seconds: f64,
        #[serde(flatten)]
        phases: Phases,
        peak_memory_kib: Option<u64>,
        cpu_seconds: Option<f64>,
        #[serde(flatten)]
        place: Place<'a>,
        started_at: Option<f64>,
        evidence: Option<&'static str>,
        message: &'a str,
        location: &'a str,
        text: Option<TextRef>,
    },
    Verdict {
        test: String,
        verdict: &'static str,
        cause: Option<String>,
    },
    TestMissing {
        test: String,
        attempt: u64,
        executor: &'a str,
        reason: &'a str,
    },
    SuiteError {
        title: &'a str,
        message: &'a str,
        executor: Option<&'a str>,
        text: Option<TextRef>,
    },
    Coverage {
        executor: &'a str,
        slot: u32,
        data: TextRef,
    },
    Attached {
        test: Option<String>,
        name: &'a str,
        bytes: u64,
        blob: Option<String>,
        #[serde(flatten)]
        place: Place<'a>,
    },
    Sandbox(Told<'a>),
    AttemptLost {
        attempt: u64,
        executor: &'a str,
        cause: &'static str,
        message: &'a str,
        tests: u32,
        charged: Vec<String>,
        suspect: Option<String>,
        alone: Option<AloneBody>,
        free: bool,
    },
    TestCutOff {
        test: String,
        attempt: u64,
        executor: &'a str,
        seconds: f64,
        cause: Option<&'static str>,
    },
    ExecutorLost {
        executor: &'a str,
        cause: &'static str,
    },
    ExecutorDrained {
        executor: &'a str,
        cause: &'static str,
        why: &'a str,
    },
    ExecutorCordoned {
        executor: &'a str,
        reason: &'static str,
        attempts: u32,
        elsewhere: u32,
    },
    ExecutorBack {
        executor: &'a str,
    },
    DiscoveryFailed {
        message: &'a str,
    },
    ResultsDiscarded {
        tests: Vec<String>,
        count: u32,
    },
    Stopping {
        reason: String,
    },
    JudgementAwaited {
        verdict: &'static str,
    },
    RunFinished {
        verdict: &'static str,
        counts: Counts,
        exit_code: u8,
    },
}

#[derive(Serialize)]
struct AloneBody {
    seconds: Option<f64>,
    chance: f64,
}

/// The parts of an execution's seconds.
#[derive(Serialize)]
struct Phases {
    setup_seconds: f64,
    call_seconds: f64,
    teardown_seconds: f64,
}

/// Where a test was executed.
#[derive(Serialize)]
struct Place<'a> {
    attempt: u64,
    executor: &'a str,
    slot: u32,
}

impl<W: Write> Json<W> {
    pub fn new(out: W) -> Self {
        Self { out, unread: false }
    }

    fn write(&mut self, tally: &Tally, seq: u64, event: &'static str, body: Body) -> io::Result<()> {
        if self.unread {
            return Ok(());
        }
        let line = Line { event, seq, run: tally.run.as_str(), body };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        let written = self.out.write_all(&bytes);
        self.unread = written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        if self.unread { Ok(()) } else { written }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn item(&mut self, tally: &Tally, item: &StreamItem) -> io::Result<()> {
        let (event, body) = project(tally, &item.event);
        self.write(tally, item.seq.0, event, body)
    }

    fn live(&mut self, tally: &Tally, live: &Live) -> io::Result<()> {
        let Some(test) = live.test else { return Ok(()) };
        let body = Body::TestStarted {
            test: tally.names.id(test),
            executor: live.executor.as_str(),
            slot: live.slot.0,
        };
        self.write(tally, tally.seq.0, "test_started", body)
    }

    fn printed(&mut self, tally: &Tally, printed: &Printed) -> io::Result<()> {
        let body = Body::Output {
            test: &printed.test,
            attempt: printed.attempt.0,
            executor: printed.executor.as_str(),
            slot: printed.slot.0,
            offset: printed.offset,
            text: &printed.text,
        };
        self.write(tally, tally.seq.0, "output", body)
    }

    fn finish(&mut self, _: &Tally, _: &Closing) -> io::Result<()> {
        self.out.flush()
    }

    fn is_unread(&self) -> bool {
        self.unread
    }
}

fn attempt_lost<'a>(tally: &'a Tally, event: &'a RunEvent) -> Body<'a> {
    let RunEvent::AttemptLost { attempt, executor, cause, message, tests, charged, suspect, alone, free } =
        event
    else {
        unreachable!("called for a loss")
    };
    let alone = alone.map(|Alone { ms, chance }| AloneBody {
        seconds: ms.map(|ms| ms as f64 / 1e3),
        chance: f64::from(chance) / 1e3,
    });
    Body::AttemptLost {
        attempt: attempt.0,
        executor: executor.as_str(),
        cause: cause.word(),
        message,
        tests: *tests,
        charged: charged.iter().map(|test| tally.names.id(*test)).collect(),
        suspect: suspect.map(|test| tally.names.id(test)),
        alone,
        free: *free,
    }
}

fn project<'a>(tally: &'a Tally, event: &'a RunEvent) -> (&'static str, Body<'a>) {
    match event {
        RunEvent::RunStarted(spec) => ("run_started", run_started(spec)),
        RunEvent::ManifestConfirmed { generation, manifest, tests } => {
            let body = Body::Manifest {
                tests: *tests,
                generation: generation.0,
                manifest: manifest.to_string(),
                skipped_modules: &tally.names.manifest.skipped_modules,
                warnings: &tally.names.manifest.warnings,
            };
            ("manifest_confirmed", body)
        }
        RunEvent::Plan(summary) => ("plan", plan(summary)),
        RunEvent::AttemptAssigned { attempt, executor, slot, discovery, tests, copy } => {
            let kind = if *discovery { "discover" } else { "run" };
            let copy_of = copy.map(|copy| tally.names.id(copy.test));
            let (attempt, executor, slot) = (attempt.0, executor.as_str(), slot.0);
            let body = Body::AttemptAssigned { attempt, executor, slot, kind, tests: *tests, copy_of };
            ("attempt_assigned", body)
        }
        RunEvent::TakenBack { attempt, tests, why } => {
            ("taken_back", Body::TakenBack { attempt: attempt.0, tests: *tests, why: why.word() })
        }
        RunEvent::TestFinished { result, attempt, executor, slot, evidence } => {
            let place = Place { attempt: attempt.0, executor: executor.as_str(), slot: slot.0 };
            ("test_finished", finished(tally.names.id(result.test), result, place, *evidence))
        }
        RunEvent::Verdict { test, verdict } => ("verdict", decided(tally.names.id(*test), *verdict)),
        RunEvent::TestMissing { test, attempt, executor, reason } => {
            let (test, attempt, executor) = (tally.names.id(*test), attempt.0, executor.as_str());
            ("test_missing", Body::TestMissing { test, attempt, executor, reason })
        }
        RunEvent::SuiteError { error: SuiteError { title, message, text }, executor } => {
            let executor = executor.as_ref().map(|executor| executor.as_str());
            ("suite_error", Body::SuiteError { title, message, executor, text: *text })
        }
        RunEvent::Coverage { data, executor, slot } => {
            ("coverage", Body::Coverage { executor: executor.as_str(), slot: slot.0, data: *data })
        }
        RunEvent::Attached { test, file, attempt, executor, slot } => {
            let place = Place { attempt: attempt.0, executor: executor.as_str(), slot: slot.0 };
            ("attached", left(test.map(|test| tally.names.id(test)), file, place))
        }
        RunEvent::Held { .. } | RunEvent::Left { .. } | RunEvent::Used { .. } | RunEvent::Images { .. } => {
            let (name, told) = sandbox::told(tally, event);
            (name, Body::Sandbox(told))
        }
        RunEvent::AttemptLost { .. } => ("attempt_lost", attempt_lost(tally, event)),
        RunEvent::TestCutOff { test, attempt, executor, ran_ms, cause } => {
            let (test, attempt, executor) = (tally.names.id(*test), attempt.0, executor.as_str());
            let (seconds, cause) = (*ran_ms as f64 / 1e3, cause.map(InfraCause::word));
            ("test_cut_off", Body::TestCutOff { test, attempt, executor, seconds, cause })
        }
        RunEvent::ExecutorLost { .. }
        | RunEvent::ExecutorDrained { .. }
        | RunEvent::ExecutorCordoned { .. }
        | RunEvent::ExecutorBack { .. } => of_executor(event),
        RunEvent::DiscoveryFailed { message } => ("discovery_failed", Body::DiscoveryFailed { message }),
        RunEvent::ResultsDiscarded { tests, count, .. } => {
            let tests = tests.iter().map(|test| tally.expected.id(*test)).collect();
            ("results_discarded", Body::ResultsDiscarded { tests, count: *count })
        }
        RunEvent::Stopping { reason } => ("stopping", Body::Stopping { reason: reason.to_string() }),
        RunEvent::JudgementAwaited { verdict } => {
            ("judgement_awaited", Body::JudgementAwaited { verdict: verdict.word() })
        }
        RunEvent::RunFinished { verdict, counts, exit_code } => {
            let (verdict, counts, exit_code) = (verdict.word(), *counts, *exit_code);
            ("run_finished", Body::RunFinished { verdict, counts, exit_code })
        }
    }
}

fn of_executor(event: &RunEvent) -> (&'static str, Body<'_>) {
    match event {
        RunEvent::ExecutorLost { executor, cause } => {
            ("executor_lost", Body::ExecutorLost { executor: executor.as_str(), cause: cause.word() })
        }
        RunEvent::ExecutorDrained { executor, cause, why } => (
            "executor_drained",
            Body::ExecutorDrained { executor: executor.as_str(), cause: cause.word(), why },
        ),
        RunEvent::ExecutorCordoned { executor, sickness, attempts, elsewhere } => {
            let (executor, reason) = (executor.as_str(), sickness.word());
            let (attempts, elsewhere) = (*attempts, *elsewhere);
            ("executor_cordoned", Body::ExecutorCordoned { executor, reason, attempts, elsewhere })
        }
        RunEvent::ExecutorBack { executor } => {
            ("executor_back", Body::ExecutorBack { executor: executor.as_str() })
        }
        _ => unreachable!("called for these alone"),
    }
}

fn run_started(spec: &RunSpec) -> Body<'_> {
    Body::RunStarted {
        project: &spec.project,
        owner: &spec.owner,
        rev: &spec.rev,
        arguments: &spec.arguments,
        select: &spec.select,
        retries: spec.retries,
        fail_fast: spec.fail_fast,
        cap_seconds: seconds(spec.cap_ms),
        test_limit_seconds: spec.test_limit_ms.map(seconds),
        seed: spec.seed,
    }
}

fn plan(plan: &PlanSummary) -> Body<'_> {
    Body::Plan {
        provisional: false,
        bundles: plan.bundles,
        slots: plan.slots,
        cap_seconds: seconds(plan.cap_ms),
        total_seconds: seconds(plan.total_ms),
        longest_seconds: seconds(plan.longest_ms),
        makespan_seconds: seconds(plan.makespan_ms),
        lower_bound: plan.lower_bound,
        bound: &plan.bound,
        unknown: plan.unknown,
        oversize: plan.oversize,
        planning_seconds: seconds(plan.planning_ms),
    }
}

fn finished<'a>(
    test: String,
    result: &'a TestResult,
    place: Place<'a>,
    evidence: Option<Evidence>,
) -> Body<'a> {
    let [setup_seconds, call_seconds, teardown_seconds] = result.phases.map(around::seconds);
    Body::TestFinished {
        test,
        outcome: result.outcome.word(),
        detail: &result.detail,
        cause: result.cause.map(|cause| cause.word()),
        seconds: around::seconds(result.micros()),
        phases: Phases { setup_seconds, call_seconds, teardown_seconds },
        peak_memory_kib: Some(result.peak_kib).filter(|kib| *kib > 0),
        cpu_seconds: around::cpu_seconds(result),
        place,
        started_at: Some(seconds(result.started_at)).filter(|at| *at > 0.0),
        evidence: evidence.map(Evidence::word),
        message: &result.message,
        location: &result.location,
        text: result.text,
    }
}

fn left<'a>(test: Option<String>, file: &'a Attachment, place: Place<'a>) -> Body<'a> {
    let blob = file.blob.map(|blob| blob.to_string());
    Body::Attached { test, name: &file.name, bytes: file.bytes, blob, place }
}

fn decided<'a>(test: String, verdict: Verdict) -> Body<'a> {
    let cause = match verdict {
        Verdict::NotExecuted(cause) => Some(cause.to_string()),
        _ => None,
    };
    Body::Verdict { test, verdict: verdict.word(), cause }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}
