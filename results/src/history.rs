//! Timings and verdicts of earlier runs, in SQLite. Several processes may write at a time.

use std::collections::{HashMap, hash_map::RandomState};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use seagull_domain::{RunId, Verdict};

use crate::Error;
use crate::timing::{Timing, Timings};

const BUSY: Duration = Duration::from_secs(30);

/// What `PRAGMA user_version` says. 0 is an empty file.
const FORMAT: i64 = 1;
const SCHEMA: &str = "
    DROP TABLE IF EXISTS runs;
    DROP TABLE IF EXISTS tests;
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, run TEXT NOT NULL,
        whole INTEGER NOT NULL, tests INTEGER NOT NULL, failed INTEGER NOT NULL, UNIQUE (project, run));
    CREATE INDEX runs_of_project ON runs (project, number);
    CREATE TABLE tests (
        project TEXT NOT NULL, id TEXT NOT NULL, location REAL, spread REAL, runs INTEGER NOT NULL,
        clips INTEGER NOT NULL, verdict TEXT NOT NULL, last_run INTEGER NOT NULL,
        PRIMARY KEY (project, id)) WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// What is forgotten: runs after so many others of their project, tests that so many runs did not have, and sooner
/// those that only one run ever had (ids that are made up anew each time).
const RUNS_KEPT: u32 = 1000;
const TESTS_KEPT: u32 = 100;
const ONCE_SEEN_KEPT: u32 = 10;
/// Forgetting reads all tests of a project, so it is not done every time.
const FORGET_EVERY: i64 = 8;

