//! What is written of services and environments, and in which order services start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Isolation, SecretSource};

/// A container that tests need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub image: String,
    /// Instead of the image's own.
    pub command: Option<Vec<String>>,
    pub env: BTreeMap<String, String>,
    /// Names of files in `/run/secrets`, and where what is in them is found.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Paths inside, and what is shown there, read-only: absolute if the run is in place, else inside the artifact.
    pub files: BTreeMap<String, String>,
    /// Paths inside that are in memory.
    pub tmpfs: Vec<String>,
    /// Ports inside. The first is the service's own.
    pub ports: Vec<u16>,
    /// The service's address as tests want it, with `{host}` and `{port}`.
    pub url: Option<String>,
    pub ready: Ready,
    /// Lines for the shell in the container, run in this order once it is ready.
    pub prepare: Vec<String>,
    /// Whether what it is then is saved, and is what each begins with.
    #[serde(default)]
    pub template: bool,
    /// Lines for the shell in the container, run between two bundles that use it, so that the next finds it clean.
    #[serde(default)]
    pub reset: Vec<String>,
    /// Services that are ready and prepared before this one starts.
    pub depends_on: Vec<String>,
    pub limits: Limits,
    pub rights: Rights,
    /// What it lives for.
    pub scope: Scope,
}

/// What a service lives for, the shortest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One bundle, and its worker with it.
    Bundle,
    /// All that a worker lives for.
    #[default]
    Slot,
    /// All workers of a run on an executor.
    Run,
    /// All workers of an executor.
    Executor,
}

impl Scope {
    /// Those of services that workers share, the longest first.
    pub const SHARED: [Scope; 2] = [Scope::Executor, Scope::Run];
}

/// When a service can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub probe: Probe,
    /// From its start on, in milliseconds.
    pub within_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// The container runs.
    #[default]
    Started,
    /// A connection to this port is taken.
    Tcp(u16),
    /// Such a question to this port is answered with a status below 400.
    Http(u16, String),
    /// This program ends well in the container.
    Command(Vec<String>),
    /// A line of the log has this in it.
    Log(String),
    /// The health check of the image says so.
    Health,
}

/// What a container, or a worker on a machine, may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub memory_kib: Option<u64>,
    /// Thousandths of a core.
    pub millicpus: Option<u32>,
    /// Processes and threads.
    pub pids: u32,
    /// What it may have written at a time, but for what is in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_kib: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_kib: None, millicpus: None, pids: 1024, disk_kib: None }
    }
}

impl Default for Ready {
    fn default() -> Ready {
        Ready { probe: Probe::Started, within_ms: 60_000 }
    }
}

/// What a container may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Instead of the image's own.
    pub user: Option<String>,
    /// All others are dropped.
    pub capabilities: Vec<String>,
    /// Whether only `tmpfs` can be written to.
    pub read_only: bool,
}

/// What tests need around them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub services: Vec<String>,
    /// Variables of whatever uses the services.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Paths, ids and globs of the tests that need it. A test's own word wins.
    #[serde(default)]
    pub tests: Vec<String>,
    /// What the tests run in, if not on their executor's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<TestContainer>,
    /// What a worker may take that runs on its executor's machine; one in a container has its container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Limits>,
}

impl Environment {
    /// What a worker may take, wherever it runs.
    pub fn limits(&self) -> Option<&Limits> {
        self.container.as_ref().map(|container| &container.limits).or(self.bounds.as_ref())
    }

    fn limits_mut(&mut self) -> Option<&mut Limits> {
        self.container.as_mut().map(|container| &mut container.limits).or(self.bounds.as_mut())
    }

    /// With twice the memory and disk for its tests.
    pub(crate) fn enlarge(&mut self) {
        if let Some(limits) = self.limits_mut() {
            let twice = |kib: Option<u64>| kib.map(|kib| kib.saturating_mul(2));
            (limits.memory_kib, limits.disk_kib) = (twice(limits.memory_kib), twice(limits.disk_kib));
        }
    }
}

/// A container that tests run in, beside their services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestContainer {
    pub image: String,
    /// The interpreter inside.
    pub python: String,
    /// Paths inside that are in memory.
    pub tmpfs: Vec<String>,
    pub network: Network,
    pub limits: Limits,
    /// All others are dropped.
    pub capabilities: Vec<String>,
    /// Whether only `tmpfs` and the run's own files can be written to.
    pub read_only: bool,
}

