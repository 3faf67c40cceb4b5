//! One worker from its start to its end: what it is told, what it says, and how it ended.
#![expect(clippy::disallowed_methods, reason = "a shell: a worker's end takes real time")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use seagull_domain::{Attachment, AttemptId, ExecutorId, Framework, InfraCause, TestIndex, TextRef};
use seagull_executor_core::{Event, Exit, NodeOrder, Start, WorkerEvent};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::adapter::{Command, Configure};
use super::ahead::Ahead;
use super::attachments::{Attachments, Leavings};
use super::connection::Connection;
use super::context::{Context, Contexts};
use super::launch::{Begun, Given, launch, name};
use super::left;
use super::link::Link;
use super::logs::Logs;
use super::output::{self, Followed, Stage};
use super::over::over;
use super::starts::FailedStarts;
use crate::docker::{Holder, Keeper, Services};
use crate::sandbox::{self, End, Handle, Home, Meter, OutOfMemory, ProcessSandbox};
use crate::secrets::Secrets;
use crate::setup::Setups;
use crate::tail::{LAST_WORDS, keep_short, tail};

/// How long a worker has to write its stacks before it is killed.
const DUMP: Duration = Duration::from_millis(500);
/// How long what a dead worker had sent may take to arrive.
const DRAIN: Duration = Duration::from_secs(5);

const OUT_OF_MEMORY: &str = "the kernel killed what tests had, for there was no memory left; \
                             fewer slots, or a memory in their [environment], leave more";

/// What the agent tells a worker's task.
#[derive(Debug)]
pub(crate) enum Order {
    Feed { attempt: AttemptId, tests: Vec<TestIndex> },
    Node(NodeOrder),
    Reset,
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
    pub attachments: Attachments,
    pub followed: Followed,
    pub sandboxes: Arc<ProcessSandbox>,
    /// Where sandboxes have their directories.
    pub home: Arc<Home>,
    pub keeper: Arc<Keeper>,
    pub starts: Arc<FailedStarts>,
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
    /// What its sandbox is kept by after a failure, if it is to be.
    pub holder: Option<Holder>,
    /// What its test is, while it runs one.
    pub stage: Stage,
    /// What its tests leave.
    leavings: Arc<Leavings>,
    /// What all its processes have taken.
    pub meter: Meter,
    /// The file that a discovery is at.
    importing: Arc<Mutex<String>>,
}

impl Voice {
    pub fn new(
        shared: Shared,
        start: Start,
        context: Arc<Context>,
        given: &Given,
        (own_log, leavings, meter): (PathBuf, Leavings, Meter),
    ) -> Voice {
        let leavings = Arc::new(leavings);
        let attempt = Arc::new(AtomicU64::new(start.attempt.0));
        let (secrets, services, holder) =
            (given.secrets.clone(), given.services.clone(), given.holder.clone());
        let stage = Stage::new(given.contained.is_none());
        let (dumps, importing) = Default::default();
        Voice {
            shared,
            start,
            context,
            secrets,
            attempt,
            dumps,
            own_log,
            services,
            holder,
            stage,
            leavings,
            meter,
            importing,
        }
    }

    /// Says what a test has left that has ended; for the link's thread.
    pub fn say_left(&self, test: TestIndex, aside: Option<u32>, failed: Option<SystemTime>) {
        let with = (&self.shared.attachments, &self.context.claims);
        self.leavings.of_test((test, aside, failed), with, &mut |test, file| {
            self.say(self.attached(test, file));
        });
    }

    fn attached(&self, test: Option<TestIndex>, file: Attachment) -> WorkerEvent {
        WorkerEvent::Attached { test, file: Attachment { name: self.secrets.hidden_in(file.name), ..file } }
    }

    /// Has its sandbox stay as this test has left it, if that is wanted.
    pub fn hold(&self, test: TestIndex) -> Option<WorkerEvent> {
        let hold = self.holder.as_ref()?.hold()?;
        Some(WorkerEvent::Held { test: Some(test), hold })
    }

