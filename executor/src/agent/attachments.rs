//! Files that tests leave for whoever looks into them: packed when their test, or its worker, has ended, and durable at
//! the scheduler before what comes after them is reported.
//!
//! But for one that the scheduler does not take: a verdict is worth more than what was attached to it.
#![expect(clippy::disallowed_methods, reason = "a shell: workers' threads find files, the agent sends them")]

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use seagull_domain::{Attachment, Batch, Digest, Record, RunId, TestIndex};
use seagull_executor_core::WorkerId;
use seagull_proto::convert::fitted;
use seagull_proto::limits::WORD_BYTES;
use tempfile::NamedTempFile;
use tonic::{Code, Status};

use crate::artifact::Patterns;

/// What is kept of one test, and of a run on one executor.
const OF_TEST: Room = Room { files: 20, bytes: 256 << 20 };
const OF_RUN: Room = Room { files: 10_000, bytes: 4 << 30 };
/// Packed bytes that may wait for the scheduler.
const WAITING_BYTES: u64 = 1 << 30;
/// Files and directories of a test that are looked at.
const LOOKED_AT: usize = 10_000;
/// By how much the time of a file may be behind: kernels keep it in ticks.
const LATE: Duration = Duration::from_millis(20);

/// On their way to the scheduler; shared by the workers, who find them, and the agent, who sends them before it reports.
#[derive(Debug, Clone)]
pub(crate) struct Attachments {
    /// Has them until then.
    directory: PathBuf,
    waiting: Arc<Mutex<Vec<Arc<Packed>>>>,
    /// What the scheduler has not taken.
    refused: Arc<Mutex<HashSet<(RunId, Digest)>>>,
}

#[derive(Debug)]
pub(crate) struct Packed {
    pub run: RunId,
    pub digest: Digest,
    pub file: NamedTempFile,
    bytes: u64,
}

impl Attachments {
    pub fn new(directory: PathBuf) -> io::Result<Attachments> {
        fs::create_dir_all(&directory)?;
        Ok(Attachments { directory, waiting: Arc::default(), refused: Arc::default() })
    }

    /// Packs a file of a run; None where too much waits already.
    fn pack(&self, run: &RunId, file: &mut dyn Read) -> io::Result<Option<Digest>> {
        if self.lock().iter().map(|packed| packed.bytes).sum::<u64>() >= WAITING_BYTES {
            return Ok(None);
        }
        let mut packed = NamedTempFile::new_in(&self.directory)?;
        seagull_results::pack_attachment(file, &mut packed)?;
        packed.rewind()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut packed)?;
        let digest = Digest(*hasher.finalize().as_bytes());
        let bytes = packed.as_file().metadata()?.len();
        self.lock().push(Arc::new(Packed { run: run.clone(), digest, file: packed, bytes }));
        Ok(Some(digest))
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    /// Sends so many of those that wait, and no more. May be given up and called again at any time.
    pub async fn flush<F>(&self, count: usize, put: impl Fn(Arc<Packed>) -> F) -> Result<(), Status>
    where
        F: Future<Output = Result<(), Status>>,
    {
        for _ in 0..count {
            let Some(next) = self.lock().first().cloned() else { return Ok(()) };
            match put(next.clone()).await {
                Err(status) if !refuses(&status) => return Err(status),
                Err(status) => {
                    let (digest, why) = (next.digest, status.message());
                    let _ = writeln!(
                        io::stderr(),
                        "warning: the scheduler does not keep attachment {digest}: {why}"
                    );
                    self.refused().insert((next.run.clone(), digest));
                }
                Ok(()) => drop(self.refused().remove(&(next.run.clone(), next.digest))),
            }
            self.lock().retain(|packed| !Arc::ptr_eq(packed, &next));
        }
        Ok(())
    }

    /// What is reported of a file that the scheduler has not taken is that it was left out.
    pub fn leave_out(&self, batches: &mut [Batch]) {
        let refused = self.refused();
        for Batch { run, records, .. } in batches.iter_mut().filter(|_| !refused.is_empty()) {
            for record in records {
                if let Record::Attached { file, .. } = record {
                    file.blob = file.blob.filter(|blob| !refused.contains(&(run.clone(), *blob)));
                }
            }
        }
    }

