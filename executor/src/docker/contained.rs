//! Tests in a container: the engine's end of a worker, from before its files are there until nothing of it runs. It is removed
//! with its sandbox.
#![expect(clippy::disallowed_methods, reason = "a shell: an engine that is away is asked again")]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Signal, getegid, geteuid};
use seagull_domain::{Definition, Limits};
use tokio::sync::mpsc;

use super::container::container_name;
use super::disk;
use super::engine::{Engine, Seen};
use super::error::{Error, LINES};
use super::labels::Labels;
use super::ready::KILLED;
use super::running::{AGAIN, TRIES, end};
use super::sandbox::Reach;
use super::test_container::{Given, TESTS, body, declared, overlay, writable};
use super::{vault, whiteouts};
use crate::control_groups::group_of;
use crate::remove::remove_trees;
use crate::sandbox::{End, Exit, Handle, Meter, Order, OutOfMemory, Sandbox, Spec};
use crate::secrets::Secrets;

/// What the first process of the container hears, for what its worker is to.
const INTERRUPT: &str = "SIGINT";
const DUMP: &str = "SIGUSR1";
const KILL: &str = "SIGKILL";

/// Where tests in a container may write whoever they are.
pub(crate) const INSIDE: &str = "/tmp";

/// Starts workers in containers of a sandbox whose services are up.
#[derive(Clone)]
pub struct Contained {
    pub engine: Engine,
    pub definition: Arc<Definition>,
    pub labels: Labels,
    pub secrets: Arc<Secrets>,
    /// A directory that is empty there: whoever may read all of the tree is not to read what is kept of runs.
    pub hidden: PathBuf,
}

impl Contained {
    /// The interpreter inside.
    pub fn python(&self) -> &str {
        self.definition.environment.container.as_ref().map_or("", |container| &container.python)
    }

    pub fn image(&self) -> &str {
        self.definition.environment.container.as_ref().map_or("", |container| &container.image)
    }

    fn limits(&self) -> Limits {
        self.definition
            .environment
            .container
            .as_ref()
            .map(|container| container.limits.clone())
            .unwrap_or_default()
    }

    pub(super) fn name(&self) -> String {
        container_name(&self.labels, TESTS)
    }

    /// What it is shown of this machine that nobody has made.
    pub(super) fn ground(&self, spec: &Spec) -> io::Result<()> {
        // As of a worker on this machine, nobody else reads it.
        OpenOptions::new().create(true).append(true).mode(0o600).open(&spec.log)?;
        let [upper, work] = writable(spec);
        // Neither may be in what is below it; and what is there would be taken for the suite's.
        if upper.starts_with(&spec.tree) {
            let (upper, tree) = (upper.display(), spec.tree.display());
            return Err(io::Error::other(format!(
                "{upper} is for what tests write, and is in their own files, {tree}\nhint: TMPDIR names a directory elsewhere"
            )));
        }
        [upper, work].iter().try_for_each(fs::create_dir)
    }

    /// It is there, and its first process runs.
    pub(super) async fn begin(&self, spec: &Spec) -> Result<(), Error> {
        let container = self.definition.environment.container.clone().unwrap_or_default();
        let image = self.engine.image(&container.image).await?;
        let volumes = &image.map(|image| image.volumes).unwrap_or_default()[..];
        let table = format!("environment.{}", self.definition.name);
        disk::bounds(&table, &container.limits, declared(&container, volumes))?;
        let has_secrets = !self.secrets.variables().is_empty();
        if has_secrets {
            let kept = vault::keep(&self.labels, TESTS, &self.secrets);
            kept.map_err(|error| Error::Secrets { service: "tests".to_owned(), why: error.to_string() })?;
        }
        self.engine.create_volume(overlay(&self.labels, spec)).await?;
        let user = (geteuid().as_raw(), getegid().as_raw());
        let (labels, networked) = (&self.labels, Reach::Inside.network(&self.definition).is_some());
        let hidden = Some(self.hidden.as_path()).filter(|hidden| hidden.starts_with(&spec.tree));
        let body = body(&container, spec, &Given { labels, volumes, networked, has_secrets, hidden, user });
        self.engine.create_container(self.name(), body).await?;
        self.engine.start_container(&self.name()).await
    }
}

impl Sandbox for Contained {
    fn start(&self, spec: &Spec) -> io::Result<Handle> {
        self.ground(spec)?;
        let meter = Meter::default();
        let attendant = Attendant {
            meter: meter.clone(),
            name: self.name(),
            engine: self.engine.clone(),
            of: self.clone(),
            spec: spec.clone(),
        };
        Ok(Handle::attended(meter, |orders| attendant.attend(orders)))
    }
}

async fn remove(spec: &Spec) -> io::Result<()> {
    let directories = spec.directories.clone();
    tokio::task::spawn_blocking(move || remove_trees(&directories)).await.map_err(io::Error::other).flatten()
}

