//! Environments and services, drawn from a seed; and those that are refused.

use seagull_domain::{
    Environment, Limits, Network, Probe, Ready, Rights, Scope, Service, Suite, TestContainer,
};
use seagull_proto::{limits, v1};

use crate::arbitrary::Source;
use crate::hostile::refused;

impl Source {
    /// What a suite's tests need: services in a chain, and environments that name some of them.
    pub fn environments(&mut self, in_place: bool, is_pytest: bool) -> Suite {
        let count = self.within(0, 5);
        // All of one, so that none outlives what it needs.
        let scope = self.pick(&[Scope::Bundle, Scope::Slot, Scope::Run, Scope::Executor]);
        let services = (0..count).map(|number| {
            let waits_for = (number > 0 && self.coin()).then(|| format!("s{}", number - 1));
            (format!("s{number}"), self.service(waits_for, scope, in_place))
        });
        let services: Vec<_> = services.collect();
        let environment = |s: &mut Self| {
            let container = s.maybe(Self::test_container).filter(|_| is_pytest);
            let bounds = s.maybe(Self::limits).filter(|_| container.is_none());
            Environment {
                services: (0..count).filter(|_| s.coin()).map(|number| format!("s{number}")).collect(),
                env: s.variables(),
                tests: s.list(5, |s| s.text(300)),
                container,
                bounds: bounds.map(|limits| Limits { disk_kib: None, ..limits }),
            }
        };
        let names = ["default", "db", "a-1", "0"].into_iter().filter(|_| self.coin()).collect::<Vec<_>>();
        Suite {
            environments: names.into_iter().map(|name| (name.to_owned(), environment(self))).collect(),
            services: services.into_iter().collect(),
            ..Suite::default()
        }
    }

    fn test_container(&mut self) -> TestContainer {
        TestContainer {
            image: format!("i{}", self.text(200)),
            python: format!("p{}", self.text(100)),
            tmpfs: self.list(3, |s| format!("/p{}", s.text(100))),
            network: self.pick(&[Network::Internal, Network::Egress]),
            limits: self.limits(),
            capabilities: self.list(3, |s| s.pick(&["CHOWN", "SYS_PTRACE"]).to_owned()),
            read_only: self.coin(),
        }
    }

    fn limits(&mut self) -> Limits {
        Limits {
            memory_kib: self.maybe(|s| s.within(1, limits::KIB)),
            millicpus: self.maybe(|s| s.small(limits::MILLICPUS - 1) + 1),
            pids: self.small(limits::PIDS - 1) + 1,
            disk_kib: self.maybe(|s| s.within(1, limits::KIB)),
        }
    }

    fn service(&mut self, waits_for: Option<String>, scope: Scope, in_place: bool) -> Service {
        let ports = vec![1, 5432, u16::MAX];
        let probes = [
            Probe::Started,
            Probe::Tcp(1),
            Probe::Http(5432, "/health?a=b".to_owned()),
            Probe::Command(vec!["true".to_owned(), self.text(100)]),
            Probe::Log(format!("l{}", self.text(100))),
            Probe::Health,
        ];
        let probe = probes[self.bits() as usize % probes.len()].clone();
        let path = |s: &mut Self| format!("/p{}", s.text(100));
        let template = self.coin();
        let reset = if scope == Scope::Bundle { Vec::new() } else { self.list(3, |s| s.text(300)) };
        Service {
            image: format!("i{}", self.text(200)),
            command: self.maybe(|s| vec!["run".to_owned(), s.text(100)]),
            env: self.variables(),
            secrets: if template { Default::default() } else { self.secrets() },
            files: self.list(3, |s| (path(s), s.place(in_place))).into_iter().collect(),
            tmpfs: self.list(3, path),
            ready: Ready { probe, within_ms: self.within(1, limits::MILLIS) },
            ports,
            url: self.maybe(|s| format!("u{}", s.text(100))),
            prepare: self.list(3, |s| s.text(300)),
            template,
            depends_on: waits_for.into_iter().collect(),
            limits: self.limits(),
            rights: Rights {
                user: self.maybe(|s| s.text(100)),
                capabilities: self.list(3, |s| s.pick(&["CHOWN", "SYS_PTRACE"]).to_owned()),
                read_only: !template && self.coin(),
            },
            reset,
            scope,
        }
    }
}

