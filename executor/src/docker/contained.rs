//! Tests in a container: the engine's end of a worker, from before its files are there until nothing of it runs. It is removed
//! with its sandbox.
#![expect(clippy::disallowed_methods, reason = "a shell: an engine that is away is asked again")]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use rustix::process::{Signal, getegid, geteuid};
use seagull_domain::{Definition, TestContainer};
use tokio::sync::mpsc;

use super::container::container_name;
use super::engine::{Engine, Seen};
use super::error::{Error, LINES};
use super::labels::Labels;
use super::ready::KILLED;
use super::running::{AGAIN, TRIES, end};
use super::sandbox::Reach;
use super::test_container::{Given, TESTS, body, overlay, writable};
use super::vault;
use crate::remove::remove_trees;
use crate::sandbox::{End, Exit, Handle, Order, OutOfMemory, Sandbox, Spec};
use crate::secrets::Secrets;

/// What the first process of the container hears, for what its worker is to.
const INTERRUPT: &str = "SIGINT";
const DUMP: &str = "SIGUSR1";
const KILL: &str = "SIGKILL";

/// Starts workers in containers of a sandbox whose services are up.
pub struct Contained {
    pub(super) engine: Engine,
    pub(super) definition: Arc<Definition>,
    pub(super) labels: Labels,
    pub(super) secrets: Arc<Secrets>,
}

impl Contained {
    /// The interpreter inside.
    pub fn python(&self) -> &str {
        self.definition.environment.container.as_ref().map_or("", |container| &container.python)
    }
}

impl Sandbox for Contained {
    fn start(&self, spec: &Spec) -> io::Result<Handle> {
        let container = self.definition.environment.container.clone();
        let container = container.ok_or_else(|| io::Error::other("its environment has no image"))?;
        // As of a worker on this machine, nobody else reads it.
        OpenOptions::new().create(true).append(true).mode(0o600).open(&spec.log)?;
        writable(spec).iter().try_for_each(fs::create_dir)?;
        let attendant = Attendant {
            name: container_name(&self.labels, TESTS),
            engine: self.engine.clone(),
            networked: Reach::Inside.network(&self.definition).is_some(),
            container,
            labels: self.labels.clone(),
            secrets: self.secrets.clone(),
            spec: spec.clone(),
        };
        Ok(Handle::attended(|orders| attendant.attend(orders)))
    }
}

struct Attendant {
    engine: Engine,
    name: String,
    container: TestContainer,
    networked: bool,
    labels: Labels,
    secrets: Arc<Secrets>,
    spec: Spec,
}

impl Attendant {
    async fn attend(self, orders: mpsc::UnboundedReceiver<Order>) -> Exit {
        let mut exit = match self.begin().await {
            Ok(()) => self.stand_by(orders).await,
            Err(error) => Exit::of(End::NotStarted(error.to_string())),
        };
        let removed = tokio::task::spawn_blocking(move || remove_trees(&self.spec.directories)).await;
        exit.directory_left =
            removed.map_err(io::Error::other).flatten().err().map(|error| error.to_string());
        exit
    }

    async fn begin(&self) -> Result<(), Error> {
        let image = self.engine.image(&self.container.image).await?;
        let volumes = image.map(|image| image.volumes).unwrap_or_default();
        let has_secrets = !self.secrets.variables().is_empty();
        if has_secrets {
            let kept = vault::keep(&self.labels, TESTS, &self.secrets);
            kept.map_err(|error| Error::Secrets { service: "tests".to_owned(), why: error.to_string() })?;
        }
        self.engine.create_volume(overlay(&self.labels, &self.spec)).await?;
        let user = (geteuid().as_raw(), getegid().as_raw());
        let (labels, volumes, networked) = (&self.labels, &volumes[..], self.networked);
        let body =
            body(&self.container, &self.spec, &Given { labels, volumes, networked, has_secrets, user });
        self.engine.create_container(self.name.clone(), body).await?;
        self.engine.start_container(&self.name).await
    }

    /// Until nothing runs in it.
    async fn stand_by(&self, mut orders: mpsc::UnboundedReceiver<Order>) -> Exit {
        let mut killed = false;
        let ended = end(&self.engine, &self.name);
        tokio::pin!(ended);
        let ended = loop {
            tokio::select! {
                ended = &mut ended => break ended,
                order = orders.recv(), if !killed => {
                    killed = matches!(order, Some(Order::Kill) | None);
                    self.pass_on(order).await;
                }
            }
        };
        self.exit(ended, killed).await
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
        let said = self.engine.last_lines(&self.name, LINES).await;
        let said = said.trim_end();
        let (before, last) = said.rsplit_once('\n').unwrap_or(("", said));
        if let Ok(exit) = serde_json::from_str(last) {
            self.log(before);
            return exit;
        }
        self.log(said);
        let signalled = || End::Signal(Signal::KILL.as_raw());
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
