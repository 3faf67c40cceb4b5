//! The agent: one task that owns the executor core's state, with its one call to the scheduler and its workers
//! around it.
#![expect(clippy::disallowed_methods, reason = "the shell of the core: time enters here, and tasks start")]

pub(crate) mod adapter;
mod ahead;
mod attachments;
mod call;
mod connection;
mod context;
mod discovery;
mod launch;
mod left;
mod link;
mod logs;
mod output;
mod over;
mod program;
mod reader;
mod starts;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::{
    AttemptId, BootId, Desired, ExecutorId, Generation, Instant, Resources, RunId, SlotIndex,
};
use seagull_executor_core::{Effect, Event, Leaving, Settings, State, WorkerId};
use seagull_proto::Token;
use seagull_proto::convert::{Answer, BundleAsked};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

use crate::artifact::Cache;
use crate::control_groups::ControlGroups;
use crate::docker::{Keeper, KeeperOptions};
use crate::kept::{ARTIFACTS, CACHE_BYTES, SETUPS, Shelf};
use crate::notice::{Notice, Source};
use crate::sandbox::{Children, Home, ProcessSandbox};
use crate::setup::{Setups, Tell};
use ahead::Pool;
use attachments::Attachments;
use call::Calls;
pub use connection::jittered;
use connection::{Connection, refuses_executor};
use context::Contexts;
use logs::Logs;
use output::Followed;
pub(crate) use program::ATTACHMENTS;
use worker::{Beginning, Order, Shared};

/// Events that wait for the agent before workers wait too.
const QUEUE: usize = 4096;
/// More than a worker without work takes to end.
const PARTING: Duration = Duration::from_secs(60);

pub struct Options {
    pub id: ExecutorId,
    pub slots: u16,
    /// What they share.
    pub capacity: Resources,
    /// How many bytes of images that it fetches are kept.
    pub image_bytes: u64,
    pub labels: BTreeMap<String, String>,
    /// Artifacts and framework caches are kept here.
    pub state: PathBuf,
    /// The state directory whose setups and templates are used, if it is another.
    pub setups: Option<PathBuf>,
    pub tell: Tell,
    pub channel: Channel,
    pub token: Token,
    /// Whether runs may be executed in the client's own tree: only in the client's own process.
    pub in_place: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("executor directory {path}: {source}")]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("workers cannot be supervised: {0}")]
    Supervision(std::io::Error),
    #[error("the scheduler refuses this executor: {0}")]
    Refused(String),
    #[error("the executor broke down: {0}\nhint: the fault is seagull's own; please report it")]
    BrokeDown(tokio::task::JoinError),
}

/// A running executor.
pub struct Executor {
    notices: mpsc::UnboundedSender<Notice>,
    tell: Tell,
    task: JoinHandle<Result<(), Error>>,
}

impl Executor {
    pub fn start(options: Options) -> Result<Executor, Error> {
        let (notices, heard) = mpsc::unbounded_channel();
        let tell = options.tell.clone();
        let agent = Agent::new(options, heard)?;
        Ok(Executor { notices, tell, task: tokio::spawn(agent.run()) })
    }

    /// Begins to leave: takes nothing new, gives back what has not started, and lets what runs end if there is time.
    pub fn leave(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }

    /// Leaves because nothing is to be done any more; workers without work end in good order.
    pub fn part(&self) {
        self.leave(Notice::drain("", PARTING));
    }

    /// Leaves when there is a notice; within `limit` if that does not say how much time there is.
    pub fn heed(&self, source: Source, limit: Duration) {
        let (notices, tell) = (self.notices.clone(), self.tell.clone());
        tokio::spawn(async move {
            let _ = notices.send(source.notice(limit, &tell).await);
        });
    }

    /// Until it has left, or cannot go on.
    pub async fn wait(&mut self) -> Result<(), Error> {
        (&mut self.task).await.unwrap_or_else(|error| Err(Error::BrokeDown(error)))
    }
}

struct Agent {
    core: State,
    shared: Shared,
    events: mpsc::Receiver<Event>,
    calls: Calls,
    /// And controllers.
    workers: BTreeMap<WorkerId, mpsc::UnboundedSender<Order>>,
    /// Of each slot, and of its controllers, the worker's that was started last.
    tasks: BTreeMap<(SlotIndex, bool), JoinHandle<()>>,
    pool: Pool,
    notices: mpsc::UnboundedReceiver<Notice>,
    tell: Tell,
    left: bool,
    origin: tokio::time::Instant,
}