    fn refused(&self) -> MutexGuard<'_, HashSet<(RunId, Digest)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Packed>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the scheduler will not take a file, or not now.
fn refuses(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::FailedPrecondition | Code::ResourceExhausted | Code::DataLoss
    )
}

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
struct Room {
    files: usize,
    bytes: u64,
}

impl Room {
    /// Room for a file of so many bytes, if there is.
    fn take(&mut self, bytes: u64) -> bool {
        let fits = self.files > 0 && bytes <= self.bytes;
        if fits {
            *self = Room { files: self.files - 1, bytes: self.bytes - bytes };
        }
        fits
    }
}

/// What the workers of a run on one executor share of their files.
#[derive(Debug)]
pub(crate) struct Claims(Mutex<Claimed>);

#[derive(Debug)]
struct Claimed {
    room: Room,
    /// What was found by patterns, as it was then.
    known: BTreeMap<PathBuf, (SystemTime, u64)>,
    /// What each worker is at, or until when it was at something.
    at: BTreeMap<WorkerId, At>,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Test,
    Nothing(SystemTime),
}

impl Default for Claims {
    fn default() -> Claims {
        Claims(Mutex::new(Claimed { room: OF_RUN, known: BTreeMap::new(), at: BTreeMap::new() }))
    }
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, Claimed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn started(&self, worker: WorkerId) {
        self.lock().at.insert(worker, At::Test);
    }

    pub fn finished(&self, worker: WorkerId) {
        self.lock().at.insert(worker, At::Nothing(SystemTime::now()));
    }
}

impl Claimed {
    /// Whether another worker may have written a file then: what workers say is heard later than it is so.
    fn may_be_of_another(&self, worker: WorkerId, written: SystemTime) -> bool {
        let may_be = |at: &At| match at {
            At::Test => true,
            At::Nothing(until) => *until >= written,
        };
        self.at.iter().any(|(other, at)| *other != worker && may_be(at))
    }
}

/// Where one worker's tests leave files, and who they are for.
#[derive(Debug)]
pub(crate) struct Leavings {
    /// Theirs alone: [`NOW`] in it is what tests are told of, and what an adapter has put aside is beside that, by number.
    pub directory: PathBuf,
    /// What patterns are relative to.
    pub tree: PathBuf,
    pub patterns: Patterns,
    pub run: RunId,
    pub worker: WorkerId,
    pub began: SystemTime,
}

/// Says of a file that it was left, by a test if that is known.
type Say<'a> = &'a mut dyn FnMut(Option<TestIndex>, Attachment);

pub(super) const NOW: &str = "now";

impl Leavings {
    /// What a test has left that has ended: what its adapter has put aside, and what patterns name, if it has failed, with
    /// when it began.
    pub fn of_test(
        &self,
        (test, aside, failed): (TestIndex, Option<u32>, Option<SystemTime>),
        (attachments, claims): (&Attachments, &Claims),
        say: Say,
    ) {
        let mut keeper = Keeper::new(&self.run, attachments, claims);
        if let Some(aside) = aside {
            self.below(&aside.to_string(), &mut keeper, &mut |file| say(Some(test), file));
        }
        if let Some(began) = failed {
            self.by_patterns(Some((test, began)), &mut keeper, say);
        }
        keeper.tell_left_out(&mut |file| say(Some(test), file));
    }

    /// What is left when the worker has ended, in the middle of a test if it was at one.
    pub fn rest(
        &self,
        test: Option<(TestIndex, SystemTime)>,
        (attachments, claims): (&Attachments, &Claims),
        say: Say,
    ) {
        let mut keeper = Keeper::new(&self.run, attachments, claims);
        let only = test.map(|(test, _)| test);
        self.below(NOW, &mut keeper, &mut |file| say(only, file));
        self.by_patterns(test, &mut keeper, say);
        keeper.tell_left_out(&mut |file| say(only, file));
        claims.lock().at.remove(&self.worker);
        let _ = crate::remove::remove_tree(&self.directory);
    }

