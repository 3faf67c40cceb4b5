//! Whose history it is: a project's, as one of its branches has it.

use seagull_domain::{Branch, RunSpec};

/// What a branch's history does not have it takes from its base's, and what that does not have from the main branch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage<'a> {
    pub project: &'a str,
    /// None for the main branch.
    pub branch: Option<&'a Branch>,
}

impl<'a> Lineage<'a> {
    pub fn of(spec: &'a RunSpec) -> Self {
        Self { project: &spec.project, branch: spec.branch.as_ref() }
    }

    /// The main branch's.
    pub fn trunk(project: &'a str) -> Self {
        Self { project, branch: None }
    }

    /// What rows are kept under; the main branch's under nothing.
    pub(crate) fn own(self) -> &'a str {
        self.branch.map_or("", |branch| &branch.name)
    }

    pub(crate) fn base(self) -> &'a str {
        self.branch.and_then(|branch| branch.base.as_deref()).unwrap_or_default()
    }
}