    /// Says what is left when all is over.
    async fn say_rest(&self) {
        let voice = self.clone();
        let say = move || {
            let with = (&voice.shared.attachments, &voice.context.claims);
            voice
                .leavings
                .rest(voice.stage.test(), with, &mut |test, file| voice.say(voice.attached(test, file)));
        };
        let _ = tokio::task::spawn_blocking(say).await;
    }

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
        let log = self.secrets.hidden_in_end(log);
        if log.is_empty() { text } else { format!("{text}\n----- log of the controller -----\n{log}") }
    }
}

/// What a worker has when it starts.
pub(crate) struct Beginning {
    pub start: Start,
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// A sandbox that was made for it.
    pub ahead: Option<Ahead>,
    /// The task of the one before it in its slot, which may have something to remove yet.
    pub before: Option<JoinHandle<()>>,
}

/// Starts a worker and serves it until it is gone, and what it had on an engine is removed. Whatever happens, the last event
/// is `Exited` or `NotStarted`; what is removed on an engine after that holds up nobody, but the worker after the next.
pub(crate) async fn run(shared: Shared, beginning: Beginning) {
    let Beginning { start, mut orders, mut ahead, before } = beginning;
    let (events, slot, worker) = (shared.events.clone(), start.slot, start.worker);
    let starts = shared.starts.clone();
    let mut begun = Begun::default();
    let launched = tokio::select! {
        launched = launch(shared, start, &mut ahead, &mut begun) => launched,
        // Before it has started a worker is told nothing but to stop.
        _ = orders.recv() => Err(match ahead.as_mut().filter(|_| begun.awaits_ahead()) {
            Some(ahead) => ahead.told().await.unwrap_or(begun.told().await),
            None => begun.told().await,
        }),
    };
    let event = match launched {
        Ok(launched) => {
            starts.succeeded(slot);
            WorkerEvent::Exited(launched.serve(orders).await)
        }
        Err((cause, message)) => {
            tokio::select! {
                () = tokio::time::sleep(starts.failed(slot)) => {}
                _ = orders.recv() => {}
            }
            WorkerEvent::NotStarted(cause, message)
        }
    };
    if let Some(before) = before {
        let _ = before.await;
    }
    let _ = events.send(Event::Worker { slot, worker, event }).await;
    if let Some(ahead) = ahead {
        ahead.end().await;
    }
    if let Some(held) = begun.held {
        held.remove().await;
    }
}

