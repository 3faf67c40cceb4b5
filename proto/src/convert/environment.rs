//! Environments: each has what it needs, or is refused.

use std::collections::BTreeMap;

use seagull_domain::{Environment, Framework, Impossible, Limits, Network, Suite, TestContainer, Workspace};

use super::Invalid;
use super::scalar::{self, Checked};
use super::service;
use super::spec::{arguments, variables};
use super::words::{self, Word};
use crate::{limits, v1};

impl From<Environment> for v1::Environment {
    fn from(environment: Environment) -> Self {
        Self {
            services: environment.services,
            variables: environment.env,
            tests: environment.tests,
            container: environment.container.map(Into::into),
            bounds: environment.bounds.map(Into::into),
        }
    }
}

impl From<Limits> for v1::Bounds {
    fn from(limits: Limits) -> Self {
        let Limits { memory_kib, millicpus, pids, .. } = limits;
        Self { memory_kib, millicpus, pids }
    }
}

impl From<TestContainer> for v1::TestContainer {
    fn from(container: TestContainer) -> Self {
        Self {
            image: container.image,
            python: container.python,
            tmpfs: container.tmpfs,
            network: container.network.number(),
            memory_kib: container.limits.memory_kib,
            millicpus: container.limits.millicpus,
            pids: container.limits.pids,
            disk_kib: container.limits.disk_kib,
            capabilities: container.capabilities,
            read_only: container.read_only,
        }
    }
}

impl TryFrom<v1::Environment> for Environment {
    type Error = Invalid;

    fn try_from(message: v1::Environment) -> Checked<Self> {
        let field = "Environment.services";
        if message.container.is_some() && message.bounds.is_some() {
            return Err(Invalid::new("Environment.bounds", "are beside a container, which has its own"));
        }
        Ok(Self {
            services: scalar::list(message.services, limits::SERVICES, field, |text| name(text, field))?,
            env: variables(message.variables.into_iter(), "Environment.variables")?,
            tests: arguments(message.tests, "Environment.tests")?,
            container: message.container.map(TryInto::try_into).transpose()?,
            bounds: message.bounds.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<v1::Bounds> for Limits {
    type Error = Invalid;

    fn try_from(message: v1::Bounds) -> Checked<Self> {
        Ok(Self {
            memory_kib: service::memory_of(message.memory_kib, "Bounds.memory_kib")?,
            millicpus: service::cpus_of(message.millicpus, "Bounds.millicpus")?,
            pids: service::some(message.pids, limits::PIDS, "Bounds.pids")?,
            disk_kib: None,
        })
    }
}

impl TryFrom<v1::TestContainer> for TestContainer {
    type Error = Invalid;

    fn try_from(message: v1::TestContainer) -> Checked<Self> {
        Ok(Self {
            image: service::filled(message.image, "TestContainer.image")?,
            python: service::filled(message.python, "TestContainer.python")?,
            tmpfs: service::paths(message.tmpfs, "TestContainer.tmpfs")?,
            network: words::word(message.network, "TestContainer.network")?,
            limits: Limits {
                memory_kib: service::memory_of(message.memory_kib, "TestContainer.memory_kib")?,
                millicpus: service::cpus_of(message.millicpus, "TestContainer.millicpus")?,
                pids: service::some(message.pids, limits::PIDS, "TestContainer.pids")?,
                disk_kib: service::memory_of(message.disk_kib, "TestContainer.disk_kib")?,
            },
            capabilities: service::capabilities(message.capabilities, "TestContainer.capabilities")?,
            read_only: message.read_only,
        })
    }
}

/// The environments of a suite, whose services are there, and whose files are where they may be.
pub(super) fn checked(mut suite: Suite, workspace: &Workspace) -> Checked<Suite> {
    for path in suite.services.values_mut().flat_map(|service| service.files.values_mut()) {
        *path = super::spec::within(std::mem::take(path), workspace, "Service.files")?;
    }
    for environment in suite.environments.values() {
        let Some(container) = &environment.container else { continue };
        if suite.framework != Framework::Pytest {
            return Err(Invalid::new("Suite.environments", "have an image, which only tests of pytest can"));
        }
        if container.network == Network::None && !environment.services.is_empty() {
            return Err(Invalid::new("TestContainer.network", "is none, where there are services"));
        }
    }
    for number in suite.numbers() {
        suite.definition(number).map_err(|impossible| {
            Invalid::new(
                "Suite.environments",
                match impossible {
                    Impossible::Unknown { service, .. } => {
                        format!("need the service {service}, which is not there")
                    }
                    Impossible::Circle(circle) => {
                        format!("need services that wait for each other: {}", circle.join(", "))
                    }
                    Impossible::Outlives { service, needs } => {
                        format!("need the service {service}, which lives longer than {needs} that it needs")
                    }
                },
            )
        })?;
    }
    Ok(suite)
}

/// Services or environments, by name.
pub(super) fn named<M, T: TryFrom<M, Error = Invalid>>(
    messages: BTreeMap<String, M>,
    bound: usize,
    field: &'static str,
) -> Checked<BTreeMap<String, T>> {
    scalar::bounded_count(messages.len(), bound, field)?;
    messages.into_iter().map(|(text, message)| Ok((name(text, field)?, message.try_into()?))).collect()
}

/// The name of a service or an environment: it becomes a part of names of objects, variables and hosts.
pub(super) fn name(text: String, field: &'static str) -> Checked<String> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name =
        text.bytes().all(is_part) && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-');
    if is_name && text.len() <= limits::NAME_BYTES && text != "localhost" {
        return Ok(text);
    }
    Err(Invalid::new(field, "has a name that is not 1 to 40 small letters, digits and hyphens"))
}
