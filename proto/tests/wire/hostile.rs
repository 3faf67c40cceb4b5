//! Whatever arrives, it is taken or refused; it never harms.

use bytes::Bytes;
use prost::Message;
use seagull_domain::*;
use seagull_proto::convert::*;
use seagull_proto::{limits, v1};
use tonic::{Code, Status};

use crate::arbitrary::Source;

/// Reads bytes as every message that a peer may send. Says how many of them could be decoded, and how many of those
/// were taken.
fn read(bytes: &[u8]) -> (usize, usize) {
    let (mut decoded, mut taken) = (0, 0);
    macro_rules! read {
        ($($message:ident => $value:ty),+ $(,)?) => {$(
            if let Ok(message) = v1::$message::decode(bytes) {
                decoded += 1;
                taken += usize::from(<$value>::try_from(message).is_ok());
            }
        )+};
    }
    messages!(read);
    (decoded, taken)
}

#[test]
fn garbage_is_refused_without_harm() {
    let s = &mut Source(17);
    let (mut decoded, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = s.list(40, |s| s.bits().to_le_bytes()[0]);
        let (read, taken) = read(&bytes);
        decoded += read;
        refused += read - taken;
    }
    assert!(decoded > 1000 && refused > 1000, "{decoded} decoded, {refused} refused: too few to tell");
}

#[test]
fn damaged_messages_are_taken_or_refused_without_harm() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..3000 {
        let s = &mut Source(seed);
        let mut bytes = match seed % 8 {
            0 => v1::ReportMessage::from(s.report()).encode_to_vec(),
            1 => v1::DesiredMessage::from(s.desired()).encode_to_vec(),
            2 => v1::BundleContents::from(s.bundle(20)).encode_to_vec(),
            3 => v1::SubmitRequest::from(s.spec()).encode_to_vec(),
            4 => v1::HistoryResponse::from(s.history()).encode_to_vec(),
            5 => v1::RunOverview::from(s.overview()).encode_to_vec(),
            6 => v1::JudgeRequest::from(s.word()).encode_to_vec(),
            _ => v1::WatchMessage::from(s.watched()).encode_to_vec(),
        };
        for _ in 0..s.within(1, 4) {
            let place = s.within(0, bytes.len() as u64 - 1);
            bytes[usize::try_from(place).unwrap()] = s.bits().to_le_bytes()[0];
        }
        let (read, accepted) = read(&bytes);
        taken += accepted;
        refused += read - accepted;
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused: too few to tell");
}

/// Changes a message that is good, and expects it to be refused for that field.
#[track_caller]
pub fn refused<T, M>(good: T, field: &str, spoil: impl FnOnce(&mut M))
where
    T: TryFrom<M, Error = Invalid>,
    M: From<T> + Clone,
{
    let mut message = M::from(good);
    assert!(T::try_from(message.clone()).is_ok(), "the message was bad before");
    spoil(&mut message);
    let invalid = T::try_from(message).err().expect("it was taken");
    assert_eq!(invalid.field, field, "{invalid}");
    assert!(invalid.to_string().len() < 500, "an error of {} bytes", invalid.to_string().len());
    let status = Status::from(invalid);
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains(field));
}

fn report() -> Report {
    let s = &mut Source(2);
    let waiting = AttemptReport {
        attempt: AttemptId(1),
        run: "run".parse().unwrap(),
        generation: Generation(1),
        kept: vec![TestIndex(4)],
        state: AttemptState::Waiting,
    };
    let worker = WorkerReport { run: "run".parse().unwrap(), slot: SlotIndex(3), number: SlotNumber(3) };
    let batch = Batch { records: vec![Record::Result(s.result())], ..s.batch() };
    Report { slots: 4, attempts: vec![waiting], workers: vec![worker], batches: vec![batch], ..s.report() }
}

