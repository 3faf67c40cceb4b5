//! A small database of its own in the state directory: one table, one connection, durable when a call returns.
#![expect(clippy::disallowed_methods, reason = "a shell: SQLite blocks")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

pub(crate) struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Database {
    /// `table`: what makes it, and its format.
    pub fn open(path: &Path, table: &str) -> Result<Database, String> {
        let connection = Connection::open(path).and_then(|connection| {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(table)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Database { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// The error names the file.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|error| self.named(error))
    }

    pub fn named(&self, error: impl std::fmt::Display) -> String {
        format!("{}: {error}", self.path.display())
    }
}