impl Agent {
    fn new(options: Options, notices: mpsc::UnboundedReceiver<Notice>) -> Result<Agent, Error> {
        let in_state = |source| Error::Directory { path: options.state.clone(), source };
        std::fs::create_dir_all(&options.state).map_err(in_state)?;
        let home = home_in(Home::PARENT.as_ref())?;
        let children = Arc::new(Children::become_subreaper().map_err(Error::Supervision)?);
        let sandboxes = ProcessSandbox::new(children.clone(), home.path()).map_err(Error::Supervision)?;
        let sandboxes = sandboxes.in_groups(ControlGroups::find());
        let boot = boot_id(home.path());
        let setups = options.setups.as_ref().unwrap_or(&options.state);
        let artifacts = Shelf::open(&options.state.join(ARTIFACTS), CACHE_BYTES).map_err(in_state)?;
        let cache = Cache::of(artifacts.beside(&setups.join(SETUPS)));
        let (sandboxes, home) = (Arc::new(sandboxes), Arc::new(home));
        let tell = options.tell;
        let of = KeeperOptions {
            state: setups.clone(),
            home: home.path().to_owned(),
            boot: boot.to_string(),
            image_bytes: options.image_bytes,
        };
        let keeper = Keeper::new(of, children, tell.clone());
        let setups = Setups::open(setups, CACHE_BYTES, sandboxes.clone(), home.clone(), tell.clone());
        let setups = setups.map_err(in_state)?;
        let connection = Connection::new(options.channel, &options.token);
        let (sender, events) = mpsc::channel(QUEUE);
        let shared = Shared {
            executor: options.id.clone(),
            contexts: Contexts::new(connection.clone(), cache, options.in_place),
            setups: Arc::new(setups),
            connection: connection.clone(),
            logs: Logs::default(),
            attachments: Attachments::new(home.path().join("attachments")).map_err(in_state)?,
            followed: Followed::default(),
            sandboxes,
            home,
            keeper,
            starts: Arc::default(),
            caches: options.state.join("caches"),
            events: sender,
        };
        let mut core = State::new(options.id, boot, options.slots, Settings::default());
        core.labels = options.labels;
        core.capacity = options.capacity;
        let calls = Calls::new(connection, shared.logs.clone(), shared.attachments.clone());
        let origin = tokio::time::Instant::now();
        let (workers, tasks, pool) = Default::default();
        Ok(Agent { core, shared, events, calls, workers, tasks, pool, notices, tell, left: false, origin })
    }

    async fn run(mut self) -> Result<(), Error> {
        self.calls.urgent();
        while !self.left {
            let core = self.core.next_deadline().into_iter().fold(self.core.steps_by(), Instant::min);
            let core = self.origin + Duration::from_millis(core.0);
            let wake = self.calls.due().into_iter().fold(core, tokio::time::Instant::min);
            tokio::select! {
                Some(event) = self.events.recv() => self.events(event),
                answer = self.calls.answer() => match answer {
                    Some(Ok(Answer { desired, followed })) => {
                        self.shared.followed.set(followed);
                        self.desired(desired);
                    }
                    Some(Err(status)) if refuses_executor(&status) => {
                        return Err(Error::Refused(status.message().to_owned()));
                    }
                    Some(Err(_)) | None => {}
                },
                Some(notice) = self.notices.recv() => self.step(Event::Leave(notice)),
                () = tokio::time::sleep_until(wake) => self.step(Event::Tick),
            }
            self.calls.send_if_due(&mut self.core);
        }
        self.pool.end().await;
        for task in self.tasks.into_values() {
            let _ = task.await;
        }
        self.shared.keeper.end().await;
        Ok(())
    }

    fn desired(&mut self, desired: Desired) {
        self.step(Event::Desired(Box::new(desired)));
        let attempts = &self.core.attempts;
        self.shared.logs.retain(|attempt| attempts.contains_key(attempt));
        self.forget_runs();
    }

    /// All that has come, so that one report tells of it.
    fn events(&mut self, first: Event) {
        self.step(first);
        while let Ok(event) = self.events.try_recv() {
            self.step(event);
        }
    }

