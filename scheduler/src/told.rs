//! What an index elsewhere has told of how long tests take, kept for when it is away.
#![expect(clippy::disallowed_methods, reason = "a shell: SQLite blocks")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use seagull_results::index::Learned;

/// One format so far; `PRAGMA user_version` says so.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS told (
    project TEXT PRIMARY KEY, at INTEGER NOT NULL, learned TEXT NOT NULL);
    PRAGMA user_version = 1;";

pub(crate) struct Told {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// All that was told of a project.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Unix milliseconds.
    pub at: u64,
    pub learned: Vec<Learned>,
}

impl Told {
    pub fn open(path: &Path) -> Result<Told, String> {
        let connection = Connection::open(path).and_then(|connection| {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.execute_batch(TABLE)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Told { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// What was told last, if anything was.
    pub fn get(&self, project: &str) -> Result<Option<Snapshot>, String> {
        let select = "SELECT at, learned FROM told WHERE project = ?1";
        let row = |row: &rusqlite::Row| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let found = self.with(|connection| connection.query_row(select, [project], row).optional())?;
        let Some((at, text)) = found else { return Ok(None) };
        let learned = serde_json::from_str(&text);
        let learned = learned.map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok(Some(Snapshot { at, learned }))
    }

    pub fn set(&self, project: &str, snapshot: &Snapshot) -> Result<(), String> {
        let text = serde_json::to_string(&snapshot.learned).map_err(|error| error.to_string())?;
        let insert = "INSERT OR REPLACE INTO told VALUES (?1, ?2, ?3)";
        let row = params![project, snapshot.at, text];
        self.with(|connection| connection.execute(insert, row).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_last_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("timings.sqlite");
        let snapshot = |at| Snapshot { at, learned: vec![Learned("a.py::t".into(), at as f32, 0.5, 3, -1)] };
        let told = Told::open(&path).unwrap();
        assert_eq!(told.get("p"), Ok(None));
        told.set("p", &snapshot(1)).unwrap();
        told.set("p", &snapshot(2)).unwrap();
        drop(told);
        let told = Told::open(&path).unwrap();
        assert_eq!((told.get("p"), told.get("q")), (Ok(Some(snapshot(2))), Ok(None)));
    }
}
