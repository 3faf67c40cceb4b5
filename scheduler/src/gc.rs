//! Retention: what a state directory, and the store behind it, keep of ended runs goes by its age. For a process of its
//! own, beside whatever works in the directory.

mod pins;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use seagull_domain::{AttemptId, Digest, Outcome, Record, RunId, Seq, Workspace};
use seagull_results::{
    Archive, ArchivedFacts, Blobs, Class, FRESH, Head, History, Key, Logs, Retention, Store, StoreUrl,
    open_store,
};
use seagull_scheduler_core::What;

use crate::cursors::Cursors;
use crate::journal;
use crate::service::{attached_of, logs_of, parse};

pub use self::pins::{pin, pinned};

/// What is swept, and by which ages.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// The state directory.
    pub state: PathBuf,
    /// The store behind it.
    pub blobs: Option<StoreUrl>,
    pub retention: Retention,
    pub now: SystemTime,
    /// Nothing is removed.
    pub dry_run: bool,
}

/// What goes of each class: how many things, and their bytes, which nobody knows of timings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept(pub BTreeMap<Class, (u64, u64)>);

impl Swept {
    fn add(&mut self, class: Class, bytes: u64) {
        let (things, sum) = self.0.entry(class).or_default();
        *things += 1;
        *sum += bytes;
    }
}

/// The blobs that an ended run is made of.
pub(crate) fn blobs_of(archive: &Archive, run: &RunId) -> Result<Vec<Digest>, String> {
    Told::of(archive, run).map(|told| told.blobs)
}

/// Removes what is old; says what, and which runs somebody keeps. Blocks.
pub fn sweep(sweep: &Sweep) -> Result<(Swept, HashSet<RunId>), String> {
    let runs = sweep.state.join("runs");
    let archive = Archive::open(&runs).map_err(said)?;
    let cursors = sweep.state.join("index/cursors.sqlite");
    let cursors = cursors.is_file().then(|| Cursors::open(&cursors)).transpose()?;
    let store = sweep.blobs.as_ref().map(open_store).transpose().map_err(said)?;
    let mut sweeper = Sweeper { sweep, runs, archive, cursors, store, swept: Swept::default() };
    let stored = sweeper.stored()?;
    let mut kept: HashSet<RunId> = pinned(&sweep.state, None)?.into_iter().collect();
    kept.extend(stored.pinned.keys().cloned());
    let wanted = sweeper.runs(&stored)?;
    sweeper.blobs(&wanted)?;
    sweeper.stored_blobs(&stored, &wanted)?;
    sweeper.timings()?;
    for (key, head) in &stored.timings {
        if sweeper.is_old(Class::Timings, head.modified) {
            sweeper.delete(Class::Timings, key, *head)?;
        }
    }
    Ok((sweeper.swept, kept))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What a store has.
#[derive(Default)]
struct Stored {
    logs: BTreeMap<RunId, Vec<(AttemptId, Head)>>,
    streams: BTreeMap<RunId, Head>,
    attached: BTreeMap<RunId, Head>,
    blobs: Vec<(Digest, Head)>,
    timings: Vec<(Key, Head)>,
    /// Runs that somebody keeps, with the blobs that they are made of.
    pinned: BTreeMap<RunId, Vec<Digest>>,
}

struct Sweeper<'a> {
    sweep: &'a Sweep,
    runs: PathBuf,
    archive: Archive,
    /// How far runs are in an index elsewhere, if there is one.
    cursors: Option<Cursors>,
    store: Option<Arc<dyn Store>>,
    swept: Swept,
}

/// What matters of an ended run.
#[derive(Default)]
struct Told {
    failed: BTreeSet<AttemptId>,
    blobs: Vec<Digest>,
}

