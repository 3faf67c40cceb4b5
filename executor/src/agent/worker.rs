//! One worker: a sandbox with the framework's process in it, its socket, and what goes over it.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use seagull_domain::{AttemptId, TestIndex, TextRef};
use seagull_executor_core::{Event, Exit, Start, WorkerEvent};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::adapter::{Command, Configure};
use super::connection::Connection;
use super::context::{Context, Contexts};
use super::link::Link;
use super::logs::Logs;
use crate::interpreter;
use crate::sandbox::{Handle, Home, ProcessSandbox, Sandbox, Spec, environment};

/// The adapter's files, which BOOTSTRAP executes.
const ADAPTER: [(&str, &str); 8] = [
    ("held.py", include_str!("../pytest/held.py")),
    ("channel.py", include_str!("../pytest/channel.py")),
    ("describe.py", include_str!("../pytest/describe.py")),
    ("collection.py", include_str!("../pytest/collection.py")),
    ("trouble.py", include_str!("../pytest/trouble.py")),
    ("takeover.py", include_str!("../pytest/takeover.py")),
    ("worker.py", include_str!("../pytest/worker.py")),
    ("process.py", include_str!("../pytest/process.py")),
];
const BOOTSTRAP: &str = include_str!("../pytest/bootstrap.py");

/// Bytes of text kept for one test.
const OUTPUT_LIMIT: usize = 1 << 20;
/// Bytes of what a dead worker wrote outside any test.
const LAST_WORDS: u64 = 16 << 10;
/// How long a worker has to write its stacks before it is killed.
const DUMP: Duration = Duration::from_millis(500);
/// How long what a dead worker had sent may take to arrive.
const DRAIN: Duration = Duration::from_secs(5);

/// What the agent tells a worker's task.
#[derive(Debug)]
pub(crate) enum Order {
    Feed { attempt: AttemptId, tests: Vec<TestIndex> },
    Finish,
    Interrupt,
    Kill { dump_stacks: bool },
}

/// What workers share with their agent.
#[derive(Clone)]
pub(crate) struct Shared {
    pub connection: Connection,
    pub contexts: Contexts,
    pub logs: Logs,
    pub sandboxes: Arc<ProcessSandbox>,
    /// Where sandboxes have their directories.
    pub home: Arc<Home>,
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
    /// The attempt that was fed last: its log takes the worker's text.
    attempt: Arc<AtomicU64>,
    /// Whether the worker takes the signal that has it write its stacks; it would kill another.
    pub dumps: Arc<AtomicBool>,
}

impl Voice {
    /// Waits while the agent is behind; for the link's thread.
    pub fn say(&self, event: WorkerEvent) {
        let Start { slot, worker, .. } = self.start;
        let _ = self.shared.events.blocking_send(Event::Worker { slot, worker, event });
    }

    pub fn log(&self, text: &str) -> Option<TextRef> {
        let attempt = AttemptId(self.attempt.load(Ordering::Relaxed));
        self.shared.logs.append(&self.start.run, attempt, text)
    }
}

/// Starts a worker and serves it until it is gone. Whatever happens, the last event is `Exited` or `NotStarted`.
pub(crate) async fn run(shared: Shared, start: Start, orders: mpsc::UnboundedReceiver<Order>) {
    let (events, slot, worker) = (shared.events.clone(), start.slot, start.worker);
    let event = match launch(shared, start).await {
        Ok(launched) => WorkerEvent::Exited(launched.serve(orders).await),
        Err(message) => WorkerEvent::NotStarted(message),
    };
    let _ = events.send(Event::Worker { slot, worker, event }).await;
}

struct Launched {
    voice: Voice,
    handle: Handle,
    listener: UnixListener,
    log: PathBuf,
    configure: Configure,
}

