//! What a client asks for.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use prost::Message;
use seagull_domain::{Branch, Built, Framework, Planning, RunSpec, SecretSource, Setup, Suite, Workspace};

use super::environment::{checked, named};
use super::scalar::{self, Checked};
use super::words::{self, Word};
use super::{Invalid, framework};
use crate::v1::run_spec;
use crate::{limits, v1};

impl From<RunSpec> for v1::RunSpec {
    /// Cuts nothing: what is over a bound, the person who asked for it has to know.
    fn from(spec: RunSpec) -> Self {
        Self {
            id: spec.id.into(),
            owner: spec.owner,
            project: spec.project,
            priority: spec.priority,
            rev: spec.rev,
            labels: spec.labels,
            deadline: spec.deadline,
            submitted_at: spec.submitted_at,
            workspace: Some(spec.workspace.into()),
            suite: Some(v1::Suite {
                python: spec.suite.python,
                variables: spec.suite.variables,
                passed: spec.suite.passed,
                secrets: spec.suite.secrets.into_iter().map(|(name, source)| (name, source.into())).collect(),
                setup: spec.suite.setup.map(|Setup { directory, run, inputs }| v1::Setup {
                    directory,
                    run,
                    inputs,
                }),
                framework: Some(spec.suite.framework.into()),
                controller: spec.suite.controller,
                attachments: spec.suite.attachments,
                services: spec.suite.services.into_iter().map(|(name, one)| (name, one.into())).collect(),
                environments: spec
                    .suite
                    .environments
                    .into_iter()
                    .map(|(name, one)| (name, one.into()))
                    .collect(),
            }),
            arguments: spec.arguments,
            select: spec.select,
            cap_ms: spec.cap_ms,
            retries: spec.retries,
            fail_fast: spec.fail_fast,
            test_losses: spec.test_losses,
            run_losses: spec.run_losses,
            flaky_fails: spec.flaky_fails,
            late_start: !spec.early_start,
            second_copy: spec.second_copy,
            grace_ms: spec.grace_ms,
            seed: spec.seed,
            test_limit_ms: spec.test_limit_ms,
            start_limit_ms: spec.start_limit_ms,
            orphan_ms: spec.orphan_ms,
            algorithm: spec.planning.algorithm.number(),
            planning_limit_ms: spec.planning.limit_ms,
            isolation: spec.isolation.number(),
            worker_memory_kib: spec.worker_memory_kib,
            hold_ms: spec.hold_ms,
            first: spec.first,
            awaits_judgement: spec.awaits_judgement,
            branch: spec
                .branch
                .map(|Branch { name, base }| v1::Branch { name, base: base.unwrap_or_default() }),
        }
    }
}

impl TryFrom<v1::RunSpec> for RunSpec {
    type Error = Invalid;

