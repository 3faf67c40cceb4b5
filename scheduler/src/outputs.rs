//! What tests print while they run, for whoever watches: the last text of each slot's running test, in a file that other
//! processes may read as well. Nothing of it is kept: what a test has printed is in its log when it has ended.
#![expect(clippy::disallowed_methods, reason = "a shell: watchers and executors share who follows what")]

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use seagull_domain::{AttemptId, ExecutorId, RunId, SlotNumber};
use seagull_proto::convert::Printed;
use seagull_proto::limits;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What is kept of a slot's text once it comes to twice as much: its end.
const KEPT: usize = 64 << 10;

pub(crate) struct Outputs {
    runs: PathBuf,
    /// How many follow each run.
    followers: Mutex<BTreeMap<RunId, usize>>,
    /// Every run is followed: other processes may, of which nothing is known here.
    all: bool,
    /// Rises with whatever is told.
    told: watch::Sender<u64>,
}

/// As long as this lives, its run is followed.
pub(crate) struct Following {
    outputs: Arc<Outputs>,
    run: RunId,
    seen: BTreeMap<SlotNumber, Seen>,
}

/// What a slot's file has.
#[derive(Serialize, Deserialize)]
struct Kept {
    executor: ExecutorId,
    attempt: AttemptId,
    test: String,
    offset: u64,
    text: String,
}

/// How far a slot's file was read, and when that was written.
struct Seen {
    executor: ExecutorId,
    attempt: AttemptId,
    test: String,
    end: u64,
    written: Option<SystemTime>,
}

impl Outputs {
    /// In the directories of runs. `all`: whether it is always to be told.
    pub fn new(runs: &Path, all: bool) -> Outputs {
        Outputs { runs: runs.to_owned(), followers: Mutex::default(), all, told: watch::Sender::new(0) }
    }

    /// Those of these runs that are followed.
    pub fn followed(&self, of: &[RunId]) -> Vec<RunId> {
        let followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        of.iter().filter(|run| self.all || followers.contains_key(run)).cloned().collect()
    }

    pub fn follow(self: &Arc<Self>, run: &RunId) -> Following {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        *followers.entry(run.clone()).or_default() += 1;
        Following { outputs: self.clone(), run: run.clone(), seen: BTreeMap::new() }
    }