#[derive(Debug)]
pub struct History {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// The last verdict of each test of a project. Ids are kept as keyed hashes, as in [`Timings`].
#[derive(Debug, Clone, Default)]
pub struct LastVerdicts {
    key: RandomState,
    by_id: HashMap<u64, LastVerdict>,
    /// How many tests failed in the run that ended last.
    pub failed_in_last_run: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastVerdict {
    /// Passed, skipped or flaky.
    Good,
    Failed,
    /// Not executed, or its failure did not count.
    NotGood,
}

impl LastVerdicts {
    /// None for a test that no ended run had.
    pub fn of(&self, id: &str) -> Option<LastVerdict> {
        self.by_id.get(&self.key.hash_one(id)).copied()
    }
}

impl History {
    pub fn open(path: &Path) -> Result<History, Error> {
        let sqlite = |source| Error::Sqlite { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(sqlite)?;
        connection.busy_timeout(BUSY).map_err(sqlite)?;
        let found = prepare(&mut connection).map_err(sqlite)?;
        if found > FORMAT {
            return Err(Error::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        Ok(History { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sqlite(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| Error::Sqlite { path: self.path.clone(), source }
    }

    /// Learns from an ended run of the whole suite: each test's microseconds, where it was executed, and its verdict. A
    /// run that was recorded before changes nothing.
    pub fn record(
        &self,
        project: &str,
        run: &RunId,
        tests: impl Iterator<Item = (String, Option<u64>, Verdict)>,
    ) -> Result<(), Error> {
        let mut connection = self.connection();
        record(&mut connection, project, (run, true), tests).map_err(self.sqlite())
    }

    /// As [`History::record`], for a run of selected tests: the size of its manifest says nothing of the suite's.
    pub fn record_part(
        &self,
        project: &str,
        run: &RunId,
        tests: impl Iterator<Item = (String, Option<u64>, Verdict)>,
    ) -> Result<(), Error> {
        let mut connection = self.connection();
        record(&mut connection, project, (run, false), tests).map_err(self.sqlite())
    }

    /// All timings of a project, in one pass.
    pub fn load(&self, project: &str) -> Result<Timings, Error> {
        load(&self.connection(), project).map_err(self.sqlite())
    }

    /// The last verdict of each test of the project; None if no run of it has ended.
    pub fn last_verdicts(&self, project: &str) -> Result<Option<LastVerdicts>, Error> {
        last_verdicts(&self.connection(), project).map_err(self.sqlite())
    }

    /// How many tests the project's last recorded run of the whole suite had.
    pub fn last_manifest_len(&self, project: &str) -> Result<Option<usize>, Error> {
        let select = "SELECT tests FROM runs WHERE project = ?1 AND whole ORDER BY number DESC LIMIT 1";
        let row = self.connection().query_row(select, [project], |row| row.get::<_, u32>(0)).optional();
        row.map(|row| row.map(|tests| tests as usize)).map_err(self.sqlite())
    }
}

/// Creates what is not there and returns the format that was found.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    let version =
        |connection: &Connection| connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    // Fails where another process is about it, or has the file in use: everything works in either mode, and who opens the
    // file next tries again. What else may be wrong shows in the next statement.
    let _ = connection.pragma_update(None, "journal_mode", "WAL");
    if version(connection)? == 0 {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version(&transaction)? == 0 {
            transaction.execute_batch(SCHEMA)?;
        }
        transaction.commit()?;
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    version(connection)
}

fn record(
    connection: &mut Connection,
    project: &str,
    (run, whole): (&RunId, bool),
    tests: impl Iterator<Item = (String, Option<u64>, Verdict)>,
) -> rusqlite::Result<()> {
    // Immediate, so that what is learned from is still so when it is written.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let insert = "INSERT OR IGNORE INTO runs (project, run, whole, tests, failed) VALUES (?1, ?2, ?3, 0, 0)";
    if transaction.execute(insert, params![project, run.as_str(), whole])? == 0 {
        return Ok(());
    }
    let number = transaction.last_insert_rowid();
    let known = load(&transaction, project)?;
    let upsert = "INSERT OR REPLACE INTO tests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let mut statement = transaction.prepare(upsert)?;
    let (mut count, mut failures) = (0u32, 0u32);
    for (id, micros, verdict) in tests {
        let failed = verdict == Verdict::Failed;
        let before = known.get(&id);
        let now = micros.map(|micros| Timing::learn(before, micros, failed)).or(before);
        let (location, spread) = (now.map(|t| t.location), now.map(|t| t.spread));
        let (runs, clips) = now.map_or((0, 0), |timing| (timing.runs, timing.clips));
        statement.execute(params![project, id, location, spread, runs, clips, verdict.word(), number])?;
        count += 1;
        failures += u32::from(failed);
    }
    drop(statement);
    let update = "UPDATE runs SET tests = ?2, failed = ?3 WHERE number = ?1";
    transaction.execute(update, params![number, count, failures])?;
    if number % FORGET_EVERY == 0 {
        forget(&transaction, project)?;
    }
    transaction.commit()
}

fn forget(transaction: &Transaction, project: &str) -> rusqlite::Result<()> {
    let before = |runs: u32| {
        let select = "SELECT number FROM runs WHERE project = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2";
        let oldest = transaction.query_row(select, params![project, runs - 1], |row| row.get::<_, i64>(0));
        oldest.optional().map(Option::unwrap_or_default)
    };
    let delete = "DELETE FROM tests WHERE project = ?1 AND (last_run < ?2 OR (runs <= 1 AND last_run < ?3))";
    transaction.execute(delete, params![project, before(TESTS_KEPT)?, before(ONCE_SEEN_KEPT)?])?;
    let delete = "DELETE FROM runs WHERE project = ?1 AND number < ?2";
    transaction.execute(delete, params![project, before(RUNS_KEPT)?])?;
    Ok(())
}

fn load(connection: &Connection, project: &str) -> rusqlite::Result<Timings> {
    let select =
        "SELECT id, location, spread, runs, clips FROM tests WHERE project = ?1 AND location NOT NULL";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query([project])?;
    let mut timings = Timings::new();
    while let Some(row) = rows.next()? {
        let timing =
            Timing { location: row.get(1)?, spread: row.get(2)?, runs: row.get(3)?, clips: row.get(4)? };
        timings.insert(row.get_ref(0)?.as_str()?, timing);
    }
    Ok(timings)
}

fn last_verdicts(connection: &Connection, project: &str) -> rusqlite::Result<Option<LastVerdicts>> {
    let select = "SELECT failed FROM runs WHERE project = ?1 ORDER BY number DESC LIMIT 1";
    let Some(failed_in_last_run) = connection.query_row(select, [project], |row| row.get(0)).optional()?
    else {
        return Ok(None);
    };
    let mut last = LastVerdicts { failed_in_last_run, ..LastVerdicts::default() };
    let mut statement = connection.prepare_cached("SELECT id, verdict FROM tests WHERE project = ?1")?;
    let mut rows = statement.query([project])?;
    while let Some(row) = rows.next()? {
        let verdict = match row.get_ref(1)?.as_str()? {
            "passed" | "skipped" | "flaky" => LastVerdict::Good,
            "failed" => LastVerdict::Failed,
            _ => LastVerdict::NotGood,
        };
        last.by_id.insert(last.key.hash_one(row.get_ref(0)?.as_str()?), verdict);
    }
    Ok(Some(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> (tempfile::TempDir, History) {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("history.sqlite")).unwrap();
        (directory, history)
    }

    fn run(n: u32) -> RunId {
        format!("r{n}").parse().unwrap()
    }

    fn passed(id: &str, micros: u64) -> (String, Option<u64>, Verdict) {
        (id.to_owned(), Some(micros), Verdict::Passed)
    }

    #[test]
    fn what_is_recorded_is_loaded_once() {
        let (_directory, history) = history();
        assert!(history.last_verdicts("p").unwrap().is_none());
        assert_eq!(history.last_manifest_len("p").unwrap(), None);
        let rows = || [passed("a\n::\0é", 1000), ("b".to_owned(), None, Verdict::Skipped)].into_iter();
        history.record("p", &run(1), rows()).unwrap();
        history.record("p", &run(1), rows()).unwrap();
        let timings = history.load("p").unwrap();
        assert_eq!(timings.len(), 1);
        assert_eq!(timings.get("a\n::\0é").unwrap().runs, 1);
        let last = history.last_verdicts("p").unwrap().unwrap();
        assert_eq!((last.of("b"), last.of("c")), (Some(LastVerdict::Good), None));
        assert_eq!(history.last_manifest_len("p").unwrap(), Some(2));
        assert!(history.load("other").unwrap().is_empty());
        history.record_part("p", &run(2), rows().take(1)).unwrap();
        assert_eq!(history.last_manifest_len("p").unwrap(), Some(2));
        assert_eq!(history.load("p").unwrap().get("a\n::\0é").unwrap().runs, 2);
    }

    #[test]
    fn a_test_that_a_run_did_not_execute_keeps_its_timing() {
        let (_directory, history) = history();
        history.record("p", &run(1), [passed("a", 1000)].into_iter()).unwrap();
        let none = Verdict::NotExecuted(seagull_domain::NotExecuted::Cancelled);
        history.record("p", &run(2), [("a".to_owned(), None, none)].into_iter()).unwrap();
        assert_eq!(history.load("p").unwrap().get("a").unwrap().robust_micros(), 1000);
        let last = history.last_verdicts("p").unwrap().unwrap();
        assert_eq!((last.of("a"), last.failed_in_last_run), (Some(LastVerdict::NotGood), 0));
        history.record("p", &run(3), [("a".to_owned(), Some(1), Verdict::Failed)].into_iter()).unwrap();
        assert_eq!(history.load("p").unwrap().get("a").unwrap().robust_micros(), 1000);
        assert_eq!(history.last_verdicts("p").unwrap().unwrap().failed_in_last_run, 1);
    }

    #[test]
    fn made_up_ids_and_gone_tests_are_forgotten() {
        let (_directory, history) = history();
        for n in 0..200 {
            let gone = (n < 50).then(|| passed("gone", 10));
            let rows = [passed("stays", 10), passed(&format!("once-{n}"), 10)].into_iter().chain(gone);
            history.record("p", &run(n), rows).unwrap();
        }
        let timings = history.load("p").unwrap();
        assert!(timings.len() < 30, "{} are kept", timings.len());
        assert_eq!(timings.get("stays").unwrap().runs, 200);
        assert_eq!(timings.get("gone"), None);
    }

    #[test]
    fn several_writers_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.sqlite");
        let (writers, runs) = (4, 10);
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let path = &path;
                scope.spawn(move || {
                    for n in 0..runs {
                        // A connection of its own each time: opening, too, is done by several at a time.
                        let history = History::open(path).unwrap();
                        let run = run(writer * 100 + n);
                        history.record("p", &run, [passed("a", 1000)].into_iter()).unwrap();
                    }
                });
            }
        });
        let history = History::open(&path).unwrap();
        assert_eq!(history.load("p").unwrap().get("a").unwrap().runs, writers * runs);
        let mode = "PRAGMA journal_mode";
        let mode: String = history.connection().query_row(mode, [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn what_is_no_history_or_a_newer_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let garbage = directory.path().join("garbage");
        std::fs::write(&garbage, [7; 5000]).unwrap();
        assert!(matches!(History::open(&garbage), Err(Error::Sqlite { .. })));
        let newer = directory.path().join("newer");
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 2).unwrap();
        let error = History::open(&newer).unwrap_err().to_string();
        assert!(error.contains("format 2") && error.contains("hint: "), "{error}");
    }

    #[test]
    fn a_quarter_of_a_million_tests_are_recorded_again_and_again() {
        let (_directory, history) = history();
        let rows = || (0..250_000).map(|n| passed(&format!("tests/test_{}.py::test[{n}]", n / 50), 1000));
        history.record("p", &run(1), rows()).unwrap();
        history.record("p", &run(2), rows()).unwrap();
        let timings = history.load("p").unwrap();
        assert_eq!(timings.len(), 250_000);
        assert_eq!(timings.get("tests/test_7.py::test[377]").unwrap().runs, 2);
    }
}
