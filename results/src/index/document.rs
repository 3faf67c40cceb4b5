//! What an index keeps of a run: documents, each with an id by which writing it again changes nothing. Pure.

use std::sync::Arc;

use seagull_domain::{
    AttemptId, BundleId, Counts, ExecutorId, InfraCause, NotExecuted, RunId, RunVerdict, SlotNumber,
    TestIndex, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::timing::Timing;

/// Executions of a test that its document names; a plugin may have thousands.
pub const EXECUTIONS: usize = 20;
/// Tests are kept in so many parts of their project, whatever they are called: one document for the timings of each.
pub const PARTS: u32 = 1024;

/// What all documents of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Of {
    pub project: String,
    pub run: RunId,
    /// Unix milliseconds by the client's clock; with the run's id it is what names the run, as an id may be used again.
    pub submitted_at: u64,
    /// Unix milliseconds by the clock of who first saw it: what windows of time and time-based indices go by.
    pub at: u64,
}

impl Of {
    /// The name of the run among all that an index has.
    pub fn key(&self) -> String {
        run_key(&self.run, self.submitted_at)
    }

    /// With what the documents of a run begin, whatever their kind: an object that is not closed.
    pub fn head(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Head<'a> {
            key: String,
            #[serde(flatten)]
            of: &'a Of,
        }
        let head = serde_json::to_vec(&Head { key: self.key(), of: self });
        let mut head = head.expect("it has text keys only");
        head.pop();
        head
    }
}

pub fn run_key(run: &RunId, submitted_at: u64) -> String {
    format!("{run}@{submitted_at}")
}

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub of: Arc<Of>,
    /// Rises with what the document says: an older one never replaces a newer one of the same id.
    pub version: u64,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Body {
    Run(Box<RunBody>),
    Bundle(BundleBody),
    Attempt(AttemptBody),
    Result(Box<ResultBody>),
    Timings(TimingsBody),
}

/// Each has indices of its own, with a mapping of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Runs,
    Bundles,
    Attempts,
    Results,
    Timings,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Runs, Kind::Bundles, Kind::Attempts, Kind::Results, Kind::Timings];

    pub fn word(self) -> &'static str {
        match self {
            Kind::Runs => "runs",
            Kind::Bundles => "bundles",
            Kind::Attempts => "attempts",
            Kind::Results => "results",
            Kind::Timings => "timings",
        }
    }
}

/// A run: when it was submitted, and again when it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunBody {
    pub owner: String,
    pub rev: String,
    /// What its files were, as far as that is known: two runs with the same ran the same.
    pub revision: String,
    pub rerun_of: Option<RunId>,
    pub tests: u32,
    /// What it came to; the rest says something only then.
    pub verdict: Option<&'static str>,
    /// Unix milliseconds, by the clock of who saw it end.
    pub ended_at: Option<u64>,
    pub exit_code: u8,
    pub suite_errors: u32,
    #[serde(flatten)]
    pub counts: CountsBody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CountsBody {
    pub total: u32,
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
    pub flaky: u32,
    pub quarantined: u32,
    pub not_executed: u32,
}

impl From<Counts> for CountsBody {
    fn from(counts: Counts) -> Self {
        let Counts { total, passed, failed, skipped, flaky, quarantined, not_executed } = counts;
        Self { total, passed, failed, skipped, flaky, quarantined, not_executed }
    }
}

/// A bundle of the plan, or of what was planned anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleBody {
    pub bundle: BundleId,
    pub tests: u32,
    /// Microseconds, as far as that is known.
    pub predicted: Option<u64>,
    /// Whether it came after the plan: returned, taken back or to be tried again.
    pub anew: bool,
}

/// An attempt that has ended or was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptBody {
    pub attempt: AttemptId,
    /// None of a discovery.
    pub bundle: Option<BundleId>,
    pub executor: ExecutorId,
    pub slot: SlotNumber,
    /// It was given so many, and left so many.
    pub tests: u32,
    pub left: u32,
    pub end: String,
    pub lost: bool,
}

/// What a test came to in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResultBody {
    pub test: String,
    /// Its place in the manifest.
    pub position: TestIndex,
    pub revision: String,
    pub verdict: &'static str,
    /// Why it was not executed; empty where it was.
    pub why: String,
    /// How many results it had, and how many of them failed.
    pub results: u32,
    pub failed: u32,
    /// Microseconds of its last result, and where that came from.
    pub micros: Option<u64>,
    pub executor: Option<ExecutorId>,
    /// Of its last failure.
    #[serde(flatten)]
    pub failure: Option<Failure>,
    /// The first of them.
    pub executions: Vec<Execution>,
    /// What files that it has left are called: for who exports, no index has them.
    #[serde(skip)]
    pub attachments: Vec<String>,
}

