//! Timings and verdicts of earlier runs, in SQLite. Several processes may write at a time.
#![expect(clippy::disallowed_methods, reason = "a shell: SQLite blocks, and its users share one connection")]

#[cfg(test)]
mod branch_tests;
mod discovered;
mod forget;
mod formats;
mod record;
mod timings;
mod verdicts;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use seagull_domain::{Digest, RunId, RunVerdict};

use crate::Error;
use crate::blobs::digest;
use crate::lineage::Lineage;
use crate::setups::Excess;

const BUSY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct History {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// Each test of a project ?1 as a branch ?2 has it, else as its base ?3, else as the main branch: its columns are those of
/// the row that has the most.
const NEAREST: &str = "(SELECT id, location, spread, runs, clips, verdict, last_run, branch = ?2 AS own,
    max((branch = ?2) * 2 + (branch = ?3)) FROM tests WHERE project = ?1 AND branch IN (?2, ?3, '') GROUP BY id)";

/// An ended run, but for its tests.
#[derive(Debug, Clone, Copy)]
pub struct EndedRun<'a> {
    pub of: Lineage<'a>,
    pub run: &'a RunId,
    /// Unix milliseconds. An id may be used again once its run is evicted.
    pub submitted_at: u64,
    pub verdict: RunVerdict,
    /// Paths and arguments for the framework; None where the tests are not all that it discovered.
    pub arguments: Option<&'a [String]>,
    /// The manifest as it was discovered.
    pub discovered: Option<Digest>,
    /// Which tests did not fail and were executed together, by their places among all.
    pub bundles: &'a [Vec<usize>],
    /// What began with tests, and what that took, which is no part of what these are said to have taken.
    pub setups: &'a [Excess],
}

impl History {
    pub fn open(path: &Path) -> Result<History, Error> {
        let sqlite = Error::history(path);
        let mut connection = Connection::open(path).map_err(sqlite)?;
        connection.busy_timeout(BUSY).map_err(sqlite)?;
        let found = formats::prepare(&mut connection).map_err(sqlite)?;
        if found > formats::FORMAT {
            return Err(Error::Newer { path: path.to_owned(), found, known: formats::FORMAT });
        }
        Ok(History { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sqlite(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| Error::Sqlite { path: self.path.clone(), source }
    }
}

/// Arguments as they are compared.
fn fingerprint(arguments: &[String]) -> [u8; 32] {
    digest(&serde_json::to_vec(arguments).expect("arguments are text")).0
}

#[cfg(test)]
pub(crate) mod tests {
    use seagull_domain::Verdict;

    use super::*;

    pub(crate) const TRUNK: Lineage = Lineage { project: "p", branch: None };

    pub(crate) fn history() -> (tempfile::TempDir, History) {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("history.sqlite")).unwrap();
        (directory, history)
    }

    pub(crate) fn run(n: u32) -> RunId {
        format!("r{n}").parse().unwrap()
    }

    pub(crate) fn ended(run: &RunId) -> EndedRun<'_> {
        EndedRun {
            of: TRUNK,
            run,
            submitted_at: 0,
            verdict: RunVerdict::Passed,
            arguments: Some(&[]),
            discovered: None,
            bundles: &[],
            setups: &[],
        }
    }

    pub(crate) fn passed(id: &str, micros: u64) -> (String, Option<u64>, Verdict) {
        (id.to_owned(), Some(micros), Verdict::Passed)
    }
}