/// A worker that has been started.
pub(super) struct Launched {
    pub voice: Voice,
    pub handle: Handle,
    pub listener: UnixListener,
    pub log: PathBuf,
    pub configure: Configure,
    /// Whether it was stopped for what no test of its is to blame for.
    pub spared: bool,
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
        watch.iter().for_each(JoinHandle::abort);
        if heard.is_err() {
            self.handle.kill();
        }
        let exit = self.handle.wait().await;
        self.tell_of_leftovers(&exit);
        self.voice.say_rest().await;
        left::tell(&self.voice, &exit).await;
        self.tell_of_loss(&exit).await;
        self.hold(&exit).await;
        let words = self.voice.secrets.hidden_in_end(tail(&log, LAST_WORDS));
        let text = self.voice.log(&words);
        let _ = std::fs::remove_file(&log);
        let over = over(&self.voice, &exit);
        let end = over.as_ref().map_or_else(|| exit.end.to_string(), |(_, how)| how.clone());
        let over = over.map(|(over, _)| over);
        let how = heard.map_or_else(|reason| format!("{end}: {reason}"), |()| end.clone());
        let used = self.voice.meter.at_end(&exit);
        Exit { how, importing: self.voice.at_which_file(), words, text, used, over }
    }

    /// What ended its worker has failed.
    async fn hold(&self, exit: &sandbox::Exit) {
        let is_lost =
            matches!(exit.end, End::SandboxLost(_)) || exit.out_of_memory == Some(OutOfMemory::Machine);
        let ran = self.voice.stage.test().filter(|_| !is_lost && !self.spared);
        if let Some(event) = ran.and_then(|(test, _)| self.voice.hold(test)) {
            let Start { slot, worker, .. } = self.voice.start;
            let _ = self.voice.shared.events.send(Event::Worker { slot, worker, event }).await;
        }
    }

    /// What it was at is not to blame.
    async fn tell_of_loss(&self, exit: &sandbox::Exit) {
        let (cause, why) = match (&exit.end, exit.out_of_memory) {
            (End::SandboxLost(why), _) => (InfraCause::SandboxFailed, format!("the sandbox was lost: {why}")),
            (_, Some(OutOfMemory::Machine)) => (InfraCause::MachineOutOfMemory, OUT_OF_MEMORY.to_owned()),
            _ => return,
        };
        let Start { slot, worker, .. } = self.voice.start;
        let event = WorkerEvent::SandboxBroke(cause, why);
        let _ = self.voice.shared.events.send(Event::Worker { slot, worker, event }).await;
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
        self.tell_connected().await;
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
    async fn tell_connected(&self) {
        let Start { slot, worker, .. } = self.voice.start;
        let dumps = self.voice.context.spec.suite.framework == Framework::Pytest;
        self.voice.dumps.store(dumps, Ordering::Relaxed);
        let event = Event::Worker { slot, worker, event: WorkerEvent::Connected };
        let _ = self.voice.shared.events.send(event).await;
    }

    fn tell_of_leftovers(&self, exit: &sandbox::Exit) {
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

    /// Orders are obeyed meanwhile.
    fn reset(&self) {
        let voice = self.voice.clone();
        tokio::spawn(async move {
            let Start { slot, worker, number, .. } = voice.start;
            let clean = match &voice.services {
                Some(services) => services.reset(number).await,
                None => Ok(()),
            };
            if let Err(error) = &clean {
                voice.shared.keeper.tell_of_reset(&name(&voice.start), &error.to_string());
            }
            let event = WorkerEvent::Reset { clean: clean.is_ok() };
            let _ = voice.shared.events.send(Event::Worker { slot, worker, event }).await;
        });
    }

    async fn obey(&mut self, order: Option<Order>, link: Option<&Link>) {
        match (order, link) {
            (Some(Order::Feed { attempt, tests }), Some(link)) => self.feed(link, attempt, tests).await,
            (Some(Order::Node(order)), Some(link)) => link.send(&about_node(order)),
            (Some(Order::Finish), Some(link)) => link.send(&Command::Finish),
            (Some(Order::Reset), _) => self.reset(),
            (Some(Order::Interrupt), _) => {
                self.spared = true;
                self.handle.interrupt();
            }
            (Some(Order::Kill { dump_stacks }), _) => {
                self.spared |= !dump_stacks;
                if dump_stacks && self.voice.dumps.load(Ordering::Relaxed) {
                    self.handle.dump_stacks();
                    let _ = tokio::time::timeout(DUMP, self.handle.wait()).await;
                }
                self.handle.kill();
            }
            // The agent is gone: so is its executor, and nobody wants the worker.
            (None, _) => {
                self.spared = true;
                self.handle.kill();
                self.handle.wait().await;
            }
            (Some(Order::Feed { .. } | Order::Node(_) | Order::Finish), None) => {}
        }
    }
}

/// Tells once of a service that has ended.
fn watch(services: Services, voice: &Voice) -> JoinHandle<()> {
    let (events, slot, worker) = (voice.shared.events.clone(), voice.start.slot, voice.start.worker);
    tokio::spawn(async move {
        let event = WorkerEvent::SandboxBroke(InfraCause::SandboxFailed, services.broke().await.to_string());
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