    /// Turns when there is something new.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    fn directory(&self, run: &RunId) -> PathBuf {
        self.runs.join(run.as_str()).join("live")
    }

    /// Takes what a slot's test has printed.
    pub fn take(&self, run: &RunId, printed: Printed) -> std::io::Result<()> {
        let directory = self.directory(run);
        let path = directory.join(printed.slot.to_string());
        let kept = Kept::with(read(&path), printed);
        fs::create_dir_all(&directory)?;
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&kept)?)?;
        fs::rename(&new, &path)?;
        self.told.send_modify(|told| *told = told.wrapping_add(1));
        Ok(())
    }

    /// Of a run that has ended.
    pub fn forget(&self, run: &RunId) -> std::io::Result<()> {
        match fs::remove_dir_all(self.directory(run)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// None where there is none, or none that is whole: it is told anew soon.
fn read(path: &Path) -> Option<Kept> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl Kept {
    fn end(&self) -> u64 {
        self.offset + self.text.len() as u64
    }

    /// What a slot has printed with what is new.
    fn with(kept: Option<Kept>, new: Printed) -> Kept {
        let Printed { executor, attempt, test, offset, text, .. } = new;
        let goes_on = |kept: &Kept| {
            (&kept.executor, kept.attempt, &kept.test, kept.end()) == (&executor, attempt, &test, offset)
        };
        let mut all = match kept.filter(goes_on) {
            Some(kept) => Kept { text: kept.text + &text, ..kept },
            None => Kept { executor, attempt, test, offset, text },
        };
        if all.text.len() > 2 * KEPT {
            let cut = all.text.ceil_char_boundary(all.text.len() - KEPT);
            all.text.drain(..cut);
            all.offset += cut as u64;
        }
        all
    }
}

impl Following {
    /// What slots have told since this was called last; at first, what they have.
    pub fn news(&mut self) -> Vec<Printed> {
        let entries = fs::read_dir(self.outputs.directory(&self.run));
        let mut news = Vec::new();
        for entry in entries.into_iter().flatten().flatten() {
            let slot = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(SlotNumber);
            let written = entry.metadata().ok().and_then(|file| file.modified().ok());
            let Some(slot) = slot else { continue };
            let is_old =
                self.seen.get(&slot).is_some_and(|seen| written.is_some() && seen.written == written);
            if let Some(kept) = read(&entry.path()).filter(|_| !is_old) {
                news.extend(self.new_of(slot, kept, written));
            }
        }
        news
    }

    fn new_of(&mut self, slot: SlotNumber, kept: Kept, written: Option<SystemTime>) -> Option<Printed> {
        let end = kept.end();
        let Kept { executor, attempt, test, offset, text } = kept;
        let known = self.seen.get(&slot).filter(|seen| {
            (&seen.executor, seen.attempt, &seen.test) == (&executor, attempt, &test) && seen.end <= end
        });
        let from = known.map_or(offset, |seen| seen.end.max(offset));
        let seen = Seen { executor: executor.clone(), attempt, test: test.clone(), end, written };
        self.seen.insert(slot, seen);
        let new = text.get(usize::try_from(from - offset).ok()?..)?;
        let new = new[new.ceil_char_boundary(new.len().saturating_sub(limits::CHUNK_BYTES))..].to_owned();
        let offset = end - new.len() as u64;
        (!new.is_empty()).then_some(Printed { executor, slot, attempt, test, offset, text: new })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followers = self.outputs.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = followers.get_mut(&self.run) {
            *count -= 1;
            if *count == 0 {
                followers.remove(&self.run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(slot: u32, attempt: u64, offset: u64, text: &str) -> Printed {
        let executor = "e".parse().unwrap();
        let (slot, attempt, test) = (SlotNumber(slot), AttemptId(attempt), "a.py::t".to_owned());
        Printed { executor, slot, attempt, test, offset, text: text.to_owned() }
    }

    fn outputs() -> (tempfile::TempDir, Arc<Outputs>, RunId) {
        let directory = tempfile::tempdir().unwrap();
        let outputs = Arc::new(Outputs::new(directory.path(), false));
        (directory, outputs, "r".parse().unwrap())
    }

    #[test]
    fn a_run_is_followed_as_long_as_anybody_does() {
        let (_directory, outputs, run) = outputs();
        let runs = [run.clone(), "other".parse().unwrap()];
        assert_eq!(outputs.followed(&runs), []);
        let [one, other] = [(); 2].map(|()| outputs.follow(&run));
        drop(one);
        assert_eq!(outputs.followed(&runs), [run]);
        drop(other);
        assert_eq!(outputs.followed(&runs), []);
        assert_eq!(Outputs::new(Path::new("/"), true).followed(&runs), runs);
    }

    #[test]
    fn each_reader_hears_what_is_new_and_a_late_one_all_there_is() {
        let (directory, outputs, run) = outputs();
        let mut reader = outputs.follow(&run);
        assert_eq!(reader.news(), []);
        outputs.take(&run, printed(0, 1, 0, "one\n")).unwrap();
        outputs.take(&run, printed(1, 2, 0, "other\n")).unwrap();
        assert_eq!(reader.news().len(), 2);
        assert_eq!(reader.news(), []);
        outputs.take(&run, printed(0, 1, 4, "two\n")).unwrap();
        assert_eq!(reader.news(), [printed(0, 1, 4, "two\n")]);
        // Another process reads the same files.
        let elsewhere = Arc::new(Outputs::new(directory.path(), false));
        let all = elsewhere.follow(&run).news();
        assert!(all.contains(&printed(0, 1, 0, "one\ntwo\n")), "{all:?}");
        // A gap, another execution, another attempt.
        outputs.take(&run, printed(0, 1, 100, "late\n")).unwrap();
        assert_eq!(reader.news(), [printed(0, 1, 100, "late\n")]);
        outputs.take(&run, printed(0, 1, 0, "again\n")).unwrap();
        assert_eq!(reader.news(), [printed(0, 1, 0, "again\n")]);
        outputs.take(&run, printed(0, 7, 0, "longer than again\n")).unwrap();
        assert_eq!(reader.news(), [printed(0, 7, 0, "longer than again\n")]);
        outputs.forget(&run).unwrap();
        outputs.forget(&run).unwrap();
        assert_eq!(outputs.follow(&run).news(), []);
    }

    #[test]
    fn what_is_kept_of_a_slot_is_bounded_and_stays_whole_characters() {
        let (_directory, outputs, run) = outputs();
        let piece = "é".repeat(KEPT / 2);
        for number in 0..5 {
            outputs.take(&run, printed(0, 1, number * KEPT as u64, &piece)).unwrap();
        }
        let kept = outputs.follow(&run).news().remove(0);
        assert_eq!(kept.offset + kept.text.len() as u64, 5 * KEPT as u64);
        assert!((KEPT - 4..=2 * KEPT).contains(&kept.text.len()), "{}", kept.text.len());
    }
}