/// What went wrong, as it is searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub message: String,
    /// `file:line`.
    pub location: String,
    /// The beginning of its text.
    pub stack: String,
    /// What failures have in common that went wrong in the same way.
    pub fingerprint: String,
    /// The words of message and stack, as [`super::words`] makes them.
    pub words: String,
}

/// One execution of a test, as it is kept to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Execution {
    pub attempt: AttemptId,
    pub ordinal: u16,
    pub outcome: &'static str,
    pub detail: String,
    pub cause: Option<&'static str>,
    /// Microseconds of setup, call and teardown.
    pub phases: [u64; 3],
    pub peak_kib: u64,
    pub cpu_us: u64,
    pub started_at: u64,
    pub executor: ExecutorId,
    pub slot: SlotNumber,
}

/// What is known of the durations of some tests of a project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimingsBody {
    pub part: u32,
    pub learned: Vec<Learned>,
}

/// A test, and its [`Timing`]: location, spread, runs, clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learned(pub String, pub f32, pub f32, pub u32, pub i8);

impl Learned {
    pub fn new(test: String, timing: Timing) -> Learned {
        Learned(test, timing.location, timing.spread, timing.runs, timing.clips)
    }

    pub fn timing(&self) -> Timing {
        Timing { location: self.1, spread: self.2, runs: self.3, clips: self.4 }
    }
}

/// Which part of its project's timings a test is in.
pub fn part(test: &str) -> u32 {
    let digest = blake3::hash(test.as_bytes());
    let bytes = digest.as_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) % PARTS
}

impl Document {
    pub fn kind(&self) -> Kind {
        match &self.body {
            Body::Run(_) => Kind::Runs,
            Body::Bundle(_) => Kind::Bundles,
            Body::Attempt(_) => Kind::Attempts,
            Body::Result(_) => Kind::Results,
            Body::Timings(_) => Kind::Timings,
        }
    }

    /// Unique within its kind.
    pub fn id(&self) -> String {
        let key = self.of.key();
        match &self.body {
            Body::Run(_) => key,
            Body::Bundle(bundle) => format!("{key}/{}", bundle.bundle),
            Body::Attempt(attempt) => format!("{key}/{}", attempt.attempt),
            Body::Result(result) => format!("{key}/{}", result.position),
            Body::Timings(timings) => {
                let project = blake3::hash(self.of.project.as_bytes()).to_hex();
                format!("{}/{}", &project[..32], timings.part)
            }
        }
    }

    /// The document as one line of JSON.
    pub fn source(&self) -> Vec<u8> {
        let mut line = Vec::new();
        self.write(&self.of.head(), &mut line);
        line
    }

    /// The same, behind what is there, with what all of its run begin with.
    pub fn write(&self, head: &[u8], out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct TimingsSource<'a> {
            project: &'a str,
            #[serde(flatten)]
            timings: &'a TimingsBody,
        }
        let written = match &self.body {
            Body::Timings(timings) => {
                serde_json::to_writer(out, &TimingsSource { project: &self.of.project, timings })
            }
            body => {
                out.extend(head);
                // It goes on where the head ends.
                let opening = out.len();
                serde_json::to_writer(&mut *out, body).map(|()| out[opening] = b',')
            }
        };
        written.expect("documents have text keys only");
    }
}

/// A verdict's word, and why there is none to speak of.
pub fn verdict_parts(verdict: Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::NotExecuted(why) => (verdict.word(), why.to_string()),
        _ => (verdict.word(), String::new()),
    }
}

/// The verdict of which these are the parts.
pub fn verdict(word: &str, why: &str) -> Option<Verdict> {
    let executed = [Verdict::Passed, Verdict::Failed, Verdict::Skipped, Verdict::Flaky, Verdict::Quarantined];
    let infra = [
        InfraCause::ExecutorLost,
        InfraCause::SpotNotice,
        InfraCause::Drained,
        InfraCause::ArtifactUnavailable,
        InfraCause::SandboxFailed,
        InfraCause::MachineOutOfMemory,
        InfraCause::EnvironmentDiffers,
    ];
    let others =
        [NotExecuted::Cancelled, NotExecuted::Orphaned, NotExecuted::FailFast, NotExecuted::UnstableId];
    let none = infra.into_iter().map(NotExecuted::Infra).chain(others).map(Verdict::NotExecuted);
    executed.into_iter().chain(none).find(|verdict| {
        let (of, reason) = verdict_parts(*verdict);
        of == word && reason == why
    })
}

