//! What is sent is what arrives.

use std::fmt::Debug;

use prost::Message;
use seagull_domain::*;
use seagull_proto::convert::{
    Answer, BlobAsked, BlobPart, BlobPiece, BundleAsked, DrainAsked, HistoryAsked, ListAsked, LogChunk,
    OutputTold, RankAsked, RunDescription, SearchAsked, TestAsked, TextAsked, WatchAsked, Watched, Word,
    fit_result, pack_items,
};
use seagull_proto::{Invalid, PROTOCOL, limits, v1};

use crate::arbitrary::{EVENTS, Source};

const ROUNDS: u64 = 500;

/// Sends a value through the bytes of its message and back.
fn arrives<T, M>(value: &T) -> T
where
    T: Clone + TryFrom<M, Error = Invalid>,
    M: Message + Default + From<T>,
{
    let bytes = M::from(value.clone()).encode_to_vec();
    assert!(bytes.len() <= limits::MESSAGE_BYTES, "{} bytes", bytes.len());
    M::decode(bytes.as_slice()).unwrap().try_into().unwrap()
}

#[track_caller]
fn round_trip<T, M>(value: T)
where
    T: Clone + Debug + PartialEq + TryFrom<M, Error = Invalid>,
    M: Message + Default + From<T>,
{
    assert_eq!(arrives::<T, M>(&value), value);
}

#[test]
fn every_type_arrives_as_it_was_sent() {
    for seed in 0..ROUNDS {
        let s = &mut Source(seed);
        round_trip::<Report, v1::ReportMessage>(s.report());
        round_trip::<Desired, v1::DesiredMessage>(s.desired());
        let answer = Answer { desired: s.desired(), followed: s.list(5, Source::id) };
        round_trip::<Answer, v1::DesiredMessage>(answer);
        round_trip::<OutputTold, v1::OutputTold>(OutputTold { run: s.id(), printed: s.printed() });
        round_trip::<BundleContents, v1::BundleContents>(s.bundle(seed % 30));
        round_trip::<RunSpec, v1::SubmitRequest>(s.spec());
        round_trip::<Watched, v1::WatchMessage>(s.watched());
        round_trip::<TestHistory, v1::HistoryResponse>(s.history());
        round_trip::<Vec<Ranked>, v1::RankResponse>(s.list(20, Source::ranked));
        round_trip::<Vec<FailureGroup>, v1::SearchResponse>(s.list(20, Source::failures));
        round_trip::<Word, v1::JudgeRequest>(s.word());
        round_trip::<Vec<RunOverview>, v1::ListResponse>(s.list(20, Source::overview));
        let (run, verdict, tests) = (s.id(), RunVerdict::Failed, s.small(limits::TESTS));
        round_trip::<NotPassed, v1::NotPassed>(NotPassed { run, verdict, tests });
        for variant in 0..EVENTS {
            let item = StreamItem { seq: Seq(seed), event: s.event(variant) };
            round_trip::<StreamItem, v1::StreamItem>(item);
        }
    }
}

