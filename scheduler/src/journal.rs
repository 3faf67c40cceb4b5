//! The journal: facts in SQLite, a snapshot now and then, and an epoch that rises with every opening.
//!
//! Facts and snapshots are JSON, so that a newer release reads what an older one wrote; the format's number says
//! whether it can.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: an epoch is no earlier than the time, and locks are waited for"
)]

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use seagull_domain::{Epoch, RunId, Seq};
use seagull_scheduler_core::{Fact, Settings, State, What};

use crate::recent::Recent;

/// 2: the tests of a snapshot are in columns.
const FORMAT: u32 = 2;
const DATABASE: &str = "journal.sqlite";
const LOCK: &str = "journal.lock";
const BUSY: Duration = Duration::from_secs(10);
/// A process that was killed has its lock until it is gone, which takes a moment: for so long another is not refused, and
/// tries this often.
const LETS_GO: Duration = Duration::from_secs(1);
const TRIES_EVERY: Duration = Duration::from_millis(20);
/// Fewer bytes of facts than this are read sooner than a snapshot is written.
const WORTH_A_SNAPSHOT: usize = 64 << 20;
/// The database, then what SQLite keeps beside it. Alone, the log means nothing; a database without it has lost facts.
const FILES: [&str; 3] = [DATABASE, "journal.sqlite-wal", "journal.sqlite-shm"];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("journal {path}: {source}{}", hint(source))]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("journal {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is in use by another scheduler\nhint: use another --state directory, or stop the other one"
    )]
    InUse { path: PathBuf },
    #[error(
        "journal {path} has format {found}, this release reads up to {FORMAT}\nhint: use a newer seagull"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("journal {path}, fact {seq}: {source}")]
    Damaged { path: PathBuf, seq: u64, source: serde_json::Error },
}

impl Error {
    /// Whether there was no room on the disk, so that all is as it was before, and can be tried again.
    pub fn is_full(&self) -> bool {
        let Error::Sqlite { source, .. } = self else { return false };
        let code = source.sqlite_error().map(|error| (error.code, error.extended_code));
        code.is_some_and(|(code, extended)| {
            code == rusqlite::ErrorCode::DiskFull || extended == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
        })
    }
}

fn hint(source: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
    match source.sqlite_error_code() {
        Some(DiskFull | SystemIoFailure) => "\nhint: make room on the disk if it is full",
        _ => "",
    }
}

/// The one writer of a journal. It holds a lock on a file beside it for as long as it lives.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: Connection,
    snapshot_bytes: usize,
    /// Of the facts since.
    bytes_since_snapshot: usize,
    recent: Arc<Recent>,
    _lock: File,
}

impl Journal {
    /// Opens or makes the journal of a directory, and recovers the state it describes.
    pub fn open(directory: &Path, settings: Settings) -> Result<(Journal, State), Error> {
        let path = directory.join(DATABASE);
        std::fs::create_dir_all(directory).map_err(|source| Error::Io { path: path.clone(), source })?;
        let lock = lock_in_time(directory)?;
        let connection = connect(&path)?;
        let recent = Arc::default();
        let mut journal =
            Journal { path, connection, snapshot_bytes: 0, bytes_since_snapshot: 0, recent, _lock: lock };
        let epoch = journal.begin_epoch()?;
        let state = journal.recover(epoch, settings)?;
        Ok((journal, state))
    }

    /// A reader of the same journal; any number may read while the writer writes.
    pub fn reader(&self) -> Result<Reader, Error> {
        let (connection, recent) = (connect(&self.path)?, self.recent.clone());
        Ok(Reader { path: self.path.clone(), connection, recent })
    }

    fn begin_epoch(&mut self) -> Result<Epoch, Error> {
        let sqlite = |source| Error::Sqlite { path: self.path.clone(), source };
        let schema = "
            CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS facts (seq INTEGER PRIMARY KEY, run TEXT NOT NULL, body TEXT NOT NULL);
            CREATE INDEX IF NOT EXISTS facts_of_run ON facts (run, seq);
            CREATE TABLE IF NOT EXISTS submitted (run TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER, body TEXT);";
        self.connection.execute_batch(schema).map_err(sqlite)?;
        let get = |key| {
            let select = "SELECT value FROM meta WHERE key = ?1";
            self.connection.query_row(select, [key], |row| row.get::<_, u64>(0))
        };
        let found =
            get("format").optional().map_err(sqlite)?.map(|found| u32::try_from(found).unwrap_or(u32::MAX));
        if let Some(found) = found.filter(|found| *found > FORMAT) {
            return Err(Error::Newer { path: self.path.clone(), found });
        }
        let last = get("epoch").optional().map_err(sqlite)?;
        // Of a state directory that is new, or came from a backup, executors may know a later one: time has gone on.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let epoch = last.map_or(1, |last| last + 1).max(now);
        let set = "INSERT INTO meta VALUES ('format', ?1), ('epoch', ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
        self.connection.execute(set, params![FORMAT, epoch]).map_err(sqlite)?;
        Ok(Epoch(epoch))
    }