/// The end of one whose first process was killed.
fn signalled() -> End {
    End::Signal(Signal::KILL.as_raw())
}

struct Attendant {
    engine: Engine,
    name: String,
    meter: Meter,
    of: Contained,
    spec: Spec,
}

impl Attendant {
    async fn attend(self, orders: mpsc::UnboundedReceiver<Order>) -> Exit {
        let mut exit = match self.of.begin(&self.spec).await {
            Ok(()) => self.stand_by(orders).await,
            Err(error) => Exit::of(End::NotStarted(error.to_string())),
        };
        let mut removed = remove(&self.spec).await;
        let is_denied = removed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        if let Some(container) = self.of.definition.environment.container.as_ref().filter(|_| is_denied) {
            let [_, work] = writable(&self.spec);
            // Where that fails, it is told what cannot be removed.
            let _ = whiteouts::remove(&self.engine, &self.of.labels, container, &work).await;
            removed = remove(&self.spec).await;
        }
        exit.directory_left = removed.err().map(|error| error.to_string());
        exit
    }

    /// Until nothing runs in it.
    async fn stand_by(&self, mut orders: mpsc::UnboundedReceiver<Order>) -> Exit {
        let (mut killed, mut over_disk) = (false, None);
        let limits = self.of.limits();
        let [upper, _] = writable(&self.spec);
        let ended = end(&self.engine, &self.name);
        let over = disk::over(&self.engine, &self.name, &limits, Some(&upper));
        let counted = self.count();
        tokio::pin!(ended, over, counted);
        let mut is_counted = false;
        let ended = loop {
            tokio::select! {
                ended = &mut ended => break ended,
                () = &mut counted, if !is_counted => is_counted = true,
                order = orders.recv(), if !killed => {
                    killed = matches!(order, Some(Order::Kill) | None);
                    self.pass_on(order).await;
                }
                written = &mut over, if !killed => {
                    (killed, over_disk) = (true, Some(written));
                    self.pass_on(Some(Order::Kill)).await;
                }
            }
        };
        let exit = self.exit(ended, killed).await;
        // One that has ended by itself meanwhile was not killed for it.
        let over_disk = over_disk.filter(|_| exit.end == signalled() && exit.out_of_memory.is_none());
        Exit { over_disk, ..exit }
    }

    /// What it takes is counted, where it is on this machine.
    async fn count(&self) {
        if let Ok(Seen { pid: Some(pid), id, .. }) = self.engine.inspect(&self.name).await {
            group_of(pid, &id).into_iter().for_each(|group| self.meter.set(group));
        }
    }

    /// An order to what has ended changes nothing.
    async fn pass_on(&self, order: Option<Order>) {
        match order {
            Some(Order::Interrupt) => drop(self.engine.signal(&self.name, INTERRUPT).await),
            Some(Order::DumpStacks) => drop(self.engine.signal(&self.name, DUMP).await),
            Some(Order::Kill) | None => {
                for _ in 0..TRIES {
                    if self.engine.signal(&self.name, KILL).await.is_ok() {
                        break;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// How it ended, by what its first process said last. Where that said nothing, it was killed itself, which nothing inside
    /// can do; or it could not even begin.
    async fn exit(&self, ended: Result<(), Error>, killed: bool) -> Exit {
        if let Err(error) = ended {
            return Exit::of(End::SandboxLost(error.to_string()));
        }
        let said = self.engine.end_of_log(&self.name, LINES).await;
        let said = said.trim_end();
        let (before, last) = said.rsplit_once('\n').unwrap_or(("", said));
        if let Ok(exit) = serde_json::from_str::<Exit>(last) {
            self.log(before);
            // What is inside may not read the log.
            let out_of_memory = exit.out_of_memory.map(|said| self.meter.out_of_memory().unwrap_or(said));
            return Exit { out_of_memory, ..exit };
        }
        self.log(said);
        match self.engine.inspect(&self.name).await {
            Ok(Seen { out_of_memory: true, .. }) => {
                Exit { out_of_memory: Some(OutOfMemory::Limit), ..Exit::of(signalled()) }
            }
            _ if killed => Exit::of(signalled()),
            Ok(Seen { code: Some(code), .. }) if code != KILLED => {
                Exit::of(End::Code(i32::try_from(code).unwrap_or(i32::MAX)))
            }
            Ok(_) => Exit::of(End::SandboxLost("its container was killed from outside".to_owned())),
            Err(error) => Exit::of(End::SandboxLost(error.to_string())),
        }
    }

    /// What was said before there was a log to say it to.
    fn log(&self, text: &str) {
        if !text.is_empty() {
            let log = OpenOptions::new().append(true).open(&self.spec.log);
            let _ = log.and_then(|mut log| writeln!(log, "{text}"));
        }
    }
}