#[test]
fn small_questions_and_answers_arrive_as_they_were_sent() {
    let s = &mut Source(1);
    let run: RunId = "2026-11-24.1".parse().unwrap();
    let (digest, attempt, generation) = (s.digest(), AttemptId(limits::NUMBER), Generation(7));
    round_trip::<RunId, v1::GetRunRequest>(run.clone());
    round_trip::<RunId, v1::CancelRequest>(run.clone());
    round_trip::<WatchAsked, v1::WatchRequest>(WatchAsked { run: run.clone(), after: Seq(9), output: true });
    round_trip::<BundleAsked, v1::GetBundleRequest>(BundleAsked { run: run.clone(), attempt, generation });
    for project in [None, Some("p".to_owned())] {
        let after = project.is_some().then(|| RunPlace { submitted_at: 0, run: run.clone() });
        round_trip::<ListAsked, v1::ListRequest>(ListAsked { project, limit: limits::LISTED_RUNS, after });
    }
    let asked = HistoryAsked { project: "p".into(), test: "t".into(), runs: limits::SEARCHED_RUNS };
    round_trip::<HistoryAsked, v1::HistoryRequest>(asked);
    let (project, text) = ("p".to_owned(), "no route".to_owned());
    for ranking in [Ranking::Failing, Ranking::Flaky, Ranking::Slowest, Ranking::Slower] {
        let asked = RankAsked { project: project.clone(), ranking, days: limits::DAYS, limit: 1 };
        round_trip::<RankAsked, v1::RankRequest>(asked);
    }
    let asked = SearchAsked { project, text, days: 1, limit: limits::FOUND };
    round_trip::<SearchAsked, v1::SearchRequest>(asked);
    let asked = DrainAsked { executors: vec![s.id(), s.id()], limit_ms: limits::MILLIS };
    round_trip::<DrainAsked, v1::DrainRequest>(asked);
    use DrainState::{Absent, Asked, Draining, Unheard};
    round_trip::<Vec<DrainState>, v1::DrainResponse>(vec![Absent, Unheard, Asked, Draining]);
    round_trip::<TestAsked, v1::FindTestRequest>(TestAsked { run: run.clone(), test: TestIndex(3) });
    let (executor, slot) = (s.id::<ExecutorId>(), SlotNumber(2));
    for whereabouts in [
        Whereabouts::Running { attempt, executor: executor.clone(), slot, millis: limits::MILLIS },
        Whereabouts::Next { attempt, executor, slot, behind: limits::TESTS },
        Whereabouts::Queued { behind: 0, slots: 4, avoided: 1, runs: 2 },
    ] {
        round_trip::<Whereabouts, v1::FindTestResponse>(whereabouts);
    }
    let silent = Silent { executor: s.id(), millis: limits::MILLIS, left_ms: 0 };
    for discovering in [None, Some(Some(limits::MILLIS)), Some(None)] {
        let standing = Standing {
            running: 1,
            next: 2,
            queued: limits::TESTS,
            suspects: 3,
            followers: 4,
            barred: 5,
            discovering: discovering.map(|millis| Discovering { executor: s.id(), millis }),
            silent: vec![silent.clone(); limits::SILENT],
            disk_is_full: true,
        };
        round_trip::<Standing, v1::Standing>(standing);
    }
    let text = TextRef { log: attempt, offset: 5, length: 6 };
    round_trip::<TextAsked, v1::ReadLogRequest>(TextAsked { run: run.clone(), text });
    let data: Vec<u8> = (0..limits::CHUNK_BYTES).map(|n| (n % 251) as u8).collect();
    let chunk = LogChunk { run, attempt, offset: limits::LOG_BYTES, data: data.clone().into() };
    round_trip::<LogChunk, v1::PutLogRequest>(chunk);
    round_trip::<RunDescription, v1::RunDescription>(RunDescription { spec: s.spec() });
    round_trip::<BlobPart, v1::PutRequest>(BlobPart::Header { digest, size: limits::BLOB_BYTES, run: None });
    round_trip::<BlobPart, v1::PutRequest>(BlobPart::Data(data.clone().into()));
    let run = Some("r".parse().unwrap());
    round_trip::<BlobPart, v1::PutRequest>(BlobPart::Header { digest, size: 1, run: run.clone() });
    round_trip::<BlobAsked, v1::GetRequest>(BlobAsked { digest, offset: 3, run });
    round_trip::<BlobAsked, v1::GetRequest>(BlobAsked { digest, offset: 3, run: None });
    for size in [None, Some(0), Some(limits::BLOB_BYTES)] {
        round_trip::<BlobPiece, v1::GetResponse>(BlobPiece { size, data: data.clone().into() });
    }
    let digests: Vec<Digest> = (0..limits::DIGESTS).map(|_| s.digest()).collect();
    round_trip::<Vec<Digest>, v1::MissingRequest>(digests.clone());
    round_trip::<Vec<Digest>, v1::MissingResponse>(digests);
}

#[test]
fn long_lists_fit_a_message_whatever_is_in_them() {
    let overview = RunOverview {
        run: "r".repeat(100).parse().unwrap(),
        owner: "é".repeat(9000),
        project: "p".repeat(9000),
        rev: "v".repeat(9000),
        submitted_at: u64::MAX,
        rerun_of: Some("r".repeat(100).parse().unwrap()),
        counts: Counts::default(),
        suite_errors: u32::MAX,
        state: RunState::Ended { verdict: RunVerdict::Failed, exit_code: 255, at: u64::MAX },
    };
    let listed = vec![overview; limits::LISTED_RUNS + 1];
    assert_eq!(arrives::<Vec<RunOverview>, v1::ListResponse>(&listed).len(), limits::LISTED_RUNS);
    let last = NotPassed { run: "r".parse().unwrap(), verdict: RunVerdict::Failed, tests: u32::MAX };
    assert_eq!(arrives::<NotPassed, v1::NotPassed>(&last).tests, limits::TESTS);
    let tests = vec!["t".repeat(60_000); limits::MATCHES + 1];
    let history = TestHistory { tests, matching: u32::MAX, searched: u32::MAX, ..TestHistory::default() };
    assert_eq!(arrives::<TestHistory, v1::HistoryResponse>(&history).tests.len(), 4);
}

