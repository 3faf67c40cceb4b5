//! One worker: a sandbox with the framework's process in it, its socket, and what goes over it.
#![expect(clippy::disallowed_methods, reason = "a shell: a worker's end takes real time")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seagull_domain::{AttemptId, ExecutorId, Framework, InfraCause, TestIndex, TextRef, Workspace};
use seagull_executor_core::{Event, Exit, NodeOrder, Start, WorkerEvent};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::adapter::{Command, Configure, Role};
use super::connection::Connection;
use super::context::{Context, Contexts};
use super::link::Link;
use super::logs::Logs;
use super::output::{self, Followed, Stage};
use crate::docker::{Held, Keeper, Services};
use crate::interpreter;
use crate::sandbox::{Handle, Home, ProcessSandbox, Sandbox, Spec, environment, own_program};
use crate::secrets::Secrets;
use crate::setup::{Prepared, Setups};
use crate::tail::{LAST_WORDS, keep_short, tail};

/// The adapter's files, which BOOTSTRAP executes.
const ADAPTER: [(&str, &str); 12] = [
    ("held.py", include_str!("../pytest/held.py")),
    ("channel.py", include_str!("../pytest/channel.py")),
    ("describe.py", include_str!("../pytest/describe.py")),
    ("collection.py", include_str!("../pytest/collection.py")),
    ("order.py", include_str!("../pytest/order.py")),
    ("trouble.py", include_str!("../pytest/trouble.py")),
    ("options.py", include_str!("../pytest/options.py")),
    ("coverage.py", include_str!("../pytest/coverage.py")),
    ("takeover.py", include_str!("../pytest/takeover.py")),
    ("worker.py", include_str!("../pytest/worker.py")),
    ("controller.py", include_str!("../pytest/controller.py")),
    ("process.py", include_str!("../pytest/process.py")),
];
const BOOTSTRAP: &str = include_str!("../pytest/bootstrap.py");

/// Bytes of text kept for one test.
const OUTPUT_LIMIT: usize = 1 << 20;
/// How long a worker has to write its stacks before it is killed.
const DUMP: Duration = Duration::from_millis(500);
/// How long what a dead worker had sent may take to arrive.
const DRAIN: Duration = Duration::from_secs(5);

/// What the agent tells a worker's task.
#[derive(Debug)]
pub(crate) enum Order {
    Feed { attempt: AttemptId, tests: Vec<TestIndex> },
    Node(NodeOrder),
    Finish,
    Interrupt,
    Kill { dump_stacks: bool },
}

/// What workers share with their agent.
#[derive(Clone)]
pub(crate) struct Shared {
    pub executor: ExecutorId,
    pub connection: Connection,
    pub contexts: Contexts,
    pub setups: Arc<Setups>,
    pub logs: Logs,
    pub followed: Followed,
    pub sandboxes: Arc<ProcessSandbox>,
    /// Where sandboxes have their directories.
    pub home: Arc<Home>,
    pub keeper: Arc<Keeper>,
    /// Where slots keep their framework caches.
    pub caches: PathBuf,
    pub events: mpsc::Sender<Event>,
}

/// Whose events, and whose log.
#[derive(Clone)]
pub(crate) struct Voice {
    pub shared: Shared,
    pub start: Start,
    pub context: Arc<Context>,
    /// What is hidden in all it says.
    pub secrets: Arc<Secrets>,
    /// The attempt that was fed last: its log takes the worker's text.
    attempt: Arc<AtomicU64>,
    /// Whether the worker takes the signal that has it write its stacks; it would kill another.
    pub dumps: Arc<AtomicBool>,
    /// Where it writes what belongs to no test.
    own_log: PathBuf,
    /// What its tests need besides it.
    pub services: Option<Services>,
    /// What its test is, while it runs one.
    pub stage: Stage,
    /// The file that a discovery is at.
    importing: Arc<Mutex<String>>,
}