/// What tests in a container reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing but themselves.
    None,
    /// Their services.
    #[default]
    Internal,
    /// Whatever their executor's engine does.
    Egress,
}

/// An environment with every service that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub name: String,
    pub environment: Environment,
    pub services: BTreeMap<String, Service>,
}

/// An image that a sandbox was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUsed {
    /// As it is written.
    pub image: String,
    /// The digest that its engine knew it by.
    pub id: String,
    /// What its registry knows it by, `NAME@DIGEST`; empty where it is from none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// A sandbox that stays as a failed test has left it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub environment: String,
    /// What its objects are labelled with.
    pub sandbox: String,
    /// When it goes, in seconds since 1970.
    pub until: u64,
}

/// Why an environment cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Impossible {
    /// There is no such service; whoever names it, the environment itself if it is no service.
    Unknown { service: String, named_by: Option<String> },
    /// Each depends on the next, and the last on the first.
    Circle(Vec<String>),
    /// A service that workers share depends on one that ends before it.
    Outlives { service: String, needs: String },
}

impl Definition {
    /// Takes what an environment names of all services, and what that depends on.
    pub fn of(
        name: &str,
        environment: &Environment,
        all: &BTreeMap<String, Service>,
    ) -> Result<Definition, Impossible> {
        let mut services = BTreeMap::new();
        let mut wanted: Vec<(String, Option<String>)> =
            environment.services.iter().rev().map(|service| (service.clone(), None)).collect();
        while let Some((service, named_by)) = wanted.pop() {
            if services.contains_key(&service) {
                continue;
            }
            let Some(found) = all.get(&service) else {
                return Err(Impossible::Unknown { service, named_by });
            };
            let needs = found.depends_on.iter().rev();
            wanted.extend(needs.map(|need| (need.clone(), Some(service.clone()))));
            services.insert(service, found.clone());
        }
        let definition = Definition { name: name.to_owned(), environment: environment.clone(), services };
        match (definition.circle(), definition.outlives()) {
            (Some(circle), _) => Err(Impossible::Circle(circle)),
            (None, Some((service, needs))) => Err(Impossible::Outlives { service, needs }),
            (None, None) => Ok(definition),
        }
    }

    /// The services of a scope; none where it has none.
    pub fn of_scope(&self, scope: Scope) -> Option<Definition> {
        let services = self.services.iter().filter(|(_, service)| service.scope == scope);
        let services: BTreeMap<_, _> =
            services.map(|(name, service)| (name.clone(), service.clone())).collect();
        let (name, environment) = (self.name.clone(), self.environment.clone());
        (!services.is_empty()).then_some(Definition { name, environment, services })
    }

    /// Whether any of its services is to be made clean between two bundles.
    pub fn resets(&self) -> bool {
        self.services.values().any(|service| !service.reset.is_empty())
    }

    /// Whether it has services that its workers do not share with others.
    pub fn has_own_services(&self) -> bool {
        self.services.values().any(|service| !Scope::SHARED.contains(&service.scope))
    }

    /// Whether there is anything of it on an engine.
    pub fn needs_engine(&self) -> bool {
        !self.services.is_empty() || self.environment.container.is_some()
    }

    /// The images of it all.
    pub fn images(&self) -> BTreeSet<&str> {
        let services = self.services.values().map(|service| service.image.as_str());
        let container = self.environment.container.iter().map(|container| container.image.as_str());
        services.chain(container).collect()
    }

    /// The same, with absolute paths of what its services are shown.
    #[must_use]
    pub fn below(mut self, root: &Path) -> Definition {
        for path in self.services.values_mut().flat_map(|service| service.files.values_mut()) {
            *path = root.join(&*path).to_string_lossy().into_owned();
        }
        self
    }

    /// The services that have not begun and wait for none that is not done.
    pub fn next(&self, begun: &BTreeSet<String>, done: &BTreeSet<String>) -> Vec<String> {
        let waits = |service: &Service| service.depends_on.iter().any(|need| !done.contains(need));
        let free = self.services.iter().filter(|(name, service)| !begun.contains(*name) && !waits(service));
        free.map(|(name, _)| name.clone()).collect()
    }

