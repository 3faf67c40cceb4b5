//! What a client asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, RERUN_OF, RunId, Suite};

/// A run as its client submits it. It never changes afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    pub id: RunId,
    pub owner: String,
    /// The suite's name: what history is kept under.
    pub project: String,
    /// Higher is dispatched first.
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub rev: String,
    /// None for the main branch, and where nobody knows of branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Unix milliseconds by which its owner needs it.
    #[serde(default)]
    pub deadline: Option<u64>,
    /// Unix milliseconds, by the client's clock.
    pub submitted_at: u64,
    pub workspace: Workspace,
    /// Facts have it by the name that it had in 0.1.
    #[serde(rename = "environment")]
    pub suite: Suite,
    /// Paths and arguments for the framework, as given.
    pub arguments: Vec<String>,
    /// Selections (`--select`), each a path, an id, a glob, `last-failed` or `not-passed`; all tests if empty.
    #[serde(default)]
    pub select: Vec<String>,
    /// Longest bundle, in milliseconds.
    pub cap_ms: u64,
    /// How long a test may take before it is killed, in milliseconds; by its prediction if None.
    #[serde(default)]
    pub test_limit_ms: Option<u64>,
    /// How long a worker may take to start, to discover, and to collect a file; as its executor has it if None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_limit_ms: Option<u64>,
    /// How often a failed test runs again.
    pub retries: u32,
    /// How often a test may be lost to infrastructure before it is given up; as the scheduler has it if None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_losses: Option<u32>,
    /// How many such losses stop the run; by the number of its tests if None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_losses: Option<u32>,
    /// How many failed verdicts stop the run.
    pub fail_fast: Option<u32>,
    /// Whether a flaky verdict is a failure.
    #[serde(default)]
    pub flaky_fails: bool,
    /// Whether what the discovery is expected to find may run meanwhile.
    #[serde(default = "early")]
    pub early_start: bool,
    /// Whether a test that takes far longer than predicted may run a second time, elsewhere, before it has ended.
    #[serde(default)]
    pub second_copy: bool,
    /// How long a worker may tear down after an interrupt, in milliseconds.
    pub grace_ms: u64,
    /// One seed for every worker of the run.
    pub seed: u32,
    /// How long nobody may watch it before it is cancelled, in milliseconds; it goes on alone if None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphan_ms: Option<u64>,
    #[serde(default)]
    pub planning: Planning,
    /// What a worker lives for.
    #[serde(default)]
    pub isolation: Isolation,
    /// A worker with more resident memory than this, in KiB, runs no further test; None for any.
    #[serde(default)]
    pub worker_memory_kib: Option<u64>,
    /// How many milliseconds the sandbox of a failed test stays; None for not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u64>,
    /// Files whose tests go first, as they are called from the top of their repository.
    #[serde(default)]
    pub first: Vec<String>,
    /// Whether its client judges the suite as a whole before the run ends, where it measures its coverage.
    #[serde(default)]
    pub awaits_judgement: bool,
}

/// A branch beside the main one: what it does not know by its own runs is as on its base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    pub name: String,
    /// None for the main branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

/// How a run is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Planning {
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Stops it with the best plan so far, in milliseconds; it ends by itself if None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
}

/// What looks for a plan while no bound proves the one there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    Greedy,
    /// The solver.
    Ilp,
    /// Greedy, and the solver where that leaves a gap.
    #[default]
    Auto,
}

/// What a worker lives for: the less it is, the less do tests find of one another in their process. The greater one is the
/// shorter life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// All that its slot runs of the run.
    #[default]
    Slot,
    /// One bundle.
    Bundle,
    /// One test, or those of one relation.
    Test,
}

fn early() -> bool {
    true
}

/// Where the suite's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workspace {
    /// The working tree itself, on the client's machine: an embedded run.
    InPlace {
        /// The directory to run in.
        directory: String,
        /// What the tree held when the run was submitted; empty where there is no repository.
        #[serde(default)]
        content: String,
    },
    /// A packed tree, fetched by its digest.
    Artifact {
        digest: Digest,
        /// The directory to run in, relative to the artifact's root.
        directory: String,
    },
}

impl RunSpec {
    /// The longest bundle, in milliseconds, if nothing else is said.
    pub const CAP_MS: u64 = 600_000;
    /// How long a worker may tear down after an interrupt, in milliseconds, likewise.
    pub const GRACE_MS: u64 = 10_000;