#[test]
fn a_service_that_asks_for_what_it_may_not_have_is_refused() {
    let bad = |field, spoil: fn(&mut v1::Service)| {
        refused(Source(8).spec(), field, |m: &mut v1::RunSpec| {
            let mut service = v1::Service {
                image: "x".into(),
                ports: vec![80],
                within_ms: 1,
                pids: 1,
                probe: Some(v1::service::Probe::Started(v1::Started {})),
                ..Default::default()
            };
            spoil(&mut service);
            let framework = Some(v1::suite::Framework::Pytest(v1::Pytest {}));
            let artifact = v1::Artifact { digest: vec![0; 32].into(), directory: String::new() };
            m.workspace = Some(v1::run_spec::Workspace::Artifact(artifact));
            let services = [("s".to_owned(), service)].into();
            let named = v1::Environment { services: vec!["s".into()], ..Default::default() };
            let environments = [("e".to_owned(), named)].into();
            m.suite = Some(v1::Suite { framework, services, environments, ..Default::default() });
        });
    };
    bad("Service.image", |m| m.image.clear());
    bad("Service.command", |m| m.command = vec!["a\0".into()]);
    bad("Service.reset", |m| {
        (m.reset, m.scope) = (vec!["true".into()], v1::Scope::Bundle as i32);
    });
    bad("Service.scope", |m| m.scope = 9);
    bad("Service.variables", |m| m.variables = [("a=b".to_owned(), String::new())].into());
    bad("Service.secrets", |m| m.secrets = [("A".to_owned(), "hunter2".to_owned())].into());
    bad("Service.secrets", |m| m.secrets = [("../a".to_owned(), "env:A".to_owned())].into());
    bad("Service.files", |m| m.files = [("etc".to_owned(), "a".to_owned())].into());
    bad("Service.files", |m| m.files = [("/etc/x".to_owned(), "/etc/passwd".to_owned())].into());
    bad("Service.files", |m| m.files = [("/etc/x".to_owned(), "../../etc".to_owned())].into());
    bad("Service.tmpfs", |m| m.tmpfs = vec!["/".into()]);
    bad("Service.ports", |m| m.ports = vec![0]);
    bad("Service.ports", |m| m.ports = vec![70_000]);
    bad("Service.probe", |m| m.probe = None);
    bad("Service.tcp", |m| m.probe = Some(v1::service::Probe::Tcp(81)));
    bad("Http.port", |m| m.probe = Some(v1::service::Probe::Http(v1::Http { port: 81, path: "/".into() })));
    bad("Http.path", |m| {
        m.probe = Some(v1::service::Probe::Http(v1::Http { port: 80, path: "/ HTTP/1.1\r\nX: y".into() }));
    });
    bad("Program.words", |m| m.probe = Some(v1::service::Probe::Program(v1::Program { words: vec![] })));
    bad("Service.log", |m| m.probe = Some(v1::service::Probe::Log(String::new())));
    bad("Service.within_ms", |m| m.within_ms = 0);
    bad("Service.memory_kib", |m| m.memory_kib = Some(0));
    bad("Service.millicpus", |m| m.millicpus = Some(0));
    bad("Service.pids", |m| m.pids = 0);
    bad("Service.disk_kib", |m| m.disk_kib = Some(0));
    bad("Service.user", |m| m.user = Some("x".repeat(257)));
    bad("Service.capabilities", |m| m.capabilities = vec!["ALL".into()]);
    bad("Service.template", |m| (m.template, m.read_only) = (true, true));
    bad("Service.template", |m| {
        (m.template, m.secrets) = (true, [("A".to_owned(), "env:A".to_owned())].into());
    });
    bad("Suite.environments", |m| m.depends_on = vec!["t".into()]);
    bad("Suite.environments", |m| m.depends_on = vec!["s".into()]);
}