    fn step(&mut self, event: Event) {
        let now = Instant(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX));
        let before = self.core.leaving.as_ref().map(|leaving| leaving.last);
        let mut effects = match self.core.stood_still(now) {
            Some(pause) => self.core.step(now, Event::Paused(pause)),
            None => Vec::new(),
        };
        let over = matches!(&event, Event::Worker { event, .. } if event.is_the_last());
        effects.extend(self.core.step(now, event));
        for effect in effects {
            self.perform(effect);
        }
        if over {
            self.forget_runs();
        }
        self.pool.keep(&self.core, &self.shared);
        match &self.core.leaving {
            Some(Leaving { drain, last }) if Some(*last) != before && !drain.why.is_empty() => {
                let (cause, why, time) = (drain.cause, &drain.why, (*last - now).as_secs());
                (self.tell)(format!(
                    "leaving: {cause} ({why}); what has not started is given back, what runs has {time} s"
                ));
            }
            _ => {}
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Report { results_only: true } => self.calls.results(),
            Effect::Report { results_only: false } => self.calls.urgent(),
            Effect::Fetch { run, attempt, generation } => {
                tokio::spawn(fetch(self.shared.clone(), run, attempt, generation));
            }
            Effect::Start(start) => {
                let (orders, receiver) = mpsc::unbounded_channel();
                self.workers.retain(|_, orders| !orders.is_closed());
                self.workers.insert(start.worker, orders);
                self.shared.logs.open(&start.run, start.attempt);
                self.forget_runs();
                let (ahead, place) = (self.pool.take(&start), (start.slot, start.controller));
                let before = self.tasks.remove(&place);
                let beginning = Beginning { start, orders: receiver, ahead, before };
                self.tasks.insert(place, tokio::spawn(worker::run(self.shared.clone(), beginning)));
            }
            Effect::Feed { worker, attempt, tests, .. } => {
                self.shared.logs.open(&self.core.attempts[&attempt].run, attempt);
                self.order(worker, Order::Feed { attempt, tests })
            }
            Effect::Node { worker, order } => self.order(worker, Order::Node(order)),
            Effect::Reset { worker, .. } => self.order(worker, Order::Reset),
            Effect::Finish { worker, .. } => self.order(worker, Order::Finish),
            Effect::Interrupt { worker, .. } => self.order(worker, Order::Interrupt),
            Effect::Kill { worker, dump_stacks, .. } => self.order(worker, Order::Kill { dump_stacks }),
            Effect::Left => {
                self.left = true;
                if !self.core.attempts.is_empty() {
                    (self.tell)(
                        "leaving with results that the scheduler has not taken in time: their tests run once more".into(),
                    );
                }
            }
        }
    }

    fn order(&self, worker: WorkerId, order: Order) {
        if let Some(orders) = self.workers.get(&worker) {
            let _ = orders.send(order);
        }
    }

    fn forget_runs(&self) {
        let core = &self.core;
        let has_worker =
            |run: &RunId| core.slots.iter().any(|s| s.worker.as_ref().is_some_and(|w| w.run == *run));
        let has_attempt = |run: &RunId| core.attempts.values().any(|attempt| attempt.run == *run);
        let has_controller = |run: &RunId| core.controllers.contains_key(run);
        let has_any = |run: &RunId| has_attempt(run) || has_worker(run) || has_controller(run);
        self.shared.contexts.retain(|run| core.runs.contains(run) || has_any(run));
        self.shared.keeper.retain(|run| core.runs.contains(run) || has_any(run));
    }
}

fn home_in(parent: &Path) -> Result<Home, Error> {
    Home::create(parent).map_err(|source| Error::Directory { path: parent.to_owned(), source })
}

/// Unique enough: the random part of a directory that is ours alone.
fn boot_id(directory: &Path) -> BootId {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{}", since.as_millis()).parse().expect("a directory's random name is a safe id")
}

/// Contents, and the ids they are about: then the core may feed them.
async fn fetch(shared: Shared, run: RunId, attempt: AttemptId, generation: Generation) {
    let fetched = async {
        let context = shared.contexts.get(&run).await?;
        let contents = match shared.connection.bundle(BundleAsked { run, attempt, generation }).await {
            Ok(contents) => contents,
            // A newer generation is desired, or none.
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status.message().to_owned()),
        };
        shared.contexts.learn_ids(&context, attempt, &contents).await?;
        Ok(Some(contents))
    };
    let event = match fetched.await {
        Ok(Some(contents)) => Event::Contents { attempt, contents },
        Ok(None) => return,
        Err(message) => Event::NoContents { attempt, message },
    };
    let _ = shared.events.send(event).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wrong_is_called_by_its_name() {
        let task = tokio::spawn(async { panic!("no such slot") });
        let (notices, tell) = (mpsc::unbounded_channel().0, Arc::new(drop::<String>));
        let failure = Executor { notices, tell, task }.wait().await.unwrap_err().to_string();
        assert!(
            failure.starts_with("the executor broke down: ") && failure.contains("no such slot"),
            "{failure}"
        );
        let failure = home_in("/nowhere".as_ref()).unwrap_err().to_string();
        assert!(failure.starts_with("executor directory /nowhere: "), "{failure}");
    }
}
