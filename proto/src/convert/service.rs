//! Services: what a container is asked for is bounded, and asks for no more rights than may be named.

use std::collections::BTreeMap;

use seagull_domain::{Limits, Probe, Ready, Rights, Scope, SecretSource, Service, is_file_name};

use super::Invalid;
use super::environment::name;
use super::scalar::{self, Checked};
use super::spec::{arguments, memory, variables};
use super::words::{self, Word};
use crate::v1::service;
use crate::{limits, v1};

impl From<Service> for v1::Service {
    fn from(service: Service) -> Self {
        let secrets = service.secrets.into_iter().map(|(name, source)| (name, source.into()));
        Self {
            image: service.image,
            command: service.command.unwrap_or_default(),
            variables: service.env,
            secrets: secrets.collect(),
            files: service.files,
            tmpfs: service.tmpfs,
            ports: service.ports.into_iter().map(u32::from).collect(),
            url: service.url,
            probe: Some(service.ready.probe.into()),
            within_ms: service.ready.within_ms,
            prepare: service.prepare,
            template: service.template,
            reset: service.reset,
            depends_on: service.depends_on,
            memory_kib: service.limits.memory_kib,
            millicpus: service.limits.millicpus,
            pids: service.limits.pids,
            disk_kib: service.limits.disk_kib,
            user: service.rights.user,
            capabilities: service.rights.capabilities,
            read_only: service.rights.read_only,
            scope: service.scope.number(),
        }
    }
}

