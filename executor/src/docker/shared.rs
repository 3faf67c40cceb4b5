//! Services that the workers of one executor share: up from when somebody needs them until nobody has for a while.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: sandboxes start by tasks of their own, and time enters here"
)]

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seagull_domain::{ImageUsed, RunId};
use tokio::sync::watch;

use super::engine::Engine;
use super::error::Error;
use super::labels::Labels;
use super::running::Services;
use super::sandbox::{Sandbox, Start, discard};

/// How long one that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(300);

/// The same for those that can share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// The only run that it is for, if it is for one.
    pub run: Option<RunId>,
    /// What is written of it, where it is used, and beside what.
    pub definition: String,
}

/// The sandboxes that are shared.
#[derive(Default)]
pub(super) struct Common {
    all: Mutex<Vec<Arc<Shared>>>,
}

/// A sandbox that is shared, from before its first object until after its last.
struct Shared {
    key: Key,
    engine: Engine,
    labels: Labels,
    started: watch::Receiver<Option<Result<Services, Error>>>,
    used: Mutex<Used>,
    /// What its files are of stays as long as it does.
    _files: Arc<dyn Any + Send + Sync>,
}

struct Used {
    /// By so many now.
    by: u32,
    /// When somebody began or ended to.
    last: Instant,
    /// Whether anybody has before.
    before: bool,
    /// Nobody else gets it.
    spoilt: bool,
}

/// The right to use one.
pub(super) struct Share {
    of: Arc<Shared>,
    /// What somebody had left there when this began.
    pub used_before: bool,
    /// Whether it is being made clean, and may be half so.
    cleaning: AtomicBool,
    ended: AtomicBool,
}

impl Common {
    /// Waits until it is up. `start` begins one; `files`: what is to stay as long as it does.
    pub async fn share(
        &self,
        key: Key,
        files: Arc<dyn Any + Send + Sync>,
        start: impl Fn() -> Start,
    ) -> Result<(Services, Share), Error> {
        loop {
            let share = self.one(&key, &files, &start);
            let services = share.of.up().await;
            match &services {
                Ok(services) if services.broken().await.is_none() => {}
                // It is gone under others: there is to be another.
                Ok(_) => {
                    share.of.used().spoilt = true;
                    continue;
                }
                Err(_) => share.of.used().spoilt = true,
            }
            return Ok((services?, share));
        }
    }

    fn one(&self, key: &Key, files: &Arc<dyn Any + Send + Sync>, start: &impl Fn() -> Start) -> Share {
        let mut all = self.all();
        let found = all.iter().find(|one| one.key == *key && !one.used().spoilt).cloned();
        let of = found.unwrap_or_else(|| {
            let made = Arc::new(Shared::begin(key.clone(), files.clone(), start()));
            all.push(made.clone());
            made
        });
        let used_before = {
            let mut used = of.used();
            used.by += 1;
            used.last = Instant::now();
            std::mem::replace(&mut used.before, true)
        };
        Share { of, used_before, cleaning: AtomicBool::new(false), ended: AtomicBool::new(false) }
    }

    /// Whether a sandbox is one of these.
    pub fn has(&self, sandbox: &str) -> bool {
        self.all().iter().any(|one| one.labels.sandbox == sandbox)
    }

    /// Those of other runs than these are for nobody any more.
    pub fn retain(&self, keep: impl Fn(&RunId) -> bool) -> bool {
        let all = self.all();
        let over = all.iter().filter(|one| one.key.run.as_ref().is_some_and(|run| !keep(run)));
        over.map(|one| std::mem::replace(&mut one.used().spoilt, true)).any(|was_spoilt| !was_spoilt)
    }

    /// Removes what nobody uses, nor is going to.
    pub async fn sweep(&self) {
        self.remove(Used::is_over).await;
    }

    /// Removes all.
    pub async fn end(&self) {
        self.remove(|_| true).await;
    }

    async fn remove(&self, is_over: impl Fn(&Used) -> bool) {
        let over: Vec<_> = self.all().iter().filter(|one| is_over(&one.used())).cloned().collect();
        for one in over {
            one.used().spoilt = true;
            // What cannot be removed now is when the engine is looked at.
            let _ = discard(&one.engine, &one.labels).await;
            self.all().retain(|other| !Arc::ptr_eq(other, &one));
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// It starts whether or not it is still waited for.
    fn begin(key: Key, files: Arc<dyn Any + Send + Sync>, start: Start) -> Shared {
        let (engine, labels) = (start.engine.clone(), start.labels.clone());
        let (sender, started) = watch::channel(None);
        tokio::spawn(async move {
            let (engine, definition) = (start.engine.clone(), start.definition.clone());
            let sandbox = Sandbox::start(start).await;
            sender.send_replace(Some(sandbox.map(|sandbox| Services::of(&engine, &definition, sandbox))));
        });
        let used = Mutex::new(Used { by: 0, last: Instant::now(), before: false, spoilt: false });
        Shared { key, engine, labels, started, used, _files: files }
    }

    async fn up(&self) -> Result<Services, Error> {
        let mut started = self.started.clone();
        let failed = |why: String| Error::Refused { what: "start what is shared".to_owned(), why };
        let services = started.wait_for(Option::is_some).await.map_err(|error| failed(error.to_string()))?;
        services.clone().unwrap_or_else(|| Err(failed("it did not say".to_owned())))
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn is_over(&self) -> bool {
        self.by == 0 && (self.spoilt || self.last.elapsed() >= IDLE)
    }
}

impl Share {
    /// Something of it is about to be made clean for whoever comes next; until that is done, nobody is to.
    pub fn begin_cleaning(&self) {
        self.cleaning.store(true, Ordering::SeqCst);
    }

    pub fn has_been_cleaned(&self) {
        self.cleaning.store(false, Ordering::SeqCst);
    }

    /// What it was made of.
    pub fn images(&self) -> Vec<ImageUsed> {
        match &*self.of.started.borrow() {
            Some(Ok(services)) => services.images(),
            _ => Vec::new(),
        }
    }

    /// It is used no more by this.
    pub fn end(&self) {
        if !self.ended.swap(true, Ordering::SeqCst) {
            let mut used = self.of.used();
            used.by -= 1;
            used.last = Instant::now();
            used.spoilt |= self.cleaning.load(Ordering::SeqCst);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.end();
    }
}