impl Sweeper<'_> {
    fn is_old(&self, class: Class, at: SystemTime) -> bool {
        at < self.sweep.retention.before(class, self.sweep.now)
    }

    fn go(
        &mut self,
        class: Class,
        bytes: u64,
        remove: impl FnOnce(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        if !self.sweep.dry_run {
            remove(self)?;
        }
        self.swept.add(class, bytes);
        Ok(())
    }

    fn stored(&self) -> Result<Stored, String> {
        let mut stored = Stored::default();
        let mut pinned = Vec::new();
        if let Some(store) = &self.store {
            let tell = &mut |key, head| match key {
                Key::Log(run, attempt) => stored.logs.entry(run).or_default().push((attempt, head)),
                Key::Stream(run) => drop(stored.streams.insert(run, head)),
                Key::Attached(run) => drop(stored.attached.insert(run, head)),
                Key::Blob(digest) => stored.blobs.push((digest, head)),
                key @ Key::Timings(_) => stored.timings.push((key, head)),
                Key::Pinned(run) => pinned.push(run),
            };
            store.list(tell).map_err(said)?;
            stored.pinned = pins::blobs(&**store, &pinned)?;
        }
        Ok(stored)
    }

    /// Sweeps runs and their logs; returns the blobs that pinned ones are made of.
    fn runs(&mut self, stored: &Stored) -> Result<HashSet<Digest>, String> {
        let mut wanted: HashSet<_> = stored.pinned.values().flatten().copied().collect();
        let ended = self.archive.list().map_err(said)?;
        let known: BTreeSet<RunId> = ended.iter().map(|ended| ended.run.clone()).collect();
        for ended in ended.iter().rev() {
            let logs = stored.logs.get(&ended.run).map_or(&[][..], Vec::as_slice);
            if let Some(blobs) = self.archive.pinned(&ended.run) {
                wanted.extend(blobs);
            } else if stored.pinned.contains_key(&ended.run) {
                // Somebody else keeps it.
            } else if self.is_old(Class::Results, ended.at) && self.is_indexed(&ended.run)? {
                self.run((&ended.run, ended.bytes), logs, stored)?;
            } else {
                if [Class::PassedLogs, Class::FailedLogs].iter().any(|class| self.is_old(*class, ended.at)) {
                    self.logs(&ended.run, ended.at, logs)?;
                }
                if self.is_old(Class::Attachments, ended.at) {
                    self.attached(&ended.run, stored)?;
                }
            }
        }
        // Of runs that are not here any more.
        let goes = |run: &RunId| !known.contains(run) && !stored.pinned.contains_key(run);
        for (run, logs) in stored.logs.iter().filter(|(run, _)| goes(run)) {
            for (attempt, head) in logs {
                if self.is_old(Class::FailedLogs, head.modified) && !self.runs.join(run.as_str()).exists() {
                    self.stored_log(Class::FailedLogs, run, *attempt, *head)?;
                }
            }
        }
        let streams =
            stored.streams.iter().map(|(run, head)| (Class::Results, Key::Stream(run.clone()), run, head));
        let attached = stored.attached.iter();
        let attached =
            attached.map(|(run, head)| (Class::Attachments, Key::Attached(run.clone()), run, head));
        for (class, key, run, head) in streams.chain(attached).filter(|(_, _, run, _)| goes(run)) {
            if self.is_old(class, head.modified) && !self.runs.join(run.as_str()).exists() {
                self.delete(class, &key, *head)?;
            }
        }
        Ok(wanted)
    }

    /// What an index elsewhere has not got yet is in the run's stream alone.
    fn is_indexed(&self, run: &RunId) -> Result<bool, String> {
        let Some(cursors) = &self.cursors else { return Ok(true) };
        cursors.is_done(run, self.submitted_at(run)?)
    }

    fn submitted_at(&self, run: &RunId) -> Result<u64, String> {
        let [first, _] = self.archive.ends(run).map_err(said)?;
        match parse(Seq(0), &first)?.what {
            What::Submitted(spec) => Ok(spec.submitted_at),
            other => Err(format!("run {run} begins with {other:?}")),
        }
    }

    fn run(
        &mut self,
        (run, bytes): (&RunId, u64),
        logs: &[(AttemptId, Head)],
        stored: &Stored,
    ) -> Result<(), String> {
        // Some process has it open, and is about it.
        let Ok(_lock) = journal::lock(&self.runs.join(run.as_str())) else { return Ok(()) };
        for (attempt, head) in logs {
            self.stored_log(Class::Results, run, *attempt, *head)?;
        }
        if let Some(head) = stored.attached.get(run) {
            self.delete(Class::Attachments, &Key::Attached(run.clone()), *head)?;
        }
        if let Some(head) = stored.streams.get(run) {
            self.delete(Class::Results, &Key::Stream(run.clone()), *head)?;
        }
        self.go(Class::Results, bytes, |this| {
            if let Some(cursors) = &this.cursors {
                cursors.forget(run, this.submitted_at(run)?)?;
            }
            this.archive.remove(run).map_err(said)
        })
    }

    fn logs(&mut self, run: &RunId, at: SystemTime, stored: &[(AttemptId, Head)]) -> Result<(), String> {
        let logs: Logs = logs_of(&self.runs, run);
        let here = logs.list().map_err(said)?;
        if here.is_empty() && stored.is_empty() {
            return Ok(());
        }
        let failed = Told::of(&self.archive, run)?.failed;
        let class = |attempt: AttemptId| {
            if failed.contains(&attempt) { Class::FailedLogs } else { Class::PassedLogs }
        };
        for (attempt, bytes) in here {
            if self.is_old(class(attempt), at) {
                self.go(class(attempt), bytes, |_| logs.forget(attempt).map_err(said))?;
            }
        }
        for (attempt, head) in stored {
            if self.is_old(class(*attempt), at) {
                self.stored_log(class(*attempt), run, *attempt, *head)?;
            }
        }
        Ok(())
    }

    /// Small files that tests have left, here or in the store.
    fn attached(&mut self, run: &RunId, stored: &Stored) -> Result<(), String> {
        let attached = attached_of(&self.runs, run);
        let here = attached.list().map_err(said)?;
        if !here.is_empty() {
            here.iter().for_each(|(_, bytes)| self.swept.add(Class::Attachments, *bytes));
            if !self.sweep.dry_run {
                attached.forget().map_err(said)?;
            }
        }
        match stored.attached.get(run) {
            Some(head) => self.delete(Class::Attachments, &Key::Attached(run.clone()), *head),
            None => Ok(()),
        }
    }

    fn stored_log(
        &mut self,
        class: Class,
        run: &RunId,
        attempt: AttemptId,
        head: Head,
    ) -> Result<(), String> {
        let key = Key::Log(run.clone(), attempt);
        self.delete(class, &key, head)
    }

    fn delete(&mut self, class: Class, key: &Key, head: Head) -> Result<(), String> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        self.go(class, head.bytes, |_| store.delete(key).map_err(said))
    }

    /// Artifacts and attachments go by their own ages, manifests with the results that they name.
    fn blobs(&mut self, wanted: &HashSet<Digest>) -> Result<(), String> {
        let directory = self.sweep.state.join("blobs");
        if !directory.is_dir() {
            return Ok(());
        }
        let blobs = Blobs::open(&directory).map_err(said)?;
        let before = |class| self.sweep.retention.before(class, self.sweep.now);
        let latest = Class::OF_BLOBS.map(before).into_iter().max().unwrap_or(self.sweep.now);
        for (digest, bytes, at) in blobs.older(latest).map_err(said)? {
            // One that is gone meanwhile is none.
            let Ok(class) = blobs.class(&digest) else { continue };
            if self.is_old(class, at) && !wanted.contains(&digest) {
                self.go(class, bytes, |_| blobs.remove(&digest, latest).map_err(said))?;
            }
        }
        Ok(())
    }

    fn stored_blobs(&mut self, stored: &Stored, wanted: &HashSet<Digest>) -> Result<(), String> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        for (digest, head) in stored.blobs.iter().filter(|(digest, _)| !wanted.contains(digest)) {
            // It may have been wanted for so long without having gone up again.
            let wanted_at = head.modified + FRESH;
            if !Class::OF_BLOBS.iter().any(|class| self.is_old(*class, wanted_at)) {
                continue;
            }
            let key = Key::Blob(*digest);
            let Some(class) = class_of(&*store, &key)? else { continue };
            if self.is_old(class, wanted_at) {
                self.delete(class, &key, *head)?;
            }
        }
        Ok(())
    }

    fn timings(&mut self) -> Result<(), String> {
        let path = self.sweep.state.join("history.sqlite");
        if !path.is_file() {
            return Ok(());
        }
        let before = self.sweep.retention.before(Class::Timings, self.sweep.now);
        let before = before.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let tests =
            History::open(&path).and_then(|history| history.forget_before(before, self.sweep.dry_run));
        let tests = tests.map_err(said)?;
        if tests > 0 {
            self.swept.0.insert(Class::Timings, (tests, 0));
        }
        Ok(())
    }
}

