//! Sandboxes that stay for a while as a failed test has left them: how many, and who sees to them. Each has a guard of its own
//! from its beginning, which removes it when its time is over, whatever has become of the executor.
#![expect(clippy::disallowed_methods, reason = "a shell: all slots of an executor count together")]

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use seagull_domain::Hold;

use super::guard::Guard;
use super::labels::Labels;
use super::site::{Site, now};

/// So many of an executor's stay at the same time.
const MOST: usize = 3;
const RECORD: &str = "held";

/// Those of one executor.
#[derive(Default)]
pub(super) struct Holds {
    all: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    /// They are going to stay when what lives there has ended.
    promised: usize,
    /// Of those that stay, unless somebody has removed them.
    guards: Vec<Guard>,
}

/// What a failed test may have its sandbox kept by.
#[derive(Clone)]
pub struct Holder {
    holds: Arc<Holds>,
    labels: Labels,
    lasts: Duration,
    hold: Arc<OnceLock<Hold>>,
}

impl Holds {
    fn promise(&self) -> bool {
        let mut all = self.all();
        all.guards.retain_mut(Guard::is_alive);
        let may = all.promised + all.guards.len() < MOST;
        all.promised += usize::from(may);
        may
    }

    /// What was promised is kept; or not, after all.
    pub fn settle(&self, guard: Option<Guard>) {
        let mut all = self.all();
        all.promised -= 1;
        all.guards.extend(guard);
    }

    fn all(&self) -> MutexGuard<'_, Counted> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    pub(super) fn new(holds: &Arc<Holds>, labels: &Labels, lasts: Duration) -> Holder {
        Holder { holds: holds.clone(), labels: labels.clone(), lasts, hold: Arc::default() }
    }

    /// From now on the sandbox is to stay; none where it is already, or as many stay as may.
    pub fn hold(&self) -> Option<Hold> {
        if self.hold.get().is_some() || !self.holds.promise() {
            return None;
        }
        let until = now().saturating_add(self.lasts.as_secs().max(1)).min(self.labels.lease);
        let Labels { environment, sandbox, .. } = self.labels.clone();
        let hold = Hold { environment, sandbox, until };
        if self.hold.set(hold.clone()).is_err() {
            self.holds.settle(None);
            return None;
        }
        Some(hold)
    }

    pub(super) fn held(&self) -> Option<&Hold> {
        self.hold.get()
    }
}

impl Site {
    /// Whether an object is a person's: nobody else sees to it any more, or ever did.
    pub fn is_a_persons(&self, labels: &Labels) -> bool {
        // Those that begin in a run have the names of workers.
        labels.owner == labels.sandbox && (!labels.owner.contains('-') || self.is_held(&labels.sandbox))
    }

    /// Whether a sandbox is, or was, one that a failed test has left.
    pub fn is_held(&self, sandbox: &str) -> bool {
        self.record_of_held(sandbox).exists()
    }

    /// It is gone.
    pub fn forget_held(&self, sandbox: &str) {
        let _ = fs::remove_file(self.record_of_held(sandbox));
    }

    /// A sandbox is a person's from now on, as a failed test has left it. What is known of those whose time is over is
    /// forgotten.
    pub fn hand_over(&self, hold: &Hold) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let until = || fs::read_to_string(&path).ok()?.trim().parse::<u64>().ok();
            if path.extension().is_some_and(|of| of == RECORD) && until().is_none_or(|until| until < now()) {
                let _ = fs::remove_file(&path);
            }
        }
        let mut record = tempfile::NamedTempFile::new_in(&self.directory)?;
        writeln!(record, "{}", hold.until)?;
        record.persist(self.record_of_held(&hold.sandbox)).map_err(|error| error.error)?;
        Ok(())
    }

    fn record_of_held(&self, sandbox: &str) -> PathBuf {
        self.directory.join(format!("{sandbox}.{RECORD}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::tests::labels;
    use super::*;

    #[test]
    fn so_many_stay_and_each_once() {
        let holds = Arc::new(Holds::default());
        let labels = Labels { lease: u64::MAX, ..labels() };
        let holder = || Holder::new(&holds, &labels, Duration::from_secs(60));
        let first = holder();
        let hold = first.hold().unwrap();
        assert_eq!((hold.environment.as_str(), hold.sandbox.as_str()), ("db", "s1"));
        assert_eq!(first.hold(), None, "it stays already");
        assert!((1..MOST).all(|_| holder().hold().is_some()));
        assert_eq!(holder().hold(), None, "they are enough");
        holds.settle(None);
        assert!(holder().hold().is_some(), "one was not kept after all");
        let short = Labels { lease: now() + 5, ..labels };
        holds.settle(None);
        let hold = Holder::new(&holds, &short, Duration::from_secs(60)).hold().unwrap();
        assert_eq!(hold.until, short.lease, "nothing stays beyond its lease");
    }

    #[test]
    fn what_is_in_a_run_is_no_persons_until_it_is_handed_over() {
        let directory = tempfile::tempdir().unwrap();
        let site = Site::open(directory.path()).unwrap();
        let of =
            |owner: &str, sandbox: &str| Labels { owner: owner.into(), sandbox: sandbox.into(), ..labels() };
        assert!(site.is_a_persons(&of("1a2b", "1a2b")));
        assert!(!site.is_a_persons(&of("1a2b", "1a2b-gw0-1")));
        let own = of("1a2b-gw0-1", "1a2b-gw0-1");
        assert!(!site.is_a_persons(&own));
        let hold = Hold { environment: "db".into(), sandbox: own.sandbox.clone(), until: now() + 60 };
        site.hand_over(&hold).unwrap();
        assert!(site.is_a_persons(&own));
        assert!(site.is_held(&own.sandbox) && !site.is_held("1a2b"));
        site.hand_over(&Hold { sandbox: "1a2b-gw1-2".into(), until: 1, ..hold.clone() }).unwrap();
        site.hand_over(&hold).unwrap();
        assert!(!site.is_a_persons(&of("1a2b-gw1-2", "1a2b-gw1-2")), "its time is over");
    }
}