#[test]
fn a_report_that_breaks_a_bound_is_refused() {
    type M = v1::ReportMessage;
    let bad = |field, spoil: fn(&mut M)| refused(report(), field, spoil);
    bad("ReportMessage.slots", |m| m.slots = limits::SLOTS + 1);
    bad("ReportMessage.executor", |m| m.executor = "../etc".into());
    bad("ReportMessage.executor", |m| m.executor = "x".repeat(900_000));
    bad("ReportMessage.boot", |m| m.boot.clear());
    bad("ReportMessage.sequence", |m| m.sequence = u64::MAX);
    bad("ReportMessage.known_epoch", |m| m.known_epoch = u64::MAX);
    bad("ReportMessage.labels", |m| m.labels = (0..65).map(|n| (n.to_string(), String::new())).collect());
    bad("ReportMessage.labels", |m| m.labels = [("a".into(), "x".repeat(257))].into());
    bad("ReportMessage.labels", |m| m.labels = [(String::new(), "x".into())].into());
    bad("ReportMessage.attempts", |m| m.attempts.push(m.attempts[0].clone()));
    bad("ReportMessage.attempts", |m| m.attempts = vec![m.attempts[0].clone(); limits::ATTEMPTS + 1]);
    bad("ReportMessage.workers", |m| m.workers = vec![m.workers[0].clone(); limits::ATTEMPTS + 1]);
    bad("WorkerReport.slot", |m| m.workers[0].slot = 4);
    bad("WorkerReport.slot", |m| m.workers[0].slot = 65_536);
    bad("WorkerReport.number", |m| m.workers[0].number = u32::MAX);
    bad("AttemptReport.state", |m| m.attempts[0].state = None);
    bad("AttemptReport.attempt", |m| m.attempts[0].attempt = 1 << 63);
    bad("AttemptReport.generation", |m| m.attempts[0].generation = u32::MAX);
    bad("AttemptReport.kept", |m| m.attempts[0].kept = vec![limits::TESTS]);
    bad("AttemptReport.kept", |m| m.attempts[0].kept = vec![0; limits::BUNDLE_ENTRIES + 1]);
    bad("Ended.cause", |m| {
        m.attempts[0].state = Some(v1::attempt_report::State::Ended(v1::Ended::default()));
    });
    bad("Batch.number", |m| m.batches[0].number = 0);
    bad("Batch.number", |m| m.batches[0].number = u32::MAX);
    bad("Batch.records", |m| m.batches[0].records.clear());
    bad("Batch.records", |m| {
        m.batches[0].records = vec![m.batches[0].records[0].clone(); limits::BATCH_RECORDS + 1];
    });
    bad("Record.record", |m| m.batches[0].records[0].record = None);
    let lost = v1::InfraCause::ExecutorLost.into();
    refused(report(), "ReportMessage.drain_cause", |m: &mut M| (m.draining, m.drain_cause) = (true, lost));
    bad("ReportMessage.drain_why", |m| {
        (m.draining, m.drain_cause, m.drain_why) = (true, 0, "x".repeat(limits::WORD_BYTES + 1));
    });
}

#[test]
fn whereabouts_that_break_a_bound_are_refused() {
    use v1::find_test_response::Place;
    type M = v1::FindTestResponse;
    let asked = TestAsked { run: "r".parse().unwrap(), test: TestIndex(1) };
    refused(asked.clone(), "FindTestRequest.run", |m: &mut v1::FindTestRequest| m.run.clear());
    refused(asked, "FindTestRequest.test", |m: &mut v1::FindTestRequest| m.test = limits::TESTS);
    let (attempt, executor, slot) = (AttemptId(1), "e".parse().unwrap(), SlotNumber(1));
    let running = Whereabouts::Running { attempt, executor, slot, millis: 1 };
    refused(running.clone(), "FindTestResponse.place", |m: &mut M| m.place = None);
    let spoiled = |spoil: fn(&mut v1::RunningTest)| {
        move |m: &mut M| {
            let Some(Place::Running(running)) = &mut m.place else { unreachable!("it runs") };
            spoil(running);
        }
    };
    refused(running.clone(), "RunningTest.at", spoiled(|running| running.at = None));
    refused(running.clone(), "RunningTest.millis", spoiled(|running| running.millis = u64::MAX));
    let executor = spoiled(|running| running.at.as_mut().unwrap().executor = "..".into());
    refused(running, "AttemptPlace.executor", executor);
    let queued = Whereabouts::Queued { behind: 1, slots: 1, avoided: 0, runs: 1 };
    refused(queued, "QueuedTest.behind", |m: &mut M| {
        let Some(Place::Queued(queued)) = &mut m.place else { unreachable!("it is queued") };
        queued.behind = u32::MAX;
    });
}

