//! What the tests of a suite run with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Framework, SecretSource};

/// What the settings of a suite say of how its tests run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Suite {
    /// The interpreter; found on the executor if empty.
    #[serde(default)]
    pub python: String,
    /// Variables for the workers.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Variables of the client's that the workers have too. Their values are for executors alone: whoever else reads
    /// of the run sees empty ones.
    #[serde(default)]
    pub passed: BTreeMap<String, String>,
    /// Variables whose values only executors know.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// What is prepared once on each executor.
    #[serde(default)]
    pub setup: Option<Setup>,
    /// What runs the tests.
    #[serde(default)]
    pub framework: Framework,
    /// Whether each executor has a controller for the run; the suite shows if None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
}

/// A command that prepares an executor for the tests, into a directory that is kept for as long as its inputs are the
/// same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Setup {
    /// Where it runs, and where its inputs are: absolute in place, else relative to the artifact's root.
    pub directory: String,
    /// Program and arguments.
    pub run: Vec<String>,
    /// Patterns of files.
    #[serde(default)]
    pub inputs: Vec<String>,
}

impl Suite {
    /// As all but executors see it.
    pub fn shown(&self) -> Suite {
        let passed = self.passed.keys().map(|name| (name.clone(), String::new())).collect();
        Suite { passed, ..self.clone() }
    }
}
