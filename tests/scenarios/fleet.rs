//! A scheduler and three executors as a service manager runs them: what is killed is started again.

use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;

use super::stores::Stores;
use super::subject::Subject;
use crate::harness::{Place, Running, is};

/// The run of a round.
pub const RUN: &str = "one";

pub struct Fleet {
    pub subject: Subject,
    settings: Settings,
    scheduler: Running,
    url: String,
    members: Vec<Member>,
    /// Executors and schedulers that were started.
    started: usize,
}

pub struct Settings {
    pub lease: &'static str,
    /// Where the scheduler can be reached, and where it and its clients are.
    pub address: &'static str,
    pub place: Place,
    /// Where each executor is.
    pub executors: Vec<Place>,
    /// Where results are kept besides, and what the scheduler is told of it.
    pub stores: Option<Arc<Stores>>,
    pub store_options: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        let executors = vec![Place::default(); 3];
        Settings {
            lease: "15s",
            address: "127.0.0.1",
            place: Place::default(),
            executors,
            stores: None,
            store_options: Vec::new(),
        }
    }
}

struct Member {
    name: String,
    place: Place,
    process: Running,
}

impl Fleet {
    pub fn of(subject: Subject) -> Fleet {
        Fleet::with(subject, Settings::default())
    }

    pub fn with(subject: Subject, mut settings: Settings) -> Fleet {
        settings.stores = settings.stores.or_else(|| Stores::chosen().map(Arc::new));
        if let Some(stores) = settings.stores.as_ref().filter(|_| settings.store_options.is_empty()) {
            settings.store_options = stores.options();
        }
        let address = format!("{}:0", settings.address);
        let scheduler = scheduler(&subject, &settings, &address, 0);
        let places = settings.executors.clone();
        let mut fleet =
            Fleet { subject, settings, scheduler, url: String::new(), members: Vec::new(), started: 1 };
        fleet.url = fleet.listens().unwrap_or_else(|| panic!("no scheduler: {}", fleet.scheduler.stderr()));
        for place in places {
            let name = fleet.next("e");
            let process = fleet.executor(&name, &place);
            fleet.members.push(Member { name, place, process });
        }
        fleet
    }

    pub fn stores(&self) -> Option<Arc<Stores>> {
        self.settings.stores.clone()
    }

    fn listens(&mut self) -> Option<String> {
        Some(self.scheduler.line()?.strip_prefix("listening on ").expect("it says where").to_owned())
    }

    fn next(&mut self, kind: &str) -> String {
        self.started += 1;
        format!("{kind}-{}", self.started)
    }

    fn access(&self) -> [String; 4] {
        let token = text(&self.subject.suite.beside("scheduler/token"));
        ["--scheduler".to_owned(), self.url.clone(), "--token-file".to_owned(), token]
    }

    /// An executor whose state directory has its name.
    fn executor(&self, name: &str, place: &Place) -> Running {
        let suite = &self.subject.suite;
        let state = text(&suite.beside(name));
        let own = ["--slots", "1", "--id", name, "--state", &state].map(str::to_owned);
        let arguments = [vec!["executor".to_owned()], self.access().to_vec(), own.to_vec()].concat();
        let stderr = suite.beside(&format!("{name}-{}-stderr", self.started));
        Running::start(place.command(suite.seagull(&arguments)), &stderr)
    }

    fn client(&self, command: &[&str], after: &[String]) -> Running {
        let suite = &self.subject.suite;
        let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
        let output = ["--output", "json"].map(str::to_owned);
        let arguments = [command, self.access().to_vec(), output.to_vec(), after.to_vec()].concat();
        let stderr = suite.beside(&format!("{}-stderr", arguments[0]));
        Running::start(self.settings.place.command(suite.seagull(&arguments)), &stderr)
    }

    /// Runs the suite, with these options.
    pub fn run(&self, options: &[&str]) -> Running {
        let framework: Vec<_> = match self.subject.arguments.as_slice() {
            [] => Vec::new(),
            arguments => [&["--".to_owned()][..], arguments].concat(),
        };
        let state = text(&self.subject.suite.beside("client"));
        let command = [&["run", "--run-id", RUN, "--state", &state][..], options].concat();
        self.client(&command, &framework)
    }

