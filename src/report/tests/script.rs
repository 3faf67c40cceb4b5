//! A run as a script: everything that can happen to a test, and to an executor, once.

use std::sync::Arc;

use seagull_domain::{
    Attachment, AttemptId, Counts, Digest, Evidence, ExecutorId, FileTests, Generation, Hold, ImageUsed,
    InfraCause, Instant, Leftover, Manifest, NotExecuted, Outcome, PlanSummary, Recall, RunEvent, RunSpec,
    RunVerdict, SecondCopy, Seq, Sickness, SkippedModule, SlotNumber, StreamItem, SuiteError, TestCause,
    TestIndex, TestResult, TextRef, Used, Verdict, Workspace,
};
use seagull_proto::convert::Printed;

use crate::commands::run::INTERRUPTING;
use crate::report::{Live, Report};

pub enum Step {
    Event(Box<RunEvent>),
    Manifest(Manifest),
    Expected(Manifest),
    Live(Live),
    Printed(Printed),
    Say(&'static str),
}

/// Steps with the milliseconds at which they happen.
pub type Script = Vec<(u64, Step)>;

/// Plays a script into a report, with a tick every 100 ms. Every event has a number of its own.
pub fn play(report: &mut Report, script: &Script) {
    let mut now = 0;
    for (seq, (at, step)) in (1..).zip(script) {
        while now + 100 <= *at {
            now += 100;
            report.tick(Instant(now)).unwrap();
        }
        match step {
            Step::Event(event) => {
                let item = StreamItem { seq: Seq(seq), event: (**event).clone() };
                report.item(Instant(*at), &item).unwrap();
            }
            Step::Manifest(manifest) => report.manifest(Arc::new(manifest.clone())),
            Step::Expected(manifest) => report.expected(Arc::new(manifest.clone())),
            Step::Live(live) => report.live(Instant(*at), live).unwrap(),
            Step::Printed(printed) => report.printed(printed).unwrap(),
            Step::Say(text) => report.say(text).unwrap(),
        }
    }
}

/// The texts that the script's results name, by offset.
pub fn text(reference: TextRef) -> Option<String> {
    match reference.offset {
        0 => Some("    def test_div(n):\n>       assert 1 / n\nE       ZeroDivisionError\n\n----- Captured stdout call -----\n\x1b[31mred\x1b[0m <&> \u{1}\n".into()),
        1 => Some("Current thread 0x00007f3a (most recent call first):\n  File \"/src/algebra/tests/test_io.py\", line 8 in test_hang\n".into()),
        2 => Some("conftest.py:9: in database\n    connection.commit()\nE   sqlite3.OperationalError: database is locked\n".into()),
        3 => Some((1..=300).map(|n| format!("line {n}\n")).collect()),
        _ => None,
    }
}

pub fn event(event: RunEvent) -> Step {
    Step::Event(Box::new(event))
}

pub fn executor(name: &str) -> ExecutorId {
    name.parse().unwrap()
}

pub fn spec(retries: u32) -> RunSpec {
    let workspace = Workspace::InPlace { directory: "/src/algebra".into(), content: String::new() };
    RunSpec {
        owner: "ada".into(),
        project: "algebra".into(),
        rev: "4f2a".into(),
        arguments: vec!["tests".into()],
        retries,
        ..RunSpec::new("r-7".parse().unwrap(), workspace)
    }
}

pub fn manifest() -> Manifest {
    let file = |path: &str, suffixes: &[&str]| FileTests {
        path: path.into(),
        suffixes: suffixes.iter().map(ToString::to_string).collect(),
    };
    Manifest {
        files: vec![
            file(
                "tests/test_math.py",
                &["::test_add", "::test_div[0]", "::TestRing::test_inverse", "::TestRing::test_slow"],
            ),
            file("tests/test_io.py", &["::test_read", "::test_name[a::b\nc <é>]", "::test_hang"]),
            file("tests/test_broken.py", &[""]),
            file("tests/test_far.py", &["::test_remote", "::test_gone"]),
        ],
        skipped_modules: vec![SkippedModule {
            path: "tests/test_win.py".into(),
            reason: "needs Windows".into(),
        }],
        warnings: vec!["1 duplicate id runs once: tests/test_io.py::test_read".into()],
        ..Manifest::default()
    }
}

pub fn confirmed(manifest: &Manifest) -> Step {
    let tests = u32::try_from(manifest.len()).unwrap();
    event(RunEvent::ManifestConfirmed { generation: Generation(1), manifest: Digest([7; 32]), tests })
}

pub fn plan() -> PlanSummary {
    PlanSummary {
        bundles: 4,
        slots: 2,
        cap_ms: 15_000,
        total_ms: 41_000,
        longest_ms: 14_000,
        makespan_ms: 22_000,
        lower_bound: 3,
        bound: "L1".into(),
        unknown: 2,
        oversize: 0,
        planning_ms: 12,
    }
}

pub fn assigned(attempt: u64, on: &str, slot: u32, discovery: bool) -> Step {
    let (attempt, executor, slot) = (AttemptId(attempt), executor(on), SlotNumber(slot));
    let tests = 5 * u32::from(!discovery);
    event(RunEvent::AttemptAssigned { attempt, executor, slot, discovery, tests, copy: None })
}

fn copied(attempt: u64, on: &str, slot: u32, copy: SecondCopy) -> Step {
    let (attempt, executor, slot) = (AttemptId(attempt), executor(on), SlotNumber(slot));
    event(RunEvent::AttemptAssigned { attempt, executor, slot, discovery: false, tests: 1, copy: Some(copy) })
}

pub fn runs(on: &str, slot: u32, test: u32) -> Step {
    Step::Live(Live { executor: executor(on), slot: SlotNumber(slot), test: Some(TestIndex(test)) })
}

fn prints(test: &str, text: &str) -> Step {
    let (executor, slot, attempt) = (executor("e-1"), SlotNumber(0), AttemptId(10));
    Step::Printed(Printed { executor, slot, attempt, test: test.into(), offset: 0, text: text.into() })
}

pub fn decided(test: u32, verdict: Verdict) -> Step {
    event(RunEvent::Verdict { test: TestIndex(test), verdict })
}

/// A result in the making: (executor, slot, test) and how long it took.
pub struct Ran(pub TestResult, &'static str, u32);

pub fn ran(on: &'static str, slot: u32, test: u32, outcome: Outcome, millis: u64) -> Ran {
    let result = TestResult {
        cpu_us: 0,
        test: TestIndex(test),
        ordinal: 0,
        last: true,
        outcome,
        detail: String::new(),
        cause: None,
        phases: [0, millis * 1000, 0],
        peak_kib: 51_200,
        started_at: 1_764_000_000_500,
        message: String::new(),
        location: String::new(),
        text: None,
    };
    Ran(result, on, slot)
}

impl Ran {
    pub fn because(mut self, cause: TestCause, message: &str, location: &str) -> Self {
        self.0.cause = Some(cause);
        self.0.message = message.into();
        self.0.location = location.into();
        self
    }

    pub fn phases(mut self, millis: [u64; 3]) -> Self {
        self.0.phases = millis.map(|millis| millis * 1000);
        self
    }

    /// As the executor tells of a test whose worker is dead.
    pub fn killed(mut self, cause: TestCause, message: &str) -> Self {
        self.0.peak_kib = 0;
        self.because(cause, message, "")
    }

    pub fn detail(mut self, detail: &str, message: &str) -> Self {
        self.0.detail = detail.into();
        self.0.message = message.into();
        self
    }

    pub fn text(mut self, offset: u64) -> Self {
        self.0.text = Some(TextRef { log: AttemptId(1), offset, length: 100 });
        self
    }

    pub fn step(self) -> Step {
        self.with(None)
    }

    pub fn with(self, evidence: Option<Evidence>) -> Step {
        let Ran(result, on, slot) = self;
        let attempt = AttemptId(10 + u64::from(slot));
        event(RunEvent::TestFinished {
            result,
            attempt,
            executor: executor(on),
            slot: SlotNumber(slot),
            evidence,
        })
    }
}

/// Until the plan is made.
fn beginning() -> Script {
    vec![
        (0, event(RunEvent::RunStarted(Box::new(spec(1))))),
        (100, assigned(1, "e-1", 0, true)),
        (2000, Step::Manifest(manifest())),
        (2000, confirmed(&manifest())),
        (2100, event(RunEvent::Plan(plan()))),
        (2100, assigned(10, "e-1", 0, false)),
        (2100, assigned(11, "e-2", 1, false)),
    ]
}

/// Half way: one test failed for good, one is to run again, an executor is lost.
pub fn first_half() -> Script {
    use Outcome::{Failed, Passed};
    let zero = |ran: Ran| {
        ran.because(TestCause::Error, "ZeroDivisionError: division by zero", "tests/test_math.py:12")
    };
    let mut script = beginning();
    script.extend([
        (2200, runs("e-1", 0, 0)),
        (2200, runs("e-2", 1, 6)),
        (5200, ran("e-1", 0, 0, Passed, 3000).step()),
        (5200, decided(0, Verdict::Passed)),
        (5300, runs("e-1", 0, 1)),
        (5400, zero(ran("e-1", 0, 1, Failed, 40)).text(0).step()),
        (5500, runs("e-1", 0, 2)),
        (
            5600,
            ran("e-1", 0, 2, Failed, 120)
                .because(TestCause::Assertion, "assert 3 == 4", "tests/test_math.py:30")
                .step(),
        ),
        (5700, zero(ran("e-1", 0, 1, Failed, 41)).text(0).step()),
        (5700, decided(1, Verdict::Failed)),
        (6000, runs("e-1", 0, 3)),
        (7000, event(RunEvent::ExecutorLost { executor: executor("e-2"), cause: InfraCause::ExecutorLost })),
        (
            7000,
            event(RunEvent::AttemptLost {
                attempt: AttemptId(11),
                executor: executor("e-2"),
                cause: InfraCause::ExecutorLost,
                message: String::new(),
                tests: 5,
                charged: vec![TestIndex(6)],
                suspect: Some(TestIndex(6)),
                alone: None,
                free: false,
            }),
        ),
        (
            7000,
            event(RunEvent::TestCutOff {
                test: TestIndex(6),
                attempt: AttemptId(11),
                executor: executor("e-2"),
                ran_ms: 4800,
                cause: Some(InfraCause::ExecutorLost),
            }),
        ),
        (7000, event(RunEvent::TakenBack { attempt: AttemptId(10), tests: 2, why: Recall::Idle })),
        (7100, assigned(12, "e-3", 2, false)),
        (7100, assigned(13, "e-3", 3, false)),
        (
            7200,
            event(RunEvent::AttemptLost {
                attempt: AttemptId(13),
                executor: executor("e-3"),
                cause: InfraCause::SandboxFailed,
                message: "the worker ended before it was ready: exit code 1".into(),
                tests: 2,
                charged: vec![TestIndex(8), TestIndex(9)],
                suspect: None,
                alone: None,
                free: false,
            }),
        ),
        (7200, runs("e-3", 2, 6)),
        (
            7300,
            event(RunEvent::ExecutorCordoned {
                executor: executor("e-4"),
                sickness: Sickness::NothingStarts,
                attempts: 3,
                elsewhere: 5,
            }),
        ),
        (9000, ran("e-3", 2, 0, Passed, 10).with(Some(Evidence::Predecessor))),
    ]);
    script
}

fn attached(test: Option<u32>, file: Attachment) -> Step {
    let (attempt, executor, slot) = (AttemptId(12), executor("e-3"), SlotNumber(2));
    event(RunEvent::Attached { test: test.map(TestIndex), file, attempt, executor, slot })
}

/// Of an attempt's sandbox.
fn images() -> Step {
    let image = |image: &str, id: &str, digest: &str| ImageUsed {
        image: image.to_owned(),
        id: id.to_owned(),
        digest: digest.to_owned(),
    };
    let images =
        vec![image("postgres:16", "sha256:1a", "postgres@sha256:2b"), image("shop:1", "sha256:3c", "")];
    let (attempt, executor, slot) = (AttemptId(12), executor("e-3"), SlotNumber(2));
    event(RunEvent::Images { images, attempt, executor, slot })
}

fn held(test: Option<u32>) -> Step {
    let hold = Hold { environment: "db".into(), sandbox: "s-1".into(), until: 1_800_001_800 };
    let (attempt, executor, slot) = (AttemptId(12), executor("e-3"), SlotNumber(2));
    event(RunEvent::Held { test: test.map(TestIndex), hold, attempt, executor, slot })
}

fn left(test: Option<u32>, left: Leftover) -> Step {
    let (attempt, executor, slot) = (AttemptId(12), executor("e-3"), SlotNumber(2));
    event(RunEvent::Left { test: test.map(TestIndex), left, attempt, executor, slot })
}

fn used(used: Used) -> Step {
    let (attempt, executor, slot) = (AttemptId(12), executor("e-3"), SlotNumber(2));
    event(RunEvent::Used { used, attempt, executor, slot })
}

/// What a run has left in which everything happens, and its end.
fn ending(counts: Counts) -> Script {
    let of = |command: &str, processes, ports: &[u16], phase: &str| Leftover {
        command: command.to_owned(),
        processes,
        ports: ports.to_vec(),
        phase: phase.to_owned(),
    };
    vec![
        (24_450, used(Used { cpu_us: 3_400_000, peak_kib: 424 << 10, whole: true })),
        (24_500, left(Some(6), of("sleep 600", 2, &[], "call"))),
        (24_500, left(Some(1), of("python3 -m http.server", 1, &[8080], "setup"))),
        (24_500, left(None, of("", 12, &[], ""))),
        (24_500, left(None, of("(a fork of its worker)", 1, &[], ""))),
        (24_500, event(RunEvent::JudgementAwaited { verdict: RunVerdict::Failed })),
        (24_600, event(RunEvent::RunFinished { verdict: RunVerdict::Failed, counts, exit_code: 100 })),
    ]
}

/// To the end of a run in which everything happens.
pub fn whole() -> Script {
    use Outcome::{Failed, Passed, Skipped};
    let mut script = first_half();
    let missing = RunEvent::TestMissing {
        test: TestIndex(9),
        attempt: AttemptId(12),
        executor: executor("e-3"),
        reason: "not the only test of tests/test_far.py".into(),
    };
    let drained = RunEvent::ExecutorDrained {
        executor: executor("e-1"),
        cause: InfraCause::Drained,
        why: "an operator".into(),
    };
    let broken = SuiteError {
        title: "session fixture teardown".into(),
        message: "OperationalError: database is locked".into(),
        text: Some(TextRef { log: AttemptId(1), offset: 2, length: 50 }),
    };
    let covered = RunEvent::Coverage {
        data: TextRef { log: AttemptId(1), offset: 52, length: 800 },
        executor: executor("e-1"),
        slot: SlotNumber(0),
    };
    let shot = Attachment { name: "shots/login.png".into(), bytes: 20_480, blob: Some(Digest([7; 32])) };
    let core = Attachment { name: "core.17".into(), bytes: 3 << 30, blob: None };
    let counts =
        Counts { total: 10, passed: 3, failed: 3, skipped: 1, flaky: 1, quarantined: 0, not_executed: 2 };
    script.extend([
        (9500, ran("e-3", 2, 4, Skipped, 1).detail("", "no network").step()),
        (9500, decided(4, Verdict::Skipped)),
        (9600, ran("e-3", 2, 2, Passed, 110).step()),
        (9600, decided(2, Verdict::Flaky)),
        (9700, ran("e-3", 2, 5, Passed, 25).detail("xpassed", "").step()),
        (9700, decided(5, Verdict::Passed)),
        (
            9800,
            event(RunEvent::ExecutorCordoned {
                executor: executor("e-1"),
                sickness: Sickness::TestsFail,
                attempts: 4,
                elsewhere: 40,
            }),
        ),
        (9900, event(RunEvent::ExecutorBack { executor: executor("e-4") })),
        (9900, images()),
        (19_000, copied(14, "e-4", 4, SecondCopy { test: TestIndex(3), beside: AttemptId(10) })),
        (20_000, ran("e-1", 0, 3, Passed, 0).phases([11_900, 2000, 100]).step()),
        (20_000, decided(3, Verdict::Passed)),
        (
            21_000,
            ran("e-1", 0, 7, Failed, 0)
                .because(TestCause::Error, "", "")
                .detail("not collected", "SyntaxError: invalid syntax")
                .text(9)
                .step(),
        ),
        (21_000, decided(7, Verdict::Failed)),
        (
            24_000,
            ran("e-3", 2, 6, Failed, 12_000)
                .killed(TestCause::TimedOut, "timed out: killed after 12 s, its limit; --test-limit sets it")
                .text(1)
                .step(),
        ),
        (24_000, attached(Some(6), shot)),
        (24_000, held(Some(6))),
        (24_000, decided(6, Verdict::Failed)),
        (24_050, attached(None, core)),
        (24_060, held(None)),
        (24_100, event(missing)),
        (24_100, decided(9, Verdict::NotExecuted(NotExecuted::UnstableId))),
        (24_200, decided(8, Verdict::NotExecuted(NotExecuted::Infra(InfraCause::ExecutorLost)))),
        (24_500, event(RunEvent::SuiteError { error: broken, executor: Some(executor("e-1")) })),
        (24_500, event(covered)),
        (24_500, event(drained)),
    ]);
    script.extend(ending(counts));
    script
}

/// Every run from its beginning to its end.
pub fn all() -> [Script; 6] {
    [whole(), cancelled(), undiscovered(), nothing(), anticipated(), green()]
}

/// Ctrl-C half way.
pub fn cancelled() -> Script {
    let mut script = first_half();
    let cancelled = NotExecuted::Cancelled;
    script.push((9100, Step::Say(INTERRUPTING)));
    script.push((9100, event(RunEvent::Stopping { reason: cancelled })));
    let (test, attempt, executor) = (TestIndex(6), AttemptId(3), "e-2".parse().unwrap());
    script.push((9900, event(RunEvent::TestCutOff { test, attempt, executor, ran_ms: 6900, cause: None })));
    script.extend((2..10).map(|test| (9900, decided(test, Verdict::NotExecuted(cancelled)))));
    let counts = Counts { total: 10, passed: 1, failed: 1, not_executed: 8, ..Counts::default() };
    let end = RunEvent::RunFinished { verdict: RunVerdict::Cancelled, counts, exit_code: 130 };
    script.push((10_000, event(end)));
    script
}

/// Its client was lost, and nobody came back.
pub fn orphaned() -> Script {
    let mut script = cancelled();
    for (_, step) in &mut script {
        let Step::Event(event) = step else { continue };
        match &mut **event {
            RunEvent::RunStarted(spec) => spec.orphan_ms = Some(3_600_000),
            RunEvent::Stopping { reason } => *reason = NotExecuted::Orphaned,
            RunEvent::Verdict { verdict: Verdict::NotExecuted(why), .. } => *why = NotExecuted::Orphaned,
            _ => {}
        }
    }
    script
}

/// A run that never learns which tests there are.
pub fn undiscovered() -> Script {
    let message = "ConftestImportFailure: ModuleNotFoundError: No module named 'numpy' (from /src/algebra/conftest.py)\n\
        conftest.py:1: in <module>\n    import numpy\nE   ModuleNotFoundError: No module named 'numpy'\n"
        .to_owned();
    let end =
        RunEvent::RunFinished { verdict: RunVerdict::Incomplete, counts: Counts::default(), exit_code: 101 };
    vec![
        (0, event(RunEvent::RunStarted(Box::new(spec(0))))),
        (100, assigned(1, "e-1", 0, true)),
        (900, event(RunEvent::DiscoveryFailed { message })),
        (1000, event(end)),
    ]
}

/// `seagull run -- -k typo`.
pub fn nothing() -> Script {
    let warnings = vec!["no tests were found (12 deselected)".into()];
    let manifest = Manifest { warnings, ..Manifest::default() };
    let spec = RunSpec { arguments: vec!["-k".into(), "typo".into()], ..spec(0) };
    let plan = PlanSummary { slots: 2, bound: "L1".into(), ..PlanSummary::default() };
    let end =
        RunEvent::RunFinished { verdict: RunVerdict::Incomplete, counts: Counts::default(), exit_code: 101 };
    vec![
        (0, event(RunEvent::RunStarted(Box::new(spec)))),
        (100, assigned(1, "e-1", 0, true)),
        (900, Step::Manifest(manifest.clone())),
        (900, confirmed(&manifest)),
        (900, event(RunEvent::Plan(plan))),
        (1000, event(end)),
    ]
}

fn two_tests() -> (Manifest, Step) {
    let files =
        vec![FileTests { path: "test_a.py".into(), suffixes: vec!["::test_x".into(), "::test_y".into()] }];
    let counts = Counts { total: 2, passed: 2, ..Counts::default() };
    let end = RunEvent::RunFinished { verdict: RunVerdict::Passed, counts, exit_code: 0 };
    (Manifest { files, ..Manifest::default() }, event(end))
}

/// A second run: what the discovery is expected to find runs meanwhile, and is told of once it has found it, or has not.
pub fn anticipated() -> Script {
    let (manifest, end) = two_tests();
    let plan = PlanSummary {
        bundles: 2,
        total_ms: 4400,
        longest_ms: 3600,
        makespan_ms: 3600,
        unknown: 0,
        lower_bound: 1,
        ..plan()
    };
    let path = "test_a.py".to_owned();
    let expected = Manifest {
        files: vec![FileTests { path, suffixes: vec!["::gone".into(), "::test_x".into()] }],
        ..Manifest::default()
    };
    let (tests, count) = (vec![TestIndex(0)], 1);
    let discarded = RunEvent::ResultsDiscarded { manifest: Digest([8; 32]), tests, count };
    vec![
        (0, event(RunEvent::RunStarted(Box::new(spec(0))))),
        (100, assigned(1, "e-1", 0, true)),
        (200, assigned(11, "e-2", 1, false)),
        (4000, Step::Manifest(manifest.clone())),
        (4000, confirmed(&manifest)),
        (4000, event(RunEvent::Plan(plan))),
        (4000, Step::Expected(expected)),
        (4000, event(discarded)),
        (4000, ran("e-2", 1, 0, Outcome::Passed, 3500).step()),
        (4000, decided(0, Verdict::Passed)),
        (4100, assigned(10, "e-1", 0, false)),
        (4900, ran("e-1", 0, 1, Outcome::Passed, 750).step()),
        (4900, decided(1, Verdict::Passed)),
        (5000, end),
    ]
}

/// All is green.
pub fn green() -> Script {
    let (manifest, end) = two_tests();
    vec![
        (0, event(RunEvent::RunStarted(Box::new(spec(0))))),
        (500, Step::Manifest(manifest.clone())),
        (500, confirmed(&manifest)),
        (
            500,
            event(RunEvent::Plan(PlanSummary { bundles: 1, slots: 1, cap_ms: 5000, unknown: 2, ..plan() })),
        ),
        (500, assigned(10, "e-1", 0, false)),
        (600, prints("test_a.py::test_x", "a line\nand \x1b[31mred\x1b[0m\n")),
        (700, ran("e-1", 0, 0, Outcome::Passed, 150).step()),
        (700, decided(0, Verdict::Passed)),
        (900, ran("e-1", 0, 1, Outcome::Passed, 160).step()),
        (900, decided(1, Verdict::Passed)),
        (1000, end),
    ]
}