    /// A run of a whole suite of pytest's, with what holds where nothing else is said.
    pub fn new(id: RunId, workspace: Workspace) -> RunSpec {
        RunSpec {
            id,
            owner: String::new(),
            project: String::new(),
            priority: 0,
            rev: String::new(),
            branch: None,
            labels: BTreeMap::new(),
            deadline: None,
            submitted_at: 0,
            workspace,
            suite: Suite::default(),
            arguments: Vec::new(),
            select: Vec::new(),
            cap_ms: Self::CAP_MS,
            test_limit_ms: None,
            start_limit_ms: None,
            retries: 0,
            test_losses: None,
            run_losses: None,
            fail_fast: None,
            flaky_fails: false,
            early_start: true,
            second_copy: true,
            grace_ms: Self::GRACE_MS,
            seed: 1,
            orphan_ms: None,
            planning: Planning::default(),
            isolation: Isolation::Slot,
            worker_memory_kib: None,
            hold_ms: None,
            first: Vec::new(),
            awaits_judgement: false,
        }
    }

    /// After how many losses a test is given up, if nothing else is said.
    pub const TEST_LOSSES: u32 = 3;

    pub fn test_budget(&self) -> u32 {
        self.test_losses.unwrap_or(Self::TEST_LOSSES)
    }

    /// As all but executors see it.
    pub fn shown(&self) -> RunSpec {
        RunSpec { suite: self.suite.shown(), ..self.clone() }
    }

    /// How many losses end a run of so many tests: so many of a large run are a matter of course.
    pub fn loss_budget(&self, tests: u32) -> u32 {
        self.run_losses.unwrap_or((tests / 20).max(100))
    }

    /// The run that this one runs a part of again.
    pub fn rerun_of(&self) -> Option<RunId> {
        self.labels.get(RERUN_OF)?.parse().ok()
    }

    /// What stops `self` from attaching to `existing`, a run of the same id: the name of the first difference that
    /// makes it another run.
    pub fn difference(&self, existing: &RunSpec) -> Option<&'static str> {
        let fields = [
            ("owner", self.owner == existing.owner),
            ("project", self.project == existing.project),
            ("workspace", self.workspace == existing.workspace),
            ("settings", self.suite.shown() == existing.suite.shown()),
            ("arguments", self.arguments == existing.arguments),
            ("selection", self.select == existing.select),
            ("cap", self.cap_ms == existing.cap_ms),
            ("test limit", self.test_limit_ms == existing.test_limit_ms),
            ("start limit", self.start_limit_ms == existing.start_limit_ms),
            ("retries", self.retries == existing.retries),
            ("losses", (self.test_losses, self.run_losses) == (existing.test_losses, existing.run_losses)),
            ("fail-fast", self.fail_fast == existing.fail_fast),
            ("flaky", self.flaky_fails == existing.flaky_fails),
            ("planning", self.planning == existing.planning),
            ("isolation", self.isolation == existing.isolation),
            ("worker memory", self.worker_memory_kib == existing.worker_memory_kib),
        ];
        fields.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_differs_by_what_was_asked_for_and_not_by_when_or_by_chance() {
        let workspace = Workspace::InPlace { directory: "/suite".into(), content: String::new() };
        let spec = RunSpec::new("r".parse().unwrap(), workspace);
        let flaky = RunSpec { flaky_fails: true, ..spec.clone() };
        let project = RunSpec { project: "q".into(), ..spec.clone() };
        let isolated = RunSpec { isolation: Isolation::Test, ..spec.clone() };
        let bounded = RunSpec { worker_memory_kib: Some(1), ..spec.clone() };
        let first = vec!["a.py".to_owned()];
        let later = RunSpec { submitted_at: 1, grace_ms: 1, seed: 2, first, ..spec.clone() };
        let branch = Some(Branch { name: "b".into(), base: None });
        let later = RunSpec {
            orphan_ms: Some(1),
            hold_ms: Some(1),
            priority: 1,
            awaits_judgement: true,
            branch,
            ..later
        };
        assert_eq!(flaky.difference(&spec), Some("flaky"));
        assert_eq!(project.difference(&spec), Some("project"));
        assert_eq!(isolated.difference(&spec), Some("isolation"));
        let patient = RunSpec { run_losses: Some(1), ..spec.clone() };
        assert_eq!(patient.difference(&spec), Some("losses"));
        assert_eq!(bounded.difference(&spec), Some("worker memory"));
        assert_eq!(later.difference(&spec), None);
        let changed = |directory: &str, content: &str| {
            let workspace = Workspace::InPlace { directory: directory.into(), content: content.into() };
            RunSpec { workspace, ..spec.clone() }
        };
        assert_eq!(changed("/suite", "b").difference(&spec), Some("workspace"));
        assert_eq!(changed("/other", "").difference(&spec), Some("workspace"));
        let passing = |value: &str| {
            let passed = BTreeMap::from([("TOKEN".to_owned(), value.to_owned())]);
            RunSpec { suite: Suite { passed, ..Suite::default() }, ..spec.clone() }
        };
        assert_eq!(passing("a").difference(&passing("b")), None);
        assert_eq!(passing("a").difference(&spec), Some("settings"));
        assert_eq!(passing("a").shown(), passing(""));
    }
}
