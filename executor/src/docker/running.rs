//! Services while tests use them: where they are, and whether they still are.
#![expect(clippy::disallowed_methods, reason = "a shell: an engine that does not answer is asked again")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::{Definition, ImageUsed, Probe, Scope, Service, SlotNumber};
use tokio::task::JoinSet;

use super::disk;
use super::engine::Engine;
use super::error::Error;
use super::lines::{Be, Lines};
use super::ready::end_of;
use super::sandbox::{Beside, Sandbox};
use super::shared::Share;

/// An engine may be restarted under its containers, or not: how often, and after what, one that is away is asked again.
pub const TRIES: u32 = 10;
pub const AGAIN: Duration = Duration::from_secs(1);
/// How long it is waited for the answer whether a service runs, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long what is ready as soon as it runs is to have run.
const MOMENT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Services {
    engine: Engine,
    definition: Arc<Definition>,
    sandbox: Sandbox,
    /// The rights to those of its services that are shared.
    shares: Vec<Arc<Share>>,
}

impl Services {
    pub fn of(engine: &Engine, definition: &Arc<Definition>, sandbox: Sandbox) -> Services {
        Services { engine: engine.clone(), definition: definition.clone(), sandbox, shares: Vec::new() }
    }

    pub(super) fn with(self, shares: Vec<Arc<Share>>) -> Services {
        Services { shares, ..self }
    }

    /// Them, as other sandboxes have them beside their own.
    pub(super) fn neighbours(&self) -> Beside {
        self.sandbox.neighbours()
    }

    /// What it all was made of; of what is shared, as it is there.
    pub fn images(&self) -> Vec<ImageUsed> {
        let shared = self.shares.iter().flat_map(|share| share.images());
        let all = self.sandbox.images.iter().cloned().chain(shared);
        let all: BTreeMap<String, ImageUsed> = all.map(|used| (used.image.clone(), used)).collect();
        all.into_values().collect()
    }

    /// Whether anything is to be done between two bundles.
    pub fn resets(&self) -> bool {
        self.definition.resets()
    }

    /// Makes them clean for the first bundle of a worker, where somebody may have used some of them before.
    pub async fn greet(&self, slot: SlotNumber) -> Result<(), Error> {
        match self.shares.iter().any(|share| share.used_before) {
            true => self.clean(slot, |service| Scope::SHARED.contains(&service.scope)).await,
            false => Ok(()),
        }
    }

    /// Makes them clean for another bundle.
    pub async fn reset(&self, slot: SlotNumber) -> Result<(), Error> {
        self.clean(slot, |_| true).await
    }

    /// `slot`: whose tests leave what is to go.
    async fn clean(&self, slot: SlotNumber, which: impl Fn(&Service) -> bool) -> Result<(), Error> {
        self.shares.iter().for_each(|share| share.begin_cleaning());
        let env = [format!("SEAGULL_SLOT={}", slot.0)];
        for (name, service) in self.definition.services.iter().filter(|(_, service)| which(service)) {
            let container = self.sandbox.container(name);
            let (engine, be) = (&self.engine, Be::Reset);
            Lines { engine, container: &container, service: name, be, env: &env }.run(&service.reset).await?;
        }
        self.shares.iter().for_each(|share| share.has_been_cleaned());
        Ok(())
    }

    /// What whoever uses them from this machine has in its environment.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.sandbox.variables(&self.definition)
    }

    /// Writes what is `/etc/hosts` for whoever uses them from this machine, into a directory of theirs; None where it has nothing of
    /// them.
    pub fn hosts(&self, directory: &Path) -> io::Result<Option<PathBuf>> {
        self.sandbox.hosts(directory)
    }

    /// Waits until one of them has ended, which none is to; for ever where there is none.
    pub async fn broke(&self) -> Error {
        let mut ends = JoinSet::new();
        for name in self.definition.services.keys() {
            let (services, name) = (self.clone(), name.clone());
            ends.spawn(async move { services.end_of(&name).await });
        }
        match ends.join_next().await {
            Some(Ok(error)) => error,
            _ => std::future::pending().await,
        }
    }

    /// What has ended by now. An engine that cannot tell is as bad: it is who finds services by their names.
    pub async fn broken(&self) -> Option<Error> {
        for name in self.definition.services.keys() {
            let container = self.sandbox.container(name);
            match tokio::time::timeout(PATIENCE, self.engine.inspect(&container)).await {
                Ok(Ok(seen)) if seen.running => {}
                Ok(Ok(_)) => return Some(self.gone(name).await),
                Ok(Err(error)) => return Some(error),
                Err(_) => {
                    let why = format!("it does not answer within {} s", PATIENCE.as_secs());
                    return Some(Error::Refused { what: format!("look at the container {container}"), why });
                }
            }
        }
        None
    }

    /// Whether all that were ready run still; after a moment where one was as soon as it ran.
    pub async fn stand(&self) -> Result<(), Error> {
        let was_soon = |service: &Service| service.ready.probe == Probe::Started;
        let soon = self.definition.services.values().any(was_soon);
        let moment = tokio::time::sleep(if soon { MOMENT } else { Duration::ZERO });
        let ended = tokio::select! {
            error = self.broke() => Some(error),
            () = moment => self.broken().await,
        };
        match ended {
            Some(Error::Gone { service, how, log }) => Err(Error::Fallen { service, how, log }),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn end_of(&self, name: &str) -> Error {
        let (engine, container) = (&self.engine, self.sandbox.container(name));
        let limits = &self.definition.services[name].limits;
        tokio::select! {
            ended = end(engine, &container) => match ended {
                Ok(()) => self.gone(name).await,
                Err(error) => error,
            },
            written = disk::over(engine, &container, limits, None) => {
                // Whoever shares it is to have another.
                let _ = engine.signal(&container, "SIGKILL").await;
                let (how, log) = disk::end_of(engine, &container, limits, written).await;
                Error::Gone { service: name.to_owned(), how, log }
            }
        }
    }

    async fn gone(&self, name: &str) -> Error {
        let service = &self.definition.services[name];
        let (how, log) = end_of(&self.engine, &self.sandbox.container(name), service, None).await;
        Error::Gone { service: name.to_owned(), how, log }
    }
}

/// Waits until a container does not run any more; the error says why nobody can tell.
pub async fn end(engine: &Engine, container: &str) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        let waited = engine.wait(container).await;
        match (waited, engine.inspect(container).await) {
            (Ok(_), _) => return Ok(()),
            (Err(_), Ok(seen)) if !seen.running => return Ok(()),
            (Err(_), Ok(_)) => tries = 0,
            (Err(_), Err(error)) if tries == TRIES => return Err(error),
            (Err(_), Err(_)) => tries += 1,
        }
        tokio::time::sleep(AGAIN).await;
    }
}
