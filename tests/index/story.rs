//! What indices are told in tests: runs of a few tests, as documents.

use std::sync::Arc;

use seagull_domain::{AttemptId, BundleId, Counts, ExecutorId, SlotNumber, TestIndex, Verdict};
use seagull_results::index::{
    AttemptBody, Body, BundleBody, Document, Failure, Learned, Of, ResultBody, RunBody, TimingsBody,
    fingerprint, part, verdict_parts, words,
};

pub const DAY: u64 = 24 * 3600 * 1000;
/// Somewhere in 2026.
pub const NOW: u64 = 1_795_737_600_000;

/// A test in a run: its id, its verdict, its microseconds, and what a failure said.
pub type Row<'a> = (&'a str, Verdict, Option<u64>, &'a str);

pub fn passed(test: &str, micros: u64) -> Row<'_> {
    (test, Verdict::Passed, Some(micros), "")
}

pub fn failed<'a>(test: &'a str, message: &'a str) -> Row<'a> {
    (test, Verdict::Failed, Some(1), message)
}

/// In the order in which they are written.
#[derive(Default)]
pub struct Story {
    pub documents: Vec<Document>,
}

impl Story {
    /// A run that began so many days before [`NOW`], and has ended.
    pub fn run(mut self, run: &str, days: u64, revision: &str, rows: &[Row]) -> Story {
        let at = NOW - days * DAY;
        let of = Of { project: "p".into(), run: run.parse().unwrap(), submitted_at: at - 5, at };
        let of = Arc::new(of);
        self.add(&of, 1, run_body(revision, rows, false));
        let bundle = BundleBody { bundle: BundleId(1), tests: 1, predicted: Some(7), anew: false };
        self.add(&of, 2, Body::Bundle(bundle));
        for (position, row) in (0..).zip(rows) {
            self.add(&of, 3 + u64::from(position), result(position, revision, row));
        }
        let attempt = AttemptBody {
            attempt: AttemptId(1),
            bundle: Some(BundleId(1)),
            executor: executor(),
            slot: SlotNumber(0),
            tests: 1,
            left: 0,
            end: "completed".into(),
            lost: false,
        };
        let version = 3 + rows.len() as u64;
        self.add(&of, version, Body::Attempt(attempt));
        self.add(&of, version + 1, run_body(revision, rows, true));
        self
    }

    /// What was learned of tests.
    pub fn timings(mut self, version: u64, learned: Vec<Learned>) -> Story {
        let of = Arc::new(Of { project: "p".into(), run: "r".parse().unwrap(), submitted_at: 0, at: NOW });
        let mut parts = std::collections::BTreeMap::<u32, Vec<Learned>>::new();
        learned.into_iter().for_each(|learned| parts.entry(part(&learned.0)).or_default().push(learned));
        for (part, learned) in parts {
            self.add(&of, version, Body::Timings(TimingsBody { part, learned }));
        }
        self
    }

    fn add(&mut self, of: &Arc<Of>, version: u64, body: Body) {
        self.documents.push(Document { of: of.clone(), version, body });
    }
}

pub fn executor() -> ExecutorId {
    "e".parse().unwrap()
}

fn run_body(revision: &str, rows: &[Row], ended: bool) -> Body {
    let mut counts = Counts { total: rows.len() as u32, ..Counts::default() };
    if ended {
        rows.iter().for_each(|(_, verdict, ..)| counts.add(*verdict));
    }
    Body::Run(Box::new(RunBody {
        owner: "o".into(),
        rev: revision.into(),
        revision: revision.into(),
        rerun_of: None,
        tests: rows.len() as u32,
        verdict: ended.then_some("failed"),
        ended_at: ended.then_some(NOW + 1000),
        exit_code: if ended { 100 } else { 0 },
        suite_errors: 0,
        counts: counts.into(),
    }))
}

fn result(position: u32, revision: &str, (test, verdict, micros, message): &Row) -> Body {
    let (word, why) = verdict_parts(*verdict);
    let has_failed = matches!(verdict, Verdict::Failed | Verdict::Flaky);
    let stack = format!("tests/a.py:{}: in {test}\n    raise\n", position + 7);
    let failure = has_failed.then(|| Failure {
        message: (*message).to_owned(),
        location: "tests/a.py:7".into(),
        fingerprint: fingerprint(message, "tests/a.py:7", &stack),
        words: words(&format!("{message} {stack}")),
        stack,
    });
    Body::Result(Box::new(ResultBody {
        test: (*test).to_owned(),
        position: TestIndex(position),
        revision: revision.into(),
        verdict: word,
        why,
        results: u32::from(micros.is_some()) + u32::from(*verdict == Verdict::Flaky),
        failed: u32::from(has_failed),
        micros: *micros,
        executor: micros.map(|_| executor()),
        failure,
        executions: Vec::new(),
        attachments: Vec::new(),
    }))
}