#[test]
fn what_is_told_of_a_run_under_way_is_refused_where_it_breaks_a_bound() {
    let standing = || {
        let (executor, other) = ("e".parse().unwrap(), "f".parse().unwrap());
        Standing {
            discovering: Some(Discovering { executor, millis: Some(1) }),
            silent: vec![Silent { executor: other, millis: 1, left_ms: 1 }],
            ..Standing::default()
        }
    };
    type M = v1::Standing;
    refused(standing(), "Standing.running", |m: &mut M| m.running = u32::MAX);
    refused(standing(), "Standing.barred", |m: &mut M| m.barred = u32::MAX);
    refused(standing(), "Discovering.millis", |m: &mut M| {
        m.discovering.as_mut().unwrap().millis = Some(u64::MAX);
    });
    refused(standing(), "SilentExecutor.executor", |m: &mut M| m.silent[0].executor = "..".into());
    refused(standing(), "SilentExecutor.left_millis", |m: &mut M| m.silent[0].left_millis = u64::MAX);
    refused(standing(), "Standing.silent", |m: &mut M| m.silent = vec![m.silent[0].clone(); 101]);
}

#[test]
fn a_drain_that_breaks_a_bound_is_refused() {
    let asked = || DrainAsked { executors: vec!["e".parse().unwrap()], limit_ms: 1 };
    refused(asked(), "DrainRequest.executors", |m: &mut v1::DrainRequest| m.executors.clear());
    refused(asked(), "DrainRequest.executors", |m: &mut v1::DrainRequest| m.executors = vec!["..".into()]);
    refused(asked(), "DrainRequest.executors", |m: &mut v1::DrainRequest| {
        m.executors = vec!["e".into(); limits::DRAINED + 1];
    });
    refused(asked(), "DrainRequest.limit_ms", |m: &mut v1::DrainRequest| m.limit_ms = u64::MAX);
    refused(vec![DrainState::Asked], "DrainResponse.states", |m: &mut v1::DrainResponse| m.states[0] = 9);
}

#[test]
fn a_result_that_breaks_a_bound_is_refused() {
    let bad = |field, spoil: fn(&mut v1::TestResult)| refused(Source(4).result(), field, spoil);
    bad("TestResult.test", |m| m.test = limits::TESTS);
    bad("TestResult.ordinal", |m| m.ordinal = 65_536);
    bad("TestResult.outcome", |m| m.outcome = 0);
    bad("TestResult.outcome", |m| m.outcome = 4);
    bad("TestResult.outcome", |m| m.outcome = -1);
    bad("TestResult.cause", |m| m.cause = 8);
    bad("TestResult.detail", |m| m.detail = "x".repeat(limits::WORD_BYTES + 1));
    bad("TestResult.message", |m| m.message = "x".repeat(limits::LINE_BYTES + 1));
    bad("TestResult.location", |m| m.location = "x".repeat(limits::LOCATION_BYTES + 1));
    bad("TestResult.call_us", |m| m.call_us = limits::MICROS + 1);
    bad("TestResult.peak_kib", |m| m.peak_kib = u64::MAX);
    bad("TestResult.started_at", |m| m.started_at = u64::MAX);
    bad("TextRef.offset", |m| {
        m.text = Some(v1::TextRef { log: 1, offset: limits::LOG_BYTES, length: 1 });
    });
    bad("TextRef.offset", |m| m.text = Some(v1::TextRef { log: 1, offset: u64::MAX, length: u32::MAX }));
}

#[test]
fn a_desired_state_that_breaks_a_bound_is_refused() {
    let desired = || {
        let s = &mut Source(0);
        let mut desired = s.desired();
        while desired.attempts.len() < 2 {
            desired = s.desired();
        }
        desired
    };
    let bad = |field, spoil: fn(&mut v1::DesiredMessage)| refused(desired(), field, spoil);
    bad("DesiredMessage.version", |m| m.version = u64::MAX);
    bad("DesiredMessage.lease_ms", |m| m.lease_ms = u64::MAX);
    bad("DesiredMessage.drain_ms", |m| m.drain_ms = Some(u64::MAX));
    bad("DesiredMessage.runs", |m| m.runs = vec!["r".into(); limits::RUNS + 1]);
    bad("DesiredMessage.runs", |m| m.runs = vec!["..".into()]);
    bad("DesiredMessage.attempts", |m| m.attempts.push(m.attempts[0].clone()));
    bad("DesiredAttempt.kind", |m| m.attempts[0].kind = 0);
    bad("DesiredAttempt.slot", |m| m.attempts[0].slot = limits::SLOTS);
    bad("DesiredAttempt.slots", |m| m.attempts[0].slots = m.attempts[0].number);
    bad("DesiredAttempt.number", |m| m.attempts[0].number = u32::MAX);
    bad("Acknowledged.batch", |m| m.acknowledged = vec![v1::Acknowledged { attempt: 1, batch: u32::MAX }]);
}