    fn try_from(message: v1::RunSpec) -> Checked<Self> {
        let length = message.encoded_len();
        if length > limits::SPEC_BYTES {
            let reason = format!("has {length} bytes, at most {} are allowed", limits::SPEC_BYTES);
            return Err(Invalid::new("RunSpec", reason));
        }
        let moment = |moment, field| scalar::at_most(moment, limits::MOMENT, field);
        let millis = |millis, field| scalar::at_most(millis, limits::MILLIS, field);
        let word = |text, field| scalar::text(text, limits::WORD_BYTES, field);
        let cap_ms = scalar::at_least_one(message.cap_ms, "RunSpec.cap_ms")?;
        let some_millis = |given: Option<u64>, field| {
            let given = given.map(|given| millis(scalar::at_least_one(given, field)?, field));
            given.transpose()
        };
        let worker_memory_kib = message.worker_memory_kib.map(|kib| memory(kib, "RunSpec.worker_memory_kib"));
        let some =
            |given: Option<u32>, field| given.map(|given| scalar::at_least_one(given, field)).transpose();
        let workspace: Workspace = scalar::required(message.workspace, "RunSpec.workspace")?.try_into()?;
        let suite = scalar::required(message.suite, "RunSpec.suite")?;
        let mut suite: Suite = suite.try_into()?;
        let place = |path, field| within(path, &workspace, field);
        if let Some(setup) = &mut suite.setup {
            setup.directory = place(std::mem::take(&mut setup.directory), "Setup.directory")?;
        }
        if let Framework::Built(Built { list, tree }) = &mut suite.framework {
            *list = place(std::mem::take(list), "Built.list")?;
            *tree = place(std::mem::take(tree), "Built.tree")?;
        }
        Ok(Self {
            id: scalar::id(message.id, "RunSpec.id")?,
            owner: word(message.owner, "RunSpec.owner")?,
            project: word(message.project, "RunSpec.project")?,
            priority: message.priority,
            rev: word(message.rev, "RunSpec.rev")?,
            labels: scalar::labels(message.labels, "RunSpec.labels")?,
            deadline: message.deadline.map(|at| moment(at, "RunSpec.deadline")).transpose()?,
            submitted_at: moment(message.submitted_at, "RunSpec.submitted_at")?,
            suite: checked(suite, &workspace)?,
            workspace,
            arguments: arguments(message.arguments, "RunSpec.arguments")?,
            select: arguments(message.select, "RunSpec.select")?,
            cap_ms: millis(cap_ms, "RunSpec.cap_ms")?,
            test_limit_ms: some_millis(message.test_limit_ms, "RunSpec.test_limit_ms")?,
            start_limit_ms: some_millis(message.start_limit_ms, "RunSpec.start_limit_ms")?,
            retries: scalar::at_most(message.retries, limits::RETRIES, "RunSpec.retries")?,
            test_losses: some(message.test_losses, "RunSpec.test_losses")?,
            run_losses: some(message.run_losses, "RunSpec.run_losses")?,
            fail_fast: some(message.fail_fast, "RunSpec.fail_fast")?,
            flaky_fails: message.flaky_fails,
            early_start: !message.late_start,
            second_copy: message.second_copy,
            grace_ms: millis(message.grace_ms, "RunSpec.grace_ms")?,
            seed: message.seed,
            orphan_ms: some_millis(message.orphan_ms, "RunSpec.orphan_ms")?,
            planning: Planning {
                algorithm: words::optional(message.algorithm, "RunSpec.algorithm")?.unwrap_or_default(),
                limit_ms: some_millis(message.planning_limit_ms, "RunSpec.planning_limit_ms")?,
            },
            isolation: words::optional(message.isolation, "RunSpec.isolation")?.unwrap_or_default(),
            worker_memory_kib: worker_memory_kib.transpose()?,
            hold_ms: some_millis(message.hold_ms, "RunSpec.hold_ms")?,
            first: scalar::list(message.first, limits::ARGUMENTS, "RunSpec.first", |path| {
                scalar::without_nul(path, limits::PATH_BYTES, "RunSpec.first")
            })?,
            awaits_judgement: message.awaits_judgement,
            branch: message.branch.map(Branch::try_from).transpose()?,
        })
    }
}

impl TryFrom<v1::Branch> for Branch {
    type Error = Invalid;

    fn try_from(message: v1::Branch) -> Checked<Self> {
        if message.name.is_empty() {
            return Err(Invalid::new("Branch.name", "is empty"));
        }
        let name = scalar::text(message.name, limits::WORD_BYTES, "Branch.name")?;
        let base = scalar::text(message.base, limits::WORD_BYTES, "Branch.base")?;
        Ok(Self { name, base: Some(base).filter(|base| !base.is_empty()) })
    }
}

pub(super) fn memory(kib: u64, field: &'static str) -> Checked<u64> {
    scalar::at_most(scalar::at_least_one(kib, field)?, limits::KIB, field)
}

pub(super) fn arguments(arguments: Vec<String>, field: &'static str) -> Checked<Vec<String>> {
    scalar::list(arguments, limits::ARGUMENTS, field, |argument| {
        scalar::without_nul(argument, limits::ARGUMENT_BYTES, field)
    })
}

impl From<Workspace> for run_spec::Workspace {
    fn from(workspace: Workspace) -> Self {
        match workspace {
            Workspace::InPlace { directory, content } => Self::InPlace(v1::InPlace { directory, content }),
            Workspace::Artifact { digest, directory } => {
                Self::Artifact(v1::Artifact { digest: scalar::digest_bytes(digest), directory })
            }
        }
    }
}

impl TryFrom<run_spec::Workspace> for Workspace {
    type Error = Invalid;