#[test]
fn a_report_offers_the_protocol() {
    assert_eq!(v1::ReportMessage::from(Source(1).report()).protocol, Some(PROTOCOL));
    assert_eq!(v1::SubmitRequest::from(Source(1).spec()).protocol, Some(PROTOCOL));
}

/// A result of the greatest values that may be sent.
fn longest_result() -> TestResult {
    TestResult {
        cpu_us: 0,
        test: TestIndex(limits::TESTS - 1),
        ordinal: u16::MAX,
        last: true,
        outcome: Outcome::Skipped,
        detail: "d".repeat(limits::WORD_BYTES),
        cause: Some(TestCause::Poison),
        phases: [limits::MICROS; 3],
        peak_kib: limits::KIB,
        started_at: limits::MOMENT,
        message: "m".repeat(limits::LINE_BYTES),
        location: "l".repeat(limits::LOCATION_BYTES),
        text: Some(TextRef {
            log: AttemptId(limits::NUMBER),
            offset: limits::LOG_BYTES - u64::from(u32::MAX),
            length: u32::MAX,
        }),
    }
}

#[test]
fn what_is_too_long_in_a_result_is_cut_before_it_is_sent() {
    let mut long = longest_result();
    long.detail = "é".repeat(10_000);
    long.message = "漢".repeat(100_000);
    long.location = "🐦".repeat(10_000);
    long.phases = [u64::MAX; 3];
    long.peak_kib = u64::MAX;
    let message = v1::TestResult::from(long.clone());
    assert!(message.encoded_len() <= limits::RESULT_BYTES, "{} bytes", message.encoded_len());
    let mut fitted = long.clone();
    fit_result(&mut fitted);
    let arrived = arrives::<TestResult, v1::TestResult>(&long);
    assert_eq!(arrived, fitted);
    assert!(arrived.message.starts_with("漢漢") && arrived.message.ends_with('…'));
    let sent_on = arrives::<TestResult, v1::TestResult>(&arrived);
    assert_eq!(sent_on, arrived, "a result that was cut is not cut again");
}

/// All that a suite or an operator can make as large as they like. A receiver that refused it would lose the sender.
#[test]
fn whatever_is_over_a_bound_is_cut_before_it_is_sent() {
    let s = &mut Source(6);
    let long = || "漢".repeat(100_000);
    let (manifest, text, cause) = (s.digest(), None, InfraCause::Drained);
    for end in [
        EndCause::Discovered(Discovery { manifest, tests: u32::MAX }),
        EndCause::DiscoveryFailed(long()),
        EndCause::GaveBack(cause, long()),
    ] {
        let (attempt, run) = (s.attempt(), "run".parse().unwrap());
        let (generation, kept, state) = (Generation(1), Vec::new(), AttemptState::Ended(end));
        let report = AttemptReport { attempt, run, generation, kept, state };
        arrives::<AttemptReport, v1::AttemptReport>(&report);
    }
    let error = SuiteError { title: long(), message: long(), text };
    let missing = Record::Missing { test: TestIndex(0), reason: long() };
    let batch = Batch { records: vec![missing, Record::SuiteError(error.clone())], ..s.batch() };
    arrives::<Batch, v1::Batch>(&batch);
    arrives::<Desired, v1::DesiredMessage>(&Desired { lease_ms: u64::MAX, ..s.desired() });
    let mut bundle = s.bundle(3);
    for entry in &mut bundle.entries {
        (entry.predicted_us, entry.limit_ms) = (u64::MAX, u64::MAX);
    }
    arrives::<BundleContents, v1::BundleContents>(&bundle);
    let (attempt, executor) = (s.attempt(), || "e".parse().unwrap());
    for event in [
        RunEvent::Plan(PlanSummary {
            cap_ms: u64::MAX,
            total_ms: u64::MAX,
            longest_ms: u64::MAX,
            makespan_ms: u64::MAX,
            planning_ms: u64::MAX,
            bound: long(),
            ..s.plan()
        }),
        RunEvent::TestMissing { test: TestIndex(0), attempt, executor: executor(), reason: long() },
        RunEvent::SuiteError { error, executor: None },
        RunEvent::AttemptLost {
            attempt,
            executor: executor(),
            cause,
            message: long(),
            tests: 1,
            charged: vec![],
            suspect: None,
            alone: None,
            free: false,
        },
        RunEvent::DiscoveryFailed { message: long() },
        RunEvent::ResultsDiscarded {
            manifest: Digest([255; 32]),
            tests: vec![TestIndex(limits::TESTS - 1); limits::NAMED_TESTS],
            count: limits::TESTS,
        },
    ] {
        arrives::<StreamItem, v1::StreamItem>(&StreamItem { seq: Seq(1), event });
    }
}

