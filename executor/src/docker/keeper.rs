//! The sandboxes of services of one executor. Each is removed by whoever holds it; what an executor leaves that is killed,
//! by its guard; and what is left in spite of both, by looking at the engine every minute.
#![expect(clippy::disallowed_methods, reason = "a shell: it looks again and again")]

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use seagull_domain::{Definition, Environment, Hold, RunId, Scope};

use super::contained::Contained;
use super::container::container_name;
use super::engine::Engine;
use super::error::{Error, LINES, quoted, without_log};
use super::guard::Guard;
use super::hold::{Holder, Holds};
use super::labels::{Labels, digest};
use super::objects::Object;
use super::progress::{Going, Progress};
use super::running::{AGAIN, Services, TRIES};
use super::sandbox::{Beside, Reach, Sandbox, Start, discard, discard_tests};
use super::shared::{Common, Key, Share};
use super::site::{Site, now};
use super::template::with_contents;
use super::vault;
use crate::sandbox::Children;
use crate::secrets::Secrets;
use crate::setup::Tell;

/// Objects are to be gone by then at the latest, whatever becomes of the machine that would remove them; far longer than
/// any worker lives.
const LEASE: Duration = Duration::from_secs(7 * 24 * 3600);
const LOOK: Duration = Duration::from_secs(60);
/// How long it is waited for a word of an engine.
const PATIENCE: Duration = Duration::from_secs(2);
/// What sandboxes that are shared are of, instead of an environment: no environment is called so. An engine publishes ports by
/// the first network of a container, in the order of their names, and at others when that changes: it is this one.
const SHARED: &str = "-shared";

/// What a keeper is of.
pub struct Options {
    pub state: PathBuf,
    /// The executor's directory, which the guard removes with what it leaves on the engine.
    pub home: PathBuf,
    /// What no other process has.
    pub boot: String,
    /// How many bytes of images that were fetched are kept.
    pub image_bytes: u64,
}

pub struct Keeper {
    state: PathBuf,
    /// The executor's directory, which the guard removes with what it leaves on the engine.
    home: PathBuf,
    owner: String,
    children: Arc<Children>,
    /// How many bytes of images that were fetched are kept.
    image_bytes: u64,
    tell: Tell,
    /// Once there is something to guard.
    guarded: tokio::sync::Mutex<Option<Guarded>>,
    /// Sandboxes that are held.
    live: Mutex<BTreeSet<String>>,
    /// What of sandboxes they share, and how often there was one: each has a name of its own.
    common: Common,
    shared: AtomicU64,
    holds: Arc<Holds>,
    /// What kept services from being made clean last, without what was said.
    told_of_reset: Mutex<String>,
    /// Whether there was an engine.
    answered: AtomicBool,
}

/// A sandbox that somebody wants.
pub struct Wanted {
    pub definition: Arc<Definition>,
    pub run: RunId,
    /// Those of the run.
    pub secrets: Arc<Secrets>,
    /// What no other sandbox of this process has.
    pub name: String,
    /// What stays as long as anything that is shown of the run's files.
    pub files: Arc<dyn Any + Send + Sync>,
    /// How long it stays after a test has failed there.
    pub hold: Option<Duration>,
}

struct Guarded {
    site: Site,
    guard: Guard,
}

impl Keeper {
    /// Where there were sandboxes before, what is left of these is removed.
    pub fn new(options: Options, children: Arc<Children>, tell: Tell) -> Arc<Keeper> {
        let Options { state, home, boot, image_bytes } = options;
        let owner = blake3::hash(boot.as_bytes()).to_hex()[..16].to_owned();
        let (guarded, live, common, shared, holds, told_of_reset, answered) = Default::default();
        let keeper = Arc::new(Keeper {
            state,
            home,
            owner,
            children,
            image_bytes,
            tell,
            guarded,
            live,
            common,
            shared,
            holds,
            told_of_reset,
            answered,
        });
        if keeper.state.join(Site::DIRECTORY).is_dir() {
            keeper.look();
        }
        keeper
    }