    fn try_from(message: run_spec::Workspace) -> Checked<Self> {
        match message {
            run_spec::Workspace::InPlace(v1::InPlace { directory, content }) => Ok(Self::InPlace {
                directory: absolute(directory, "InPlace.directory")?,
                content: scalar::text(content, limits::WORD_BYTES, "InPlace.content")?,
            }),
            run_spec::Workspace::Artifact(v1::Artifact { digest, directory }) => Ok(Self::Artifact {
                digest: scalar::digest(&digest, "Artifact.digest")?,
                directory: inside(directory, "Artifact.directory")?,
            }),
        }
    }
}

fn absolute(directory: String, field: &'static str) -> Checked<String> {
    let directory = scalar::without_nul(directory, limits::PATH_BYTES, field)?;
    if Path::new(&directory).is_absolute() {
        return Ok(directory);
    }
    Err(Invalid::new(field, "is no absolute path"))
}

/// A path that cannot lead out of what it is relative to.
fn inside(path: String, field: &'static str) -> Checked<String> {
    let path = scalar::without_nul(path, limits::PATH_BYTES, field)?;
    let harmless = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if Path::new(&path).components().all(harmless) {
        return Ok(path);
    }
    Err(Invalid::new(field, "leads out of what it is relative to"))
}

/// A place among the files of a run, which are there.
pub(super) fn within(path: String, workspace: &Workspace, field: &'static str) -> Checked<String> {
    match workspace {
        Workspace::InPlace { .. } => absolute(path, field),
        Workspace::Artifact { .. } => inside(path, field),
    }
}

impl TryFrom<v1::Setup> for Setup {
    type Error = Invalid;

    fn try_from(message: v1::Setup) -> Checked<Self> {
        Ok(Self {
            directory: message.directory,
            run: framework::command(message.run, "Setup.run")?,
            inputs: scalar::list(message.inputs, limits::ARGUMENTS, "Setup.inputs", |pattern| {
                inside(pattern, "Setup.inputs")
            })?,
        })
    }
}

impl TryFrom<v1::Suite> for Suite {
    type Error = Invalid;

    fn try_from(message: v1::Suite) -> Checked<Self> {
        Ok(Self {
            python: scalar::without_nul(message.python, limits::PATH_BYTES, "Suite.python")?,
            variables: variables(message.variables.into_iter(), "Suite.variables")?,
            passed: variables(message.passed.into_iter(), "Suite.passed")?,
            secrets: secrets(message.secrets.into_iter(), "Suite.secrets")?,
            setup: message.setup.map(Setup::try_from).transpose()?,
            framework: scalar::required(message.framework, "Suite.framework")?.try_into()?,
            controller: message.controller,
            attachments: scalar::list(message.attachments, limits::PARTS, "Suite.attachments", |pattern| {
                inside(pattern, "Suite.attachments")
            })?,
            services: named(message.services, limits::SERVICES, "Suite.services")?,
            environments: named(message.environments, limits::ENVIRONMENTS, "Suite.environments")?,
        })
    }
}

pub(super) fn variables(
    variables: impl ExactSizeIterator<Item = (String, String)>,
    field: &'static str,
) -> Checked<BTreeMap<String, String>> {
    scalar::bounded_count(variables.len(), limits::VARIABLES, field)?;
    let value = |value| scalar::without_nul(value, limits::VARIABLE_VALUE_BYTES, field);
    variables.map(|(name, text)| Ok((variable(name, field)?, value(text)?))).collect()
}

pub(super) fn secrets(
    sources: impl ExactSizeIterator<Item = (String, String)>,
    field: &'static str,
) -> Checked<BTreeMap<String, SecretSource>> {
    scalar::bounded_count(sources.len(), limits::VARIABLES, field)?;
    let source = |text| {
        let text = scalar::text(text, limits::PATH_BYTES, field)?;
        text.parse().map_err(|error: String| Invalid::new(field, error))
    };
    sources.map(|(name, text)| Ok((variable(name, field)?, source(text)?))).collect()
}

/// The name of a variable.
fn variable(name: String, field: &'static str) -> Checked<String> {
    if name.is_empty() || name.contains('=') {
        return Err(Invalid::new(field, "has a name that is empty or has a '='"));
    }
    scalar::without_nul(name, limits::VARIABLE_NAME_BYTES, field)
}