#[test]
fn environments_have_names_that_can_be_parts_of_others() {
    for name in ["", "A", "a_b", "-a", "a-", "../a", "localhost", &"a".repeat(41)] {
        refused(Source(8).spec(), "Suite.environments", |m: &mut v1::RunSpec| {
            let framework = Some(v1::suite::Framework::Pytest(v1::Pytest {}));
            let environments = [(name.to_owned(), v1::Environment::default())].into();
            m.suite = Some(v1::Suite { framework, environments, ..Default::default() });
        });
    }
}

#[test]
fn a_bound_of_tests_that_cannot_be_is_refused() {
    let bad = |field, spoil: fn(&mut v1::Environment)| {
        refused(Source(8).spec(), field, |m: &mut v1::RunSpec| {
            let bounds = Some(v1::Bounds { memory_kib: Some(9), millicpus: Some(9), pids: 9 });
            let mut named = v1::Environment { bounds, ..Default::default() };
            spoil(&mut named);
            let framework = Some(v1::suite::Framework::Pytest(v1::Pytest {}));
            let environments = [("e".to_owned(), named)].into();
            m.suite = Some(v1::Suite { framework, environments, ..Default::default() });
        });
    };
    bad("Bounds.memory_kib", |m| m.bounds.as_mut().unwrap().memory_kib = Some(0));
    bad("Bounds.millicpus", |m| m.bounds.as_mut().unwrap().millicpus = Some(0));
    bad("Bounds.pids", |m| m.bounds.as_mut().unwrap().pids = 0);
    bad("Environment.bounds", |m| m.container = Some(v1::TestContainer::default()));
}

#[test]
fn a_container_of_tests_that_asks_for_what_it_may_not_have_is_refused() {
    let bad = |field, spoil: fn(&mut v1::TestContainer, &mut v1::Suite)| {
        refused(Source(8).spec(), field, |m: &mut v1::RunSpec| {
            let mut container = v1::TestContainer {
                image: "x".into(),
                python: "python3".into(),
                network: v1::Network::Internal.into(),
                pids: 1,
                ..Default::default()
            };
            let framework = Some(v1::suite::Framework::Pytest(v1::Pytest {}));
            let mut suite = v1::Suite { framework, ..Default::default() };
            spoil(&mut container, &mut suite);
            let services = suite.services.keys().cloned().collect();
            let named = v1::Environment { services, container: Some(container), ..Default::default() };
            suite.environments = [("e".to_owned(), named)].into();
            m.suite = Some(suite);
        });
    };
    bad("TestContainer.image", |m, _| m.image.clear());
    bad("TestContainer.python", |m, _| m.python.clear());
    bad("TestContainer.tmpfs", |m, _| m.tmpfs = vec!["tmp".into()]);
    bad("TestContainer.network", |m, _| m.network = 0);
    bad("TestContainer.memory_kib", |m, _| m.memory_kib = Some(0));
    bad("TestContainer.millicpus", |m, _| m.millicpus = Some(0));
    bad("TestContainer.pids", |m, _| m.pids = 0);
    bad("TestContainer.disk_kib", |m, _| m.disk_kib = Some(0));
    bad("TestContainer.capabilities", |m, _| m.capabilities = vec!["ALL".into()]);
    bad("TestContainer.network", |m, suite| {
        m.network = v1::Network::None.into();
        let probe = Some(v1::service::Probe::Started(v1::Started {}));
        let service = v1::Service { image: "x".into(), within_ms: 1, pids: 1, probe, ..Default::default() };
        suite.services = [("s".to_owned(), service)].into();
    });
    bad("Suite.environments", |_, suite| {
        suite.framework = Some(v1::suite::Framework::Cargo(v1::Cargo {}));
    });
}