#[test]
fn output_that_breaks_a_bound_is_refused() {
    let told = || OutputTold { run: "r".parse().unwrap(), printed: Source(3).printed() };
    let bad = |field, spoil: fn(&mut v1::Printed)| {
        refused(told(), field, |m: &mut v1::OutputTold| spoil(m.printed.as_mut().unwrap()));
    };
    refused(told(), "OutputTold.run", |m: &mut v1::OutputTold| m.run = "../r".into());
    refused(told(), "OutputTold.printed", |m: &mut v1::OutputTold| m.printed = None);
    bad("Printed.executor", |m| m.executor.clear());
    bad("Printed.slot", |m| m.slot = u32::MAX);
    bad("Printed.attempt", |m| m.attempt = u64::MAX);
    bad("Printed.test", |m| m.test = "x".repeat(limits::PATH_BYTES + 1));
    bad("Printed.offset", |m| m.offset = u64::MAX);
    bad("Printed.text", |m| m.text = "x".repeat(limits::CHUNK_BYTES + 1));
    let followed = |m: &mut v1::DesiredMessage| m.followed = vec!["..".into()];
    refused(
        Answer { desired: Source(0).desired(), followed: Vec::new() },
        "DesiredMessage.followed",
        followed,
    );
}

#[test]
fn a_bundle_that_breaks_a_bound_is_refused() {
    let bundle = || {
        let relation = |place| Entry {
            test: TestIndex(place),
            role: if place == 0 { Role::Predecessor } else { Role::Run },
            predicted_us: 1,
            limit_ms: 1,
            relation: 1,
        };
        let (generation, manifest, anticipated) = (Generation(1), Digest([1; 32]), false);
        BundleContents { generation, manifest, anticipated, entries: (0..4).map(relation).collect() }
    };
    let bad = |field, spoil: fn(&mut v1::BundleContents)| refused(bundle(), field, spoil);
    bad("BundleContents.predicted_us", |m| m.predicted_us.clear());
    bad("BundleContents.predicted_us", |m| m.predicted_us[3] = u64::MAX);
    bad("BundleContents.limit_ms", |m| m.limit_ms.push(1));
    bad("BundleContents.limit_ms", |m| m.limit_ms[0] = limits::MILLIS + 1);
    bad("BundleContents.manifest", |m| m.manifest = vec![1; 31].into());
    bad("BundleContents.role", |m| m.role.truncate(1));
    bad("BundleContents.role", |m| m.role[1] = 0);
    bad("BundleContents.relation", |m| m.relation.push(1));
    bad("BundleContents.relation", |m| m.relation[2] = u32::MAX);
    bad("BundleContents.tests", |m| m.tests[1] = limits::TESTS);
    bad("BundleContents.tests", |m| m.tests = vec![1; limits::BUNDLE_ENTRIES + 1]);
}