/// The verdict of a run that is called so.
pub fn run_verdict(word: &str) -> Option<RunVerdict> {
    let all = [RunVerdict::Passed, RunVerdict::Failed, RunVerdict::Incomplete, RunVerdict::Cancelled];
    all.into_iter().find(|verdict| verdict.word() == word)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A document of each kind, with all that it can have.
    pub fn one_of_each() -> Vec<Document> {
        let of = Arc::new(Of { project: "p".into(), run: "r".parse().unwrap(), submitted_at: 7, at: 9 });
        let run = RunBody {
            owner: "o".into(),
            rev: "1".into(),
            revision: "2".into(),
            rerun_of: Some("before".parse().unwrap()),
            tests: 1,
            verdict: Some("failed"),
            ended_at: Some(11),
            exit_code: 100,
            suite_errors: 0,
            counts: CountsBody { total: 1, failed: 1, ..CountsBody::default() },
        };
        let executor: ExecutorId = "e".parse().unwrap();
        let attempt = AttemptBody {
            attempt: AttemptId(1),
            bundle: Some(BundleId(2)),
            executor: executor.clone(),
            slot: SlotNumber(0),
            tests: 1,
            left: 0,
            end: "completed".into(),
            lost: false,
        };
        let failure = Failure {
            message: "E".into(),
            location: "a.py:1".into(),
            stack: "E".into(),
            fingerprint: "f".into(),
            words: "e".into(),
        };
        let result = ResultBody {
            test: "a.py::x".into(),
            position: TestIndex(0),
            revision: "2".into(),
            verdict: "failed",
            why: String::new(),
            results: 1,
            failed: 1,
            micros: Some(5),
            executor: Some(executor),
            failure: Some(failure),
            executions: Vec::new(),
            attachments: Vec::new(),
        };
        let learned = vec![Learned("a.py::x".into(), 1.5, 0.1, 2, -1)];
        let bodies = [
            Body::Run(Box::new(run)),
            Body::Bundle(BundleBody { bundle: BundleId(2), tests: 1, predicted: Some(5), anew: false }),
            Body::Attempt(attempt),
            Body::Result(Box::new(result)),
            Body::Timings(TimingsBody { part: part("a.py::x"), learned }),
        ];
        bodies.into_iter().map(|body| Document { of: of.clone(), version: 3, body }).collect()
    }

    #[test]
    fn a_verdict_is_found_by_its_parts() {
        let drained = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::Drained));
        for of in
            [Verdict::Passed, Verdict::Quarantined, drained, Verdict::NotExecuted(NotExecuted::FailFast)]
        {
            let (word, why) = verdict_parts(of);
            assert_eq!(verdict(word, &why), Some(of));
        }
        assert_eq!((verdict("passed", "drained"), verdict("no", "")), (None, None));
    }

    #[test]
    fn ids_are_of_the_run_and_what_is_in_it() {
        let of = |project: &str, submitted_at| {
            let run = "r".parse().unwrap();
            Arc::new(Of { project: project.into(), run, submitted_at, at: 9 })
        };
        let bundle = |of| {
            let body = BundleBody { bundle: BundleId(3), tests: 1, predicted: Some(2), anew: false };
            Document { of, version: 1, body: Body::Bundle(body) }
        };
        assert_eq!(bundle(of("p", 7)).id(), "r@7/3");
        let source: serde_json::Value = serde_json::from_slice(&bundle(of("p", 7)).source()).unwrap();
        let expected = serde_json::json!({"key": "r@7", "project": "p", "run": "r", "submitted_at": 7, "at": 9,
            "bundle": 3, "tests": 1, "predicted": 2, "anew": false});
        assert_eq!(source, expected);
        // Timings are of the project, whichever run they were learned from.
        let timings = |of| {
            let learned = vec![Learned("a".into(), 1.0, 0.1, 2, -1)];
            Document { of, version: 1, body: Body::Timings(TimingsBody { part: part("a"), learned }) }
        };
        assert_eq!(timings(of("p", 7)).id(), timings(of("p", 8)).id());
        assert_ne!(timings(of("p", 7)).id(), timings(of("q", 7)).id());
        let source: serde_json::Value = serde_json::from_slice(&timings(of("p", 7)).source()).unwrap();
        assert_eq!(source["learned"], serde_json::json!([["a", 1.0, 0.1, 2, -1]]));
    }
}
