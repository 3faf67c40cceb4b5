//! What runs a suite's tests.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framework {
    #[default]
    Pytest,
    /// `cargo test`: libtest and what answers as it does.
    Cargo,
    /// What cargo has built before, without it.
    Built(Built),
    Command(Box<SuiteCommands>),
}

impl Framework {
    /// Whether its tests may be Python, which wants one hash seed for all workers of a run.
    pub fn may_be_python(&self) -> bool {
        !matches!(self, Framework::Cargo | Framework::Built(_))
    }
}

/// Test binaries that were built before the run. Both paths are absolute if the run is in place, else inside the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The file that says how they are started, in the directory that they are in.
    pub list: String,
    /// What the directories that they start in are relative to.
    pub tree: String,
}

/// Commands that discover and run tests, for frameworks that have no adapter of their own. Each is a program and its
/// arguments, in which `{args}`, `{ids}` and `{junit}` are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteCommands {
    /// Writes an id a line.
    pub discover: Vec<String>,
    /// Runs what the file `{ids}` lists, and reports it in the JUnit file `{junit}`.
    pub run: Vec<String>,
    /// How a testcase's id is made: `{classname}::{name}`.
    pub id: String,
    /// How much work is worth one start of `run`, in milliseconds of prediction; 0 runs each test by itself.
    pub batch_ms: u64,
}
