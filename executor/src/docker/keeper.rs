//! The sandboxes of services of one executor. Each is removed by whoever holds it; what an executor leaves that is killed,
//! by its guard; and what is left in spite of both, by looking at the engine every minute.
#![expect(clippy::disallowed_methods, reason = "a shell: it looks again and again")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use seagull_domain::Definition;

use super::contained::Contained;
use super::engine::Engine;
use super::error::Error;
use super::guard::Guard;
use super::labels::{Labels, digest};
use super::objects::Object;
use super::running::Services;
use super::sandbox::{Progress, Reach, Sandbox, Start, discard};
use super::site::{Site, now};
use crate::sandbox::Children;
use crate::secrets::Secrets;
use crate::setup::Tell;

/// Objects are to be gone by then at the latest, whatever becomes of the machine that would remove them; far longer than
/// any worker lives.
const LEASE: Duration = Duration::from_secs(7 * 24 * 3600);
const LOOK: Duration = Duration::from_secs(60);

pub struct Keeper {
    state: PathBuf,
    /// The executor's directory, which the guard removes with what it leaves on the engine.
    home: PathBuf,
    owner: String,
    children: Arc<Children>,
    tell: Tell,
    /// Once there is something to guard.
    guarded: tokio::sync::Mutex<Option<Guarded>>,
    /// Sandboxes that are held.
    live: Mutex<BTreeSet<String>>,
}

struct Guarded {
    site: Site,
    guard: Guard,
}

impl Keeper {
    /// `boot`: what no other process has. Where there were sandboxes before, what is left of these is removed.
    pub fn new(state: &Path, home: &Path, boot: &str, children: Arc<Children>, tell: Tell) -> Arc<Keeper> {
        let owner = blake3::hash(boot.as_bytes()).to_hex()[..16].to_owned();
        let (state, home) = (state.to_owned(), home.to_owned());
        let (guarded, live) = Default::default();
        let keeper = Arc::new(Keeper { state, home, owner, children, tell, guarded, live });
        if keeper.state.join(Site::DIRECTORY).is_dir() {
            keeper.look();
        }
        keeper
    }

    /// A sandbox that is to start. `name`: what no other sandbox of this process has.
    pub async fn hold(self: &Arc<Self>, definition: Arc<Definition>, name: &str) -> Result<Held, Error> {
        let engine = Engine::connect().await?;
        let site = self.guarded().await?;
        let labels = Labels {
            lock: site.lock(&self.owner),
            installation: site.installation.clone(),
            owner: self.owner.clone(),
            sandbox: format!("{}-{name}", self.owner),
            lease: now() + LEASE.as_secs(),
            environment: definition.name.clone(),
            definition: digest(&definition),
        };
        self.live().insert(labels.sandbox.clone());
        Ok(Held { keeper: self.clone(), engine, site, definition, labels })
    }

    /// Removes what is on the engine though nobody holds it: of this executor, and of those of the same state directory
    /// that are dead.
    pub async fn reconcile(&self) -> Result<usize, Error> {
        let failed = |error: std::io::Error| Error::Unguarded { why: error.to_string() };
        let site = Site::open(&self.state).map_err(failed)?;
        let engine = Engine::connect().await?;
        // What begins after the list was made is not on it.
        let objects = site.objects(&engine).await?;
        let live = self.live().clone();
        let is_left = |object: &Object| match object.labels.owner == self.owner {
            true => !live.contains(&object.labels.sandbox),
            false => Site::judge(Some(&site), &object.labels, now()).is_some(),
        };
        let left: Vec<Object> = objects.into_iter().filter(is_left).collect();
        engine.remove(&left).await?;
        site.tidy(&engine, now()).await?;
        Ok(left.len())
    }

    /// The guard goes: nothing is left for it.
    pub async fn end(&self) {
        if let Some(Guarded { guard, .. }) = self.guarded.lock().await.take() {
            let _ = tokio::task::spawn_blocking(move || guard.end()).await;
        }
    }

    /// Sees to it that there is a guard before there is anything to guard.
    async fn guarded(self: &Arc<Self>) -> Result<Site, Error> {
        let mut guarded = self.guarded.lock().await;
        let was_there = guarded.is_some();
        if let Some(Guarded { site, guard }) = &mut *guarded
            && guard.is_alive()
        {
            return Ok(site.clone());
        }
        let (state, owner, children) = (self.state.clone(), self.owner.clone(), self.children.clone());
        let home = self.home.clone();
        let started = tokio::task::spawn_blocking(move || {
            let site = Site::open(&state)?;
            let lease = now() + LEASE.as_secs();
            let start = || Guard::start(&site.lock(&owner), &owner, lease, Some(&home));
            let guard = children.beside(Guard::pid, start)?;
            Ok((site, guard))
        });
        let started: std::io::Result<_> =
            started.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let (site, guard) = started.map_err(|error| Error::Unguarded { why: error.to_string() })?;
        *guarded = Some(Guarded { site: site.clone(), guard });
        if !was_there {
            self.look();
        }
        Ok(site)
    }

    /// Looks now, and every minute for as long as this lives.
    fn look(self: &Arc<Self>) {
        let keeper: Weak<Keeper> = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(keeper) = keeper.upgrade() {
                match keeper.reconcile().await {
                    Ok(removed) if removed > 0 => {
                        (keeper.tell)(format!(
                            "removed {removed} objects on the Docker engine that nobody held"
                        ));
                    }
                    // It is tried again, and whoever needs the engine says what is wrong with it.
                    _ => {}
                }
                drop(keeper);
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    fn live(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sandbox from before its first object until after its last.
pub struct Held {
    keeper: Arc<Keeper>,
    engine: Engine,
    site: Site,
    definition: Arc<Definition>,
    labels: Labels,
}

impl Held {
    pub async fn start(&self) -> Result<Services, Error> {
        let tell = self.keeper.tell.clone();
        let tell = move |progress| {
            if let Progress::Fetching { image, here: 0, all: 0 } = progress {
                tell(format!("fetching the image {image}"));
            }
        };
        let sandbox = Sandbox::start(Start {
            engine: self.engine.clone(),
            site: self.site.clone(),
            definition: self.definition.clone(),
            labels: self.labels.clone(),
            reach: Reach::of(&self.definition),
            tell: Arc::new(tell),
        });
        let sandbox = sandbox.await?;
        Ok(Services::of(&self.engine, &self.definition, sandbox))
    }

    /// Where its tests run, once its services are up.
    pub fn contained(&self, secrets: Arc<Secrets>) -> Contained {
        let (engine, definition) = (self.engine.clone(), self.definition.clone());
        Contained { engine, definition, labels: self.labels.clone(), secrets }
    }

    /// What cannot be removed now is when the engine is looked at.
    pub async fn remove(self) {
        let _ = discard(&self.engine, &self.labels).await;
        self.keeper.live().remove(&self.labels.sandbox);
    }
}