#[test]
fn the_longest_messages_fit() {
    assert!(v1::TestResult::from(longest_result()).encoded_len() <= limits::RESULT_BYTES);

    let id = "r".repeat(100);
    let records = vec![Record::Result(longest_result()); limits::BATCH_RECORDS];
    let batch = Batch { run: id.parse().unwrap(), attempt: AttemptId(limits::NUMBER), number: 1, records };
    round_trip::<Report, v1::ReportMessage>(Report { batches: vec![batch], ..Source(3).report() });

    let entry = Entry {
        test: TestIndex(limits::TESTS - 1),
        role: Role::Predecessor,
        predicted_us: limits::MICROS,
        limit_ms: limits::MILLIS,
        relation: limits::TESTS,
    };
    let generation = Generation(limits::SMALL_NUMBER);
    let (manifest, anticipated) = (Digest([255; 32]), true);
    let entries = vec![entry; limits::BUNDLE_ENTRIES];
    let bundle = BundleContents { generation, manifest, anticipated, entries };
    round_trip::<BundleContents, v1::BundleContents>(bundle);
}

#[test]
fn an_everyday_bundle_of_fifty_thousand_tests_is_small() {
    let entries = (0..50_000).map(|n| Entry {
        test: TestIndex(200_000 + n),
        role: Role::Run,
        predicted_us: 20_000 + u64::from(n),
        limit_ms: 300_000,
        relation: 0,
    });
    let (generation, manifest, anticipated) = (Generation(1), Digest([7; 32]), false);
    let bundle = BundleContents { generation, manifest, anticipated, entries: entries.collect() };
    let length = v1::BundleContents::from(bundle).encoded_len();
    assert!(length < limits::MESSAGE_BYTES / 2, "{length} bytes");
}

#[test]
fn a_report_holds_as_many_batches_as_one_message_can() {
    let batch = |number| Batch {
        run: "run".parse().unwrap(),
        attempt: AttemptId(1),
        number,
        records: vec![Record::Result(longest_result()); 25],
    };
    let report = Report { batches: (1..=40).map(batch).collect(), ..Source(5).report() };
    let sent = report.batches.clone();
    let arrived = arrives::<Report, v1::ReportMessage>(&report).batches;
    assert!((5..40).contains(&arrived.len()), "{} batches", arrived.len());
    assert_eq!(arrived, sent[..arrived.len()]);
    let more = v1::Batch::from(sent[arrived.len()].clone()).encoded_len();
    let length = v1::ReportMessage::from(report).encoded_len();
    assert!(length + more > limits::MESSAGE_BYTES, "another batch had room");
}

#[test]
fn packed_events_arrive_in_order_in_messages_of_bounded_size() {
    let s = &mut Source(11);
    let mut items: Vec<StreamItem> = (0..3000).map(|_| s.item()).collect();
    let event = RunEvent::Verdict { test: TestIndex(1), verdict: Verdict::Passed };
    items.extend((0..30_000).map(|n| StreamItem { seq: Seq(n), event: event.clone() }));
    let messages: Vec<v1::WatchMessage> = pack_items(items.clone()).collect();
    assert!(messages.len() < 100, "{} messages", messages.len());
    let mut arrived = Vec::new();
    for message in messages {
        assert!(message.encoded_len() <= limits::CHUNK_BYTES + 100, "{} bytes", message.encoded_len());
        match Watched::try_from(message).unwrap() {
            Watched::Items(items) => arrived.extend(items),
            other => panic!("{other:?} among the events"),
        }
    }
    assert!(arrived == items, "the events differ");
    assert_eq!(pack_items([]).count(), 0);
}