impl Voice {
    /// Waits while the agent is behind; for the link's thread.
    pub fn say(&self, event: WorkerEvent) {
        let Start { slot, worker, .. } = self.start;
        let _ = self.shared.events.blocking_send(Event::Worker { slot, worker, event });
    }

    /// A test that the worker cannot be told of, for it has no id.
    async fn tell_unknown(&self, test: TestIndex) {
        let Start { slot, worker, .. } = self.start;
        let event = WorkerEvent::Missing { test, reason: "it is not in the manifest".to_owned() };
        let _ = self.shared.events.send(Event::Worker { slot, worker, event }).await;
    }

    /// A discovery is at this file, or past all.
    pub fn is_at(&self, path: String) {
        *self.importing.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    fn at_which_file(&self) -> String {
        self.importing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn attempt(&self) -> AttemptId {
        AttemptId(self.attempt.load(Ordering::Relaxed))
    }

    pub fn log(&self, text: &str) -> Option<TextRef> {
        self.shared.logs.append(self.attempt(), text)
    }

    /// With what a controller has written, which nobody hears of otherwise: it has no tests.
    pub fn with_log(&self, text: String) -> String {
        let log = if self.start.controller { tail(&self.own_log, LAST_WORDS) } else { String::new() };
        let log = self.secrets.hidden_in(log);
        if log.is_empty() { text } else { format!("{text}\n----- log of the controller -----\n{log}") }
    }
}

/// Starts a worker and serves it until it is gone. Whatever happens, the last event is `Exited` or `NotStarted`.
pub(crate) async fn run(shared: Shared, start: Start, mut orders: mpsc::UnboundedReceiver<Order>) {
    let (events, slot, worker) = (shared.events.clone(), start.slot, start.worker);
    let mut held = None;
    let launched = tokio::select! {
        launched = launch(shared, start, &mut held) => launched,
        // Before it has started a worker is told nothing but to stop.
        _ = orders.recv() => {
            let what = "the run, its files, its setup and its services";
            Err((InfraCause::ArtifactUnavailable, format!("it was stopped before {what} were there")))
        }
    };
    let event = match launched {
        Ok(launched) => WorkerEvent::Exited(launched.serve(orders).await),
        Err((cause, message)) => WorkerEvent::NotStarted(cause, message),
    };
    if let Some(held) = held {
        held.remove().await;
    }
    let _ = events.send(Event::Worker { slot, worker, event }).await;
}

struct Launched {
    voice: Voice,
    handle: Handle,
    listener: UnixListener,
    log: PathBuf,
    configure: Configure,
}

/// `held`: what is to be removed after the worker, also if it does not start.
async fn launch(
    shared: Shared,
    start: Start,
    held: &mut Option<Held>,
) -> Result<Launched, (InfraCause, String)> {
    let context = shared.contexts.get(&start.run).await;
    let context = context.map_err(|message| (InfraCause::ArtifactUnavailable, message))?;
    let (slot, worker, limit) = (start.slot, start.worker, context.start_limit());
    let _ = shared.events.send(Event::Worker { slot, worker, event: WorkerEvent::StartLimit(limit) }).await;
    let failed = |message| (InfraCause::SandboxFailed, message);
    let secrets = Arc::new(Secrets::find(&context.spec.suite.secrets).map_err(failed)?);
    let prepared = context.prepared(&shared.setups, &secrets).await.map_err(failed)?;
    let services = services(&shared, &context, &start, held).await.map_err(failed)?;
    let (home, name) = (shared.home.clone(), format!("{}-{}", name(&start), start.worker.0));
    let given = Given { secrets, prepared, services };
    begin(shared, start, context, &given, &name).map_err(|message| {
        discard(&home, &name);
        failed(message)
    })
}

/// What its tests need is up before it starts. A controller runs no tests.
async fn services(
    shared: &Shared,
    context: &Context,
    start: &Start,
    held: &mut Option<Held>,
) -> Result<Option<Services>, String> {
    let definition = context.definition(start.environment)?.filter(|_| !start.controller);
    let Some(definition) = definition.filter(|definition| !definition.services.is_empty()) else {
        return Ok(None);
    };
    let sandbox = shared.keeper.hold(Arc::new(definition), &start.worker.0.to_string()).await;
    let held = held.insert(sandbox.map_err(|error| error.to_string())?);
    held.start().await.map(Some).map_err(|error| error.to_string())
}

/// What a person knows it by.
fn name(start: &Start) -> String {
    if start.controller { "controller".to_owned() } else { format!("gw{}", start.number) }
}

/// What an executor adds to what a run says of its environment.
struct Given {
    secrets: Arc<Secrets>,
    prepared: Option<Arc<Prepared>>,
    services: Option<Services>,
}

/// Nobody else removes the directories and the log of what does not start.
fn discard(home: &Home, name: &str) {
    let _ = std::fs::remove_file(log_path(home, name));
    if let Err(error) = home.discard(name) {
        let _ = writeln!(
            std::io::stderr(),
            "warning: the sandbox {name}, which did not start, cannot be removed: {error}"
        );
    }
}

/// Beside the sandbox's directory.
fn log_path(home: &Home, name: &str) -> PathBuf {
    home.path().join(format!("{name}.log"))
}

fn begin(
    shared: Shared,
    start: Start,
    context: Arc<Context>,
    given: &Given,
    name: &str,
) -> Result<Launched, String> {
    let io = |error: std::io::Error| format!("cannot make sandbox {name}: {error}");
    let [directory, temporary] = shared.home.sandbox(name).map_err(io)?;
    let listener = UnixListener::bind(directory.join("socket")).map_err(io)?;
    let log = log_path(&shared.home, name);
    let spec = Spec {
        command: command(&context, given.prepared.as_deref(), &directory)?,
        env: environment(std::env::vars_os(), &variables(&context, &start, given), &temporary),
        cwd: context.directory.clone(),
        directories: vec![directory, temporary.clone()],
        log: log.clone(),
        mounts: Vec::new(),
    };
    let handle = shared.sandboxes.start(&spec).map_err(|error| error.to_string())?;
    let configure = configure(&shared, &context, &start, &temporary);
    let attempt = Arc::new(AtomicU64::new(start.attempt.0));
    Ok(Launched {
        voice: Voice {
            shared,
            start,
            context,
            secrets: given.secrets.clone(),
            attempt,
            dumps: Arc::default(),
            own_log: log.clone(),
            stage: Stage::default(),
            importing: Arc::default(),
            services: given.services.clone(),
        },
        handle,
        listener,
        log,
        configure,
    })
}

/// What speaks the adapter protocol for the suite's framework.
fn command(
    context: &Context,
    prepared: Option<&Prepared>,
    directory: &Path,
) -> Result<Vec<OsString>, String> {
    let suite = &context.spec.suite;
    if suite.framework != Framework::Pytest {
        let own = own_program().map_err(|error| format!("this program cannot be found: {error}"))?;
        return Ok(vec![own.into(), "adapt".into(), directory.into()]);
    }
    write_adapter(&directory.join("adapter"))
        .map_err(|error| format!("cannot write the adapter: {error}"))?;
    let python = match prepared.and_then(Prepared::python) {
        Some(python) => python,
        None => interpreter::find(&suite.python, &context.directory).map_err(|e| e.to_string())?,
    };
    Ok(vec![python.into(), "-c".into(), BOOTSTRAP.into(), directory.into()])
}

fn write_adapter(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir(directory)?;
    ADAPTER.iter().try_for_each(|(name, source)| std::fs::write(directory.join(name), source))
}

/// What a worker has beside this process's own: one hash seed for all workers of a run where Python may be, so that ids
/// made from sets are the same in each; the run's revision; what the run says; what was prepared, before whatever PATH
/// that leaves; what its environment says, and where its services are; and secrets, which win.
fn variables(context: &Context, start: &Start, given: &Given) -> Vec<(String, String)> {
    let suite = &context.spec.suite;
    let mut variables = Vec::new();
    if suite.framework.may_be_python() {
        let hash_seed = std::env::var("PYTHONHASHSEED").unwrap_or_else(|_| context.spec.seed.to_string());
        variables.push(("PYTHONHASHSEED".to_owned(), hash_seed));
    }
    variables.extend(context.revision());
    variables.extend(suite.passed.clone());
    variables.extend(suite.variables.clone());
    if let Some(prepared) = &given.prepared {
        let said = variables.iter().rfind(|(name, _)| name == "PATH").map(|(_, path)| OsString::from(path));
        variables.extend(prepared.variables(said.or_else(|| std::env::var_os("PATH")).as_deref()));
    }
    variables.extend(context.variables_of(start.environment));
    variables.extend(given.services.iter().flat_map(Services::variables));
    variables.extend_from_slice(given.secrets.variables());
    variables
}

fn configure(shared: &Shared, context: &Context, start: &Start, temporary: &Path) -> Configure {
    let cache = cache_directory(&shared.caches, &context.spec.project, &name(start));
    Configure {
        args: context.spec.arguments.clone(),
        slot: start.number.0,
        slots: start.slots,
        run: context.spec.id.to_string(),
        seed: context.spec.seed,
        basetemp: temporary.join("basetemp").display().to_string(),
        cache_dir: cache.display().to_string(),
        discover: start.discover,
        whole: start.whole,
        output_limit: OUTPUT_LIMIT,
        framework: context.framework(),
        role: start.controller.then_some(Role::Controller),
        controller: context.spec.suite.controller,
        spread: matches!(context.spec.workspace, Workspace::Artifact { .. }),
    }
}

/// The framework's cache for a slot's number, which one live worker of a run has, also among executors that share a
/// state directory; or for controllers.
fn cache_directory(caches: &Path, project: &str, slot: &str) -> PathBuf {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let name: String = project.chars().take(40).map(safe).collect();
    let hash = blake3::hash(project.as_bytes()).to_hex();
    caches.join(format!("{name}-{}", &hash[..12])).join(slot)
}

impl Launched {
    async fn serve(mut self, mut orders: mpsc::UnboundedReceiver<Order>) -> Exit {
        let (log, voice) = (self.log.clone(), self.voice.clone());
        let watch = self.voice.services.clone().map(|services| watch(services, &self.voice));
        let heard = tokio::select! {
            heard = self.converse(&mut orders) => heard,
            never = keep_short(&log) => match never {},
            never = output::tell(&voice) => match never {},
        };
        watch.iter().for_each(tokio::task::JoinHandle::abort);
        if heard.is_err() {
            self.handle.kill();
        }
        let exit = self.handle.wait().await;
        self.tell_of_leftovers(&exit);
        let words = self.voice.secrets.hidden_in(tail(&log, LAST_WORDS));
        let text = self.voice.log(&words);
        let _ = std::fs::remove_file(&log);
        let how = heard.map_or_else(|reason| format!("{}: {reason}", exit.end), |()| exit.end.to_string());
        Exit { how, importing: self.voice.at_which_file(), words, text }
    }

    /// Serves a worker until its process is gone and all it said is heard. The error says why nobody listens to it.
    async fn converse(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), String> {
        let deaf = |error: std::io::Error| format!("it cannot be listened to: {error}");
        let stream = loop {
            tokio::select! {
                accepted = self.listener.accept() => break accepted.map_err(deaf)?.0,
                _ = self.handle.wait() => return Ok(()),
                order = orders.recv() => self.obey(order, None).await,
            }
        };
        let stream = stream.into_std().map_err(deaf)?;
        self.is_connected().await;
        let (link, mut heard) = Link::open(stream, self.voice.clone()).map_err(deaf)?;
        link.send(&Command::Configure(Box::new(std::mem::take(&mut self.configure))));
        loop {
            tokio::select! {
                _ = self.handle.wait() => break,
                Some(reason) = heard.recv() => return Err(reason),
                order = orders.recv() => self.obey(order, Some(&link)).await,
            }
        }
        let rest = tokio::time::timeout(DRAIN, heard.recv()).await;
        rest.ok().flatten().map_or(Ok(()), Err)
    }

    /// An adapter that is Python's takes the signal from its beginning on, where the system has it.
    async fn is_connected(&self) {
        let Start { slot, worker, .. } = self.voice.start;
        let dumps = self.voice.context.spec.suite.framework == Framework::Pytest;
        self.voice.dumps.store(dumps, Ordering::Relaxed);
        let event = Event::Worker { slot, worker, event: WorkerEvent::Connected };
        let _ = self.voice.shared.events.send(event).await;
    }

    fn tell_of_leftovers(&self, exit: &crate::sandbox::Exit) {
        let (name, run) = (name(&self.voice.start), &self.voice.start.run);
        if exit.surviving > 0 {
            let count = exit.surviving;
            let _ = writeln!(
                std::io::stderr(),
                "warning: {count} processes of {name} of run {run} cannot be killed"
            );
        }
        if let Some(error) = &exit.directory_left {
            let _ = writeln!(
                std::io::stderr(),
                "warning: the sandbox of {name} of run {run} cannot be removed: {error}"
            );
        }
    }

    async fn feed(&self, link: &Link, attempt: AttemptId, tests: Vec<TestIndex>) {
        self.voice.attempt.store(attempt.0, Ordering::Relaxed);
        let (mut known, mut hooked) = (Vec::new(), BTreeMap::new());
        for test in tests {
            match self.voice.context.id(attempt, test) {
                Some((id, hooks)) => {
                    known.push((test.0, id));
                    hooked.extend(hooks);
                }
                None => self.voice.tell_unknown(test).await,
            }
        }
        link.send(&Command::Run { tests: known, hooked });
    }

    async fn obey(&mut self, order: Option<Order>, link: Option<&Link>) {
        match (order, link) {
            (Some(Order::Feed { attempt, tests }), Some(link)) => self.feed(link, attempt, tests).await,
            (Some(Order::Node(order)), Some(link)) => link.send(&about_node(order)),
            (Some(Order::Finish), Some(link)) => link.send(&Command::Finish),
            (Some(Order::Interrupt), _) => self.handle.interrupt(),
            (Some(Order::Kill { dump_stacks }), _) => {
                if dump_stacks && self.voice.dumps.load(Ordering::Relaxed) {
                    self.handle.dump_stacks();
                    let _ = tokio::time::timeout(DUMP, self.handle.wait()).await;
                }
                self.handle.kill();
            }
            // The agent is gone: so is its executor, and nobody wants the worker.
            (None, _) => {
                self.handle.kill();
                self.handle.wait().await;
            }
            (Some(Order::Feed { .. } | Order::Node(_) | Order::Finish), None) => {}
        }
    }
}

/// Tells once of a service that has ended.
fn watch(services: Services, voice: &Voice) -> tokio::task::JoinHandle<()> {
    let (events, slot, worker) = (voice.shared.events.clone(), voice.start.slot, voice.start.worker);
    tokio::spawn(async move {
        let event = WorkerEvent::SandboxBroke(services.broke().await.to_string());
        let _ = events.send(Event::Worker { slot, worker, event }).await;
    })
}

fn about_node(order: NodeOrder) -> Command {
    match order {
        NodeOrder::Input(input) => Command::Node { input },
        NodeOrder::Configure { number } => Command::ConfigureNode { node: number.0 },
        NodeOrder::Ready { number } => Command::NodeReady { node: number.0 },
        NodeOrder::Down { number, error, output } => Command::NodeDown { node: number.0, error, output },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_project_has_caches_of_its_own_whatever_its_name() {
        let directory = |project| cache_directory(Path::new("/c"), project, "gw3");
        let name = directory("shop/unit tests").display().to_string();
        assert!(name.starts_with("/c/shop_unit_tests-") && name.ends_with("/gw3"), "{name}");
        assert_ne!(directory("shop/unit_tests"), directory("shop/unit tests"));
        for odd in ["", "..", &"ü".repeat(128)] {
            assert_eq!(directory(odd).components().count(), 4);
        }
    }
}