    /// Snapshot, then the facts after it.
    fn recover(&mut self, epoch: Epoch, settings: Settings) -> Result<State, Error> {
        let path = self.path.clone();
        let sqlite = |source| Error::Sqlite { path: path.clone(), source };
        let damaged = |seq, source| Error::Damaged { path: path.clone(), seq, source };
        let row = |row: &rusqlite::Row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?));
        let snapshot = self.connection.query_row("SELECT seq, body FROM snapshot", [], row);
        let mut state = match snapshot.optional().map_err(sqlite)? {
            Some((seq, body)) => {
                self.snapshot_bytes = body.len();
                let state: State = serde_json::from_str(&body).map_err(|source| damaged(seq, source))?;
                state.reopened(epoch, settings)
            }
            None => State::new(epoch, settings),
        };
        let after = "SELECT seq, body FROM facts WHERE seq > ?1 ORDER BY seq";
        let mut statement = self.connection.prepare(after).map_err(sqlite)?;
        let mut rows = statement.query([state.seq.0]).map_err(sqlite)?;
        while let Some((seq, body)) = rows.next().map_err(sqlite)?.map(row).transpose().map_err(sqlite)? {
            self.bytes_since_snapshot += body.len();
            let fact: Fact = serde_json::from_str(&body).map_err(|source| damaged(seq, source))?;
            state.apply(&fact);
        }
        Ok(state)
    }

    /// Makes facts durable, all or none; says how many bytes they are.
    pub fn append(&mut self, facts: &[(Seq, Fact)]) -> Result<usize, Error> {
        let path = self.path.clone();
        let sqlite = |source| Error::Sqlite { path: path.clone(), source };
        let transaction = self.connection.transaction().map_err(sqlite)?;
        let mut bytes = 0;
        {
            let insert = "INSERT INTO facts (seq, run, body) VALUES (?1, ?2, ?3)";
            let mut statement = transaction.prepare_cached(insert).map_err(sqlite)?;
            let begin = "INSERT OR REPLACE INTO submitted (run, seq) VALUES (?1, ?2)";
            for (seq, fact) in facts {
                let body = serde_json::to_string(fact).expect("a fact has only text keys");
                bytes += body.len();
                statement.execute(params![seq.0, fact.run.as_str(), body]).map_err(sqlite)?;
                if let What::Submitted(_) = fact.what {
                    transaction.execute(begin, params![fact.run.as_str(), seq.0]).map_err(sqlite)?;
                }
            }
        }
        transaction.commit().map_err(sqlite)?;
        self.bytes_since_snapshot += bytes;
        Ok(bytes)
    }

    /// Keeps facts at hand that were made durable, of so many bytes, for who reads them soon.
    pub fn keep_at_hand(&self, facts: Vec<(Seq, Fact)>, bytes: usize) {
        self.recent.add(facts, bytes);
    }

    /// Whether recovery would read so much that a snapshot is worth its time: more than the snapshot, which is read too.
    pub fn wants_snapshot(&self) -> bool {
        self.bytes_since_snapshot > WORTH_A_SNAPSHOT.max(self.snapshot_bytes)
    }

    /// Takes runs out of the state and of the journal, of which that has only a part.
    pub fn leave(&mut self, state: &mut State, runs: &[RunId]) -> Result<(), Error> {
        for run in runs {
            state.apply(&Fact { run: run.clone(), what: What::Archived });
        }
        let body = serde_json::to_string(state).expect("the state has only text keys");
        let left: Vec<RunId> = state.runs.keys().cloned().collect();
        self.snapshot(state.seq, &body, &left)
    }

    /// Replaces the snapshot, and drops the facts of runs that the state no longer has.
    pub fn snapshot(&mut self, seq: Seq, body: &str, runs: &[RunId]) -> Result<(), Error> {
        let path = self.path.clone();
        let sqlite = |source| Error::Sqlite { path: path.clone(), source };
        let transaction = self.connection.transaction().map_err(sqlite)?;
        let replace = "INSERT OR REPLACE INTO snapshot (one, seq, body) VALUES (1, ?1, ?2)";
        transaction.execute(replace, params![seq.0, body]).map_err(sqlite)?;
        let runs = serde_json::to_string(runs).expect("ids are text");
        for table in ["facts", "submitted"] {
            let drop = format!(
                "DELETE FROM {table} WHERE seq <= ?1 AND run NOT IN (SELECT value FROM json_each(?2))"
            );
            transaction.execute(&drop, params![seq.0, runs]).map_err(sqlite)?;
        }
        transaction.commit().map_err(sqlite)?;
        (self.snapshot_bytes, self.bytes_since_snapshot) = (body.len(), 0);
        Ok(())
    }
}