/// What a blob is of; None where it is gone meanwhile.
fn class_of(store: &dyn Store, key: &Key) -> Result<Option<Class>, String> {
    let mut begins = [0; 4];
    let Some(body) = store.get(key, 0..begins.len() as u64).map_err(said)? else { return Ok(None) };
    let mut bytes = Vec::new();
    body.take(begins.len() as u64).read_to_end(&mut bytes).map_err(said)?;
    begins[..bytes.len()].copy_from_slice(&bytes);
    Ok(Some(Class::of_blob(begins)))
}

impl Told {
    fn of(archive: &Archive, run: &RunId) -> Result<Told, String> {
        Told::of_facts(archive.read(run, Seq(0)).map_err(said)?)
    }

    fn of_facts(facts: ArchivedFacts) -> Result<Told, String> {
        let mut told = Told::default();
        for fact in facts {
            let (seq, body) = fact.map_err(said)?;
            told.take(parse(seq, &body)?.what);
        }
        Ok(told)
    }

    fn take(&mut self, what: What) {
        match what {
            What::Submitted(spec) => match spec.workspace {
                Workspace::Artifact { digest, .. } => self.blobs.push(digest),
                Workspace::InPlace { .. } => {}
            },
            What::Planned { plan, .. } => self.blobs.push(plan.manifest),
            What::Confirmed { manifest, .. } => self.blobs.push(manifest),
            What::Recorded { attempt, records, .. } => {
                let attached = records.iter().filter_map(|(record, _)| match record {
                    Record::Attached { file, .. } => file.blob,
                    _ => None,
                });
                self.blobs.extend(attached);
                let has_failed = |record: &Record| match record {
                    Record::Result(result) => result.outcome == Outcome::Failed,
                    Record::SuiteError(_) => true,
                    _ => false,
                };
                if records.iter().any(|(record, _)| has_failed(record)) {
                    self.failed.insert(attempt);
                }
            }
            What::Condemned { attempt, .. } | What::AttemptLost { attempt, .. } => {
                self.failed.insert(attempt);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