impl From<Probe> for service::Probe {
    fn from(probe: Probe) -> Self {
        match probe {
            Probe::Started => Self::Started(v1::Started {}),
            Probe::Tcp(port) => Self::Tcp(port.into()),
            Probe::Http(port, path) => Self::Http(v1::Http { port: port.into(), path }),
            Probe::Command(words) => Self::Program(v1::Program { words }),
            Probe::Log(text) => Self::Log(text),
            Probe::Health => Self::Health(v1::Health {}),
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = Invalid;

    fn try_from(message: v1::Service) -> Checked<Self> {
        let ports = scalar::list(message.ports, limits::PARTS, "Service.ports", |number| {
            port(number, "Service.ports")
        })?;
        let probe = scalar::required(message.probe, "Service.probe")?;
        let within_ms = scalar::at_least_one(message.within_ms, "Service.within_ms")?;
        if message.template && (message.read_only || !message.secrets.is_empty()) {
            return Err(Invalid::new("Service.template", "is of one with secrets, or that is read-only"));
        }
        let scope = words::optional(message.scope, "Service.scope")?.unwrap_or_default();
        if scope == Scope::Bundle && !message.reset.is_empty() {
            return Err(Invalid::new("Service.reset", "is of one that is for a bundle"));
        }
        let user = message.user.map(|user| scalar::without_nul(user, limits::WORD_BYTES, "Service.user"));
        Ok(Self {
            image: filled(message.image, "Service.image")?,
            command: Some(arguments(message.command, "Service.command")?).filter(|words| !words.is_empty()),
            env: variables(message.variables.into_iter(), "Service.variables")?,
            secrets: secrets(message.secrets)?,
            files: files(message.files)?,
            tmpfs: paths(message.tmpfs, "Service.tmpfs")?,
            ready: Ready {
                probe: checked(probe, &ports)?,
                within_ms: scalar::at_most(within_ms, limits::MILLIS, "Service.within_ms")?,
            },
            ports,
            url: message.url.map(|url| filled(url, "Service.url")).transpose()?,
            prepare: arguments(message.prepare, "Service.prepare")?,
            template: message.template,
            reset: arguments(message.reset, "Service.reset")?,
            depends_on: scalar::list(message.depends_on, limits::SERVICES, "Service.depends_on", |text| {
                name(text, "Service.depends_on")
            })?,
            limits: Limits {
                memory_kib: memory_of(message.memory_kib, "Service.memory_kib")?,
                millicpus: cpus_of(message.millicpus, "Service.millicpus")?,
                pids: some(message.pids, limits::PIDS, "Service.pids")?,
                disk_kib: memory_of(message.disk_kib, "Service.disk_kib")?,
            },
            rights: Rights {
                user: user.transpose()?,
                capabilities: capabilities(message.capabilities, "Service.capabilities")?,
                read_only: message.read_only,
            },
            scope,
        })
    }
}

fn checked(probe: service::Probe, ports: &[u16]) -> Checked<Probe> {
    let own = |number, field| match port(number, field)? {
        port if ports.contains(&port) => Ok(port),
        port => Err(Invalid::new(field, format!("asks port {port}, which is none of its own"))),
    };
    Ok(match probe {
        service::Probe::Started(v1::Started {}) => Probe::Started,
        service::Probe::Tcp(port) => Probe::Tcp(own(port, "Service.tcp")?),
        service::Probe::Http(v1::Http { port, path }) => {
            let path = scalar::without_nul(path, limits::PATH_BYTES, "Http.path")?;
            if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(Invalid::new("Http.path", "does not begin with a slash, or has white space"));
            }
            Probe::Http(own(port, "Http.port")?, path)
        }
        service::Probe::Program(v1::Program { words }) => {
            Probe::Command(super::framework::command(words, "Program.words")?)
        }
        service::Probe::Log(text) => Probe::Log(filled(text, "Service.log")?),
        service::Probe::Health(v1::Health {}) => Probe::Health,
    })
}

fn port(number: u32, field: &'static str) -> Checked<u16> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or_else(|| Invalid::new(field, format!("has {number}, which is no port")))
}

pub(super) fn memory_of(kib: Option<u64>, field: &'static str) -> Checked<Option<u64>> {
    kib.map(|kib| memory(kib, field)).transpose()
}

pub(super) fn cpus_of(millicpus: Option<u32>, field: &'static str) -> Checked<Option<u32>> {
    millicpus.map(|cpus| some(cpus, limits::MILLICPUS, field)).transpose()
}

pub(super) fn some(number: u32, bound: u32, field: &'static str) -> Checked<u32> {
    scalar::at_most(scalar::at_least_one(number, field)?, bound, field)
}

pub(super) fn filled(text: String, field: &'static str) -> Checked<String> {
    match text.is_empty() {
        true => Err(Invalid::new(field, "is empty")),
        false => scalar::without_nul(text, limits::PATH_BYTES, field),
    }
}

/// Paths in the container.
pub(super) fn paths(paths: Vec<String>, field: &'static str) -> Checked<Vec<String>> {
    scalar::list(paths, limits::PARTS, field, |path| inside(path, field))
}

/// A path in the container.
fn inside(path: String, field: &'static str) -> Checked<String> {
    let path = scalar::without_nul(path, limits::PATH_BYTES, field)?;
    match path.starts_with('/') && path.len() > 1 {
        true => Ok(path),
        false => Err(Invalid::new(field, "has a path that is not absolute")),
    }
}

fn files(files: BTreeMap<String, String>) -> Checked<BTreeMap<String, String>> {
    let field = "Service.files";
    scalar::bounded_count(files.len(), limits::PARTS, field)?;
    files.into_iter().map(|(within, outside)| Ok((inside(within, field)?, outside))).collect()
}

/// Their names become names of files.
fn secrets(sources: BTreeMap<String, String>) -> Checked<BTreeMap<String, SecretSource>> {
    let sources = super::spec::secrets(sources.into_iter(), "Service.secrets")?;
    match sources.keys().all(|name| is_file_name(name)) {
        true => Ok(sources),
        false => Err(Invalid::new("Service.secrets", "has a name that is none of a file")),
    }
}

pub(super) fn capabilities(names: Vec<String>, field: &'static str) -> Checked<Vec<String>> {
    scalar::list(names, limits::SERVICES, field, |name| capability(name, field))
}

/// All of them at once would be as good as a privileged container.
fn capability(name: String, field: &'static str) -> Checked<String> {
    let is_one = name != "ALL" && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    match is_one && !name.is_empty() && name.len() <= limits::NAME_BYTES {
        true => Ok(name),
        false => Err(Invalid::new(field, "has what is not the name of one")),
    }
}
