//! Retention: what a state directory, and the store behind it, keep of ended runs goes by its age. For a process of its
//! own, beside whatever works in the directory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use seagull_domain::{AttemptId, Digest, Outcome, Record, RunId, Seq, Workspace};
use seagull_results::{
    Archive, Blobs, Class, FRESH, Head, History, Key, Logs, Retention, Store, StoreUrl, open_store,
};
use seagull_scheduler_core::What;

use crate::cursors::Cursors;
use crate::journal;
use crate::service::{logs_of, parse};

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

/// The runs of a state directory that somebody keeps.
pub fn pinned(state: &Path) -> Result<Vec<RunId>, String> {
    let archive = Archive::open(&state.join("runs")).map_err(said)?;
    let runs = archive.newest().map_err(said)?.into_iter().map(|(run, _)| run);
    Ok(runs.filter(|run| archive.pinned(run).is_some()).collect())
}

/// Keeps an ended run whatever its age, or no longer. None where there is no such run.
pub fn pin(state: &Path, run: &RunId, is_kept: bool) -> Result<Option<()>, String> {
    let archive = Archive::open(&state.join("runs")).map_err(said)?;
    if !archive.contains(run) {
        return Ok(None);
    }
    let done = match is_kept {
        true => archive.pin(run, &Told::of(&archive, run)?.blobs),
        false => archive.unpin(run),
    };
    done.map(Some).map_err(said)
}

