//! Streams and the documents that they become.

use seagull_domain::{Counts, FileTests, Generation, InfraCause, NotExecuted, Role, RunVerdict, SlotIndex};

use super::*;
use crate::service::tests::spec;

struct Told;

impl Sources for Told {
    fn manifest(&mut self, _: &Digest) -> Result<Manifest, Unread> {
        let suffixes = (0..3).map(|test| format!("::t{test}")).collect();
        Ok(Manifest { files: vec![FileTests { path: "a.py".into(), suffixes }], ..Manifest::default() })
    }

    fn ended_at(&self) -> u64 {
        99
    }

    fn text(&mut self, text: TextRef) -> Result<Option<String>, Unread> {
        Ok(Some(format!("a.py:{}: in t\n", text.offset)))
    }
}

fn result(test: u32, outcome: Outcome, micros: u64) -> TestResult {
    let failed = outcome == Outcome::Failed;
    TestResult {
        cpu_us: 0,
        test: TestIndex(test),
        ordinal: 0,
        last: true,
        outcome,
        detail: String::new(),
        cause: None,
        phases: [0, micros, 0],
        peak_kib: 0,
        started_at: 0,
        message: if failed { "E: no".into() } else { String::new() },
        location: String::new(),
        text: failed.then_some(TextRef { log: AttemptId(1), offset: 7, length: 9 }),
    }
}

fn recorded(results: Vec<TestResult>) -> What {
    What::Recorded {
        attempt: AttemptId(2),
        batch: 1,
        executor: "e".parse().unwrap(),
        slot: SlotNumber(0),
        records: results.into_iter().map(|result| (Record::Result(result), None)).collect(),
    }
}

fn assigned(attempt: u64, bundle: Option<u32>) -> What {
    What::Assigned {
        larger: false,
        attempt: AttemptId(attempt),
        bundle: bundle.map(BundleId),
        executor: "e".parse().unwrap(),
        boot: "b".parse().unwrap(),
        slot: SlotIndex(0),
        number: SlotNumber(0),
        slots: 1,
        tests: 3,
        copy: None,
    }
}

fn ended(attempt: u64, lost: bool) -> What {
    let (attempt, executor) = (AttemptId(attempt), "e".parse().unwrap());
    if lost {
        let cause = InfraCause::ExecutorLost;
        let epoch = seagull_domain::Epoch(1);
        What::AttemptLost {
            attempt,
            cause,
            executor,
            left: 3,
            had: true,
            alone_ms: None,
            epoch,
            charged: None,
            suspect: None,
            chance: None,
            cut_off: None,
        }
    } else {
        let cause = EndCause::Completed;
        let (free, charged, cut_off) = (false, Vec::new(), None);
        What::AttemptEnded { attempt, cause, executor, left: 0, free, charged, cut_off }
    }
}

fn run() -> Vec<What> {
    let mut spec = spec("r");
    spec.rev = "1".into();
    let entries = (0..3).map(|test| (TestIndex(test), Role::Run)).collect();
    let none = Verdict::NotExecuted(NotExecuted::FailFast);
    let verdicts =
        vec![(TestIndex(0), Verdict::Flaky), (TestIndex(1), Verdict::Passed), (TestIndex(2), none)];
    let counts = Counts { total: 3, flaky: 1, passed: 1, not_executed: 1, ..Counts::default() };
    vec![
        What::Submitted(Box::new(spec)),
        What::Confirmed {
            generation: Generation(1),
            manifest: Digest([0; 32]),
            tests: 3,
            summary: Default::default(),
        },
        What::Bundled {
            bundle: BundleId(4),
            entries,
            avoid: vec![],
            alone: false,
            in_vain: 0,
            follows: false,
        },
        assigned(1, Some(4)),
        ended(1, true),
        assigned(2, Some(5)),
        recorded(vec![
            result(0, Outcome::Failed, 5),
            result(1, Outcome::Passed, 7),
            result(0, Outcome::Passed, 6),
        ]),
        What::Decided { verdicts },
        // Evidence of what is decided.
        recorded(vec![result(1, Outcome::Failed, 9), result(77, Outcome::Failed, 9)]),
        ended(2, false),
        What::Ended { verdict: RunVerdict::Failed, counts, exit_code: 101, suite_errors: 2 },
    ]
}

fn documents(facts: Vec<What>) -> Vec<Document> {
    let mut projection = Projection::new(42);
    let facts = (1..).map(Seq).zip(facts);
    facts.flat_map(|(seq, what)| projection.take(seq, what, &mut Told).unwrap()).collect()
}

#[test]
fn a_stream_becomes_documents_that_are_the_same_each_time() {
    let all = documents(run());
    assert_eq!(all, documents(run()));
    let told: Vec<_> = all.iter().map(|document| (document.kind().word(), document.version)).collect();
    let expected = [
        ("runs", 1),
        ("bundles", 3),
        ("attempts", 5),
        ("bundles", 6),
        ("results", 8),
        ("results", 8),
        ("results", 8),
        ("attempts", 10),
        ("runs", 11),
    ];
    assert_eq!(told, expected);
    let ids: std::collections::HashSet<_> =
        all[..8].iter().map(|document| (document.kind(), document.id())).collect();
    assert_eq!((ids.len(), all[0].id()), (8, all[8].id()));
    assert_eq!((all[0].of.at, all[0].of.project.as_str()), (42, "p"));
    let Body::Run(run) = &all[8].body else { panic!("{:?}", all[8]) };
    assert_eq!(
        (run.verdict, run.ended_at, run.exit_code, run.suite_errors),
        (Some("failed"), Some(99), 101, 2)
    );
    assert_eq!((run.counts.total, run.revision.as_str()), (3, "1"));
}

#[test]
fn a_result_has_what_a_test_came_to_before_its_verdict() {
    let all = documents(run());
    let results: Vec<_> = all
        .iter()
        .filter_map(|document| match &document.body {
            Body::Result(result) => Some(result),
            _ => None,
        })
        .collect();
    let [flaky, passed, none] = results[..] else { panic!("{results:?}") };
    assert_eq!(
        (flaky.test.as_str(), flaky.verdict, flaky.results, flaky.failed),
        ("a.py::t0", "flaky", 2, 1)
    );
    assert_eq!((flaky.micros, flaky.executions.len()), (Some(6), 2));
    let failure = flaky.failure.as_ref().unwrap();
    assert_eq!((failure.message.as_str(), failure.stack.as_str()), ("E: no", "a.py:7: in t\n"));
    assert_eq!(failure.words, "e no a py 7 in t");
    assert_eq!((passed.failed, passed.micros, &passed.failure), (0, Some(7), &None));
    assert_eq!((none.verdict, none.why.as_str(), none.micros), ("not_executed", "fail-fast", None));
    let ends: Vec<_> = all
        .iter()
        .filter_map(|document| match &document.body {
            Body::Attempt(attempt) => Some((attempt.end.as_str(), attempt.lost, attempt.left)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [("executor lost", true, 3), ("completed", false, 0)]);
}

#[test]
fn facts_that_make_no_sense_bring_nothing() {
    assert_eq!(documents(run().split_off(1)), []);
    let verdicts = vec![(TestIndex(u32::MAX), Verdict::Passed)];
    assert_eq!(documents(vec![What::Decided { verdicts }, ended(9, true)]), []);
}
