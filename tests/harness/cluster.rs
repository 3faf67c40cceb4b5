//! A scheduler with a suite in a git repository, and executors that join it, all on this machine.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Docker, Running, Suite};

/// How long a process may outlive what it is a part of.
pub const GONE: Duration = Duration::from_secs(1);

/// A scheduler and a suite in a git repository, all on this machine.
pub struct Cluster {
    pub suite: Suite,
    pub scheduler: Running,
    pub url: String,
    docker: Option<Docker>,
}

impl Cluster {
    pub fn start(suite: Suite) -> Cluster {
        Cluster::start_with(suite, &[])
    }

    pub fn start_with(suite: Suite, options: &[&str]) -> Cluster {
        Cluster::of(suite, None, options)
    }

    /// The processes are beside an engine, and find it.
    pub fn beside(docker: &Docker, suite: Suite) -> Cluster {
        Cluster::of(suite, Some(docker.clone()), &[])
    }

    fn of(suite: Suite, docker: Option<Docker>, options: &[&str]) -> Cluster {
        suite.commit();
        let state = suite.beside("scheduler").into_os_string().into_string().unwrap();
        let arguments = [&["scheduler", "--listen", "127.0.0.1:0", "--state", &state], options].concat();
        let command = seagull(docker.as_ref(), &suite, &arguments);
        let mut scheduler = Running::start(command, &suite.beside("scheduler-stderr"));
        let line = scheduler.line().unwrap_or_else(|| panic!("no scheduler: {}", scheduler.stderr()));
        let url = line.strip_prefix("listening on ").expect("it says where").to_owned();
        Cluster { suite, scheduler, url, docker }
    }

    fn seagull(&self, arguments: &[&str]) -> Command {
        seagull(self.docker.as_ref(), &self.suite, arguments)
    }

    /// Another one in its place, which was killed.
    pub fn scheduler_again(&self) -> Running {
        let state = self.suite.beside("scheduler").into_os_string().into_string().unwrap();
        let address = self.url.strip_prefix("http://").unwrap();
        let command = self.seagull(&["scheduler", "--listen", address, "--state", &state]);
        let mut again = Running::start(command, &self.suite.beside("scheduler-again"));
        assert!(again.line().is_some(), "{}", again.stderr());
        again
    }

    pub fn token(&self) -> PathBuf {
        self.suite.beside("scheduler/token")
    }

    pub fn executor(&self, name: &str) -> Running {
        self.executor_with(name, &[], &[])
    }

    /// An executor with these options and variables too.
    pub fn executor_with(&self, name: &str, options: &[&str], variables: &[(&str, &str)]) -> Running {
        let token = self.token().into_os_string().into_string().unwrap();
        let state = self.suite.beside(name).into_os_string().into_string().unwrap();
        let arguments =
            ["executor", "--scheduler", &self.url, "--token-file", &token, "--slots", "1", "--state", &state];
        let mut command = self.seagull(&[&arguments[..], &["--id", name], options].concat());
        command.envs(variables.iter().copied());
        Running::start(command, &self.suite.beside(&format!("{name}-stderr")))
    }

    /// Ends everything, and sees that nothing is left of it.
    pub fn ends(&self, executors: Vec<Running>) {
        for executor in executors {
            executor.signal(Signal::SIGTERM);
            let (_, code, stderr) = executor.end();
            assert_eq!(code, 0, "{stderr}");
        }
        self.scheduler.signal(Signal::SIGTERM);
        self.suite.marked().all_gone_within(GONE);
    }

    pub fn start_run(&self, arguments: &[&str]) -> Running {
        let token = self.token().into_os_string().into_string().unwrap();
        let state = self.suite.beside("state").into_os_string().into_string().unwrap();
        let own =
            ["run", "--output", "json", "--state", &state, "--scheduler", &self.url, "--token-file", &token];
        Running::start(self.seagull(&[&own, arguments].concat()), &self.suite.another("stderr"))
    }
}

fn seagull(docker: Option<&Docker>, suite: &Suite, arguments: &[&str]) -> Command {
    docker.map_or_else(|| suite.seagull(arguments), |docker| docker.seagull(suite, arguments))
}