/// Claims a directory's journal for as long as the file is open.
pub(crate) fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(DATABASE);
    let locked = File::create(directory.join(LOCK)).map_err(TryLockError::Error);
    match locked.and_then(|file| file.try_lock().map(|()| file)) {
        Ok(file) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path }),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}

/// As [`lock`], where who has it may be about to end.
fn lock_in_time(directory: &Path) -> Result<File, Error> {
    let until = Instant::now() + LETS_GO;
    loop {
        match lock(directory) {
            Err(Error::InUse { .. }) if Instant::now() < until => std::thread::sleep(TRIES_EVERY),
            outcome => return outcome,
        }
    }
}

/// Whether a directory has a journal, or something of one.
pub(crate) fn exists(directory: &Path) -> bool {
    FILES.iter().any(|name| directory.join(name).exists())
}

/// How long a directory's journal is.
pub(crate) fn bytes(directory: &Path) -> u64 {
    FILES.iter().map(|name| directory.join(name).metadata().map_or(0, |file| file.len())).sum()
}

/// Removes a directory's journal, which its caller has locked or open; who has it open goes on as if it were there.
pub(crate) fn remove(directory: &Path) -> Result<(), Error> {
    for path in FILES.map(|name| directory.join(name)) {
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(Error::Io { path, source }),
            _ => {}
        }
    }
    Ok(())
}

/// Whether some process has a directory's journal open.
pub(crate) fn is_open(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join(LOCK)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Reads the facts of runs.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
    /// Of another process's journal nothing is at hand.
    recent: Arc<Recent>,
}

impl Reader {
    /// Reads the journal that another process writes; None where there is none.
    pub fn of_another(directory: &Path) -> Result<Option<Reader>, Error> {
        let path = directory.join(DATABASE);
        if !path.exists() {
            return Ok(None);
        }
        let sqlite = |source| Error::Sqlite { path: path.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match Connection::open_with_flags(&path, flags) {
            // Removed at this moment, for its run is archived.
            Err(_) if !path.exists() => return Ok(None),
            connection => connection.map_err(sqlite)?,
        };
        connection.busy_timeout(BUSY).map_err(sqlite)?;
        // The last table that is made, at first.
        let made = "SELECT count(*) FROM sqlite_master WHERE name = 'snapshot'";
        let made: u32 = connection.query_row(made, [], |row| row.get(0)).map_err(sqlite)?;
        Ok((made > 0).then(|| Reader { path, connection, recent: Arc::default() }))
    }

    /// As [`Reader::read`], of what is at hand; none where the journal is to be read.
    pub fn at_hand(&self, run: &RunId, after: Seq, limit: u32) -> Vec<(Seq, Fact)> {
        self.recent.read(run, after, limit)
    }

    /// Up to `limit` durable facts of a run after `after`, in order, each as JSON on one line. Of an id that was used
    /// again after its run was evicted, those of the newest run.
    pub fn read(&self, run: &RunId, after: Seq, limit: u32) -> Result<Vec<(Seq, Vec<u8>)>, Error> {
        let sqlite = |source| Error::Sqlite { path: self.path.clone(), source };
        let select = "SELECT seq, body FROM facts WHERE run = ?1 AND seq > ?2
            AND seq >= ifnull((SELECT seq FROM submitted WHERE run = ?1), 0) ORDER BY seq LIMIT ?3";
        let mut statement = self.connection.prepare_cached(select).map_err(sqlite)?;
        let fact = |row: &rusqlite::Row| Ok((Seq(row.get(0)?), row.get::<_, String>(1)?.into_bytes()));
        let rows = statement.query_map(params![run.as_str(), after.0, limit], fact).map_err(sqlite)?;
        rows.map(|row| row.map_err(sqlite)).collect()
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let sqlite = |source| Error::Sqlite { path: path.to_owned(), source };
    // What a run passes to its tests is nobody else's to read. SQLite makes its other files alike; what is wrong with this
    // one, it says. One that is there is not opened: to close it again would end the locks that this process has on it
    // for SQLite, and another process that opens it would take itself for the only one, and remove the log.
    let _ = File::options().create_new(true).write(true).mode(0o600).open(path);
    let connection = Connection::open(path).map_err(sqlite)?;
    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000;";
    connection.execute_batch(settings).map_err(sqlite)?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
