//! Services while tests use them: where they are, and whether they still are.
#![expect(clippy::disallowed_methods, reason = "a shell: an engine that does not answer is asked again")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::Definition;
use tokio::task::JoinSet;

use super::engine::Engine;
use super::error::Error;
use super::ready::end_of;
use super::sandbox::Sandbox;

/// An engine may be restarted under its containers, or not: how often, and after what, one that is away is asked again.
pub const TRIES: u32 = 10;
pub const AGAIN: Duration = Duration::from_secs(1);
/// How long it is waited for the answer whether a service runs.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Services {
    engine: Engine,
    definition: Arc<Definition>,
    sandbox: Sandbox,
}

impl Services {
    pub fn of(engine: &Engine, definition: &Arc<Definition>, sandbox: Sandbox) -> Services {
        Services { engine: engine.clone(), definition: definition.clone(), sandbox }
    }

    /// What whoever uses them from this machine has in its environment.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.sandbox.variables(&self.definition)
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

    /// What has ended by now. An engine that does not answer is none that says so.
    pub async fn broken(&self) -> Option<Error> {
        for name in self.definition.services.keys() {
            let looked =
                tokio::time::timeout(PATIENCE, self.engine.inspect(&self.sandbox.container(name))).await;
            if matches!(&looked, Ok(Ok(seen)) if !seen.running) {
                return Some(self.gone(name).await);
            }
        }
        None
    }

    async fn end_of(&self, name: &str) -> Error {
        match end(&self.engine, &self.sandbox.container(name)).await {
            Ok(()) => self.gone(name).await,
            Err(error) => error,
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