#[test]
fn a_place_that_may_be_out_of_an_artifact_is_refused() {
    let packed = || {
        let artifact = v1::Artifact { digest: vec![0; 32].into(), directory: String::new() };
        v1::run_spec::Workspace::Artifact(artifact)
    };
    let setup = |change: fn(&mut v1::Setup)| {
        let mut setup =
            v1::Setup { directory: "a".into(), run: vec!["make".into()], inputs: vec!["b".into()] };
        change(&mut setup);
        move |m: &mut v1::RunSpec| {
            m.workspace = Some(packed());
            let framework = Some(v1::suite::Framework::Pytest(v1::Pytest {}));
            m.suite = Some(v1::Suite { framework, setup: Some(setup), ..Default::default() });
        }
    };
    refused(Source(8).spec(), "Setup.run", setup(|m| m.run.clear()));
    refused(Source(8).spec(), "Setup.directory", setup(|m| m.directory = "/etc".into()));
    refused(Source(8).spec(), "Setup.directory", setup(|m| m.directory = "a/../..".into()));
    refused(Source(8).spec(), "Setup.inputs", setup(|m| m.inputs = vec!["../x".into()]));
    refused(Source(8).spec(), "Setup.inputs", setup(|m| m.inputs = vec!["/x".into()]));
    let built = |list: &str, tree: &str| {
        let built = v1::Built { list: list.into(), tree: tree.into() };
        move |m: &mut v1::RunSpec| {
            m.workspace = Some(packed());
            let framework = Some(v1::suite::Framework::Built(built));
            m.suite = Some(v1::Suite { framework, ..Default::default() });
        }
    };
    refused(Source(8).spec(), "Built.list", built("/opt", ""));
    refused(Source(8).spec(), "Built.list", built("a/../..", ""));
    refused(Source(8).spec(), "Built.list", built(&"a".repeat(limits::PATH_BYTES + 1), ""));
    refused(Source(8).spec(), "Built.tree", built("a", "../b"));
    refused(Source(8).spec(), "Built.tree", built("a", "b\0"));
}

#[test]
fn a_run_that_breaks_a_bound_is_refused() {
    let bad = |field, spoil: fn(&mut v1::RunSpec)| refused(Source(8).spec(), field, spoil);
    bad("RunSpec", |m| m.select = vec!["x".repeat(60_000); 10]);
    bad("RunSpec.id", |m| m.id = "a/b".into());
    bad("RunSpec.owner", |m| m.owner = "x".repeat(257));
    bad("RunSpec.deadline", |m| m.deadline = Some(u64::MAX));
    bad("RunSpec.cap_ms", |m| m.cap_ms = 0);
    bad("RunSpec.cap_ms", |m| m.cap_ms = u64::MAX);
    bad("RunSpec.test_limit_ms", |m| m.test_limit_ms = Some(0));
    bad("RunSpec.test_limit_ms", |m| m.test_limit_ms = Some(u64::MAX));
    bad("RunSpec.start_limit_ms", |m| m.start_limit_ms = Some(0));
    bad("RunSpec.start_limit_ms", |m| m.start_limit_ms = Some(u64::MAX));
    bad("RunSpec.grace_ms", |m| m.grace_ms = u64::MAX);
    bad("RunSpec.orphan_ms", |m| m.orphan_ms = Some(0));
    bad("RunSpec.orphan_ms", |m| m.orphan_ms = Some(u64::MAX));
    bad("RunSpec.isolation", |m| m.isolation = 4);
    bad("RunSpec.algorithm", |m| m.algorithm = 4);
    bad("RunSpec.planning_limit_ms", |m| m.planning_limit_ms = Some(0));
    bad("RunSpec.worker_memory_kib", |m| m.worker_memory_kib = Some(0));
    bad("RunSpec.worker_memory_kib", |m| m.worker_memory_kib = Some(limits::KIB + 1));
    bad("RunSpec.first", |m| m.first = vec![String::new(); limits::ARGUMENTS + 1]);
    bad("RunSpec.first", |m| m.first = vec!["x".repeat(limits::PATH_BYTES + 1)]);
    bad("RunSpec.first", |m| m.first = vec!["a\0b".into()]);
    fn branch(name: &str, base: &str) -> Option<v1::Branch> {
        Some(v1::Branch { name: name.into(), base: base.into() })
    }
    bad("Branch.name", |m| m.branch = branch("", "main"));
    bad("Branch.name", |m| m.branch = branch(&"x".repeat(257), ""));
    bad("Branch.base", |m| m.branch = branch("x", &"x".repeat(257)));
    bad("RunSpec.retries", |m| m.retries = u32::MAX);
    bad("RunSpec.test_losses", |m| m.test_losses = Some(0));
    bad("RunSpec.run_losses", |m| m.run_losses = Some(0));
    bad("RunSpec.fail_fast", |m| m.fail_fast = Some(0));
    bad("RunSpec.workspace", |m| m.workspace = None);
    bad("RunSpec.arguments", |m| m.arguments = vec![String::new(); limits::ARGUMENTS + 1]);
    bad("RunSpec.arguments", |m| m.arguments = vec!["a\0b".into()]);
    bad("RunSpec.select", |m| m.select = vec!["x".repeat(limits::ARGUMENT_BYTES + 1)]);
    bad("RunSpec.suite", |m| m.suite = None);
    // As that of a newer release, which is unknown here.
    bad("Suite.framework", |m| m.suite = Some(v1::Suite::default()));
    bad("Suite.python", |m| {
        m.suite = Some(v1::Suite { python: "py\0".into(), ..Default::default() });
    });
    for (name, value) in [("", "v"), ("a=b", "v"), ("a\0", "v"), ("a", "v\0")] {
        refused(Source(8).spec(), "Suite.variables", |m: &mut v1::RunSpec| {
            let variables = [(name.to_owned(), value.to_owned())].into();
            m.suite = Some(v1::Suite { variables, ..Default::default() });
        });
    }
    for (name, source) in [("", "env:A"), ("a=b", "env:A"), ("a", "hunter2"), ("a", "file:b")] {
        refused(Source(8).spec(), "Suite.secrets", |m: &mut v1::RunSpec| {
            let secrets = [(name.to_owned(), source.to_owned())].into();
            m.suite = Some(v1::Suite { secrets, ..Default::default() });
        });
    }
    let commands = |change: fn(&mut v1::SuiteCommands)| {
        let mut commands = v1::SuiteCommands {
            discover: vec!["list".into()],
            run: vec!["run".into()],
            id: "{name}".into(),
            batch_ms: 1,
        };
        change(&mut commands);
        let framework = Some(v1::suite::Framework::Command(commands));
        move |m: &mut v1::RunSpec| {
            m.suite = Some(v1::Suite { framework, ..Default::default() });
        }
    };
    refused(Source(8).spec(), "SuiteCommands.discover", commands(|m| m.discover.clear()));
    refused(Source(8).spec(), "SuiteCommands.run", commands(|m| m.run = vec!["a\0".into()]));
    refused(Source(8).spec(), "SuiteCommands.id", commands(|m| m.id.clear()));
    refused(Source(8).spec(), "SuiteCommands.batch_ms", commands(|m| m.batch_ms = u64::MAX));
}