    fn below(&self, name: &str, keeper: &mut Keeper, say: &mut dyn FnMut(Attachment)) {
        let root = self.directory.join(name);
        let mut found = Vec::new();
        walk(&root, Path::new(""), &mut found);
        for path in found {
            if let Some(file) = keeper.keep(&root, &path) {
                say(file);
            }
        }
        let _ = crate::remove::remove_tree(&root);
    }

    fn by_patterns(&self, test: Option<(TestIndex, SystemTime)>, keeper: &mut Keeper, say: Say) {
        let found = self.patterns.find(&self.tree).unwrap_or_default();
        for path in found.files.into_keys() {
            let Ok(metadata) = self.tree.join(&path).symlink_metadata() else { continue };
            let Ok(written) = metadata.modified() else { continue };
            let state = (written, metadata.len());
            if !metadata.is_file() || written + LATE < self.began {
                continue;
            }
            let may_be_anothers = {
                let mut claimed = keeper.claims.lock();
                let known = claimed.known.len();
                if claimed.known.get(&path) == Some(&state) || known >= OF_RUN.files {
                    continue;
                }
                claimed.known.insert(path.clone(), state);
                claimed.may_be_of_another(self.worker, written)
            };
            let test = test.filter(|(_, began)| !may_be_anothers && *began <= written + LATE);
            if let Some(file) = keeper.keep(&self.tree, &path) {
                say(test.map(|(test, _)| test), file);
            }
        }
    }
}

/// Files below a directory, relative to `root`; no links.
fn walk(root: &Path, inside: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(root.join(inside)) else { return };
    let mut entries: Vec<_> = entries.flatten().take(LOOKED_AT).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = inside.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && path.components().count() < 32 => walk(root, &path, found),
            Ok(kind) if kind.is_file() && found.len() < LOOKED_AT => found.push(path),
            _ => {}
        }
    }
}

/// Keeps the files of one test, as far as there is room.
struct Keeper<'a> {
    run: &'a RunId,
    attachments: &'a Attachments,
    claims: &'a Claims,
    room: Room,
    /// The first of those for which there was none, how many there were, and their bytes.
    left_out: Option<(String, u32, u64)>,
}

impl<'a> Keeper<'a> {
    fn new(run: &'a RunId, attachments: &'a Attachments, claims: &'a Claims) -> Keeper<'a> {
        Keeper { run, attachments, claims, room: OF_TEST, left_out: None }
    }

    fn keep(&mut self, root: &Path, path: &Path) -> Option<Attachment> {
        let name = fitted(path.to_string_lossy().replace('\\', "_"), WORD_BYTES);
        if !Attachment::is_name(&name) {
            return None;
        }
        let mut file = open_beneath(root, path).ok()?;
        let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
        let bytes = metadata.len();
        let fits = self.room.take(bytes) && self.claims.lock().room.take(bytes);
        // One that is still written to has no more than it had.
        let blob = match fits.then(|| self.attachments.pack(self.run, &mut (&mut file).take(bytes))) {
            Some(Ok(blob)) => blob,
            Some(Err(error)) => {
                let _ = writeln!(io::stderr(), "warning: attachment {name} cannot be kept: {error}");
                None
            }
            None => None,
        };
        if blob.is_some() {
            return Some(Attachment { name, bytes, blob });
        }
        let (_, count, sum) = self.left_out.get_or_insert((name, 0, 0));
        (*count, *sum) = (*count + 1, sum.saturating_add(bytes));
        None
    }

    fn tell_left_out(&mut self, say: &mut dyn FnMut(Attachment)) {
        let Some((name, count, bytes)) = self.left_out.take() else { return };
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let name = fitted(name, WORD_BYTES - more.len()) + &more;
        say(Attachment { name, bytes, blob: None });
    }
}

/// Opens a file below a directory, wherever links lead: none is followed.
fn open_beneath(root: &Path, path: &Path) -> io::Result<File> {
    let mut at: File = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
        let kind = if parts.peek().is_some() { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
        let flags = kind | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = rustix::fs::openat(&at, name, flags, Mode::empty())?.into();
    }
    Ok(at)
}

#[cfg(test)]
mod tests;