async fn launch(shared: Shared, start: Start) -> Result<Launched, String> {
    let context = shared.contexts.get(&start.run).await?;
    let name = format!("gw{}-{}", start.number, start.worker.0);
    let io = |error: std::io::Error| format!("cannot make sandbox {name}: {error}");
    let directory = shared.home.sandbox(&name).map_err(io)?;
    write_adapter(&directory.join("adapter")).map_err(io)?;
    let listener = UnixListener::bind(directory.join("socket")).map_err(io)?;
    let python =
        interpreter::find(&context.spec.environment.python, &context.directory).map_err(|e| e.to_string())?;
    let log = directory.with_extension("log");
    let spec = Spec {
        command: [python.as_os_str(), "-c".as_ref(), BOOTSTRAP.as_ref(), directory.as_os_str()]
            .map(Into::into)
            .into(),
        env: environment(std::env::vars_os(), &variables(&context), &directory),
        cwd: context.directory.clone(),
        directory: directory.clone(),
        log: log.clone(),
        mounts: Vec::new(),
    };
    let handle = shared.sandboxes.start(&spec).map_err(|error| error.to_string())?;
    let configure = configure(&shared, &context, &start, &directory);
    let attempt = Arc::new(AtomicU64::new(start.attempt.0));
    Ok(Launched {
        voice: Voice { shared, start, context, attempt, dumps: Arc::default() },
        handle,
        listener,
        log,
        configure,
    })
}

fn write_adapter(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir(directory)?;
    ADAPTER.iter().try_for_each(|(name, source)| std::fs::write(directory.join(name), source))
}

/// One hash seed for all workers of a run, so that ids made from sets are the same in each.
fn variables(context: &Context) -> Vec<(String, String)> {
    let hash_seed = std::env::var("PYTHONHASHSEED").unwrap_or_else(|_| context.spec.seed.to_string());
    let given = context.spec.environment.variables.clone();
    std::iter::once(("PYTHONHASHSEED".to_owned(), hash_seed)).chain(given).collect()
}

fn configure(shared: &Shared, context: &Context, start: &Start, directory: &Path) -> Configure {
    let cache = shared.caches.join(format!("gw{}", start.number));
    Configure {
        args: context.spec.arguments.clone(),
        slot: start.number.0,
        slots: start.slots,
        run: context.spec.id.to_string(),
        seed: context.spec.seed,
        basetemp: directory.join("basetemp").display().to_string(),
        cache_dir: cache.display().to_string(),
        discover: start.discover,
        whole: start.whole,
        output_limit: OUTPUT_LIMIT,
    }
}

impl Launched {
    async fn serve(mut self, mut orders: mpsc::UnboundedReceiver<Order>) -> Exit {
        let stream = loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => break Some(stream),
                    Err(_) => break None,
                },
                _ = self.handle.wait() => break None,
                order = orders.recv() => self.obey(order, None).await,
            }
        };
        let heard = match stream.and_then(|stream| stream.into_std().ok()) {
            Some(stream) => self.converse(stream, &mut orders).await,
            None => None,
        };
        let exit = self.handle.wait().await;
        if let Some(heard) = heard {
            let _ = tokio::time::timeout(DRAIN, heard).await;
        }
        let text = self.voice.log(&tail(&self.log));
        let _ = std::fs::remove_file(&self.log);
        Exit { how: exit.end.to_string(), text }
    }

    /// Serves a connected worker until its process is gone; what comes back is sent when all it said is heard.
    async fn converse(
        &mut self,
        stream: UnixStream,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Option<oneshot::Receiver<()>> {
        let (link, heard) = Link::open(stream, self.voice.clone()).ok()?;
        link.send(&Command::Configure(Box::new(std::mem::take(&mut self.configure))));
        loop {
            tokio::select! {
                _ = self.handle.wait() => return Some(heard),
                order = orders.recv() => self.obey(order, Some(&link)).await,
            }
        }
    }

    async fn obey(&mut self, order: Option<Order>, link: Option<&Link>) {
        match (order, link) {
            (Some(Order::Feed { attempt, tests }), Some(link)) => {
                self.voice.attempt.store(attempt.0, Ordering::Relaxed);
                let ids = tests.iter().filter_map(|test| Some((test.0, self.voice.context.id(*test)?)));
                link.send(&Command::Run { tests: ids.collect() });
            }
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
            (Some(Order::Feed { .. } | Order::Finish), None) => {}
        }
    }
}

/// The end of a file, as text.
fn tail(path: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS)))?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