/// Removes what is old; says what. Blocks.
pub fn sweep(sweep: &Sweep) -> Result<Swept, String> {
    let runs = sweep.state.join("runs");
    let archive = Archive::open(&runs).map_err(said)?;
    let cursors = sweep.state.join("index/cursors.sqlite");
    let cursors = cursors.is_file().then(|| Cursors::open(&cursors)).transpose()?;
    let store = sweep.blobs.as_ref().map(open_store).transpose().map_err(said)?;
    let mut sweeper = Sweeper { sweep, runs, archive, cursors, store, swept: Swept::default() };
    let stored = sweeper.stored()?;
    let wanted = sweeper.runs(&stored)?;
    sweeper.blobs(&wanted)?;
    sweeper.stored_blobs(&stored, &wanted)?;
    sweeper.timings()?;
    for (key, head) in &stored.timings {
        if sweeper.is_old(Class::Timings, head.modified) {
            sweeper.delete(Class::Timings, key, *head)?;
        }
    }
    Ok(sweeper.swept)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What a store has.
#[derive(Default)]
struct Stored {
    logs: BTreeMap<RunId, Vec<(AttemptId, Head)>>,
    streams: BTreeMap<RunId, Head>,
    blobs: Vec<(Digest, Head)>,
    timings: Vec<(Key, Head)>,
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
        if let Some(store) = &self.store {
            let tell = &mut |key, head| match key {
                Key::Log(run, attempt) => stored.logs.entry(run).or_default().push((attempt, head)),
                Key::Stream(run) => drop(stored.streams.insert(run, head)),
                Key::Blob(digest) => stored.blobs.push((digest, head)),
                key @ Key::Timings(_) => stored.timings.push((key, head)),
            };
            store.list(tell).map_err(said)?;
        }
        Ok(stored)
    }

    /// Sweeps runs and their logs; returns the blobs that pinned ones are made of.
    fn runs(&mut self, stored: &Stored) -> Result<HashSet<Digest>, String> {
        let mut wanted = HashSet::new();
        let ended = self.archive.list().map_err(said)?;
        let known: BTreeSet<RunId> = ended.iter().map(|ended| ended.run.clone()).collect();
        for ended in ended.iter().rev() {
            let logs = stored.logs.get(&ended.run).map_or(&[][..], Vec::as_slice);
            if let Some(blobs) = self.archive.pinned(&ended.run) {
                wanted.extend(blobs);
            } else if self.is_old(Class::Results, ended.at) && self.is_indexed(&ended.run)? {
                let stream = stored.streams.get(&ended.run).copied();
                self.run((&ended.run, ended.bytes), logs, stream)?;
            } else if [Class::PassedLogs, Class::FailedLogs].iter().any(|class| self.is_old(*class, ended.at))
            {
                self.logs(&ended.run, ended.at, logs)?;
            }
        }
        // Of runs that are not here any more.
        for (run, logs) in stored.logs.iter().filter(|(run, _)| !known.contains(run)) {
            for (attempt, head) in logs {
                if self.is_old(Class::FailedLogs, head.modified) && !self.runs.join(run.as_str()).exists() {
                    self.stored_log(Class::FailedLogs, run, *attempt, *head)?;
                }
            }
        }
        for (run, head) in stored.streams.iter().filter(|(run, _)| !known.contains(run)) {
            if self.is_old(Class::Results, head.modified) && !self.runs.join(run.as_str()).exists() {
                self.delete(Class::Results, &Key::Stream(run.clone()), *head)?;
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
        stream: Option<Head>,
    ) -> Result<(), String> {
        // Some process has it open, and is about it.
        let Ok(_lock) = journal::lock(&self.runs.join(run.as_str())) else { return Ok(()) };
        for (attempt, head) in logs {
            self.stored_log(Class::Results, run, *attempt, *head)?;
        }
        if let Some(head) = stream {
            self.delete(Class::Results, &Key::Stream(run.clone()), head)?;
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
        let mut told = Told::default();
        for fact in archive.read(run, Seq(0)).map_err(said)? {
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
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;
    use crate::service::tests::Embedded;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        UNIX_EPOCH + 1000 * DAY
    }

    fn sweep_of(embedded: &Embedded, dry_run: bool) -> Sweep {
        let state = embedded.service.runs.parent().unwrap().to_owned();
        Sweep { state, blobs: None, retention: Retention::default(), now: now(), dry_run }
    }

    /// A run that ended so many days ago, with a log.
    fn ended(embedded: &Embedded, run: &str, days: u32) -> RunId {
        let run: RunId = run.parse().unwrap();
        embedded.archived(&run, 1);
        let logs = embedded.service.logs(&run);
        logs.write_at(AttemptId(1), 0, b"text").unwrap();
        let stream = embedded.service.runs.join(run.as_str()).join("stream.jsonl");
        File::options().write(true).open(stream).unwrap().set_modified(now() - days * DAY).unwrap();
        run
    }

    #[test]
    fn what_is_old_goes_by_its_class_and_what_is_pinned_stays() {
        let embedded = Embedded::new("own");
        let runs = &embedded.service.runs;
        let [young, middle, old, kept] = [("young", 1), ("middle", 8), ("old", 91), ("kept", 900)]
            .map(|(run, days)| ended(&embedded, run, days));
        let state = runs.parent().unwrap();
        assert_eq!(pin(state, &kept, true).unwrap(), Some(()));
        assert_eq!(pin(state, &"none".parse().unwrap(), true).unwrap(), None);
        assert_eq!(pinned(state).unwrap(), std::slice::from_ref(&kept));
        let logs = |run: &RunId| embedded.service.logs(run).list().unwrap().len();
        let expected = sweep(&sweep_of(&embedded, true)).unwrap();
        assert_eq!(expected.0.keys().copied().collect::<Vec<_>>(), [Class::PassedLogs, Class::Results]);
        assert_eq!(expected.0[&Class::PassedLogs], (1, 4));
        assert!([&young, &middle, &old, &kept].iter().all(|run| logs(run) == 1), "nothing is removed");
        assert_eq!(sweep(&sweep_of(&embedded, false)).unwrap(), expected);
        assert_eq!([logs(&young), logs(&middle), logs(&old), logs(&kept)], [1, 0, 0, 1]);
        let archive = &embedded.service.archive;
        assert!(archive.contains(&middle) && !archive.contains(&old) && archive.contains(&kept));
        assert_eq!(sweep(&sweep_of(&embedded, false)).unwrap(), Swept::default());
        pin(state, &kept, false).unwrap();
        assert_eq!(sweep(&sweep_of(&embedded, false)).unwrap().0.len(), 1);
        assert!(!archive.contains(&kept));
    }

    #[test]
    fn streams_in_a_store_go_with_their_runs() {
        let embedded = Embedded::new("own");
        let directory = tempfile::tempdir().unwrap();
        let url: StoreUrl = format!("file:{}/s", directory.path().display()).parse().unwrap();
        let store = open_store(&url).unwrap();
        let runs = [("young", 1), ("old", 91)].map(|(run, days)| ended(&embedded, run, days));
        let runs = [&runs[..], &["gone".parse().unwrap()]].concat();
        for run in &runs {
            let key = Key::Stream(run.clone());
            store.put(&key, &mut &b"text"[..], 4, seagull_results::When::Always).unwrap();
            let path = directory.path().join(format!("s/{key}"));
            File::options().write(true).open(path).unwrap().set_modified(now() - 91 * DAY).unwrap();
        }
        sweep(&Sweep { blobs: Some(url), ..sweep_of(&embedded, false) }).unwrap();
        let is_there = |run: &RunId| store.head(&Key::Stream(run.clone())).unwrap().is_some();
        assert_eq!(runs.iter().map(is_there).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn artifacts_go_before_attachments_and_these_before_manifests_here_and_in_a_store() {
        let embedded = Embedded::new("own");
        let directory = tempfile::tempdir().unwrap();
        let url: StoreUrl = format!("file:{}/s", directory.path().display()).parse().unwrap();
        let store = open_store(&url).unwrap();
        let state = embedded.service.runs.parent().unwrap();
        let blobs = Blobs::open(&state.join("blobs")).unwrap();
        let begun = |mark: [u8; 4]| [mark.as_slice(), b"rest"].concat();
        let (artifact, attachment) = (begun(seagull_results::ARTIFACT), begun(seagull_results::ATTACHMENT));
        let [artifact, attachment, manifest] =
            [&artifact[..], &attachment[..], b"{\"files\":[]}"].map(|bytes| {
                let mut writer = blobs.writer(0).unwrap();
                writer.write(bytes).unwrap();
                let digest = writer.finish(None).unwrap();
                let key = Key::Blob(digest);
                store.put(&key, &mut &bytes[..], bytes.len() as u64, seagull_results::When::Always).unwrap();
                for path in [state.join("blobs"), directory.path().join("s/blobs")] {
                    let name = digest.to_string();
                    let file =
                        File::options().write(true).open(path.join(&name[..2]).join(&name[2..])).unwrap();
                    file.set_modified(now() - 14 * DAY - FRESH - DAY).unwrap();
                }
                digest
            });
        let sweep_both = Sweep { blobs: Some(url), ..sweep_of(&embedded, false) };
        let swept = sweep(&sweep_both).unwrap();
        assert_eq!(swept.0, BTreeMap::from([(Class::Artifacts, (2, 16))]));
        assert!(!blobs.contains(&artifact) && blobs.contains(&manifest));
        assert!(store.head(&Key::Blob(artifact)).unwrap().is_none());
        let all = [attachment, manifest].map(Key::Blob);
        let are_there = || all.each_ref().map(|key| store.head(key).unwrap().is_some());
        assert_eq!(are_there(), [true, true]);
        let swept = sweep(&Sweep { now: now() + 30 * DAY, ..sweep_both }).unwrap();
        assert_eq!(swept.0, BTreeMap::from([(Class::Attachments, (2, 16))]));
        assert_eq!(are_there(), [false, true]);
    }
}