#[test]
fn a_client_learns_of_a_bad_run_before_it_is_sent() {
    let good = Source(8).spec();
    assert_eq!(submission(good.clone()), Ok(good.clone().into()));
    let vast = RunSpec { select: vec!["x".repeat(60_000); 100], ..good };
    assert_eq!(submission(vast).unwrap_err().field, "RunSpec");
}

#[test]
fn a_workspace_outside_of_its_place_is_refused() {
    use v1::run_spec::Workspace;
    for directory in ["", "relative", "/nul\0"] {
        refused(Source(8).spec(), "InPlace.directory", |m: &mut v1::RunSpec| {
            let workspace = v1::InPlace { directory: directory.into(), content: String::new() };
            m.workspace = Some(Workspace::InPlace(workspace));
        });
    }
    for directory in ["/", "/etc", "..", "a/../../b", "a/..", "nul\0"] {
        refused(Source(8).spec(), "Artifact.directory", |m: &mut v1::RunSpec| {
            let digest = Bytes::from_static(&[7; 32]);
            let workspace = v1::Artifact { digest, directory: directory.into() };
            m.workspace = Some(Workspace::Artifact(workspace));
        });
    }
    refused(Source(8).spec(), "Artifact.digest", |m: &mut v1::RunSpec| {
        m.workspace = Some(Workspace::Artifact(v1::Artifact::default()));
    });
}