    pub fn watch(&self) -> Running {
        self.client(&["watch", RUN], &[])
    }

    /// Asks the scheduler for something that ends by itself: the exit code, and all that was said.
    pub fn asks(&self, command: &[&str]) -> (i32, String) {
        let arguments: Vec<_> = command.iter().map(ToString::to_string).chain(self.access()).collect();
        let asked = self.settings.place.command(self.subject.suite.seagull(&arguments)).output().unwrap();
        let said = [asked.stdout, asked.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (asked.status.code().unwrap_or(-1), said.concat())
    }

    pub fn executors(&self) -> u64 {
        self.members.len() as u64
    }

    pub fn name(&self, executor: u64) -> &str {
        &self.members[executor as usize].name
    }

    pub fn signal(&self, executor: u64, signal: Signal) {
        self.members[executor as usize].process.signal(signal);
    }

    /// Kills an executor. What comes in its place has its name and what it kept, or is another machine.
    pub fn replace(&mut self, executor: u64, by_itself: bool) {
        self.members[executor as usize].process.kill();
        self.start_again(executor as usize, by_itself);
    }

    fn start_again(&mut self, member: usize, by_itself: bool) {
        let other = self.next("e");
        let place = self.members[member].place.clone();
        let name = if by_itself { self.members[member].name.clone() } else { other };
        let process = self.executor(&name, &place);
        self.members[member] = Member { name, place, process };
    }

    /// Starts others in place of executors that have ended by themselves.
    pub fn tend(&mut self) {
        for member in 0..self.members.len() {
            if self.members[member].process.has_ended() {
                self.start_again(member, false);
            }
        }
    }

    pub fn signal_scheduler(&self, signal: Signal) {
        self.scheduler.signal(signal);
    }

    pub fn kill_scheduler(&mut self) {
        self.scheduler.kill();
    }

    /// What the scheduler has said since it was started.
    pub fn scheduler_says(&self) -> String {
        self.scheduler.stderr()
    }

    /// Starts a scheduler on the same state, at the same address. What it says, if it cannot.
    pub fn start_scheduler(&mut self) -> Result<(), String> {
        self.started += 1;
        let address = self.url.strip_prefix("http://").expect("it has no TLS");
        self.scheduler = scheduler(&self.subject, &self.settings, address, self.started);
        match self.listens() {
            Some(_) => Ok(()),
            None => Err(self.scheduler.stderr()),
        }
    }

    /// All leave in peace, and stores have all.
    #[track_caller]
    pub fn leave(self) -> Subject {
        if let Some(stores) = &self.settings.stores {
            stores.have(&self.subject, &self.settings.place);
        }
        self.members.iter().for_each(|member| member.process.signal(Signal::SIGTERM));
        for member in self.members {
            let (_, code, stderr) = member.process.end();
            assert_eq!(code, 0, "{}: {stderr}", member.name);
        }
        self.scheduler.signal(Signal::SIGTERM);
        let (_, code, stderr) = self.scheduler.end();
        assert_eq!(code, 0, "{stderr}");
        self.subject
    }
}

fn scheduler(subject: &Subject, settings: &Settings, address: &str, number: usize) -> Running {
    let state = text(&subject.suite.beside("scheduler"));
    let mut arguments = vec!["scheduler", "--listen", address, "--state", &state, "--lease", settings.lease];
    if !address.starts_with("127.") {
        arguments.push("--insecure");
    }
    arguments.extend(settings.store_options.iter().map(String::as_str));
    let command = settings.place.command(subject.suite.seagull(&arguments));
    Running::start(command, &subject.suite.beside(&format!("scheduler-{number}-stderr")))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Reads until so many tests have finished.
pub fn reach(run: &mut Running, tests: usize) {
    let finished = |run: &Running| run.events.iter().filter(|event| is("test_finished")(event)).count();
    let mut left = tests.saturating_sub(finished(run));
    while left > 0 {
        run.until(is("test_finished"));
        left -= 1;
    }
}

/// Reads until an executor is told to be lost, which may never be where it had nothing.
pub fn until_lost(run: &mut Running, executor: &str) {
    while let Some(event) = run.event() {
        if is("executor_lost")(&event) && event["executor"] == executor {
            return;
        }
    }
}