    /// A sandbox that is to start.
    pub async fn hold(self: &Arc<Self>, wanted: Wanted) -> Result<Held, Error> {
        let engine = self.engine().await?.hiding(&wanted.secrets, &wanted.definition);
        let site = self.guarded().await?;
        let mut labels = self.labels(&site, &wanted.definition, &wanted.name);
        let stays = if let Some(lasts) = wanted.hold.filter(|_| wanted.definition.has_own_services()) {
            labels.owner.clone_from(&labels.sandbox);
            labels.lock = site.lock(&labels.owner);
            let guard = self.guard(&labels).await?;
            Some(Stays { guard, holder: Holder::new(&self.holds, &labels, lasts) })
        } else {
            None
        };
        self.live().insert(labels.sandbox.clone());
        let (keeper, shares, going) = (self.clone(), Vec::new(), Arc::default());
        Ok(Held { keeper, engine, site, wanted, labels, shares, going, stays })
    }

    /// One that has answered before may be about to start again, and is waited for.
    async fn engine(&self) -> Result<Engine, Error> {
        let mut tries = if self.answered.load(Ordering::Relaxed) { TRIES } else { 0 };
        loop {
            match Engine::connect().await {
                Err(_) if tries > 0 => tries -= 1,
                engine => {
                    self.answered.fetch_or(engine.is_ok(), Ordering::Relaxed);
                    return engine;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A guard of what has an owner of its own.
    async fn guard(&self, labels: &Labels) -> Result<Guard, Error> {
        let (children, labels) = (self.children.clone(), labels.clone());
        let start = move || Guard::start(&labels.lock, &labels.owner, labels.lease, None);
        let started = tokio::task::spawn_blocking(move || children.beside(Guard::pid, start));
        let started = started.await.map_err(std::io::Error::other).flatten();
        started.map_err(|error| Error::Unguarded { why: error.to_string() })
    }

    fn labels(&self, site: &Site, definition: &Definition, name: &str) -> Labels {
        Labels {
            lock: site.lock(&self.owner),
            installation: site.installation.clone(),
            owner: self.owner.clone(),
            sandbox: format!("{}-{name}", self.owner),
            lease: now() + LEASE.as_secs(),
            environment: definition.name.clone(),
            definition: digest(definition),
        }
    }

    /// A worker's services could not be made clean for another bundle. What is so each time is told in full once.
    pub fn tell_of_reset(&self, worker: &str, error: &str) {
        let short = without_log(error);
        let mut told = self.told_of_reset.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = std::mem::replace(&mut *told, short.to_owned()) == short;
        (self.tell)(format!("{worker} gets new services: {}", if is_known { short } else { error }));
    }

    /// A sandbox could not be made before a worker needed it. If that cannot either, all of it is told.
    pub fn tell_of_ahead(&self, environment: &str, error: &str) {
        let why = without_log(error);
        (self.tell)(format!("a sandbox of {environment} was not ready ahead, its worker makes one: {why}"));
    }

    /// What is shared in other runs than these goes when nobody uses it any more.
    pub fn retain(self: &Arc<Self>, keep: impl Fn(&RunId) -> bool) {
        if self.common.retain(keep) {
            let keeper = self.clone();
            tokio::spawn(async move { keeper.common.sweep().await });
        }
    }

    /// Removes what is on the engine though nobody holds it: of this executor, and of those of the same state directory
    /// that are dead.
    pub async fn reconcile(&self) -> Result<usize, Error> {
        let failed = |error: std::io::Error| Error::Unguarded { why: error.to_string() };
        let site = Site::open(&self.state).map_err(failed)?;
        let engine = Engine::connect().await?;
        self.common.sweep().await;
        // What begins after the list was made is not on it.
        let objects = site.objects(&engine).await?;
        let live = self.live().clone();
        let is_left = |object: &Object| match object.labels.owner == self.owner {
            true => !live.contains(&object.labels.sandbox) && !self.common.has(&object.labels.sandbox),
            false => Site::judge(Some(&site), &object.labels, now()).is_some(),
        };
        let left: Vec<Object> = objects.into_iter().filter(is_left).collect();
        engine.remove(&left).await?;
        vault::sweep(&site, Some(&self.owner), now());
        site.tidy(&engine, now()).await?;
        for image in site.spent_images(&engine, now(), self.image_bytes).await? {
            if site.remove_image(&engine, &image).await? {
                (self.tell)(format!("removed the image {}, which was used longest ago", image.image));
            }
        }
        Ok(left.len())
    }

    /// What is shared goes, and the guard: nothing is left for it.
    pub async fn end(&self) {
        self.common.end().await;
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

/// The digest of services: whatever else their environment is, and wherever the files are that they are shown.
async fn written(part: Definition) -> Result<String, Error> {
    let name = part.services.keys().next().cloned().unwrap_or_default();
    let read = move || {
        let services = part.services.iter();
        let services = services.map(|(name, service)| Ok((name.clone(), with_contents(service)?)));
        let services = services.collect::<std::io::Result<_>>()?;
        Ok(digest(&Definition { environment: Environment::default(), services, ..part }))
    };
    let read: std::io::Result<String> =
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    read.map_err(|error| Error::Refused { what: format!("show {name} its files"), why: error.to_string() })
}

/// A sandbox from before its first object until after its last.
pub struct Held {
    keeper: Arc<Keeper>,
    engine: Engine,
    site: Site,
    wanted: Wanted,
    labels: Labels,
    shares: Vec<Arc<Share>>,
    /// What goes on while it starts.
    going: Arc<Mutex<Going>>,
    /// Where it may stay.
    stays: Option<Stays>,
}

struct Stays {
    guard: Guard,
    holder: Holder,
}

impl Held {
    /// Starts it, beside what it shares with others.
    pub async fn start(&mut self) -> Result<Services, Error> {
        let mut beside = Beside::new();
        for scope in Scope::SHARED {
            if let Some(part) = self.wanted.definition.of_scope(scope) {
                let (services, share) = self.share(scope, part, &beside).await?;
                beside.extend(services.neighbours());
                self.shares.push(Arc::new(share));
            }
        }
        let definition = self.wanted.definition.clone();
        let start = self.to_start(self.engine.clone(), definition.clone(), self.labels.clone(), beside);
        let sandbox = Sandbox::start(start).await?;
        Ok(Services::of(&self.engine, &definition, sandbox).with(self.shares.clone()))
    }

    async fn share(
        &self,
        scope: Scope,
        part: Definition,
        beside: &Beside,
    ) -> Result<(Services, Share), Error> {
        let reach = Reach::of(&part);
        let part = Definition { name: SHARED.to_owned(), ..part };
        let run = (scope == Scope::Run).then(|| self.wanted.run.clone());
        let written = written(part.clone()).await?;
        let place = format!("{reach:?} {:?}", reach.network(&part));
        let around: String = beside.values().map(|neighbour| format!(" {}", neighbour.container)).collect();
        let key = Key { run, definition: format!("{written} {place}{around}") };
        let (keeper, part) = (&self.keeper, Arc::new(part));
        let engine = Engine::connect().await?.hiding(&self.wanted.secrets, &part);
        let start = || {
            let name = format!("shared-{:06}", keeper.shared.fetch_add(1, Ordering::Relaxed) + 1);
            let labels = keeper.labels(&self.site, &part, &name);
            self.to_start(engine.clone(), part.clone(), labels, beside.clone())
        };
        keeper.common.share(key, self.wanted.files.clone(), start).await
    }

    fn to_start(&self, engine: Engine, definition: Arc<Definition>, labels: Labels, beside: Beside) -> Start {
        let (tell, going) = (self.keeper.tell.clone(), self.going.clone());
        let tell = move |progress: Progress| {
            going.lock().unwrap_or_else(PoisonError::into_inner).take(&progress);
            if let Progress::Fetching { image, here: 0, all: 0 } = progress {
                tell(format!("fetching the image {image}"));
            }
        };
        let (site, reach) = (self.site.clone(), Reach::of(&definition));
        let pinned = BTreeMap::new();
        Start { engine, site, definition, labels, reach, beside, pinned, tell: Arc::new(tell) }
    }

    /// Where its tests run, once its services are up.
    pub fn contained(&self) -> Contained {
        let (engine, definition) = (self.engine.clone(), self.wanted.definition.clone());
        // A tree is named without links.
        let state = &self.keeper.state;
        let hidden = state.canonicalize().unwrap_or_else(|_| state.clone());
        let secrets = self.wanted.secrets.clone();
        Contained { engine, definition, labels: self.labels.clone(), secrets, hidden }
    }

    /// What it is waited for while it starts, with the last lines of services that are not ready.
    pub async fn awaited(&self) -> String {
        if !matches!(tokio::time::timeout(PATIENCE, self.engine.docker.ping()).await, Ok(Ok(_))) {
            return "the Docker engine does not answer".to_owned();
        }
        let (fetching, starting): (Option<String>, Vec<_>) = {
            let going = self.going.lock().unwrap_or_else(PoisonError::into_inner);
            let starting = going.starting().map(|(service, why)| (service.to_owned(), why.to_owned()));
            (going.fetching().map(str::to_owned), starting.collect())
        };
        let mut awaited = Vec::from_iter(fetching);
        for (service, why) in starting {
            // What is shared is another sandbox's.
            let is_own = self
                .wanted
                .definition
                .services
                .get(&service)
                .is_some_and(|of| !Scope::SHARED.contains(&of.scope));
            let container = container_name(&self.labels, &service);
            let log = match is_own {
                true => {
                    let log = tokio::time::timeout(PATIENCE, self.engine.last_lines(&container, LINES)).await;
                    quoted(&log.unwrap_or_default())
                }
                false => String::new(),
            };
            awaited.push(format!("{service} is not ready: {why}{log}"));
        }
        let shared = Scope::SHARED.into_iter().filter_map(|scope| self.wanted.definition.of_scope(scope));
        match awaited.is_empty() {
            true if shared.count() > self.shares.len() => "what workers share is not ready".to_owned(),
            true => "the Docker engine makes its sandbox".to_owned(),
            false => awaited.join("\n"),
        }
    }

    /// What a failed test may have it kept by.
    pub fn holder(&self) -> Option<Holder> {
        self.stays.as_ref().map(|stays| stays.holder.clone())
    }

    /// What cannot be removed now is when the engine is looked at. What is to stay is left to its guard.
    pub async fn remove(mut self) {
        match self.stays.take() {
            Some(stays) => self.end(stays).await,
            None => drop(discard(&self.engine, &self.labels).await),
        }
        self.keeper.live().remove(&self.labels.sandbox);
        self.shares.iter().for_each(|share| share.end());
        self.keeper.common.sweep().await;
    }

    async fn end(&self, Stays { mut guard, holder }: Stays) {
        let hold = holder.held();
        if let Some(hold) = hold
            && self.leave(hold, &mut guard).await.is_ok()
        {
            return self.keeper.holds.settle(Some(guard));
        }
        let _ = discard(&self.engine, &self.labels).await;
        let (children, pid) = (self.keeper.children.clone(), i32::try_from(guard.pid()));
        let _ = tokio::task::spawn_blocking(move || guard.end()).await;
        pid.iter().for_each(|pid| children.forget(*pid));
        if hold.is_some() {
            self.keeper.holds.settle(None);
        }
    }

    /// All but what tests ran in stays.
    async fn leave(&self, hold: &Hold, guard: &mut Guard) -> Result<(), Error> {
        discard_tests(&self.engine, &self.labels).await?;
        let kept = self.site.hand_over(hold).and_then(|()| guard.keep_until(hold.until));
        kept.map_err(|error| Error::Unguarded { why: error.to_string() })
    }
}