#[test]
fn an_event_that_contradicts_itself_is_refused() {
    use v1::stream_item::Event;
    let item = || Source(1).item();
    let verdict = |verdict: v1::Verdict, why| {
        let event = Event::Verdict(v1::VerdictReached { test: 1, verdict: verdict.into(), why });
        move |m: &mut v1::StreamItem| m.event = Some(event)
    };
    let why = |reason: v1::NotExecutedReason, cause: v1::InfraCause| v1::NotExecuted {
        reason: reason.into(),
        cause: cause.into(),
    };
    let cancelled = why(v1::NotExecutedReason::Cancelled, v1::InfraCause::Unspecified);
    refused(item(), "StreamItem.event", |m: &mut v1::StreamItem| m.event = None);
    refused(item(), "StreamItem.seq", |m: &mut v1::StreamItem| m.seq = u64::MAX);
    refused(item(), "VerdictReached.verdict", verdict(v1::Verdict::Unspecified, None));
    refused(item(), "VerdictReached.why", verdict(v1::Verdict::NotExecuted, None));
    refused(item(), "VerdictReached.why", verdict(v1::Verdict::Passed, Some(cancelled)));
    for (reason, cause, field) in [
        (v1::NotExecutedReason::Infra, v1::InfraCause::Unspecified, "NotExecuted.cause"),
        (v1::NotExecutedReason::FailFast, v1::InfraCause::Drained, "NotExecuted.cause"),
        (v1::NotExecutedReason::Unspecified, v1::InfraCause::Unspecified, "NotExecuted.reason"),
    ] {
        refused(item(), field, verdict(v1::Verdict::NotExecuted, Some(why(reason, cause))));
    }
    refused(item(), "RunFinished.exit_code", |m: &mut v1::StreamItem| {
        let verdict = v1::RunVerdict::Passed.into();
        m.event = Some(Event::RunFinished(v1::RunFinished { verdict, counts: None, exit_code: 256 }));
    });
}

#[test]
fn an_event_that_a_newer_scheduler_knows_is_passed_over() {
    let known = Source(1).item();
    let newer = v1::StreamItem { seq: 7, event: None };
    let items = v1::Items { items: vec![newer, known.clone().into()] };
    let message = v1::WatchMessage { message: Some(v1::watch_message::Message::Items(items)) };
    assert_eq!(Watched::try_from(message), Ok(Watched::Items(vec![known])));
}

#[test]
fn a_list_or_a_history_that_breaks_a_bound_is_refused() {
    let after = RunPlace { submitted_at: 7, run: "r".parse().unwrap() };
    let asked = || ListAsked { project: None, limit: 1, after: Some(after.clone()) };
    refused(asked(), "ListRequest.limit", |m: &mut v1::ListRequest| m.limit = 0);
    refused(asked(), "ListRequest.limit", |m: &mut v1::ListRequest| m.limit = 501);
    refused(asked(), "ListRequest.after", |m: &mut v1::ListRequest| m.after = "no id".into());
    refused(asked(), "ListRequest.after_submitted_at", |m: &mut v1::ListRequest| {
        m.after_submitted_at = limits::MOMENT + 1;
    });
    refused(asked(), "ListRequest.project", |m: &mut v1::ListRequest| m.project = "p".repeat(257));
    let overview = || Source(3).overview();
    refused(overview(), "RunOverview.id", |m: &mut v1::RunOverview| m.id = "../etc".into());
    refused(overview(), "RunOverview.rerun_of", |m: &mut v1::RunOverview| m.rerun_of = "a/b".into());
    refused(overview(), "RunOverview.state", |m: &mut v1::RunOverview| m.state = None);
    refused(overview(), "RunOverview.counts", |m: &mut v1::RunOverview| m.counts = None);
    refused(overview(), "RunEnd.exit_code", |m: &mut v1::RunOverview| {
        let end = v1::RunEnd { verdict: v1::RunVerdict::Passed.into(), exit_code: 256, at: 0 };
        m.state = Some(v1::run_overview::State::Ended(end));
    });
    let listed = || vec![Source(3).overview()];
    refused(listed(), "ListResponse.runs", |m: &mut v1::ListResponse| {
        m.runs = vec![m.runs[0].clone(); limits::LISTED_RUNS + 1];
    });
    let asked = || HistoryAsked { project: "p".into(), test: "t".into(), runs: 1 };
    refused(asked(), "HistoryRequest.runs", |m: &mut v1::HistoryRequest| m.runs = 101);
    refused(asked(), "HistoryRequest.test", |m: &mut v1::HistoryRequest| m.test = "t".repeat(65_537));
    let past = || PastRun {
        run: "r".parse().unwrap(),
        submitted_at: 0,
        verdict: Verdict::Passed,
        results: 1,
        failed: 0,
        micros: Some(1),
        executor: Some("e".parse().unwrap()),
    };
    refused(past(), "PastRun.failed", |m: &mut v1::PastRun| m.failed = 2);
    refused(past(), "PastRun.executor", |m: &mut v1::PastRun| m.executor = None);
    let history = || TestHistory { tests: vec!["t".into()], ..TestHistory::default() };
    refused(history(), "HistoryResponse.tests", |m: &mut v1::HistoryResponse| {
        m.tests = vec!["t".into(); limits::MATCHES + 1];
    });
    refused(history(), "HistoryResponse.tests", |m: &mut v1::HistoryResponse| {
        m.tests = vec!["t".repeat(limits::MATCHES_BYTES)];
    });
    refused(history(), "HistoryResponse.behind", |m: &mut v1::HistoryResponse| {
        m.behind = limits::SEARCHED_RUNS + 1;
    });
}