    /// A service and all that is up before it.
    pub fn with_its_needs(&self, name: &str) -> BTreeMap<&str, &Service> {
        let mut found = BTreeMap::new();
        let mut wanted = vec![name];
        while let Some(name) = wanted.pop() {
            if let Some((name, service)) = self.services.get_key_value(name)
                && found.insert(name.as_str(), service).is_none()
            {
                wanted.extend(service.depends_on.iter().map(String::as_str));
            }
        }
        found
    }

    /// What a worker lives for that lives in it, if its run asks for no less.
    pub fn isolation(&self) -> Isolation {
        let is_short = self.services.values().any(|service| service.scope == Scope::Bundle);
        if is_short { Isolation::Bundle } else { Isolation::Slot }
    }

    fn outlives(&self) -> Option<(String, String)> {
        let shared = self.services.iter().filter(|(_, service)| Scope::SHARED.contains(&service.scope));
        let mut needs = shared
            .flat_map(|(name, service)| service.depends_on.iter().map(move |need| (name, service, need)));
        let ends = needs.find(|(_, service, need)| self.services[*need].scope < service.scope);
        ends.map(|(name, _, need)| (name.clone(), need.clone()))
    }

    fn circle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        loop {
            let next = self.next(&done, &done);
            if next.is_empty() {
                break;
            }
            done.extend(next);
        }
        // Whoever is left waits for another that is left: following them comes round.
        let mut path: Vec<&String> = vec![self.services.keys().find(|name| !done.contains(*name))?];
        loop {
            let last = path[path.len() - 1];
            let next = self.services[last].depends_on.iter().find(|need| !done.contains(*need))?;
            if let Some(start) = path.iter().position(|name| *name == next) {
                return Some(path[start..].iter().map(|name| (*name).clone()).collect());
            }
            path.push(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that depends on these.
    fn service(depends_on: &[&str]) -> Service {
        let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
        Service { depends_on, ..Service::default() }
    }

    fn define(services: &[&str], all: &[(&str, &[&str])]) -> Result<Definition, Impossible> {
        let all = all.iter().map(|(name, needs)| ((*name).to_owned(), service(needs))).collect();
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        Definition::of("env", &Environment { services, ..Environment::default() }, &all)
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_environment_has_what_its_services_depend_on_and_nothing_else() {
        let all: [(&str, &[&str]); 4] =
            [("app", &["db", "cache"]), ("db", &[]), ("cache", &["db"]), ("no", &[])];
        let definition = define(&["app"], &all).unwrap();
        assert_eq!(definition.services.keys().collect::<Vec<_>>(), ["app", "cache", "db"]);
        assert_eq!(definition.next(&set(&[]), &set(&[])), ["db"]);
        assert_eq!(definition.next(&set(&["db"]), &set(&[])), [""; 0]);
        assert_eq!(definition.next(&set(&["db"]), &set(&["db"])), ["cache"]);
        assert_eq!(definition.with_its_needs("cache").into_keys().collect::<Vec<_>>(), ["cache", "db"]);
        assert_eq!(definition.next(&set(&["db", "cache"]), &set(&["db", "cache"])), ["app"]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let unknown = |service: &str, named_by: Option<&str>| {
            Err(Impossible::Unknown { service: service.to_owned(), named_by: named_by.map(str::to_owned) })
        };
        assert_eq!(define(&["db"], &[]), unknown("db", None));
        assert_eq!(define(&["app"], &[("app", &["db"])]), unknown("db", Some("app")));
        let circle =
            |names: &[&str]| Err(Impossible::Circle(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(define(&["a"], &[("a", &["a"])]), circle(&["a"]));
        let all: [(&str, &[&str]); 4] = [("a", &["b"]), ("b", &["ok", "c"]), ("c", &["b"]), ("ok", &[])];
        assert_eq!(define(&["a"], &all), circle(&["b", "c"]));
        let shared = Service { scope: Scope::Executor, ..service(&["b"]) };
        let services = |scope| {
            [("a".to_owned(), shared.clone()), ("b".to_owned(), Service { scope, ..service(&[]) })].into()
        };
        let both = Environment { services: vec!["a".to_owned()], ..Environment::default() };
        assert!(Definition::of("e", &both, &services(Scope::Executor)).is_ok());
        let ends = Impossible::Outlives { service: "a".to_owned(), needs: "b".to_owned() };
        assert_eq!(Definition::of("e", &both, &services(Scope::Run)), Err(ends));
    }
}
