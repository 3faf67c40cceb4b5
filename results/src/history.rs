//! Timings and verdicts of earlier runs, in SQLite. Several processes may write at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use seagull_domain::{RunId, Verdict};

use crate::Error;

/// What is known of a test's duration: the location and the spread of its logarithm (of microseconds).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    pub location: f64,
    pub spread: f64,
    pub runs: u32,
}

/// Timings by test id.
pub type Timings = HashMap<String, Timing>;

/// The weight of the newest run, and how far one run may move the location (both in logarithms).
const WEIGHT: f64 = 0.2;
const CLIP: f64 = 0.4;
/// The spread that a test of one run is assumed to have.
const FIRST_SPREAD: f64 = 0.1;

impl Timing {
    /// An exponentially weighted mean of logarithms, so that one slow machine does not make a test slow. The first
    /// runs count for more.
    pub fn learn(known: Option<Timing>, micros: u64) -> Timing {
        let log = (micros.max(1) as f64).ln();
        let Some(known) = known else { return Timing { location: log, spread: FIRST_SPREAD, runs: 1 } };
        let residual = log - known.location;
        let weight = WEIGHT.max(1.0 / f64::from(known.runs + 1));
        let clip = if known.runs < 3 { f64::INFINITY } else { CLIP };
        Timing {
            location: known.location + (weight * residual).clamp(-clip, clip),
            spread: known.spread + weight * (residual * residual - known.spread),
            runs: known.runs.saturating_add(1),
        }
    }
}

#[derive(Debug)]
pub struct History {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl History {
    pub fn open(path: &Path) -> Result<History, Error> {
        let sqlite = |source| Error::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(sqlite)?;
        let schema = "
            PRAGMA journal_mode = WAL;
            PRAGMA busy_timeout = 30000;
            CREATE TABLE IF NOT EXISTS runs (
                project TEXT NOT NULL, run TEXT NOT NULL, tests INTEGER NOT NULL, PRIMARY KEY (project, run));
            CREATE TABLE IF NOT EXISTS tests (
                project TEXT NOT NULL, id TEXT NOT NULL, location REAL, spread REAL, runs INTEGER NOT NULL,
                verdict TEXT NOT NULL, last_run TEXT NOT NULL, PRIMARY KEY (project, id)) WITHOUT ROWID;";
        connection.execute_batch(schema).map_err(sqlite)?;
        Ok(History { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sqlite(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| Error::Sqlite { path: self.path.clone(), source }
    }

    /// Learns from an ended run: each test's microseconds, where it was executed, and its verdict. A run that was
    /// recorded before changes nothing.
    pub fn record(
        &self,
        project: &str,
        run: &RunId,
        tests: impl Iterator<Item = (String, Option<u64>, Verdict)>,
    ) -> Result<(), Error> {
        let known = self.load(project)?;
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(self.sqlite())?;
        let insert = "INSERT OR IGNORE INTO runs VALUES (?1, ?2, 0)";
        if transaction.execute(insert, params![project, run.as_str()]).map_err(self.sqlite())? == 0 {
            return Ok(());
        }
        let upsert = "INSERT OR REPLACE INTO tests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let mut statement = transaction.prepare(upsert).map_err(self.sqlite())?;
        let mut count = 0u32;
        for (id, micros, verdict) in tests {
            let before = known.get(&id).copied();
            let now = micros.map(|micros| Timing::learn(before, micros)).or(before);
            let (location, spread) = (now.map(|t| t.location), now.map(|t| t.spread));
            let runs = now.map_or(0, |timing| timing.runs);
            let row = params![project, id, location, spread, runs, verdict.word(), run.as_str()];
            statement.execute(row).map_err(self.sqlite())?;
            count += 1;
        }
        drop(statement);
        let update = "UPDATE runs SET tests = ?3 WHERE project = ?1 AND run = ?2";
        transaction.execute(update, params![project, run.as_str(), count]).map_err(self.sqlite())?;
        transaction.commit().map_err(self.sqlite())
    }

    /// All timings of a project, in one pass.
    pub fn load(&self, project: &str) -> Result<Timings, Error> {
        let connection = self.connection();
        let select = "SELECT id, location, spread, runs FROM tests WHERE project = ?1 AND location NOT NULL";
        let mut statement = connection.prepare_cached(select).map_err(self.sqlite())?;
        let row = |row: &rusqlite::Row| {
            Ok((row.get(0)?, Timing { location: row.get(1)?, spread: row.get(2)?, runs: row.get(3)? }))
        };
        let rows = statement.query_map([project], row).map_err(self.sqlite())?;
        rows.collect::<Result<_, _>>().map_err(self.sqlite())
    }

    /// Every test of the project with its last verdict's word; None if no run of it has ended.
    pub fn last_verdicts(&self, project: &str) -> Result<Option<HashMap<String, String>>, Error> {
        let connection = self.connection();
        let select = "SELECT id, verdict FROM tests WHERE project = ?1";
        let mut statement = connection.prepare_cached(select).map_err(self.sqlite())?;
        let rows =
            statement.query_map([project], |row| Ok((row.get(0)?, row.get(1)?))).map_err(self.sqlite())?;
        let verdicts: HashMap<_, _> = rows.collect::<Result<_, _>>().map_err(self.sqlite())?;
        Ok((!verdicts.is_empty()).then_some(verdicts))
    }

    /// How many tests the project's last recorded run had.
    pub fn last_manifest_len(&self, project: &str) -> Result<Option<usize>, Error> {
        let select = "SELECT tests FROM runs WHERE project = ?1 ORDER BY rowid DESC LIMIT 1";
        let row = self.connection().query_row(select, [project], |row| row.get::<_, u32>(0)).optional();
        row.map(|row| row.map(|tests| tests as usize)).map_err(self.sqlite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_loaded_once() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("history.sqlite")).unwrap();
        assert_eq!(history.last_verdicts("p").unwrap(), None);
        let rows = || {
            [("a".to_owned(), Some(1000), Verdict::Passed), ("b".to_owned(), None, Verdict::Skipped)]
                .into_iter()
        };
        let run: RunId = "r1".parse().unwrap();
        history.record("p", &run, rows()).unwrap();
        history.record("p", &run, rows()).unwrap();
        let timings = history.load("p").unwrap();
        assert_eq!(timings.len(), 1);
        assert_eq!(timings["a"].runs, 1);
        assert_eq!(history.last_verdicts("p").unwrap().unwrap()["b"], "skipped");
        assert_eq!(history.last_manifest_len("p").unwrap(), Some(2));
        assert!(history.load("other").unwrap().is_empty());
    }

    #[test]
    fn a_settled_location_is_not_thrown_by_one_outlier() {
        let settled = (0..10).fold(None, |known, _| Some(Timing::learn(known, 1000))).unwrap();
        let after = Timing::learn(Some(settled), 1_000_000_000);
        assert!((after.location.exp() / 1000.0) < 1.5, "{after:?}");
    }
}