#[test]
fn what_was_found_is_refused_where_it_breaks_a_bound() {
    let asked = || RankAsked { project: "p".into(), ranking: Ranking::Flaky, days: 7, limit: 9 };
    refused(asked(), "RankRequest.days", |m: &mut v1::RankRequest| m.days = 0);
    refused(asked(), "RankRequest.limit", |m: &mut v1::RankRequest| m.limit = 101);
    refused(asked(), "RankRequest.ranking", |m: &mut v1::RankRequest| m.ranking = 0);
    let asked = || SearchAsked { project: "p".into(), text: "t".into(), days: 7, limit: 9 };
    refused(asked(), "SearchRequest.text", |m: &mut v1::SearchRequest| m.text = "t".repeat(3073));
    refused(asked(), "SearchRequest.days", |m: &mut v1::SearchRequest| m.days = 3661);
    let ranked = || vec![Source(3).ranked()];
    refused(ranked(), "RankResponse.tests", |m: &mut v1::RankResponse| {
        m.tests = vec![m.tests[0].clone(); 101]
    });
    refused(ranked(), "RankResponse.tests", |m: &mut v1::RankResponse| {
        m.tests[0].test = "t".repeat(limits::MATCHES_BYTES + 1);
    });
    let groups = || vec![Source(3).failures()];
    refused(groups(), "FailureGroup.run", |m: &mut v1::SearchResponse| m.groups[0].run = "../x".into());
    refused(groups(), "FailureGroup.tests", |m: &mut v1::SearchResponse| {
        (m.groups[0].failures, m.groups[0].tests) = (1, 2);
    });
}

#[test]
fn a_judgement_that_breaks_a_bound_is_refused() {
    let error = || SuiteError { title: "coverage".into(), message: "too little".into(), text: None };
    let word = || Word { run: "run".parse().unwrap(), errors: Some(vec![error()]) };
    let bad = |field, spoil: fn(&mut Vec<v1::SuiteError>)| {
        refused(word(), field, |m: &mut v1::JudgeRequest| spoil(&mut m.judgement.as_mut().unwrap().errors));
    };
    refused(word(), "JudgeRequest.run", |m: &mut v1::JudgeRequest| m.run = "../etc".into());
    bad("Judgement.errors", |errors| *errors = vec![errors[0].clone(); limits::JUDGED_ERRORS + 1]);
    bad("Judgement.errors", |errors| {
        errors[0].text = Some(v1::TextRef { log: 1, offset: 0, length: 1 });
    });
    bad("SuiteError.title", |errors| errors[0].title = "t".repeat(limits::WORD_BYTES + 1));
    bad("SuiteError.message", |errors| errors[0].message = "m".repeat(limits::LINE_BYTES + 1));
}

#[test]
fn oversized_pieces_are_refused() {
    let over = Bytes::from(vec![0; limits::CHUNK_BYTES + 1]);
    let log = v1::PutLogRequest { run: "run".into(), attempt: 1, offset: 0, data: over.clone() };
    assert_eq!(LogChunk::try_from(log).unwrap_err().field, "PutLogRequest.data");
    let part = v1::PutRequest { part: Some(v1::put_request::Part::Data(over.clone())) };
    assert_eq!(BlobPart::try_from(part).unwrap_err().field, "PutRequest.data");
    let piece = v1::GetResponse { size: None, data: over };
    assert_eq!(BlobPiece::try_from(piece).unwrap_err().field, "GetResponse.data");
    let digests = vec![Bytes::from_static(&[1; 32]); limits::DIGESTS + 1];
    assert!(Vec::<Digest>::try_from(v1::MissingRequest { digests }).is_err());
    let digests = vec![Bytes::from_static(&[1; 31])];
    assert!(Vec::<Digest>::try_from(v1::MissingRequest { digests }).is_err());
}
